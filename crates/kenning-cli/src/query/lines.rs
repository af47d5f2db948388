//! Log lines for people: a time that can be given back to `--start`, the labels that tell lines apart, text that cannot
//! act on the terminal.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::Value;

use super::table;

/// Labels by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    /// Nanoseconds since 1970.
    pub time: i64,
    pub labels: Labels,
    pub text: String,
}

/// The lines of streams as Loki's API writes them, oldest first.
pub(crate) fn of_streams(streams: Option<&Value>) -> Vec<Line> {
    let mut lines = Vec::new();
    for stream in streams.and_then(Value::as_array).into_iter().flatten() {
        let pairs = stream.get("stream").and_then(Value::as_object).into_iter().flatten();
        let labels: Labels = pairs
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect();
        for entry in stream.get("values").and_then(Value::as_array).into_iter().flatten() {
            let part = |place: usize| entry.get(place).and_then(Value::as_str).unwrap_or_default();
            let time = part(0).parse().unwrap_or_default();
            lines.push(Line { time, labels: labels.clone(), text: part(1).to_owned() });
        }
    }
    lines.sort();
    lines
}

/// A time in nanoseconds since 1970 as RFC 3339 in UTC, exact.
pub(crate) fn stamp(nanos: i64) -> String {
    let at = chrono::DateTime::from_timestamp_nanos(nanos);
    at.format("%Y-%m-%dT%H:%M:%S%.9fZ").to_string()
}

/// What all lines have in common.
pub(crate) fn common(lines: &[Line]) -> Labels {
    let mut lines = lines.iter();
    let Some(first) = lines.next() else { return Labels::new() };
    let mut common = first.labels.clone();
    lines.for_each(|line| common.retain(|name, value| line.labels.get(name) == Some(value)));
    common
}

/// How lines are printed.
pub(crate) struct Printer {
    /// Labels that were told before; lines show what differs from them.
    pub common: Labels,
    pub no_labels: bool,
}

impl Printer {
    /// Writes lines in their order.
    pub(crate) fn print(&self, lines: &[Line]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for line in lines {
            let labels = self.labels(line);
            let blank = if labels.is_empty() { "" } else { " " };
            writeln!(out, "{} {labels}{blank}{}", stamp(line.time), table::plain(&line.text))?;
        }
        out.flush()
    }

    /// The labels that are not in common; empty when there are none.
    fn labels(&self, line: &Line) -> String {
        if self.no_labels {
            return String::new();
        }
        let own = line.labels.iter().filter(|(name, value)| self.common.get(*name) != Some(value));
        let mut pairs: Vec<String> = own.map(|(name, value)| format!("{name}={value:?}")).collect();
        let lacking = self.common.keys().filter(|name| !line.labels.contains_key(*name));
        pairs.extend(lacking.map(|name| format!("{name}=\"\"")));
        if pairs.is_empty() { String::new() } else { table::plain(&format!("{{{}}}", pairs.join(", "))) }
    }
}

/// Labels as a selector.
pub(crate) fn selector(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    table::plain(&format!("{{{}}}", pairs.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Line> {
        of_streams(Some(&serde_json::json!([
            {"stream": {"app": "a", "pod": "1"}, "values": [["20", "late"], ["10", "early"]]},
            {"stream": {"app": "a", "pod": "2"}, "values": [["15", "between"]]},
        ])))
    }

    #[test]
    fn streams_become_lines_in_order() {
        let texts: Vec<String> = lines().into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["early", "between", "late"]);
        assert_eq!(of_streams(None), []);
        assert_eq!(of_streams(Some(&serde_json::json!([{"values": [[1], "x"]}, 5]))).len(), 2);
    }

    #[test]
    fn labels_in_common_are_told_once() {
        let lines = lines();
        let common = common(&lines);
        assert_eq!(selector(&common), "{app=\"a\"}");
        let shown = |printer: &Printer, line: &Line| printer.labels(line);
        let printer = Printer { common, no_labels: false };
        assert_eq!(shown(&printer, &lines[1]), "{pod=\"2\"}");
        let other = Line { labels: Labels::new(), ..lines[0].clone() };
        assert_eq!(shown(&printer, &other), "{app=\"\"}");
        assert_eq!(shown(&Printer { no_labels: true, ..printer }, &lines[1]), "");
        assert_eq!(super::common(&[]), Labels::new());
    }

    #[test]
    fn stamps_are_exact() {
        assert_eq!(stamp(1_795_301_274_746_000_763), "2026-11-21T22:47:54.746000763Z");
        assert_eq!(stamp(-1), "1969-12-31T23:59:59.999999999Z");
    }
}
