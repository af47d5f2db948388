//! Scraping one target again and again: what was read of a series once is not read again.
//!
//! A document of a target repeats the last one but for its values. So each line is first held against the line that
//! followed the same predecessor last time: when its series text is the same, byte for byte, the label set that came out of
//! parsing, relabelling and the target's labels is taken as it is, without a hash of anything. Any other line is parsed
//! and looked up by its text, and what is new goes through the caller's `finish`. After a scrape that was the same in all
//! its lines, the next is read through a [`Template`] first.
//!
//! Promises: the outcome is the same, warm or cold; stale markers for series that went; memory is bounded by two
//! documents. Absent: what labels a series gets (the caller's). Lacking: the short way for documents of which classic
//! histograms are converted; their series are looked up by text.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use kenning_model::{
    Exemplar, Histogram, HistogramSample, LabelSet, METRIC_NAME, MetricBatch, MetricKind, MetricMetadata,
    Millis, Reason, Sample, UNKNOWN_START,
};

use super::builder::{WrittenExemplar, exemplar_labels, normalise_bounds};
use super::classic::{Classic, Part, split_name};
use super::cursor::{Cursor, Pair, Series, parse_bound, unescape};
use super::prompb_histogram::{SCHEMA_MAX, SCHEMA_MIN, check};
use super::template::Template;
use super::{Exposition, HistogramPoint, HistogramRules, Point, STALE_NAN, Sink, entry_of};
use crate::error::Fault;
use crate::limits::DecodeLimits;
use crate::text::cut;

/// Series that the caller adds to a batch about the scrape itself.
const REPORT_SERIES: usize = 8;
/// Steps that are looked over for the place where a changed document goes on as before.
const RESUME_WITHIN: usize = 256;
/// First byte of the keys of histograms that were put together. No text of a format starts with it.
const COLLECTED_KEY: u8 = 0xfc;

/// How one scrape is to be taken.
#[derive(Clone, Copy, Debug)]
pub struct ScrapeRules {
    /// The stamp of samples that carry none, and of stale markers.
    pub time: Millis,
    /// Takes stamps from the document.
    pub honor_timestamps: bool,
    /// Series with stamps of their own go stale too.
    pub track_timestamps: bool,
    /// Samples that may be stored; 0 for any number.
    pub sample_limit: u64,
    /// What becomes of histograms.
    pub histograms: HistogramRules,
    /// `_created` series of OpenMetrics tell start times and nothing else: they are not stored and do not count.
    pub skip_created: bool,
}

/// What came of a scrape. `batch` holds stale markers even when it failed.
#[derive(Debug, Default)]
pub struct Scraped {
    /// Samples to store, and metadata that is new.
    pub batch: MetricBatch,
    /// Samples read.
    pub total: u64,
    /// Samples that relabelling left, repeated ones included.
    pub added: u64,
    /// Series that were not known.
    pub series_added: u64,
    /// Samples left out because their series came twice without stamps.
    pub repeated: u64,
    /// The series of `batch` are those of the scrape before, in the same order.
    pub same_series: bool,
    /// Why the scrape failed.
    pub error: Option<String>,
}

/// Gives a new series its labels; `None` drops it, an error fails the scrape. The pairs are as in the document, with the
/// metric's name first.
pub type Finish<'f> = &'f mut dyn FnMut(&[(&str, &str)]) -> Result<Option<LabelSet>, String>;

/// What is remembered of a series.
#[derive(Debug)]
struct Known {
    text: Arc<[u8]>,
    /// Decides how `le` and `quantile` are spelt, so it belongs to the identity.
    kind: MetricKind,
    /// `None` for a series that relabelling drops.
    labels: Option<LabelSet>,
    /// The entry that stands for these labels: texts that differ may mean one series.
    owner: u32,
    /// The scrape it was last seen in.
    seen: u64,
    /// The scrape it was last stored in with a stamp of the scrape's own.
    tracked: u64,
    /// Its last sample is a value: when it goes, it goes stale.
    live: bool,
    /// Its place in the batch of the scrape `stored`.
    index: u32,
    /// The scrape it was last stored in.
    stored: u64,
    /// What it has to do with start times.
    start: StartRole,
}

/// The part of a series in telling when a counter began. Definition: OpenMetrics 1.0, `_created`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum StartRole {
    /// None.
    #[default]
    None,
    /// It counts from the start that the metric of this key tells.
    Counts(u64),
    /// It tells the start of the metric of this key.
    Tells(u64),
}

/// A line of the last document.
#[derive(Clone, Debug)]
enum Step {
    Series(u32),
    Comment(Comment),
}

/// A comment, whole.
#[derive(Clone, Debug)]
struct Comment {
    text: Box<[u8]>,
    /// The type that is in force after it, if it tells one.
    kind: Option<MetricKind>,
    /// What it said something of: an index into [`SeriesCache::told`].
    told: Option<u32>,
    /// Its number among all comments ever read, from 1.
    number: u64,
}

/// What a target says of a metric.
#[derive(Debug)]
struct Told {
    metadata: MetricMetadata,
    /// The comments that said it last: help, type, unit. A comment that another one overruled must be read again.
    by: [u64; 3],
    /// Its place in the batch of the scrape `sent`.
    index: usize,
    sent: u64,
}

/// What one target's scrapes have in common.
#[derive(Debug, Default)]
pub struct SeriesCache {
    known: Vec<Known>,
    by_text: HashMap<Arc<[u8]>, u32>,
    by_labels: HashMap<LabelSet, u32>,
    order: Vec<Step>,
    told: Vec<Told>,
    told_by_metric: HashMap<String, u32>,
    /// Comments read so far.
    comments: u64,
    /// Number of the scrape under way.
    round: u64,
    /// What the next document is expected to be; empty unless all of its series are live now.
    template: Template,
}

impl SeriesCache {
    /// What the target says of its metrics.
    pub fn metadata(&self) -> impl Iterator<Item = &MetricMetadata> {
        self.told.iter().map(|told| &told.metadata)
    }

    /// Series that are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// True when nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Reads a document.
    pub fn scrape(
        &mut self,
        body: &[u8],
        format: Exposition,
        rules: &ScrapeRules,
        finish: Finish<'_>,
    ) -> Scraped {
        self.round += 1;
        let (before, expect) = (self.known.len(), self.order.len() + REPORT_SERIES);
        let mut reading = Reading {
            limits: DecodeLimits::default(),
            rules,
            finish,
            failure: None,
            kind: MetricKind::Unknown,
            typed: None,
            comment: None,
            about: None,
            family: None,
            collecting: None,
            native: None,
            next: 0,
            order: Vec::new(),
            missed: false,
            plain: true,
            open_metrics: format == Exposition::OpenMetrics,
            counting: Vec::new(),
            counting_histograms: Vec::new(),
            began: HashMap::new(),
            stored: 0,
            out: Scraped::default(),
            cache: self,
        };
        reading.out.batch.series.reserve(expect);
        reading.out.batch.samples.reserve(expect);
        let outcome = if body.is_empty() { Ok(()) } else { reading.document(body, format) };
        let plain = reading.plain;
        let (mut out, order, missed, next) = (reading.out, reading.order, reading.missed, reading.next);
        out.error = outcome.err();
        let failed = out.error.is_some();
        if out.same_series && !failed {
            return out;
        }
        out.same_series = false;
        if failed {
            // What was said of metrics holds for the next scrape too, and is not said again.
            let metadata = std::mem::take(&mut out.batch.metadata);
            out.batch = MetricBatch { metadata, ..MetricBatch::default() };
            self.forget_from(before);
            if self.told.len() > 2 * self.order.len() + REPORT_SERIES {
                self.forget_untold();
            }
        }
        self.mark_stale(rules.time, failed, &mut out.batch);
        self.template = Template::default();
        if !failed && !body.is_empty() {
            if missed || next != self.order.len() {
                self.settle(order, missed, next);
            } else if plain && format != Exposition::Protobuf && !rules.skip_created {
                self.template = self.make_template();
            }
        }
        out
    }

    /// The document just read, which was that of the scrape before; empty when it is more than series, values and
    /// comments that say each thing once.
    fn make_template(&self) -> Template {
        let mut template = Template::default();
        let (mut counting, mut telling) = (Vec::new(), HashMap::new());
        for step in &self.order {
            match step {
                Step::Comment(comment) if !self.is_overruled(comment) => template.push_comment(&comment.text),
                Step::Series(at) => match self.known.get(*at as usize) {
                    Some(known) if known.owner == *at => {
                        if known.labels.is_some() {
                            let sample = template.series();
                            match known.start {
                                StartRole::Counts(key) => counting.push((sample, key)),
                                StartRole::Tells(key) => drop(telling.insert(key, sample)),
                                StartRole::None => {}
                            }
                        }
                        template.push_series(&known.text, known.labels.as_ref());
                    }
                    _ => return Template::default(),
                },
                Step::Comment(_) => return Template::default(),
            }
        }
        let started = counting.iter().filter_map(|(sample, key)| Some((*sample, *telling.get(key)?)));
        template.set_starts(started.collect());
        template
    }

    /// Another comment of the document says otherwise.
    fn is_overruled(&self, comment: &Comment) -> bool {
        let told = comment.told.and_then(|told| self.told.get(told as usize));
        told.is_some_and(|told| !told.by.contains(&comment.number))
    }

    /// The target is gone: markers for everything that was there.
    pub fn end(&mut self, time: Millis) -> MetricBatch {
        let mut batch = MetricBatch::default();
        self.template = Template::default();
        self.mark_stale(time, true, &mut batch);
        batch
    }

    /// Markers for series of the last scrape that this one lacks; for all of them when it `failed`.
    fn mark_stale(&mut self, time: Millis, failed: bool, batch: &mut MetricBatch) {
        for known in &mut self.known {
            let there = !failed && known.tracked == self.round;
            if known.live
                && !there
                && let Some(labels) = &known.labels
            {
                let series = batch.add_series(labels.clone());
                batch.samples.push(Sample { series, time, value: STALE_NAN });
            }
            known.live = there;
        }
    }

    /// Takes back what a failed scrape made known, so that failures cannot pile up series.
    fn forget_from(&mut self, before: usize) {
        self.known.truncate(before);
        let places: Vec<u32> = (0..before as u32).collect();
        self.index(&places);
    }

    /// Forgets series that the document lacked and remembers its order: that of the lines that were read, or the first
    /// `matched` steps of the last one.
    fn settle(&mut self, order: Vec<Step>, missed: bool, matched: usize) {
        let mut last = std::mem::take(&mut self.order);
        last.truncate(matched);
        let order = if missed { order } else { last };
        let round = self.round;
        let mut places = vec![u32::MAX; self.known.len()];
        let mut kept = Vec::with_capacity(self.known.len());
        for (place, known) in std::mem::take(&mut self.known).into_iter().enumerate() {
            if known.seen != round {
                continue;
            }
            if let Some(slot) = places.get_mut(place) {
                *slot = kept.len() as u32;
            }
            kept.push(known);
        }
        self.known = kept;
        self.index(&places);
        self.order = order
            .into_iter()
            .filter_map(|step| match step {
                Step::Series(at) => {
                    places.get(at as usize).copied().filter(|at| *at != u32::MAX).map(Step::Series)
                }
                comment @ Step::Comment(_) => Some(comment),
            })
            .collect();
        self.forget_untold();
    }

    /// Forgets metrics that no comment of the last good document is about.
    fn forget_untold(&mut self) {
        let mut moved = vec![None; self.told.len()];
        for step in &self.order {
            if let Step::Comment(Comment { told: Some(told), .. }) = step
                && let Some(slot) = moved.get_mut(*told as usize)
            {
                *slot = Some(0);
            }
        }
        let mut kept = Vec::new();
        for (told, slot) in std::mem::take(&mut self.told).into_iter().zip(&mut moved) {
            match slot {
                Some(slot) => {
                    *slot = kept.len() as u32;
                    kept.push(told);
                }
                None => drop(self.told_by_metric.remove(&told.metadata.metric)),
            }
        }
        self.told = kept;
        let now = |place: &u32| moved.get(*place as usize).copied().flatten();
        self.told_by_metric.values_mut().for_each(|place| *place = now(place).unwrap_or_default());
        for step in &mut self.order {
            if let Step::Comment(comment) = step {
                comment.told = comment.told.as_ref().and_then(now);
            }
        }
    }

    fn index(&mut self, places: &[u32]) {
        for place in self.by_text.values_mut() {
            *place = places.get(*place as usize).copied().unwrap_or(u32::MAX);
        }
        self.by_text.retain(|_, place| *place != u32::MAX);
        self.by_labels.clear();
        for place in 0..self.known.len() {
            let Some(labels) = self.known.get(place).and_then(|known| known.labels.clone()) else { continue };
            let owner = *self.by_labels.entry(labels).or_insert(place as u32);
            if let Some(known) = self.known.get_mut(place) {
                known.owner = owner;
            }
        }
    }
}

/// A classic histogram under way.
struct Collecting {
    name: String,
    /// Sorted, without `le`.
    labels: Vec<(String, String)>,
    classic: Classic,
    time: Option<Millis>,
    start: Millis,
    exemplars: Vec<(LabelSet, f64, Millis)>,
    at: usize,
}

/// A document under way.
struct Reading<'r, 'f> {
    limits: DecodeLimits,
    rules: &'r ScrapeRules,
    finish: Finish<'f>,
    /// What is told in the place of the fault that ended the document.
    failure: Option<String>,
    kind: MetricKind,
    /// The same if the comment being read told it.
    typed: Option<MetricKind>,
    /// What the comment being read says something of.
    comment: Option<u32>,
    /// What the last comment said something of: the family that series belong to.
    about: Option<u32>,
    /// The family whose type was told last, when it is a histogram.
    family: Option<String>,
    /// The classic histogram being put together.
    collecting: Option<Collecting>,
    /// Name and labels of the last native histogram.
    native: Option<(String, Vec<(String, String)>)>,
    /// The step of the last document that is expected next.
    next: usize,
    /// The steps of this one, once they differ.
    order: Vec<Step>,
    missed: bool,
    /// Every item so far was a sample without a stamp of its own, of a series that came once.
    plain: bool,
    /// The format is the one whose `_created` series tell when counters began.
    open_metrics: bool,
    /// Samples that count from a start, with the key of their metric.
    counting: Vec<(u32, u64)>,
    /// The same of histograms that were put together.
    counting_histograms: Vec<(u32, u64)>,
    /// Starts by the key of their metric.
    began: HashMap<u64, Millis>,
    stored: u64,
    out: Scraped,
    cache: &'r mut SeriesCache,
}

impl Reading<'_, '_> {
    fn document(&mut self, body: &[u8], format: Exposition) -> Result<(), String> {
        let mut cursor = Cursor::new(body);
        if self.read_template(&mut cursor, format) {
            return self.within_limit();
        }
        let read = self.lines(&mut cursor, format);
        self.put_starts();
        read
    }

    fn lines(&mut self, cursor: &mut Cursor<'_>, format: Exposition) -> Result<(), String> {
        let entry = entry_of::<Self>(format);
        loop {
            match entry(cursor, self) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => return Err(self.failure.take().unwrap_or_else(|| fault.to_string())),
            }
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
        }
        self.put_collected();
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.within_limit()
    }

    /// Reads what is as in the template; true when that is all of the document. Else the state is as if those lines had
    /// been read one by one.
    fn read_template(&mut self, cursor: &mut Cursor<'_>, format: Exposition) -> bool {
        if self.cache.template.is_empty() || self.rules.histograms.to_custom_buckets {
            return false;
        }
        let template = std::mem::take(&mut self.cache.template);
        let time = self.rules.time;
        let found = template.read(cursor, format, time, &mut self.out.batch, |batch, series, written| {
            push_exemplar(batch, series, time, written);
        });
        self.out.total = found.samples as u64;
        self.out.added = found.kept as u64;
        self.stored = found.kept as u64;
        if found.lines == template.len() && Template::is_end(cursor.rest(), format) {
            template.tell_starts(&mut self.out.batch);
            self.next = found.lines;
            self.cache.template = template;
            self.out.same_series = true;
            return true;
        }
        self.take_over(found.lines);
        false
    }

    /// Notes that the first `lines` steps were read, each series once and without a stamp.
    fn take_over(&mut self, lines: usize) {
        self.next = lines;
        let (round, mut index) = (self.cache.round, 0);
        for step in self.cache.order.iter().take(lines) {
            match step {
                Step::Comment(comment) => {
                    (self.kind, self.about) = (comment.kind.unwrap_or(self.kind), comment.told);
                }
                Step::Series(place) => {
                    let Some(known) = self.cache.known.get_mut(*place as usize) else { continue };
                    known.seen = round;
                    if known.labels.is_some() {
                        (known.stored, known.tracked, known.index) = (round, round, index);
                        let value = self.out.batch.samples.get(index as usize).map_or(0.0, |s| s.value);
                        note_start(known.start, index, value, &mut self.counting, &mut self.began);
                        index += 1;
                    }
                }
            }
        }
    }

    /// Gives the samples of counters the starts that the document told, in whatever order it did.
    fn put_starts(&mut self) {
        if self.began.is_empty() {
            return;
        }
        let batch = &mut self.out.batch;
        let began = &self.began;
        let put = |counting: &[(u32, u64)], starts: &mut Vec<Millis>, len: usize| {
            let known = counting.iter().filter_map(|(item, key)| Some((*item, *began.get(key)?)));
            for (item, start) in known {
                starts.resize(len, UNKNOWN_START);
                if let Some(slot) = starts.get_mut(item as usize) {
                    *slot = start;
                }
            }
        };
        put(&self.counting, &mut batch.starts, batch.samples.len());
        put(&self.counting_histograms, &mut batch.histogram_starts, batch.histograms.len());
    }

    /// What a series that was not known has to do with start times.
    fn start_role(&self, series: &Series<'_>) -> StartRole {
        let told = self.about.and_then(|told| self.cache.told.get(told as usize));
        let Some(told) = told.filter(|_| self.open_metrics) else { return StartRole::None };
        let (family, kind) = (told.metadata.metric.as_str(), told.metadata.kind);
        let Some(suffix) = series.name.as_deref().and_then(|name| name.strip_prefix(family)) else {
            return StartRole::None;
        };
        let (counts, bound) = match kind {
            MetricKind::Counter => (suffix == "_total", ""),
            MetricKind::Summary => (matches!(suffix, "_count" | "_sum" | ""), "quantile"),
            MetricKind::Histogram => (matches!(suffix, "_count" | "_sum" | "_bucket"), "le"),
            _ => return StartRole::None,
        };
        let mut pairs: Vec<_> = series.labels.iter().filter(|(name, _)| name != bound).collect();
        pairs.sort();
        let key = BuildHasherDefault::<DefaultHasher>::default().hash_one((family, pairs));
        match suffix {
            "_created" => StartRole::Tells(key),
            _ if counts => StartRole::Counts(key),
            _ => StartRole::None,
        }
    }

    fn within_limit(&self) -> Result<(), String> {
        let limit = self.rules.sample_limit;
        if limit > 0 && self.stored > limit {
            return Err(format!(
                "sample limit exceeded: {} samples and sample_limit is {limit}",
                self.stored
            ));
        }
        Ok(())
    }

    /// The steps so far are no longer those of the last document.
    fn miss(&mut self) {
        if !self.missed {
            self.missed = true;
            let before = self.cache.order.get(..self.next).unwrap_or_default();
            self.order = before.to_vec();
        }
    }

    fn took(&mut self, step: impl FnOnce() -> Step) {
        if self.missed {
            self.order.push(step());
        }
    }

    /// Looks a series up by its text, or makes it known; true when it was not.
    fn find(&mut self, text: &[u8], series: Series<'_>, at: usize) -> Result<(u32, bool), Fault> {
        if let Some(place) = self.cache.by_text.get(text).copied()
            && self.cache.known.get(place as usize).is_some_and(|known| known.kind == self.kind)
        {
            self.resume_after(place);
            return Ok((place, false));
        }
        let start = self.start_role(&series);
        let silent = self.rules.skip_created && matches!(start, StartRole::Tells(_));
        let labels = if silent { None } else { self.labels_of(series, at)? };
        let place = self.cache.known.len() as u32;
        let text: Arc<[u8]> = text.into();
        let owner = match &labels {
            Some(labels) => *self.cache.by_labels.entry(labels.clone()).or_insert(place),
            None => place,
        };
        self.cache.by_text.insert(text.clone(), place);
        self.cache.known.push(Known {
            text,
            kind: self.kind,
            labels,
            owner,
            seen: 0,
            tracked: 0,
            live: false,
            index: 0,
            stored: 0,
            start,
        });
        Ok((place, true))
    }

    /// The order differed up to here; what follows may be as it was.
    fn resume_after(&mut self, place: u32) {
        let ahead = self.cache.order.get(self.next..).unwrap_or_default().iter().take(RESUME_WITHIN);
        let mut ahead = ahead.enumerate();
        let found = ahead.find(|(_, step)| matches!(step, Step::Series(known) if *known == place));
        if let Some((distance, _)) = found {
            self.next += distance + 1;
        }
    }

    fn labels_of(&mut self, mut series: Series<'_>, at: usize) -> Result<Option<LabelSet>, Fault> {
        normalise_bounds(self.kind, &mut series.labels);
        let name = series.name.as_deref().unwrap_or_default();
        let mut pairs = Vec::with_capacity(series.labels.len() + 1);
        if !name.is_empty() {
            pairs.push((METRIC_NAME, name));
        }
        pairs.extend(series.labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
        let mut names: Vec<_> = pairs.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(Fault::new(
                Reason::DuplicateLabel,
                at,
                "exposition",
                "has a label twice in one series",
            ));
        }
        (self.finish)(&pairs).map_err(|problem| {
            self.failure = Some(problem);
            Fault::new(Reason::BadLabelName, at, "series", "is not acceptable")
        })
    }

    /// The place that the next item of a series takes in the batch, and its stamp; `None` when the series is dropped or was
    /// there already.
    fn place(&mut self, place: u32, time: Option<Millis>) -> Option<(u32, Millis)> {
        let round = self.cache.round;
        self.plain &= time.is_none();
        let known = self.cache.known.get_mut(place as usize)?;
        known.seen = round;
        known.labels.as_ref()?;
        self.out.added += 1;
        let owner = known.owner;
        let known = if owner == place { known } else { self.cache.known.get_mut(owner as usize)? };
        known.seen = round;
        if known.stored != round {
            known.stored = round;
            known.index = self.out.batch.series.len() as u32;
            self.out.batch.series.push(known.labels.clone()?);
        } else if time.is_none() {
            self.plain = false;
            self.out.repeated += 1;
            return None;
        }
        if time.is_none() || self.rules.track_timestamps {
            known.tracked = round;
        }
        self.stored += 1;
        Some((known.index, time.unwrap_or(self.rules.time)))
    }

    /// Finds or makes the entry of a series whose text is `text`; true when it was not known.
    fn step(&mut self, series: Option<Series<'_>>, text: &[u8], at: usize) -> Result<(u32, bool), Fault> {
        let (place, new) = match (series, self.cache.order.get(self.next)) {
            (None, Some(Step::Series(place))) => {
                self.next += 1;
                (*place, false)
            }
            (series, _) => {
                self.miss();
                self.find(text, series.unwrap_or_else(Series::new), at)?
            }
        };
        self.took(|| Step::Series(place));
        Ok((place, new))
    }

    /// Counts what was stored of a series that may be new.
    fn count(&mut self, new: bool, stored: bool) {
        let within = self.rules.sample_limit == 0 || self.stored <= self.rules.sample_limit;
        self.out.series_added += u64::from(new && stored && within);
    }

    fn exemplar(&mut self, series: u32, stamp: Millis, exemplar: &WrittenExemplar<'_>) {
        push_exemplar(&mut self.out.batch, series, stamp, exemplar);
    }

    /// The entry of a metric's metadata, and its place.
    fn told(&mut self, metric: &str) -> Option<(u32, &mut Told)> {
        let cache = &mut *self.cache;
        let place = match cache.told_by_metric.get(metric) {
            Some(place) => *place,
            None => {
                let place = cache.told.len() as u32;
                let metadata = MetricMetadata { metric: metric.to_owned(), ..MetricMetadata::default() };
                cache.told.push(Told { metadata, by: [0; 3], index: 0, sent: 0 });
                cache.told_by_metric.insert(metric.to_owned(), place);
                place
            }
        };
        cache.told.get_mut(place as usize).map(|told| (place, told))
    }

    /// Takes what a comment says in field `field` of a metric's metadata.
    fn metadata(&mut self, metric: &str, field: usize, change: impl FnOnce(&mut MetricMetadata)) {
        let (round, number) = (self.cache.round, self.cache.comments + 1);
        let Some((place, told)) = self.told(metric) else { return };
        if let Some(by) = told.by.get_mut(field) {
            *by = number;
        }
        let before = told.metadata.clone();
        change(&mut told.metadata);
        let (changed, sent) = (told.metadata != before, told.sent == round);
        let (metadata, index) = (told.metadata.clone(), told.index);
        self.comment = Some(place);
        match (changed, sent) {
            (true, true) => {
                if let Some(slot) = self.out.batch.metadata.get_mut(index) {
                    *slot = metadata;
                }
            }
            (true, false) => {
                let index = self.out.batch.metadata.len();
                self.out.batch.metadata.push(metadata);
                if let Some(told) = self.cache.told.get_mut(place as usize) {
                    (told.index, told.sent) = (index, round);
                }
            }
            (false, _) => {}
        }
    }

    /// Takes a series of a classic histogram; false when it is none that is converted.
    fn collect(&mut self, series: &Series<'_>, point: &Point<'_>, at: usize) -> bool {
        let name = series.name.as_deref().unwrap_or_default();
        let split = split_name(name).filter(|(base, _)| self.family.as_deref() == Some(base));
        let mut labels = owned(&series.labels);
        labels.retain(|(name, _)| name != "le");
        let same = split.is_some_and(|(base, _)| {
            self.collecting.as_ref().is_some_and(|known| known.name == base && known.labels == labels)
        });
        if !same {
            self.put_collected();
        }
        let Some((base, suffix)) = split else { return false };
        let bound = series.labels.iter().find(|(name, _)| name == "le").and_then(|(_, le)| parse_bound(le));
        let part = match (suffix, bound) {
            ("_bucket", Some(bound)) if !bound.is_nan() => Part::Bucket(bound),
            ("_bucket", _) => return false,
            ("_count", _) => Part::Count,
            _ => Part::Sum,
        };
        if self.native.as_ref().is_some_and(|(name, known)| name == base && *known == labels) {
            return false;
        }
        let collecting = self.collecting.get_or_insert_with(|| Collecting {
            name: base.to_owned(),
            labels,
            classic: Classic::default(),
            time: point.time,
            start: point.start,
            exemplars: Vec::new(),
            at,
        });
        collecting.classic.take(part, point.value);
        // One without a stamp cannot be put in order with the others.
        if let Some(exemplar) = &point.exemplar
            && let (Some(time), Some(labels)) = (exemplar.time, exemplar_labels(exemplar))
        {
            collecting.exemplars.push((labels, exemplar.value, time));
        }
        true
    }

    /// Stores the histogram that was put together, when it is one.
    fn put_collected(&mut self) {
        let Some(collected) = self.collecting.take() else { return };
        let Some((histogram, whole)) = collected.classic.finish() else { return };
        if check(&histogram, whole, collected.at).is_err() {
            return;
        }
        let mut key = vec![COLLECTED_KEY];
        let texts = collected.labels.iter().flat_map(|(name, value)| [name, value]);
        for text in std::iter::once(&collected.name).chain(texts) {
            key.extend_from_slice(text.as_bytes());
            key.push(0xff);
        }
        let labels =
            collected.labels.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into()));
        let mut series =
            Series { name: Some(format!("{}_count", collected.name).into()), labels: labels.collect() };
        // A family's own series say nothing of starts; its count is one of those that do.
        let role = if collected.start == UNKNOWN_START { self.start_role(&series) } else { StartRole::None };
        series.name = Some(collected.name.as_str().into());
        let place = self.out.batch.histograms.len() as u32;
        let stored = self.put_histogram(
            Some(series),
            &key,
            histogram,
            (collected.time, collected.start),
            collected.at,
        );
        match stored {
            Err(fault) => self.failure = Some(self.failure.take().unwrap_or_else(|| fault.to_string())),
            Ok(None) => {}
            Ok(Some((series, _))) => {
                if let StartRole::Counts(key) = role {
                    self.counting_histograms.push((place, key));
                }
                let exemplars = collected.exemplars.into_iter();
                self.out.batch.exemplars.extend(exemplars.map(|(labels, value, time)| Exemplar {
                    series,
                    time,
                    value,
                    labels,
                }));
            }
        }
    }

    fn put_histogram(
        &mut self,
        series: Option<Series<'_>>,
        text: &[u8],
        mut histogram: Histogram,
        (time, start): (Option<Millis>, Millis),
        at: usize,
    ) -> Result<Option<(u32, Millis)>, Fault> {
        self.out.total += 1;
        let rules = &self.rules.histograms;
        within_buckets(&mut histogram, rules.bucket_limit).map_err(|problem| {
            self.failure = Some(problem);
            Fault::over(Reason::TooLong, at, "histogram", rules.bucket_limit, "buckets")
        })?;
        histogram.reduce_resolution(coarsest(rules.bucket_factor_min));
        let time = time.filter(|_| self.rules.honor_timestamps);
        let (place, new) = self.step(series, text, at)?;
        let stored = self.place(place, time);
        self.count(new, stored.is_some());
        if let Some((series, time)) = stored {
            self.out.batch.push_histogram(HistogramSample { series, time, histogram }, start);
        }
        Ok(stored)
    }
}

/// Notes that a sample counts from a start, or the start that it tells, in seconds.
fn note_start(
    role: StartRole,
    sample: u32,
    value: f64,
    counting: &mut Vec<(u32, u64)>,
    began: &mut HashMap<u64, Millis>,
) {
    match role {
        StartRole::None => {}
        StartRole::Counts(key) => counting.push((sample, key)),
        StartRole::Tells(key) => {
            if let Some(start) = start_of(value) {
                began.insert(key, start);
            }
        }
    }
}

/// The start that the value of a `_created` series tells.
pub(super) fn start_of(seconds: f64) -> Option<Millis> {
    (seconds.is_finite() && seconds > 0.0).then_some(Millis((seconds * 1000.0) as i64))
}

fn push_exemplar(batch: &mut MetricBatch, series: u32, stamp: Millis, exemplar: &WrittenExemplar<'_>) {
    if let Some(labels) = exemplar_labels(exemplar) {
        let time = exemplar.time.unwrap_or(stamp);
        batch.exemplars.push(Exemplar { series, time, value: exemplar.value, labels });
    }
}

/// Labels, sorted.
fn owned(labels: &[Pair<'_>]) -> Vec<(String, String)> {
    let mut labels: Vec<_> =
        labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    labels.sort();
    labels
}

/// Halves the resolution until there are at most `limit` buckets; 0 is no limit.
fn within_buckets(histogram: &mut Histogram, limit: usize) -> Result<(), String> {
    let buckets = |histogram: &Histogram| histogram.positive.len() + histogram.negative.len();
    while limit > 0 && buckets(histogram) > limit {
        if histogram.schema <= SCHEMA_MIN {
            let count = buckets(histogram);
            return Err(format!(
                "histogram bucket limit exceeded: {count} buckets and native_histogram_bucket_limit is {limit}"
            ));
        }
        histogram.reduce_resolution(histogram.schema - 1);
    }
    Ok(())
}

/// The finest schema whose buckets grow by at least `factor`.
fn coarsest(factor: f64) -> i32 {
    if factor <= 1.0 || factor.is_nan() {
        return SCHEMA_MAX;
    }
    let schema = (-factor.log2().log2()).floor();
    schema.clamp(f64::from(SCHEMA_MIN), f64::from(SCHEMA_MAX)) as i32
}

impl Sink for Reading<'_, '_> {
    fn histograms(&self) -> HistogramRules {
        self.rules.histograms
    }

    fn known_series(&mut self, rest: &[u8]) -> Option<usize> {
        let Some(Step::Series(place)) = self.cache.order.get(self.next) else { return None };
        let known = self.cache.known.get(*place as usize)?;
        let converted = self.rules.histograms.to_custom_buckets;
        if converted || known.kind != self.kind || !rest.starts_with(&known.text) {
            return None;
        }
        // A single blank and then no brace: the text form allows blanks between a name and its labels.
        match (rest.get(known.text.len()), rest.get(known.text.len() + 1)) {
            (Some(b' '), Some(after)) if !matches!(after, b' ' | b'\t' | b'{') => Some(known.text.len()),
            _ => None,
        }
    }

    fn known_key(&mut self, key: &[u8]) -> bool {
        let Some(Step::Series(place)) = self.cache.order.get(self.next) else { return false };
        let known = self.cache.known.get(*place as usize);
        let converted = self.rules.histograms.to_custom_buckets;
        !converted && known.is_some_and(|known| known.kind == self.kind && *known.text == *key)
    }

    fn known_comment(&mut self, rest: &[u8]) -> Option<usize> {
        let Some(Step::Comment(comment)) = self.cache.order.get(self.next) else { return None };
        if self.cache.is_overruled(comment)
            || self.rules.histograms.to_custom_buckets
            || !rest.starts_with(&comment.text)
        {
            return None;
        }
        (self.kind, self.about) = (comment.kind.unwrap_or(self.kind), comment.told);
        let len = comment.text.len();
        if self.missed {
            self.order.push(Step::Comment(comment.clone()));
        }
        self.next += 1;
        Some(len)
    }

    fn read_comment(&mut self, text: &[u8]) {
        self.put_collected();
        self.miss();
        let (kind, told, number) = (self.typed.take(), self.comment.take(), self.cache.comments + 1);
        self.about = told;
        self.cache.comments = number;
        self.took(|| Step::Comment(Comment { text: text.into(), kind, told, number }));
    }

    fn help(&mut self, metric: Cow<'_, str>, help: &str, quotes: Option<bool>) {
        let help = cut(help, self.limits.help_bytes);
        let help = quotes.map_or_else(|| help.to_owned(), |quotes| unescape(help, quotes));
        self.metadata(&metric, 0, |metadata| metadata.help = help);
    }

    fn kind(&mut self, metric: Cow<'_, str>, kind: MetricKind) {
        self.put_collected();
        self.kind = spelling(kind);
        self.typed = Some(self.kind);
        if self.rules.histograms.to_custom_buckets {
            self.family = (kind == MetricKind::Histogram).then(|| metric.to_string());
        }
        self.metadata(&metric, 1, |metadata| metadata.kind = kind);
    }

    fn unit(&mut self, metric: Cow<'_, str>, unit: &str) {
        let unit = cut(unit, self.limits.help_bytes).to_owned();
        self.metadata(&metric, 2, |metadata| metadata.unit = unit);
    }

    fn sample(
        &mut self,
        series: Option<Series<'_>>,
        text: &[u8],
        point: Point<'_>,
        at: usize,
    ) -> Result<(), Fault> {
        if self.rules.histograms.to_custom_buckets
            && let Some(series) = &series
            && self.collect(series, &point, at)
            && !self.rules.histograms.classic_too
        {
            return Ok(());
        }
        self.out.total += 1;
        let time = point.time.filter(|_| self.rules.honor_timestamps);
        let (place, new) = self.step(series, text, at)?;
        let role = self.cache.known.get(place as usize).map_or(StartRole::None, |known| known.start);
        let stored = self.place(place, time);
        if self.rules.skip_created && matches!(role, StartRole::Tells(_)) {
            self.out.total -= 1;
            note_start(role, 0, point.value, &mut self.counting, &mut self.began);
            return Ok(());
        }
        self.count(new, stored.is_some());
        if let Some((series, time)) = stored {
            let sample = self.out.batch.samples.len() as u32;
            note_start(role, sample, point.value, &mut self.counting, &mut self.began);
            self.out.batch.push_sample(Sample { series, time, value: point.value }, point.start);
            point.exemplar.iter().for_each(|exemplar| self.exemplar(series, time, exemplar));
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        series: Option<Series<'_>>,
        text: &[u8],
        point: HistogramPoint<'_>,
        at: usize,
    ) -> Result<(), Fault> {
        self.put_collected();
        if self.rules.histograms.to_custom_buckets {
            let about = series.as_ref();
            self.native = about
                .map(|series| (series.name.as_deref().unwrap_or_default().to_owned(), owned(&series.labels)));
        }
        check(&point.histogram, point.whole, at)?;
        let stored = self.put_histogram(series, text, point.histogram, (point.time, point.start), at)?;
        if let Some((series, time)) = stored {
            point.exemplars.iter().for_each(|exemplar| self.exemplar(series, time, exemplar));
        }
        Ok(())
    }
}

/// The type as far as it decides how labels are spelt.
const fn spelling(kind: MetricKind) -> MetricKind {
    match kind {
        MetricKind::Histogram | MetricKind::Summary => kind,
        _ => MetricKind::Unknown,
    }
}
