//! Cuts a query into tokens.
//!
//! Keywords are case-insensitive. Names of functions are keywords only in front of `(`, or of `by (` and
//! `without (`, so that labels may be called `rate` or `count`.

use kenning_gotext::{duration, quote, size};
use kenning_query::{Diagnostic, SourceSpan};

use super::number;

/// What a token is, with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tok {
    /// End of the query.
    End,
    /// A name.
    Ident(String),
    /// A quoted text, unquoted.
    Str(String),
    /// A number, as written.
    Number(String),
    /// A duration in nanoseconds.
    Duration(i64),
    /// A duration in brackets, in nanoseconds.
    Range(i64),
    /// A size in bytes.
    Bytes(u64),
    /// `--strict` or `--keep-empty`.
    Flag(&'static str),
    /// A function's name in front of its arguments.
    Func(&'static str),
    /// Punctuation, an operator or a keyword.
    Sym(&'static str),
}

/// A token and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) tok: Tok,
    pub(crate) span: SourceSpan,
}

/// Longest first, so that the first match is the right one.
const OPERATORS: [&str; 27] = [
    "=~", "!~", "!>", "!=", "|=", "|~", "|>", "==", ">=", "<=", ",", ".", "{", "}", "=", "|", "(", ")", "]",
    "+", "-", "*", "/", "%", "^", ">", "<",
];

const KEYWORDS: [&str; 22] = [
    "unwrap",
    "by",
    "without",
    "bool",
    "offset",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "or",
    "and",
    "unless",
    "json",
    "regexp",
    "logfmt",
    "unpack",
    "pattern",
    "label_format",
    "line_format",
    "decolorize",
    "drop",
    "keep",
];

/// Names of functions; those of conversions and `ip` among them.
pub(crate) const FUNCTIONS: [&str; 33] = [
    "rate",
    "rate_counter",
    "count_over_time",
    "bytes_rate",
    "bytes_over_time",
    "avg_over_time",
    "sum_over_time",
    "min_over_time",
    "max_over_time",
    "stdvar_over_time",
    "stddev_over_time",
    "quantile_over_time",
    "first_over_time",
    "last_over_time",
    "absent_over_time",
    "vector",
    "sum",
    "avg",
    "max",
    "min",
    "count",
    "stddev",
    "stdvar",
    "bottomk",
    "topk",
    "sort",
    "sort_desc",
    "approx_topk",
    "bytes",
    "duration",
    "duration_seconds",
    "ip",
    "label_replace",
];

/// Letters of which units of durations are made; `µ` is the micro sign, not the Greek letter.
const DURATION_UNITS: &str = "nu\u{b5}mshdwy";

const FLAGS: [&str; 2] = ["--strict", "--keep-empty"];

impl Tok {
    /// The name that Loki's error texts use.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::End => "$end".to_owned(),
            Self::Ident(_) => "IDENTIFIER".to_owned(),
            Self::Str(_) => "STRING".to_owned(),
            Self::Number(_) => "NUMBER".to_owned(),
            Self::Duration(_) => "DURATION".to_owned(),
            Self::Range(_) => "RANGE".to_owned(),
            Self::Bytes(_) => "BYTES".to_owned(),
            Self::Flag(_) => "FUNCTION_FLAG".to_owned(),
            Self::Func("ip") => "ip".to_owned(),
            Self::Func("bytes") => "BYTES_CONV".to_owned(),
            Self::Func("duration") => "DURATION_CONV".to_owned(),
            Self::Func("duration_seconds") => "DURATION_SECONDS_CONV".to_owned(),
            Self::Func(name) => name.to_uppercase(),
            Self::Sym(text) => (*text).to_owned(),
        }
    }
}

/// A query in tokens.
#[derive(Debug)]
pub(crate) struct Lexed {
    /// The tokens, the last of them [`Tok::End`]. Behind a text that could not be read there is nothing more.
    pub(crate) tokens: Vec<Token>,
    /// The first mistake and the place of the token that has it.
    pub(crate) fault: Option<Diagnostic>,
}

/// Cuts a query into tokens. Reading goes on behind a mistake where it can, because a mistake of grammar further to the
/// left is to be told first.
pub(crate) fn tokens(source: &str) -> Lexed {
    // A byte order mark is no part of the text.
    let at = if source.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut lexer = Lexer { source, at, fault: None };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next();
        let done = token.tok == Tok::End;
        tokens.push(token);
        if done {
            return Lexed { tokens, fault: lexer.fault };
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    fault: Option<Diagnostic>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or("")
    }

    fn next(&mut self) -> Token {
        self.skip_space();
        let start = self.at;
        let tok = match self.rest().chars().next() {
            None => Tok::End,
            Some('"') => self.quoted(),
            Some('`') => self.raw(),
            Some('\'') => self.character(),
            Some('[') => self.range(),
            Some(c) if c.is_ascii_digit() => self.number(),
            Some('.') if self.rest().chars().nth(1).is_some_and(|c| c.is_ascii_digit()) => self.number(),
            Some(c) if c == '_' || c.is_alphabetic() => self.word(),
            Some('-') => self.minus(),
            Some(c) => self.operator(c),
        };
        Token { tok, span: SourceSpan::new(start, self.at) }
    }

    /// Skips white space and comments: `#` and `//` up to the end of the line, `/*` up to `*/`.
    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with('#') || trimmed.starts_with("//") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if let Some(body) = trimmed.strip_prefix("/*") {
                let start = self.at;
                self.at += body.find("*/").map_or(trimmed.len(), |end| end + 4);
                if !body.contains("*/") {
                    self.complain(start, "comment not terminated", "close the comment with */");
                }
            } else {
                return;
            }
        }
    }

    /// Notes a mistake of the token that starts at `start`, unless there is one already.
    fn complain(&mut self, start: usize, message: impl Into<String>, hint: &str) {
        if self.fault.is_none() {
            let span = SourceSpan::new(start, self.at.max(start));
            self.fault = Some(Diagnostic::error(span, message).with_hint(hint));
        }
    }

    /// Notes a mistake behind which there is no telling where the next token starts.
    fn give_up(&mut self, start: usize, message: impl Into<String>, hint: &str) -> Tok {
        self.complain(start, message, hint);
        self.at = self.source.len();
        Tok::End
    }

    fn quoted(&mut self) -> Tok {
        let (start, body) = (self.at, self.rest().get(1..).unwrap_or(""));
        let hint = "close the text with \" and write \\\\ for a backslash, or put the text into backquotes";
        let end = match closing(body, '"') {
            Ok(end) => end,
            Err(message) => return self.give_up(start, message, hint),
        };
        self.at += end + 2;
        match quote::unescape(body.get(..end).unwrap_or(""), '"') {
            Some(text) => Tok::Str(text),
            None => self.give_up(start, "invalid char escape", hint),
        }
    }

    fn raw(&mut self) -> Tok {
        let (start, body) = (self.at, self.rest().get(1..).unwrap_or(""));
        let Some(end) = body.find('`') else {
            return self.give_up(start, "literal not terminated", "close the text with `");
        };
        self.at += end + 2;
        // Carriage returns stay, unlike in Go: Prometheus' unquoting, which Loki uses, keeps them.
        Tok::Str(body.get(..end).unwrap_or("").to_owned())
    }

    /// A Go character, which the grammar has no use for: it is read as the name it is not.
    fn character(&mut self) -> Tok {
        let (start, body) = (self.at, self.rest().get(1..).unwrap_or(""));
        let end = match closing(body, '\'') {
            Ok(end) => end,
            Err(message) => return self.give_up(start, message, "put texts into \" or `"),
        };
        self.at += end + 2;
        let inner = body.get(..end).unwrap_or("");
        if quote::unescape(inner, '\'').is_none_or(|text| text.chars().count() != 1) {
            self.complain(start, "invalid char literal", "put texts into \" or `");
        }
        Tok::Ident(self.source.get(start..self.at).unwrap_or("").to_owned())
    }

    fn range(&mut self) -> Tok {
        let (start, body) = (self.at, self.rest().get(1..).unwrap_or(""));
        let hint = "write a duration such as 5m or 1h30m";
        let Some(end) = body.find(']') else {
            return self.give_up(start, "missing closing ']' in duration", hint);
        };
        self.at += end + 2;
        match duration::parse_prometheus(body.get(..end).unwrap_or("")) {
            Ok(nanos) => Tok::Range(nanos),
            Err(message) => {
                let end = self.at;
                let tok = self.give_up(start, message, hint);
                self.at = end.max(self.at);
                tok
            }
        }
    }

    /// A number with what follows it, if that makes a duration or a size.
    fn number(&mut self) -> Tok {
        let (start, rest) = (self.at, self.rest());
        let (number_len, mistake) = number::scan(rest);
        if let Some(mistake) = mistake {
            self.at += number_len;
            self.complain(start, mistake, "write the number in decimal");
            self.at = start;
        }
        let tail = rest.get(number_len..).unwrap_or("");
        if let Some(len) = unit_len(tail, |c| DURATION_UNITS.contains(c)) {
            let text = rest.get(..number_len + len).unwrap_or("");
            if let Ok(nanos) = duration::parse_prometheus(text).or_else(|_| duration::parse_go(text)) {
                self.at += text.len();
                return Tok::Duration(nanos);
            }
        }
        if let Some(len) = unit_len(tail, |c| "BikKMGTP".contains(c)) {
            let text = rest.get(..number_len + len).unwrap_or("");
            if let Ok(bytes) = size::parse(text) {
                self.at += text.len();
                return Tok::Bytes(bytes);
            }
        }
        self.at += number_len;
        Tok::Number(rest.get(..number_len).unwrap_or("").to_owned())
    }

    /// A flag, a negative duration or the operator.
    fn minus(&mut self) -> Tok {
        let rest = self.rest();
        let flag_len = rest.find(|c: char| c != '-' && !c.is_alphabetic()).unwrap_or(rest.len());
        let word = rest.get(..flag_len).unwrap_or("");
        if let Some(flag) = FLAGS.iter().find(|flag| **flag == word) {
            self.at += flag.len();
            return Tok::Flag(flag);
        }
        let tail = rest.get(1..).unwrap_or("");
        if let Some(len) = unit_len(tail, |c| DURATION_UNITS.contains(c))
            && let Some(text) = rest.get(..=len)
            && let Ok(nanos) = duration::parse_go(text)
        {
            self.at += text.len();
            return Tok::Duration(nanos);
        }
        self.at += 1;
        Tok::Sym("-")
    }

    fn word(&mut self) -> Tok {
        let rest = self.rest();
        let len = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
        let word = rest.get(..len).unwrap_or("");
        self.at += len;
        let lower = word.to_lowercase();
        let named = |names: &[&'static str]| names.iter().find(|name| **name == lower).copied();
        if let Some(name) = named(&FUNCTIONS) {
            return match is_call(self.rest()) {
                true if name == "label_replace" => Tok::Sym(name),
                true => Tok::Func(name),
                false => Tok::Ident(word.to_owned()),
            };
        }
        match named(&KEYWORDS) {
            Some(keyword) => Tok::Sym(keyword),
            None => Tok::Ident(word.to_owned()),
        }
    }

    /// An operator. A character that is none is a name of its own, as in Loki's lexer.
    fn operator(&mut self, first: char) -> Tok {
        let rest = self.rest();
        if let Some(operator) = OPERATORS.iter().find(|op| rest.starts_with(**op)) {
            self.at += operator.len();
            return Tok::Sym(operator);
        }
        self.at += first.len_utf8();
        Tok::Ident(first.to_string())
    }
}

/// Where the quotation mark stands that ends a text with escapes.
fn closing(body: &str, mark: char) -> Result<usize, &'static str> {
    let mut escape = false;
    for (at, c) in body.char_indices() {
        match c {
            c if escape && !(c == mark || "abfnrtv\\01234567xuU".contains(c)) => {
                return Err("invalid char escape");
            }
            '\n' => break,
            c if c == mark && !escape => return Ok(at),
            _ => escape = c == '\\' && !escape,
        }
    }
    Err("literal not terminated")
}

/// True when what follows a function's name makes it one: `(`, or `by (`, or `without (`.
fn is_call(rest: &str) -> bool {
    let rest = rest.trim_start();
    if rest.starts_with('(') {
        return true;
    }
    ["by", "without"].iter().any(|word| {
        rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
            && rest.get(word.len()..).is_some_and(|after| after.trim_start().starts_with('('))
    })
}

/// How far a run of digits, points and unit letters goes; `None` when it is empty.
fn unit_len(text: &str, is_unit: impl Fn(char) -> bool) -> Option<usize> {
    let len = text.find(|c: char| !(c.is_numeric() || c == '.' || is_unit(c))).unwrap_or(text.len());
    (len > 0).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expect: &str) {
        let lexed = tokens(source);
        let names: Vec<String> = lexed.tokens.iter().map(|t| t.tok.name()).collect();
        let got = lexed.fault.map_or_else(|| names.join(" "), |fault| fault.message);
        assert_eq!(got, expect, "{source}");
    }

    #[test]
    fn words_are_functions_only_where_called() {
        check("rate({", "RATE ( { $end");
        check("sum by (a)", "SUM by ( IDENTIFIER ) $end");
        check("sum bye", "IDENTIFIER IDENTIFIER $end");
        check("{rate=`x`} # y", "{ IDENTIFIER = STRING } $end");
        check("SUM(Rate(", "SUM ( RATE ( $end");
        check("label_replace ip", "IDENTIFIER IDENTIFIER $end");
    }

    #[test]
    fn numbers_durations_and_sizes() {
        check("123KB 123PiB 1.5ms 1h0.0m0s", "BYTES BYTES DURATION DURATION $end");
        check("34 + -123", "NUMBER + - NUMBER $end");
        check("34+-123", "NUMBER + - NUMBER $end");
        check("-123ms --strict --what", "DURATION FUNCTION_FLAG - - IDENTIFIER $end");
        check("0x1P3 0b01 .5 1e3 1mb", "NUMBER NUMBER NUMBER NUMBER DURATION IDENTIFIER $end");
        check("[5m] [1w2d]", "RANGE RANGE $end");
        check("1\u{b5}s 1\u{3bc}s", "DURATION NUMBER IDENTIFIER $end");
    }

    #[test]
    fn comments() {
        check("1 // 2\n3 /* 4 */ 5 # 6", "NUMBER NUMBER NUMBER $end");
        check("1 /* 2", "comment not terminated");
        check("#\r\n1", "NUMBER $end");
    }

    #[test]
    fn what_cannot_be_a_token() {
        check("{a=\"b", "literal not terminated");
        check("{a=\"b\n\"}", "literal not terminated");
        check("{a=\"\\q\"}", "invalid char escape");
        check("rate(x[5", "missing closing ']' in duration");
        check("[5x]", "unknown unit \"x\" in duration \"5x\"");
        check("'ab'", "invalid char literal");
        check("'a' ? \u{a0}", "IDENTIFIER IDENTIFIER IDENTIFIER $end");
    }
}
