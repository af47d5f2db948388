//! What the server is told: one table of settings that file, environment and command line all go through.
//!
//! Two phases: text with its origin ([`Layer`]), then [`Settings`], typed and complete. The conversion reports every
//! mistake at once. The table is also the reference page and the `--help` of `--set`.

mod kind;
mod layer;
mod scrape;
mod table;

use std::time::Duration;

use kenning_pipeline::Limits as IngestLimits;
use kenning_query::Limits as QueryLimits;
use kenning_receivers::scrape::ScrapeJob;

pub use layer::{Layer, Mistake, Mistakes};
pub use table::{Setting, TABLE};

/// Everything the server needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where data is kept.
    pub data_dir: String,
    /// Main port: APIs and UI.
    pub listen: String,
    /// OTLP over gRPC; empty for none.
    pub otlp_grpc_listen: String,
    /// OTLP over HTTP; empty for none.
    pub otlp_http_listen: String,
    /// The tenant that everything received belongs to.
    pub tenant: String,
    /// How long metrics are kept.
    pub retention_metrics: Option<Duration>,
    /// How long logs are kept.
    pub retention_logs: Option<Duration>,
    /// How long traces are kept.
    pub retention_traces: Option<Duration>,
    /// What a tenant may send.
    pub ingest: IngestLimits,
    /// Bytes that may wait for the disk.
    pub ingest_queue_bytes: usize,
    /// What a query may cost.
    pub query: QueryLimits,
    /// Queries that run at once.
    pub query_concurrent: usize,
    /// Queries that wait.
    pub query_waiting: usize,
    /// Size of a write-ahead log segment.
    pub wal_segment_bytes: u64,
    /// Size of the whole write-ahead log at which writes are refused.
    pub wal_bytes: u64,
    /// Memory of recent data at which it is written into parts.
    pub flush_bytes: usize,
    /// Age of recent data at which it is written into parts.
    pub flush_age: Duration,
    /// Distance between looks at the server's own metrics for the tenant `self`; none switches it off.
    pub self_interval: Option<Duration>,
    /// Longest time for draining at shutdown.
    pub shutdown_deadline: Duration,
    /// Targets to scrape.
    pub scrape: Vec<ScrapeJob>,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            data_dir: "kenning-data".to_owned(),
            listen: "127.0.0.1:7070".to_owned(),
            otlp_grpc_listen: "127.0.0.1:4317".to_owned(),
            otlp_http_listen: "127.0.0.1:4318".to_owned(),
            tenant: "default".to_owned(),
            retention_metrics: Some(days(31)),
            retention_logs: Some(days(31)),
            retention_traces: Some(days(31)),
            ingest: IngestLimits::default(),
            ingest_queue_bytes: 64 << 20,
            query: QueryLimits::default(),
            query_concurrent: 2 * cores,
            query_waiting: 32,
            wal_segment_bytes: 64 << 20,
            wal_bytes: 4 << 30,
            flush_bytes: 128 << 20,
            flush_age: Duration::from_secs(10 * 60),
            self_interval: Some(Duration::from_secs(10)),
            shutdown_deadline: Duration::from_secs(10),
            scrape: Vec::new(),
        }
    }
}

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

impl Settings {
    /// The defaults overlaid with the layers, later ones winning; or every mistake in any of them.
    pub fn from_layers(layers: &[Layer]) -> Result<Self, Mistakes> {
        let mut settings = Self::default();
        let mut mistakes = Vec::new();
        for layer in layers {
            for (key, value) in layer.values() {
                if let Err(problem) = set(&mut settings, key, value) {
                    mistakes.push(Mistake { origin: layer.origin().to_owned(), key: key.clone(), problem });
                }
            }
            if let Some(section) = layer.scrape_configs() {
                match scrape::jobs(section, layer.global()) {
                    Ok(jobs) => settings.scrape.extend(jobs),
                    Err(problems) => mistakes.extend(problems.into_iter().map(|(key, problem)| Mistake {
                        origin: layer.origin().to_owned(),
                        key,
                        problem,
                    })),
                }
            }
        }
        if mistakes.is_empty() { Ok(settings) } else { Err(Mistakes(mistakes)) }
    }

    /// The settings in force as YAML. There are no secrets among them yet; when there are, the table leaves them out.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        TABLE.iter().map(|setting| format!("{}: {}\n", setting.key, (setting.get)(self))).collect()
    }
}

fn set(settings: &mut Settings, key: &str, value: &str) -> Result<(), String> {
    match TABLE.iter().find(|setting| setting.key == key) {
        Some(setting) => (setting.set)(settings, value),
        None => Err(match closest(key) {
            Some(near) => format!("is not a setting; did you mean \"{near}\"?"),
            None => "is not a setting".to_owned(),
        }),
    }
}

/// The setting whose last word is the same, or that begins the same.
fn closest(key: &str) -> Option<&'static str> {
    let last = |text: &str| text.rsplit('.').next().unwrap_or("").to_owned();
    let known = || TABLE.iter().map(|setting| setting.key);
    known().find(|known| last(known) == last(key)).or_else(|| known().find(|known| known.starts_with(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&str, &str)], expect: Result<fn(&Settings) -> bool, &str>) {
        let layer =
            Layer::from_assignments("--set", pairs.iter().map(|(key, value)| format!("{key}={value}")));
        match (layer.and_then(|layer| Settings::from_layers(&[layer])), expect) {
            (Ok(settings), Ok(holds)) => assert!(holds(&settings), "{pairs:?}"),
            (Err(mistakes), Err(expect)) => assert!(mistakes.to_string().contains(expect), "{mistakes}"),
            (outcome, _) => panic!("{pairs:?} gave {:?}", outcome.map(|_| ())),
        }
    }

    #[test]
    fn values_are_read_with_their_units() {
        check(&[("limits.ingest.past", "unlimited")], Ok(|s| s.ingest.past.is_none()));
        check(&[("limits.ingest.past", "7d")], Ok(|s| s.ingest.past == Some(days(7))));
        check(&[("store.wal.segment", "1MiB")], Ok(|s| s.wal_segment_bytes == 1 << 20));
        check(&[("listen", "127.0.0.1:0")], Ok(|s| s.listen == "127.0.0.1:0"));
        check(&[("limits.query.points", "5")], Ok(|s| s.query.points_max == 5));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        check(&[("past", "1d")], Err("did you mean \"limits.ingest.past\""));
        check(&[("limits.ingest.past", "soon"), ("nonsense", "1")], Err("limits.ingest.past"));
        check(&[("limits.ingest.past", "soon"), ("nonsense", "1")], Err("nonsense"));
    }

    #[test]
    fn each_setting_reads_back_what_it_shows() {
        let defaults = Settings::default();
        for setting in TABLE {
            let mut settings = Settings::default();
            let shown = (setting.get)(&defaults);
            assert_eq!((setting.set)(&mut settings, &shown), Ok(()), "{}", setting.key);
            assert_eq!((setting.get)(&settings), shown, "{}", setting.key);
        }
    }

    /// The page between its head and its tail is made from the table; `KENNING_UPDATE=1` writes it anew.
    #[test]
    fn the_reference_page_lists_every_setting() {
        const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        const MARK: &str = "| setting | default | meaning |\n|---|---|---|\n";
        let defaults = Settings { query_concurrent: 4, ..Settings::default() };
        let rows: String = TABLE
            .iter()
            .map(|setting| {
                format!("| `{}` | `{}` | {} |\n", setting.key, (setting.get)(&defaults), setting.help)
            })
            .collect();
        let page = std::fs::read_to_string(PAGE).unwrap_or_default();
        let (head, rest) = page.split_once(MARK).unwrap_or((&page, ""));
        let tail = rest.split_once("\n\n").map_or("", |(_, tail)| tail);
        let expect = format!("{head}{MARK}{rows}\n{tail}");
        if std::env::var_os("KENNING_UPDATE").is_some() {
            assert!(std::fs::write(PAGE, &expect).is_ok());
        } else {
            assert_eq!(page, expect, "run with KENNING_UPDATE=1 and commit docs/configuration.md");
        }
    }
}
