//! `multiline`: lines that follow a first line belong to it.

use std::collections::HashMap;
use std::time::Duration;

use kenning_model::LabelSet;
use kenning_yaml::Node;
use regex::Regex;

use crate::config::{Fields, Report};
use crate::entry::Entry;

/// Lines of a record when nobody says otherwise; Promtail's.
const LINES: u64 = 128;
/// Most lines of a record that may be asked for.
const LINES_MAX: u64 = 10_000;
/// How long the next line is waited for when nobody says otherwise; Promtail's.
const WAIT: Duration = Duration::from_secs(3);
/// Bytes of a joined record; what is beyond begins another.
const BYTES_MAX: usize = 1 << 20;

/// How lines make records.
#[derive(Clone, Debug)]
pub struct MultilineStage {
    /// A line that matches begins a record. `None` only where reading it failed.
    pub first_line: Option<Regex>,
    /// Lines of a record; more begin another.
    pub lines_max: usize,
    /// A record is over when no line came for so long; only where lines are read one after another.
    pub wait_max: Duration,
}

impl MultilineStage {
    pub(crate) fn read(at: &str, node: &Node, report: &mut Report) -> Self {
        let mut fields = Fields::open(at, node, report);
        if fields.text("firstline").is_none_or(|text| text.is_empty()) {
            fields.wrong(
                "firstline",
                "is missing; write a regular expression that the first line of a record matches",
            );
        }
        let first_line = fields.regex("firstline");
        let lines = fields.count("max_lines").unwrap_or(LINES);
        if !(1..=LINES_MAX).contains(&lines) {
            fields.wrong("max_lines", format!("must be a number from 1 to {LINES_MAX}"));
        }
        let wait_max = fields.duration("max_wait_time").unwrap_or(WAIT);
        fields.finish();
        let lines_max = usize::try_from(lines.clamp(1, LINES_MAX)).unwrap_or(usize::MAX);
        Self { first_line, lines_max, wait_max }
    }

    fn is_first(&self, line: &str) -> bool {
        self.first_line.as_ref().is_none_or(|first| first.is_match(line))
    }

    /// Joins the lines of each stream of a batch. Lines before the first that begins a record stay alone. The record has
    /// its first line's place, labels and time.
    pub(crate) fn join<'a>(&self, entries: Vec<(usize, Entry<'a>)>) -> Vec<(usize, Entry<'a>)> {
        // By stream: the place of its open record in `joined`, and its lines.
        let mut open: HashMap<LabelSet, (usize, usize)> = HashMap::new();
        let mut joined: Vec<(usize, Entry<'a>)> = Vec::with_capacity(entries.len());
        for (row, entry) in entries {
            let stream = entry.labels.to_set();
            let record = open.get_mut(&stream).filter(|_| !self.is_first(&entry.line));
            let place = record.as_ref().map(|(place, _)| *place);
            let before = place.and_then(|place| joined.get_mut(place));
            match (record, before) {
                (Some((_, lines)), Some((_, before)))
                    if *lines < self.lines_max && before.line.len() + entry.line.len() < BYTES_MAX =>
                {
                    *lines += 1;
                    let line = before.line.to_mut();
                    line.push('\n');
                    line.push_str(&entry.line);
                }
                (None, _) if !self.is_first(&entry.line) => joined.push((row, entry)),
                _ => {
                    open.insert(stream, (joined.len(), 1));
                    joined.push((row, entry));
                }
            }
        }
        joined
    }
}
