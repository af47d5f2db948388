//! The histogram message that both versions of remote write share, with the checks that Prometheus makes before it
//! stores one. Definition: `prompb/types.proto`, `io/prometheus/write/v2/types.proto`, the native histograms
//! specification.

use kenning_model::{BucketSpan, CounterReset, Histogram, HistogramSample, Millis, Reason};

use crate::error::Fault;
use crate::limits::DecodeLimits;
use crate::protobuf::{Field, Writer, unzigzag};

/// Coarsest and finest resolution that is stored.
pub(super) const SCHEMA_MIN: i32 = -4;
pub(super) const SCHEMA_MAX: i32 = 8;
/// Finest resolution that may be sent: merged down to [`SCHEMA_MAX`].
const SCHEMA_SENT_MAX: i32 = 52;

/// A histogram as it was sent.
pub(super) struct HistogramMessage {
    pub time: Millis,
    /// Zero when not told; only version 2 tells it.
    pub start: Millis,
    pub histogram: Histogram,
}

/// One side of a histogram's buckets: deltas for integer histograms, counts for float ones.
#[derive(Default)]
struct Side {
    spans: Vec<BucketSpan>,
    deltas: Vec<u64>,
    counts: Vec<u64>,
}

impl Side {
    fn absolute(&self) -> Vec<f64> {
        if !self.counts.is_empty() {
            return self.counts.iter().map(|bits| f64::from_bits(*bits)).collect();
        }
        let mut count = 0i64;
        let add = |delta: &u64| {
            count = count.saturating_add(unzigzag(*delta));
            count as f64
        };
        self.deltas.iter().map(add).collect()
    }
}

/// Reads a histogram. What Prometheus would refuse is refused with the field that is wrong.
pub(super) fn read(field: &Field<'_>, limits: &DecodeLimits) -> Result<HistogramMessage, Fault> {
    let mut message = field.message("histogram")?;
    let mut out = Histogram::default();
    let (mut time, mut start, mut bounds, mut whole) = (0, 0, Vec::new(), false);
    let (mut negative, mut positive) = (Side::default(), Side::default());
    let max = limits.buckets;
    while let Some(field) = message.next()? {
        match field.number {
            1 => (out.count, whole) = (field.varint("histogram.count_int")? as f64, true),
            2 => (out.count, whole) = (field.double("histogram.count_float")?, false),
            3 => out.sum = field.double("histogram.sum")?,
            4 => out.schema = i32::try_from(field.zigzag("histogram.schema")?).unwrap_or(i32::MAX),
            5 => out.zero_threshold = field.double("histogram.zero_threshold")?,
            6 => out.zero_count = field.varint("histogram.zero_count_int")? as f64,
            7 => out.zero_count = field.double("histogram.zero_count_float")?,
            8 => push_span(&mut negative.spans, &field, max)?,
            9 => field.varints("histogram.negative_deltas", max, &mut negative.deltas)?,
            10 => field.fixed64s("histogram.negative_counts", max, &mut negative.counts)?,
            11 => push_span(&mut positive.spans, &field, max)?,
            12 => field.varints("histogram.positive_deltas", max, &mut positive.deltas)?,
            13 => field.fixed64s("histogram.positive_counts", max, &mut positive.counts)?,
            14 => out.reset = reset(field.varint("histogram.reset_hint")?),
            15 => time = field.varint("histogram.timestamp")? as i64,
            16 => field.fixed64s("histogram.custom_values", max, &mut bounds)?,
            17 => start = field.varint("histogram.start_timestamp")? as i64,
            _ => {}
        }
    }
    (out.positive, out.negative) = (positive.absolute(), negative.absolute());
    (out.positive_spans, out.negative_spans) = (positive.spans, negative.spans);
    out.custom_bounds = bounds.into_iter().map(f64::from_bits).collect();
    check(&out, whole, field.at)?;
    out.reduce_resolution(SCHEMA_MAX);
    Ok(HistogramMessage { time: Millis(time), start: Millis(start), histogram: out })
}

/// What Prometheus checks before it stores a histogram; `whole` when the counts are whole ones.
pub(super) fn check(histogram: &Histogram, whole: bool, at: usize) -> Result<(), Fault> {
    let malformed = |field, problem| Err(Fault::new(Reason::Malformed, at, field, problem));
    match histogram.schema {
        Histogram::CUSTOM_BUCKETS => check_custom(histogram, at)?,
        SCHEMA_MIN..=SCHEMA_SENT_MAX if histogram.custom_bounds.is_empty() => {}
        SCHEMA_MIN..=SCHEMA_SENT_MAX => {
            return malformed("histogram.custom_values", "must be empty unless the schema is -53");
        }
        _ => {
            let problem = "is none of -53 and -4 to 52";
            return Err(Fault::new(Reason::Unsupported, at, "histogram.schema", problem));
        }
    }
    check_side(&histogram.positive_spans, &histogram.positive, at)?;
    check_side(&histogram.negative_spans, &histogram.negative, at)?;
    if histogram.zero_count < 0.0 || histogram.count < 0.0 {
        return malformed("histogram.count", "or the zero bucket's count is negative");
    }
    // Float counts are rounded by whoever added them up, so that only whole ones must agree.
    let in_buckets = histogram.positive.iter().chain(&histogram.negative).sum::<f64>() + histogram.zero_count;
    let agrees =
        if histogram.sum.is_nan() { in_buckets <= histogram.count } else { in_buckets == histogram.count };
    if whole && !agrees {
        return malformed("histogram.count", "does not agree with the sum of the buckets");
    }
    Ok(())
}

/// Every span's buckets are there, no bucket lies outside a span, spans follow one another.
fn check_side(spans: &[BucketSpan], counts: &[f64], at: usize) -> Result<(), Fault> {
    let malformed = |problem| Err(Fault::new(Reason::Malformed, at, "histogram.spans", problem));
    let told: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if told != counts.len() as u64 {
        return malformed("tell another number of buckets than there is");
    }
    if spans.iter().skip(1).any(|span| span.offset < 0) {
        return malformed("overlap: only the first offset may be negative");
    }
    if counts.iter().any(|count| *count < 0.0) {
        return malformed("hold a bucket with a negative count");
    }
    Ok(())
}

fn check_custom(histogram: &Histogram, at: usize) -> Result<(), Fault> {
    let malformed = |field, problem| Err(Fault::new(Reason::Malformed, at, field, problem));
    let bounds = &histogram.custom_bounds;
    let ascending = bounds.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    if !ascending || bounds.iter().any(|bound| bound.is_nan() || *bound == f64::INFINITY) {
        return malformed("histogram.custom_values", "must ascend, without NaN and +Inf");
    }
    let end: i64 =
        histogram.positive_spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
    if end > bounds.len() as i64 + 1 {
        return malformed("histogram.positive_spans", "reach beyond the custom boundaries");
    }
    if histogram.zero_count != 0.0 || histogram.zero_threshold != 0.0 {
        return malformed("histogram.zero_count", "and zero_threshold must be zero when the schema is -53");
    }
    if !histogram.negative_spans.is_empty() || !histogram.negative.is_empty() {
        return malformed("histogram.negative_spans", "must be empty when the schema is -53");
    }
    Ok(())
}

pub(super) fn push_span(spans: &mut Vec<BucketSpan>, field: &Field<'_>, max: usize) -> Result<(), Fault> {
    if spans.len() >= max {
        return Err(Fault::over(Reason::TooLong, field.at, "histogram.spans", max, "spans"));
    }
    let mut message = field.message("histogram.span")?;
    let (mut offset, mut length) = (0, 0);
    while let Some(field) = message.next()? {
        match field.number {
            1 => offset = field.zigzag("span.offset")?,
            2 => length = field.varint("span.length")?,
            _ => {}
        }
    }
    let fits = || Fault::new(Reason::Malformed, field.at, "histogram.span", "does not fit 32 bits");
    let (offset, length) =
        (i32::try_from(offset).map_err(|_| fits())?, u32::try_from(length).map_err(|_| fits())?);
    spans.push(BucketSpan { offset, length });
    Ok(())
}

/// `Histogram.ResetHint`
const fn reset(number: u64) -> CounterReset {
    match number {
        1 => CounterReset::Yes,
        2 => CounterReset::No,
        3 => CounterReset::Gauge,
        _ => CounterReset::Unknown,
    }
}

/// Writes the fields of a float histogram, which every receiver of native histograms takes.
pub(super) fn write(out: &mut Writer, sample: &HistogramSample) {
    let histogram = &sample.histogram;
    out.fixed64(2, histogram.count.to_bits());
    out.fixed64(3, histogram.sum.to_bits());
    out.zigzag(4, i64::from(histogram.schema));
    out.fixed64(5, histogram.zero_threshold.to_bits());
    out.fixed64(7, histogram.zero_count.to_bits());
    write_spans(out, 8, &histogram.negative_spans);
    out.doubles(10, &histogram.negative);
    write_spans(out, 11, &histogram.positive_spans);
    out.doubles(13, &histogram.positive);
    let reset = match histogram.reset {
        CounterReset::Unknown => 0,
        CounterReset::Yes => 1,
        CounterReset::No => 2,
        CounterReset::Gauge => 3,
    };
    out.varint(14, reset);
    out.varint(15, sample.time.0 as u64);
    out.doubles(16, &histogram.custom_bounds);
}

pub(super) fn write_spans(out: &mut Writer, number: u32, spans: &[BucketSpan]) {
    for span in spans {
        out.message(number, |out| {
            out.zigzag(1, i64::from(span.offset));
            out.varint(2, u64::from(span.length));
        });
    }
}
