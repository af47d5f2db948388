//! Prometheus text format 0.0.4, read as Prometheus reads it. Definition: prometheus.io "Exposition formats"; where
//! that leaves room, Prometheus' own lexer (blanks anywhere between tokens, commas optional, free comments).

use kenning_model::{MetricKind, Millis, Reason, UNKNOWN_START};

use super::cursor::{Cursor, Series};
use super::{Point, Sink};
use crate::error::Fault;

/// Reads one line; false at the end of the document.
pub(super) fn entry(cursor: &mut Cursor<'_>, sink: &mut impl Sink) -> Result<bool, Fault> {
    cursor.blanks();
    match cursor.peek() {
        None => return Ok(false),
        Some(b'\n') => cursor.skip_line(),
        Some(b'#') => match sink.known_comment(cursor.rest()) {
            Some(len) => cursor.pass(len),
            None => {
                let start = *cursor;
                comment(cursor, sink)?;
                sink.read_comment(start.until(cursor));
            }
        },
        Some(_) => sample(cursor, sink)?,
    }
    Ok(true)
}

fn comment(cursor: &mut Cursor<'_>, sink: &mut impl Sink) -> Result<(), Fault> {
    cursor.eat(b"#");
    if cursor.blanks() {
        let start = *cursor;
        for word in [b"HELP", b"TYPE"] {
            if cursor.eat(word) && cursor.blanks() {
                return metadata(cursor, sink, word == b"HELP");
            }
            *cursor = start;
        }
    }
    cursor.skip_line();
    Ok(())
}

fn metadata(cursor: &mut Cursor<'_>, sink: &mut impl Sink, help: bool) -> Result<(), Fault> {
    let metric = cursor.name_in_comment(true)?;
    // The byte after the name separates, whatever it is.
    let text = cursor.line().get(1..).unwrap_or_default();
    let text = cursor.text(text)?;
    if help {
        sink.help(metric, text, Some(false));
        return Ok(());
    }
    let kind = match text {
        "counter" => MetricKind::Counter,
        "gauge" => MetricKind::Gauge,
        "histogram" => MetricKind::Histogram,
        "summary" => MetricKind::Summary,
        "untyped" => MetricKind::Unknown,
        _ => {
            return Err(
                cursor.fault("has an unknown metric type; use counter, gauge, histogram, summary, untyped")
            );
        }
    };
    sink.kind(metric, kind);
    Ok(())
}

fn sample(cursor: &mut Cursor<'_>, sink: &mut impl Sink) -> Result<(), Fault> {
    let start = *cursor;
    let series = match sink.known_series(cursor.rest()) {
        Some(len) => {
            cursor.pass(len);
            None
        }
        None => Some(read_series(cursor)?),
    };
    let text = start.until(cursor);
    cursor.blanks();
    let token = cursor.token(Some(b'{'));
    let value = cursor.float(token)?;
    cursor.blanks();
    let time = match cursor.peek() {
        None | Some(b'\n') => None,
        Some(_) => Some(Millis(cursor.integer()?)),
    };
    cursor.blanks();
    if !matches!(cursor.peek(), None | Some(b'\n')) {
        return Err(cursor.fault("has more on a line than a series, a value and a timestamp"));
    }
    if series.as_ref().is_some_and(|series| series.name.is_none()) {
        let problem = "has a series without a metric name";
        return Err(Fault::new(Reason::Missing, start.offset(), "exposition", problem));
    }
    cursor.pass(1);
    let point = Point { value, time, start: UNKNOWN_START, exemplar: None };
    sink.sample(series, text, point, start.offset())
}

fn read_series<'a>(cursor: &mut Cursor<'a>) -> Result<Series<'a>, Fault> {
    let mut series = Series::new();
    if let Some(name) = cursor.metric_name() {
        series.name = Some(name.into());
        let end_of_name = *cursor;
        cursor.blanks();
        if cursor.peek() != Some(b'{') {
            *cursor = end_of_name;
            return Ok(series);
        }
    }
    if cursor.eat(b"{") {
        cursor.labels(&mut series, false)?;
    } else {
        return Err(cursor.fault("has a line that starts with neither a metric name nor a comment"));
    }
    Ok(series)
}
