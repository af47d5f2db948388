//! The protobuf exposition: delimited `io.prometheus.client.MetricFamily` messages. Definition: client_model
//! `metrics.proto`; where that leaves room, what Prometheus makes of it.
//!
//! Promises: a family is walked once and nothing is allocated by a declared length; the series of a document that repeats
//! are recognised by the bytes of their labels. A histogram with spans, a zero threshold or a zero count is a native one
//! and then classic only when that is asked for too. A stamp of 0 is no stamp. Lacking: native histograms whose counts are
//! both whole and floating.

use std::borrow::Cow;

use kenning_model::{BucketSpan, CounterReset, Histogram, MetricKind, Millis, Reason, UNKNOWN_START};

use super::builder::WrittenExemplar;
use super::cursor::{Cursor, Pair, Series, go_float};
use super::prompb_histogram::push_span;
use super::{HistogramPoint, Point, Sink};
use crate::error::Fault;
use crate::protobuf::{Field, Reader, unzigzag};

/// Most buckets, quantiles, spans or exemplars of one metric.
const PARTS_MAX: usize = 65_536;
/// Most labels of one metric.
const LABELS_MAX: usize = 4_096;

/// First byte of the keys of this format's series and families. No text of the other formats starts with one of them.
const SERIES_KEY: u8 = 0xfe;
const FAMILY_KEY: u8 = 0xfd;

/// Reads one family; false at the end of the document.
pub(super) fn entry(cursor: &mut Cursor<'_>, sink: &mut impl Sink) -> Result<bool, Fault> {
    if cursor.is_empty() {
        return Ok(false);
    }
    let at = cursor.offset();
    let mut reader = Reader::new(cursor.rest());
    let (family, len) = reader.delimited().map_err(|fault| fault.moved(at))?;
    read(family, sink).map_err(|fault| fault.moved(at))?;
    cursor.pass(len);
    Ok(true)
}

/// `MetricFamily` but for its metrics.
#[derive(Default)]
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    unit: &'a str,
    kind: MetricKind,
}

fn read(family: Reader<'_>, sink: &mut impl Sink) -> Result<(), Fault> {
    let mut about = Family { kind: MetricKind::Counter, ..Family::default() };
    let (mut fields, mut empty) = (family, true);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => about.name = field.text("metric_family.name")?,
            2 => about.help = field.text("metric_family.help")?,
            3 => about.kind = kind(&field)?,
            4 => empty = false,
            5 => about.unit = field.text("metric_family.unit")?,
            _ => {}
        }
    }
    // A family without metrics is not there.
    if empty {
        return Ok(());
    }
    about.check(family.offset())?;
    about.describe(sink);
    let mut key = Vec::new();
    let mut fields = family;
    while let Some(field) = fields.next()? {
        if field.number == 4 {
            about.metric(field.message("metric_family.metric")?, field.at, &mut key, sink)?;
        }
    }
    Ok(())
}

fn kind(field: &Field<'_>) -> Result<MetricKind, Fault> {
    Ok(match field.varint("metric_family.type")? {
        0 => MetricKind::Counter,
        1 => MetricKind::Gauge,
        2 => MetricKind::Summary,
        3 => MetricKind::Unknown,
        4 => MetricKind::Histogram,
        5 => MetricKind::GaugeHistogram,
        _ => {
            let problem = "is none of counter, gauge, summary, untyped, histogram, gauge histogram";
            return Err(Fault::new(Reason::Malformed, field.at, "metric_family.type", problem));
        }
    })
}

impl<'a> Family<'a> {
    fn check(&self, at: usize) -> Result<(), Fault> {
        if self.name.is_empty() {
            return Err(Fault::new(Reason::Missing, at, "metric_family.name", "is empty"));
        }
        let total = (self.kind == MetricKind::Counter).then(|| self.name.strip_suffix("_total")).flatten();
        let stem = total.unwrap_or(self.name);
        let fits = stem.strip_suffix(self.unit).is_some_and(|stem| stem.ends_with('_'));
        if !self.unit.is_empty() && !fits {
            let problem = "is not the suffix of the metric's name";
            return Err(Fault::new(Reason::Malformed, at, "metric_family.unit", problem));
        }
        Ok(())
    }

    fn describe(&self, sink: &mut impl Sink) {
        let mut key = vec![FAMILY_KEY, self.kind as u8];
        for text in [self.name, self.help, self.unit] {
            key.extend_from_slice(text.as_bytes());
            key.push(0xff);
        }
        if sink.known_comment(&key) == Some(key.len()) {
            return;
        }
        sink.help(self.name.into(), self.help, None);
        sink.unit(self.name.into(), self.unit);
        sink.kind(self.name.into(), self.kind);
        sink.read_comment(&key);
    }

    fn metric(
        &self,
        metric: Reader<'a>,
        at: usize,
        key: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Result<(), Fault> {
        let mut out = Metric { family: self, labels: Vec::new(), time: None, at };
        let (mut fields, mut body) = (metric, None);
        let wanted = self.body();
        while let Some(field) = fields.next()? {
            match field.number {
                1 if out.labels.len() >= LABELS_MAX => {
                    return Err(Fault::over(
                        Reason::TooManyLabels,
                        field.at,
                        "metric.label",
                        LABELS_MAX,
                        "labels",
                    ));
                }
                1 => out.labels.push(field.bytes("metric.label")?),
                6 => out.time = Some(field.varint("metric.timestamp_ms")? as i64).filter(|time| *time != 0),
                number if wanted == number => body = Some(field.message("metric value")?),
                _ => {}
            }
        }
        let body = body.unwrap_or_else(|| Reader::new(&[]));
        match self.kind {
            MetricKind::Summary => out.summary(body, key, sink),
            MetricKind::Histogram | MetricKind::GaugeHistogram => out.histogram(body, key, sink),
            _ => out.number(body, key, sink),
        }
    }

    /// The field of `Metric` that this type's values are in.
    const fn body(&self) -> u32 {
        match self.kind {
            MetricKind::Gauge => 2,
            MetricKind::Counter => 3,
            MetricKind::Summary => 4,
            MetricKind::Histogram | MetricKind::GaugeHistogram => 7,
            _ => 5,
        }
    }
}

/// `Metric` but for its value.
struct Metric<'f, 'a> {
    family: &'f Family<'a>,
    /// The bytes of the `LabelPair` messages.
    labels: Vec<&'a [u8]>,
    time: Option<i64>,
    at: usize,
}

/// What tells the series of one metric apart.
#[derive(Clone, Copy)]
enum Bound {
    None,
    Le(f64),
    Quantile(f64),
    /// The native histogram, which has the family's own name.
    Native,
}

impl<'a> Metric<'_, 'a> {
    /// `Counter`, `Gauge`, `Untyped`.
    fn number(&self, mut body: Reader<'a>, key: &mut Vec<u8>, sink: &mut impl Sink) -> Result<(), Fault> {
        let (mut value, mut exemplar, mut start) = (0.0, None, UNKNOWN_START);
        while let Some(field) = body.next()? {
            match field.number {
                1 => value = field.double("metric.value")?,
                2 if self.family.kind == MetricKind::Counter => {
                    exemplar = Some(read_exemplar(field.message("counter.exemplar")?)?);
                }
                3 if self.family.kind == MetricKind::Counter => start = instant(&field)?,
                _ => {}
            }
        }
        self.sample("", Bound::None, (value, start, exemplar), key, sink)
    }

    fn summary(&self, mut body: Reader<'a>, key: &mut Vec<u8>, sink: &mut impl Sink) -> Result<(), Fault> {
        let (mut count, mut sum, mut start, mut quantiles) = (0.0, 0.0, UNKNOWN_START, Vec::new());
        while let Some(field) = body.next()? {
            match field.number {
                1 => count = field.varint("summary.sample_count")? as f64,
                2 => sum = field.double("summary.sample_sum")?,
                3 if quantiles.len() >= PARTS_MAX => return Err(too_many(&field, "summary.quantile")),
                3 => quantiles.push(two_doubles(field.message("summary.quantile")?)?),
                4 => start = instant(&field)?,
                _ => {}
            }
        }
        self.sample("_count", Bound::None, (count, start, None), key, sink)?;
        self.sample("_sum", Bound::None, (sum, start, None), key, sink)?;
        for (quantile, value) in quantiles {
            self.sample("", Bound::Quantile(quantile), (value, start, None), key, sink)?;
        }
        Ok(())
    }

    fn histogram(&self, body: Reader<'a>, key: &mut Vec<u8>, sink: &mut impl Sink) -> Result<(), Fault> {
        let read = ReadHistogram::of(body)?;
        let rules = sink.histograms();
        let native = rules.native && read.is_native();
        if native {
            self.native(&read, key, sink)?;
            if !rules.classic_too || read.buckets.is_empty() {
                return Ok(());
            }
        }
        let start = read.start;
        let count = if read.count_float != 0.0 { read.count_float } else { read.count as f64 };
        self.sample("_count", Bound::None, (count, start, None), key, sink)?;
        self.sample("_sum", Bound::None, (read.sum, start, None), key, sink)?;
        for bucket in read.buckets {
            let bound = bucket.bound;
            self.sample("_bucket", Bound::Le(bound), (bucket.count, start, bucket.exemplar), key, sink)?;
            if bound == f64::INFINITY {
                return Ok(());
            }
        }
        self.sample("_bucket", Bound::Le(f64::INFINITY), (count, start, None), key, sink)
    }

    fn native(&self, read: &ReadHistogram<'a>, key: &mut Vec<u8>, sink: &mut impl Sink) -> Result<(), Fault> {
        let (mut histogram, whole) = read.native(self.at)?;
        if self.family.kind == MetricKind::GaugeHistogram {
            histogram.reset = CounterReset::Gauge;
        }
        // Those of the buckets stand in when there are no others; without a stamp they are of no use here.
        let own = read.exemplars.iter();
        let of_buckets = read.buckets.iter().filter_map(|bucket| bucket.exemplar.as_ref());
        let exemplars: Vec<_> = if read.exemplars.is_empty() {
            of_buckets.filter(|exemplar| exemplar.time.is_some()).cloned().collect()
        } else {
            own.filter(|exemplar| exemplar.time.is_some()).cloned().collect()
        };
        let series = self.series("", Bound::Native, key, sink)?;
        let point =
            HistogramPoint { histogram, whole, time: self.time.map(Millis), start: read.start, exemplars };
        sink.histogram(series, key, point, self.at)
    }

    fn sample(
        &self,
        suffix: &'static str,
        bound: Bound,
        (value, start, exemplar): (f64, Millis, Option<WrittenExemplar<'a>>),
        key: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Result<(), Fault> {
        let series = self.series(suffix, bound, key, sink)?;
        let value = if value.is_nan() { super::NORMAL_NAN } else { value };
        let point = Point { value, time: self.time.map(Millis), start, exemplar };
        sink.sample(series, key, point, self.at)
    }

    /// Leaves the series' key in `key`, and reads the labels when it is not the one that is expected.
    fn series(
        &self,
        suffix: &'static str,
        bound: Bound,
        key: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Result<Option<Series<'a>>, Fault> {
        key.clear();
        key.push(SERIES_KEY);
        key.extend_from_slice(self.family.name.as_bytes());
        key.extend_from_slice(suffix.as_bytes());
        let (tag, bits) = match bound {
            Bound::None => (0xf8, 0),
            Bound::Le(le) => (0xf9, le.to_bits()),
            Bound::Quantile(quantile) => (0xfa, quantile.to_bits()),
            Bound::Native => (0xfb, 0),
        };
        // No text holds these bytes, so that no two series write alike.
        key.push(tag);
        key.extend_from_slice(&bits.to_le_bytes());
        for label in &self.labels {
            key.extend_from_slice(&(label.len() as u64).to_le_bytes());
            key.extend_from_slice(label);
        }
        if sink.known_key(key) {
            return Ok(None);
        }
        let mut series = Series::new();
        series.name = Some(match suffix {
            "" => Cow::Borrowed(self.family.name),
            suffix => Cow::Owned(format!("{}{suffix}", self.family.name)),
        });
        for label in &self.labels {
            series.labels.push(read_label(label, self.at)?);
        }
        match bound {
            Bound::Le(le) => series.labels.push(("le".into(), go_float(le).into())),
            Bound::Quantile(quantile) => series.labels.push(("quantile".into(), go_float(quantile).into())),
            Bound::None | Bound::Native => {}
        }
        Ok(Some(series))
    }
}

fn too_many(field: &Field<'_>, name: &'static str) -> Fault {
    Fault::over(Reason::TooLong, field.at, name, PARTS_MAX, "entries")
}

fn read_label(bytes: &[u8], at: usize) -> Result<Pair<'_>, Fault> {
    let (mut name, mut value, mut fields) = ("", "", Reader::new(bytes));
    while let Some(field) = fields.next().map_err(|fault| fault.moved(at))? {
        match field.number {
            1 => name = field.text("label.name")?,
            2 => value = field.text("label.value")?,
            _ => {}
        }
    }
    Ok((name.into(), value.into()))
}

/// `Quantile`
fn two_doubles(mut message: Reader<'_>) -> Result<(f64, f64), Fault> {
    let (mut first, mut second) = (0.0, 0.0);
    while let Some(field) = message.next()? {
        match field.number {
            1 => first = field.double("quantile.quantile")?,
            2 => second = field.double("quantile.value")?,
            _ => {}
        }
    }
    Ok((first, second))
}

/// `google.protobuf.Timestamp` in milliseconds.
fn instant(field: &Field<'_>) -> Result<Millis, Fault> {
    let (mut seconds, mut nanos, mut message) = (0i64, 0i64, field.message("timestamp")?);
    while let Some(field) = message.next()? {
        match field.number {
            1 => seconds = field.varint("timestamp.seconds")? as i64,
            2 => nanos = field.varint("timestamp.nanos")? as i64,
            _ => {}
        }
    }
    Ok(Millis(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)))
}

fn read_exemplar<'a>(mut message: Reader<'a>) -> Result<WrittenExemplar<'a>, Fault> {
    let mut exemplar = WrittenExemplar { labels: Vec::new(), value: 0.0, time: None };
    while let Some(field) = message.next()? {
        match field.number {
            1 if exemplar.labels.len() >= LABELS_MAX => return Err(too_many(&field, "exemplar.label")),
            1 => exemplar.labels.push(read_label(field.bytes("exemplar.label")?, field.at)?),
            2 => exemplar.value = field.double("exemplar.value")?,
            3 => exemplar.time = Some(instant(&field)?),
            _ => {}
        }
    }
    Ok(exemplar)
}

/// `Bucket`
struct Bucket<'a> {
    count: f64,
    bound: f64,
    exemplar: Option<WrittenExemplar<'a>>,
}

impl<'a> Bucket<'a> {
    fn of(mut message: Reader<'a>) -> Result<Self, Fault> {
        let (mut whole, mut float) = (0, 0.0);
        let mut bucket = Self { count: 0.0, bound: 0.0, exemplar: None };
        while let Some(field) = message.next()? {
            match field.number {
                1 => whole = field.varint("bucket.cumulative_count")?,
                2 => bucket.bound = field.double("bucket.upper_bound")?,
                3 => bucket.exemplar = Some(read_exemplar(field.message("bucket.exemplar")?)?),
                4 => float = field.double("bucket.cumulative_count_float")?,
                _ => {}
            }
        }
        bucket.count = if float != 0.0 { float } else { whole as f64 };
        Ok(bucket)
    }
}

/// Spans of one side with deltas, or counts when they are not whole.
#[derive(Default)]
struct Side {
    spans: Vec<BucketSpan>,
    deltas: Vec<u64>,
    counts: Vec<u64>,
}

impl Side {
    /// Absolute counts, one for each bucket of the spans.
    fn counts(&self, float: bool, at: usize) -> Result<(Vec<BucketSpan>, Vec<f64>), Fault> {
        let counts: Vec<f64> = if float {
            self.counts.iter().map(|bits| f64::from_bits(*bits)).collect()
        } else {
            let mut count = 0i64;
            let add = |delta: &u64| {
                count = count.saturating_add(unzigzag(*delta));
                count as f64
            };
            self.deltas.iter().map(add).collect()
        };
        let told: u64 = self.spans.iter().map(|span| u64::from(span.length)).sum();
        if told != counts.len() as u64 {
            let problem = "tell another number of buckets than there is";
            return Err(Fault::new(Reason::Malformed, at, "histogram.spans", problem));
        }
        let (mut spans, mut skipped) = (Vec::with_capacity(self.spans.len()), 0i32);
        for span in &self.spans {
            // A span without buckets only marks the histogram as a native one, or makes the way to the next longer.
            let offset = span.offset.saturating_add(skipped);
            match span.length {
                0 => skipped = offset,
                length => {
                    spans.push(BucketSpan { offset, length });
                    skipped = 0;
                }
            }
        }
        Ok((spans, counts))
    }
}

/// `Histogram`
#[derive(Default)]
struct ReadHistogram<'a> {
    count: u64,
    count_float: f64,
    sum: f64,
    schema: i64,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    buckets: Vec<Bucket<'a>>,
    positive: Side,
    negative: Side,
    start: Millis,
    exemplars: Vec<WrittenExemplar<'a>>,
}

impl<'a> ReadHistogram<'a> {
    fn of(mut message: Reader<'a>) -> Result<Self, Fault> {
        let mut out = Self::default();
        while let Some(field) = message.next()? {
            match field.number {
                1 => out.count = field.varint("histogram.sample_count")?,
                2 => out.sum = field.double("histogram.sample_sum")?,
                3 if out.buckets.len() >= PARTS_MAX => return Err(too_many(&field, "histogram.bucket")),
                3 => out.buckets.push(Bucket::of(field.message("histogram.bucket")?)?),
                4 => out.count_float = field.double("histogram.sample_count_float")?,
                5 => out.schema = field.zigzag("histogram.schema")?,
                6 => out.zero_threshold = field.double("histogram.zero_threshold")?,
                7 => out.zero_count = field.varint("histogram.zero_count")?,
                8 => out.zero_count_float = field.double("histogram.zero_count_float")?,
                9 => push_span(&mut out.negative.spans, &field, PARTS_MAX)?,
                10 => field.varints("histogram.negative_delta", PARTS_MAX, &mut out.negative.deltas)?,
                11 => field.fixed64s("histogram.negative_count", PARTS_MAX, &mut out.negative.counts)?,
                12 => push_span(&mut out.positive.spans, &field, PARTS_MAX)?,
                13 => field.varints("histogram.positive_delta", PARTS_MAX, &mut out.positive.deltas)?,
                14 => field.fixed64s("histogram.positive_count", PARTS_MAX, &mut out.positive.counts)?,
                15 => out.start = instant(&field)?,
                16 if out.exemplars.len() >= PARTS_MAX => {
                    return Err(too_many(&field, "histogram.exemplars"));
                }
                16 => out.exemplars.push(read_exemplar(field.message("histogram.exemplars")?)?),
                _ => {}
            }
        }
        Ok(out)
    }

    fn is_native(&self) -> bool {
        !self.positive.spans.is_empty()
            || !self.negative.spans.is_empty()
            || self.zero_threshold > 0.0
            || self.zero_count > 0
    }

    /// The native histogram, and whether its counts are whole.
    fn native(&self, at: usize) -> Result<(Histogram, bool), Fault> {
        let float = self.count_float > 0.0 || self.zero_count_float > 0.0;
        let (positive_spans, positive) = self.positive.counts(float, at)?;
        let (negative_spans, negative) = self.negative.counts(float, at)?;
        let histogram = Histogram {
            schema: i32::try_from(self.schema).unwrap_or(i32::MAX),
            zero_threshold: self.zero_threshold,
            zero_count: if float { self.zero_count_float } else { self.zero_count as f64 },
            count: if float { self.count_float } else { self.count as f64 },
            sum: self.sum,
            positive_spans,
            positive,
            negative_spans,
            negative,
            ..Histogram::default()
        };
        Ok((histogram, !float))
    }
}
