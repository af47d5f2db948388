//! Cuts a template into tokens, as Go's `text/template/parse` does: its error texts name them.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Left,
    Right,
    Space,
    Identifier,
    Keyword,
    Field,
    Variable,
    Dot,
    Nil,
    Bool,
    Number,
    Character,
    Quoted,
    Raw,
    Pipe,
    Open,
    Close,
    Assign,
    Declare,
    Other,
    End,
    /// The text is what is wrong.
    Error,
}

/// A token and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) at: usize,
    pub(crate) text: String,
}

const KEYWORDS: [&str; 10] =
    ["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"];
const TRIMMED: [char; 4] = [' ', '\t', '\r', '\n'];

/// All tokens; the last one is the end or an error.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { source, at: 0, depth: 0, out: Vec::new(), trim: false };
    if lexer.text().is_ok() {
        lexer.push(Kind::End, source.len(), "");
    }
    lexer.out
}

/// Reading stopped; the error is among the tokens.
struct Stopped;

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    depth: usize,
    out: Vec<Token>,
    /// The next text loses its leading space.
    trim: bool,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn push(&mut self, kind: Kind, at: usize, text: &str) {
        self.out.push(Token { kind, at, text: text.to_owned() });
    }

    /// A token from `start` to here.
    fn emit(&mut self, kind: Kind, start: usize) {
        let text = self.source.get(start..self.at).unwrap_or("");
        self.push(kind, start, text);
    }

    fn fail<T>(&mut self, at: usize, message: impl Into<String>) -> Result<T, Stopped> {
        self.out.push(Token { kind: Kind::Error, at, text: message.into() });
        Err(Stopped)
    }

    /// Texts and actions up to the end.
    fn text(&mut self) -> Result<(), Stopped> {
        loop {
            let start = self.at;
            let rest = self.rest();
            let open = rest.find("{{");
            let mut text = rest.get(..open.unwrap_or(rest.len())).unwrap_or("");
            let trims = open.is_some_and(|open| is_left_trim(rest.get(open + 2..).unwrap_or("")));
            if self.trim {
                text = text.trim_start_matches(TRIMMED);
                self.trim = false;
            }
            if trims {
                text = text.trim_end_matches(TRIMMED);
            }
            if !text.is_empty() {
                self.push(Kind::Text, start, text);
            }
            let Some(open) = open else { return Ok(()) };
            self.action(start + open, trims)?;
        }
    }

    fn action(&mut self, left: usize, trims: bool) -> Result<(), Stopped> {
        self.at = left + 2 + usize::from(trims) * 2;
        if self.rest().starts_with("/*") {
            return self.comment(left);
        }
        // The marker's space belongs to the action.
        self.at = left + 2 + usize::from(trims);
        self.push(Kind::Left, left, "{{");
        self.depth = 0;
        loop {
            if let Some((len, trim)) = right_delimiter(self.rest()) {
                if self.depth > 0 {
                    return self.fail(self.at, "unclosed left paren");
                }
                let at = self.at;
                self.at += len;
                self.trim = trim;
                self.push(Kind::Right, at, "}}");
                return Ok(());
            }
            self.inside()?;
        }
    }

    fn comment(&mut self, left: usize) -> Result<(), Stopped> {
        let Some(len) = self.rest().find("*/") else { return self.fail(left, "unclosed comment") };
        self.at += len + 2;
        let Some((len, trim)) = right_delimiter(self.rest()) else {
            return self.fail(left, "comment ends before closing delimiter");
        };
        self.at += len;
        self.trim = trim;
        Ok(())
    }

    /// One token of an action.
    fn inside(&mut self) -> Result<(), Stopped> {
        let start = self.at;
        let Some(c) = self.peek() else { return self.fail(start, "unclosed action") };
        if TRIMMED.contains(&c) {
            return self.space();
        }
        self.at += c.len_utf8();
        match c {
            '=' => self.emit(Kind::Assign, start),
            ':' if self.peek() == Some('=') => {
                self.at += 1;
                self.emit(Kind::Declare, start);
            }
            ':' => return self.fail(start, "expected :="),
            '|' => self.emit(Kind::Pipe, start),
            '"' | '\'' => return self.quoted(start, c),
            '`' => return self.raw(start),
            '$' => return self.path(start, Kind::Variable),
            '.' if !self.peek().is_some_and(|next| next.is_ascii_digit()) => {
                return self.path(start, Kind::Field);
            }
            '.' | '+' | '-' | '0'..='9' => return self.number(start),
            '(' => {
                self.depth += 1;
                self.emit(Kind::Open, start);
            }
            ')' if self.depth == 0 => return self.fail(start, "unexpected right paren"),
            ')' => {
                self.depth -= 1;
                self.emit(Kind::Close, start);
            }
            c if is_word(c) => return self.identifier(start),
            c if c.is_ascii_graphic() => self.emit(Kind::Other, start),
            c => return self.fail(start, format!("unrecognized character in action: {}", code(c))),
        }
        Ok(())
    }

    fn space(&mut self) -> Result<(), Stopped> {
        let start = self.at;
        let rest = self.rest();
        let mut len = rest.len() - rest.trim_start_matches(TRIMMED).len();
        // The last space may belong to a closing trim marker.
        if rest.get(len..).is_some_and(|after| after.starts_with("-}}")) {
            len -= 1;
        }
        self.at += len;
        if len > 0 {
            self.emit(Kind::Space, start);
        }
        Ok(())
    }

    fn quoted(&mut self, start: usize, quote: char) -> Result<(), Stopped> {
        let unterminated =
            if quote == '"' { "unterminated quoted string" } else { "unterminated character constant" };
        let mut escaped = false;
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                '\n' => break,
                c if c == quote && !escaped => {
                    self.emit(if quote == '"' { Kind::Quoted } else { Kind::Character }, start);
                    return Ok(());
                }
                c => escaped = c == '\\' && !escaped,
            }
        }
        self.fail(start, unterminated)
    }

    fn raw(&mut self, start: usize) -> Result<(), Stopped> {
        let Some(len) = self.rest().find('`') else {
            return self.fail(start, "unterminated raw quoted string");
        };
        self.at += len + 1;
        self.emit(Kind::Raw, start);
        Ok(())
    }

    fn word(&mut self) {
        let rest = self.rest();
        self.at += rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
    }

    /// `.name` or `$name`, alone `.` or `$`.
    fn path(&mut self, start: usize, kind: Kind) -> Result<(), Stopped> {
        self.word();
        self.terminated()?;
        let alone = self.at == start + 1;
        self.emit(if alone && kind == Kind::Field { Kind::Dot } else { kind }, start);
        Ok(())
    }

    fn identifier(&mut self, start: usize) -> Result<(), Stopped> {
        self.at = start;
        self.word();
        self.terminated()?;
        let kind = match self.source.get(start..self.at).unwrap_or("") {
            word if KEYWORDS.contains(&word) => Kind::Keyword,
            "nil" => Kind::Nil,
            "true" | "false" => Kind::Bool,
            _ => Kind::Identifier,
        };
        self.emit(kind, start);
        Ok(())
    }

    /// What may follow a word does.
    fn terminated(&mut self) -> Result<(), Stopped> {
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => Ok(()),
            Some(_) if self.rest().starts_with("}}") => Ok(()),
            Some(c) => self.fail(self.at, format!("bad character {}", code(c))),
        }
    }

    fn number(&mut self, start: usize) -> Result<(), Stopped> {
        let rest = self.source.get(start..).unwrap_or("");
        let mut before = ' ';
        let len = rest
            .find(|c: char| {
                let sign =
                    matches!(c, '+' | '-') && (before == ' ' || matches!(before, 'e' | 'E' | 'p' | 'P'));
                before = c;
                !(is_word(c) || c == '.' || sign)
            })
            .unwrap_or(rest.len());
        self.at = start + len;
        let text = rest.get(..len).unwrap_or("");
        if !text.contains(|c: char| c.is_ascii_digit()) {
            return self.fail(start, format!("bad number syntax: {}", kenning_gotext::quote::quote(text)));
        }
        self.emit(Kind::Number, start);
        Ok(())
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// `- ` behind `{{`.
fn is_left_trim(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(TRIMMED))
}

/// Length of `}}` or ` -}}` here, and whether it trims.
fn right_delimiter(rest: &str) -> Option<(usize, bool)> {
    let mut chars = rest.chars();
    if chars.next().is_some_and(|c| TRIMMED.contains(&c)) && chars.as_str().starts_with("-}}") {
        return Some((4, true));
    }
    rest.starts_with("}}").then_some((2, false))
}

/// Go's `%#U`.
fn code(c: char) -> String {
    let number = format!("U+{:04X}", c as u32);
    let printable = c == ' ' || !(c.is_control() || c.is_whitespace() || c == '\u{feff}');
    if printable { format!("{number} '{c}'") } else { number }
}
