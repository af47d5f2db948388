//! `load`: series in one line each become a batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use kenning_model::{
    Batch, BucketSpan, Histogram, HistogramSample, LabelSet, METRIC_NAME, MetricBatch, Millis, Sample,
    UNKNOWN_START,
};
use kenning_promql::{SequenceValue, annotate_resets, parse_series_description};

type Classic = BTreeMap<LabelSet, BTreeMap<i64, ClassicHistogram>>;

/// What classic series say about one instant.
#[derive(Default)]
struct ClassicHistogram {
    buckets: BTreeMap<u64, (f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// The batch of a `load` block. With `custom_buckets`, classic histograms are loaded as native ones too.
pub fn batch(lines: &[&str], gap: i64, custom_buckets: bool) -> Batch {
    let mut batch = MetricBatch::default();
    let mut classic = Classic::new();
    let mut starts = Vec::new();
    for line in lines {
        if let Some(times) = start_times(line) {
            starts = times;
            continue;
        }
        let series = parse_series_description(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        if custom_buckets {
            gather(&series.labels, &series.values, gap, &mut classic);
        }
        add(&mut batch, series.labels, series.values, &std::mem::take(&mut starts), gap);
    }
    for (labels, instants) in classic {
        let index = batch.add_series(labels);
        for (time, histogram) in instants {
            let histogram = histogram.native();
            batch.histograms.push(HistogramSample { series: index, time: Millis(time), histogram });
        }
    }
    Batch::Metrics(batch)
}

/// The values of a line `series@st offset ...`, which precedes the line with the series' samples: where each counter
/// started, in milliseconds relative to its sample.
fn start_times(line: &str) -> Option<Vec<Option<i64>>> {
    let (_, items) = line.split_once("@st ")?;
    let mut starts = Vec::new();
    for item in items.split_whitespace() {
        let (value, times) = item.split_once('x').map_or((item, None), |(value, times)| (value, Some(times)));
        let times: usize = times.map_or(0, |times| times.parse().expect("a repetition"));
        if value == "_" {
            starts.resize(starts.len() + times.max(1), None);
            continue;
        }
        let step_at = value.get(1..).and_then(|rest| rest.find(['+', '-'])).map(|at| at + 1);
        let (value, step) = value.split_at(step_at.unwrap_or(value.len()));
        let step = if step.is_empty() { 0 } else { offset(step) };
        starts.extend((0..=times as i64).map(|n| Some(offset(value) + n * step)));
    }
    Some(starts)
}

fn offset(text: &str) -> i64 {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let nanos = if digits == "0" { 0 } else { kenning_promql::parse_duration(digits).expect("a duration") };
    sign * nanos
}

fn add(
    batch: &mut MetricBatch,
    labels: LabelSet,
    values: Vec<SequenceValue>,
    starts: &[Option<i64>],
    gap: i64,
) {
    let index = batch.add_series(labels);
    let (mut histograms, mut times): (Vec<Arc<Histogram>>, Vec<i64>) = (Vec::new(), Vec::new());
    let start = |time: i64| {
        let offset = starts.get((time / gap) as usize).copied().flatten();
        offset.map_or(UNKNOWN_START, |offset| Millis(time + offset))
    };
    for (i, value) in values.into_iter().enumerate() {
        let time = i as i64 * gap;
        match value {
            SequenceValue::Omitted => {}
            SequenceValue::Float(value) => {
                batch.push_sample(Sample { series: index, time: Millis(time), value }, start(time));
            }
            SequenceValue::Histogram { histogram, .. } => {
                histograms.push(histogram);
                times.push(time);
            }
        }
    }
    // Prometheus's storage works out counter resets when it takes samples in.
    let floats: Vec<i64> = batch.samples.iter().filter(|s| s.series == index).map(|s| s.time.0).collect();
    annotate_resets(&mut histograms, |i| !floats.iter().any(|t| (times[i - 1]..times[i]).contains(t)));
    for (time, histogram) in times.into_iter().zip(histograms) {
        let histogram = Arc::unwrap_or_clone(histogram);
        batch.push_histogram(HistogramSample { series: index, time: Millis(time), histogram }, start(time));
    }
}

fn gather(labels: &LabelSet, values: &[SequenceValue], gap: i64, classic: &mut Classic) {
    let name = labels.metric_name();
    let suffixes = ["_bucket", "_count", "_sum"];
    let Some((base, suffix)) = suffixes.iter().find_map(|s| Some((name.strip_suffix(s)?, *s))) else {
        return;
    };
    let upper = labels.get("le").parse::<f64>().ok().filter(|upper| !upper.is_nan());
    if suffix == "_bucket" && upper.is_none() {
        return;
    }
    let key = labels.to_builder().remove("le").set(METRIC_NAME, base).clone().build();
    let instants = classic.entry(key).or_default();
    for (i, value) in values.iter().enumerate() {
        let SequenceValue::Float(value) = value else { continue };
        let histogram = instants.entry(i as i64 * gap).or_default();
        match (suffix, upper) {
            ("_bucket", Some(upper)) => {
                histogram.buckets.insert(order(upper), (upper, *value));
            }
            ("_count", _) => histogram.count = Some(*value),
            _ => histogram.sum = *value,
        }
    }
}

/// Sorts floats as integers.
fn order(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

impl ClassicHistogram {
    fn native(self) -> Histogram {
        let mut before = 0.0;
        let (mut custom_bounds, mut positive) = (Vec::new(), Vec::new());
        for (upper, cumulative) in self.buckets.values() {
            positive.push(cumulative - before);
            before = *cumulative;
            if upper.is_finite() {
                custom_bounds.push(*upper);
            }
        }
        let count = self.count.unwrap_or(before);
        if positive.len() == custom_bounds.len() {
            positive.push(count - before);
        }
        let histogram = Histogram {
            schema: Histogram::CUSTOM_BUCKETS,
            count,
            sum: self.sum,
            positive_spans: vec![BucketSpan { offset: 0, length: positive.len() as u32 }],
            positive,
            custom_bounds,
            ..Histogram::default()
        };
        kenning_promql::compact(&histogram)
    }
}

/// A line that is nothing but a number.
pub fn lone_number(line: &str) -> Option<f64> {
    let parsed = parse_series_description(&format!("x {line}")).ok()?;
    match parsed.values.as_slice() {
        [SequenceValue::Float(value)] if line.split_whitespace().count() == 1 => Some(*value),
        _ => None,
    }
}
