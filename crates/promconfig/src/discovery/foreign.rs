//! The mechanisms that Kenning does not run: their fields and what Prometheus checks of them.

use std::collections::HashMap;

use super::check_http_url;
use crate::fields::{Fields, Log};
use crate::http::{HttpClient, read_client, read_tls, read_url};
use crate::units;
use crate::yaml::Node;
use kenning_gotext::quote::quote;

/// What a field holds.
#[derive(Clone, Copy)]
enum Is {
    Text,
    Texts,
    Bool,
    Int,
    Span,
    Url,
    TextMap,
    Tls,
    /// A mapping with these fields.
    Inner(&'static Inner),
    /// A list of such mappings.
    List(&'static Inner),
}

struct Inner {
    type_name: &'static str,
    fields: &'static [(&'static str, Is)],
}

/// A mechanism's settings.
pub(super) struct Mechanism {
    pub key: &'static str,
    type_name: &'static str,
    /// Takes the fields of an HTTP client too.
    http: bool,
    fields: &'static [(&'static str, Is)],
    check: fn(&Seen<'_, '_>),
}

/// What was read, for the checks.
struct Seen<'s, 'n> {
    fields: &'s Fields<'n>,
    client: HttpClient,
    values: HashMap<&'static str, Got>,
}

enum Got {
    Text(String),
    Texts(Vec<String>),
    Bool(bool),
    Other,
    Items(Vec<HashMap<&'static str, Got>>),
}

impl Seen<'_, '_> {
    fn text(&self, name: &str) -> &str {
        text_in(&self.values, name)
    }

    /// The text of a field that has a default.
    fn text_or<'d>(&'d self, name: &str, default: &'d str) -> &'d str {
        if self.fields.has(name) { self.text(name) } else { default }
    }

    fn texts(&self, name: &str) -> &[String] {
        match self.values.get(name) {
            Some(Got::Texts(texts)) => texts,
            _ => &[],
        }
    }

    fn items(&self, name: &str) -> &[HashMap<&'static str, Got>] {
        match self.values.get(name) {
            Some(Got::Items(items)) => items,
            _ => &[],
        }
    }

    fn wrong(&self, message: impl Into<String>) {
        self.fields.wrong(message);
    }

    /// Notes the first of these fields that is empty, with its message.
    fn require(&self, required: &[(&str, &str)]) {
        if let Some((_, message)) = required.iter().find(|(name, _)| self.text(name).is_empty()) {
            self.wrong(*message);
        }
    }
}

fn text_in<'v>(values: &'v HashMap<&'static str, Got>, name: &str) -> &'v str {
    match values.get(name) {
        Some(Got::Text(text)) => text,
        _ => "",
    }
}

/// Reads and checks one section.
pub(super) fn read(node: &Node, mechanism: &Mechanism, log: &Log) -> Option<()> {
    let fields = Fields::open(node, mechanism.type_name, log)?;
    let before = log.problems();
    let values = read_all(&fields, mechanism.fields);
    let client = if mechanism.http { read_client(&fields) } else { HttpClient::default() };
    if log.problems() == before {
        (mechanism.check)(&Seen { fields: &fields, client, values });
    }
    fields.finish();
    Some(())
}

fn read_all<'n>(fields: &Fields<'n>, wanted: &'static [(&'static str, Is)]) -> HashMap<&'static str, Got> {
    let mut values = HashMap::new();
    for (name, is) in wanted {
        let got = match is {
            Is::Text => fields.text(name).map(Got::Text),
            Is::Texts => Some(Got::Texts(fields.texts(name))),
            Is::Bool => fields.boolean(name).map(Got::Bool),
            Is::Int => fields.integer(name).map(|value| Got::Text(value.to_string())),
            Is::Span => fields.duration(name).map(|span| Got::Text(units::show_duration(span))),
            Is::Url => read_url(fields, name).map(|(text, _)| Got::Text(text)),
            Is::TextMap => {
                let _ = fields.text_map(name);
                Some(Got::Other)
            }
            Is::Tls => {
                read_tls(fields, name);
                Some(Got::Other)
            }
            Is::Inner(inner) => {
                let opened = fields.map(name, inner.type_name);
                opened.map(|opened| Got::Items(vec![read_inner(opened, inner)]))
            }
            Is::List(inner) => {
                let items = fields.items(name, inner.type_name);
                let opened = items.filter_map(|node| Fields::open(node, inner.type_name, fields.log()));
                Some(Got::Items(opened.map(|opened| read_inner(opened, inner)).collect()))
            }
        };
        if let Some(got) = got {
            values.insert(*name, got);
        }
    }
    values
}

/// One level only: no mechanism nests deeper.
fn read_inner(opened: Fields<'_>, inner: &'static Inner) -> HashMap<&'static str, Got> {
    let values = read_all(&opened, inner.fields);
    opened.finish();
    values
}

use Is::{Bool, Int, List, Span, Text, TextMap, Texts, Tls};

const FILTER: Inner = Inner { type_name: "aws.Filter", fields: &[("name", Text), ("values", Texts)] };
const MOBY_FILTER: Inner = Inner { type_name: "moby.Filter", fields: &[("name", Text), ("values", Texts)] };
const NAMESPACES: Inner =
    Inner { type_name: "kubernetes.plain", fields: &[("own_namespace", Bool), ("names", Texts)] };
const SELECTOR: Inner = Inner {
    type_name: "kubernetes.SelectorConfig",
    fields: &[("role", Text), ("label", Text), ("field", Text)],
};
const ATTACH: Inner = Inner {
    type_name: "kubernetes.AttachMetadataConfig",
    fields: &[("node", Bool), ("namespace", Bool), ("deployment", Bool), ("job", Bool), ("cronjob", Bool)],
};

macro_rules! aws {
    ($key:literal, $type:literal, $check:expr, $($field:tt)*) => {
        Mechanism {
            key: $key,
            type_name: $type,
            http: true,
            fields: &[
                ("endpoint", Text), ("region", Text), ("access_key", Text), ("secret_key", Text),
                ("profile", Text), ("role_arn", Text), ("external_id", Text), ("refresh_interval", Span),
                ("port", Int), $($field)*
            ],
            check: $check,
        }
    };
}

const fn nothing(_: &Seen<'_, '_>) {}

pub(super) const MECHANISMS: &[Mechanism] = &[
    aws!(
        "aws_sd_configs",
        "aws.plain",
        check_aws,
        ("role", Text),
        ("filters", List(&FILTER)),
        ("clusters", Texts)
    ),
    aws!("ec2_sd_configs", "aws.plain", check_ec2, ("filters", List(&FILTER))),
    aws!("ecs_sd_configs", "aws.plain", nothing, ("clusters", Texts), ("request_concurrency", Int)),
    aws!("elasticache_sd_configs", "aws.plain", nothing, ("clusters", Texts), ("request_concurrency", Int)),
    aws!("lightsail_sd_configs", "aws.plain", nothing,),
    aws!("msk_sd_configs", "aws.plain", nothing, ("clusters", Texts), ("request_concurrency", Int)),
    aws!(
        "rds_sd_configs",
        "aws.plain",
        nothing,
        ("clusters", Texts),
        ("filters", List(&FILTER)),
        ("request_concurrency", Int)
    ),
    Mechanism {
        key: "azure_sd_configs",
        type_name: "azure.plain",
        http: true,
        fields: &[
            ("environment", Text),
            ("port", Int),
            ("subscription_id", Text),
            ("tenant_id", Text),
            ("client_id", Text),
            ("client_secret", Text),
            ("refresh_interval", Span),
            ("authentication_method", Text),
            ("resource_group", Text),
        ],
        check: check_azure,
    },
    Mechanism {
        key: "consul_sd_configs",
        type_name: "consul.plain",
        http: true,
        fields: &[
            ("server", Text),
            ("path_prefix", Text),
            ("token", Text),
            ("datacenter", Text),
            ("namespace", Text),
            ("partition", Text),
            ("tag_separator", Text),
            ("scheme", Text),
            ("username", Text),
            ("password", Text),
            ("allow_stale", Bool),
            ("refresh_interval", Span),
            ("services", Texts),
            ("tags", Texts),
            ("node_meta", TextMap),
            ("filter", Text),
            ("health_filter", Text),
        ],
        check: check_consul,
    },
    Mechanism {
        key: "digitalocean_sd_configs",
        type_name: "digitalocean.plain",
        http: true,
        fields: &[("refresh_interval", Span), ("port", Int), ("role", Text)],
        check: |seen| match seen.text_or("role", "droplets") {
            "droplets" | "databases" => {}
            "" => seen.wrong("role missing (one of: droplets, databases)"),
            role => seen.wrong(format!("unknown DigitalOcean SD role {}", quote(role))),
        },
    },
    Mechanism {
        key: "dockerswarm_sd_configs",
        type_name: "moby.plain",
        http: true,
        fields: &[
            ("host", Text),
            ("role", Text),
            ("port", Int),
            ("filters", List(&MOBY_FILTER)),
            ("refresh_interval", Span),
        ],
        check: check_swarm,
    },
    Mechanism {
        key: "eureka_sd_configs",
        type_name: "eureka.plain",
        http: true,
        fields: &[("server", Text), ("refresh_interval", Span)],
        check: |seen| {
            let server = seen.text("server");
            match units::url(server) {
                _ if server.is_empty() => seen.wrong("eureka_sd: empty or null eureka server"),
                Err(message) => seen.wrong(message),
                Ok(url) if url.scheme.is_empty() || url.host.is_empty() => {
                    seen.wrong("eureka_sd: invalid eureka server URL");
                }
                Ok(_) => {}
            }
        },
    },
    Mechanism {
        key: "gce_sd_configs",
        type_name: "gce.plain",
        http: false,
        fields: &[
            ("project", Text),
            ("zone", Text),
            ("filter", Text),
            ("refresh_interval", Span),
            ("port", Int),
            ("tag_separator", Text),
        ],
        check: |seen| {
            seen.require(&[
                ("project", "GCE SD configuration requires a project"),
                ("zone", "GCE SD configuration requires a zone"),
            ]);
        },
    },
    Mechanism {
        key: "hetzner_sd_configs",
        type_name: "hetzner.plain",
        http: true,
        fields: &[("refresh_interval", Span), ("port", Int), ("role", Text), ("label_selector", Text)],
        check: |seen| match seen.text("role") {
            "robot" | "hcloud" => {}
            "" if !seen.fields.has("role") => seen.wrong("role missing (one of: robot, hcloud)"),
            role => seen.wrong(format!("unknown role {}", quote(role))),
        },
    },
    Mechanism {
        key: "ionos_sd_configs",
        type_name: "ionos.plain",
        http: true,
        fields: &[("datacenter_id", Text), ("refresh_interval", Span), ("port", Int)],
        check: |seen| seen.require(&[("datacenter_id", "datacenter id can't be empty")]),
    },
    Mechanism {
        key: "kubernetes_sd_configs",
        type_name: "kubernetes.plain",
        http: true,
        fields: &[
            ("api_server", Is::Url),
            ("role", Text),
            ("kubeconfig_file", Text),
            ("namespaces", Is::Inner(&NAMESPACES)),
            ("selectors", List(&SELECTOR)),
            ("attach_metadata", Is::Inner(&ATTACH)),
        ],
        check: check_kubernetes,
    },
    Mechanism {
        key: "kuma_sd_configs",
        type_name: "xds.plainKumaConf",
        http: true,
        fields: &[("refresh_interval", Span), ("fetch_timeout", Span), ("server", Text), ("client_id", Text)],
        check: |seen| {
            let server = seen.text("server");
            match units::url(server) {
                _ if server.is_empty() => seen.wrong("kuma SD server must not be empty: "),
                Err(message) => seen.wrong(message),
                Ok(url) if url.scheme.is_empty() || url.host.is_empty() => {
                    seen.wrong(format!("kuma SD server must not be empty and have a scheme: {server}"));
                }
                Ok(_) => {}
            }
        },
    },
    Mechanism {
        key: "linode_sd_configs",
        type_name: "linode.plain",
        http: true,
        fields: &[("refresh_interval", Span), ("port", Int), ("tag_separator", Text), ("region", Text)],
        check: nothing,
    },
    Mechanism {
        key: "marathon_sd_configs",
        type_name: "marathon.plain",
        http: true,
        fields: &[
            ("servers", Texts),
            ("refresh_interval", Span),
            ("auth_token", Text),
            ("auth_token_file", Text),
        ],
        check: check_marathon,
    },
    zookeeper("nerve_sd_configs", |seen| check_zookeeper(seen, "nerve")),
    zookeeper("serverset_sd_configs", |seen| check_zookeeper(seen, "serverset")),
    Mechanism {
        key: "nomad_sd_configs",
        type_name: "nomad.plain",
        http: true,
        fields: &[
            ("allow_stale", Bool),
            ("namespace", Text),
            ("refresh_interval", Span),
            ("region", Text),
            ("server", Text),
            ("tag_separator", Text),
        ],
        check: |seen| {
            if seen.text_or("server", "http://localhost:4646").trim().is_empty() {
                seen.wrong("nomad SD configuration requires a server address");
            }
        },
    },
    Mechanism {
        key: "oci_sd_configs",
        type_name: "oci.plain",
        http: true,
        fields: &[
            ("auth", Text),
            ("tenancy", Text),
            ("user", Text),
            ("fingerprint", Text),
            ("key_file", Text),
            ("key_passphrase", Text),
            ("key_passphrase_file", Text),
            ("region", Text),
            ("compartments", Texts),
            ("port", Int),
            ("refresh_interval", Span),
        ],
        check: check_oci,
    },
    Mechanism {
        key: "openstack_sd_configs",
        type_name: "openstack.plain",
        http: false,
        fields: &[
            ("identity_endpoint", Text),
            ("username", Text),
            ("userid", Text),
            ("password", Text),
            ("project_name", Text),
            ("project_id", Text),
            ("domain_name", Text),
            ("domain_id", Text),
            ("application_credential_name", Text),
            ("application_credential_id", Text),
            ("application_credential_secret", Text),
            ("role", Text),
            ("region", Text),
            ("refresh_interval", Span),
            ("port", Int),
            ("all_tenants", Bool),
            ("tls_config", Tls),
            ("availability", Text),
        ],
        check: check_openstack,
    },
    Mechanism {
        key: "outscale_sd_configs",
        type_name: "outscale.plain",
        http: true,
        fields: &[
            ("endpoint", Text),
            ("region", Text),
            ("access_key", Text),
            ("secret_key", Text),
            ("secret_key_file", Text),
            ("refresh_interval", Span),
            ("port", Int),
        ],
        check: check_outscale,
    },
    Mechanism {
        key: "ovhcloud_sd_configs",
        type_name: "ovhcloud.plain",
        http: false,
        fields: &[
            ("endpoint", Text),
            ("application_key", Text),
            ("application_secret", Text),
            ("consumer_key", Text),
            ("refresh_interval", Span),
            ("service", Text),
        ],
        check: check_ovhcloud,
    },
    Mechanism {
        key: "puppetdb_sd_configs",
        type_name: "puppetdb.plain",
        http: true,
        fields: &[
            ("refresh_interval", Span),
            ("url", Text),
            ("query", Text),
            ("include_parameters", Bool),
            ("port", Int),
        ],
        check: |seen| {
            check_http_url(seen.fields, seen.text("url"));
            seen.require(&[("query", "query missing")]);
        },
    },
    Mechanism {
        key: "scaleway_sd_configs",
        type_name: "scaleway.plain",
        http: true,
        fields: &[
            ("project_id", Text),
            ("api_url", Text),
            ("zone", Text),
            ("access_key", Text),
            ("secret_key", Text),
            ("secret_key_file", Text),
            ("name_filter", Text),
            ("tags_filter", Texts),
            ("refresh_interval", Span),
            ("port", Int),
            ("role", Text),
        ],
        check: check_scaleway,
    },
    Mechanism {
        key: "stackit_sd_configs",
        type_name: "stackit.plain",
        http: true,
        fields: &[
            ("project", Text),
            ("refresh_interval", Span),
            ("port", Int),
            ("region", Text),
            ("endpoint", Text),
            ("service_account_key", Text),
            ("private_key", Text),
            ("service_account_key_path", Text),
            ("private_key_path", Text),
            ("credentials_file_path", Text),
        ],
        check: |seen| {
            let endpoint = seen.text("endpoint");
            if endpoint.is_empty() && seen.text_or("region", "eu01").is_empty() {
                seen.wrong("stackit_sd: endpoint and region missing");
            } else if let Err(message) = units::url(endpoint) {
                seen.wrong(format!("stackit_sd: invalid endpoint {}: {message}", quote(endpoint)));
            }
        },
    },
    Mechanism {
        key: "triton_sd_configs",
        type_name: "triton.plain",
        http: false,
        fields: &[
            ("account", Text),
            ("role", Text),
            ("dns_suffix", Text),
            ("endpoint", Text),
            ("groups", Texts),
            ("port", Int),
            ("refresh_interval", Span),
            ("tls_config", Tls),
            ("version", Int),
        ],
        check: check_triton,
    },
    Mechanism {
        key: "uyuni_sd_configs",
        type_name: "uyuni.plain",
        http: true,
        fields: &[
            ("server", Text),
            ("username", Text),
            ("password", Text),
            ("entitlement", Text),
            ("separator", Text),
            ("refresh_interval", Span),
        ],
        check: |seen| {
            if let (false, Err(message)) = (seen.text("server").is_empty(), units::url(seen.text("server"))) {
                seen.wrong(format!("Uyuni Server URL is not valid: {message}"));
            }
            seen.require(&[
                ("server", "Uyuni SD configuration requires server host"),
                ("username", "Uyuni SD configuration requires a username"),
                ("password", "Uyuni SD configuration requires a password"),
            ]);
        },
    },
    Mechanism {
        key: "vultr_sd_configs",
        type_name: "vultr.plain",
        http: true,
        fields: &[("refresh_interval", Span), ("port", Int)],
        check: nothing,
    },
];

const fn zookeeper(key: &'static str, check: fn(&Seen<'_, '_>)) -> Mechanism {
    Mechanism {
        key,
        type_name: "zookeeper.plain",
        http: false,
        fields: &[("servers", Texts), ("paths", Texts), ("timeout", Span)],
        check,
    }
}

fn check_aws(seen: &Seen<'_, '_>) {
    let role = seen.text("role");
    if !matches!(role, "ec2" | "ecs" | "elasticache" | "lightsail" | "msk" | "rds") {
        seen.wrong(format!("unknown AWS SD role {}", quote(role)));
    }
}

fn check_ec2(seen: &Seen<'_, '_>) {
    let without_values = |filter: &&HashMap<&'static str, Got>| !matches!(filter.get("values"), Some(Got::Texts(v)) if !v.is_empty());
    if seen.items("filters").iter().any(|filter| without_values(&filter)) {
        seen.wrong("EC2 SD configuration filter values cannot be empty");
    }
}

fn check_azure(seen: &Seen<'_, '_>) {
    let method = seen.text_or("authentication_method", "OAuth");
    seen.require(&[("subscription_id", "azure SD configuration requires a subscription_id")]);
    match method {
        "OAuth" => seen.require(&[
            ("tenant_id", "azure SD configuration requires a tenant_id"),
            ("client_id", "azure SD configuration requires a client_id"),
            ("client_secret", "azure SD configuration requires a client_secret"),
        ]),
        "ManagedIdentity" | "SDK" | "WorkloadIdentity" => {}
        _ => seen.wrong(format!(
            "unknown authentication_type {}. Supported types are \"OAuth\", \"ManagedIdentity\", \"SDK\" or \
             \"WorkloadIdentity\"",
            quote(method)
        )),
    }
}

fn check_consul(seen: &Seen<'_, '_>) {
    if seen.text_or("server", "localhost:8500").trim().is_empty() {
        seen.wrong("consul SD configuration requires a server address");
    }
    let named = !seen.text("username").is_empty() || !seen.text("password").is_empty();
    if named && seen.client.basic_auth.is_some() {
        seen.wrong(
            "at most one of consul SD configuration username and password and basic auth can be configured",
        );
    }
    if !seen.text("token").is_empty() && (seen.client.authorization.is_some() || seen.client.oauth2.is_some())
    {
        seen.wrong("at most one of consul SD token, authorization, or oauth2 can be configured");
    }
}

fn check_swarm(seen: &Seen<'_, '_>) {
    let host = seen.text("host");
    if host.is_empty() {
        seen.wrong("host missing");
    } else if let Err(message) = units::url(host) {
        seen.wrong(message);
    }
    match seen.text("role") {
        "services" | "nodes" | "tasks" => {}
        "" => seen.wrong("role missing (one of: tasks, services, nodes)"),
        role => seen.wrong(format!("invalid role {role}, expected tasks, services, or nodes")),
    }
}

const KUBERNETES_SELECTORS: [(&str, &[&str]); 6] = [
    ("pod", &["pod", "node"]),
    ("service", &["service"]),
    ("endpointslice", &["pod", "service", "endpointslice"]),
    ("endpoints", &["pod", "service", "endpoints"]),
    ("node", &["node"]),
    ("ingress", &["ingress"]),
];

fn check_kubernetes(seen: &Seen<'_, '_>) {
    let role = seen.text("role");
    let allowed = KUBERNETES_SELECTORS.iter().find(|(known, _)| *known == role).map(|(_, allowed)| *allowed);
    if role.is_empty() && !seen.fields.has("role") {
        seen.wrong("role missing (one of: pod, service, endpoints, endpointslice, node, ingress)");
    } else if allowed.is_none() {
        seen.wrong(format!("unknown Kubernetes SD role {}", quote(role)));
    }
    let server = seen.fields.some("api_server").is_some();
    let file = !seen.text("kubeconfig_file").is_empty();
    let own_client = seen.client != HttpClient::default();
    let namespaces = seen.items("namespaces").first();
    let own_namespace =
        namespaces.is_some_and(|inner| matches!(inner.get("own_namespace"), Some(Got::Bool(true))));
    let problem = match (server, file, own_client, own_namespace) {
        (true, true, _, _) => "cannot use 'kubeconfig_file' and 'api_server' simultaneously",
        (_, true, true, _) => "cannot use a custom HTTP client configuration together with 'kubeconfig_file'",
        (false, _, true, _) => {
            "to use custom HTTP client configuration please provide the 'api_server' URL explicitly"
        }
        (true, _, _, true) => "cannot use 'api_server' and 'namespaces.own_namespace' simultaneously",
        (_, true, _, true) => "cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously",
        _ => "",
    };
    if !problem.is_empty() {
        seen.wrong(problem);
    }
    check_selectors(seen, role, allowed.unwrap_or_default());
}

fn check_selectors(seen: &Seen<'_, '_>, role: &str, allowed: &[&str]) {
    let mut before: Vec<&str> = Vec::new();
    for selector in seen.items("selectors") {
        let wanted = text_in(selector, "role");
        if before.contains(&wanted) {
            return seen.wrong(format!("duplicated selector role: {wanted}"));
        }
        before.push(wanted);
        if !wanted.is_empty() && !KUBERNETES_SELECTORS.iter().any(|(known, _)| *known == wanted) {
            return seen.wrong(format!("unknown Kubernetes SD role {}", quote(wanted)));
        }
        if !allowed.contains(&wanted) {
            return seen.wrong(format!("{role} role supports only {} selectors", allowed.join(", ")));
        }
        if let Some(problem) = selector_problem(text_in(selector, "field")) {
            return seen.wrong(problem);
        }
    }
}

/// A field selector is a list of `name=value`, `name==value` or `name!=value`.
fn selector_problem(selector: &str) -> Option<String> {
    let terms = selector.split(',').filter(|term| !term.is_empty());
    let bad = terms.into_iter().find(|term| !term.contains('='))?;
    Some(format!("invalid selector: '{selector}'; can't understand '{bad}'"))
}

fn check_marathon(seen: &Seen<'_, '_>) {
    let (token, file) = (!seen.text("auth_token").is_empty(), !seen.text("auth_token_file").is_empty());
    if seen.texts("servers").is_empty() {
        seen.wrong("marathon_sd: must contain at least one Marathon server");
    }
    if token && file {
        seen.wrong("marathon_sd: at most one of auth_token & auth_token_file must be configured");
    }
    if !(token || file) {
        return;
    }
    let bearer =
        seen.fields.some("bearer_token").is_some() || seen.fields.some("bearer_token_file").is_some();
    if seen.client.basic_auth.is_some() {
        seen.wrong("marathon_sd: at most one of basic_auth, auth_token & auth_token_file must be configured");
    } else if bearer {
        seen.wrong(
            "marathon_sd: at most one of bearer_token, bearer_token_file, auth_token & auth_token_file must be \
             configured",
        );
    } else if seen.client.authorization.is_some() {
        seen.wrong(
            "marathon_sd: at most one of auth_token, auth_token_file & authorization must be configured",
        );
    }
}

fn check_zookeeper(seen: &Seen<'_, '_>, name: &str) {
    if seen.texts("servers").is_empty() {
        seen.wrong(format!("{name} SD config must contain at least one Zookeeper server"));
    }
    let paths = seen.texts("paths");
    if paths.is_empty() {
        seen.wrong(format!("{name} SD config must contain at least one path"));
    }
    if let Some(path) = paths.iter().find(|path| !path.starts_with('/')) {
        seen.wrong(format!("{name} SD config paths must begin with '/': {path}"));
    }
}

fn check_oci(seen: &Seen<'_, '_>) {
    seen.require(&[("region", "oci_sd: region is required")]);
    match seen.text_or("auth", "api_key") {
        "api_key" => {
            seen.require(&[
                ("tenancy", "oci_sd: api_key auth requires tenancy"),
                ("user", "oci_sd: api_key auth requires user"),
                ("fingerprint", "oci_sd: api_key auth requires fingerprint"),
                ("key_file", "oci_sd: api_key auth requires key_file"),
            ]);
            if !seen.text("key_passphrase").is_empty() && !seen.text("key_passphrase_file").is_empty() {
                seen.wrong(
                    "oci_sd: at most one of key_passphrase and key_passphrase_file must be configured",
                );
            }
        }
        "instance_principal" => {
            let own = ["tenancy", "user", "fingerprint", "key_file", "key_passphrase", "key_passphrase_file"];
            if own.iter().any(|name| !seen.text(name).is_empty()) {
                seen.wrong(
                    "oci_sd: instance_principal auth must not have tenancy, user, fingerprint, key_file, \
                     key_passphrase, or key_passphrase_file set",
                );
            }
        }
        other => seen.wrong(format!(
            "oci_sd: unknown auth method {}, expected \"api_key\" or \"instance_principal\"",
            quote(other)
        )),
    }
    if let Some(place) = seen.texts("compartments").iter().position(String::is_empty) {
        seen.wrong(format!("oci_sd: compartments[{place}] must not be empty"));
    }
    if seen.text("refresh_interval") == "0s" {
        seen.wrong("oci_sd: refresh_interval must be positive, got 0s");
    }
}

fn check_openstack(seen: &Seen<'_, '_>) {
    let availability = seen.text_or("availability", "public");
    if !matches!(availability, "public" | "internal" | "admin") {
        seen.wrong(format!("unknown availability {availability}, must be one of admin, internal or public"));
    }
    match seen.text("role") {
        "hypervisor" | "instance" | "loadbalancer" => {}
        "" if !seen.fields.has("role") => {
            seen.wrong("role missing (one of: instance, hypervisor, loadbalancer)");
        }
        role => seen.wrong(format!("unknown OpenStack SD role {}", quote(role))),
    }
    seen.require(&[("region", "openstack SD configuration requires a region")]);
}

fn check_outscale(seen: &Seen<'_, '_>) {
    if seen.text_or("region", "eu-west-2").is_empty() {
        seen.wrong("outscale SD configuration requires a region");
    }
    seen.require(&[("access_key", "outscale SD configuration requires access_key")]);
    match (seen.text("secret_key").is_empty(), seen.text("secret_key_file").is_empty()) {
        (true, true) => seen.wrong("one of secret_key & secret_key_file must be configured"),
        (false, false) => seen.wrong("at most one of secret_key & secret_key_file must be configured"),
        _ => {}
    }
}

fn check_ovhcloud(seen: &Seen<'_, '_>) {
    if seen.text_or("endpoint", "ovh-eu").is_empty() {
        seen.wrong("endpoint can not be empty");
    }
    seen.require(&[
        ("application_key", "application key can not be empty"),
        ("application_secret", "application secret can not be empty"),
        ("consumer_key", "consumer key can not be empty"),
    ]);
    let service = seen.text("service");
    if !matches!(service, "dedicated_server" | "vps") {
        seen.wrong(format!("unknown service: {service}"));
    }
}

fn check_scaleway(seen: &Seen<'_, '_>) {
    match seen.text("role") {
        "instance" | "baremetal" => {}
        "" if !seen.fields.has("role") => return seen.wrong("role missing (one of: instance, baremetal)"),
        role => return seen.wrong(format!("unknown role {}", quote(role))),
    }
    seen.require(&[("project_id", "project_id is mandatory")]);
    match (seen.text("secret_key").is_empty(), seen.text("secret_key_file").is_empty()) {
        (true, true) => seen.wrong("one of secret_key & secret_key_file must be configured"),
        (false, false) => seen.wrong("at most one of secret_key & secret_key_file must be configured"),
        _ => {}
    }
    seen.require(&[("access_key", "access_key is mandatory")]);
}

fn check_triton(seen: &Seen<'_, '_>) {
    if !matches!(seen.text_or("role", "container"), "container" | "cn") {
        seen.wrong("triton SD configuration requires role to be 'container' or 'cn'");
    }
    seen.require(&[
        ("account", "triton SD configuration requires an account"),
        ("dns_suffix", "triton SD configuration requires a dns_suffix"),
        ("endpoint", "triton SD configuration requires an endpoint"),
    ]);
    if seen.text("refresh_interval") == "0s" {
        seen.wrong("triton SD configuration requires RefreshInterval to be a positive integer");
    }
}
