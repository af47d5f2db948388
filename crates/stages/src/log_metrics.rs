//! Metrics made of log lines: what the stage `metrics` counts, kept for `/metrics` and the store.
//!
//! Promises: a name has one type, wherever it is declared; series of a metric are bounded ([`SERIES_MAX`]), and what is
//! beyond is added up under [`OVERFLOW`]; series that nothing was added to for their time are forgotten. Changes come
//! when the lines they were made of are durable.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kenning_model::{LabelSet, MetricKind};
use kenning_pipeline::telemetry::{Family, Point, PointValue};

/// Series of one metric.
const SERIES_MAX: usize = 4096;
/// Metrics of one server.
const METRICS_MAX: usize = 1024;
/// The label of what is added up beyond the bound.
const OVERFLOW: &str = "overflow";

/// Every metric of the server's pipelines. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct LogMetrics(Arc<Mutex<BTreeMap<String, Arc<LogMetric>>>>);

/// What is declared of a metric.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Declared {
    pub name: String,
    pub help: String,
    pub kind: MetricKind,
    /// Upper bounds of a histogram, ascending.
    pub bounds: Vec<f64>,
    /// How long a series lives without changes.
    pub idle: Duration,
}

/// One metric.
#[derive(Debug)]
pub(crate) struct LogMetric {
    declared: Declared,
    series: Mutex<HashMap<LabelSet, Series>>,
}

#[derive(Debug)]
struct Series {
    /// Of a histogram: the sum.
    value: f64,
    /// Of a histogram: observations per bound and beyond.
    counts: Vec<u64>,
    changed: Duration,
}

/// A change of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    Add(f64),
    Set(f64),
    Observe(f64),
}

/// A change that is to be made.
#[derive(Debug)]
pub(crate) struct Update {
    pub metric: Arc<LogMetric>,
    pub labels: LabelSet,
    pub change: Change,
}

impl Update {
    pub fn apply(self, now: Duration) {
        self.metric.apply(self.labels, self.change, now);
    }
}

impl LogMetrics {
    /// The metric of that name, new or as it was declared before; the message tells how the two differ.
    pub(crate) fn declare(&self, declared: Declared) -> Result<Arc<LogMetric>, String> {
        let mut metrics = lock(&self.0);
        if let Some(known) = metrics.get(&declared.name) {
            let same = known.declared.kind == declared.kind && known.declared.bounds == declared.bounds;
            return match same {
                true => Ok(Arc::clone(known)),
                false => Err(format!(
                    "{:?} is declared elsewhere as a {} with other buckets or of another type; use another name",
                    declared.name,
                    known.declared.kind.as_str()
                )),
            };
        }
        if metrics.len() >= METRICS_MAX {
            return Err(format!("is one metric too many; at most {METRICS_MAX} work"));
        }
        let name = declared.name.clone();
        let metric = Arc::new(LogMetric { declared, series: Mutex::default() });
        metrics.insert(name, Arc::clone(&metric));
        Ok(metric)
    }

    /// Every metric as it stands at `now` of the steady clock. Series without changes for too long are forgotten.
    #[must_use]
    pub fn families(&self, now: Duration) -> Vec<Family> {
        let metrics: Vec<_> = lock(&self.0).values().cloned().collect();
        metrics.iter().map(|metric| metric.family(now)).filter(|family| !family.points.is_empty()).collect()
    }
}

impl LogMetric {
    fn apply(&self, labels: LabelSet, change: Change, now: Duration) {
        let mut series = lock(&self.series);
        let labels = match series.len() >= SERIES_MAX && !series.contains_key(&labels) {
            true => LabelSet::from_pairs([(OVERFLOW, "true")]),
            false => labels,
        };
        let new = || Series { value: 0.0, counts: vec![0; self.declared.bounds.len() + 1], changed: now };
        let one = series.entry(labels).or_insert_with(new);
        one.changed = now;
        match change {
            Change::Add(by) => one.value += by,
            Change::Set(to) => one.value = to,
            Change::Observe(value) => {
                one.value += value;
                let bucket = self.declared.bounds.partition_point(|bound| *bound < value);
                if let Some(count) = one.counts.get_mut(bucket) {
                    *count += 1;
                }
            }
        }
    }

    fn family(&self, now: Duration) -> Family {
        let Declared { name, help, kind, bounds, idle } = &self.declared;
        let mut series = lock(&self.series);
        series.retain(|_, one| now.saturating_sub(one.changed) < *idle);
        let mut points: Vec<Point> = series
            .iter()
            .map(|(labels, one)| {
                let named =
                    labels.iter().map(|(name, value)| (Cow::Owned(name.to_owned()), value.to_owned()));
                Point { labels: named.collect(), value: one.value(*kind, bounds) }
            })
            .collect();
        points.sort_by(|a, b| a.labels.cmp(&b.labels));
        Family { name: name.clone().into(), help: help.clone().into(), unit: "", kind: *kind, points }
    }
}

impl Series {
    fn value(&self, kind: MetricKind, bounds: &[f64]) -> PointValue {
        if kind != MetricKind::Histogram {
            return PointValue::Number(self.value);
        }
        let mut total = 0;
        let add_up = |count: &u64| {
            total += *count;
            total
        };
        let cumulative = self.counts.iter().map(add_up).collect();
        PointValue::Histogram { bounds: bounds.to_vec().into(), cumulative, sum: self.value }
    }
}

// Every critical section leaves the state whole, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(name: &str, kind: MetricKind) -> Declared {
        let bounds = if kind == MetricKind::Histogram { vec![1.0, 2.0] } else { Vec::new() };
        Declared { name: name.into(), help: "h".into(), kind, bounds, idle: Duration::from_secs(10) }
    }

    #[test]
    fn series_are_counted_bounded_and_forgotten() {
        let (metrics, at) = (LogMetrics::default(), Duration::from_secs);
        let counter = metrics.declare(declared("c", MetricKind::Counter)).unwrap();
        for number in 0..=SERIES_MAX {
            let labels = LabelSet::from_pairs([("n", number.to_string())]);
            counter.apply(labels, Change::Add(2.0), at(0));
        }
        let family = metrics.families(at(1)).remove(0);
        assert_eq!(family.points.len(), SERIES_MAX + 1);
        let overflow = family.points.iter().find(|point| point.labels[0].0 == OVERFLOW).unwrap();
        assert_eq!(overflow.value, PointValue::Number(2.0));
        assert!(metrics.families(at(10)).is_empty());
    }

    #[test]
    fn histograms_and_conflicts() {
        let metrics = LogMetrics::default();
        let histogram = metrics.declare(declared("h", MetricKind::Histogram)).unwrap();
        for value in [0.5, 1.0, 1.5, 9.0] {
            histogram.apply(LabelSet::empty(), Change::Observe(value), Duration::ZERO);
        }
        let expect =
            PointValue::Histogram { bounds: vec![1.0, 2.0].into(), cumulative: vec![2, 3, 4], sum: 12.0 };
        assert_eq!(metrics.families(Duration::ZERO)[0].points[0].value, expect);
        assert!(metrics.declare(declared("h", MetricKind::Histogram)).is_ok());
        assert!(metrics.declare(declared("h", MetricKind::Gauge)).unwrap_err().contains("use another name"));
    }
}
