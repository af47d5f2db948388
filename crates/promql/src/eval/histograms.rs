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

/// Which histograms the series of a vector make up, whatever the instant.
struct Layout {
    /// Per series: the classic histogram it is a bucket of, and its bound; `None` without a bound.
    buckets: Vec<Option<(usize, f64)>>,
    /// Per series: the classic histogram with the very same labels.
    twins: Vec<Option<usize>>,
    /// The labels of each classic histogram.
    classic: Vec<LabelSet>,
}

impl Layout {
    fn new(columns: &[Column]) -> Self {
        let mut positions: HashMap<LabelSet, usize> = HashMap::new();
        let mut classic = Vec::new();
        let mut bucket = |column: &Column| {
            let upper = parse_bound(column.labels.get(BUCKET_LABEL))?;
            let labels = column.labels.to_builder().remove(BUCKET_LABEL).clone().build();
            let at = *positions.entry(labels.clone()).or_insert_with(|| {
                classic.push(labels);
                classic.len() - 1
            });
            Some((at, upper))
        };
        let buckets = columns.iter().map(&mut bucket).collect();
        let twins = columns.iter().map(|column| positions.get(&column.labels).copied()).collect();
        Self { buckets, twins, classic }
    }
}

/// The histograms of a vector at one instant.
struct Split<'a> {
    native: Vec<(usize, &'a Arc<Histogram>)>,
    /// Buckets of each classic histogram of the layout; without any, it is not there.
    classic: Vec<Vec<ClassicBucket>>,
}

impl<'a> Split<'a> {
    fn new(
        columns: &'a [Column],
        layout: &Layout,
        i: usize,
        span: SourceSpan,
        notes: &mut Annotations,
    ) -> Self {
        let mut split = Self { native: Vec::new(), classic: vec![Vec::new(); layout.classic.len()] };
        for (at, (column, bucket)) in columns.iter().zip(&layout.buckets).enumerate() {
            match (column.at(i), bucket) {
                (None, _) => {}
                (Some(Point::Histogram(histogram)), _) => split.native.push((at, histogram)),
                (Some(Point::Float(count)), Some((group, upper))) => {
                    if let Some(buckets) = split.classic.get_mut(*group) {
                        buckets.push(ClassicBucket { upper: *upper, count: *count });
                    }
                }
                (Some(Point::Float(_)), None) => {
                    let (metric, text) = (column.labels.metric_name(), column.labels.get(BUCKET_LABEL));
                    notes.bad_bucket_label(metric, text, span);
                }
            }
        }
        split.drop_doubles(columns, layout, span, notes);
        split
    }

    /// Classic and native histograms of the same labels: it is unclear which is meant, so neither counts.
    fn drop_doubles(
        &mut self,
        columns: &[Column],
        layout: &Layout,
        span: SourceSpan,
        notes: &mut Annotations,
    ) {
        let classic = &mut self.classic;
        self.native.retain(|(at, _)| {
            let twin = layout.twins.get(*at).copied().flatten().and_then(|twin| classic.get_mut(twin));
            let Some(buckets) = twin.filter(|buckets| !buckets.is_empty()) else { return true };
            buckets.clear();
            let metric = columns.get(*at).map_or("", |column| column.labels.metric_name());
            notes.mixed_classic_native(metric, span);
            false
        });
    }
}

/// A histogram of a vector.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Native(usize),
    Classic(usize),
}

/// Gathers results by histogram.
struct Results<'a> {
    columns: &'a [Column],
    layout: &'a Layout,
    out: Collector,
    /// Places of results by histogram and quantile (in bits), since the same ones come at every instant.
    slots: HashMap<(Source, u64), usize>,
}

impl Results<'_> {
    fn labels(&self, source: Source) -> LabelSet {
        match source {
            Source::Native(at) => self.columns.get(at).map(|column| column.labels.clone()),
            Source::Classic(at) => self.layout.classic.get(at).cloned(),
        }
        .unwrap_or_default()
    }

    /// Adds a result; with a label for the quantile when there may be several.
    fn push(&mut self, source: Source, label: Option<(&str, f64)>, i: usize, value: f64) -> Evaluated<()> {
        let key = (source, label.map_or(0, |(_, q)| q.to_bits()));
        let slot = match self.slots.get(&key) {
            Some(slot) => *slot,
            None => {
                let labels = self.labels(source);
                let labels = match label {
                    Some((label, q)) => labels.to_builder().set(label, &open_metrics(q)).clone().build(),
                    None => labels,
                };
                let slot = self.out.slot(&labels, true);
                self.slots.insert(key, slot);
                slot
            }
        };
        self.out.put(slot, i, Point::Float(value))
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
        let layout = Layout::new(&columns);
        let (out, mut charged) = (Collector::new(steps), 0);
        let mut results = Results { columns: &columns, layout: &layout, out, slots: HashMap::new() };
        for (i, time) in steps.iter() {
            for (values, span) in &quantiles {
                let q = values.get(i).copied().unwrap_or(f64::NAN);
                if !(0.0..=1.0).contains(&q) {
                    self.notes.invalid_quantile(q, *span);
                }
            }
            let mut split = Split::new(&columns, &layout, i, plan.operand_span, &mut self.notes);
            for (values, _) in &quantiles {
                let q = values.get(i).copied().unwrap_or(f64::NAN);
                self.quantile_at(plan, q, (i, time), &mut split, &mut results)?;
            }
            self.charge_columns(results.out.len() - charged, steps)?;
            charged = results.out.len();
        }
        let results = results.out.finish();
        self.release_columns(&columns, steps);
        Ok(results)
    }

    fn quantile_at(
        &mut self,
        plan: &Quantiles,
        q: f64,
        (i, time): (usize, i64),
        split: &mut Split<'_>,
        results: &mut Results<'_>,
    ) -> Evaluated<()> {
        let (span, label) = (plan.operand_span, plan.label.as_deref().map(|label| (label, q)));
        for (at, histogram) in &split.native {
            let (value, note) = quantile(q, histogram);
            if let Some(note) = note {
                self.notes.quantile_note(note, results.labels(Source::Native(*at)).metric_name(), span);
            }
            results.push(Source::Native(*at), label, i, value)?;
        }
        for (at, buckets) in split.classic.iter_mut().enumerate().filter(|(_, buckets)| !buckets.is_empty()) {
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
                self.notes.forced_growth(results.labels(Source::Classic(at)).metric_name(), forced, span);
            }
            results.push(Source::Classic(at), label, i, value)?;
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
        let layout = Layout::new(&columns);
        let (out, mut charged) = (Collector::new(steps), 0);
        let mut results = Results { columns: &columns, layout: &layout, out, slots: HashMap::new() };
        for (i, (lower, upper)) in lower.into_iter().zip(upper).enumerate() {
            let mut split = Split::new(&columns, &layout, i, span, &mut self.notes);
            for (at, histogram) in &split.native {
                let (value, note) = fraction(lower, upper, histogram);
                if let Some(note) = note {
                    self.notes.quantile_note(note, results.labels(Source::Native(*at)).metric_name(), span);
                }
                results.push(Source::Native(*at), None, i, value)?;
            }
            for (at, buckets) in split.classic.iter_mut().enumerate().filter(|(_, b)| !b.is_empty()) {
                results.push(Source::Classic(at), None, i, classic_fraction(lower, upper, buckets))?;
            }
            self.charge_columns(results.out.len() - charged, steps)?;
            charged = results.out.len();
        }
        let results = results.out.finish();
        self.release_columns(&columns, steps);
        Ok(results)
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
