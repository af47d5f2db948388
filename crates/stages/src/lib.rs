//! Pipeline stages: what is done to log records on their way in, written as Promtail's `pipeline_stages`.
//!
//! [`Pipeline::read`] makes stages of YAML, [`Pipeline`] runs them as a [`Processor`] on every batch; [`LogMetrics`] holds
//! what the stage `metrics` counts; [`LineLabels`] takes labels out of lines where nobody wrote stages.
//!
//! Promises: no configuration and no line makes it panic; mistakes are told all at once, with the stage's index, the
//! field and the fix; records keep their order; what is dropped is counted under the stage's reason; metrics change once
//! a batch is durable, and once only; memory of what was seen (rates by label, last stamps, series) is bounded.
//!
//! Differs from Promtail: whole JSON numbers stay exact; a `limit` without `drop` makes the sender come again instead of
//! holding lines back in memory; `multiline` is the first stage, so that what waits for its end is known by its place in
//! the file; an expression that finds nothing leaves a field without a value, as there, and such a field is no label.
//!
//! Absent: sockets, files, labels of files ([`kenning_pipeline`] and the receivers see to those).

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod config;
mod entry;
mod functions;
mod jmespath;
mod line_labels;
mod log_metrics;
mod logfmt;
mod multiline;
pub mod promtail;
mod recent;
mod stage;
#[cfg(test)]
mod tests;
mod zone;

use std::collections::HashMap;

use kenning_model::{Batch, LabelSet, LogBatch, LogRow, Severity};
use kenning_pipeline::Refusal;
use kenning_pipeline::geoip::GeoDatabases;
use kenning_pipeline::process::{Origin, Processed, Processor};
use kenning_stdx::files::Files;
use kenning_yaml::{Content, Node};

pub use config::{Report, node_of};
pub use line_labels::LineLabels;
pub use log_metrics::LogMetrics;
pub use multiline::MultilineStage;

use entry::Entry;
use stage::{Builder, Side, Stage, Verdict, Waits};

/// What reading stages needs.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where metrics are declared.
    pub metrics: &'a LogMetrics,
    /// Files that tell where addresses are, shared by all who name them.
    pub databases: &'a GeoDatabases,
    /// Where time zones and databases are found.
    pub files: &'a dyn Files,
}

/// How lines are wrapped, as the first stage of a pipeline says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// Docker's `json-file`.
    Docker,
    /// The container runtime interface's.
    Cri,
}

/// Stages that are done where lines are read, since they need to know what comes next.
#[derive(Clone, Debug, Default)]
pub struct Front {
    /// `docker` or `cri`, as the first stage.
    pub wrapping: Option<Wrapping>,
    /// `multiline`, as the first stage or right behind these.
    pub multiline: Option<MultilineStage>,
}

/// Stages in order.
#[derive(Debug, Default)]
pub struct Pipeline {
    multiline: Option<MultilineStage>,
    stages: Vec<Stage>,
}

impl Pipeline {
    /// Reads a list of stages for records that are received whole. `at` is the place of the list, for messages. Lines of
    /// one request are joined by `multiline`; it does not reach over requests, since each is acknowledged by itself.
    pub fn read(at: &str, node: &Node, context: Context<'_>, report: &mut Report) -> Self {
        let multiline = multiline_at(0, at, node, report);
        let stages = rest(usize::from(multiline.is_some()), at, node, context, report);
        Self { multiline, stages }
    }

    /// Reads a list of stages for lines of files. The front of it is for the reader of the files.
    pub fn read_for_files(at: &str, node: &Node, context: Context<'_>, report: &mut Report) -> (Front, Self) {
        let wrapping = match name_at(0, node) {
            Some("docker") => Some(Wrapping::Docker),
            Some("cri") => Some(Wrapping::Cri),
            _ => None,
        };
        let unwrapped = usize::from(wrapping.is_some());
        let multiline = multiline_at(unwrapped, at, node, report);
        let stages = rest(unwrapped + usize::from(multiline.is_some()), at, node, context, report);
        (Front { wrapping, multiline }, Self { multiline: None, stages })
    }

    /// True when it does nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.multiline.is_none() && self.stages.is_empty()
    }
}

fn item_at(place: usize, node: &Node) -> Option<(&str, &Node)> {
    match &node.content {
        Content::Sequence(items) => items.get(place).and_then(stage::named),
        _ => None,
    }
}

fn name_at(place: usize, node: &Node) -> Option<&str> {
    item_at(place, node).map(|(name, _)| name)
}

fn multiline_at(place: usize, at: &str, node: &Node, report: &mut Report) -> Option<MultilineStage> {
    let (_, fields) = item_at(place, node).filter(|(name, _)| *name == "multiline")?;
    Some(MultilineStage::read(&format!("{at}[{place}].multiline"), fields, report))
}

/// The stages from a place on.
fn rest(skip: usize, at: &str, node: &Node, context: Context<'_>, report: &mut Report) -> Vec<Stage> {
    let mut builder = Builder { context, report };
    stage::read_list(at, node, skip, &mut builder, 0)
}

impl Processor for Pipeline {
    fn process(&self, origin: &Origin<'_>, mut processed: Processed) -> Result<Processed, Refusal> {
        let Batch::Logs(batch) = &mut processed.batch else { return Ok(processed) };
        if self.is_empty() || batch.is_empty() {
            return Ok(processed);
        }
        let batch = std::mem::take(batch);
        let mut side = Side {
            now: origin.now,
            steady: origin.steady,
            processed: &mut processed,
            updates: Vec::new(),
            waits: Waits::default(),
        };
        let made = self.run(&batch, &mut side);
        let (updates, steady) = (side.updates, origin.steady);
        side.waits.settle(steady)?;
        if !updates.is_empty() {
            processed.when_durable(move || updates.into_iter().for_each(|update| update.apply(steady)));
        }
        processed.batch = Batch::Logs(made.batch);
        processed.set_rows(made.rows);
        Ok(processed)
    }
}

impl Pipeline {
    fn run(&self, batch: &LogBatch, side: &mut Side<'_>) -> Made {
        let mut made = Made::default();
        let entries = batch.rows().map(|row| Entry::new(&row)).enumerate();
        match &self.multiline {
            None => entries.for_each(|(row, entry)| self.one(row, entry, side, &mut made)),
            Some(multiline) => {
                let joined = multiline.join(entries.collect());
                joined.into_iter().for_each(|(row, entry)| self.one(row, entry, side, &mut made));
            }
        }
        made
    }

    fn one(&self, row: usize, mut entry: Entry<'_>, side: &mut Side<'_>, made: &mut Made) {
        let level = entry.labels.get(LEVEL).to_owned();
        match stage::run(&self.stages, &mut entry, side) {
            Verdict::Keep => {
                if entry.labels.get(LEVEL) != level {
                    told_level(&mut entry);
                }
                made.push(row, &entry);
            }
            Verdict::Drop(reason) => side.processed.drop_items(reason.to_owned(), 1),
        }
    }
}

/// The label that tells how bad a record is.
const LEVEL: &str = "level";
/// Where Loki keeps the same in its own words.
const DETECTED_LEVEL: &str = "detected_level";

/// A level that stages found wins over what was guessed when the record was received.
fn told_level(entry: &mut Entry<'_>) {
    let severity = Severity::from_word(entry.labels.get(LEVEL));
    if severity != Severity::UNKNOWN {
        entry.severity = severity;
        entry.metadata.set(DETECTED_LEVEL, severity.as_str());
    }
}

/// The batch that comes out.
#[derive(Default)]
struct Made {
    batch: LogBatch,
    streams: HashMap<LabelSet, u32>,
    rows: Vec<u32>,
}

impl Made {
    fn push(&mut self, row: usize, entry: &Entry<'_>) {
        let labels = entry.labels.to_set();
        let stream = match self.streams.get(&labels) {
            Some(stream) => *stream,
            None => {
                let stream = self.batch.add_stream(labels.clone());
                self.streams.insert(labels.clone(), stream);
                stream
            }
        };
        let metadata = entry.metadata.to_set();
        let record = LogRow {
            stream: &labels,
            time: entry.time,
            severity: entry.severity,
            trace_id: entry.trace_id,
            span_id: entry.span_id,
            line: &entry.line,
            metadata: &metadata,
        };
        self.batch.push(stream, record);
        self.rows.push(u32::try_from(row).unwrap_or(u32::MAX));
    }
}
