//! Error texts as Loki's API writes them, for clients that read them.

use kenning_query::Diagnostic;

use super::lexer::{self, Tok, Token};

/// The text of the first error: `parse error at line 1, col 9: ...`, or `parse error : ...` for errors of meaning.
/// Columns count characters.
#[must_use]
pub fn error_text(query: &str, errors: &[Diagnostic]) -> String {
    let Some(first) = errors.first() else { return "parse error : invalid query".to_owned() };
    let message = &first.message;
    let lexed = lexer::tokens(query);
    let in_lexer = lexed
        .fault
        .as_ref()
        .is_some_and(|fault| fault.span.start == first.span.start && fault.message == *message);
    if query.is_empty() || !in_lexer && !message.starts_with("syntax error") {
        // Errors of meaning have no place, and an empty text has none to point at.
        return format!("parse error : {message}");
    }
    let before = query.get(..first.span.start as usize).unwrap_or(query);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
    let rest = query.get(before.len()..).unwrap_or("");
    let token = lexed.tokens.iter().find(|token| token.span.start == first.span.start);
    let lost = if in_lexer { rest.starts_with('[') } else { token.is_some_and(loses_line) };
    let line = if lost { 0 } else { before.matches('\n').count() + 1 };
    format!("parse error at line {line}, col {column}: {message}")
}

/// True for tokens that Loki's lexer completes by hand, for which its scanner forgets the line.
fn loses_line(token: &Token) -> bool {
    match token.tok {
        Tok::Duration(_) | Tok::Bytes(_) | Tok::Range(_) | Tok::Flag(_) => true,
        Tok::Sym(text) => text.len() == 2 && !text.starts_with(char::is_alphabetic),
        _ => false,
    }
}
