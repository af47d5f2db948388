//! Remote write 2.0: `io.prometheus.write.v2.Request` to series. Definition: prometheus.io "Remote-Write 2.0" and
//! `io/prometheus/write/v2/types.proto`.
//!
//! Promises: as for 1.0, and a reference outside the table of symbols costs its series only. Start times come from the
//! samples (field 3) and histograms (field 17) themselves or, as earlier drafts had it, from their series (field 6, which
//! Prometheus 3.14 reserves). Metadata goes under the name of
//! the metric's family, as everywhere: without `_bucket`, `_count` and `_sum` of histograms and summaries.

use std::collections::{HashMap, HashSet};

use kenning_model::{
    Exemplar, HistogramSample, LabelSet, METRIC_NAME, MetricBatch, MetricKind, MetricMetadata, Millis,
    Reason, Rejected, Sample, UNKNOWN_START, start_at,
};

use super::prompb_histogram::{self, HistogramMessage};
use super::remote_write::kind;
use crate::error::{DecodeError, Decoded, Fault};
use crate::intern::{LabelTable, check_labels};
use crate::limits::DecodeLimits;
use crate::protobuf::{Field, Reader, Writer};
use crate::text::cut;

/// Reads a decompressed `Request`. A bad series is left out with all its samples; an item is a sample, a histogram or
/// an exemplar.
pub fn decode_write_request_v2(
    body: &[u8],
    limits: &DecodeLimits,
) -> Result<Decoded<MetricBatch>, DecodeError> {
    let mut decoder = Decoder {
        limits,
        symbols: symbols(body, limits)?,
        refs: Vec::new(),
        table: LabelTable::default(),
        batch: MetricBatch::default(),
        described: HashSet::new(),
        rejected: Rejected::default(),
    };
    let mut request = Reader::new(body);
    while let Some(field) = request.next()? {
        if field.number == 5 {
            decoder.series(&field)?;
        }
    }
    decoder.batch.series = decoder.table.into_sets();
    Ok(Decoded { batch: decoder.batch, rejected: decoder.rejected })
}

/// The texts that everything else refers to; `None` where one is not UTF-8.
fn symbols<'a>(body: &'a [u8], limits: &DecodeLimits) -> Result<Vec<Option<&'a str>>, DecodeError> {
    let (mut symbols, mut foreign) = (Vec::new(), None);
    let mut request = Reader::new(body);
    while let Some(field) = request.next()? {
        match field.number {
            4 if symbols.len() >= limits.items => {
                let what = "the write request holds too many symbols; lower max_samples_per_send";
                return Err(DecodeError::TooLarge { what, limit: limits.items });
            }
            4 => symbols.push(std::str::from_utf8(field.bytes("symbols")?).ok()),
            // Reserved, so that a request of version 1 is told from one of this version.
            1..=3 => foreign = foreign.or(Some(field.at)),
            _ => {}
        }
    }
    match foreign {
        Some(at) if symbols.is_empty() => {
            let what = "this is a prometheus.WriteRequest of version 1; \
                        say so with the header `Content-Type: application/x-protobuf`";
            Err(DecodeError::Malformed { at, what: what.to_owned() })
        }
        _ => Ok(symbols),
    }
}

/// Names and values of labels.
type Pairs<'a> = Vec<(&'a str, &'a str)>;

struct Decoder<'a> {
    limits: &'a DecodeLimits,
    symbols: Vec<Option<&'a str>>,
    /// Work space.
    refs: Vec<u64>,
    table: LabelTable,
    batch: MetricBatch,
    described: HashSet<String>,
    rejected: Rejected,
}

/// Where a series' items go.
struct Place {
    series: u32,
    /// The start time of items that have none of their own.
    start: Millis,
    /// The time of exemplars that have none of their own.
    latest: Millis,
}

impl<'a> Decoder<'a> {
    fn series(&mut self, field: &Field<'a>) -> Result<(), DecodeError> {
        let message = field.message("timeseries")?;
        match self.labels_and_start(message) {
            Ok((mut labels, start)) => {
                let series = self.table.intern(&mut labels);
                let place = Place { series, start, latest: Millis(i64::MIN) };
                self.items(message, place, metric_name(&labels))
            }
            Err(fault) => {
                fault.count(&mut self.rejected, items_in(message)?);
                Ok(())
            }
        }
    }

    fn items(&mut self, mut message: Reader<'a>, mut place: Place, metric: &str) -> Result<(), DecodeError> {
        // Exemplars come last, whatever the order on the wire: they may need the time of a sample.
        let mut exemplars = message;
        while let Some(field) = message.next()? {
            let outcome = match field.number {
                2 => self.sample(&mut place, &field),
                3 => self.histogram(&mut place, &field),
                5 => {
                    // A courtesy: what does not parse is counted as no item.
                    if let Err(fault) = self.describe(&field, metric) {
                        fault.count(&mut self.rejected, 0);
                    }
                    continue;
                }
                _ => continue,
            };
            self.settle(outcome)?;
        }
        while let Some(field) = exemplars.next()? {
            if field.number == 4 {
                let outcome = self.exemplar(&place, &field);
                self.settle(outcome)?;
            }
        }
        Ok(())
    }

    fn settle(&mut self, outcome: Result<(), Fault>) -> Result<(), DecodeError> {
        if let Err(fault) = outcome {
            fault.count(&mut self.rejected, 1);
        }
        if self.batch.len() > self.limits.items {
            let what = "the write request holds too many samples; lower max_samples_per_send";
            return Err(DecodeError::TooLarge { what, limit: self.limits.items });
        }
        Ok(())
    }

    fn sample(&mut self, place: &mut Place, field: &Field<'_>) -> Result<(), Fault> {
        let mut message = field.message("sample")?;
        let (mut value, mut time, mut start) = (0.0, 0, 0);
        while let Some(field) = message.next()? {
            match field.number {
                1 => value = field.double("sample.value")?,
                2 => time = field.varint("sample.timestamp")? as i64,
                3 => start = field.varint("sample.start_timestamp")? as i64,
                _ => {}
            }
        }
        let time = Millis(time);
        place.latest = place.latest.max(time);
        self.batch.push_sample(Sample { series: place.series, time, value }, place.start_of(Millis(start)));
        Ok(())
    }

    fn histogram(&mut self, place: &mut Place, field: &Field<'_>) -> Result<(), Fault> {
        let HistogramMessage { time, start, histogram } = prompb_histogram::read(field, self.limits)?;
        place.latest = place.latest.max(time);
        let sample = HistogramSample { series: place.series, time, histogram };
        self.batch.push_histogram(sample, place.start_of(start));
        Ok(())
    }

    fn exemplar(&mut self, place: &Place, field: &Field<'a>) -> Result<(), Fault> {
        let mut message = field.message("exemplar")?;
        let (mut value, mut time) = (0.0, 0);
        self.refs.clear();
        while let Some(field) = message.next()? {
            match field.number {
                1 => self.references(&field, "exemplar.labels_refs")?,
                2 => value = field.double("exemplar.value")?,
                3 => time = field.varint("exemplar.timestamp")? as i64,
                _ => {}
            }
        }
        let mut labels = self.pairs(field.at, "exemplar.labels_refs")?;
        check_labels(&labels, self.limits, field.at)?;
        let time = match Millis(time) {
            Millis(0) if place.latest != Millis(i64::MIN) => place.latest,
            time => time,
        };
        let labels = LabelSet::from_borrowed(&mut labels);
        self.batch.exemplars.push(Exemplar { series: place.series, time, value, labels });
        Ok(())
    }

    fn describe(&mut self, field: &Field<'_>, metric: &str) -> Result<(), Fault> {
        let mut message = field.message("metadata")?;
        let (mut metadata, at) = (MetricMetadata::default(), field.at);
        while let Some(field) = message.next()? {
            match field.number {
                1 => metadata.kind = kind(field.varint("metadata.type")?),
                3 => metadata.help = self.help(field.varint("metadata.help_ref")?, at)?,
                4 => metadata.unit = self.help(field.varint("metadata.unit_ref")?, at)?,
                _ => {}
            }
        }
        if metadata == MetricMetadata::default() {
            return Ok(());
        }
        let family = family_name(metric, metadata.kind);
        if self.described.len() < self.limits.items && !self.described.contains(family) {
            self.described.insert(family.to_owned());
            metadata.metric = family.to_owned();
            self.batch.metadata.push(metadata);
        }
        Ok(())
    }

    fn help(&self, reference: u64, at: usize) -> Result<String, Fault> {
        Ok(cut(self.symbol(reference, at, "metadata.help_ref")?, self.limits.help_bytes).to_owned())
    }

    fn labels_and_start(&mut self, mut message: Reader<'a>) -> Result<(Pairs<'a>, Millis), Fault> {
        let (at, mut start) = (message.offset(), UNKNOWN_START);
        self.refs.clear();
        while let Some(field) = message.next()? {
            match field.number {
                1 => self.references(&field, "timeseries.labels_refs")?,
                6 => start = Millis(field.varint("timeseries.created_timestamp")? as i64),
                _ => {}
            }
        }
        let mut pairs = self.pairs(at, "timeseries.labels_refs")?;
        check_labels(&pairs, self.limits, at)?;
        pairs.sort_by(|a, b| a.0.cmp(b.0));
        if pairs.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0)) {
            let problem = "hold a name twice";
            return Err(Fault::new(Reason::DuplicateLabel, at, "timeseries.labels_refs", problem));
        }
        if metric_name(&pairs).is_empty() {
            return Err(Fault::new(Reason::Missing, at, "timeseries.labels_refs", "lack the metric's name"));
        }
        Ok((pairs, start))
    }

    fn references(&mut self, field: &Field<'_>, name: &'static str) -> Result<(), Fault> {
        // A reference for the name and one for the value.
        let max = self.limits.labels.saturating_mul(2);
        field.varints(name, max, &mut self.refs).map_err(|fault| match fault.reason {
            Reason::TooLong => {
                Fault::over(Reason::TooManyLabels, field.at, "number of labels", self.limits.labels, "labels")
            }
            _ => fault,
        })
    }

    fn pairs(&self, at: usize, name: &'static str) -> Result<Pairs<'a>, Fault> {
        let (pairs, rest) = self.refs.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Fault::new(Reason::Malformed, at, name, "hold a name without a value"));
        }
        let pair =
            |[key, value]: &[u64; 2]| Ok((self.symbol(*key, at, name)?, self.symbol(*value, at, name)?));
        pairs.iter().map(pair).collect()
    }

    fn symbol(&self, reference: u64, at: usize, name: &'static str) -> Result<&'a str, Fault> {
        let found = usize::try_from(reference).ok().and_then(|place| self.symbols.get(place));
        match found {
            Some(Some(text)) => Ok(text),
            Some(None) => Err(Fault::new(Reason::NotUtf8, at, name, "refer to a symbol that is not UTF-8")),
            None => Err(Fault::new(Reason::Malformed, at, name, "refer to a symbol that is not there")),
        }
    }
}

impl Place {
    fn start_of(&self, own: Millis) -> Millis {
        if own == UNKNOWN_START { self.start } else { own }
    }
}

fn metric_name<'a>(sorted: &[(&'a str, &'a str)]) -> &'a str {
    sorted.iter().find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, value)| value)
}

/// The name under which a series' type, help and unit are kept.
fn family_name(series: &str, kind: MetricKind) -> &str {
    let suffixes: &[&str] = match kind {
        MetricKind::Histogram => &["_bucket", "_count", "_sum"],
        MetricKind::GaugeHistogram => &["_bucket", "_gcount", "_gsum", "_count", "_sum"],
        MetricKind::Summary => &["_count", "_sum"],
        _ => &[],
    };
    suffixes
        .iter()
        .find_map(|suffix| series.strip_suffix(suffix))
        .filter(|name| !name.is_empty())
        .unwrap_or(series)
}

fn items_in(mut series: Reader<'_>) -> Result<u64, Fault> {
    let mut items = 0;
    while let Some(field) = series.next()? {
        items += u64::from(matches!(field.number, 2..=4));
    }
    Ok(items)
}

/// A `Request` with one time series per series of the batch, not yet compressed. Histograms go out as float
/// histograms, which every receiver of native histograms takes; metadata goes with the series of its metric's name.
#[must_use]
pub fn encode_write_request_v2(batch: &MetricBatch) -> Vec<u8> {
    let mut symbols = Symbols::default();
    symbols.of("");
    let mut series = Writer::default();
    for (labels, rows) in batch.series.iter().zip(rows_of(batch)) {
        series.message(5, |out| encode_series(out, &mut symbols, batch, labels, &rows));
    }
    let mut writer = Writer::default();
    symbols.texts.iter().for_each(|text| writer.bytes(4, text.as_bytes()));
    let mut request = writer.finish();
    request.extend(series.finish());
    request
}

/// Texts by the number that stands for them.
#[derive(Default)]
struct Symbols<'a> {
    texts: Vec<&'a str>,
    numbers: HashMap<&'a str, u64>,
}

impl<'a> Symbols<'a> {
    fn of(&mut self, text: &'a str) -> u64 {
        let next = self.texts.len() as u64;
        *self.numbers.entry(text).or_insert_with(|| {
            self.texts.push(text);
            next
        })
    }

    fn labels(&mut self, out: &mut Writer, labels: &'a LabelSet) {
        out.message(1, |out| {
            for (name, value) in labels.iter() {
                out.raw_varint(self.of(name));
                out.raw_varint(self.of(value));
            }
        });
    }
}

/// What a batch holds of one series: samples and histograms with their start times, and exemplars.
#[derive(Clone, Default)]
struct Rows<'a> {
    samples: Vec<(&'a Sample, Millis)>,
    histograms: Vec<(&'a HistogramSample, Millis)>,
    exemplars: Vec<&'a Exemplar>,
}

fn rows_of(batch: &MetricBatch) -> Vec<Rows<'_>> {
    let mut rows = vec![Rows::default(); batch.series.len()];
    for (place, sample) in batch.samples.iter().enumerate() {
        let start = start_at(&batch.starts, place);
        rows.get_mut(sample.series as usize).into_iter().for_each(|rows| rows.samples.push((sample, start)));
    }
    for (place, sample) in batch.histograms.iter().enumerate() {
        let start = start_at(&batch.histogram_starts, place);
        rows.get_mut(sample.series as usize)
            .into_iter()
            .for_each(|rows| rows.histograms.push((sample, start)));
    }
    for exemplar in &batch.exemplars {
        rows.get_mut(exemplar.series as usize).into_iter().for_each(|rows| rows.exemplars.push(exemplar));
    }
    rows
}

fn encode_series<'a>(
    out: &mut Writer,
    symbols: &mut Symbols<'a>,
    batch: &'a MetricBatch,
    labels: &'a LabelSet,
    rows: &Rows<'a>,
) {
    symbols.labels(out, labels);
    for (sample, start) in &rows.samples {
        out.message(2, |out| {
            out.fixed64(1, sample.value.to_bits());
            out.varint(2, sample.time.0 as u64);
            out.varint(3, start.0 as u64);
        });
    }
    for (sample, start) in &rows.histograms {
        out.message(3, |out| {
            prompb_histogram::write(out, sample);
            out.varint(17, start.0 as u64);
        });
    }
    for exemplar in &rows.exemplars {
        out.message(4, |out| {
            symbols.labels(out, &exemplar.labels);
            out.fixed64(2, exemplar.value.to_bits());
            out.varint(3, exemplar.time.0 as u64);
        });
    }
    let described = |m: &&MetricMetadata| m.metric == family_name(labels.metric_name(), m.kind);
    if let Some(metadata) = batch.metadata.iter().find(described) {
        out.message(5, |out| {
            out.varint(1, metadata.kind as u64);
            out.varint(3, symbols.of(&metadata.help));
            out.varint(4, symbols.of(&metadata.unit));
        });
    }
}
