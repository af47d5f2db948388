//! Scraping one target again and again: what was read of a series once is not read again.
//!
//! A document of a target repeats the last one but for its values. So each line is first held against the line that
//! followed the same predecessor last time: when its series text is the same, byte for byte, the label set that came out of
//! parsing, relabelling and the target's labels is taken as it is, without a hash of anything. Any other line is parsed
//! and looked up by its text, and what is new goes through the caller's `finish`.
//!
//! Promises: the outcome is the same, warm or cold; stale markers for series that went; memory is bounded by two
//! documents. Absent: what labels a series gets (the caller's).

use std::borrow::Cow;
use std::collections::HashMap;

use kenning_model::{
    Exemplar, LabelSet, METRIC_NAME, MetricBatch, MetricKind, MetricMetadata, Millis, Sample,
};

use super::builder::{WrittenExemplar, exemplar_labels, normalise_bounds};
use super::cursor::{Cursor, Series, unescape};
use super::{Exposition, STALE_NAN, Sink, entry_of};
use crate::error::Fault;
use crate::limits::DecodeLimits;
use crate::text::cut;

/// Series that the caller adds to a batch about the scrape itself.
const REPORT_SERIES: usize = 8;
/// Steps that are looked over for the place where a changed document goes on as before.
const RESUME_WITHIN: usize = 256;

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
    /// Why the scrape failed.
    pub error: Option<String>,
}

/// Gives a new series its labels; `None` drops it, an error fails the scrape. The pairs are as in the document, with the
/// metric's name first.
pub type Finish<'f> = &'f mut dyn FnMut(&[(&str, &str)]) -> Result<Option<LabelSet>, String>;

/// What is remembered of a series.
#[derive(Debug)]
struct Known {
    text: Box<[u8]>,
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
}

/// A line of the last document.
#[derive(Debug)]
enum Step {
    Series(u32),
    /// A comment, whole, and the type in force after it.
    Comment(Box<[u8]>, MetricKind),
}

/// What one target's scrapes have in common.
#[derive(Debug, Default)]
pub struct SeriesCache {
    known: Vec<Known>,
    by_text: HashMap<Box<[u8]>, u32>,
    by_labels: HashMap<LabelSet, u32>,
    order: Vec<Step>,
    metadata: HashMap<String, MetricMetadata>,
    /// Number of the scrape under way.
    round: u64,
}

impl SeriesCache {
    /// What the target says of its metrics.
    pub fn metadata(&self) -> impl Iterator<Item = &MetricMetadata> {
        self.metadata.values()
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
            told: None,
            kind: MetricKind::Unknown,
            next: 0,
            order: Vec::new(),
            missed: false,
            stored: 0,
            out: Scraped::default(),
            cache: self,
        };
        reading.out.batch.series.reserve(expect);
        reading.out.batch.samples.reserve(expect);
        let outcome = if body.is_empty() { Ok(()) } else { reading.document(body, format) };
        let (mut out, order, missed, next) = (reading.out, reading.order, reading.missed, reading.next);
        out.error = outcome.err();
        let failed = out.error.is_some();
        if failed {
            out.batch = MetricBatch::default();
            self.forget_from(before);
        }
        self.mark_stale(rules.time, failed, &mut out.batch);
        if !failed && !body.is_empty() && (missed || next != self.order.len()) {
            self.settle(order, missed, next);
        }
        out
    }

    /// The target is gone: markers for everything that was there.
    pub fn end(&mut self, time: Millis) -> MetricBatch {
        let mut batch = MetricBatch::default();
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
        for known in self.known.drain(before..) {
            self.by_text.remove(&known.text);
        }
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
                self.by_text.remove(&known.text);
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
                comment @ Step::Comment(..) => Some(comment),
            })
            .collect();
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

/// A document under way.
struct Reading<'r, 'f> {
    limits: DecodeLimits,
    rules: &'r ScrapeRules,
    finish: Finish<'f>,
    /// What `finish` said against a series.
    told: Option<String>,
    kind: MetricKind,
    /// The step of the last document that is expected next.
    next: usize,
    /// The steps of this one, once they differ.
    order: Vec<Step>,
    missed: bool,
    stored: u64,
    out: Scraped,
    cache: &'r mut SeriesCache,
}

impl Reading<'_, '_> {
    fn document(&mut self, body: &[u8], format: Exposition) -> Result<(), String> {
        let mut cursor = Cursor::new(body);
        let entry = entry_of::<Self>(format);
        loop {
            match entry(&mut cursor, self) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => return Err(self.told.take().unwrap_or_else(|| fault.to_string())),
            }
        }
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
            self.order = before
                .iter()
                .map(|step| match step {
                    Step::Series(at) => Step::Series(*at),
                    Step::Comment(text, kind) => Step::Comment(text.clone(), *kind),
                })
                .collect();
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
        let labels = self.labels_of(series, at)?;
        let place = self.cache.known.len() as u32;
        let owner = match &labels {
            Some(labels) => *self.cache.by_labels.entry(labels.clone()).or_insert(place),
            None => place,
        };
        self.cache.by_text.insert(text.into(), place);
        self.cache.known.push(Known {
            text: text.into(),
            kind: self.kind,
            labels,
            owner,
            seen: 0,
            tracked: 0,
            live: false,
            index: 0,
            stored: 0,
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
                kenning_model::Reason::DuplicateLabel,
                at,
                "exposition",
                "has a label twice in one series",
            ));
        }
        (self.finish)(&pairs).map_err(|problem| {
            self.told = Some(problem);
            Fault::new(kenning_model::Reason::BadLabelName, at, "series", "is not acceptable")
        })
    }

    /// Puts a sample into the batch; `None` when its series is dropped or was there already.
    fn store(&mut self, place: u32, value: f64, time: Option<Millis>) -> Option<(u32, Millis)> {
        let round = self.cache.round;
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
            self.out.repeated += 1;
            return None;
        }
        if time.is_none() || self.rules.track_timestamps {
            known.tracked = round;
        }
        self.stored += 1;
        let (series, stamp) = (known.index, time.unwrap_or(self.rules.time));
        self.out.batch.samples.push(Sample { series, time: stamp, value });
        Some((series, stamp))
    }

    fn metadata(&mut self, metric: &str, change: impl FnOnce(&mut MetricMetadata)) {
        let entry = self.cache.metadata.entry(metric.to_owned());
        let entry = entry
            .or_insert_with(|| MetricMetadata { metric: metric.to_owned(), ..MetricMetadata::default() });
        let mut changed = entry.clone();
        change(&mut changed);
        if changed != *entry || !self.out.batch.metadata.iter().any(|known| known.metric == metric) {
            entry.clone_from(&changed);
            self.out.batch.metadata.retain(|known| known.metric != metric);
            self.out.batch.metadata.push(changed);
        }
    }
}

impl Sink for Reading<'_, '_> {
    fn known_series(&mut self, rest: &[u8]) -> Option<usize> {
        let Some(Step::Series(place)) = self.cache.order.get(self.next) else { return None };
        let known = self.cache.known.get(*place as usize)?;
        if known.kind != self.kind || !rest.starts_with(&known.text) {
            return None;
        }
        // A single blank and then no brace: the text form allows blanks between a name and its labels.
        match (rest.get(known.text.len()), rest.get(known.text.len() + 1)) {
            (Some(b' '), Some(after)) if !matches!(after, b' ' | b'\t' | b'{') => Some(known.text.len()),
            _ => None,
        }
    }

    fn known_comment(&mut self, rest: &[u8]) -> Option<usize> {
        let Some(Step::Comment(text, kind)) = self.cache.order.get(self.next) else { return None };
        if !rest.starts_with(text) {
            return None;
        }
        self.kind = *kind;
        let len = text.len();
        if self.missed {
            self.order.push(Step::Comment(text.clone(), *kind));
        }
        self.next += 1;
        Some(len)
    }

    fn read_comment(&mut self, text: &[u8]) {
        self.miss();
        let kind = self.kind;
        self.took(|| Step::Comment(text.into(), kind));
    }

    fn help(&mut self, metric: Cow<'_, str>, help: &str, quotes: bool) {
        let help = unescape(cut(help, self.limits.help_bytes), quotes);
        self.metadata(&metric, |metadata| metadata.help = help);
    }

    fn kind(&mut self, metric: Cow<'_, str>, kind: MetricKind) {
        self.kind = spelling(kind);
        self.metadata(&metric, |metadata| metadata.kind = kind);
    }

    fn unit(&mut self, metric: Cow<'_, str>, unit: &str) {
        let unit = cut(unit, self.limits.help_bytes).to_owned();
        self.metadata(&metric, |metadata| metadata.unit = unit);
    }

    fn sample(
        &mut self,
        series: Option<Series<'_>>,
        text: &[u8],
        value: f64,
        time: Option<Millis>,
        exemplar: Option<WrittenExemplar<'_>>,
        at: usize,
    ) -> Result<(), Fault> {
        self.out.total += 1;
        let time = time.filter(|_| self.rules.honor_timestamps);
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
        let stored = self.store(place, value, time);
        let within = self.rules.sample_limit == 0 || self.stored <= self.rules.sample_limit;
        self.out.series_added += u64::from(new && stored.is_some() && within);
        if let (Some((series, stamp)), Some(exemplar)) = (stored, exemplar)
            && let Some(labels) = exemplar_labels(&exemplar)
        {
            let time = exemplar.time.unwrap_or(stamp);
            self.out.batch.exemplars.push(Exemplar { series, time, value: exemplar.value, labels });
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
