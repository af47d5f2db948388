//! Tokens and durations.

use serde_json::Value as Json;

use super::{Tally, items, json, text};
use crate::syntax::lexer::{Tok, tokens};

/// The constant of Loki's grammar for a token.
fn constant(tok: &Tok) -> String {
    let name = tok.name();
    let known = match name.as_str() {
        "{" => "OPEN_BRACE",
        "}" => "CLOSE_BRACE",
        "(" => "OPEN_PARENTHESIS",
        ")" => "CLOSE_PARENTHESIS",
        "," => "COMMA",
        "." => "DOT",
        "=" => "EQ",
        "!=" => "NEQ",
        "=~" => "RE",
        "!~" => "NRE",
        "!>" => "NPA",
        "|=" => "PIPE_EXACT",
        "|~" => "PIPE_MATCH",
        "|>" => "PIPE_PATTERN",
        "|" => "PIPE",
        "==" => "CMP_EQ",
        ">" => "GT",
        ">=" => "GTE",
        "<" => "LT",
        "<=" => "LTE",
        "+" => "ADD",
        "-" => "SUB",
        "*" => "MUL",
        "/" => "DIV",
        "%" => "MOD",
        "^" => "POW",
        "label_format" => "LABEL_FMT",
        "line_format" => "LINE_FMT",
        name => return name.to_uppercase(),
    };
    known.to_owned()
}

#[test]
fn queries_are_cut_as_by_loki() {
    let Some(cases) = json("syntax/lexer.json") else { return };
    let mut tally = Tally::new("lexer", &[]);
    for case in items(&cases) {
        let got: Vec<String> = tokens(text(&case["input"]))
            .tokens
            .iter()
            .filter(|token| token.tok != Tok::End)
            .map(|token| constant(&token.tok))
            .collect();
        let want: Vec<String> =
            items(&case["expected"]).iter().map(|id| text(&id["_id"]).to_owned()).collect();
        tally.equal(text(&case["input"]), got, want);
    }
    tally.settle();
}

#[test]
fn durations_are_read_as_by_loki() {
    let Some(cases) = json("syntax/durations.json") else { return };
    let mut tally = Tally::new("durations", &[]);
    for case in items(&cases) {
        let lexed = tokens(text(&case["input"]));
        let got = lexed.tokens.first().map(|token| token.tok.clone());
        tally.equal(text(&case["input"]), got, case["expected"].as_i64().map(Tok::Duration));
    }
    tally.settle();
}

#[test]
fn errors_are_placed_as_by_loki() {
    let Some(cases) = json("syntax/parse.json") else { return };
    let mut tally = Tally::new("places of errors", &[]);
    for case in items(&cases).iter().filter(|case| case["ok"] == false) {
        let Some(query) = case["query"].as_str() else { continue };
        let number = |json: &Json| json.as_i64().unwrap_or(0);
        let (line, column) = (number(&case["err_line"]), number(&case["err_col"]));
        let place =
            if line == 0 && column == 0 { " ".to_owned() } else { format!(" at line {line}, col {column}") };
        let got = crate::parse(query).map_err(|errors| crate::error_text(query, &errors)).err();
        tally.equal(query, got.map(|text| text.starts_with(&format!("parse error{place}:"))), Some(true));
    }
    tally.settle();
}
