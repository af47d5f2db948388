//! `metrics`: counters, gauges and histograms made of extracted fields.

use std::sync::Arc;
use std::time::Duration;

use kenning_model::MetricKind;
use kenning_yaml::{Content, Node};

use super::{Builder, Side};
use crate::config::{Fields, is_label_name, pairs};
use crate::entry::{Entry, Value};
use crate::log_metrics::{Change, Declared, LogMetric, Update};

/// What names of metrics begin with when nobody says otherwise; Promtail's.
const PREFIX: &str = "promtail_custom_";
/// How long a series lives without changes when nobody says otherwise.
const IDLE: Duration = Duration::from_secs(5 * 60);
/// Buckets of a histogram when nobody says otherwise; those of Prometheus's clients.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Most buckets of a histogram.
const BUCKETS_MAX: usize = 200;

/// The stage.
#[derive(Debug)]
pub(crate) struct Metrics(Vec<One>);

#[derive(Debug)]
struct One {
    metric: Arc<LogMetric>,
    source: String,
    action: Action,
    /// Only lines whose field has this value count.
    value: Option<String>,
    matches_all: bool,
    counts_bytes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Inc,
    Dec,
    Add,
    Sub,
    Set,
    Observe,
}

impl Metrics {
    pub fn read(at: &str, node: &Node, builder: &mut Builder<'_>) -> Self {
        let written = pairs(node);
        if written.is_empty() {
            builder.report.wrong(at, node, "must be a mapping of names of metrics to what they count");
        }
        let read = |(name, node): (&str, &Node)| One::read(&format!("{at}.{name}"), name, node, builder);
        Self(written.into_iter().filter_map(read).collect())
    }

    pub fn run(&self, entry: &Entry<'_>, side: &mut Side<'_>) {
        for one in &self.0 {
            if let Some(change) = one.change(entry) {
                let (metric, labels) = (Arc::clone(&one.metric), entry.labels.to_set());
                side.updates.push(Update { metric, labels, change });
            }
        }
    }
}

impl One {
    fn read(at: &str, name: &str, node: &Node, builder: &mut Builder<'_>) -> Option<Self> {
        let metrics = builder.context.metrics;
        let mut fields = Fields::open(at, node, builder.report);
        let kind = kind(&mut fields);
        let help = fields.text("description").unwrap_or_default();
        let source = fields.source().unwrap_or_else(|| name.to_owned());
        let prefix = fields.text("prefix").filter(|prefix| !prefix.is_empty());
        let full_name = prefix.unwrap_or_else(|| PREFIX.to_owned()) + name;
        if !is_label_name(&full_name.replace(':', "_")) {
            fields.wrong(
                "",
                format!("{full_name:?} cannot be a metric's name; use letters, digits and underscores"),
            );
        }
        let idle = fields.duration("max_idle_duration").unwrap_or(IDLE);
        if idle < Duration::from_secs(1) {
            fields.wrong("max_idle_duration", "must be at least 1s");
        }
        let (config, config_at) = (fields.get("config"), fields.path("config"));
        let empty = Node {
            mark: node.mark,
            tag: kenning_yaml::Tag::Map,
            plain: false,
            content: Content::Mapping(Vec::new()),
        };
        fields.finish();
        let kind = kind?;
        let mut config = Fields::open(config_at, config.unwrap_or(&empty), builder.report);
        let (bounds, action) = match kind {
            MetricKind::Histogram => (buckets(&mut config), Some(Action::Observe)),
            kind => (Vec::new(), action(&mut config, kind)),
        };
        let value = config.text("value");
        let is_counter = kind == MetricKind::Counter;
        let matches_all = is_counter && config.flag("match_all").unwrap_or(false);
        let counts_bytes = is_counter && config.flag("count_entry_bytes").unwrap_or(false);
        if matches_all && value.is_some() {
            config.wrong("value", "cannot stand beside match_all: true; remove one of them");
        }
        if counts_bytes && (!matches_all || action != Some(Action::Add)) {
            config.wrong("count_entry_bytes", "needs match_all: true and action: add");
        }
        config.finish();
        let declared = Declared { name: full_name, help, kind, bounds, idle };
        let metric =
            metrics.declare(declared).map_err(|problem| builder.report.wrong(at, node, problem)).ok()?;
        Some(Self { metric, source, action: action?, value, matches_all, counts_bytes })
    }

    fn change(&self, entry: &Entry<'_>) -> Option<Change> {
        if self.matches_all {
            return match (self.action, self.counts_bytes) {
                (Action::Add, true) => Some(Change::Add(entry.line.len() as f64)),
                (Action::Inc, _) => Some(Change::Add(1.0)),
                _ => None,
            };
        }
        let found = entry.extracted.get(&self.source)?;
        if self.value.as_ref().is_some_and(|wanted| found.text().is_none_or(|text| text != wanted.as_str())) {
            return None;
        }
        self.action.change(found)
    }
}

impl Action {
    fn change(self, found: &Value) -> Option<Change> {
        let number = || found.number().filter(|number| !number.is_nan());
        Some(match self {
            Self::Inc => Change::Add(1.0),
            Self::Dec => Change::Add(-1.0),
            Self::Add => Change::Add(number()?),
            Self::Sub => Change::Add(-number()?),
            Self::Set => Change::Set(number()?),
            Self::Observe => Change::Observe(number()?),
        })
    }
}

fn kind(fields: &mut Fields<'_, '_>) -> Option<MetricKind> {
    let word = fields.text("type").unwrap_or_default();
    let kind = match word.to_ascii_lowercase().as_str() {
        "counter" => Some(MetricKind::Counter),
        "gauge" => Some(MetricKind::Gauge),
        "histogram" => Some(MetricKind::Histogram),
        _ => None,
    };
    if kind.is_none() {
        fields.wrong("type", format!("{word:?} must be counter, gauge or histogram"));
    }
    kind
}

fn action(config: &mut Fields<'_, '_>, kind: MetricKind) -> Option<Action> {
    let word = config.text("action").unwrap_or_default();
    let action = match (word.to_ascii_lowercase().as_str(), kind) {
        ("inc", _) => Some(Action::Inc),
        ("add", MetricKind::Counter) => Some(Action::Add),
        ("add", _) => Some(Action::Add),
        ("dec", MetricKind::Gauge) => Some(Action::Dec),
        ("sub", MetricKind::Gauge) => Some(Action::Sub),
        ("set", MetricKind::Gauge) => Some(Action::Set),
        _ => None,
    };
    if action.is_none() {
        let allowed = if kind == MetricKind::Gauge { "set, inc, dec, add or sub" } else { "inc or add" };
        config.wrong("action", format!("{word:?} must be {allowed}"));
    }
    action
}

fn buckets(config: &mut Fields<'_, '_>) -> Vec<f64> {
    let Some(texts) = config.texts("buckets").filter(|texts| !texts.is_empty()) else {
        return BUCKETS.to_vec();
    };
    let mut bounds: Vec<f64> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    bounds.retain(|bound| bound.is_finite());
    let is_rising = bounds.windows(2).all(|pair| matches!(pair, [low, high] if low < high));
    if bounds.len() != texts.len() || !is_rising || bounds.len() > BUCKETS_MAX {
        config.wrong("buckets", format!("must be at most {BUCKETS_MAX} numbers, each above the one before"));
        bounds.clear();
    }
    bounds
}
