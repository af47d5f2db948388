//! Reads a template, with the error texts of Go's `text/template/parse`.

use std::collections::BTreeMap;
use std::fmt;

use kenning_gotext::{float, quote};

use crate::lexer::{Kind, Token, tokens};

/// Deepest nesting of control structures and parentheses.
const DEPTH_MAX: usize = 64;

/// A part of a template.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Text(String),
    Action(Pipe),
    Branch {
        kind: Branch,
        pipe: Pipe,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    /// `{{template "name" pipe}}`
    Template {
        name: String,
        pipe: Option<Pipe>,
        at: usize,
    },
    Break,
    Continue,
}

/// The control structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Branch {
    If,
    With,
    Range,
}

/// `$a, $b := command | command`
#[derive(Clone, Debug)]
pub(crate) struct Pipe {
    /// Variables that get the value.
    pub(crate) variables: Vec<String>,
    /// `:=` rather than `=`.
    pub(crate) declares: bool,
    pub(crate) commands: Vec<Command>,
    pub(crate) at: usize,
}

/// A function with its arguments, or a value.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) args: Vec<Arg>,
    pub(crate) at: usize,
}

/// An argument and its place.
#[derive(Clone, Debug)]
pub(crate) struct Arg {
    pub(crate) at: usize,
    pub(crate) term: Term,
}

/// What an argument is.
#[derive(Clone, Debug)]
pub(crate) enum Term {
    Dot,
    Nil,
    Bool(bool),
    Int(i64, String),
    Float(f64, String),
    /// Value and source text.
    Str(String, String),
    /// `.a.b`
    Field(Vec<String>),
    /// `$a.b`
    Variable(String, Vec<String>),
    Function(String),
    Pipe(Box<Pipe>),
    /// `(pipe).a.b`
    Chain(Box<Arg>, Vec<String>),
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            write!(f, "{} {} ", self.variables.join(", "), if self.declares { ":=" } else { "=" })?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            write!(f, "{}{command}", if index > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arg) in self.args.iter().enumerate() {
            write!(f, "{}{arg}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |f: &mut fmt::Formatter<'_>, names: &[String]| {
            names.iter().try_for_each(|name| write!(f, ".{name}"))
        };
        match &self.term {
            Term::Dot => f.write_str("."),
            Term::Nil => f.write_str("nil"),
            Term::Bool(flag) => write!(f, "{flag}"),
            Term::Int(_, text) | Term::Float(_, text) | Term::Str(_, text) => f.write_str(text),
            Term::Field(names) => path(f, names),
            Term::Variable(name, names) => f.write_str(name).and_then(|()| path(f, names)),
            Term::Function(name) => f.write_str(name),
            Term::Pipe(pipe) => write!(f, "({pipe})"),
            Term::Chain(inner, names) => write!(f, "{inner}").and_then(|()| path(f, names)),
        }
    }
}

/// What is wrong, and where.
#[derive(Debug)]
pub(crate) struct ParseError {
    pub(crate) at: usize,
    pub(crate) message: String,
}

type Parsed<T> = Result<T, ParseError>;

/// A text's own nodes, and the templates it defines.
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) defined: BTreeMap<String, Vec<Node>>,
}

/// Reads all of a template. `known` tells the functions.
pub(crate) fn parse(source: &str, known: &dyn Fn(&str) -> bool) -> Parsed<Tree> {
    let mut parser = Parser {
        source,
        tokens: tokens(source),
        next: 0,
        known,
        variables: vec!["$".to_owned()],
        depth: 0,
        loops: 0,
        action: 0,
        defined: BTreeMap::new(),
    };
    let nodes = parser.top()?;
    Ok(Tree { nodes, defined: parser.defined })
}

/// What ended a list of nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Else,
    End,
}

impl Stop {
    fn text(self) -> &'static str {
        if self == Self::Else { "{{else}}" } else { "{{end}}" }
    }
}

/// A node, or the end of a list of them.
enum Part {
    Node(Node),
    Stop(Stop),
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Token>,
    next: usize,
    known: &'s dyn Fn(&str) -> bool,
    variables: Vec<String>,
    depth: usize,
    loops: usize,
    /// Where the action starts that is being read; 0 outside of one.
    action: usize,
    defined: BTreeMap<String, Vec<Node>>,
}

impl Parser<'_> {
    /// The token at hand. Behind the last one the last one is given again.
    fn peek(&self) -> &Token {
        const END: &Token = &Token { kind: Kind::End, at: 0, text: String::new() };
        self.tokens.get(self.next).or(self.tokens.last()).unwrap_or(END)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.next += 1;
        }
    }

    fn take_solid(&mut self) -> Token {
        self.skip_space();
        self.take()
    }

    fn peek_solid(&mut self) -> &Token {
        self.skip_space();
        self.peek()
    }

    fn is_keyword(&mut self, word: &str) -> bool {
        let token = self.peek_solid();
        token.kind == Kind::Keyword && token.text == word
    }

    /// An error at the token read last: its line is what Go names.
    fn fail<T>(&self, message: impl Into<String>) -> Parsed<T> {
        let last = self.tokens.get(self.next.saturating_sub(1)).or(self.tokens.last());
        Err(ParseError { at: last.map_or(0, |token| token.at), message: message.into() })
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Parsed<T> {
        if token.kind == Kind::Error {
            let line = |at: usize| self.source.get(..at).unwrap_or("").matches('\n').count() + 1;
            let started = if self.action > 0 && line(self.action - 1) != line(token.at) {
                let said = if token.text.ends_with(" action") { "" } else { " in action" };
                format!("{said} started at {{name}}:{}", line(self.action - 1))
            } else {
                String::new()
            };
            return Err(ParseError { at: token.at, message: format!("{}{started}", token.text) });
        }
        let shown = match token.kind {
            Kind::End => "EOF".to_owned(),
            Kind::Keyword | Kind::Dot | Kind::Nil => format!("<{}>", token.text),
            _ if token.text.chars().count() > 10 => {
                format!("{}...", quote::quote(&token.text.chars().take(10).collect::<String>()))
            }
            _ => quote::quote(&token.text),
        };
        Err(ParseError { at: token.at, message: format!("unexpected {shown} in {context}") })
    }

    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { self.fail(format!("nested more than {DEPTH_MAX} deep")) } else { Ok(()) }
    }

    fn top(&mut self) -> Parsed<Vec<Node>> {
        let mut nodes = Vec::new();
        while self.peek().kind != Kind::End {
            if self.starts_definition() {
                self.definition()?;
                continue;
            }
            match self.part()? {
                Part::Node(node) => nodes.push(node),
                Part::Stop(stop) => return self.fail(format!("unexpected {}", stop.text())),
            }
        }
        Ok(nodes)
    }

    fn starts_definition(&self) -> bool {
        let mut tokens = self.tokens.iter().skip(self.next);
        tokens.next().is_some_and(|token| token.kind == Kind::Left)
            && tokens
                .find(|token| token.kind != Kind::Space)
                .is_some_and(|token| token.kind == Kind::Keyword && token.text == "define")
    }

    /// `{{define "name"}} ... {{end}}`
    fn definition(&mut self) -> Parsed<()> {
        let context = "define clause";
        self.take();
        self.take_solid();
        let name = self.name(context)?;
        self.expect_right(context)?;
        self.separate(&name, context)
    }

    /// A template with variables of its own up to its `end`.
    fn separate(&mut self, name: &str, context: &str) -> Parsed<()> {
        self.enter()?;
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let loops = std::mem::take(&mut self.loops);
        let (nodes, stop) = self.list()?;
        (self.variables, self.loops) = (variables, loops);
        self.depth -= 1;
        if stop != Stop::End {
            return self.fail(format!("unexpected {} in {context}", stop.text()));
        }
        self.defined.insert(name.to_owned(), nodes);
        Ok(())
    }

    fn name(&mut self, context: &str) -> Parsed<String> {
        let token = self.take_solid();
        match token.kind {
            Kind::Quoted | Kind::Raw => self.unquoted(&token),
            _ => self.unexpected(&token, context),
        }
    }

    fn unquoted(&self, token: &Token) -> Parsed<String> {
        let body = token.text.get(1..token.text.len().saturating_sub(1)).unwrap_or("");
        match token.kind {
            Kind::Raw => Ok(body.replace('\r', "")),
            _ => quote::unescape(body, '"').map_or_else(|| self.fail("invalid syntax"), Ok),
        }
    }

    fn expect_right(&mut self, context: &str) -> Parsed<()> {
        let token = self.take_solid();
        if token.kind == Kind::Right { Ok(()) } else { self.unexpected(&token, context) }
    }

    fn list(&mut self) -> Parsed<(Vec<Node>, Stop)> {
        let mut nodes = Vec::new();
        while self.peek_solid().kind != Kind::End {
            match self.part()? {
                Part::Node(node) => nodes.push(node),
                Part::Stop(stop) => return Ok((nodes, stop)),
            }
        }
        self.next += 1;
        self.fail("unexpected EOF")
    }

    fn part(&mut self) -> Parsed<Part> {
        let token = self.take_solid();
        match token.kind {
            Kind::Text => Ok(Part::Node(Node::Text(token.text))),
            Kind::Left => {
                self.action = token.at + 1;
                let part = self.action();
                self.action = 0;
                part
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Part> {
        let token = self.peek_solid().clone();
        if token.kind != Kind::Keyword {
            return Ok(Part::Node(Node::Action(self.pipe("command", Kind::Right)?)));
        }
        self.take();
        let node = match token.text.as_str() {
            "end" => {
                self.expect_right("end")?;
                return Ok(Part::Stop(Stop::End));
            }
            "else" => {
                if !self.is_keyword("if") && !self.is_keyword("with") {
                    self.expect_right("else")?;
                }
                return Ok(Part::Stop(Stop::Else));
            }
            "if" => self.branch(Branch::If)?,
            "with" => self.branch(Branch::With)?,
            "range" => self.branch(Branch::Range)?,
            "template" => self.template(token.at)?,
            "block" => self.block(token.at)?,
            word @ ("break" | "continue") => self.jump(word)?,
            _ => return self.unexpected(&token, "command"),
        };
        Ok(Part::Node(node))
    }

    fn jump(&mut self, word: &str) -> Parsed<Node> {
        self.expect_right(&format!("{{{{{word}}}}}"))?;
        if self.loops == 0 {
            return self.fail(format!("{{{{{word}}}}} outside {{{{range}}}}"));
        }
        Ok(if word == "break" { Node::Break } else { Node::Continue })
    }

    fn template(&mut self, at: usize) -> Parsed<Node> {
        let context = "template clause";
        let name = self.name(context)?;
        let pipe = match self.peek_solid().kind {
            Kind::Right => {
                self.take();
                None
            }
            _ => Some(self.pipe(context, Kind::Right)?),
        };
        Ok(Node::Template { name, pipe, at })
    }

    /// `{{block "name" pipe}} ... {{end}}`: defines and runs.
    fn block(&mut self, at: usize) -> Parsed<Node> {
        let context = "block clause";
        let name = self.name(context)?;
        let pipe = self.pipe(context, Kind::Right)?;
        self.separate(&name, context)?;
        Ok(Node::Template { name, pipe: Some(pipe), at })
    }

    fn branch(&mut self, kind: Branch) -> Parsed<Node> {
        self.enter()?;
        let before = self.variables.len();
        let context = match kind {
            Branch::If => "if",
            Branch::With => "with",
            Branch::Range => "range",
        };
        let pipe = self.pipe(context, Kind::Right)?;
        self.action = 0;
        let looping = usize::from(kind == Branch::Range);
        self.loops += looping;
        let (then, stop) = self.list()?;
        self.loops -= looping;
        let otherwise = if stop == Stop::Else { self.otherwise(kind)? } else { Vec::new() };
        self.variables.truncate(before);
        self.depth -= 1;
        Ok(Node::Branch { kind, pipe, then, otherwise })
    }

    /// What stands behind `else`.
    fn otherwise(&mut self, kind: Branch) -> Parsed<Vec<Node>> {
        for (word, same) in [("if", Branch::If), ("with", Branch::With)] {
            if kind == same && self.is_keyword(word) {
                self.take();
                return Ok(vec![self.branch(kind)?]);
            }
        }
        let (nodes, stop) = self.list()?;
        if stop != Stop::End {
            return self.fail(format!("expected end; found {}", stop.text()));
        }
        Ok(nodes)
    }

    fn pipe(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        self.enter()?;
        let at = self.peek_solid().at;
        let (variables, declares) = self.declarations(context)?;
        let mut commands = Vec::new();
        loop {
            let token = self.peek_solid().clone();
            match token.kind {
                kind if kind == end => {
                    self.take();
                    break;
                }
                Kind::Bool
                | Kind::Character
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::Raw
                | Kind::Quoted
                | Kind::Variable
                | Kind::Open => commands.push(self.command()?),
                _ => {
                    self.take();
                    return self.unexpected(&token, context);
                }
            }
        }
        self.depth -= 1;
        let pipe = Pipe { variables, declares, commands, at };
        self.check_pipe(&pipe, context)?;
        Ok(pipe)
    }

    fn check_pipe(&self, pipe: &Pipe, context: &str) -> Parsed<()> {
        if pipe.commands.is_empty() {
            return self.fail(format!("missing value for {context}"));
        }
        for (index, command) in pipe.commands.iter().enumerate().skip(1) {
            if let Some(
                Term::Bool(_) | Term::Dot | Term::Nil | Term::Int(..) | Term::Float(..) | Term::Str(..),
            ) = command.args.first().map(|arg| &arg.term)
            {
                return self.fail(format!("non executable command in pipeline stage {}", index + 1));
            }
        }
        Ok(())
    }

    /// `$a, $b :=`, if that is what stands here.
    fn declarations(&mut self, context: &str) -> Parsed<(Vec<String>, bool)> {
        let mut names = Vec::new();
        loop {
            let start = self.next;
            let token = self.peek_solid().clone();
            if token.kind != Kind::Variable {
                return Ok((names, true));
            }
            self.take();
            let next = self.peek_solid().clone();
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    self.take();
                    self.variables.push(token.text.clone());
                    names.push(token.text);
                    return Ok((names, next.kind == Kind::Declare));
                }
                Kind::Other if next.text == "," => {
                    self.take();
                    self.variables.push(token.text.clone());
                    names.push(token.text);
                    if context != "range" || names.len() > 1 {
                        return self.fail(format!("too many declarations in {context}"));
                    }
                    if !matches!(self.peek_solid().kind, Kind::Variable | Kind::Right | Kind::Close) {
                        return self.fail("range can only initialize variables");
                    }
                }
                _ => {
                    self.next = start;
                    return Ok((names, true));
                }
            }
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        let at = self.peek_solid().at;
        let mut args = Vec::new();
        loop {
            self.skip_space();
            args.extend(self.operand()?);
            match self.peek().kind {
                Kind::Space => {}
                Kind::Right | Kind::Close => break,
                Kind::Pipe => {
                    self.take();
                    break;
                }
                _ => {
                    let token = self.take();
                    return self.unexpected(&token, "operand");
                }
            }
        }
        if args.is_empty() {
            return self.fail("empty command");
        }
        Ok(Command { args, at })
    }

    fn operand(&mut self) -> Parsed<Option<Arg>> {
        let Some(arg) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(arg));
        }
        let at = self.peek().at;
        let mut names = Vec::new();
        while self.peek().kind == Kind::Field {
            names.push(self.take().text.trim_start_matches('.').to_owned());
        }
        let term = match arg.term {
            Term::Field(mut path) => {
                path.extend(names);
                Term::Field(path)
            }
            Term::Variable(name, mut path) => {
                path.extend(names);
                Term::Variable(name, path)
            }
            Term::Function(_) | Term::Pipe(_) | Term::Chain(..) => Term::Chain(Box::new(arg), names),
            _ => return self.fail(format!("unexpected . after term {}", quote::quote(&arg.to_string()))),
        };
        Ok(Some(Arg { at, term }))
    }

    fn term(&mut self) -> Parsed<Option<Arg>> {
        let token = self.take_solid();
        let term = match token.kind {
            Kind::Identifier if !(self.known)(&token.text) => {
                return self.fail(format!("function {} not defined", quote::quote(&token.text)));
            }
            Kind::Identifier => Term::Function(token.text),
            Kind::Dot => Term::Dot,
            Kind::Nil => Term::Nil,
            Kind::Variable if !self.variables.contains(&token.text) => {
                return self.fail(format!("undefined variable {}", quote::quote(&token.text)));
            }
            Kind::Variable => Term::Variable(token.text, Vec::new()),
            Kind::Field => Term::Field(vec![token.text.trim_start_matches('.').to_owned()]),
            Kind::Bool => Term::Bool(token.text == "true"),
            Kind::Number => return self.number(token).map(Some),
            Kind::Character => return self.character(token).map(Some),
            Kind::Open => Term::Pipe(Box::new(self.pipe("parenthesized pipeline", Kind::Close)?)),
            Kind::Quoted | Kind::Raw => Term::Str(self.unquoted(&token)?, token.text),
            _ => {
                self.next -= 1;
                return Ok(None);
            }
        };
        Ok(Some(Arg { at: token.at, term }))
    }

    fn number(&self, token: Token) -> Parsed<Arg> {
        let term = match integer(&token.text) {
            Some(n) => Term::Int(n, token.text),
            None => match float::parse(&token.text) {
                Ok(n) => Term::Float(n, token.text),
                Err(_) => return self.fail(format!("illegal number syntax: {}", quote::quote(&token.text))),
            },
        };
        Ok(Arg { at: token.at, term })
    }

    fn character(&self, token: Token) -> Parsed<Arg> {
        let body = token.text.get(1..token.text.len().saturating_sub(1)).unwrap_or("");
        let value = quote::unescape(body, '\'');
        let mut chars = value.as_deref().unwrap_or("").chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => Ok(Arg { at: token.at, term: Term::Int(i64::from(c as u32), token.text) }),
            _ => self.fail(format!("malformed character constant: {}", token.text)),
        }
    }
}

fn integer(text: &str) -> Option<i64> {
    let text = text.replace('_', "");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(&text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, radix) = match lower.get(..2) {
        Some("0x") => (lower.get(2..)?, 16),
        Some("0o") => (lower.get(2..)?, 8),
        Some("0b") => (lower.get(2..)?, 2),
        _ => (lower.as_str(), 10),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()? * sign;
    i64::try_from(value).ok()
}
