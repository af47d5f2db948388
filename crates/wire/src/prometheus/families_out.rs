//! Families as the protobuf exposition has them, for federation. Definition: client_model `metrics.proto`.

use kenning_model::{CounterReset, Histogram, Millis};

use super::prompb_histogram::write_spans;
use crate::protobuf::Writer;

/// A metric of a family.
#[derive(Clone, Debug)]
pub struct FamilyMetric<'a> {
    /// Labels without the family's name.
    pub labels: Vec<(&'a str, &'a str)>,
    /// Its value.
    pub value: FamilyValue<'a>,
    /// When it was measured.
    pub time: Millis,
}

/// A metric's value. A family has values of one kind.
#[derive(Clone, Debug)]
pub enum FamilyValue<'a> {
    /// A number of no known type.
    Untyped(f64),
    /// A histogram with exponential buckets.
    Native(&'a Histogram),
    /// A histogram with boundaries of its own: upper boundaries and the observations up to each, but for infinity.
    Classic {
        /// All observations.
        count: f64,
        /// Their sum.
        sum: f64,
        /// The buckets.
        buckets: Vec<(f64, f64)>,
    },
}

impl FamilyValue<'_> {
    /// The number of the family's type.
    const fn kind(&self) -> u64 {
        match self {
            Self::Untyped(_) => 3,
            Self::Native(Histogram { reset: CounterReset::Gauge, .. }) => 5,
            Self::Native(_) | Self::Classic { .. } => 4,
        }
    }
}

/// A delimited `MetricFamily`, of the type of the first metric; nothing without metrics.
#[must_use]
pub fn encode_family(name: &str, metrics: &[FamilyMetric<'_>]) -> Vec<u8> {
    let Some(first) = metrics.first() else { return Vec::new() };
    let mut family = Writer::default();
    family.text(1, name);
    family.varint(3, first.value.kind());
    for metric in metrics {
        family.message(4, |out| write_metric(out, metric));
    }
    let family = family.finish();
    let mut out = Writer::default();
    out.raw_varint(family.len() as u64);
    let mut out = out.finish();
    out.extend(family);
    out
}

fn write_metric(out: &mut Writer, metric: &FamilyMetric<'_>) {
    for (name, value) in &metric.labels {
        out.message(1, |out| {
            out.text(1, name);
            out.text(2, value);
        });
    }
    match &metric.value {
        FamilyValue::Untyped(value) => out.message(5, |out| out.fixed64(1, value.to_bits())),
        FamilyValue::Native(histogram) => out.message(7, |out| write_native(out, histogram)),
        FamilyValue::Classic { count, sum, buckets } => out.message(7, |out| {
            out.fixed64(2, sum.to_bits());
            for (bound, count) in buckets.iter().copied().chain([(f64::INFINITY, *count)]) {
                out.message(3, |out| {
                    out.fixed64(2, bound.to_bits());
                    out.fixed64(4, count.to_bits());
                });
            }
            out.fixed64(4, count.to_bits());
        }),
    }
    out.varint(6, metric.time.0 as u64);
}

fn write_native(out: &mut Writer, histogram: &Histogram) {
    out.fixed64(2, histogram.sum.to_bits());
    out.fixed64(4, histogram.count.to_bits());
    out.zigzag(5, i64::from(histogram.schema));
    out.fixed64(6, histogram.zero_threshold.to_bits());
    out.fixed64(8, histogram.zero_count.to_bits());
    write_spans(out, 9, &histogram.negative_spans);
    out.doubles(11, &histogram.negative);
    write_spans(out, 12, &histogram.positive_spans);
    out.doubles(14, &histogram.positive);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::DecodeLimits;
    use crate::prometheus::{Exposition, ScrapeOptions, decode};
    use kenning_model::{BucketSpan, LabelSet, MetricBatch};

    fn read_back(name: &str, value: FamilyValue<'_>) -> MetricBatch {
        let metric = FamilyMetric { labels: vec![("a", "b")], value, time: Millis(7) };
        let options = ScrapeOptions::new(Millis(1), LabelSet::empty());
        let body = encode_family(name, &[metric]);
        decode(&body, Exposition::Protobuf, &DecodeLimits::default(), &options).expect("it reads back").batch
    }

    #[test]
    fn families_read_back_as_they_were() {
        let plain = read_back("up", FamilyValue::Untyped(0.5));
        assert_eq!((plain.samples[0].value, plain.samples[0].time), (0.5, Millis(7)));
        assert_eq!(plain.series[0], LabelSet::from_pairs([("__name__", "up"), ("a", "b")]));
        let histogram = Histogram {
            schema: 3,
            count: 6.5,
            sum: 2.5,
            zero_threshold: 0.001,
            zero_count: 0.5,
            positive_spans: vec![BucketSpan { offset: -2, length: 2 }],
            positive: vec![2.0, 4.0],
            ..Histogram::default()
        };
        let native = read_back("h", FamilyValue::Native(&histogram));
        assert_eq!(native.histograms[0].histogram, histogram);
        let buckets = vec![(0.5, 2.0), (1.0, 3.0)];
        let classic = read_back("c", FamilyValue::Classic { count: 4.0, sum: 9.5, buckets });
        let mut values: Vec<_> = classic.samples.iter().map(|sample| sample.value).collect();
        values.sort_by(f64::total_cmp);
        assert_eq!(values, [2.0, 3.0, 4.0, 4.0, 9.5]);
        assert!(encode_family("none", &[]).is_empty());
    }
}
