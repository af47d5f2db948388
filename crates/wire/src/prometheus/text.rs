//! Prometheus text format 0.0.4, read as Prometheus reads it. Definition: prometheus.io "Exposition formats"; where
//! that leaves room, Prometheus' own lexer (blanks anywhere between tokens, commas optional, free comments).

use kenning_model::{MetricKind, Millis};

use super::builder::Builder;
use super::cursor::{Cursor, Series};
use crate::error::Fault;

/// Reads one line; false at the end of the document.
pub(super) fn entry(cursor: &mut Cursor<'_>, builder: &mut Builder<'_>) -> Result<bool, Fault> {
    cursor.blanks();
    match cursor.peek() {
        None => return Ok(false),
        Some(b'\n') => cursor.skip_line(),
        Some(b'#') => comment(cursor, builder)?,
        Some(_) => sample(cursor, builder)?,
    }
    Ok(true)
}

fn comment(cursor: &mut Cursor<'_>, builder: &mut Builder<'_>) -> Result<(), Fault> {
    cursor.eat(b"#");
    if cursor.blanks() {
        let start = *cursor;
        for word in [b"HELP", b"TYPE"] {
            if cursor.eat(word) && cursor.blanks() {
                return metadata(cursor, builder, word == b"HELP");
            }
            *cursor = start;
        }
    }
    cursor.skip_line();
    Ok(())
}

fn metadata(cursor: &mut Cursor<'_>, builder: &mut Builder<'_>, help: bool) -> Result<(), Fault> {
    let metric = cursor.name_in_comment(true)?;
    // The byte after the name separates, whatever it is.
    let text = cursor.line().get(1..).unwrap_or_default();
    let text = cursor.text(text)?;
    if help {
        builder.help(metric, text, false);
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
    builder.kind(metric, kind);
    Ok(())
}

fn sample(cursor: &mut Cursor<'_>, builder: &mut Builder<'_>) -> Result<(), Fault> {
    let at = cursor.offset();
    let mut series = Series::new();
    if let Some(name) = cursor.metric_name() {
        series.name = Some(name.into());
        cursor.blanks();
    }
    if cursor.eat(b"{") {
        cursor.labels(&mut series, false)?;
    } else if series.name.is_none() {
        return Err(cursor.fault("has a line that starts with neither a metric name nor a comment"));
    }
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
    cursor.skip_line();
    builder.sample(series, value, time, None, at)
}
