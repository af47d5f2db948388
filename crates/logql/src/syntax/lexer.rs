//! Cuts a query into tokens.
//!
//! Keywords are case-insensitive. Names of functions are keywords only in front of `(`, or of `by (` and
//! `without (`, so that labels may be called `rate` or `count`.

use kenning_query::{Diagnostic, SourceSpan};

use kenning_query::text::{duration, quote, size};

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
const OPERATORS: [&str; 29] = [
    "=~", "!~", "!>", "!=", "|=", "|~", "|>", "==", ">=", "<=", ",", ".", "{", "}", "=", "|", "(", ")", "]",
    "+", "-", "*", "/", "%", "^", ">", "<", "[", "!",
];

const KEYWORDS: [&str; 23] = [
    "unwrap",
    "by",
    "without",
    "bool",
    "label_replace",
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

const FUNCTIONS: [&str; 33] = [
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

/// All tokens of a query, the last of them [`Tok::End`].
pub(crate) fn tokens(source: &str) -> Result<Vec<Token>, Diagnostic> {
    let mut lexer = Lexer { source, at: 0 };
    let mut out = Vec::new();
    loop {
        let token = lexer.next()?;
        let done = token.tok == Tok::End;
        out.push(token);
        if done {
            return Ok(out);
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or("")
    }

    fn next(&mut self) -> Result<Token, Diagnostic> {
        self.skip_space();
        let start = self.at;
        let tok = match self.rest().chars().next() {
            None => Tok::End,
            Some('"') => self.quoted()?,
            Some('`') => self.raw()?,
            Some('[') => self.range()?,
            Some(c) if c.is_ascii_digit() => self.number(),
            Some('.') if self.rest().chars().nth(1).is_some_and(|c| c.is_ascii_digit()) => self.number(),
            Some(c) if c == '_' || c.is_alphabetic() => self.word(),
            Some('-') => self.minus(),
            Some(_) => self.operator()?,
        };
        Ok(Token { tok, span: SourceSpan::new(start, self.at) })
    }

    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn error(&self, start: usize, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(SourceSpan::new(start, self.at.max(start)), message)
    }

    fn quoted(&mut self) -> Result<Tok, Diagnostic> {
        let start = self.at;
        let body = self.rest().get(1..).unwrap_or("");
        let mut escaped = false;
        let end = body.find(|c: char| {
            let stop = (c == '"' && !escaped) || c == '\n';
            escaped = c == '\\' && !escaped;
            stop
        });
        let Some(end) = end.filter(|end| body.as_bytes().get(*end) == Some(&b'"')) else {
            return Err(self.error(start, "literal not terminated").with_hint("close the text with \""));
        };
        self.at += end + 2;
        let text = quote::unescape(body.get(..end).unwrap_or(""));
        text.map(Tok::Str).ok_or_else(|| {
            self.error(start, "invalid char escape")
                .with_hint("write \\\\ for a backslash, or put the text into backquotes")
        })
    }

    fn raw(&mut self) -> Result<Tok, Diagnostic> {
        let (start, body) = (self.at, self.rest().get(1..).unwrap_or(""));
        let Some(end) = body.find('`') else {
            return Err(self.error(start, "literal not terminated").with_hint("close the text with `"));
        };
        self.at += end + 2;
        // Carriage returns vanish from raw literals, as in Go.
        Ok(Tok::Str(body.get(..end).unwrap_or("").replace('\r', "")))
    }

    fn range(&mut self) -> Result<Tok, Diagnostic> {
        let (start, body) = (self.at, self.rest().get(1..).unwrap_or(""));
        let Some(end) = body.find(']') else {
            self.at = self.source.len();
            return Err(self.error(start, "missing closing ']' in duration"));
        };
        self.at += end + 2;
        let text = body.get(..end).unwrap_or("");
        duration::parse_prometheus(text)
            .map(Tok::Range)
            .map_err(|message| self.error(start, message).with_hint("write a duration such as 5m or 1h30m"))
    }

    /// A number with what follows it, if that makes a duration or a size.
    fn number(&mut self) -> Tok {
        let rest = self.rest();
        let number_len = number_len(rest);
        let tail = rest.get(number_len..).unwrap_or("");
        if let Some(len) = unit_len(tail, |c| "nuµμmshdwy".contains(c)) {
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
        if let Some(len) = unit_len(tail, |c| "nuµμmshdwy".contains(c))
            && let Some(text) = rest.get(..=len)
            && text.ends_with(|c: char| c.is_alphabetic())
            && let Ok(nanos) = negative_duration(text)
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
        if let Some(name) = named(&FUNCTIONS).filter(|_| is_call(self.rest())) {
            return if name == "label_replace" { Tok::Sym(name) } else { Tok::Func(name) };
        }
        match named(&KEYWORDS).filter(|name| *name != "label_replace") {
            Some(keyword) => Tok::Sym(keyword),
            None => Tok::Ident(word.to_owned()),
        }
    }

    fn operator(&mut self) -> Result<Tok, Diagnostic> {
        let (start, rest) = (self.at, self.rest());
        if let Some(operator) = OPERATORS.iter().find(|op| rest.starts_with(**op)) {
            self.at += operator.len();
            return Ok(Tok::Sym(operator));
        }
        self.at += rest.chars().next().map_or(0, char::len_utf8);
        Err(self.error(
            start,
            format!(
                "syntax error: unexpected character {}",
                quote::quote(rest.get(..self.at - start).unwrap_or(""))
            ),
        ))
    }
}

fn negative_duration(text: &str) -> Result<i64, String> {
    let positive = text.get(1..).unwrap_or("");
    duration::parse_prometheus(positive).or_else(|_| duration::parse_go(positive)).map(|nanos| -nanos)
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

/// Length of a Go number literal: decimal, or with a base prefix; a hexadecimal one may have a binary exponent.
fn number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits_from = |from: usize, test: fn(&u8) -> bool| {
        from + bytes.get(from..).unwrap_or(&[]).iter().take_while(|b| test(b)).count()
    };
    let prefix = bytes.get(..2).map(|two| two.to_ascii_lowercase());
    let decimal: fn(&u8) -> bool = |b| b.is_ascii_digit() || *b == b'_';
    let (mut end, exponent) = match prefix.as_deref() {
        Some(b"0x") => {
            let hex: fn(&u8) -> bool = |b| b.is_ascii_hexdigit() || *b == b'_';
            let whole = digits_from(2, hex);
            (if bytes.get(whole) == Some(&b'.') { digits_from(whole + 1, hex) } else { whole }, b'p')
        }
        Some(b"0b" | b"0o") => return digits_from(2, decimal),
        _ => {
            let whole = digits_from(0, decimal);
            (if bytes.get(whole) == Some(&b'.') { digits_from(whole + 1, decimal) } else { whole }, b'e')
        }
    };
    if bytes.get(end).is_some_and(|b| b.to_ascii_lowercase() == exponent) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let digits = digits_from(end + 1 + sign, decimal);
        if digits > end + 1 + sign {
            end = digits;
        }
    }
    end
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
        let names = tokens(source).map(|all| all.iter().map(|t| t.tok.name()).collect::<Vec<_>>().join(" "));
        assert_eq!(names.unwrap_or_else(|d| d.message), expect, "{source}");
    }

    #[test]
    fn words_are_functions_only_where_called() {
        check("rate({", "RATE ( { $end");
        check("sum by (a)", "SUM by ( IDENTIFIER ) $end");
        check("sum bye", "IDENTIFIER IDENTIFIER $end");
        check("{rate=`x`} # y", "{ IDENTIFIER = STRING } $end");
        check("SUM(Rate(", "SUM ( RATE ( $end");
    }

    #[test]
    fn numbers_durations_and_sizes() {
        check("123KB 123PiB 1.5ms 1h0.0m0s", "BYTES BYTES DURATION DURATION $end");
        check("34 + -123", "NUMBER + - NUMBER $end");
        check("34+-123", "NUMBER + - NUMBER $end");
        check("-123ms --strict --what", "DURATION FUNCTION_FLAG - - IDENTIFIER $end");
        check("0x1P3 0b01 .5 1e3 1mb", "NUMBER NUMBER NUMBER NUMBER DURATION IDENTIFIER $end");
        check("[5m] [1w2d]", "RANGE RANGE $end");
    }

    #[test]
    fn what_cannot_be_a_token() {
        check("{a=\"b", "literal not terminated");
        check("{a=\"\\q\"}", "invalid char escape");
        check("rate(x[5", "missing closing ']' in duration");
        check("[5x]", "not a valid duration string: \"5x\"");
        check("?", "syntax error: unexpected character \"?\"");
    }
}
