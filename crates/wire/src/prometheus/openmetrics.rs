//! OpenMetrics text 1.0, as strict as Prometheus is about it. Definition: OpenMetrics 1.0 (now prometheus.io).
//!
//! The order of lines within a family, suffixes against types and the ranges of values are not checked, as in
//! Prometheus. `_created` series are series like others; a target's scrapes take start times from them too.

use kenning_model::{MetricKind, Millis, UNKNOWN_START};

use super::builder::WrittenExemplar;
use super::cursor::{Cursor, Series};
use super::{Point, Sink};
use crate::error::Fault;

/// Reads one line; false after `# EOF`.
pub(super) fn entry(cursor: &mut Cursor<'_>, sink: &mut impl Sink) -> Result<bool, Fault> {
    match cursor.peek() {
        None => Err(cursor.fault("does not end with # EOF")),
        Some(b'#') => {
            if let Some(len) = sink.known_comment(cursor.rest()) {
                cursor.pass(len);
                return Ok(true);
            }
            let start = *cursor;
            let goes_on = comment(cursor, sink)?;
            if goes_on {
                sink.read_comment(start.until(cursor));
            }
            Ok(goes_on)
        }
        Some(_) => sample(cursor, sink).map(|()| true),
    }
}

fn comment(cursor: &mut Cursor<'_>, sink: &mut impl Sink) -> Result<bool, Fault> {
    if !cursor.eat(b"# ") {
        return Err(cursor.fault("has a comment other than HELP, TYPE, UNIT and EOF"));
    }
    if cursor.eat(b"EOF") {
        cursor.eat(b"\n");
        return if cursor.is_empty() { Ok(false) } else { Err(cursor.fault("goes on after # EOF")) };
    }
    if cursor.eat(b"HELP ") {
        help(cursor, sink)?;
    } else if cursor.eat(b"TYPE ") {
        kind(cursor, sink)?;
    } else if cursor.eat(b"UNIT ") {
        unit(cursor, sink)?;
    } else {
        return Err(cursor.fault("has a comment other than HELP, TYPE, UNIT and EOF"));
    }
    Ok(true)
}

/// The rest of a comment's line: one blank and text, ended by a line feed.
fn rest<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, Fault> {
    if !cursor.eat(b" ") {
        return Err(cursor.fault("lacks a blank after a metric name in a comment"));
    }
    let line = cursor.line();
    if !cursor.ended_by_line_feed() {
        return Err(cursor.fault("ends inside a comment"));
    }
    cursor.text(line)
}

fn help(cursor: &mut Cursor<'_>, sink: &mut impl Sink) -> Result<(), Fault> {
    let metric = cursor.name_in_comment(true)?;
    let text = rest(cursor)?;
    sink.help(metric, text, Some(true));
    Ok(())
}

fn kind(cursor: &mut Cursor<'_>, sink: &mut impl Sink) -> Result<(), Fault> {
    let metric = cursor.name_in_comment(true)?;
    let kind = match rest(cursor)? {
        "counter" => MetricKind::Counter,
        "gauge" => MetricKind::Gauge,
        "histogram" => MetricKind::Histogram,
        "gaugehistogram" => MetricKind::GaugeHistogram,
        "summary" => MetricKind::Summary,
        "info" => MetricKind::Info,
        "stateset" => MetricKind::StateSet,
        "unknown" => MetricKind::Unknown,
        _ => return Err(cursor.fault("has an unknown metric type")),
    };
    sink.kind(metric, kind);
    Ok(())
}

fn unit(cursor: &mut Cursor<'_>, sink: &mut impl Sink) -> Result<(), Fault> {
    let metric = cursor.name_in_comment(true)?;
    let unit = rest(cursor)?;
    let fits = metric.strip_suffix(unit).is_some_and(|stem| stem.ends_with('_'));
    if !unit.is_empty() && !fits {
        return Err(cursor.fault("has a unit that is not the suffix of its metric's name"));
    }
    sink.unit(metric, unit);
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
    let value = number(cursor)?;
    // A blank before nothing ends the document, but Prometheus counts the sample before it.
    let stray_blank = matches!(cursor.rest(), [b' '] | [b' ', b' ' | b'\n', ..]);
    let (time, exemplar) = if stray_blank { (None, None) } else { tail(cursor)? };
    let point = Point { value, time, start: UNKNOWN_START, exemplar };
    sink.sample(series, text, point, start.offset())
}

fn read_series<'a>(cursor: &mut Cursor<'a>) -> Result<Series<'a>, Fault> {
    let mut series = Series { name: cursor.metric_name().map(Into::into), ..Series::new() };
    if cursor.eat(b"{") {
        cursor.labels(&mut series, true)?;
    } else if series.name.is_none() {
        return Err(cursor.fault("has a line that starts with neither a metric name nor a comment"));
    }
    Ok(series)
}

/// What follows a value: a stamp or not, an exemplar or not, the end of the line.
pub(super) fn tail<'a>(
    cursor: &mut Cursor<'a>,
) -> Result<(Option<Millis>, Option<WrittenExemplar<'a>>), Fault> {
    if cursor.eat(b"\n") {
        return Ok((None, None));
    }
    if cursor.eat(b" # {") {
        return Ok((None, Some(read_exemplar(cursor)?)));
    }
    let time = Some(stamp(cursor)?);
    if cursor.eat(b"\n") {
        return Ok((time, None));
    }
    if cursor.eat(b" # {") {
        return Ok((time, Some(read_exemplar(cursor)?)));
    }
    Err(cursor.fault("has more on a line than a series, a value, a timestamp and an exemplar"))
}

/// A blank and a number.
fn number(cursor: &mut Cursor<'_>) -> Result<f64, Fault> {
    if !cursor.eat(b" ") {
        return Err(cursor.fault("lacks a value after a single blank"));
    }
    let token = cursor.strict_token();
    cursor.float(token)
}

/// A blank and seconds.
fn stamp(cursor: &mut Cursor<'_>) -> Result<Millis, Fault> {
    let seconds = number(cursor)?;
    if !seconds.is_finite() {
        return Err(cursor.fault("has a timestamp that is no point in time"));
    }
    Ok(Millis((seconds * 1000.0) as i64))
}

fn read_exemplar<'a>(cursor: &mut Cursor<'a>) -> Result<WrittenExemplar<'a>, Fault> {
    let mut labels = Series::new();
    cursor.labels(&mut labels, true)?;
    if labels.name.is_some() {
        return Err(cursor.fault("has an exemplar label without a value"));
    }
    if labels.labels.iter().any(|(_, value)| value.contains('\0')) {
        return Err(cursor.fault("has an exemplar label with a null byte"));
    }
    let value = number(cursor)?;
    let mut time = None;
    if !cursor.eat(b"\n") {
        time = Some(stamp(cursor)?);
        if !cursor.eat(b"\n") {
            return Err(cursor.fault("has more on a line than an exemplar"));
        }
    }
    Ok(WrittenExemplar { labels: labels.labels, value, time })
}
