//! Remote write 1.0: `prometheus.WriteRequest` to series. Definition: prometheus.io "Remote-Write 1.0" and `prompb`.

use std::collections::HashSet;

use kenning_model::{
    Exemplar, HistogramSample, LabelSet, MetricBatch, MetricKind, MetricMetadata, Millis, Reason, Rejected,
    Sample,
};

use crate::error::{DecodeError, Decoded, Fault};
use crate::intern::{LabelTable, check_labels};
use crate::limits::DecodeLimits;
use crate::prometheus::prompb_histogram::{self, HistogramMessage};
use crate::protobuf::{Field, Reader, Writer};
use crate::series_cache::{Expected, Found, Fresh, Known, SeriesCache};
use crate::text::cut;

/// Least bytes of a series with a sample, for the room made before reading.
const SERIES_BYTES_MIN: usize = 64;

/// Reads a decompressed `WriteRequest`. A bad series is left out with all its samples; an item is a sample, a histogram
/// or an exemplar.
pub fn decode_write_request(body: &[u8], limits: &DecodeLimits) -> Result<Decoded<MetricBatch>, DecodeError> {
    decode_write_request_cached(body, limits, &SeriesCache::new(0))
}

/// As [`decode_write_request`], remembering the label sets of series by the bytes they were sent as: a series that came
/// before costs a look-up instead of being parsed.
pub fn decode_write_request_cached(
    body: &[u8],
    limits: &DecodeLimits,
    cache: &SeriesCache,
) -> Result<Decoded<MetricBatch>, DecodeError> {
    let room = (body.len() / SERIES_BYTES_MIN).min(limits.items);
    let mut decoder = Decoder {
        limits,
        table: LabelTable::with_capacity(room),
        batch: MetricBatch { samples: Vec::with_capacity(room), ..MetricBatch::default() },
        described: HashSet::new(),
        rejected: Rejected::default(),
        known: cache.read(),
        expected: Expected::default(),
        fresh: Vec::new(),
    };
    let mut request = Reader::new(body);
    while let Some(field) = request.next()? {
        match field.number {
            1 => decoder.series(&field)?,
            3 => decoder.describe(&field),
            // Taken for an empty request of this version, the data would be lost without a word.
            4 | 5 => {
                let what = "this is an io.prometheus.write.v2.Request; say so with the header \
                    `Content-Type: application/x-protobuf;proto=io.prometheus.write.v2.Request`";
                return Err(DecodeError::Malformed { at: field.at, what: what.to_owned() });
            }
            _ => {}
        }
    }
    decoder.batch.series = decoder.table.into_sets();
    drop(decoder.known);
    cache.remember(decoder.fresh);
    Ok(Decoded { batch: decoder.batch, rejected: decoder.rejected })
}

struct Decoder<'l> {
    limits: &'l DecodeLimits,
    table: LabelTable,
    batch: MetricBatch,
    described: HashSet<String>,
    rejected: Rejected,
    known: Known<'l>,
    expected: Expected,
    fresh: Vec<Fresh>,
}

impl Decoder<'_> {
    fn series(&mut self, field: &Field<'_>) -> Result<(), DecodeError> {
        let series = field.message("timeseries")?;
        let sent = series.leading(1);
        let before = Lengths::of(&self.batch);
        let index = match self.known.find(sent, &mut self.expected, self.limits) {
            Found::Distinct(labels) => self.table.push_distinct(labels),
            Found::Current(labels) => self.table.intern_set(labels),
            Found::Old(hash, labels) => {
                self.fresh.push(Fresh::new(hash, sent, labels.clone()));
                self.table.intern_set(labels)
            }
            Found::Nothing(hash) => return self.new_series(series, hash, sent),
        };
        let mut rest = series;
        rest.pass(sent.len());
        if self.items(index, rest)? {
            return Ok(());
        }
        self.late_labels(series, &before);
        Ok(())
    }

    /// A series that is not known by its bytes.
    fn new_series(&mut self, series: Reader<'_>, hash: u64, sent: &[u8]) -> Result<(), DecodeError> {
        let mut labels = match labels(series, self.limits) {
            Ok(labels) => labels,
            Err(fault) => {
                fault.count(&mut self.rejected, items_in(series)?);
                return Ok(());
            }
        };
        let index = self.table.intern(&mut labels);
        let mut rest = series;
        rest.pass(sent.len());
        // Labels behind other fields are in the set, and not in the bytes that it would be remembered by.
        if self.items(index, rest)? {
            let labels = self.table.get(index).cloned();
            self.fresh.extend(labels.map(|labels| Fresh::new(hash, sent, labels)));
        }
        Ok(())
    }

    /// Corrects the items of a series that was known by its first bytes and has labels behind other fields, too.
    fn late_labels(&mut self, series: Reader<'_>, before: &Lengths) {
        match labels(series, self.limits) {
            Ok(mut labels) => before.point_at(&mut self.batch, self.table.intern(&mut labels)),
            Err(fault) => fault.count(&mut self.rejected, before.restore(&mut self.batch)),
        }
    }

    /// Takes the samples, exemplars and histograms of a series; false when there were labels among them.
    fn items(&mut self, index: u32, mut series: Reader<'_>) -> Result<bool, DecodeError> {
        let mut plain = true;
        while let Some(field) = series.next()? {
            let outcome = match field.number {
                2 => self.sample(index, &field),
                3 => self.exemplar(index, &field),
                4 => self.histogram(index, &field),
                1 => {
                    plain = false;
                    continue;
                }
                _ => continue,
            };
            if let Err(fault) = outcome {
                fault.count(&mut self.rejected, 1);
            }
            if self.batch.len() > self.limits.items {
                let what = "the write request holds too many samples; lower max_samples_per_send";
                return Err(DecodeError::TooLarge { what, limit: self.limits.items });
            }
        }
        Ok(plain)
    }

    fn sample(&mut self, series: u32, field: &Field<'_>) -> Result<(), Fault> {
        let (value, time) = match plain_sample(field.bytes("sample")?) {
            Some(plain) => plain,
            None => any_sample(field)?,
        };
        self.batch.samples.push(Sample { series, time: Millis(time), value });
        Ok(())
    }

    fn exemplar(&mut self, series: u32, field: &Field<'_>) -> Result<(), Fault> {
        let mut message = field.message("exemplar")?;
        let mut pairs = Vec::new();
        let (mut value, mut time) = (0.0, 0);
        while let Some(field) = message.next()? {
            match field.number {
                1 => push_label(&mut pairs, &field, self.limits)?,
                2 => value = field.double("exemplar.value")?,
                3 => time = field.varint("exemplar.timestamp")? as i64,
                _ => {}
            }
        }
        check_labels(&pairs, self.limits, field.at)?;
        let labels = LabelSet::from_borrowed(&mut pairs);
        self.batch.exemplars.push(Exemplar { series, time: Millis(time), value, labels });
        Ok(())
    }

    fn histogram(&mut self, series: u32, field: &Field<'_>) -> Result<(), Fault> {
        let HistogramMessage { time, histogram, .. } = prompb_histogram::read(field, self.limits)?;
        self.batch.histograms.push(HistogramSample { series, time, histogram });
        Ok(())
    }

    /// Metadata is a courtesy: what does not parse is counted, and never costs samples.
    fn describe(&mut self, field: &Field<'_>) {
        match metadata(field, self.limits) {
            Ok(metadata) if self.described.len() < self.limits.items => {
                if self.described.insert(metadata.metric.clone()) {
                    self.batch.metadata.push(metadata);
                }
            }
            Ok(_) => {}
            Err(fault) => fault.count(&mut self.rejected, 1),
        }
    }
}

/// How many items there were, to go back to.
struct Lengths {
    samples: usize,
    exemplars: usize,
    histograms: usize,
}

impl Lengths {
    fn of(batch: &MetricBatch) -> Self {
        let (samples, exemplars) = (batch.samples.len(), batch.exemplars.len());
        Self { samples, exemplars, histograms: batch.histograms.len() }
    }

    /// Points the items that came since at another series.
    fn point_at(&self, batch: &mut MetricBatch, series: u32) {
        batch.samples.iter_mut().skip(self.samples).for_each(|sample| sample.series = series);
        batch.exemplars.iter_mut().skip(self.exemplars).for_each(|exemplar| exemplar.series = series);
        batch.histograms.iter_mut().skip(self.histograms).for_each(|sample| sample.series = series);
    }

    /// Takes out the items that came since and gives their number.
    fn restore(&self, batch: &mut MetricBatch) -> u64 {
        let count = batch.len();
        batch.samples.truncate(self.samples);
        batch.exemplars.truncate(self.exemplars);
        batch.histograms.truncate(self.histograms);
        (count - batch.len()) as u64
    }
}

/// A sample as every sender writes it: value, then time, nothing else. `None` for any other form.
fn plain_sample(bytes: &[u8]) -> Option<(f64, i64)> {
    let (tag, rest) = bytes.split_first()?;
    let (value, rest) = rest.split_first_chunk::<8>()?;
    let (0x09, [0x10, rest @ ..]) = (*tag, rest) else { return None };
    let mut time = 0u64;
    for (place, byte) in rest.iter().enumerate().take(9) {
        time |= u64::from(byte & 0x7f) << (7 * place);
        if *byte < 0x80 {
            return (place + 1 == rest.len()).then_some((f64::from_le_bytes(*value), time as i64));
        }
    }
    None
}

fn any_sample(field: &Field<'_>) -> Result<(f64, i64), Fault> {
    let mut message = field.message("sample")?;
    let (mut value, mut time) = (0.0, 0);
    while let Some(field) = message.next()? {
        match field.number {
            1 => value = field.double("sample.value")?,
            2 => time = field.varint("sample.timestamp")? as i64,
            _ => {}
        }
    }
    Ok((value, time))
}

fn labels<'a>(mut series: Reader<'a>, limits: &DecodeLimits) -> Result<Vec<(&'a str, &'a str)>, Fault> {
    let mut pairs = Vec::new();
    let at = series.offset();
    while let Some(field) = series.next()? {
        if field.number == 1 {
            push_label(&mut pairs, &field, limits)?;
        }
    }
    check_labels(&pairs, limits, at)?;
    pairs.sort_by(|a, b| a.0.cmp(b.0));
    if pairs.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0)) {
        return Err(Fault::new(Reason::DuplicateLabel, at, "timeseries.labels", "hold a name twice"));
    }
    if !pairs.iter().any(|(name, value)| *name == kenning_model::METRIC_NAME && !value.is_empty()) {
        return Err(Fault::new(Reason::Missing, at, "timeseries.labels", "lack the metric's name"));
    }
    Ok(pairs)
}

fn push_label<'a>(
    pairs: &mut Vec<(&'a str, &'a str)>,
    field: &Field<'a>,
    limits: &DecodeLimits,
) -> Result<(), Fault> {
    if pairs.len() >= limits.labels {
        return Err(Fault::over(
            Reason::TooManyLabels,
            field.at,
            "number of labels",
            limits.labels,
            "labels",
        ));
    }
    let mut message = field.message("label")?;
    let (mut name, mut value) = ("", "");
    while let Some(field) = message.next()? {
        match field.number {
            1 => name = field.text("label.name")?,
            2 => value = field.text("label.value")?,
            _ => {}
        }
    }
    pairs.push((name, value));
    Ok(())
}

fn items_in(mut series: Reader<'_>) -> Result<u64, Fault> {
    let mut items = 0;
    while let Some(field) = series.next()? {
        items += u64::from(matches!(field.number, 2..=4));
    }
    Ok(items)
}

fn metadata(field: &Field<'_>, limits: &DecodeLimits) -> Result<MetricMetadata, Fault> {
    let mut message = field.message("metadata")?;
    let mut metadata = MetricMetadata::default();
    while let Some(field) = message.next()? {
        match field.number {
            1 => metadata.kind = kind(field.varint("metadata.type")?),
            2 => cut(field.text("metadata.metric_family_name")?, limits.help_bytes)
                .clone_into(&mut metadata.metric),
            4 => cut(field.text("metadata.help")?, limits.help_bytes).clone_into(&mut metadata.help),
            5 => cut(field.text("metadata.unit")?, limits.help_bytes).clone_into(&mut metadata.unit),
            _ => {}
        }
    }
    Ok(metadata)
}

/// `MetricMetadata.MetricType`
pub(super) const fn kind(number: u64) -> MetricKind {
    match number {
        1 => MetricKind::Counter,
        2 => MetricKind::Gauge,
        3 => MetricKind::Histogram,
        4 => MetricKind::GaugeHistogram,
        5 => MetricKind::Summary,
        6 => MetricKind::Info,
        7 => MetricKind::StateSet,
        _ => MetricKind::Unknown,
    }
}

/// A `WriteRequest` with one time series per series of the batch, not yet compressed. Histograms go out as float
/// histograms, which every receiver of native histograms takes.
#[must_use]
pub fn encode_write_request(batch: &MetricBatch) -> Vec<u8> {
    let mut rows = vec![Rows::default(); batch.series.len()];
    for sample in &batch.samples {
        rows.get_mut(sample.series as usize).into_iter().for_each(|rows| rows.samples.push(sample));
    }
    for sample in &batch.histograms {
        rows.get_mut(sample.series as usize).into_iter().for_each(|rows| rows.histograms.push(sample));
    }
    for exemplar in &batch.exemplars {
        rows.get_mut(exemplar.series as usize).into_iter().for_each(|rows| rows.exemplars.push(exemplar));
    }
    let mut writer = Writer::default();
    for (labels, rows) in batch.series.iter().zip(&rows) {
        writer.message(1, |out| encode_series(out, labels, rows));
    }
    for metadata in &batch.metadata {
        writer.message(3, |out| {
            out.varint(1, metadata.kind as u64);
            out.text(2, &metadata.metric);
            out.text(4, &metadata.help);
            out.text(5, &metadata.unit);
        });
    }
    writer.finish()
}

/// What a batch holds of one series.
#[derive(Clone, Default)]
struct Rows<'a> {
    samples: Vec<&'a Sample>,
    histograms: Vec<&'a HistogramSample>,
    exemplars: Vec<&'a Exemplar>,
}

fn encode_series(out: &mut Writer, labels: &LabelSet, rows: &Rows<'_>) {
    encode_labels(out, labels);
    for sample in &rows.samples {
        out.message(2, |out| {
            out.fixed64(1, sample.value.to_bits());
            out.varint(2, sample.time.0 as u64);
        });
    }
    for exemplar in &rows.exemplars {
        out.message(3, |out| {
            encode_labels(out, &exemplar.labels);
            out.fixed64(2, exemplar.value.to_bits());
            out.varint(3, exemplar.time.0 as u64);
        });
    }
    for sample in &rows.histograms {
        out.message(4, |out| prompb_histogram::write(out, sample));
    }
}

fn encode_labels(out: &mut Writer, labels: &LabelSet) {
    for (name, value) in labels.iter() {
        out.message(1, |out| {
            out.text(1, name);
            out.text(2, value);
        });
    }
}

#[cfg(test)]
mod cache_tests {
    use super::*;

    fn label(name: &str, value: &str) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.message(1, |out| {
            out.text(1, name);
            out.text(2, value);
        });
        writer.finish()
    }

    fn sample(value: f64, time: u64) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.message(2, |out| {
            out.fixed64(1, value.to_bits());
            out.varint(2, time);
        });
        writer.finish()
    }

    fn request(series: &[&[Vec<u8>]]) -> Vec<u8> {
        let mut body = Vec::new();
        for fields in series {
            let bytes = fields.concat();
            body.extend([0x0a, bytes.len() as u8]);
            body.extend(bytes);
        }
        body
    }

    /// Decodes the same body cold, warm, and with a cache that has forgotten half; always alike.
    fn check(series: &[&[Vec<u8>]]) -> Decoded<MetricBatch> {
        let (body, limits) = (request(series), DecodeLimits::default());
        let cold = decode_write_request(&body, &limits).unwrap();
        for bytes in [300, 1 << 20] {
            let cache = SeriesCache::new(bytes);
            for round in 0..4 {
                let warm = decode_write_request_cached(&body, &limits, &cache).unwrap();
                assert_eq!(warm, cold, "round {round}, {bytes} bytes");
            }
        }
        cold
    }

    #[test]
    fn what_is_remembered_is_what_parsing_gives() {
        let up = [label("__name__", "up"), label("a", "1")];
        let plain = [&up[..], &[sample(1.0, 5), sample(2.0, 6)]].concat();
        let turned = [label("a", "1"), label("__name__", "up"), sample(3.0, 7)];
        let decoded = check(&[&plain, &turned, &plain]);
        assert_eq!((decoded.batch.series.len(), decoded.batch.samples.len()), (1, 5));
    }

    #[test]
    fn labels_behind_other_fields_belong_to_the_set() {
        let plain = [label("__name__", "up"), sample(1.0, 5)];
        let late = [label("__name__", "up"), sample(2.0, 6), label("z", "1"), sample(3.0, 7)];
        let twice = [label("__name__", "up"), sample(2.0, 6), label("__name__", "down")];
        let decoded = check(&[&plain, &late, &twice, &plain]);
        assert_eq!((decoded.batch.series.len(), decoded.batch.samples.len()), (2, 4));
        assert_eq!(decoded.rejected.total(), 1);
    }

    #[test]
    fn refused_series_are_refused_each_time() {
        let nameless = [label("a", "1"), sample(1.0, 5), sample(1.0, 6)];
        assert_eq!(check(&[&nameless]).rejected.total(), 2);
    }
}
