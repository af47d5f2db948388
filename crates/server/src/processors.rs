//! The processors that the settings ask for, in their order: what is received goes through them before limits.

use std::sync::Arc;
use std::time::Duration;

use kenning_model::{Batch, Rejected};
use kenning_pipeline::Intake;
use kenning_pipeline::geoip::{GeoDatabases, GeoFile, GeoIp};
use kenning_pipeline::process::Chain;
use kenning_pipeline::redact::{Redaction, Redactor};
use kenning_pipeline::telemetry::{Counter, Declaration, Gauge, Labels, Metric, Registry};
use kenning_pipeline::throttle::{Throttle, ThrottleOptions};
use kenning_receivers::serve::Stop;
use kenning_stdx::clock::Clock;
use kenning_stdx::files::RealFiles;

use crate::server::StartError;
use crate::settings::Settings;

/// How often is looked for windows of throttling that are over.
const SUMMARIES_EVERY: Duration = Duration::from_secs(1);
/// How often is looked for files that tell where addresses are and were written anew.
const GEO_FILES_EVERY: Duration = Duration::from_secs(30);

/// The chain for everyone; processors of single receivers (a tailed source's stages) run before it. Of what it holds
/// back, the throttle tells later.
pub(crate) fn chain(
    settings: &Settings,
    registry: &Registry,
) -> Result<(Chain, Option<Throttle>), StartError> {
    let mut chain = Chain::default();
    if !settings.log_pipelines.is_empty() {
        chain.push(Arc::new(settings.log_pipelines.clone()));
    }
    let throttle = settings.throttle_lines.map(|lines| {
        let throttle = Throttle::new(ThrottleOptions { lines, window: settings.throttle_window });
        chain.push(Arc::new(throttle.clone()));
        throttle
    });
    if !settings.geoip_database.is_empty() {
        chain.push(Arc::new(GeoIp::new(geo_file(settings)?, &settings.geoip_source)));
    }
    let scope = settings.redact_scope();
    if !scope.is_empty() {
        let redactor = Redactor::new(&settings.redact.options()).map_err(|mistakes| {
            let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
            StartError::new("cannot redact", told.join("; "))
        })?;
        // Last of all: nothing that another processor adds may bring a secret back.
        chain.push(Arc::new(Redaction::new(redactor, scope, registry)));
    }
    Ok((chain, throttle))
}

fn geo_file(settings: &Settings) -> Result<Arc<GeoFile>, StartError> {
    let path = &settings.geoip_database;
    // It was opened when the settings were read.
    let opened = settings.geo_databases.open(path, &RealFiles);
    opened.map_err(|error| StartError::new(format!("cannot use geoip.database = {path}"), error))
}

/// Stores the summaries of what was held back as their windows end; all of them at `stop`.
pub(crate) async fn sum_up(throttle: Throttle, intake: Intake, clock: Arc<dyn Clock>, mut stop: Stop) {
    loop {
        let stops = tokio::select! {
            () = tokio::time::sleep(SUMMARIES_EVERY) => false,
            () = stop.wait() => true,
        };
        for summary in throttle.due(if stops { Duration::MAX } else { clock.steady() }) {
            let batch = Batch::Logs(summary.batch.clone());
            if let Err(refusal) = intake.submit(&summary.tenant, batch, Rejected::default()).await {
                tracing::warn!(?refusal, "a summary of throttled lines was refused; it is offered again");
                throttle.give_back(summary);
            }
        }
        if stops {
            return;
        }
    }
}

/// What became of a file that was written anew.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Outcome(&'static str);

impl Labels for Outcome {
    const NAMES: &'static [&'static str] = &["outcome"];

    fn values(&self) -> Vec<String> {
        vec![self.0.to_owned()]
    }
}

/// Counts of files that tell where addresses are.
struct GeoMetrics {
    bytes: Arc<Gauge>,
    taken_up: Arc<Counter>,
    left_aside: Arc<Counter>,
}

impl GeoMetrics {
    fn new(registry: &Registry) -> Self {
        let bytes: Arc<Metric<(), Gauge>> = registry.gauge(Declaration {
            name: "kenning_geoip_database_bytes",
            help: "Memory of the files that tell where addresses are",
            unit: "bytes",
        });
        let looks: Arc<Metric<Outcome, Counter>> = registry.counter(Declaration {
            name: "kenning_geoip_database_reloads_total",
            help: "Files that tell where addresses are and were found changed; those that failed leave the last good one in use",
            unit: "",
        });
        let (taken_up, left_aside) = (looks.with(&Outcome("success")), looks.with(&Outcome("failure")));
        Self { bytes: bytes.with(&()), taken_up, left_aside }
    }
}

/// Takes up files that tell where addresses are when they were written anew, until `stop`; in at most `bytes_max` of
/// memory. Each mistake is told once, until it is another.
pub(crate) async fn follow_geo_files(
    databases: GeoDatabases,
    bytes_max: usize,
    registry: Registry,
    mut stop: Stop,
) {
    let metrics = GeoMetrics::new(&registry);
    let mut told = Vec::new();
    loop {
        metrics.bytes.set(databases.bytes() as u64);
        tokio::select! {
            () = tokio::time::sleep(GEO_FILES_EVERY) => {}
            () = stop.wait() => return,
        }
        let databases = databases.clone();
        let look = tokio::task::spawn_blocking(move || databases.refresh(&RealFiles, bytes_max));
        let Ok(found) = look.await else {
            return tracing::error!("looking for new GeoIP files panicked; this is a bug of Kenning");
        };
        let mut wrong = Vec::new();
        for one in found {
            match one.outcome {
                Ok(()) => {
                    metrics.taken_up.increment();
                    tracing::info!(path = one.path, "a new GeoIP file is in use");
                }
                Err(error) => wrong.push((one.path, error.to_string())),
            }
        }
        for (path, error) in wrong.iter().filter(|one| !told.contains(*one)) {
            metrics.left_aside.increment();
            tracing::warn!(path, error, "a GeoIP file cannot be read anew; the one of before stays in use");
        }
        told = wrong;
    }
}

#[cfg(test)]
#[allow(dead_code, reason = "the tests of the format use all of it, these some")]
#[path = "../../pipeline/src/geoip/mmdb.rs"]
pub(crate) mod mmdb;

#[cfg(test)]
mod tests {
    use kenning_model::field_of_line;
    use kenning_model::{LabelSet, LineSyntax, LogBatch, LogRow, Nanos, Severity, SpanId, TenantId, TraceId};
    use kenning_pipeline::process::{Origin, Processed};
    use kenning_stdx::files::MemFiles;

    use super::mmdb::{self, V};
    use super::*;
    use crate::settings::Layer;

    /// Where the examples have their database; 81.2.69.0/24 is in it.
    const DATABASE: &str = "/usr/share/GeoIP/GeoLite2-Country.mmdb";

    fn settings(yaml: &str) -> Settings {
        let layer = Layer::from_yaml("kenning.yaml", yaml).expect("good YAML");
        let names = V::M(vec![("en", V::S("United Kingdom"))]);
        let country = V::M(vec![("country", V::M(vec![("iso_code", V::S("GB")), ("names", names)]))]);
        let file = mmdb::file("GeoLite2-Country", 24, 6, &[(0x5102_4500, 120, 0)], &mmdb::encode(&country));
        let files = MemFiles::default();
        files.put(DATABASE, file);
        Settings::from_layers_and_files(&[layer], &files).expect("good settings")
    }

    fn batch_of<'a>(lines: impl Iterator<Item = &'a str>) -> LogBatch {
        let (labels, mut batch) = (LabelSet::from_pairs([("app", "a")]), LogBatch::default());
        let stream = batch.add_stream(labels.clone());
        for line in lines {
            let level = field_of_line(LineSyntax::Logfmt, line, "level").flatten().unwrap_or_default();
            let row = LogRow {
                stream: &labels,
                time: Nanos(1),
                severity: Severity::from_word(level),
                trace_id: TraceId::NONE,
                span_id: SpanId::NONE,
                line,
                metadata: &LabelSet::empty(),
            };
            batch.push(stream, row);
        }
        batch
    }

    fn shown(row: &LogRow<'_>) -> String {
        let pairs: Vec<String> =
            row.metadata.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let metadata = if pairs.is_empty() { String::new() } else { format!("({}) ", pairs.join(", ")) };
        format!("{metadata}{}", row.line)
    }

    /// `> line` goes in; `< (metadata) line`, what was dropped, and what is told after the window come out.
    fn check(yaml: &str, lines: &str) {
        let settings = settings(yaml);
        let (chain, throttle) = chain(&settings, &Registry::new()).unwrap_or_else(|error| panic!("{error}"));
        let tenant = TenantId::default_tenant();
        let origin = Origin { tenant: &tenant, receiver: "test", now: Nanos(1), steady: Duration::ZERO };
        let batch = batch_of(lines.lines().filter_map(|line| line.strip_prefix("> ")));
        let made = chain.process(&origin, Processed::untouched(Batch::Logs(batch))).expect("nothing refuses");
        let Batch::Logs(kept) = &made.batch else { panic!("logs stay logs") };
        let mut out: Vec<String> = kept.rows().map(|row| format!("< {}", shown(&row))).collect();
        out.extend(made.dropped().map(|(reason, count)| format!("< dropped: {reason} {count}")));
        made.settle();
        let due = throttle.iter().flat_map(|throttle| throttle.due(Duration::MAX));
        for summary in due {
            out.extend(summary.batch.rows().map(|row| format!("< after the window: {}", shown(&row))));
        }
        let expect: Vec<&str> = lines.lines().filter(|line| line.starts_with('<')).collect();
        assert_eq!(out, expect, "{yaml}");
    }

    /// Each block of settings in the page that has a block of lines behind it does what they say.
    #[test]
    fn the_examples_of_the_page_are_true() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/processors.md");
        let page = std::fs::read_to_string(page).expect("the page is there");
        let blocks: Vec<(&str, &str)> =
            page.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n')).collect();
        let mut examples = 0;
        for pair in blocks.windows(2) {
            if let [("yaml kenning", yaml), ("text", lines)] = pair {
                check(yaml, lines);
                examples += 1;
            }
        }
        assert_eq!(examples, 2, "throttling and places of addresses have their examples");
    }
}
