//! Error texts as Loki's API writes them, for clients that read them.

use kenning_query::Diagnostic;

/// Errors about how the text is written have a place; errors about what it means have none.
const PLACED: [&str; 3] = ["syntax error", "literal not terminated", "invalid char escape"];
/// Errors about `[...]`, for which Loki's scanner has lost count of the lines.
const IN_RANGE: [&str; 4] =
    ["missing closing ']'", "not a valid duration string", "empty duration string", "duration out of range"];

/// The text of the first error: `parse error at line 1, col 9: ...`, or `parse error : ...` for errors of meaning.
/// Columns count characters.
#[must_use]
pub fn error_text(query: &str, errors: &[Diagnostic]) -> String {
    let Some(first) = errors.first() else { return "parse error : invalid query".to_owned() };
    let message = &first.message;
    let is = |starts: &[&str]| starts.iter().any(|start| message.starts_with(start));
    let before = query.get(..first.span.start as usize).unwrap_or(query);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
    if is(&PLACED) {
        let line = before.matches('\n').count() + 1;
        format!("parse error at line {line}, col {column}: {message}")
    } else if is(&IN_RANGE) {
        format!("parse error at line 0, col {column}: {message}")
    } else {
        format!("parse error : {message}")
    }
}
