//! Comparing answers with what a test expects.

use kenning_model::{Histogram, LabelSet, Millis};
use kenning_promql::{Grid, Point, SequenceValue, Value, VectorSample, compact, is_stale};

/// Relative difference up to which numbers count as equal.
const EPSILON: f64 = 0.000_001;

/// Series and values that a test expects.
#[derive(Default)]
pub struct Expected {
    pub scalar: Option<f64>,
    pub series: Vec<(LabelSet, Vec<SequenceValue>)>,
}

impl Expected {
    pub fn check_instant(&self, value: &Value, ordered: bool) -> Result<(), String> {
        let samples = match (value, self.scalar) {
            (Value::Scalar(_, found), Some(wanted)) if equal(*found, wanted) => return Ok(()),
            (Value::Vector(samples), None) => samples,
            (found, wanted) => return Err(format!("expected scalar {wanted:?}, got {found:?}")),
        };
        for (at, sample) in samples.iter().enumerate() {
            let position = self.series.iter().position(|(labels, _)| *labels == sample.labels);
            let Some((position, (_, wanted))) = position.and_then(|p| Some((p, self.series.get(p)?))) else {
                return Err(format!("unexpected {:?}: {:?}", sample.labels, sample.value));
            };
            if ordered && position != at {
                return Err(format!("{:?} stands at {at}, expected at {position}", sample.labels));
            }
            let same = wanted.first().is_some_and(|wanted| same_point(&sample.value, wanted));
            if !same {
                return Err(format!(
                    "{:?}: expected {:?}, got {:?}",
                    sample.labels,
                    wanted.first(),
                    sample.value
                ));
            }
        }
        let missing = self.series.iter().find(|(labels, _)| !samples.iter().any(|s| s.labels == *labels));
        missing.map_or(Ok(()), |(labels, _)| Err(format!("missing {labels:?}")))
    }

    pub fn check_matrix(&self, value: &Value, grid: Grid) -> Result<(), String> {
        let Value::Matrix(series) = value else { return Err(format!("expected a matrix, got {value:?}")) };
        if !series.is_sorted_by(|a, b| a.labels < b.labels) {
            return Err("the series are not in order".into());
        }
        // A scalar over a range is a series without labels.
        let lone = self.scalar.map(|value| vec![(LabelSet::empty(), vec![SequenceValue::Float(value)])]);
        let expected = lone.as_ref().unwrap_or(&self.series);
        for found in series {
            let Some((_, wanted)) = expected.iter().find(|(labels, _)| *labels == found.labels) else {
                return Err(format!("unexpected {:?}: {:?}", found.labels, found.points));
            };
            let times = (0..).map(|i| Millis(grid.start.0 + i * grid.step_ms));
            let wanted: Vec<_> =
                times.zip(wanted).filter(|(_, value)| **value != SequenceValue::Omitted).collect();
            let same = wanted.len() == found.points.len()
                && wanted
                    .iter()
                    .zip(&found.points)
                    .all(|((at, wanted), (time, point))| at == time && same_point(point, wanted));
            if !same {
                return Err(format!("{:?}: expected {wanted:?}, got {:?}", found.labels, found.points));
            }
        }
        let there = |labels: &LabelSet| series.iter().any(|found| found.labels == *labels);
        let missing = expected.iter().find(|(labels, _)| !there(labels));
        missing.map_or(Ok(()), |(labels, _)| Err(format!("missing {labels:?}")))
    }
}

/// The answer of a range query at one of its instants.
pub fn at(value: &Value, time: Millis, scalar: bool) -> Value {
    let Value::Matrix(series) = value else { return value.clone() };
    let samples: Vec<_> = series
        .iter()
        .filter_map(|series| {
            let (_, value) = series.points.iter().find(|(at, _)| *at == time)?;
            Some(VectorSample { labels: series.labels.clone(), time, value: value.clone() })
        })
        .collect();
    match samples.first() {
        Some(VectorSample { value: Point::Float(value), .. }) if scalar => Value::Scalar(time, *value),
        _ => Value::Vector(samples),
    }
}

fn same_point(found: &Point, wanted: &SequenceValue) -> bool {
    match (found, wanted) {
        (Point::Float(found), SequenceValue::Float(wanted)) => equal(*found, *wanted),
        (Point::Histogram(found), SequenceValue::Histogram { histogram, hint_given }) => {
            same_histogram(found, histogram) && (!hint_given || found.reset == histogram.reset)
        }
        _ => false,
    }
}

fn same_histogram(found: &Histogram, wanted: &Histogram) -> bool {
    let (found, wanted) = (compact(found), compact(wanted));
    let all = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(*a, *b));
    found.schema == wanted.schema
        && equal(found.count, wanted.count)
        && equal(found.sum, wanted.sum)
        && equal(found.zero_threshold, wanted.zero_threshold)
        && equal(found.zero_count, wanted.zero_count)
        && found.positive_spans == wanted.positive_spans
        && found.negative_spans == wanted.negative_spans
        && all(&found.positive, &wanted.positive)
        && all(&found.negative, &wanted.negative)
        && all(&found.custom_bounds, &wanted.custom_bounds)
}

fn equal(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}
