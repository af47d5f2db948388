//! What may stand at a place of an unfinished query, for editors. A pure function of the text: names of labels and their
//! values are for the editor to look up, with the selector that is told.
//!
//! Lacking: what a parser will find in lines (an editor asks `detected_fields`), and types: functions are offered wherever an
//! expression may start.

use crate::syntax::advice::STAGES;
use crate::syntax::lexer::{FUNCTIONS, Tok, Token, tokens};

/// What may stand at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A function or an aggregation, by the names of [`functions`], or a selector.
    Functions,
    /// A label of streams; `selector` has the matchers that are there already, if there are any.
    Labels {
        /// The selector so far, whole: `{app="a"}`.
        selector: Option<String>,
    },
    /// A value of a stream's label.
    Values {
        /// The label.
        label: String,
        /// The selector so far, without this label.
        selector: Option<String>,
    },
    /// A label of lines: of their stream, their metadata or what a parser finds.
    Fields {
        /// The selector and pipeline so far.
        query: Option<String>,
    },
    /// A duration.
    Durations,
    /// One of these words.
    Words(&'static [&'static str]),
}

/// What may stand at a place, and what would be replaced by it (in bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Where the word begins that is being written.
    pub from: usize,
    /// Where it ends.
    pub to: usize,
    /// What may stand there; empty: nothing to offer.
    pub expects: Vec<Expect>,
}

const MATCHES: &[&str] = &["=", "!=", "=~", "!~"];
const BEHIND_LINES: &[&str] = &["|=", "!=", "|~", "!~", "|>", "!>", "|"];
const BEHIND_EXPRESSION: &[&str] =
    &["by", "without", "+", "-", "*", "/", "%", "^", "==", "!=", ">", ">=", "<", "<=", "and", "or", "unless"];

/// Names of all functions and aggregations.
pub fn functions() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.into_iter().filter(|name| !matches!(*name, "ip" | "bytes" | "duration" | "duration_seconds"))
}

/// What may stand at byte `offset` of `text`.
#[must_use]
pub fn complete(text: &str, offset: usize) -> Completion {
    let offset = (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let before = text.get(..offset).unwrap_or("");
    let lexed = tokens(before);
    let mut read: Vec<&Token> = lexed.tokens.iter().filter(|token| token.tok != Tok::End).collect();
    // A text or a duration that is not closed yet is what is being written.
    let open = lexed.fault.as_ref().map(|fault| fault.span.start as usize);
    let opened = open.and_then(|at| before.get(at..)).and_then(|rest| rest.chars().next());
    if let Some(at) = open {
        read.retain(|token| (token.span.start as usize) < at);
    }
    let (from, expects) = match (opened, open) {
        (Some('['), Some(at)) => (at + 1, vec![Expect::Durations]),
        (Some('"' | '`'), Some(at)) => (at + 1, quoted(before, &read)),
        (Some(_), _) => (offset, Vec::new()),
        _ => {
            let from = read.last().filter(|last| is_word(last) && last.span.end as usize == offset);
            let from = from.map_or(offset, |last| last.span.start as usize);
            read.retain(|token| (token.span.start as usize) < from);
            (from, expected(before, &read))
        }
    };
    let word = |c: char| c == '_' || c.is_alphanumeric();
    let rest = text.get(offset..).unwrap_or("");
    let to = offset + rest.find(|c| !word(c)).unwrap_or(rest.len());
    Completion { from, to, expects }
}

fn is_word(token: &Token) -> bool {
    match &token.tok {
        Tok::Ident(_) | Tok::Func(_) => true,
        Tok::Sym(text) => text.starts_with(char::is_alphabetic),
        _ => false,
    }
}

fn is(token: Option<&&Token>, symbols: &[&str]) -> bool {
    token.is_some_and(|token| matches!(token.tok, Tok::Sym(text) if symbols.contains(&text)))
}

/// The opening bracket that is not closed yet, of either kind, and its index.
fn innermost<'t>(read: &[&'t Token]) -> Option<(usize, &'t Token)> {
    let mut depth = 0usize;
    for (index, token) in read.iter().enumerate().rev() {
        match token.tok {
            Tok::Sym(")" | "}") => depth += 1,
            Tok::Sym("(" | "{") if depth == 0 => return Some((index, token)),
            Tok::Sym("(" | "{") => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The matchers that are whole, as a selector.
fn selector(text: &str, brace: usize, read: &[&Token]) -> Option<String> {
    let start = read.get(brace)?.span.start as usize;
    let last = read.iter().skip(brace).rev().find(|token| matches!(token.tok, Tok::Str(_)))?;
    text.get(start..last.span.end as usize).map(|matchers| format!("{matchers}}}"))
}

/// What may stand in a text that has been opened.
fn quoted(text: &str, read: &[&Token]) -> Vec<Expect> {
    let Some((brace, Token { tok: Tok::Sym("{"), .. })) = innermost(read) else { return Vec::new() };
    match read {
        [.., Token { tok: Tok::Ident(label), .. }, op] if is(Some(op), MATCHES) => {
            let label = label.clone();
            vec![Expect::Values { label, selector: selector(text, brace, read) }]
        }
        _ => Vec::new(),
    }
}

fn expected(text: &str, read: &[&Token]) -> Vec<Expect> {
    let last = read.last();
    let inside = innermost(read);
    if let Some((brace, Token { tok: Tok::Sym("{"), .. })) = inside {
        return match last.map(|token| &token.tok) {
            Some(Tok::Sym("{" | ",")) => vec![Expect::Labels { selector: selector(text, brace, read) }],
            Some(Tok::Ident(_)) => vec![Expect::Words(MATCHES)],
            Some(Tok::Str(_)) => vec![Expect::Words(&[",", "}"])],
            _ => Vec::new(),
        };
    }
    let grouping = inside.and_then(|(index, _)| index.checked_sub(1)).and_then(|before| read.get(before));
    if is(grouping, &["by", "without", "on", "ignoring", "group_left", "group_right"]) {
        return vec![fields(text, read)];
    }
    match last.map(|token| &token.tok) {
        Some(Tok::Sym("|")) => vec![Expect::Words(STAGES), fields(text, read)],
        Some(Tok::Sym("by" | "without" | "on" | "ignoring")) => vec![Expect::Words(&["("])],
        Some(Tok::Sym("unwrap")) => {
            vec![fields(text, read), Expect::Words(&["bytes", "duration", "duration_seconds"])]
        }
        Some(Tok::Sym("drop" | "keep" | "label_format")) => vec![fields(text, read)],
        Some(Tok::Sym("offset")) => vec![Expect::Durations],
        Some(Tok::Sym("json" | "logfmt" | "unpack" | "decolorize" | "}") | Tok::Str(_) | Tok::Flag(_)) => {
            vec![Expect::Words(BEHIND_LINES)]
        }
        Some(Tok::Range(_)) => vec![Expect::Words(&["offset", "|"])],
        Some(Tok::Sym(")") | Tok::Number(_)) => vec![Expect::Words(BEHIND_EXPRESSION)],
        None | Some(Tok::Sym(_)) => vec![Expect::Functions],
        _ => Vec::new(),
    }
}

/// Labels of the lines of the last selector, with the stages behind it that are whole.
fn fields(text: &str, read: &[&Token]) -> Expect {
    let brace = read.iter().rposition(|token| token.tok == Tok::Sym("{"));
    let end = read.iter().rposition(|token| token.tok == Tok::Sym("|")).filter(|bar| Some(*bar) > brace);
    let close = read.iter().rposition(|token| token.tok == Tok::Sym("}"));
    let stop = match (end, close) {
        (Some(bar), _) => read.get(bar).map(|token| token.span.start),
        (None, Some(close)) => read.get(close).map(|token| token.span.end),
        (None, None) => None,
    };
    let start = brace.and_then(|brace| read.get(brace)).map(|token| token.span.start);
    let query = start.zip(stop).and_then(|(start, stop)| text.get(start as usize..stop as usize));
    Expect::Fields { query: query.map(|query| query.trim().to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `‸` stands for the cursor.
    fn check(text: &str, word: &str, expect: &[Expect]) {
        let at = text.find('‸').unwrap();
        let text = text.replace('‸', "");
        let found = complete(&text, at);
        assert_eq!((&text[found.from..found.to], found.expects.as_slice()), (word, expect), "{text}");
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn selectors() {
        check("‸", "", &[Expect::Functions]);
        check("{‸", "", &[Expect::Labels { selector: None }]);
        check("{ap‸p", "app", &[Expect::Labels { selector: None }]);
        check(r#"{a="b", c‸"#, "c", &[Expect::Labels { selector: some(r#"{a="b"}"#) }]);
        check("{app ‸", "", &[Expect::Words(MATCHES)]);
        check(r#"{app="x‸"#, "x", &[Expect::Values { label: "app".into(), selector: None }]);
        check(
            r#"sum(rate({a="b", app=~`‸"#,
            "",
            &[Expect::Values { label: "app".into(), selector: some(r#"{a="b"}"#) }],
        );
        check(r#"{app="x" ‸"#, "", &[Expect::Words(&[",", "}"])]);
    }

    #[test]
    fn pipelines() {
        check(r#"{a="b"} ‸"#, "", &[Expect::Words(BEHIND_LINES)]);
        check(r#"{a="b"} |= "x‸"#, "x", &[]);
        let fields = |query: &str| Expect::Fields { query: some(query) };
        check(r#"{a="b"} | js‸"#, "js", &[Expect::Words(STAGES), fields(r#"{a="b"}"#)]);
        check(r#"{a="b"} | json | drop ‸"#, "", &[fields(r#"{a="b"} | json"#)]);
        check(r#"{a="b"} | json ‸"#, "", &[Expect::Words(BEHIND_LINES)]);
    }

    #[test]
    fn metrics() {
        check("su‸", "su", &[Expect::Functions]);
        check("sum(‸", "", &[Expect::Functions]);
        check(r#"rate({a="b"}[‸"#, "", &[Expect::Durations]);
        check(r#"rate({a="b"}[5m]‸)"#, "", &[Expect::Words(&["offset", "|"])]);
        check(r#"rate({a="b"}[5m] offset ‸"#, "", &[Expect::Durations]);
        let fields = Expect::Fields { query: some(r#"{a="b"}"#) };
        check(r#"sum by (‸"#, "", &[Expect::Fields { query: None }]);
        check(r#"sum(rate({a="b"}[5m])) by (x‸"#, "x", &[fields]);
        check(r#"sum(rate({a="b"}[5m])) ‸"#, "", &[Expect::Words(BEHIND_EXPRESSION)]);
        check(r#"sum(rate({a="b"}[5m])) / ‸"#, "", &[Expect::Functions]);
    }

    #[test]
    fn any_place_of_any_text() {
        let text = "sum by (é) (rate({a=\"b\", c=~`d|{{` | json x=\"y[0]\" |> '[5m] /* ) + 1 # x";
        for at in 0..=text.len() + 3 {
            let found = complete(text, at);
            assert!(found.from <= found.to && text.get(found.from..found.to).is_some(), "{at}");
        }
    }
}
