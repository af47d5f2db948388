//! The sections beside scraping: Alertmanagers, remote endpoints, storage, tracing, OTLP.

use kenning_pipeline::relabel::{self, Labels, NameScheme, Rule};

use crate::config::Storage;
use crate::discovery::{self, Discovery};
use crate::fields::{Fields, Log};
use crate::http::{HttpClient, check_remote_headers, read_client, read_tls, read_url};
use crate::scrape::{check_static_targets, checked, read_rules};
use crate::targets::{ADDRESS, TargetGroup, check_address};
use crate::yaml::Node;
use kenning_gotext::quote::quote;

/// The files that Alertmanagers name.
#[derive(Debug, Default)]
pub(crate) struct Alerting {
    pub credential_files: Vec<String>,
    pub target_files: Vec<String>,
}

fn unused(log: &Log, what: &str) {
    let mut unused = log.unused.borrow_mut();
    if !unused.iter().any(|known| known == what) {
        unused.push(what.to_owned());
    }
}

pub(crate) fn discovery_files(found: &[Discovery], credentials: &mut Vec<String>, targets: &mut Vec<String>) {
    for one in found {
        let client = match one {
            Discovery::File(file) => {
                targets.extend(file.files.iter().cloned());
                continue;
            }
            Discovery::Http(http) => &http.client,
            Discovery::Docker(docker) => &docker.client,
            _ => continue,
        };
        credentials.extend(client.files().into_iter().map(str::to_owned));
    }
}

pub(crate) fn read_alerting(fields: &Fields<'_>, names: NameScheme) -> Alerting {
    let mut alerting = Alerting::default();
    let Some(section) = fields.map("alerting", "config.plain") else { return alerting };
    let log = fields.log();
    let rules = read_rules(&section, "alert_relabel_configs", "empty or null alert relabeling rule");
    checked(rules, names, log);
    for node in section.items("alertmanagers", "config.AlertmanagerConfigs") {
        if let Some((client, found)) = read_alertmanager(node, names, log) {
            alerting.credential_files.extend(client.files().into_iter().map(str::to_owned));
            discovery_files(&found, &mut alerting.credential_files, &mut alerting.target_files);
        }
    }
    section.finish();
    unused(log, "alerting");
    alerting
}

fn read_alertmanager(node: &Node, names: NameScheme, log: &Log) -> Option<(HttpClient, Vec<Discovery>)> {
    let fields = Fields::open(node, "config.AlertmanagerConfig", log)?;
    let client = read_client(&fields);
    let authenticated =
        client.basic_auth.is_some() || client.authorization.is_some() || client.oauth2.is_some();
    if read_sigv4(&fields) && authenticated {
        fields.wrong("at most one of basic_auth, authorization, oauth2, & sigv4 must be configured");
    }
    for name in ["scheme", "path_prefix"] {
        let _ = fields.text(name);
    }
    let _ = fields.duration("timeout");
    let version = fields.text("api_version");
    if let Some(version) = version.filter(|version| version != "v2") {
        fields.wrong(format!("expected Alertmanager api version to be one of [v2] but got {version}"));
    }
    let has_rules = fields.items("relabel_configs", "[]*relabel.Config").next().is_some();
    let targets = read_rules(&fields, "relabel_configs", "empty or null Alertmanager target relabeling rule");
    let alerts =
        read_rules(&fields, "alert_relabel_configs", "empty or null Alertmanager alert relabeling rule");
    checked(alerts, names, log);
    let targets = checked(targets, names, log);
    let found = discovery::read(&fields);
    if !has_rules {
        check_static_targets(&fields, &found);
    } else {
        check_relabelled(&fields, &found, &targets);
    }
    fields.finish();
    Some((client, found))
}

/// What rules make of the addresses that are written out.
fn check_relabelled(fields: &Fields<'_>, found: &[Discovery], rules: &[Rule]) {
    for one in found {
        let Discovery::Static(groups) = one else { continue };
        for group in groups {
            for target in TargetGroup::from(group).targets {
                let mut labels = Labels::default();
                for (name, value) in group.labels.iter().chain(&target) {
                    labels.set(name, value);
                }
                let kept = relabel::apply(rules, &mut labels);
                if let (true, Err(problem)) = (kept, check_address(labels.get(ADDRESS))) {
                    fields.wrong(problem);
                }
            }
        }
    }
}

/// Reads `sigv4`; true when it is there.
fn read_sigv4(fields: &Fields<'_>) -> bool {
    let Some(inner) = fields.map("sigv4", "sigv4.plain") else { return false };
    let text = |name: &str| inner.text_or_empty(name);
    let (access, secret) = (text("access_key"), text("secret_key"));
    for name in ["region", "profile", "role_arn", "external_id", "service_name"] {
        let _ = inner.text(name);
    }
    let _ = inner.boolean("use_fips_sts_endpoint");
    if access.is_empty() != secret.is_empty() {
        inner.wrong("must provide a AWS SigV4 Access key and Secret Key if credentials are specified in the SigV4 config");
    }
    inner.finish();
    true
}

const REMOTE_AUTHORIZATION: &str = "authorization header must be changed via the basic_auth, authorization, oauth2, \
                                    sigv4, azuread or google_iam parameter";

pub(crate) fn read_remote_write(fields: &Fields<'_>, names: NameScheme) {
    let log = fields.log();
    let mut before: Vec<String> = Vec::new();
    for node in fields.items("remote_write", "[]*config.RemoteWriteConfig") {
        unused(log, "remote_write");
        if node.is_null() {
            log.note(Some(node.mark.line), "empty or null remote write config section");
        } else if let Some(name) = read_writer(node, names, log) {
            repeated(&mut before, name, "write", node, log);
        }
    }
}

fn repeated(before: &mut Vec<String>, name: String, what: &str, node: &Node, log: &Log) {
    if !name.is_empty() && before.contains(&name) {
        let name = quote(&name);
        log.note(Some(node.mark.line), format!("found multiple remote {what} configs with job name {name}"));
    }
    before.push(name);
}

fn read_writer(node: &Node, names: NameScheme, log: &Log) -> Option<String> {
    let fields = Fields::open(node, "config.plain", log)?;
    if read_url(&fields, "url").is_none() && fields.some("url").is_none() {
        fields.wrong("url for remote_write is empty");
    }
    let rules =
        read_rules(&fields, "write_relabel_configs", "empty or null relabeling rule in remote write config");
    checked(rules, names, log);
    let _ = check_remote_headers(&fields, REMOTE_AUTHORIZATION);
    let _ = fields.duration("remote_timeout");
    for name in ["send_exemplars", "send_native_histograms", "round_robin_dns", "failed_request_logging"] {
        let _ = fields.boolean(name);
    }
    let message = fields.text("protobuf_message").unwrap_or_else(|| "prometheus.WriteRequest".to_owned());
    if !matches!(message.as_str(), "prometheus.WriteRequest" | "io.prometheus.write.v2.Request") {
        fields.wrong(format!(
            "invalid protobuf_message value: unknown type for remote write protobuf message {message}, supported: \
             prometheus.WriteRequest, io.prometheus.write.v2.Request"
        ));
    }
    let client = read_client(&fields);
    if let Some(queue) = fields.map("queue_config", "config.QueueConfig") {
        read_queue(queue, &fields);
    }
    if let Some(metadata) = fields.map("metadata_config", "config.MetadataConfig") {
        let _ = (metadata.boolean("send"), metadata.duration("send_interval"));
        let _ = metadata.integer("max_samples_per_send");
        metadata.finish();
    }
    check_one_authentication(&fields, &client);
    let name = fields.text_or_empty("name");
    fields.finish();
    Some(name)
}

fn check_one_authentication(fields: &Fields<'_>, client: &HttpClient) {
    let bearer = fields.some("bearer_token").is_some() || fields.some("bearer_token_file").is_some();
    let ways = [
        ("basic_auth", client.basic_auth.is_some()),
        ("authorization", client.authorization.is_some() || bearer),
        ("oauth2", client.oauth2.is_some()),
        ("sigv4", read_sigv4(fields)),
        ("azuread", read_azure(fields)),
        ("google_iam", read_google(fields)),
    ];
    let configured: Vec<_> = ways.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    if configured.len() > 1 {
        fields.wrong(format!(
            "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam must be configured. \
             Currently configured: [{}]",
            configured.join(" ")
        ));
    }
}

fn read_google(fields: &Fields<'_>) -> bool {
    let Some(inner) = fields.map("google_iam", "googleiam.Config") else { return false };
    let _ = inner.text("credentials_file");
    inner.finish();
    true
}

fn is_uuid(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| *c != '-').collect();
    plain.len() == 32 && plain.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn read_azure(fields: &Fields<'_>) -> bool {
    let Some(inner) = fields.map("azuread", "azuread.plain") else { return false };
    let cloud = inner.text_or_empty("cloud");
    if !matches!(cloud.as_str(), "" | "AzurePublic" | "AzureChina" | "AzureGovernment") {
        inner.wrong("must provide a cloud in the Azure AD config");
    }
    let scope = inner.text_or_empty("scope");
    let allowed = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || "_:/.-".contains(c);
    if !scope.chars().all(allowed) {
        inner.wrong("the provided scope contains invalid characters");
    }
    let methods = AZURE_METHODS.iter().filter(|method| read_azure_method(&inner, method)).count();
    if methods == 0 {
        inner.wrong(
            "must provide an Azure Managed Identity, Azure Workload Identity, Azure OAuth, Azure Certificate or Azure \
             SDK in the Azure AD config",
        );
    } else if methods > 1 {
        inner.wrong("cannot provide multiple authentication methods in the Azure AD config");
    }
    inner.finish();
    true
}

struct AzureMethod {
    key: &'static str,
    word: &'static str,
    type_name: &'static str,
    required: &'static [&'static str],
    fields: &'static [&'static str],
}

const AZURE_METHODS: [AzureMethod; 5] = [
    AzureMethod {
        key: "managed_identity",
        word: "Managed Identity",
        type_name: "azuread.ManagedIdentityConfig",
        required: &[],
        fields: &["client_id"],
    },
    AzureMethod {
        key: "workload_identity",
        word: "Workload Identity",
        type_name: "azuread.WorkloadIdentityConfig",
        required: &["client_id", "tenant_id"],
        fields: &["client_id", "tenant_id", "token_file_path"],
    },
    AzureMethod {
        key: "oauth",
        word: "OAuth",
        type_name: "azuread.OAuthConfig",
        required: &["client_id", "client_secret", "tenant_id"],
        fields: &["client_id", "client_secret", "tenant_id"],
    },
    AzureMethod {
        key: "sdk",
        word: "SDK",
        type_name: "azuread.SDKConfig",
        required: &[],
        fields: &["tenant_id"],
    },
    AzureMethod {
        key: "certificate",
        word: "Certificate",
        type_name: "azuread.CertificateConfig",
        required: &["client_id", "tenant_id", "certificate_path"],
        fields: &[
            "client_id",
            "tenant_id",
            "certificate_path",
            "certificate_key_path",
            "certificate_password",
        ],
    },
];

fn read_azure_method(outer: &Fields<'_>, method: &AzureMethod) -> bool {
    let Some(inner) = outer.map(method.key, method.type_name) else { return false };
    for name in method.fields {
        let _ = inner.text(name);
    }
    let _ = inner.boolean("send_certificate_chain");
    let missing = method.required.iter().find(|name| inner.text_or_empty(name).is_empty());
    let client_id = inner.text_or_empty("client_id");
    if let Some(name) = missing {
        outer.wrong(format!("must provide an Azure {} {name} in the Azure AD config", method.word));
    } else if !client_id.is_empty() && !is_uuid(&client_id) {
        outer.wrong(format!("the provided Azure {} client_id is invalid", method.word));
    }
    inner.finish();
    true
}

fn read_queue(queue: Fields<'_>, outer: &Fields<'_>) {
    let number = |name: &str, default: i64| queue.integer(name).unwrap_or(default);
    let (capacity, max, min) =
        (number("capacity", 10_000), number("max_shards", 50), number("min_shards", 1));
    let per_send = number("max_samples_per_send", 2000);
    let millis = |name: &str, default: u128| queue.duration(name).map_or(default, |span| span.as_millis());
    let (backoff_min, backoff_max) = (millis("min_backoff", 30), millis("max_backoff", 5000));
    let _ = (queue.duration("batch_send_deadline"), queue.duration("sample_age_limit"));
    let _ = queue.boolean("retry_on_http_429");
    let problem = if max <= 0 {
        "max_shards must be positive"
    } else if min <= 0 {
        "min_shards must be positive"
    } else if min > max {
        "min_shards must not be greater than max_shards"
    } else if per_send <= 0 {
        "max_samples_per_send must be positive"
    } else if capacity <= 0 {
        "capacity must be positive"
    } else if backoff_max < backoff_min {
        "max_backoff must not be less than min_backoff"
    } else {
        ""
    };
    if !problem.is_empty() {
        outer.wrong(format!("remote write queue {problem}"));
    }
    queue.finish();
}

pub(crate) fn read_remote_read(fields: &Fields<'_>) {
    let log = fields.log();
    let mut before: Vec<String> = Vec::new();
    for node in fields.items("remote_read", "[]*config.RemoteReadConfig") {
        unused(log, "remote_read");
        if node.is_null() {
            log.note(Some(node.mark.line), "empty or null remote read config section");
        } else if let Some(name) = read_reader(node, log) {
            repeated(&mut before, name, "read", node, log);
        }
    }
}

fn read_reader(node: &Node, log: &Log) -> Option<String> {
    let fields = Fields::open(node, "config.plain", log)?;
    if read_url(&fields, "url").is_none() && fields.some("url").is_none() {
        fields.wrong("url for remote_read is empty");
    }
    let _ = check_remote_headers(&fields, REMOTE_AUTHORIZATION);
    let _ = (fields.duration("remote_timeout"), fields.unsigned("chunked_read_limit", "uint64"));
    let _ = (fields.boolean("read_recent"), fields.boolean("filter_external_labels"));
    let _ = discovery::read_labels(&fields, "required_matchers");
    read_client(&fields);
    let name = fields.text_or_empty("name");
    fields.finish();
    Some(name)
}

pub(crate) fn read_storage(fields: &Fields<'_>) -> Storage {
    let mut storage = Storage::default();
    let Some(section) = fields.map("storage", "config.StorageConfig") else { return storage };
    unused(fields.log(), "storage");
    if let Some(tsdb) = section.map("tsdb", "config.plain") {
        storage.out_of_order_time_window = tsdb.duration("out_of_order_time_window");
        let _ = tsdb.float("stale_series_compaction_threshold");
        if let Some(encoding) = tsdb.map("chunk_encoding", "config.ChunkEncodingConfig") {
            let floats = encoding.text_or_empty("floats");
            if !matches!(floats.as_str(), "" | "xor" | "xor2") {
                tsdb.wrong(format!(
                    "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the field must be omitted \
                     entirely, got {}",
                    quote(&floats)
                ));
            }
            encoding.finish();
        }
        if let Some(retention) = tsdb.map("retention", "config.plain") {
            read_retention(retention, &mut storage);
        }
        tsdb.finish();
    }
    if let Some(exemplars) = section.map("exemplars", "config.ExemplarsConfig") {
        storage.max_exemplars = exemplars.integer("max_exemplars");
        exemplars.finish();
    }
    section.finish();
    storage
}

fn read_retention(retention: Fields<'_>, storage: &mut Storage) {
    storage.retention_time = retention.duration("time").filter(|time| !time.is_zero());
    let size = retention.size("size").unwrap_or(0);
    if size < 0 {
        retention
            .wrong(format!("'storage.tsdb.retention.size' must be greater than or equal to 0, got {size}B"));
    }
    storage.retention_size = u64::try_from(size).ok().filter(|size| *size > 0);
    let percentage = retention.float("percentage").unwrap_or(0.0);
    if !(0.0..=100.0).contains(&percentage) {
        retention.wrong(format!(
            "'storage.tsdb.retention.percentage' must be in the range [0, 100], got {percentage}"
        ));
    }
    retention.finish();
}

pub(crate) fn read_tracing(fields: &Fields<'_>) {
    let Some(tracing) = fields.map("tracing", "config.plain") else { return };
    unused(fields.log(), "tracing");
    if let Some(client) = tracing.text("client_type").filter(|client| client != "http" && client != "grpc") {
        tracing.wrong(format!("expected tracing client type to be to be http or grpc, but got {client}"));
    }
    let _ = (tracing.float("sampling_fraction"), tracing.boolean("insecure"), tracing.duration("timeout"));
    read_tls(&tracing, "tls_config");
    check_remote_headers(&tracing, "custom authorization header configuration is not yet supported");
    if tracing.text_or_empty("endpoint").is_empty() {
        tracing.wrong("tracing endpoint must be set");
    }
    let compression = tracing.text_or_empty("compression");
    if !matches!(compression.as_str(), "" | "gzip") {
        tracing.wrong(format!("invalid compression type {compression} provided, valid options: gzip"));
    }
    tracing.finish();
}

pub(crate) fn read_otlp(fields: &Fields<'_>, names: NameScheme) {
    let Some(otlp) = fields.map("otlp", "config.plain") else { return };
    unused(fields.log(), "otlp");
    let all = otlp.boolean("promote_all_resource_attributes").unwrap_or(false);
    let promoted = otlp.texts("promote_resource_attributes");
    let ignored = otlp.texts("ignore_resource_attributes");
    for name in [
        "keep_identifying_resource_attributes",
        "convert_histograms_to_nhcb",
        "promote_scope_metadata",
        "label_name_underscore_sanitization",
        "label_name_preserve_multiple_underscores",
    ] {
        let _ = otlp.boolean(name);
    }
    if all && !promoted.is_empty() {
        otlp.wrong(
            "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured simultaneously",
        );
    } else if all {
        check_attributes(&otlp, &ignored, "ignore_resource_attributes", "ignored");
    } else if !ignored.is_empty() {
        otlp.wrong(
            "'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is true",
        );
    } else {
        check_attributes(&otlp, &promoted, "promote_resource_attributes", "promoted");
    }
    let strategy = otlp.text_or_empty("translation_strategy");
    match strategy.as_str() {
        "" | "UnderscoreEscapingWithSuffixes" | "UnderscoreEscapingWithoutSuffixes" => {}
        "NoTranslation" | "NoUTF8EscapingWithSuffixes" if names == NameScheme::Utf8 => {}
        "NoTranslation" | "NoUTF8EscapingWithSuffixes" => otlp.wrong(format!(
            "OTLP translation strategy {} is not allowed when UTF8 is disabled",
            quote(&strategy)
        )),
        _ => otlp.wrong(format!("unsupported OTLP translation strategy {}", quote(&strategy))),
    }
    otlp.finish();
}

fn check_attributes(otlp: &Fields<'_>, attributes: &[String], field: &str, word: &str) {
    let mut seen: Vec<&str> = Vec::new();
    let mut problems = Vec::new();
    for attribute in attributes.iter().map(|attribute| attribute.trim()) {
        if attribute.is_empty() {
            problems.push(format!("empty {word} OTel resource attribute"));
        } else if seen.contains(&attribute) {
            problems.push(format!("duplicated {word} OTel resource attribute {}", quote(attribute)));
        } else {
            seen.push(attribute);
        }
    }
    if !problems.is_empty() {
        otlp.wrong(format!("invalid '{field}': {}", problems.join("\n")));
    }
}
