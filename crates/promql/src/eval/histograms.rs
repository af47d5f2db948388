//! Functions that look into histograms, native ones and classic ones (series told apart by `le`).

use std::collections::HashMap;
use std::sync::Arc;

use kenning_model::{Histogram, LabelSet};
use kenning_query::SourceSpan;

use super::collect::Collector;
use super::{Column, Evaluated, Evaluator, Point, Steps};
use crate::annotation::{Annotations, ForcedGrowth};
use crate::histogram::{
    ClassicBucket, classic_fraction, classic_quantile, fraction, histogram_buckets, is_custom, quantile,
};
use crate::kahan::Sum;
use crate::plan::{Quantiles, Scalar, Vector};
use crate::text::{open_metrics, parse_number};

/// The label that holds the upper bound of a classic bucket.
const BUCKET_LABEL: &str = "le";

/// A number that describes a native histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistogramStatistic {
    Count,
    Sum,
    Avg,
    Stddev,
    Stdvar,
}

impl HistogramStatistic {
    pub(crate) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "histogram_count" => Self::Count,
            "histogram_sum" => Self::Sum,
            "histogram_avg" => Self::Avg,
            "histogram_stddev" => Self::Stddev,
            "histogram_stdvar" => Self::Stdvar,
            _ => return None,
        })
    }

    pub(super) fn of(self, histogram: &Histogram) -> f64 {
        match self {
            Self::Count => histogram.count,
            Self::Sum => histogram.sum,
            Self::Avg => histogram.sum / histogram.count,
            Self::Stdvar => variance(histogram),
            Self::Stddev => variance(histogram).sqrt(),
        }
    }
}

/// Variance, each bucket standing for its middle: the arithmetic one of custom buckets, the geometric one of
/// exponential buckets, zero for the zero bucket.
fn variance(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut squares = Sum::default();
    for bucket in histogram_buckets(histogram).iter().filter(|bucket| bucket.count != 0.0) {
        let middle = if is_custom(histogram.schema) {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
        };
        let delta = middle - mean;
        squares.add(bucket.count * delta * delta);
    }
    squares.value() / histogram.count
}

/// The histograms of a vector at one instant.
struct Split<'a> {
    native: Vec<(&'a Column, &'a Arc<Histogram>)>,
    classic: Vec<(LabelSet, bool, Vec<ClassicBucket>)>,
}

impl<'a> Split<'a> {
    fn new(columns: &'a [Column], i: usize, span: SourceSpan, notes: &mut Annotations) -> Self {
        let mut split = Self { native: Vec::new(), classic: Vec::new() };
        let mut positions: HashMap<LabelSet, usize> = HashMap::new();
        for column in columns {
            match column.at(i) {
                None => {}
                Some(Point::Histogram(histogram)) => split.native.push((column, histogram)),
                Some(Point::Float(count)) => split.add_bucket(column, *count, &mut positions, span, notes),
            }
        }
        split.drop_doubles(span, notes);
        split
    }

    fn add_bucket(
        &mut self,
        column: &Column,
        count: f64,
        positions: &mut HashMap<LabelSet, usize>,
        span: SourceSpan,
        notes: &mut Annotations,
    ) {
        let text = column.labels.get(BUCKET_LABEL);
        let Some(upper) = parse_bound(text) else {
            notes.bad_bucket_label(column.labels.metric_name(), text, span);
            return;
        };
        let labels = column.labels.to_builder().remove(BUCKET_LABEL).clone().build();
        let at = *positions.entry(labels.clone()).or_insert(self.classic.len());
        match self.classic.get_mut(at) {
            Some((_, _, buckets)) => buckets.push(ClassicBucket { upper, count }),
            None => self.classic.push((labels, column.drop_name, vec![ClassicBucket { upper, count }])),
        }
    }

    /// Classic and native histograms of the same labels: it is unclear which is meant, so neither counts.
    fn drop_doubles(&mut self, span: SourceSpan, notes: &mut Annotations) {
        let classic = &mut self.classic;
        self.native.retain(|(column, _)| {
            let before = classic.len();
            classic.retain(|(labels, _, _)| *labels != column.labels);
            let double = classic.len() < before;
            if double {
                notes.mixed_classic_native(column.labels.metric_name(), span);
            }
            !double
        });
    }
}

/// A bound as Go's `ParseFloat` reads it.
fn parse_bound(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    // An octal reading of leading zeros is for number literals only.
    let digits = if digits.starts_with("0x") { digits } else { digits.trim_start_matches('0') };
    let digits = if digits.is_empty() && text.contains('0') { "0" } else { digits };
    if digits.is_empty() {
        return None;
    }
    parse_number(digits).ok().or_else(|| digits.parse().ok()).map(|bound: f64| sign * bound)
}

impl Evaluator<'_> {
    pub(super) fn quantiles(&mut self, plan: &Quantiles, steps: Steps) -> Evaluated<Vec<Column>> {
        let quantiles = plan.quantiles.iter().map(|(scalar, span)| Ok((self.scalar(scalar, steps)?, *span)));
        let quantiles = quantiles.collect::<Evaluated<Vec<_>>>()?;
        let columns = self.vector(&plan.operand, steps)?;
        let (mut out, mut charged) = (Collector::new(steps), 0);
        for (i, time) in steps.iter() {
            for (values, span) in &quantiles {
                let q = values.get(i).copied().unwrap_or(f64::NAN);
                if !(0.0..=1.0).contains(&q) {
                    self.notes.invalid_quantile(q, *span);
                }
            }
            let mut split = Split::new(&columns, i, plan.operand_span, &mut self.notes);
            for (values, _) in &quantiles {
                let q = values.get(i).copied().unwrap_or(f64::NAN);
                self.quantile_at(plan, q, (i, time), &mut split, &mut out)?;
            }
            self.charge_columns(out.len() - charged, steps)?;
            charged = out.len();
        }
        self.release_columns(&columns, steps);
        Ok(out.finish())
    }

    fn quantile_at(
        &mut self,
        plan: &Quantiles,
        q: f64,
        (i, time): (usize, i64),
        split: &mut Split<'_>,
        out: &mut Collector,
    ) -> Evaluated<()> {
        let labelled = |labels: &LabelSet| match &plan.label {
            Some(label) => labels.to_builder().set(label, &open_metrics(q)).clone().build(),
            None => labels.clone(),
        };
        for (column, histogram) in &split.native {
            let (value, note) = quantile(q, histogram);
            if let Some(note) = note {
                self.notes.quantile_note(note, column.labels.metric_name(), plan.operand_span);
            }
            out.push(&labelled(&column.labels), true, i, Point::Float(value))?;
        }
        for (labels, _, buckets) in &mut split.classic {
            let (value, forced) = classic_quantile(q, buckets);
            if let Some(forced) = forced {
                let forced = ForcedGrowth {
                    time_min: time,
                    time_max: time,
                    bound_min: forced.first,
                    bound_max: forced.last,
                    difference_max: forced.difference_max,
                    samples: 1,
                };
                self.notes.forced_growth(labels.metric_name(), forced, plan.operand_span);
            }
            out.push(&labelled(labels), true, i, Point::Float(value))?;
        }
        Ok(())
    }

    pub(super) fn fraction(
        &mut self,
        [lower, upper]: [&Scalar; 2],
        operand: &Vector,
        span: SourceSpan,
        steps: Steps,
    ) -> Evaluated<Vec<Column>> {
        let (lower, upper) = (self.scalar(lower, steps)?, self.scalar(upper, steps)?);
        let columns = self.vector(operand, steps)?;
        let (mut out, mut charged) = (Collector::new(steps), 0);
        for (i, (lower, upper)) in lower.into_iter().zip(upper).enumerate() {
            let split = Split::new(&columns, i, span, &mut self.notes);
            for (column, histogram) in &split.native {
                let (value, note) = fraction(lower, upper, histogram);
                if let Some(note) = note {
                    self.notes.quantile_note(note, column.labels.metric_name(), span);
                }
                out.push(&column.labels, true, i, Point::Float(value))?;
            }
            for (labels, _, mut buckets) in split.classic {
                out.push(&labels, true, i, Point::Float(classic_fraction(lower, upper, &mut buckets)))?;
            }
            self.charge_columns(out.len() - charged, steps)?;
            charged = out.len();
        }
        self.release_columns(&columns, steps);
        Ok(out.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_parse_as_floats() {
        let check = |text, expect| assert_eq!(parse_bound(text), expect, "{text}");
        check("+Inf", Some(f64::INFINITY));
        check("010", Some(10.0));
        check("-0.5", Some(-0.5));
        check("0", Some(0.0));
        check("", None);
        check("abc", None);
    }
}
