//! Tokens. Keywords are recognised without regard to case outside braces; inside braces every word is a label.
//!
//! What is a token depends on where it stands (braces, brackets), so the lexer keeps that little state and the parser
//! pulls one token at a time: an error of the lexer only shows if the parser got that far.

use kenning_query::SourceSpan;

use super::ast::Aggregator;
use crate::text::{quote, quote_char, quote_start};

/// A token's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    End,
    Identifier,
    MetricIdentifier,
    String,
    Number,
    Duration,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    LeftParen,
    RightParen,
    Comma,
    Colon,
    /// `=`
    Assign,
    /// `=~`
    Matches,
    /// `!~`
    NotMatches,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    /// `==`
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    TrimUpper,
    TrimLower,
    At,
    And,
    Or,
    Unless,
    Atan2,
    Aggregator(Aggregator),
    Keyword(Keyword),
    Preprocessor(Preprocessor),
}

/// Words that modify expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Offset,
    Smoothed,
    Anchored,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
}

/// Words with a meaning before `(`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preprocessor {
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// A token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub kind: Kind,
    pub text: &'a str,
    pub start: usize,
}

impl Token<'_> {
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub(super) fn span(&self) -> SourceSpan {
        SourceSpan::new(self.start, self.end())
    }

    /// How a message names it.
    pub(super) fn describe(&self) -> String {
        match self.kind {
            Kind::End => "end of input".into(),
            Kind::Identifier => format!("identifier {}", quote(self.text)),
            Kind::MetricIdentifier => format!("metric identifier {}", quote(self.text)),
            Kind::String => format!("string {}", quote_start(self.text)),
            Kind::Number => format!("number {}", quote_start(self.text)),
            Kind::Duration => format!("duration {}", quote_start(self.text)),
            Kind::Aggregator(_) => format!("<aggr:{}>", self.text),
            Kind::Keyword(_) => format!("<{}>", self.text),
            kind if kind.is_operator() => format!("<op:{}>", self.text),
            _ => quote_start(self.text),
        }
    }
}

impl Kind {
    fn is_operator(self) -> bool {
        use Kind::{
            Add, And, At, Atan2, Div, Equal, Greater, GreaterEqual, Less, LessEqual, Matches, Mod, Mul,
            NotEqual, NotMatches, Or, Pow, Sub, TrimLower, TrimUpper, Unless,
        };
        matches!(
            self,
            Add | Sub
                | Mul
                | Div
                | Mod
                | Pow
                | Equal
                | NotEqual
                | Less
                | LessEqual
                | Greater
                | GreaterEqual
                | TrimUpper
                | TrimLower
                | At
                | And
                | Or
                | Unless
                | Atan2
                | Matches
                | NotMatches
        )
    }
}

/// Text that is no token.
#[derive(Clone, Debug)]
pub(super) struct LexError {
    pub start: usize,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Expression,
    Braces,
    /// Directly after `[`, until the first number.
    Duration,
}

/// Cuts a query into tokens.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    input: &'a str,
    position: usize,
    start: usize,
    mode: Mode,
    open_parens: usize,
    in_bracket: bool,
    seen_colon: bool,
    seen_duration: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(input: &'a str) -> Self {
        Self {
            input,
            position: 0,
            start: 0,
            mode: Mode::Expression,
            open_parens: 0,
            in_bracket: false,
            seen_colon: false,
            seen_duration: false,
        }
    }

    /// The next token; [`Kind::End`] at the end and ever after.
    pub(super) fn next(&mut self) -> Result<Token<'a>, LexError> {
        self.skip_blank();
        self.start = self.position;
        match self.mode {
            Mode::Expression => self.expression(),
            Mode::Braces => self.braces(),
            Mode::Duration => self.duration(),
        }
    }

    /// Where the last token ended.
    pub(super) fn consumed(&self) -> usize {
        self.position
    }

    /// True when the next character that is not blank opens a parenthesis.
    fn before_paren(&self) -> bool {
        self.rest().trim_start_matches(is_blank).starts_with('(')
    }

    fn rest(&self) -> &'a str {
        self.input.get(self.position..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        let found = self.peek().is_some_and(wanted);
        if found {
            self.bump();
        }
        found
    }

    fn accept_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.accept(&wanted) {}
    }

    fn skip_blank(&mut self) {
        loop {
            self.accept_while(is_blank);
            // A comment directly after `[` is an error in Prometheus; everywhere else it is blank.
            if self.mode == Mode::Duration || self.peek() != Some('#') {
                return;
            }
            self.accept_while(|c| c != '\n' && c != '\r');
        }
    }

    fn token(&mut self, kind: Kind) -> Token<'a> {
        let text = self.input.get(self.start..self.position).unwrap_or("");
        let token = Token { kind, text, start: self.start };
        self.start = self.position;
        token
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, LexError> {
        Err(LexError { start: self.start, message: message.into() })
    }

    fn either(&mut self, second: char, both: Kind, single: Kind) -> Kind {
        if self.accept(|c| c == second) { both } else { single }
    }

    fn expression(&mut self) -> Result<Token<'a>, LexError> {
        let Some(c) = self.bump() else {
            return match (self.open_parens, self.in_bracket) {
                (0, false) => Ok(self.token(Kind::End)),
                (0, true) => self.error("unclosed left bracket"),
                _ => self.error("unclosed left parenthesis"),
            };
        };
        let kind = match c {
            ',' => Kind::Comma,
            '*' => Kind::Mul,
            '/' => Kind::Div,
            '%' => Kind::Mod,
            '+' => Kind::Add,
            '-' => Kind::Sub,
            '^' => Kind::Pow,
            '@' => Kind::At,
            '=' if self.peek() == Some('~') => return self.error("unexpected character after '=': '~'"),
            '=' => self.either('=', Kind::Equal, Kind::Assign),
            '!' => match self.bump() {
                Some('=') => Kind::NotEqual,
                other => return self.error(format!("unexpected character after '!': {}", quote_char(other))),
            },
            '<' if self.accept(|c| c == '=') => Kind::LessEqual,
            '<' => self.either('/', Kind::TrimUpper, Kind::Less),
            '>' if self.accept(|c| c == '=') => Kind::GreaterEqual,
            '>' => self.either('/', Kind::TrimLower, Kind::Greater),
            '"' | '\'' | '`' => return self.string(c),
            '(' => return Ok(self.open_paren()),
            ')' => return self.close_paren(),
            '{' => {
                self.mode = Mode::Braces;
                Kind::LeftBrace
            }
            '[' => return self.open_bracket(),
            ']' => return self.close_bracket(),
            c if starts_number(c, self.peek()) => return self.number_or_duration(c),
            c if is_alpha(c) || c == ':' => return self.word(c),
            c => return self.error(format!("unexpected character: {}", quote_char(Some(c)))),
        };
        Ok(self.token(kind))
    }

    fn open_paren(&mut self) -> Token<'a> {
        self.open_parens += 1;
        self.token(Kind::LeftParen)
    }

    fn close_paren(&mut self) -> Result<Token<'a>, LexError> {
        let token = self.token(Kind::RightParen);
        let Some(open) = self.open_parens.checked_sub(1) else {
            return self.error("unexpected right parenthesis ')'");
        };
        self.open_parens = open;
        Ok(token)
    }

    fn open_bracket(&mut self) -> Result<Token<'a>, LexError> {
        if self.in_bracket {
            return self.error("unexpected left bracket '['");
        }
        (self.in_bracket, self.seen_colon, self.mode) = (true, false, Mode::Duration);
        Ok(self.token(Kind::LeftBracket))
    }

    fn close_bracket(&mut self) -> Result<Token<'a>, LexError> {
        if !self.in_bracket {
            return self.error("unexpected right bracket ']'");
        }
        (self.in_bracket, self.mode) = (false, Mode::Expression);
        Ok(self.token(Kind::RightBracket))
    }

    fn word(&mut self, first: char) -> Result<Token<'a>, LexError> {
        if !self.in_bracket {
            return Ok(self.keyword_or_identifier());
        }
        if first == ':' {
            if self.seen_colon {
                return self.error("unexpected colon ':'");
            }
            self.seen_colon = true;
            return Ok(self.token(Kind::Colon));
        }
        match self.duration_word(first) {
            Some(token) => Ok(token),
            None => self.error(format!("unexpected character: {}, expected ':'", quote_char(Some(first)))),
        }
    }

    fn keyword_or_identifier(&mut self) -> Token<'a> {
        self.accept_while(|c| is_alphanumeric(c) || c == ':');
        let word = self.input.get(self.start..self.position).unwrap_or("");
        let kind = match keyword(word) {
            // Three words that came late to the language stay names unless they are followed by `(`.
            Some(Kind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight))
                if !self.before_paren() =>
            {
                Kind::Identifier
            }
            Some(kind) => kind,
            None if word.contains(':') => Kind::MetricIdentifier,
            None => Kind::Identifier,
        };
        self.token(kind)
    }

    /// `step`, `range`, `min_of`, `max_of` inside brackets.
    fn duration_word(&mut self, first: char) -> Option<Token<'a>> {
        if !matches!(first.to_ascii_lowercase(), 's' | 'r' | 'm') {
            return None;
        }
        self.accept_while(is_alpha);
        let word = self.input.get(self.start..self.position)?;
        let kind = keyword(word).filter(|kind| {
            use Preprocessor::{MaxOf, MinOf, Range, Step};
            matches!(kind, Kind::Preprocessor(Step | Range | MaxOf | MinOf))
        })?;
        Some(self.token(kind))
    }

    fn duration(&mut self) -> Result<Token<'a>, LexError> {
        let Some(c) = self.bump() else {
            return self.error("unexpected end of input in duration expression");
        };
        let kind = match c {
            ']' => {
                self.seen_colon = false;
                return self.close_bracket();
            }
            ':' => return self.duration_colon(),
            '(' => return Ok(self.open_paren()),
            ')' => return self.close_paren(),
            '+' => Kind::Add,
            '-' => Kind::Sub,
            '*' => Kind::Mul,
            '/' => Kind::Div,
            '%' => Kind::Mod,
            '^' => Kind::Pow,
            ',' => Kind::Comma,
            c if starts_number(c, self.peek()) => {
                (self.seen_duration, self.mode) = (true, Mode::Expression);
                return self.number_or_duration(c);
            }
            c => {
                if let Some(token) = self.duration_word(c) {
                    return Ok(token);
                }
                return self
                    .error(format!("unexpected character in duration expression: {}", quote_char(Some(c))));
            }
        };
        Ok(self.token(kind))
    }

    fn duration_colon(&mut self) -> Result<Token<'a>, LexError> {
        let token = self.token(Kind::Colon);
        if !self.seen_duration {
            return self.error("unexpected colon before duration in duration expression");
        }
        if self.seen_colon {
            return self.error("unexpected repeated colon in duration expression");
        }
        self.seen_colon = true;
        Ok(token)
    }

    fn braces(&mut self) -> Result<Token<'a>, LexError> {
        let Some(c) = self.bump() else {
            return self.error("unexpected end of input inside braces");
        };
        let kind = match c {
            ',' => Kind::Comma,
            '"' | '\'' | '`' => return self.string(c),
            '=' => self.either('~', Kind::Matches, Kind::Assign),
            '!' => match self.bump() {
                Some('~') => Kind::NotMatches,
                Some('=') => Kind::NotEqual,
                other => {
                    let found = quote_char(other);
                    return self.error(format!("unexpected character after '!' inside braces: {found}"));
                }
            },
            '{' => return self.error("unexpected left brace '{'"),
            '}' => {
                self.mode = Mode::Expression;
                Kind::RightBrace
            }
            c if is_alpha(c) => {
                self.accept_while(is_alphanumeric);
                Kind::Identifier
            }
            c => return self.error(format!("unexpected character inside braces: {}", quote_char(Some(c)))),
        };
        Ok(self.token(kind))
    }

    fn string(&mut self, mark: char) -> Result<Token<'a>, LexError> {
        loop {
            match self.bump() {
                Some('\u{fffd}') => return self.error("invalid UTF-8 rune"),
                Some(c) if c == mark => return Ok(self.token(Kind::String)),
                None if mark == '`' => return self.error("unterminated raw string"),
                None => return self.error("unterminated quoted string"),
                Some('\n') if mark != '`' => return self.error("unterminated quoted string"),
                Some('\\') if mark != '`' => self.escape(mark)?,
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self, mark: char) -> Result<(), LexError> {
        const ENDED: &str = "escape sequence not terminated";
        let Some(c) = self.bump() else { return self.error(ENDED) };
        let (digits, radix, value_max) = match c {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            c if c == mark => return Ok(()),
            '0'..='7' => (3, 8, 255),
            'x' => (2, 16, 255),
            'u' => (4, 16, 0x10_ffff),
            'U' => (8, 16, 0x10_ffff),
            c => return self.error(format!("unknown escape sequence {}", code_point(c))),
        };
        let mut value = if radix == 8 { c.to_digit(8).unwrap_or(0) } else { 0 };
        for _ in usize::from(radix == 8)..digits {
            let Some(c) = self.bump() else { return self.error(ENDED) };
            let Some(digit) = c.to_digit(radix) else {
                return self.error(format!("illegal character {} in escape sequence", code_point(c)));
            };
            value = value.saturating_mul(radix).saturating_add(digit);
        }
        if value > value_max || (0xd800..0xe000).contains(&value) {
            return self.error("escape sequence is an invalid Unicode code point");
        }
        Ok(())
    }

    fn number_or_duration(&mut self, first: char) -> Result<Token<'a>, LexError> {
        self.position -= first.len_utf8();
        if self.scan_number() {
            return Ok(self.token(Kind::Number));
        }
        if self.scan_duration() {
            return Ok(self.token(Kind::Duration));
        }
        let read = self.input.get(self.start..self.position).unwrap_or("");
        self.error(format!("bad number or duration syntax: {}", quote(read)))
    }

    /// Consumes what may be a number; false when it is none, or when a letter follows.
    fn scan_number(&mut self) -> bool {
        let begin = self.position;
        let is_hex = self.accept(|c| c == '0') && self.accept(|c| matches!(c, 'x' | 'X'));
        if is_hex {
            self.accept(|c| c == '_');
        }
        let is_digit = |c: char| if is_hex { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
        let (mut seen_dot, mut seen_exponent) = (false, false);
        self.accept(|c| c == '.');
        self.accept(is_digit);
        while let Some(c) = self.peek().filter(|c| is_digit(*c) || matches!(c, '.' | '_' | 'e' | 'E')) {
            self.bump();
            let repeated = (c == '.' && seen_dot) || (matches!(c, 'e' | 'E') && seen_exponent);
            match c {
                _ if repeated => return false,
                '.' => {
                    seen_dot = true;
                    if self.accept(|c| matches!(c, '_' | '.')) || is_hex {
                        return false;
                    }
                }
                'e' | 'E' => {
                    seen_exponent = true;
                    self.accept(|c| matches!(c, '+' | '-'));
                    if self.accept(|c| matches!(c, '.' | '_' | 'e' | 'E')) || self.peek().is_none() {
                        return false;
                    }
                }
                '_' => {
                    if self.accept(|c| matches!(c, '.' | '_' | 'e' | 'E')) || self.peek().is_none() {
                        return false;
                    }
                }
                _ => self.accept_while(is_digit),
            }
        }
        self.position != begin && !self.peek().is_some_and(is_alphanumeric)
    }

    /// Consumes the units (and further numbers) of a duration whose first number is consumed.
    fn scan_duration(&mut self) -> bool {
        if !self.accept(|c| matches!(c, 's' | 'm' | 'h' | 'd' | 'w' | 'y')) {
            return false;
        }
        self.accept(|c| c == 's');
        while self.accept(|c| c.is_ascii_digit()) {
            self.accept_while(|c| c.is_ascii_digit());
            if !self.accept(|c| matches!(c, 's' | 'm' | 'h' | 'd' | 'w')) {
                return false;
            }
            self.accept(|c| c == 's');
        }
        if self.peek().is_some_and(is_alphanumeric) {
            self.bump();
            return false;
        }
        true
    }
}

/// The keyword of a word, whatever its case.
pub(super) fn keyword(word: &str) -> Option<Kind> {
    let word = word.to_ascii_lowercase();
    if let Some(op) = Aggregator::ALL.into_iter().find(|op| op.as_str() == word) {
        return Some(Kind::Aggregator(op));
    }
    Some(match word.as_str() {
        "and" => Kind::And,
        "or" => Kind::Or,
        "unless" => Kind::Unless,
        "atan2" => Kind::Atan2,
        "offset" => Kind::Keyword(Keyword::Offset),
        "smoothed" => Kind::Keyword(Keyword::Smoothed),
        "anchored" => Kind::Keyword(Keyword::Anchored),
        "by" => Kind::Keyword(Keyword::By),
        "without" => Kind::Keyword(Keyword::Without),
        "on" => Kind::Keyword(Keyword::On),
        "ignoring" => Kind::Keyword(Keyword::Ignoring),
        "group_left" => Kind::Keyword(Keyword::GroupLeft),
        "group_right" => Kind::Keyword(Keyword::GroupRight),
        "fill" => Kind::Keyword(Keyword::Fill),
        "fill_left" => Kind::Keyword(Keyword::FillLeft),
        "fill_right" => Kind::Keyword(Keyword::FillRight),
        "bool" => Kind::Keyword(Keyword::Bool),
        "start" => Kind::Preprocessor(Preprocessor::Start),
        "end" => Kind::Preprocessor(Preprocessor::End),
        "step" => Kind::Preprocessor(Preprocessor::Step),
        "range" => Kind::Preprocessor(Preprocessor::Range),
        "max_of" => Kind::Preprocessor(Preprocessor::MaxOf),
        "min_of" => Kind::Preprocessor(Preprocessor::MinOf),
        "inf" | "nan" => Kind::Number,
        _ => return None,
    })
}

fn starts_number(c: char, next: Option<char>) -> bool {
    c.is_ascii_digit() || (c == '.' && next.is_some_and(|c| c.is_ascii_digit()))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}

/// Go's `%#U`: `U+0063 'c'`.
fn code_point(c: char) -> String {
    format!("U+{:04X} '{c}'", c as u32)
}

#[cfg(test)]
mod tests;
