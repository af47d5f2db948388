//! Text tables, and text from strangers made safe for a terminal.

use std::io::{self, Write};

/// Prints rows under a head, columns as wide as they need to be.
pub(crate) fn print(head: &[&str], rows: &[Vec<String>]) {
    let widths: Vec<usize> = (0..head.len()).map(|column| width(head, rows, column)).collect();
    print_row(head.iter().map(|text| (*text).to_owned()), &widths);
    for row in rows {
        print_row(row.iter().map(|text| plain(text)), &widths);
    }
}

/// Prints comma-separated values (RFC 4180).
pub(super) fn print_csv(head: &[&str], rows: &[Vec<String>]) {
    println!("{}", head.join(","));
    // Whoever reads the output may have had enough.
    let _ = print_csv_rows(rows);
}

/// Prints more rows of comma-separated values.
pub(super) fn print_csv_rows(rows: &[Vec<String>]) -> io::Result<()> {
    let cell = |text: &str| match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let mut out = io::stdout().lock();
    for row in rows {
        writeln!(out, "{}", row.iter().map(|text| cell(text)).collect::<Vec<_>>().join(","))?;
    }
    out.flush()
}

fn width(head: &[&str], rows: &[Vec<String>], column: usize) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(column)).map(|text| plain(text).chars().count());
    cells.chain(head.get(column).map(|text| text.chars().count())).max().unwrap_or(0)
}

fn print_row(cells: impl Iterator<Item = String>, widths: &[usize]) {
    let padded: Vec<String> = cells.zip(widths).map(|(text, width)| format!("{text:<width$}")).collect();
    println!("{}", padded.join("  ").trim_end());
}

/// Characters that control, reorder or hide as escapes: what is stored may not act on the terminal or deceive its reader.
pub(crate) fn plain(text: &str) -> String {
    let deceives = |c: char| matches!(c, '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}');
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if (c.is_control() && c != '\t') || deceives(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// `{a="1", b="2"}` of a JSON object of labels, the metric's name in front.
pub(crate) fn labels(metric: &serde_json::Value) -> String {
    let pairs = metric.as_object().into_iter().flatten();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut name = String::new();
    let mut inside = Vec::new();
    for (key, value) in pairs {
        if key == "__name__" { name = text(value) } else { inside.push(format!("{key}={:?}", text(value))) }
    }
    if inside.is_empty() && !name.is_empty() { name } else { format!("{name}{{{}}}", inside.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stored_reaches_the_terminal_as_a_command() {
        assert_eq!(plain("a\u{1b}[31mb\u{202e}c\td"), "a\\u{1b}[31mb\\u{202e}c\td");
        assert_eq!(plain("ad\u{200b}min\u{e0041}"), "ad\\u{200b}min\\u{e0041}");
    }

    #[test]
    fn labels_read_as_promql() {
        let metric = serde_json::json!({"__name__": "up", "job": "a\"b"});
        assert_eq!(labels(&metric), "up{job=\"a\\\"b\"}");
        assert_eq!(labels(&serde_json::json!({})), "{}");
    }
}
