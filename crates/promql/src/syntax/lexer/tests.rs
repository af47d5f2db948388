//! The token table of Prometheus's lexer.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;

/// The table; `None`, loudly, where the corpora are missing.
fn table() -> Option<Value> {
    let root = std::env::var_os("KENNING_CORPUS").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"));
    let path = root.join("promql/parser/lexer.json");
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).expect("corpus file is JSON")),
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a skipped test must be heard of")]
            {
                eprintln!("SKIPPED: {}: {error}; set KENNING_CORPUS to run this test", path.display());
            }
            None
        }
    }
}

/// Prometheus's name of a token.
fn name(token: &Token<'_>) -> String {
    let name = match token.kind {
        Kind::Aggregator(_) | Kind::Preprocessor(_) => return token.text.to_uppercase(),
        Kind::Keyword(_) => return token.text.to_uppercase(),
        // The lexer looks ahead for the parenthesis that makes these more than names.
        Kind::Identifier if ["start", "end", "step", "range"].contains(&token.text) => {
            return token.text.to_uppercase();
        }
        Kind::End => "EOF",
        Kind::Identifier => "IDENTIFIER",
        Kind::MetricIdentifier => "METRIC_IDENTIFIER",
        Kind::String => "STRING",
        Kind::Number => "NUMBER",
        Kind::Duration => "DURATION",
        Kind::LeftBrace => "LEFT_BRACE",
        Kind::RightBrace => "RIGHT_BRACE",
        Kind::LeftBracket => "LEFT_BRACKET",
        Kind::RightBracket => "RIGHT_BRACKET",
        Kind::LeftParen => "LEFT_PAREN",
        Kind::RightParen => "RIGHT_PAREN",
        Kind::Comma => "COMMA",
        Kind::Colon => "COLON",
        Kind::Assign => "EQL",
        Kind::Matches => "EQL_REGEX",
        Kind::NotMatches => "NEQ_REGEX",
        Kind::Add => "ADD",
        Kind::Sub => "SUB",
        Kind::Mul => "MUL",
        Kind::Div => "DIV",
        Kind::Mod => "MOD",
        Kind::Pow => "POW",
        Kind::Equal => "EQLC",
        Kind::NotEqual => "NEQ",
        Kind::Less => "LSS",
        Kind::LessEqual => "LTE",
        Kind::Greater => "GTR",
        Kind::GreaterEqual => "GTE",
        Kind::TrimUpper => "TRIM_UPPER",
        Kind::TrimLower => "TRIM_LOWER",
        Kind::At => "AT",
        Kind::And => "LAND",
        Kind::Or => "LOR",
        Kind::Unless => "LUNLESS",
        Kind::Atan2 => "ATAN2",
    };
    name.to_owned()
}

/// Kind, place and text of each token, or the error's text.
fn tokens(input: &str) -> Result<Vec<(String, u64, String)>, String> {
    let (mut lexer, mut found) = (Lexer::new(input), Vec::new());
    loop {
        let token = lexer.next().map_err(|error| error.message)?;
        if token.kind == Kind::End {
            return Ok(found);
        }
        found.push((name(&token), token.start as u64, token.text.to_owned()));
    }
}

#[test]
fn tokens_are_those_of_prometheus() {
    let Some(table) = table() else { return };
    let (mut total, mut differences) = (0, Vec::new());
    for case in table.as_array().into_iter().flatten().flat_map(|suite| suite["tests"].as_array()).flatten() {
        // Series descriptions are read without tokens, and comments are blank.
        let (Some(input), false) = (case["input"].as_str(), case["seriesDesc"] == true) else { continue };
        let Some(expected) = case["expected"].as_array() else { continue };
        total += 1;
        let expected: Vec<(String, u64, String)> = expected
            .iter()
            .map(|token| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                (text(&token[0]["_id"]), token[1].as_u64().unwrap_or(0), text(&token[2]))
            })
            .filter(|(name, ..)| name != "COMMENT")
            .collect();
        let found = tokens(input);
        if found.as_ref() != Ok(&expected) {
            differences.push(format!("{input}\n   expected {expected:?}\n   got      {found:?}"));
        }
    }
    assert!(total > 20, "only {total} cases");
    assert!(differences.is_empty(), "{} of {total}:\n{}", differences.len(), differences.join("\n"));
}
