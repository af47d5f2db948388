//! Reads a template.

use super::functions;
use kenning_query::text::{float, quote};

/// Deepest nesting of control structures and parentheses.
const DEPTH_MAX: usize = 64;

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipe),
    Branch { kind: Branch, pipe: Pipe, then: Vec<Node>, otherwise: Vec<Node> },
    Break,
    Continue,
}

/// The control structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Branch {
    If,
    With,
    Range,
}

/// `$a, $b := command | command`
#[derive(Debug)]
pub(super) struct Pipe {
    /// Variables that get the value.
    pub(super) variables: Vec<String>,
    /// `:=` rather than `=`.
    pub(super) declares: bool,
    pub(super) commands: Vec<Command>,
}

/// A function with its arguments, or a value.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) args: Vec<Arg>,
    /// Where it starts.
    pub(super) at: usize,
    /// Its text.
    pub(super) text: String,
}

/// An argument; places are for error texts.
#[derive(Debug)]
pub(super) enum Arg {
    Dot,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    /// `.a.b`
    Field(Vec<String>, usize),
    /// `$a.b`
    Variable(String, Vec<String>, usize),
    Function(String, usize),
    /// `(pipe).a.b`
    Pipe(Box<Pipe>, Vec<String>, usize),
}

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct ParseError {
    pub(super) at: usize,
    pub(super) message: String,
}

type Parsed<T> = Result<T, ParseError>;

fn fail<T>(at: usize, message: impl Into<String>) -> Parsed<T> {
    Err(ParseError { at, message: message.into() })
}

/// Reads all of a template.
pub(super) fn parse(source: &str) -> Parsed<Vec<Node>> {
    let pieces = pieces(source)?;
    let mut parser = Parser { pieces: pieces.into_iter().peekable(), end: source.len(), depth: 0, loops: 0 };
    let (nodes, stop) = parser.list()?;
    match stop {
        Stop::End => Ok(nodes),
        Stop::Keyword(action) => fail(action.at, format!("unexpected {{{{{}}}}}", action.text.trim())),
    }
}

/// Text or the inside of an action.
enum Piece<'s> {
    Text(&'s str),
    Action(Action<'s>),
}

#[derive(Clone, Copy)]
struct Action<'s> {
    text: &'s str,
    at: usize,
}

/// Cuts at `{{` and `}}`, trimming where markers ask for it, and leaves comments out.
fn pieces(source: &str) -> Parsed<Vec<Piece<'_>>> {
    let (mut out, mut at, mut trim_next) = (Vec::new(), 0, false);
    while at < source.len() {
        let rest = source.get(at..).unwrap_or("");
        let open = rest.find("{{");
        let mut text = rest.get(..open.unwrap_or(rest.len())).unwrap_or("");
        if trim_next {
            text = text.trim_start();
            trim_next = false;
        }
        let Some(open) = open else {
            out.push(Piece::Text(text));
            break;
        };
        let start = at + open + 2;
        let body = source.get(start..).unwrap_or("");
        let trims =
            body.starts_with('-') && body.get(1..).is_some_and(|b| b.starts_with(char::is_whitespace));
        let text = if trims { text.trim_end() } else { text };
        if !text.is_empty() {
            out.push(Piece::Text(text));
        }
        let skip = usize::from(trims);
        let inner_start = start + skip;
        let inner = source.get(inner_start..).unwrap_or("");
        let Some(len) = action_len(inner) else { return fail(start, unclosed(inner)) };
        let mut content = inner.get(..len).unwrap_or("");
        at = inner_start + len + 2;
        if content.ends_with('-') && content.get(..len - 1).is_some_and(|c| c.ends_with(char::is_whitespace))
        {
            content = content.get(..len - 1).unwrap_or("");
            trim_next = true;
        }
        let is_comment = content.trim().starts_with("/*") && content.trim().ends_with("*/");
        if !is_comment {
            out.push(Piece::Action(Action { text: content, at: inner_start }));
        }
    }
    Ok(out)
}

fn unclosed(inner: &str) -> &'static str {
    if inner.trim_start().starts_with("/*") { "unclosed comment" } else { "unclosed action" }
}

/// Length of an action up to its `}}`, quoted texts and comments skipped.
fn action_len(inner: &str) -> Option<usize> {
    let lead = inner.len() - inner.trim_start().len();
    if inner.trim_start().starts_with("/*") {
        let end = inner.get(lead..)?.find("*/")?;
        return inner.get(lead + end..)?.find("}}").map(|at| lead + end + at);
    }
    let bytes = inner.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'}' if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            quote @ (b'"' | b'`' | b'\'') => at = quoted_end(bytes, at, *quote)?,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Index of the quote that closes the one at `at`.
fn quoted_end(bytes: &[u8], at: usize, quote: u8) -> Option<usize> {
    let mut escaped = false;
    let rest = bytes.get(at + 1..)?;
    rest.iter()
        .position(|byte| {
            let closes = *byte == quote && !escaped;
            escaped = quote != b'`' && *byte == b'\\' && !escaped;
            closes
        })
        .map(|offset| at + 1 + offset)
}

/// What ended a list of nodes.
enum Stop<'s> {
    End,
    /// `else ...` or `end`.
    Keyword(Action<'s>),
}

struct Parser<'s> {
    pieces: std::iter::Peekable<std::vec::IntoIter<Piece<'s>>>,
    end: usize,
    depth: usize,
    loops: usize,
}

impl<'s> Parser<'s> {
    fn list(&mut self) -> Parsed<(Vec<Node>, Stop<'s>)> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let action = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text.to_owned()));
                    continue;
                }
                Piece::Action(action) => action,
            };
            let (word, rest) = keyword(action);
            match word {
                "end" | "else" => return Ok((nodes, Stop::Keyword(action))),
                "if" => nodes.push(self.branch(Branch::If, rest)?),
                "with" => nodes.push(self.branch(Branch::With, rest)?),
                "range" => nodes.push(self.branch(Branch::Range, rest)?),
                "break" | "continue" if self.loops == 0 => {
                    return fail(action.at, format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                "break" => nodes.push(Node::Break),
                "continue" => nodes.push(Node::Continue),
                "define" | "template" | "block" => {
                    return fail(action.at, format!("{{{{{word}}}}} is not supported here"));
                }
                _ => nodes.push(Node::Action(pipe(action)?)),
            }
        }
        Ok((nodes, Stop::End))
    }

    fn branch(&mut self, kind: Branch, head: Action<'s>) -> Parsed<Node> {
        if self.depth >= DEPTH_MAX {
            return fail(head.at, "nested too deeply");
        }
        self.depth += 1;
        self.loops += usize::from(kind == Branch::Range);
        let pipe = pipe(head)?;
        let (then, stop) = self.list()?;
        let otherwise = match stop {
            Stop::End => return fail(self.end, "unexpected EOF"),
            Stop::Keyword(action) => self.otherwise(kind, action)?,
        };
        self.loops -= usize::from(kind == Branch::Range);
        self.depth -= 1;
        Ok(Node::Branch { kind, pipe, then, otherwise })
    }

    /// What stands behind `else`; nothing behind `end`.
    fn otherwise(&mut self, kind: Branch, action: Action<'s>) -> Parsed<Vec<Node>> {
        let (word, rest) = keyword(action);
        if word == "end" {
            return Ok(Vec::new());
        }
        let (next, after) = keyword(rest);
        match (next, kind) {
            ("if", Branch::If) => return Ok(vec![self.branch(Branch::If, after)?]),
            ("with", Branch::With) => return Ok(vec![self.branch(Branch::With, after)?]),
            ("", _) => {}
            _ => return fail(rest.at, format!("unexpected <{next}> in else")),
        }
        let (nodes, stop) = self.list()?;
        match stop {
            Stop::Keyword(action) if keyword(action).0 == "end" => Ok(nodes),
            Stop::Keyword(action) => fail(action.at, "expected end; found {{else}}"),
            Stop::End => fail(self.end, "unexpected EOF"),
        }
    }
}

/// The first word of an action and the rest.
fn keyword(action: Action<'_>) -> (&str, Action<'_>) {
    let trimmed = action.text.trim_start();
    let lead = action.text.len() - trimmed.len();
    let len = trimmed.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(trimmed.len());
    let (word, rest) = trimmed.split_at(len);
    (word, Action { text: rest, at: action.at + lead + len })
}

fn pipe(action: Action<'_>) -> Parsed<Pipe> {
    let mut lexer = Lexer { text: action.text, base: action.at, at: 0, depth: 0 };
    let pipe = lexer.pipe()?;
    lexer.space();
    match lexer.peek() {
        None => Ok(pipe),
        Some(c) => fail(lexer.place(), format!("unexpected {c:?} in operand")),
    }
}

struct Lexer<'s> {
    text: &'s str,
    base: usize,
    at: usize,
    depth: usize,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn place(&self) -> usize {
        self.base + self.at
    }

    /// True when there was space.
    fn space(&mut self) -> bool {
        let rest = self.rest();
        let skipped = rest.len() - rest.trim_start().len();
        self.at += skipped;
        skipped > 0
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        self.at += if found { text.len() } else { 0 };
        found
    }

    fn word(&mut self) -> &'s str {
        let rest = self.rest();
        let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or("")
    }

    fn pipe(&mut self) -> Parsed<Pipe> {
        if self.depth >= DEPTH_MAX {
            return fail(self.place(), "nested too deeply");
        }
        self.depth += 1;
        let (variables, declares) = self.assignment();
        let mut commands = vec![self.command()?];
        loop {
            self.space();
            if !self.eat("|") {
                break;
            }
            commands.push(self.command()?);
        }
        self.depth -= 1;
        Ok(Pipe { variables, declares, commands })
    }

    /// `$a, $b :=`, if that is what stands here.
    fn assignment(&mut self) -> (Vec<String>, bool) {
        let start = self.at;
        let mut names = Vec::new();
        loop {
            self.space();
            if !self.eat("$") {
                break;
            }
            names.push(format!("${}", self.word()));
            self.space();
            if self.eat(":=") {
                return (names, true);
            }
            if self.rest().starts_with('=') {
                self.at += 1;
                return (names, false);
            }
            if !self.eat(",") {
                break;
            }
        }
        self.at = start;
        (Vec::new(), false)
    }

    fn command(&mut self) -> Parsed<Command> {
        self.space();
        let start = self.at;
        let mut args = Vec::new();
        loop {
            let spaced = self.space();
            match self.peek() {
                None | Some('|' | ')') => break,
                Some(_) if !args.is_empty() && !spaced => {
                    return fail(
                        self.place(),
                        format!("unexpected {:?} in operand", self.peek().unwrap_or(' ')),
                    );
                }
                Some(_) => args.push(self.arg()?),
            }
        }
        let text = self.text.get(start..self.at).unwrap_or("").trim().to_owned();
        if args.is_empty() {
            return fail(self.place(), "missing value for command");
        }
        Ok(Command { args, at: self.base + start, text })
    }

    fn arg(&mut self) -> Parsed<Arg> {
        let (start, c) = (self.place(), self.peek().unwrap_or(' '));
        match c {
            '.' if self.rest().get(1..).is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit())) => {
                self.number()
            }
            '.' => {
                let path = self.path()?;
                if path.is_empty() {
                    self.at += 1;
                    return Ok(Arg::Dot);
                }
                Ok(Arg::Field(path, start))
            }
            '$' => {
                self.at += 1;
                let name = format!("${}", self.word());
                Ok(Arg::Variable(name, self.path()?, start))
            }
            '(' => {
                self.at += 1;
                let pipe = self.pipe()?;
                self.space();
                if !self.eat(")") {
                    return fail(self.place(), "unclosed left paren");
                }
                Ok(Arg::Pipe(Box::new(pipe), self.path()?, start))
            }
            '"' | '`' | '\'' => self.quoted(c),
            '+' | '-' | '0'..='9' => self.number(),
            c if c.is_alphabetic() || c == '_' => self.named(start),
            c => fail(start, format!("unexpected {c:?} in operand")),
        }
    }

    fn named(&mut self, start: usize) -> Parsed<Arg> {
        match self.word() {
            "true" => Ok(Arg::Bool(true)),
            "false" => Ok(Arg::Bool(false)),
            "nil" => Ok(Arg::Nil),
            name if functions::exists(name) => Ok(Arg::Function(name.to_owned(), start)),
            name => fail(start, format!("function {} not defined", quote::quote(name))),
        }
    }

    /// `.a.b`
    fn path(&mut self) -> Parsed<Vec<String>> {
        let mut path = Vec::new();
        loop {
            let rest = self.rest();
            let named = rest.get(1..).is_some_and(|r| r.starts_with(|c: char| c.is_alphabetic() || c == '_'));
            if !rest.starts_with('.') || !named {
                return Ok(path);
            }
            self.at += 1;
            path.push(self.word().to_owned());
        }
    }

    fn quoted(&mut self, quote: char) -> Parsed<Arg> {
        let start = self.at;
        let Some(end) = quoted_end(self.text.as_bytes(), start, quote as u8) else {
            return fail(self.place(), "unterminated quoted string");
        };
        self.at = end + 1;
        let body = self.text.get(start + 1..end).unwrap_or("");
        if quote == '`' {
            return Ok(Arg::Str(body.to_owned()));
        }
        let Some(text) = quote::unescape(body) else { return fail(self.base + start, "invalid syntax") };
        match (quote, text.chars().next()) {
            ('\'', Some(c)) if text.chars().count() == 1 => Ok(Arg::Int(i64::from(c as u32))),
            ('\'', _) => fail(self.base + start, "malformed character constant"),
            _ => Ok(Arg::Str(text)),
        }
    }

    fn number(&mut self) -> Parsed<Arg> {
        let (start, rest) = (self.place(), self.rest());
        let mut before = ' ';
        let len = rest
            .find(|c: char| {
                let sign =
                    matches!(c, '+' | '-') && (before == ' ' || matches!(before, 'e' | 'E' | 'p' | 'P'));
                before = c;
                !(c.is_alphanumeric() || c == '.' || c == '_' || sign)
            })
            .unwrap_or(rest.len());
        let text = rest.get(..len).unwrap_or("");
        self.at += len;
        if let Some(n) = integer(text) {
            return Ok(Arg::Int(n));
        }
        match float::parse(text) {
            Ok(n) if text.contains(|c: char| c.is_ascii_digit()) => Ok(Arg::Float(n)),
            _ => fail(start, format!("bad number syntax: {}", quote::quote(text))),
        }
    }
}

fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let radix = |prefix: &str| lower.strip_prefix(prefix).map(str::to_owned);
    let value = if let Some(hex) = radix("0x") {
        i64::from_str_radix(&hex, 16)
    } else if let Some(octal) = radix("0o") {
        i64::from_str_radix(&octal, 8)
    } else if let Some(binary) = radix("0b") {
        i64::from_str_radix(&binary, 2)
    } else {
        lower.parse()
    };
    value.ok().map(|n| sign * n)
}
