//! Drops the items of a batch that break a limit and tells why; the good ones stay.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kenning_model::{
    Attributes, Batch, LabelSet, LogBatch, METRIC_NAME, MetricBatch, Nanos, Reason, Rejected, Span,
    SpanBatch, SpanSource, ValueRef, retain_with_starts,
};
use kenning_stdx::bytesize::TimeSpan;

use crate::cardinality::{Active, Full};
use crate::culprit::Blame;
use crate::intake::Standing;
use crate::limits::Limits;

/// Label text shown in a message is cut after this many bytes.
const SHOWN_MAX: usize = 200;

/// Series looked up before the lock is given to others.
const SERIES_PER_LOCK: usize = 256;

/// What a batch is held against.
pub struct Screen<'a> {
    /// The tenant's limits.
    pub limits: &'a Limits,
    /// Wall clock: the centre of the accepted window.
    pub now: Nanos,
    /// Steady clock: decides which series are active.
    pub steady: Duration,
    /// Active series, when the batch holds metrics; active streams, when it holds logs. Locked for one series at a
    /// time, so that batches of one tenant are screened side by side.
    pub active: &'a Mutex<Active>,
    /// Told of every series or stream refused because of their number: the setting, and who is to blame.
    pub on_refused: &'a (dyn Fn(&'static str, &Blame) + Sync),
}

/// Why an item goes, and the story for its sender.
pub type Verdict = Result<(), (Reason, String)>;

impl Screen<'_> {
    /// Keeps what the limits allow; counts the rest in `rejected`.
    pub fn apply(&self, batch: Batch, rejected: &mut Rejected) -> Batch {
        match batch {
            Batch::Metrics(batch) => Batch::Metrics(self.metrics(batch, rejected)),
            Batch::Logs(batch) => Batch::Logs(self.logs(batch, rejected)),
            Batch::Spans(batch) => Batch::Spans(self.spans(batch, rejected)),
        }
    }

    fn metrics(&self, batch: MetricBatch, rejected: &mut Rejected) -> MetricBatch {
        if self.all_pass(&batch) {
            return batch;
        }
        self.metrics_one_by_one(batch, rejected)
    }

    /// As [`Self::apply`] for metrics of a sender that repeats itself.
    pub fn standing_metrics(
        &self,
        batch: MetricBatch,
        rejected: &mut Rejected,
        standing: &mut Standing,
    ) -> MetricBatch {
        let window = self.active.lock().unwrap_or_else(PoisonError::into_inner).window(self.steady);
        let window = (window, batch.series.len());
        if standing.window == Some(window) && self.in_place_and_time(&batch) {
            return batch;
        }
        let pass = self.all_pass(&batch);
        standing.window = pass.then_some(window);
        if pass { batch } else { self.metrics_one_by_one(batch, rejected) }
    }

    fn metrics_one_by_one(&self, mut batch: MetricBatch, rejected: &mut Rejected) -> MetricBatch {
        let before = batch.len();
        let mut verdicts = Verdicts::new(std::mem::take(&mut batch.series));
        let mut keep = |screen: &Self, series: u32, time: Nanos| {
            let time = screen.time(time);
            let verdict = time.and_then(|()| verdicts.of(series, |labels| screen.series(labels)));
            record(verdict, rejected)
        };
        let MetricBatch { samples, starts, histograms, histogram_starts, .. } = &mut batch;
        retain_with_starts(samples, starts, |sample| keep(self, sample.series, sample.time.to_nanos()));
        retain_with_starts(histograms, histogram_starts, |sample| {
            keep(self, sample.series, sample.time.to_nanos())
        });
        batch.exemplars.retain(|exemplar| keep(self, exemplar.series, exemplar.time.to_nanos()));
        batch.series = verdicts.into_members();
        if batch.len() < before { without_unused_series(batch) } else { batch }
    }

    /// True when every series was let in before, and so passed what is asked of labels, and every stamp lies in the
    /// window: the usual batch, decided without looking at text.
    fn all_pass(&self, batch: &MetricBatch) -> bool {
        if !self.in_place_and_time(batch) {
            return false;
        }
        self.all_current(&batch.series)
    }

    /// True when all of these were let in before.
    fn all_current(&self, members: &[LabelSet]) -> bool {
        // In pieces, so that batches of one tenant are screened side by side.
        members.chunks(SERIES_PER_LOCK).all(|some| {
            self.active.lock().unwrap_or_else(PoisonError::into_inner).all_current(some, self.steady)
        })
    }

    /// True when every item has its series and every stamp lies in the window.
    fn in_place_and_time(&self, batch: &MetricBatch) -> bool {
        let series = batch.series.len();
        let in_place = batch.samples.iter().map(|sample| sample.series);
        let in_place = in_place.chain(batch.histograms.iter().map(|sample| sample.series));
        let mut in_place = in_place.chain(batch.exemplars.iter().map(|exemplar| exemplar.series));
        let ends = batch.time_range().map_or([None, None], |range| [Some(range.start), Some(range.end)]);
        let exemplars = batch.exemplars.iter().map(|exemplar| exemplar.time.to_nanos());
        in_place.all(|index| (index as usize) < series)
            && ends.into_iter().flatten().chain(exemplars).all(|time| self.time(time).is_ok())
    }

    fn logs(&self, batch: LogBatch, rejected: &mut Rejected) -> LogBatch {
        self.logs_told(batch, rejected, &mut |_, _| {})
    }

    /// As [`Self::apply`] for logs; `refused` hears of every row that goes, in order, and why.
    pub fn logs_told(
        &self,
        batch: LogBatch,
        rejected: &mut Rejected,
        refused: &mut dyn FnMut(usize, &str),
    ) -> LogBatch {
        if self.all_logs_pass(&batch) {
            return batch;
        }
        let mut verdicts = Verdicts::new(batch.streams.clone());
        let kept: Vec<bool> = batch
            .rows()
            .zip(&batch.stream)
            .enumerate()
            .map(|(place, (row, stream))| {
                let own = self.time(row.time).and_then(|()| self.line(row.line));
                let own = own.and_then(|()| self.metadata(row.metadata));
                let verdict = own.and_then(|()| verdicts.of(*stream, |labels| self.stream(labels)));
                if let Err((_, told)) = &verdict {
                    refused(place, told);
                }
                record(verdict, rejected)
            })
            .collect();
        if kept.len() == batch.len() && kept.iter().all(|kept| *kept) {
            return batch;
        }
        let mut good = LogBatch::default();
        let mut moved: Vec<Option<u32>> = vec![None; batch.streams.len()];
        for ((row, stream), _) in batch.rows().zip(&batch.stream).zip(&kept).filter(|(_, kept)| **kept) {
            if let Some(place) = moved.get_mut(*stream as usize) {
                let stream = *place.get_or_insert_with(|| good.add_stream(row.stream.clone()));
                good.push(stream, row);
            }
        }
        good
    }

    /// True when every stream was let in before and every record keeps the limits: the usual batch.
    fn all_logs_pass(&self, batch: &LogBatch) -> bool {
        let (rows, streams) = (batch.len(), batch.streams.len());
        let is_whole = [batch.time.len(), batch.severity.len(), batch.line.len(), batch.metadata.len()]
            .into_iter()
            .chain([batch.trace_id.len(), batch.span_id.len()])
            .all(|len| len == rows);
        let in_place = batch.stream.iter().all(|stream| (*stream as usize) < streams);
        let in_time = batch
            .time_range()
            .is_none_or(|range| self.time(range.start).is_ok() && self.time(range.end).is_ok());
        let mut before: Option<&LabelSet> = None;
        let mut keeps = |metadata| {
            let is_known = before.replace(metadata).is_some_and(|before| before.is_same(metadata));
            is_known || self.metadata(metadata).is_ok()
        };
        is_whole
            && in_place
            && in_time
            && batch.line.iter().all(|line| self.line(line).is_ok())
            && batch.metadata.iter().all(&mut keeps)
            && self.all_current(&batch.streams)
    }

    fn spans(&self, mut batch: SpanBatch, rejected: &mut Rejected) -> SpanBatch {
        let mut verdicts = Verdicts::new(std::mem::take(&mut batch.sources));
        batch.spans.retain(|span| {
            let own = self.time(span.start).and_then(|()| self.span(span));
            record(own.and_then(|()| verdicts.of(span.source, |source| self.source(source))), rejected)
        });
        batch.sources = verdicts.into_members();
        batch
    }

    /// Whether a stamp lies in the accepted window.
    pub fn time(&self, time: Nanos) -> Verdict {
        let age = i128::from(self.now.0) - i128::from(time.0);
        let nanos = |limit: Duration| i128::try_from(limit.as_nanos()).unwrap_or(i128::MAX);
        if let Some(past) = self.limits.past.filter(|past| age > nanos(*past)) {
            let past = TimeSpan(past);
            let told =
                format!("a stamp lies more than {past} in the past ({time} ns); raise limits.ingest.past");
            return Err((Reason::TooOld, told));
        }
        if let Some(future) = self.limits.future.filter(|future| -age > nanos(*future)) {
            let future = TimeSpan(future);
            let told = format!(
                "a stamp lies more than {future} in the future ({time} ns); set the sender's clock or raise limits.ingest.future"
            );
            return Err((Reason::TooNew, told));
        }
        Ok(())
    }

    fn series(&self, labels: &LabelSet) -> Verdict {
        if labels.metric_name().is_empty() {
            let told = format!("a series has no {METRIC_NAME} label: {}", shown(labels));
            return Err((Reason::Missing, told));
        }
        self.labels(labels)?;
        self.admit(labels, labels.metric_name(), "series")
    }

    fn stream(&self, labels: &LabelSet) -> Verdict {
        self.labels(labels)?;
        self.admit(labels, "", "streams")
    }

    fn admit(&self, labels: &LabelSet, group: &str, setting: &'static str) -> Verdict {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let full = match active.admit(labels, group, self.steady) {
            Ok(()) => return Ok(()),
            Err(full) => full,
        };
        let blame = active.blame(labels, group, self.steady);
        drop(active);
        let limit = full.setting(setting);
        (self.on_refused)(limit, &blame);
        let state = match full {
            Full::Total(cap) => format!("{cap} {setting} are active"),
            Full::PerGroup(cap) => format!("{cap} series of its metric are active"),
            Full::NewPerHour(cap) => format!("{cap} new series came within an hour"),
            Full::Memory(max) => {
                format!("active series of all tenants fill the {max} bytes that they may take")
            }
        };
        let (reason, group) = match full {
            Full::Memory(_) => (Reason::Memory, "limits"),
            _ => (Reason::TooManySeries, "limits.ingest"),
        };
        let told = format!(
            "{} is new and {state}; {}drop labels or raise {group}.{limit}",
            shown(labels),
            suspicion(&blame)
        );
        Err((reason, told))
    }

    fn labels(&self, labels: &LabelSet) -> Verdict {
        if let Some(limit) = exceeded(labels.len(), self.limits.labels) {
            let told =
                format!("{} has {} labels; limits.ingest.labels is {limit}", shown(labels), labels.len());
            return Err((Reason::TooManyLabels, told));
        }
        labels.iter().try_for_each(|(name, value)| self.label(name, value))
    }

    fn label(&self, name: &str, value: &str) -> Verdict {
        if let Some(limit) = exceeded(name.len(), self.limits.label_name_bytes) {
            let told = format!(
                "the label name {:?} has {} bytes; limits.ingest.label_name_bytes is {limit}",
                cut(name),
                name.len()
            );
            return Err((Reason::BadLabelName, told));
        }
        if let Some(limit) = exceeded(value.len(), self.limits.label_value_bytes) {
            let told = format!(
                "the value of label {name:?} has {} bytes; limits.ingest.label_value_bytes is {limit}",
                value.len()
            );
            return Err((Reason::LabelValueTooLong, told));
        }
        Ok(())
    }

    fn line(&self, line: &str) -> Verdict {
        match exceeded(line.len(), self.limits.line_bytes) {
            None => Ok(()),
            Some(limit) => {
                let told = format!("a line has {} bytes; limits.ingest.line_bytes is {limit}", line.len());
                Err((Reason::TooLong, told))
            }
        }
    }

    fn metadata(&self, metadata: &LabelSet) -> Verdict {
        metadata.iter().try_for_each(|(name, value)| {
            self.attribute(name, name.len())?;
            self.attribute(name, value.len())
        })
    }

    fn span(&self, span: &Span) -> Verdict {
        self.attributes(&span.attributes)?;
        for (what, len) in [
            ("name", span.name.len()),
            ("status message", span.status_message.len()),
            ("trace state", span.trace_state.len()),
        ] {
            self.attribute(what, len)?;
        }
        for event in &span.events {
            self.attribute("event name", event.name.len())?;
            self.attributes(&event.attributes)?;
        }
        span.links.iter().try_for_each(|link| {
            self.attribute("trace state of a link", link.trace_state.len())?;
            self.attributes(&link.attributes)
        })
    }

    fn source(&self, source: &SpanSource) -> Verdict {
        self.attributes(&source.resource)?;
        self.attributes(&source.scope)
    }

    fn attributes(&self, attributes: &Attributes) -> Verdict {
        // The packed form holds every value, so most sets are cleared by one comparison.
        if exceeded(attributes.as_bytes().len(), self.limits.attribute_bytes).is_none() {
            return Ok(());
        }
        attributes.iter().try_for_each(|(name, value)| {
            let bytes = match &value {
                ValueRef::Str(text) => text.len(),
                ValueRef::Bytes(bytes) => bytes.len(),
                ValueRef::Nested(_) => value.to_string().len(),
                _ => 0,
            };
            self.attribute(name, name.len().max(bytes))
        })
    }

    fn attribute(&self, name: &str, bytes: usize) -> Verdict {
        match exceeded(bytes, self.limits.attribute_bytes) {
            None => Ok(()),
            Some(limit) => {
                let told =
                    format!("{:?} has {bytes} bytes; limits.ingest.attribute_bytes is {limit}", cut(name));
                Err((Reason::TooLong, told))
            }
        }
    }
}

/// Judges each member (series, stream, source) once, at its first item.
struct Verdicts<T> {
    members: Vec<T>,
    judged: Vec<Option<Verdict>>,
}

impl<T> Verdicts<T> {
    fn new(members: Vec<T>) -> Self {
        let judged = members.iter().map(|_| None).collect();
        Self { members, judged }
    }

    fn of(&mut self, index: u32, judge: impl FnOnce(&T) -> Verdict) -> Verdict {
        let at = index as usize;
        let (Some(member), Some(judged)) = (self.members.get(at), self.judged.get_mut(at)) else {
            return Err((
                Reason::Malformed,
                "an item points at a series that is not in the batch".to_owned(),
            ));
        };
        match judged.get_or_insert_with(|| judge(member)) {
            Ok(()) => Ok(()),
            Err((reason, told)) => Err((*reason, told.clone())),
        }
    }

    fn into_members(self) -> Vec<T> {
        self.members
    }
}

fn record(verdict: Verdict, rejected: &mut Rejected) -> bool {
    match verdict {
        Ok(()) => true,
        Err((reason, told)) => {
            rejected.add(reason, 1, || told);
            false
        }
    }
}

/// Series left without items must not reach the store: each would become a series nobody wrote to.
fn without_unused_series(mut batch: MetricBatch) -> MetricBatch {
    let mut moved: Vec<Option<u32>> = vec![None; batch.series.len()];
    let mut series: Vec<LabelSet> = Vec::new();
    let old = std::mem::take(&mut batch.series);
    let mut place = |index: &mut u32| {
        let at = *index as usize;
        if let (Some(labels), Some(moved)) = (old.get(at), moved.get_mut(at)) {
            *index = *moved.get_or_insert_with(|| {
                series.push(labels.clone());
                (series.len() - 1) as u32
            });
        }
    };
    batch.samples.iter_mut().for_each(|sample| place(&mut sample.series));
    batch.histograms.iter_mut().for_each(|sample| place(&mut sample.series));
    batch.exemplars.iter_mut().for_each(|exemplar| place(&mut exemplar.series));
    batch.series = series;
    batch
}

/// The label to look at, once there is reason to suspect one.
fn suspicion(blame: &Blame) -> String {
    if blame.values < 2 {
        return String::new();
    }
    format!("label {:?} has the most values among the refused, about {}: ", cut(&blame.label), blame.values)
}

fn exceeded(size: usize, limit: Option<usize>) -> Option<usize> {
    limit.filter(|limit| size > *limit)
}

fn shown(labels: &LabelSet) -> String {
    let mut out = String::from(cut(labels.metric_name()));
    out.push('{');
    for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
        if out.len() > SHOWN_MAX {
            out.push_str("...");
            break;
        }
        out.push_str(&format!("{}={:?},", cut(name), cut(value)));
    }
    if out.ends_with(',') {
        out.pop();
    }
    out.push('}');
    out
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(SHOWN_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}

#[cfg(test)]
mod tests;
