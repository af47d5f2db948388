//! Collects the lines of an exposition into a batch.

use std::borrow::Cow;
use std::collections::HashMap;

use kenning_model::{
    Exemplar, HistogramSample, LabelSet, METRIC_NAME, MetricBatch, MetricKind, MetricMetadata, Millis,
    Reason, Rejected, Sample,
};

use super::cursor::{Pair, Series, canonical_float, unescape};
use super::prompb_histogram::{SCHEMA_MAX, check};
use super::{HistogramPoint, Point, ScrapeOptions, Sink};
use crate::error::{DecodeError, Decoded, Fault};
use crate::intern::{LabelTable, check_labels};
use crate::limits::DecodeLimits;
use crate::text::cut;

/// Most characters of an exemplar's labels. Definition: OpenMetrics 1.0 "Exemplars".
const EXEMPLAR_CHARS_MAX: usize = 128;

pub(super) struct Builder<'o> {
    limits: &'o DecodeLimits,
    options: &'o ScrapeOptions,
    table: LabelTable,
    /// Per series: whether it was seen before.
    seen: Vec<bool>,
    batch: MetricBatch,
    described: HashMap<String, usize>,
    /// The type told last, which decides how `le` and `quantile` are spelt.
    kind: MetricKind,
    rejected: Rejected,
}

/// An exemplar as it stands in a document.
#[derive(Clone)]
pub(super) struct WrittenExemplar<'a> {
    pub labels: Vec<Pair<'a>>,
    pub value: f64,
    pub time: Option<Millis>,
}

impl<'o> Builder<'o> {
    pub fn new(limits: &'o DecodeLimits, options: &'o ScrapeOptions) -> Self {
        Self {
            limits,
            options,
            table: LabelTable::default(),
            seen: Vec::new(),
            batch: MetricBatch::default(),
            described: HashMap::new(),
            kind: MetricKind::Unknown,
            rejected: Rejected::default(),
        }
    }

    pub fn finish(mut self) -> Decoded<MetricBatch> {
        self.batch.series = self.table.into_sets();
        Decoded { batch: self.batch, rejected: self.rejected }
    }

    pub fn refuse(&mut self, fault: Fault) {
        fault.count(&mut self.rejected, 1);
    }

    pub fn check_items(&self) -> Result<(), DecodeError> {
        if self.batch.len().max(self.batch.metadata.len()) > self.limits.items {
            let what = "the exposition holds too many samples; expose fewer series or raise the limit";
            return Err(DecodeError::TooLarge { what, limit: self.limits.items });
        }
        Ok(())
    }

    fn metadata(&mut self, metric: Cow<'_, str>) -> Option<&mut MetricMetadata> {
        let index = match self.described.get(metric.as_ref()) {
            Some(index) => *index,
            None => {
                let index = self.batch.metadata.len();
                let metric = metric.into_owned();
                self.batch
                    .metadata
                    .push(MetricMetadata { metric: metric.clone(), ..MetricMetadata::default() });
                self.described.insert(metric, index);
                index
            }
        };
        self.batch.metadata.get_mut(index)
    }

    fn repeats(&mut self, index: u32, time: Option<Millis>) -> bool {
        let index = index as usize;
        if self.seen.len() <= index {
            self.seen.resize(index + 1, false);
        }
        match self.seen.get_mut(index) {
            Some(seen) => std::mem::replace(seen, true) && time.is_none(),
            None => false,
        }
    }

    /// The outer error is a line that no scraper accepts, the inner one a series beyond our limits.
    fn intern(&mut self, name: &str, labels: &[Pair<'_>], at: usize) -> Result<Result<u32, Fault>, Fault> {
        let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(labels.len() + 1 + self.options.target.len());
        pairs.push((METRIC_NAME, name));
        pairs.extend(labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
        if pairs.iter().any(|(name, _)| name.is_empty()) {
            return Err(Fault::new(Reason::BadLabelName, at, "exposition", "has an empty label name"));
        }
        pairs.sort_by(|a, b| a.0.cmp(b.0));
        if pairs.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0)) {
            return Err(Fault::new(
                Reason::DuplicateLabel,
                at,
                "exposition",
                "has a label twice in one series",
            ));
        }
        let renamed = self.renamed(&pairs);
        for (index, new) in &renamed {
            if let Some((name, _)) = pairs.get_mut(*index) {
                *name = new;
            }
        }
        if !renamed.is_empty() {
            pairs.sort_by(|a, b| a.0.cmp(b.0));
        }
        for (name, value) in self.options.target.iter() {
            // In its place, so that the set need not be sorted again.
            match pairs.binary_search_by(|(known, _)| known.cmp(&name)) {
                Err(place) => pairs.insert(place, (name, value)),
                Ok(found) if !self.options.honor_labels => {
                    pairs.splice(found..=found, [(name, value)]).for_each(drop)
                }
                Ok(_) => {}
            }
        }
        if let Err(fault) = check_labels(&pairs, self.limits, at) {
            return Ok(Err(fault));
        }
        Ok(Ok(self.table.intern(&mut pairs)))
    }

    /// New names for labels that the target has too: `exported_` in front, as often as it takes.
    fn renamed(&self, pairs: &[(&str, &str)]) -> Vec<(usize, String)> {
        let target = &self.options.target;
        let mut renamed = Vec::new();
        if self.options.honor_labels || target.is_empty() {
            return renamed;
        }
        for (i, (name, value)) in pairs.iter().enumerate() {
            if value.is_empty() || target.get(name).is_empty() {
                continue;
            }
            let mut new = format!("exported_{name}");
            // The list of labels is bounded by the line, and each round makes the name longer.
            while pairs.iter().any(|(known, _)| *known == new) || !target.get(&new).is_empty() {
                new.insert_str(0, "exported_");
            }
            renamed.push((i, new));
        }
        renamed
    }

    /// The index of a series and the stamp of its item; `None` when it is left out.
    fn place(
        &mut self,
        series: Option<Series<'_>>,
        time: Option<Millis>,
        at: usize,
    ) -> Result<Option<(u32, Millis)>, Fault> {
        let time = time.filter(|_| self.options.honor_timestamps);
        let mut series = series.unwrap_or_else(Series::new);
        normalise_bounds(self.kind, &mut series.labels);
        let name = series.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(Fault::new(Reason::Missing, at, "exposition", "has a series without a metric name"));
        }
        let index = match self.intern(name, &series.labels, at)? {
            Ok(index) => index,
            Err(fault) => {
                self.refuse(fault);
                return Ok(None);
            }
        };
        if self.repeats(index, time) {
            let problem = "has a series twice without timestamps; the first stays";
            self.refuse(Fault::new(Reason::DuplicateSample, at, "exposition", problem));
            return Ok(None);
        }
        Ok(Some((index, time.unwrap_or(self.options.time))))
    }

    fn exemplar(&mut self, series: u32, exemplar: WrittenExemplar<'_>, time: Millis, at: usize) {
        let Some(labels) = exemplar_labels(&exemplar) else {
            let limit = EXEMPLAR_CHARS_MAX;
            self.refuse(Fault::over(Reason::TooLong, at, "exemplar labels", limit, "characters"));
            return;
        };
        let time = exemplar.time.unwrap_or(time);
        self.batch.exemplars.push(Exemplar { series, time, value: exemplar.value, labels });
    }
}

impl Sink for Builder<'_> {
    fn help(&mut self, metric: Cow<'_, str>, help: &str, quotes: Option<bool>) {
        let help = cut(help, self.limits.help_bytes);
        let help = quotes.map_or_else(|| help.to_owned(), |quotes| unescape(help, quotes));
        if let Some(metadata) = self.metadata(metric) {
            metadata.help = help;
        }
    }

    fn kind(&mut self, metric: Cow<'_, str>, kind: MetricKind) {
        self.kind = kind;
        if let Some(metadata) = self.metadata(metric) {
            metadata.kind = kind;
        }
    }

    fn unit(&mut self, metric: Cow<'_, str>, unit: &str) {
        let unit = cut(unit, self.limits.help_bytes).to_owned();
        if let Some(metadata) = self.metadata(metric) {
            metadata.unit = unit;
        }
    }

    /// Takes a line's sample. What breaks a limit or repeats a series is counted here; an error is a line that no
    /// scraper accepts.
    fn sample(
        &mut self,
        series: Option<Series<'_>>,
        _text: &[u8],
        point: Point<'_>,
        at: usize,
    ) -> Result<(), Fault> {
        if let Some((series, time)) = self.place(series, point.time, at)? {
            self.batch.push_sample(Sample { series, time, value: point.value }, point.start);
            if let Some(exemplar) = point.exemplar {
                self.exemplar(series, exemplar, time, at);
            }
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        series: Option<Series<'_>>,
        _text: &[u8],
        point: HistogramPoint<'_>,
        at: usize,
    ) -> Result<(), Fault> {
        let HistogramPoint { mut histogram, whole, time, start, exemplars } = point;
        if let Err(fault) = check(&histogram, whole, at) {
            self.refuse(fault);
            return Ok(());
        }
        histogram.reduce_resolution(SCHEMA_MAX);
        if let Some((series, time)) = self.place(series, time, at)? {
            self.batch.push_histogram(HistogramSample { series, time, histogram }, start);
            exemplars.into_iter().for_each(|exemplar| self.exemplar(series, exemplar, time, at));
        }
        Ok(())
    }
}

/// An exemplar's labels; `None` when they are too long.
pub(super) fn exemplar_labels(exemplar: &WrittenExemplar<'_>) -> Option<LabelSet> {
    let mut pairs: Vec<_> =
        exemplar.labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    let chars: usize = pairs.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
    (chars <= EXEMPLAR_CHARS_MAX).then(|| LabelSet::from_borrowed(&mut pairs))
}

/// `le` of histograms and `quantile` of summaries in one spelling, as Prometheus 3 does.
pub(super) fn normalise_bounds(kind: MetricKind, labels: &mut [Pair<'_>]) {
    let bound = match kind {
        MetricKind::Histogram => "le",
        MetricKind::Summary => "quantile",
        _ => return,
    };
    for (_, value) in labels.iter_mut().filter(|(name, _)| name == bound) {
        if let Some(canonical) = canonical_float(value).filter(|canonical| canonical != value) {
            *value = Cow::Owned(canonical);
        }
    }
}
