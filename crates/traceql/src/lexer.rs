//! Cuts a query into tokens. An attribute (`.http.status`, `resource."a b"`) is one token.

use kenning_gotext::{duration, quote};
use kenning_query::{Diagnostic, SourceSpan};

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tok {
    End,
    Str(String),
    Int(i64),
    Float(f64),
    Duration(i64),
    /// `span:name` or `duration`, and every other word.
    Word(String),
    /// The scope as written (`.`, `span.`, `parent.resource.`) and the name.
    Attribute(String, String),
    Sym(&'static str),
}

/// A token and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) tok: Tok,
    pub(crate) span: SourceSpan,
}

/// Longest first.
const SYMBOLS: [&str; 35] = [
    "!>>", "!<<", "&>>", "&<<", "&&", "||", ">>", "<<", "!>", "!<", "&~", "&>", "&<", "!=", "=~", "!~", ">=",
    "<=", ",", "{", "}", "(", ")", "=", ">", "<", "+", "-", "/", "%", "*", "^", "!", "|", "~",
];

const SCOPES: [&str; 8] = [
    "parent.resource.",
    "parent.span.",
    "parent.",
    "resource.",
    "span.",
    "event.",
    "link.",
    "instrumentation.",
];

const INTRINSIC_SCOPES: [&str; 5] = ["trace:", "span:", "event:", "link:", "instrumentation:"];

/// True for characters that attribute names may have outside quotes.
pub(crate) fn is_attribute_char(c: char) -> bool {
    !c.is_whitespace() && !"{}()=~!<>&|^,".contains(c)
}

impl Tok {
    /// The name for error texts.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::End => "$end".to_owned(),
            Self::Str(_) => "STRING".to_owned(),
            Self::Int(_) => "INTEGER".to_owned(),
            Self::Float(_) => "FLOAT".to_owned(),
            Self::Duration(_) => "DURATION".to_owned(),
            Self::Word(word) => word.clone(),
            Self::Attribute(scope, _) => scope.clone(),
            Self::Sym(text) => (*text).to_owned(),
        }
    }
}

/// All tokens, the last of them [`Tok::End`].
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
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        let start = self.at;
        let tok = match self.rest().chars().next() {
            None => Tok::End,
            Some(c @ ('"' | '`')) => self.quoted(c)?,
            Some('.')
                if !self.rest().get(1..).is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit())) =>
            {
                self.at += 1;
                self.attribute(start, ".")?
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number()?,
            Some(c) if c == '_' || c.is_alphabetic() => self.word()?,
            Some(_) => self.symbol()?,
        };
        Ok(Token { tok, span: SourceSpan::new(start, self.at) })
    }

    fn error(&self, start: usize, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(SourceSpan::new(start, self.at.max(start)), message)
    }

    fn quoted(&mut self, quote: char) -> Result<Tok, Diagnostic> {
        let (start, body) = (self.at, self.rest().get(1..).unwrap_or(""));
        let mut escaped = false;
        let end = body.find(|c: char| {
            let closes = c == quote && !escaped;
            escaped = quote == '"' && c == '\\' && !escaped;
            closes
        });
        let Some(end) = end else { return Err(self.error(start, "literal not terminated")) };
        self.at += end + 2;
        let body = body.get(..end).unwrap_or("");
        if quote == '`' {
            return Ok(Tok::Str(body.to_owned()));
        }
        quote::unescape(body, '"').map(Tok::Str).ok_or_else(|| self.error(start, "invalid syntax"))
    }

    fn number(&mut self) -> Result<Tok, Diagnostic> {
        let (start, rest) = (self.at, self.rest());
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let mut len = digits(rest);
        if rest.get(len..).is_some_and(|r| r.starts_with('.')) {
            len += 1 + digits(rest.get(len + 1..).unwrap_or(""));
        }
        let tail = rest.get(len..).unwrap_or("");
        let sign = usize::from(tail.get(1..).is_some_and(|t| t.starts_with(['+', '-'])));
        if tail.starts_with(['e', 'E']) && digits(tail.get(1 + sign..).unwrap_or("")) > 0 {
            len += 1 + sign + digits(tail.get(1 + sign..).unwrap_or(""));
        }
        let tail = rest.get(len..).unwrap_or("");
        let unit = tail
            .find(|c: char| !(c.is_numeric() || c == '.' || "nsumhµμdwy".contains(c)))
            .unwrap_or(tail.len());
        let text = rest.get(..len + unit).unwrap_or("");
        if unit > 0
            && let Ok(nanos) = duration::parse_prometheus(text).or_else(|_| duration::parse_go(text))
        {
            self.at += text.len();
            return Ok(Tok::Duration(nanos));
        }
        self.at += len;
        let text = rest.get(..len).unwrap_or("");
        if text.contains(['.', 'e', 'E']) {
            return text
                .parse()
                .map(Tok::Float)
                .map_err(|_| self.error(start, format!("{text} is not a number")));
        }
        text.parse().map(Tok::Int).map_err(|_| self.error(start, format!("{text} is out of range")))
    }

    fn word(&mut self) -> Result<Tok, Diagnostic> {
        let (start, rest) = (self.at, self.rest());
        if let Some(scope) = SCOPES.iter().find(|scope| rest.starts_with(**scope)) {
            self.at += scope.len();
            return self.attribute(start, scope);
        }
        let prefix =
            INTRINSIC_SCOPES.iter().find(|scope| rest.starts_with(**scope)).map_or(0, |scope| scope.len());
        let after = rest.get(prefix..).unwrap_or("");
        let len = prefix + after.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(after.len());
        self.at += len;
        Ok(Tok::Word(rest.get(..len).unwrap_or("").to_owned()))
    }

    /// The name of an attribute, its scope already read. Parts may be quoted.
    fn attribute(&mut self, start: usize, scope: &str) -> Result<Tok, Diagnostic> {
        let mut name = String::new();
        while let Some(c) = self.rest().chars().next().filter(|c| is_attribute_char(*c)) {
            self.at += c.len_utf8();
            if c == '"' {
                self.quoted_part(start, &mut name)?;
            } else {
                name.push(c);
            }
        }
        if name.is_empty() {
            return Err(self.error(start, "syntax error: unexpected END_ATTRIBUTE, expecting IDENTIFIER"));
        }
        Ok(Tok::Attribute(scope.to_owned(), name))
    }

    fn quoted_part(&mut self, start: usize, name: &mut String) -> Result<(), Diagnostic> {
        let mut chars = self.rest().char_indices();
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += offset + 1;
                    return Ok(());
                }
                '\\' => match chars.next() {
                    Some((_, c @ ('"' | '\\'))) => name.push(c),
                    _ => return Err(self.error(start, "invalid escape sequence")),
                },
                c => name.push(c),
            }
        }
        Err(self.error(start, "unexpected EOF, expecting \""))
    }

    fn symbol(&mut self) -> Result<Tok, Diagnostic> {
        let (start, rest) = (self.at, self.rest());
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            self.at += symbol.len();
            return Ok(Tok::Sym(symbol));
        }
        self.at += rest.chars().next().map_or(0, char::len_utf8);
        let text = rest.get(..self.at - start).unwrap_or("");
        Err(self.error(start, format!("syntax error: unexpected character {}", quote::quote(text))))
    }
}
