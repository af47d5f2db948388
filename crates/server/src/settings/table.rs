//! Every setting: key, help, and how it is read and shown. `docs/configuration.md` lists the same, checked by a test.

use super::Settings;
use super::kind::{
    Bytes, Count, Flag, Kind, List, Memory, OrUnlimited, Secret, Span, Text, WholePattern, Word,
};
use super::redact::{Allow, Keys, Kinds, Patterns};
use super::streams::Streams;

/// One setting.
pub struct Setting {
    /// Its key, as `--set` and (nested) `kenning.yaml` write it.
    pub key: &'static str,
    /// What it is for.
    pub help: &'static str,
    /// Reads a value.
    pub set: fn(&mut Settings, &str) -> Result<(), String>,
    /// Shows the value in force.
    pub get: fn(&Settings) -> String,
}

macro_rules! setting {
    ($key:literal, $kind:ty, $($field:ident).+, $help:literal) => {
        Setting {
            key: $key,
            help: $help,
            set: |settings, text| {
                settings.$($field).+ = <$kind as Kind<_>>::parse(text)?;
                Ok(())
            },
            get: |settings| <$kind as Kind<_>>::show(&settings.$($field).+),
        }
    };
}

type BytesLimit = OrUnlimited<Bytes>;
type CountLimit = OrUnlimited<Count>;
type SpanLimit = OrUnlimited<Span>;

/// The table.
pub const TABLE: &[Setting] = &[
    setting!("data_dir", Text, data_dir, "Directory that holds all data; one process at a time"),
    setting!(
        "listen",
        Text,
        listen,
        "Address of the main port: every API and the UI. Port 0 picks a free one"
    ),
    setting!("otlp.grpc_listen", Text, otlp_grpc_listen, "Address of OTLP over gRPC; empty for none"),
    setting!("otlp.http_listen", Text, otlp_http_listen, "Address of OTLP over HTTP; empty for none"),
    setting!(
        "otlp.translation_strategy",
        Word,
        otlp.naming,
        "How OpenTelemetry names become Prometheus names: UnderscoreEscapingWithSuffixes, \
         UnderscoreEscapingWithoutSuffixes, NoUTF8EscapingWithSuffixes or NoTranslation"
    ),
    setting!(
        "otlp.delta",
        Word,
        otlp.delta,
        "Points of delta temporality: cumulate (added up), reject or as_is (stored with unknown type)"
    ),
    setting!(
        "otlp.promote_resource_attributes",
        List,
        otlp.promote_resource_attributes,
        "Resource attributes that become labels of every metric series"
    ),
    setting!(
        "otlp.promote_all_resource_attributes",
        Flag,
        otlp.promote_all_resource_attributes,
        "All resource attributes become labels, but for the ignored ones"
    ),
    setting!(
        "otlp.ignore_resource_attributes",
        List,
        otlp.ignore_resource_attributes,
        "Resource attributes that do not when all others do"
    ),
    setting!(
        "otlp.keep_identifying_resource_attributes",
        Flag,
        otlp.keep_identifying_resource_attributes,
        "target_info also has service.name, service.namespace and service.instance.id"
    ),
    setting!(
        "otlp.promote_scope_metadata",
        Flag,
        otlp.promote_scope_metadata,
        "Name, version, schema URL and attributes of the scope become labels otel_scope_*"
    ),
    setting!(
        "otlp.convert_histograms_to_nhcb",
        Flag,
        otlp.convert_histograms_to_nhcb,
        "Explicit histograms become native histograms with custom buckets"
    ),
    setting!(
        "otlp.label_name_underscore_sanitization",
        Flag,
        otlp.label_naming.prefix_underscore,
        "Label names that begin with one underscore get key in front"
    ),
    setting!(
        "otlp.label_name_preserve_multiple_underscores",
        Flag,
        otlp.label_naming.preserve_multiple,
        "Runs of underscores in label names stay as they are"
    ),
    setting!(
        "elastic.listen",
        Text,
        elastic_listen,
        "Address of Elasticsearch's bulk API (9200 with --drop-in); empty for none. The main port has it too, below /ds/elasticsearch"
    ),
    setting!(
        "fluent.listen",
        Text,
        fluent_listen,
        "Address of Fluent forward (24224 with --drop-in), TCP with heartbeats over UDP; empty for none"
    ),
    setting!(
        "fluent.shared_key",
        Secret,
        fluent_shared_key,
        "Key of Fluent forward's handshake; empty for no handshake"
    ),
    setting!(
        "fluent.users",
        Secret,
        fluent_users,
        "Users that Fluent forward's handshake asks for, as name:password,name:password; empty for none"
    ),
    setting!("fluent.hostname", Text, fluent_hostname, "The server's name in Fluent forward's handshake"),
    setting!(
        "fluent.tls.cert_file",
        Text,
        fluent_tls.cert,
        "PEM file with the certificate of Fluent forward, which then speaks TLS only; empty for no TLS"
    ),
    setting!("fluent.tls.key_file", Text, fluent_tls.key, "PEM file with the certificate's key"),
    setting!(
        "fluent.tls.client_ca_file",
        Text,
        fluent_tls.client_ca,
        "PEM file with authorities of which Fluent forward's senders must have a certificate; empty: they need none"
    ),
    setting!("syslog.tcp_listen", Text, syslog_tcp_listen, "Address of syslog over TCP; empty for none"),
    setting!(
        "syslog.tls_listen",
        Text,
        syslog_tls_listen,
        "Address of syslog over TLS (RFC 5425); empty for none"
    ),
    setting!(
        "syslog.tls.cert_file",
        Text,
        syslog_tls.cert,
        "PEM file with the certificate of syslog over TLS, renewed ones are taken up"
    ),
    setting!("syslog.tls.key_file", Text, syslog_tls.key, "PEM file with the certificate's key"),
    setting!(
        "syslog.tls.client_ca_file",
        Text,
        syslog_tls.client_ca,
        "PEM file with authorities of which senders over TLS must have a certificate; empty: they need none"
    ),
    setting!("syslog.udp_listen", Text, syslog_udp_listen, "Address of syslog over UDP; empty for none"),
    setting!(
        "syslog.udp_buffer",
        Bytes,
        syslog_udp_buffer,
        "Kernel buffer asked for syslog over UDP; the system may give less"
    ),
    setting!(
        "syslog.utc_offset",
        Text,
        syslog_utc_offset,
        "How far the clocks of syslog senders stand east of UTC, for stamps without a zone"
    ),
    setting!("tenant", Text, tenant, "Tenant that everything received belongs to"),
    setting!(
        "web.enable_admin_api",
        Flag,
        web_admin_api,
        "Whether `/api/v1/admin/tsdb/*` may delete series and make snapshots: true or false"
    ),
    setting!(
        "web.cors.origin",
        WholePattern,
        web_cors_origin,
        "Regular expression of the origins whose scripts may read the Prometheus API; empty for none"
    ),
    setting!(
        "prometheus.config",
        Text,
        prometheus_config,
        "A prometheus.yml whose jobs are scraped; read again on POST /-/reload and when it changes; empty for none"
    ),
    setting!(
        "prometheus.created_timestamp_zero_ingestion",
        Flag,
        start_zeros,
        "Where counters and histograms tell when they began, a sample of zero is stored there, so that rate and increase see the \
         first increment; scrapes then ask for protobuf first and store no _created series. Prometheus: the feature \
         created-timestamp-zero-ingestion"
    ),
    setting!(
        "promtail.config_file",
        Text,
        promtail_config_file,
        "A Promtail configuration whose files are tailed with its labels and stages; empty for none (docs/processors.md)"
    ),
    setting!(
        "promtail.expand_env",
        Flag,
        promtail_expand_env,
        "Whether ${NAME} and ${NAME:-text} in that file are variables of the environment, as with -config.expand-env"
    ),
    setting!("retention.metrics", SpanLimit, retention_metrics, "How long metrics are kept"),
    setting!("retention.logs", SpanLimit, retention_logs, "How long logs are kept"),
    setting!(
        "retention.streams",
        Streams,
        retention_streams,
        "Log streams that are kept otherwise: a list of mappings with `selector`, `period` and `priority`"
    ),
    setting!("retention.traces", SpanLimit, retention_traces, "How long traces are kept"),
    setting!(
        "retention.size",
        BytesLimit,
        retention_bytes,
        "Size on disk of all data, the write-ahead log included, beyond which the oldest go; for one tenant that of its parts"
    ),
    setting!(
        "limits.memory",
        Memory,
        memory,
        "Memory of the whole process, at least 256MiB; auto is half of what the machine or the control group has. \
         Without room for more active series new ones are refused"
    ),
    setting!("limits.ingest.past", SpanLimit, ingest.past, "How far back a stamp may lie"),
    setting!("limits.ingest.future", SpanLimit, ingest.future, "How far ahead a stamp may lie"),
    setting!("limits.ingest.labels", CountLimit, ingest.labels, "Labels of a series or stream"),
    setting!(
        "limits.ingest.label_name_bytes",
        BytesLimit,
        ingest.label_name_bytes,
        "Length of a label's name"
    ),
    setting!(
        "limits.ingest.label_value_bytes",
        BytesLimit,
        ingest.label_value_bytes,
        "Length of a label's value"
    ),
    setting!("limits.ingest.line_bytes", BytesLimit, ingest.line_bytes, "Length of a log line"),
    setting!(
        "limits.ingest.attribute_bytes",
        BytesLimit,
        ingest.attribute_bytes,
        "Length of an attribute's value"
    ),
    setting!(
        "limits.ingest.samples_per_second",
        CountLimit,
        ingest.samples_per_second,
        "Samples a second per tenant; bursts of twice as many pass"
    ),
    setting!(
        "limits.ingest.log_bytes_per_second",
        BytesLimit,
        ingest.log_bytes_per_second,
        "Bytes of log lines a second per tenant; bursts of twice as many pass"
    ),
    setting!(
        "limits.ingest.spans_per_second",
        CountLimit,
        ingest.spans_per_second,
        "Spans a second per tenant; bursts of twice as many pass"
    ),
    setting!("limits.ingest.series", CountLimit, ingest.series, "Active series per tenant"),
    setting!(
        "limits.ingest.series_per_metric",
        CountLimit,
        ingest.series_per_metric,
        "Active series of one metric"
    ),
    setting!(
        "limits.ingest.new_series_per_hour",
        CountLimit,
        ingest.new_series_per_hour,
        "Series never seen before, per hour"
    ),
    setting!("limits.ingest.streams", CountLimit, ingest.streams, "Active log streams per tenant"),
    setting!(
        "limits.ingest.delta_series",
        CountLimit,
        ingest.delta_series,
        "Streams of delta temporality that are added up, per tenant"
    ),
    setting!(
        "limits.ingest.delta_idle",
        Span,
        ingest.delta_idle,
        "How long the total of such a stream is kept after its last point"
    ),
    setting!(
        "limits.ingest.queue",
        Bytes,
        ingest_queue_bytes,
        "Memory of batches that wait for the disk; beyond it senders are told to come back"
    ),
    setting!(
        "redact.enabled",
        Flag,
        redact.enabled,
        "Whether secrets and personal data are taken out of telemetry before it is stored ([redaction.md](redaction.md)); \
         also as `tenants.<name>.redact.enabled`"
    ),
    setting!(
        "redact.kinds",
        Kinds,
        redact.kinds,
        "What is looked for: kinds by name, `default` for the usual ones, `-email` to leave one out"
    ),
    setting!("redact.keys", Keys, redact.keys, "Further names whose values are secrets"),
    setting!(
        "redact.patterns",
        Patterns,
        redact.patterns,
        "Further forms: a list of mappings with `name`, `regex` (its first group goes, else all of it) and `replacement`"
    ),
    setting!(
        "redact.allow",
        Allow,
        redact.allow,
        "Regular expressions of what may stay; each must match all of a finding"
    ),
    setting!(
        "throttle.lines",
        CountLimit,
        throttle_lines,
        "Error lines of one message and stream that are stored per window; a line with a count stands for the others"
    ),
    setting!("throttle.window", Span, throttle_window, "How long a window of throttling is"),
    setting!(
        "geoip.database",
        Text,
        geoip_database,
        "A file of MaxMind's format (GeoLite2 and others); what it says of addresses becomes structured metadata; empty for none"
    ),
    setting!(
        "geoip.source",
        Text,
        geoip_source,
        "Where log records have the address: structured metadata, a label, or a field of JSON or logfmt"
    ),
    setting!("limits.query.text_bytes", Bytes, query.text_bytes_max, "Length of a query"),
    setting!("limits.query.depth", Count, query.depth_max, "Nesting of a query"),
    setting!("limits.query.timeout", Span, query.timeout, "Run time of a query"),
    setting!("limits.query.memory", Bytes, query.memory_bytes_max, "Memory of a query"),
    setting!("limits.query.samples", Count, query.samples_max, "Samples a query may look at"),
    setting!("limits.query.points", Count, query.points_max, "Points per series of a range query"),
    setting!("limits.query.series", Count, query.series_max, "Series in an answer"),
    setting!("limits.query.concurrent", Count, query_concurrent, "Queries that run at once; two per core"),
    setting!(
        "limits.query.waiting",
        Count,
        query_waiting,
        "Queries that wait for a free place, for 10 s at most"
    ),
    setting!(
        "store.wal.segment",
        Bytes,
        wal_segment_bytes,
        "Size of a write-ahead log segment; a single batch must fit into one"
    ),
    setting!(
        "store.wal.max",
        Bytes,
        wal_bytes,
        "Size of the write-ahead log at which writes are refused until a flush"
    ),
    setting!(
        "store.flush.bytes",
        Bytes,
        flush_bytes,
        "Memory of recent data at which it is written into parts; three eighths of it for logs alone"
    ),
    setting!("store.flush.age", Span, flush_age, "Age of recent data at which it is written into parts"),
    setting!(
        "patterns.memory",
        Bytes,
        patterns_bytes,
        "Memory of log patterns and their counts; 0 switches mining off"
    ),
    setting!(
        "self.interval",
        SpanLimit,
        self_interval,
        "Distance between the server's looks at its own metrics; unlimited switches them off"
    ),
    setting!("shutdown.deadline", Span, shutdown_deadline, "Longest time for draining at shutdown"),
];
