//! Messages about a query that point into its text.

use std::fmt;

/// A stretch of a query's text, in bytes; the end is not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceSpan {
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
}

impl SourceSpan {
    /// From `start` up to `end`.
    #[must_use]
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The smallest stretch that holds both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The text of this stretch; empty when it does not lie within `source`.
    #[must_use]
    pub fn text(self, source: &str) -> &str {
        source.get(self.start as usize..self.end as usize).unwrap_or("")
    }

    /// Line and column of the start, both from 1, the column in bytes as Prometheus counts it.
    #[must_use]
    pub fn line_column(self, source: &str) -> (usize, usize) {
        let before = source.as_bytes().get(..self.start as usize).unwrap_or(source.as_bytes());
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
        (line, column)
    }
}

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Good to know; the answer is right.
    Info,
    /// The answer may not be what was meant.
    Warning,
    /// There is no answer.
    Error,
}

/// A message about a stretch of a query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Diagnostic {
    /// How much it matters.
    pub level: Level,
    /// Where.
    pub span: SourceSpan,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it; empty when there is nothing to say.
    pub hint: String,
}

impl Diagnostic {
    /// An error without a hint.
    #[must_use]
    pub fn error(span: SourceSpan, message: impl Into<String>) -> Self {
        Self { level: Level::Error, span, message: message.into(), hint: String::new() }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// `line:column: message`, with the hint after a semicolon.
    #[must_use]
    pub fn render(&self, source: &str) -> String {
        let (line, column) = self.span.line_column(source);
        let hint = if self.hint.is_empty() { String::new() } else { format!("; {}", self.hint) };
        format!("{line}:{column}: {}{hint}", self.message)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_from_one() {
        let source = "sum(\n  up(";
        let check = |start, expect| assert_eq!(SourceSpan::new(start, start + 1).line_column(source), expect);
        check(0, (1, 1));
        check(5, (2, 1));
        check(9, (2, 5));
        check(99, (2, 6));
    }
}
