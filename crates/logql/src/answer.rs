//! What a query answers.

use std::collections::BTreeMap;

use kenning_model::{LabelSet, Millis, Nanos};

/// The answer to a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The data.
    pub value: Value,
    /// Sentences about an answer that may not be what was meant.
    pub warnings: Vec<String>,
    /// What it cost.
    pub stats: Stats,
    /// Sentences about data that should be in the answer and is not. Empty: complete.
    pub missing: Vec<String>,
}

/// The data of an answer, in the shapes of Loki's API.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Log lines, ordered by their streams' labels.
    Streams(Vec<Stream>),
    /// Series over time, ordered by labels. Points without a value are left out.
    Matrix(Vec<(LabelSet, Vec<(Millis, f64)>)>),
    /// Series at one instant: by labels, or by value where the query sorts.
    Vector(Vec<(LabelSet, Millis, f64)>),
    /// A number.
    Scalar(Millis, f64),
}

/// Log lines with equal labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// The stream labels that the pipeline left.
    pub labels: LabelSet,
    /// The lines in the order asked for. All have the same structured metadata and parsed labels.
    pub entries: Vec<Entry>,
}

/// A log line.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When it was written.
    pub time: Nanos,
    /// The line as the pipeline left it.
    pub line: String,
    /// Structured metadata that the pipeline left.
    pub structured_metadata: LabelSet,
    /// Labels that the pipeline made.
    pub parsed: LabelSet,
}

/// What an answer cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Lines looked at.
    pub lines: u64,
    /// Bytes of those lines that reached the pipeline.
    pub bytes: u64,
}

impl Stream {
    /// All labels in one set, as Loki answers without the flag `categorize-labels`.
    #[must_use]
    pub fn merged(&self) -> LabelSet {
        match self.entries.first() {
            None => self.labels.clone(),
            Some(entry) if entry.structured_metadata.is_empty() && entry.parsed.is_empty() => {
                self.labels.clone()
            }
            Some(entry) => {
                let mut builder = self.labels.to_builder();
                for (name, value) in entry.structured_metadata.iter().chain(entry.parsed.iter()) {
                    builder.set(name, value);
                }
                builder.build_with_empty()
            }
        }
    }
}

/// Lines by all their labels, as Loki answers without `categorize-labels`.
#[must_use]
pub fn merged(streams: Vec<Stream>, forward: bool) -> Vec<(LabelSet, Vec<Entry>)> {
    regroup(streams, forward, Stream::merged)
}

/// Lines by their stream labels only, as Loki answers with `categorize-labels`.
#[must_use]
pub fn categorized(streams: Vec<Stream>, forward: bool) -> Vec<(LabelSet, Vec<Entry>)> {
    regroup(streams, forward, |stream| stream.labels.clone())
}

fn regroup(
    streams: Vec<Stream>,
    forward: bool,
    key: impl Fn(&Stream) -> LabelSet,
) -> Vec<(LabelSet, Vec<Entry>)> {
    let mut groups: BTreeMap<LabelSet, Vec<Entry>> = BTreeMap::new();
    for stream in streams {
        groups.entry(key(&stream)).or_default().extend(stream.entries);
    }
    for entries in groups.values_mut() {
        // Stable, so lines of one time stay in the store's order.
        match forward {
            true => entries.sort_by_key(|entry| entry.time),
            false => entries.sort_by_key(|entry| std::cmp::Reverse(entry.time)),
        }
    }
    groups.into_iter().collect()
}
