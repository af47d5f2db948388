//! Prometheus' own formats: the two text expositions, and remote write.

mod builder;
mod classic;
mod cursor;
mod families;
mod families_out;
mod openmetrics;
mod prompb_histogram;
pub mod remote_read;
mod remote_write;
mod remote_write2;
mod strict;
mod template;
mod text;
mod warm;
pub mod xor_chunk;

use std::borrow::Cow;

use kenning_model::{Histogram, LabelSet, MetricBatch, MetricKind, Millis};

use crate::error::{DecodeError, Decoded, Fault};
use crate::limits::DecodeLimits;
use builder::{Builder, WrittenExemplar};
use cursor::{Cursor, Series};

pub use families_out::{FamilyMetric, FamilyValue, encode_family};
pub use remote_write::{decode_write_request, decode_write_request_cached, encode_write_request};
pub use remote_write2::{decode_write_request_v2, encode_write_request_v2};
pub use strict::{Flaw, check_strictly};

pub use warm::{Finish, ScrapeRules, Scraped, SeriesCache};

/// The NaN that marks the end of a series. Definition: Prometheus `model/value`.
pub const STALE_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// The NaN that every other NaN of a text becomes. Definition: Prometheus `model/value`.
pub const NORMAL_NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// The formats of scrapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus text, version 0.0.4.
    Text,
    /// OpenMetrics text, version 1.0.0 (0.0.1 reads alike).
    OpenMetrics,
    /// Delimited protobuf messages `io.prometheus.client.MetricFamily`.
    Protobuf,
}

impl Exposition {
    /// The format of a `Content-Type` header. Anything that is neither OpenMetrics nor protobuf is taken for text, as
    /// scrapers always have.
    #[must_use]
    pub fn from_content_type(header: &str) -> Self {
        let essence = header.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/openmetrics-text") {
            Self::OpenMetrics
        } else if essence.eq_ignore_ascii_case("application/vnd.google.protobuf") {
            Self::Protobuf
        } else {
            Self::Text
        }
    }
}

/// What a bad line does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadLine {
    /// Fails the document, as a scrape by Prometheus does. Nothing is stored.
    #[default]
    FailDocument,
    /// Is counted and left out.
    SkipLine,
}

/// How a document becomes a batch.
#[derive(Clone, Debug)]
pub struct ScrapeOptions {
    /// The stamp of samples that carry none.
    pub time: Millis,
    /// Takes stamps from the document; otherwise all samples get [`Self::time`].
    pub honor_timestamps: bool,
    /// Labels of the target (`job`, `instance` ...), added to every series.
    pub target: LabelSet,
    /// On a conflict the document's label wins; otherwise it is renamed to `exported_<name>`.
    pub honor_labels: bool,
    /// What a bad line does.
    pub on_bad_line: OnBadLine,
}

impl ScrapeOptions {
    /// Prometheus' defaults.
    #[must_use]
    pub fn new(time: Millis, target: LabelSet) -> Self {
        Self {
            time,
            honor_timestamps: true,
            target,
            honor_labels: false,
            on_bad_line: OnBadLine::FailDocument,
        }
    }
}

/// Reads an exposition. Series beyond [`DecodeLimits`] and repeated series are left out one by one and counted;
/// a line that does not parse does what [`OnBadLine`] says; the protobuf form has no lines, so that it fails. Native
/// histograms are read, and their classic series only when they are nothing else.
///
/// ```
/// use kenning_model::{LabelSet, Millis};
/// use kenning_wire::DecodeLimits;
/// use kenning_wire::prometheus::{Exposition, ScrapeOptions, decode};
///
/// let options = ScrapeOptions::new(Millis(1_700_000_000_000), LabelSet::from_pairs([("job", "api")]));
/// let scraped = decode(b"up{zone=\"eu\"} 1\n", Exposition::Text, &DecodeLimits::default(), &options)?;
/// let series = &scraped.batch.series[0];
/// assert_eq!((series.metric_name(), series.get("job"), series.get("zone")), ("up", "api", "eu"));
/// # Ok::<(), kenning_wire::DecodeError>(())
/// ```
pub fn decode(
    body: &[u8],
    format: Exposition,
    limits: &DecodeLimits,
    options: &ScrapeOptions,
) -> Result<Decoded<MetricBatch>, DecodeError> {
    let mut builder = Builder::new(limits, options);
    let mut cursor = Cursor::new(body);
    let entry = entry_of::<Builder<'_>>(format);
    let skips = options.on_bad_line == OnBadLine::SkipLine && format != Exposition::Protobuf;
    loop {
        let start = cursor;
        match entry(&mut cursor, &mut builder) {
            Ok(true) => builder.check_items()?,
            Ok(false) => return Ok(builder.finish()),
            Err(fault) if skips && !start.is_empty() => {
                builder.refuse(fault);
                cursor = start;
                cursor.skip_line();
            }
            Err(fault) => return Err(fault.into()),
        }
    }
}

/// What becomes of histograms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HistogramRules {
    /// Native ones are taken; otherwise only their classic series.
    pub native: bool,
    /// The classic series are taken beside a native one, and beside one that was made of them.
    pub classic_too: bool,
    /// Classic ones become native ones with custom buckets.
    pub to_custom_buckets: bool,
    /// Buckets of a native one, reached by a coarser resolution; 0 for any number.
    pub bucket_limit: usize,
    /// Buckets of native ones grow by at least this factor; 0 for any.
    pub bucket_factor_min: f64,
}

/// A number as it stands in a document.
struct Point<'a> {
    value: f64,
    time: Option<Millis>,
    /// When its counter began; [`kenning_model::UNKNOWN_START`] when not told.
    start: Millis,
    exemplar: Option<WrittenExemplar<'a>>,
}

/// A native histogram as it stands in a document.
struct HistogramPoint<'a> {
    histogram: Histogram,
    /// Its counts are whole, so that they must agree.
    whole: bool,
    time: Option<Millis>,
    start: Millis,
    exemplars: Vec<WrittenExemplar<'a>>,
}

/// Takes what the readers of the formats find.
trait Sink {
    /// What becomes of histograms.
    fn histograms(&self) -> HistogramRules {
        HistogramRules { native: true, ..HistogramRules::default() }
    }

    /// Bytes of the series text at the start of `rest`, when it is the one that is expected here.
    fn known_series(&mut self, _rest: &[u8]) -> Option<usize> {
        None
    }

    /// True when `key` is that of the series that is expected here.
    fn known_key(&mut self, _key: &[u8]) -> bool {
        false
    }

    /// Bytes of the comment at the start of `rest`, line feed included, when it is the one that is expected here.
    fn known_comment(&mut self, _rest: &[u8]) -> Option<usize> {
        None
    }

    /// A comment was read that was not expected; `text` is all of it.
    fn read_comment(&mut self, _text: &[u8]) {}

    /// `quotes` says whether `\"` is an escape; without, there are no escapes.
    fn help(&mut self, metric: Cow<'_, str>, help: &str, quotes: Option<bool>);
    fn kind(&mut self, metric: Cow<'_, str>, kind: MetricKind);
    fn unit(&mut self, metric: Cow<'_, str>, unit: &str);

    /// A sample. Without a series it is the one that [`Self::known_series`] or [`Self::known_key`] found. An error is a
    /// line that no scraper accepts.
    fn sample(
        &mut self,
        series: Option<Series<'_>>,
        text: &[u8],
        point: Point<'_>,
        at: usize,
    ) -> Result<(), Fault>;

    /// A native histogram, likewise.
    fn histogram(
        &mut self,
        series: Option<Series<'_>>,
        text: &[u8],
        point: HistogramPoint<'_>,
        at: usize,
    ) -> Result<(), Fault>;
}

/// The reader of one line, or of one family.
type Entry<S> = fn(&mut Cursor<'_>, &mut S) -> Result<bool, Fault>;

fn entry_of<S: Sink>(format: Exposition) -> Entry<S> {
    match format {
        Exposition::Text => text::entry,
        Exposition::OpenMetrics => openmetrics::entry,
        Exposition::Protobuf => families::entry,
    }
}
