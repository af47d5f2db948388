//! Logs: records of streams, in columns.

use crate::{LabelSet, Nanos, SpanId, TimeRange, TraceId};

/// How bad a record is. Numbers are OpenTelemetry's `SeverityNumber` at the base of each range; zero is "not told".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Severity(pub u8);

impl Severity {
    /// Not told.
    pub const UNKNOWN: Self = Self(0);
    /// OpenTelemetry TRACE.
    pub const TRACE: Self = Self(1);
    /// OpenTelemetry DEBUG.
    pub const DEBUG: Self = Self(5);
    /// OpenTelemetry INFO.
    pub const INFO: Self = Self(9);
    /// OpenTelemetry WARN.
    pub const WARN: Self = Self(13);
    /// OpenTelemetry ERROR.
    pub const ERROR: Self = Self(17);
    /// OpenTelemetry FATAL; also syslog's critical, alert and emergency.
    pub const FATAL: Self = Self(21);

    /// The level word that Loki's `detected_level` uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self.0 {
            0 => "unknown",
            1..=4 => "trace",
            5..=8 => "debug",
            9..=12 => "info",
            13..=16 => "warn",
            17..=20 => "error",
            _ => "fatal",
        }
    }

    /// Reads a level word of any case in the spellings that loggers use; [`Self::UNKNOWN`] for others.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        const WORDS: [(&str, Severity); 20] = [
            ("trace", Severity::TRACE),
            ("trc", Severity::TRACE),
            ("debug", Severity::DEBUG),
            ("dbg", Severity::DEBUG),
            ("info", Severity::INFO),
            ("inf", Severity::INFO),
            ("information", Severity::INFO),
            ("informational", Severity::INFO),
            ("notice", Severity::INFO),
            ("warn", Severity::WARN),
            ("warning", Severity::WARN),
            ("wrn", Severity::WARN),
            ("error", Severity::ERROR),
            ("err", Severity::ERROR),
            ("eror", Severity::ERROR),
            ("fatal", Severity::FATAL),
            ("critical", Severity::FATAL),
            ("crit", Severity::FATAL),
            ("alert", Severity::FATAL),
            ("emergency", Severity::FATAL),
        ];
        let word = word.trim();
        WORDS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word))
            .map_or(Self::UNKNOWN, |(_, level)| *level)
    }
}

/// Texts one after another in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextColumn {
    text: String,
    ends: Vec<u32>,
}

impl TextColumn {
    /// Appends a text. A column holds at most 4 GiB; text beyond that is left out as an empty row.
    #[inline]
    pub fn push(&mut self, text: &str) {
        if u32::try_from(self.text.len() + text.len()).is_ok() {
            self.text.push_str(text);
        }
        self.ends.push(self.text.len() as u32);
    }

    /// The text of a row; empty when there is no such row.
    #[inline]
    #[must_use]
    pub fn get(&self, row: usize) -> &str {
        let start =
            row.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        self.ends.get(row).and_then(|end| self.text.get(start..*end as usize)).unwrap_or("")
    }

    /// Bytes of the text of a row; none when there is no such row. Does not look at the text.
    #[inline]
    #[must_use]
    pub fn bytes_of(&self, row: usize) -> usize {
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end);
        self.ends.get(row).map_or(0, |end| end.saturating_sub(start) as usize)
    }

    /// Texts one after another, of so many bytes each; `None` when they do not fill `text`, or one would begin inside a
    /// character.
    #[must_use]
    pub fn from_lengths(text: String, lengths: &[usize]) -> Option<Self> {
        let mut ends = Vec::with_capacity(lengths.len());
        let mut end = 0usize;
        for len in lengths {
            end = end.checked_add(*len).filter(|end| text.is_char_boundary(*end))?;
            ends.push(u32::try_from(end).ok()?);
        }
        (end == text.len()).then_some(Self { text, ends })
    }

    /// All texts one after another.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Makes room for so many bytes of text more.
    pub fn reserve(&mut self, bytes: usize) {
        self.text.reserve(bytes);
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all texts together.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Hands the row of every text that contains what is looked for to `see`, in order: one search over all texts.
    pub fn find(&self, finder: &memchr::memmem::Finder<'_>, mut see: impl FnMut(usize)) {
        let len = finder.needle().len();
        let mut at = 0;
        while let Some(found) = self.text.as_bytes().get(at..).and_then(|rest| finder.find(rest)) {
            let start = at + found;
            let row = self.ends.partition_point(|end| *end as usize <= start);
            let end = self.ends.get(row).map_or(self.text.len(), |end| *end as usize);
            // Else it reaches over the end of the text.
            if start + len <= end && row < self.ends.len() {
                see(row);
                at = end;
            } else {
                at = start + 1;
            }
        }
    }

    /// All texts in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|row| self.get(row))
    }
}

/// Log records of one tenant in columns: row `i` of every column belongs to record `i`.
///
/// A stream is a label set (Loki's sense). Per-record facts that are not labels (Loki's structured metadata,
/// OpenTelemetry's record attributes, `observed_timestamp`, `scope_name` ...) are text pairs in `metadata`; trace and
/// span ids have columns of their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogBatch {
    /// The label sets of the streams, each once.
    pub streams: Vec<LabelSet>,
    /// Per record: index into `streams`.
    pub stream: Vec<u32>,
    /// Per record: when it happened, by its source.
    pub time: Vec<Nanos>,
    /// Per record: its severity.
    pub severity: Vec<Severity>,
    /// Per record: its trace, or [`TraceId::NONE`].
    pub trace_id: Vec<TraceId>,
    /// Per record: its span, or [`SpanId::NONE`].
    pub span_id: Vec<SpanId>,
    /// Per record: the line, bytes as received (valid UTF-8).
    pub line: TextColumn,
    /// Per record: structured metadata, sorted by name. Most records of a source share few shapes, and clones share.
    pub metadata: Vec<LabelSet>,
}

/// One log record, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct LogRow<'a> {
    /// The stream's labels.
    pub stream: &'a LabelSet,
    /// When it happened, by its source.
    pub time: Nanos,
    /// Its severity.
    pub severity: Severity,
    /// Its trace, or [`TraceId::NONE`].
    pub trace_id: TraceId,
    /// Its span, or [`SpanId::NONE`].
    pub span_id: SpanId,
    /// The line.
    pub line: &'a str,
    /// Structured metadata.
    pub metadata: &'a LabelSet,
}

impl LogBatch {
    /// Bytes of a record beside its line and its metadata.
    pub const ROW_BYTES: usize = 4 + 8 + 1 + 16 + 8 + 4;

    /// Adds a stream and gives its index. The caller adds each label set once.
    pub fn add_stream(&mut self, labels: LabelSet) -> u32 {
        let index = self.streams.len() as u32;
        self.streams.push(labels);
        index
    }

    /// Appends a record of an added stream; `row.stream` is not looked at.
    pub fn push(&mut self, stream: u32, row: LogRow<'_>) {
        self.stream.push(stream);
        self.time.push(row.time);
        self.severity.push(row.severity);
        self.trace_id.push(row.trace_id);
        self.span_id.push(row.span_id);
        self.line.push(row.line);
        self.metadata.push(row.metadata.clone());
    }

    /// The record in row `row`.
    #[inline]
    #[must_use]
    pub fn row(&self, row: usize) -> Option<LogRow<'_>> {
        Some(LogRow {
            stream: self.streams.get(*self.stream.get(row)? as usize)?,
            time: *self.time.get(row)?,
            severity: *self.severity.get(row)?,
            trace_id: *self.trace_id.get(row)?,
            span_id: *self.span_id.get(row)?,
            line: self.line.get(row),
            metadata: self.metadata.get(row)?,
        })
    }

    /// All records in order of rows.
    pub fn rows(&self) -> impl Iterator<Item = LogRow<'_>> {
        (0..self.len()).filter_map(|row| self.row(row))
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stream.len()
    }

    /// True without records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stream.is_empty()
    }

    /// From the earliest to the latest record.
    #[must_use]
    pub fn time_range(&self) -> Option<TimeRange> {
        Some(TimeRange { start: *self.time.iter().min()?, end: *self.time.iter().max()? })
    }

    /// Bytes held, for memory accounting.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.streams.iter().map(LabelSet::heap_bytes).sum::<usize>()
            + self.metadata.iter().map(|m| if m.is_empty() { 8 } else { m.heap_bytes() + 8 }).sum::<usize>()
            + self.line.text_bytes()
            + self.len() * Self::ROW_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_pushed() {
        let mut batch = LogBatch::default();
        let (labels, metadata) = (LabelSet::from_pairs([("app", "a")]), LabelSet::from_pairs([("k", "v")]));
        let stream = batch.add_stream(labels.clone());
        for line in ["one", "", "três"] {
            let row = LogRow {
                stream: &labels,
                time: Nanos(7),
                severity: Severity::ERROR,
                trace_id: TraceId::NONE,
                span_id: SpanId::NONE,
                line,
                metadata: &metadata,
            };
            batch.push(stream, row);
        }
        assert_eq!(batch.rows().map(|r| r.line).collect::<Vec<_>>(), ["one", "", "três"]);
        assert_eq!((0..4).map(|row| batch.line.bytes_of(row)).collect::<Vec<_>>(), [3, 0, 5, 0]);
        assert!(batch.row(3).is_none());
        assert_eq!(batch.rows().map(|r| r.metadata.get("k")).collect::<Vec<_>>(), ["v", "v", "v"]);
    }

    #[test]
    fn texts_are_found_where_they_are_whole() {
        let mut column = TextColumn::default();
        ["ab", "", "b", "a", "bab", "abab", "xaa", "a"].iter().for_each(|text| column.push(text));
        for needle in ["a", "ab", "aa", "ba", "zz"] {
            let mut found = Vec::new();
            column.find(&memchr::memmem::Finder::new(needle), |row| found.push(row));
            let expect: Vec<usize> =
                (0..column.len()).filter(|row| column.get(*row).contains(needle)).collect();
            assert_eq!(found, expect, "{needle}");
        }
    }

    #[test]
    fn level_words() {
        for (word, level) in [("WARN", "warn"), (" Err ", "error"), ("critical", "fatal"), ("hm", "unknown")]
        {
            assert_eq!(Severity::from_word(word).as_str(), level);
        }
    }
}
