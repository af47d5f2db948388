//! Reads a query. Recursive descent over the grammar of Loki's `syntax.y`, with its precedences and its error texts;
//! nesting is bounded by [`DEPTH_MAX`].

mod metric;
mod pipeline;

use kenning_model::Pattern;
use kenning_query::{Diagnostic, SourceSpan};

use super::advice::advise;
use super::ast::{Expr, LogExpr, MatchOp, Matcher};
use super::lexer::{Lexed, Tok, Token, tokens};

/// Longest query text, in bytes (Loki's bound).
pub(crate) const TEXT_BYTES_MAX: usize = 128 << 10;
/// Deepest nesting of parentheses, operators and filters.
pub(crate) const DEPTH_MAX: usize = 256;

/// Reads a query.
///
/// Errors point at the place and say what was expected there, with a hint where one is known; all mistakes of meaning (missing parameters, groupings
/// that are not allowed ...) are reported together. Templates, paths and line patterns inside quoted texts are checked
/// when the query is compiled, as Loki does.
pub fn parse(text: &str) -> Result<Expr, Vec<Diagnostic>> {
    read(text, true)
}

/// The same for where Loki lets a selector take every stream there is.
pub(crate) fn parse_broad(text: &str) -> Result<Expr, Vec<Diagnostic>> {
    read(text, false)
}

fn read(text: &str, must_be_selective: bool) -> Result<Expr, Vec<Diagnostic>> {
    read_plain(text, must_be_selective).map_err(|errors| advise(text, errors))
}

fn read_plain(text: &str, must_be_selective: bool) -> Result<Expr, Vec<Diagnostic>> {
    if text.len() >= TEXT_BYTES_MAX {
        let message = format!("input size too long ({} > {TEXT_BYTES_MAX})", text.len());
        return Err(vec![Diagnostic::error(SourceSpan::default(), message)]);
    }
    let Lexed { tokens, fault } = tokens(text);
    let mut parser = Parser { tokens, at: 0, depth: 0, problems: Vec::new() };
    let expr = match (parser.whole_query(), fault) {
        (Ok(expr), None) => expr,
        (Ok(_), Some(fault)) => return Err(vec![fault]),
        // Whichever mistake stands further to the left. Other mistakes are found where they stand.
        (Err(error), Some(fault)) if is_grammar(&error) && fault.span.start <= error.span.start => {
            return Err(vec![fault]);
        }
        (Err(error), _) => return Err(vec![error]),
    };
    if must_be_selective {
        parser.require_selective(&expr);
    }
    if parser.problems.is_empty() {
        return Ok(expr);
    }
    // Outer mistakes first, then from left to right: the order in which Loki walks the tree.
    parser.problems.sort_by_key(|(of, _)| (of.start, std::cmp::Reverse(of.end)));
    Err(parser.problems.into_iter().map(|(_, problem)| problem).collect())
}

fn is_grammar(error: &Diagnostic) -> bool {
    error.message.starts_with("syntax error")
}

type Parsed<T> = Result<T, Diagnostic>;

struct Parser {
    /// Ends with [`Tok::End`].
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Mistakes of meaning, found while the text went on being readable, each with the expression that is wrong.
    problems: Vec<(SourceSpan, Diagnostic)>,
}

impl Parser {
    fn peek(&self) -> &Tok {
        self.peek_nth(0)
    }

    fn peek_nth(&self, ahead: usize) -> &Tok {
        self.tokens.get(self.at + ahead).map_or(&Tok::End, |token| &token.tok)
    }

    /// Where the next token stands.
    fn span(&self) -> SourceSpan {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(SourceSpan::default(), |token| token.span)
    }

    /// From `start` to the end of the token read last.
    fn span_from(&self, start: SourceSpan) -> SourceSpan {
        self.at
            .checked_sub(1)
            .and_then(|last| self.tokens.get(last))
            .map_or(start, |last| start.to(last.span))
    }

    fn is_sym(&self, symbol: &str) -> bool {
        matches!(self.peek(), Tok::Sym(text) if *text == symbol)
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = self.is_sym(symbol);
        self.at += usize::from(found);
        found
    }

    /// The error about the next token. Like yacc's, it names what was expected only if that is at most four things.
    fn unexpected(&self, expected: &[&str]) -> Diagnostic {
        let mut message = format!("syntax error: unexpected {}", self.peek().name());
        if !expected.is_empty() && expected.len() <= 4 {
            message.push_str(&format!(", expecting {}", expected.join(" or ")));
        }
        Diagnostic::error(self.span(), message)
    }

    fn expect(&mut self, symbol: &'static str) -> Parsed<()> {
        if self.eat(symbol) { Ok(()) } else { Err(self.unexpected(&[symbol])) }
    }

    fn ident(&mut self, expected: &[&str]) -> Parsed<String> {
        match self.peek() {
            Tok::Ident(name) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    fn string(&mut self, expected: &[&str]) -> Parsed<String> {
        match self.peek() {
            Tok::Str(text) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    fn problem(&mut self, span: SourceSpan, message: impl Into<String>) {
        self.problems.push((span, Diagnostic::error(span, message)));
    }

    /// Runs `inner` one level deeper.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH_MAX {
            let message = format!("the query is nested more than {DEPTH_MAX} levels deep");
            return Err(Diagnostic::error(self.span(), message));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Counts one more operator of a chain: chains grow the tree to the left, so they are nesting too.
    fn grow(&mut self) -> Parsed<()> {
        self.depth += 1;
        match self.depth > DEPTH_MAX {
            true => Err(Diagnostic::error(self.span(), "the query has too many operators in a row")),
            false => Ok(()),
        }
    }

    fn whole_query(&mut self) -> Parsed<Expr> {
        let expr = self.expr(0)?;
        if *self.peek() == Tok::End { Ok(expr) } else { Err(self.unexpected(&[])) }
    }

    /// `selector pipeline`
    fn log_expr(&mut self) -> Parsed<LogExpr> {
        let start = self.span();
        let matchers = self.selector()?;
        let stages = self.pipeline()?;
        Ok(LogExpr { matchers, stages, span: self.span_from(start) })
    }

    /// `{a="b", c=~"d"}`
    fn selector(&mut self) -> Parsed<Vec<Matcher>> {
        self.expect("{")?;
        let mut matchers = Vec::new();
        if self.eat("}") {
            return Ok(matchers);
        }
        loop {
            matchers.push(self.matcher(if matchers.is_empty() {
                &["IDENTIFIER", "}"]
            } else {
                &["IDENTIFIER"]
            })?);
            if self.eat("}") {
                return Ok(matchers);
            }
            if !self.eat(",") {
                return Err(self.unexpected(&["}", ","]));
            }
        }
    }

    fn matcher(&mut self, expected: &[&str]) -> Parsed<Matcher> {
        let start = self.span();
        let name = self.ident(expected)?;
        let op = match self.peek() {
            Tok::Sym("=") => MatchOp::Eq,
            Tok::Sym("!=") => MatchOp::Ne,
            Tok::Sym("=~") => MatchOp::Re,
            Tok::Sym("!~") => MatchOp::Nre,
            _ => return Err(self.unexpected(&["=", "=~", "!~", "!="])),
        };
        self.at += 1;
        let value = self.string(&["STRING"])?;
        self.new_matcher(start, name, op, value)
    }

    fn new_matcher(
        &mut self,
        start: SourceSpan,
        name: String,
        op: MatchOp,
        value: String,
    ) -> Parsed<Matcher> {
        let span = self.span_from(start);
        let pattern = match op {
            MatchOp::Re | MatchOp::Nre => {
                Some(Pattern::whole(&value).map_err(|error| Diagnostic::error(span, error))?)
            }
            MatchOp::Eq | MatchOp::Ne => None,
        };
        Ok(Matcher { name, op, value, pattern, span })
    }

    /// Refuses selectors that would read every stream there is.
    fn require_selective(&mut self, expr: &Expr) {
        let broad: Vec<SourceSpan> = expr
            .logs()
            .iter()
            .filter(|log| log.matchers.iter().all(|m| m.matches("")))
            .map(|log| log.span)
            .collect();
        for span in broad {
            self.problem(
                span,
                "queries require at least one regexp or equality matcher that does not have an empty-compatible \
                 value. For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will",
            );
        }
    }
}
