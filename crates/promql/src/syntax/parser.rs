//! Text to tree, by recursive descent with binding powers.
//!
//! Promises: the same trees, positions and messages as Prometheus's generated parser; a tree no deeper than
//! `DEPTH_MAX`; at most one syntax error (the first), preceded by what was wrong before it. All experimental syntax is on.

use kenning_model::{METRIC_NAME, Millis};
use kenning_query::{Diagnostic, SourceSpan};

use super::ast::{
    Aggregate, Aggregator, At, Binary, BinaryOp, Call, Cardinality, DurationExpr, DurationOp, DurationSpec,
    Expr, Extension, Grouping, MatchOp, Matcher, Matching, MatrixSelector, NumberLiteral, Paren,
    StringLiteral, Subquery, Unary, VectorSelector,
};
use super::check::check;
use super::lexer::{Keyword, Kind, Lexer, Preprocessor, Token};
use super::signature::Signature;
use crate::text::{decimal, is_label, parse_duration, parse_number, quote, unquote};

/// Deepest tree, counting parentheses, calls, signs and links of operator chains. Every pass over the tree recurses,
/// so this bounds their stack.
const DEPTH_MAX: usize = 250;

/// Deepest nesting without links of operator chains. The parser recurses for these only, with larger frames than any
/// later pass.
const NESTING_MAX: usize = 100;

/// Longest query, in bytes; positions must fit into 32 bits and callers may ask for less.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Reads a query.
///
/// # Errors
/// Everything found wrong with it, the first first. Messages are Prometheus's, without the leading position.
pub fn parse(text: &str) -> Result<Expr, Vec<Diagnostic>> {
    let mut parser = Parser::new(text)?;
    let expr = parser.query().ok();
    parser.finish(expr, |expr, problems| check(expr, text, problems))
}

/// Reads a series selector (`match[]` of the API).
///
/// # Errors
/// Everything found wrong with it.
pub fn parse_selector(text: &str) -> Result<VectorSelector, Vec<Diagnostic>> {
    let mut parser = Parser::new(text)?;
    let selector = parser.lone_selector().ok();
    parser.finish(selector, |selector, problems| {
        if selector.matchers.iter().all(|matcher| matcher.matches("")) {
            problems.push(Diagnostic::error(
                selector.span,
                "match[] must contain at least one non-empty matcher",
            ));
        }
    })
}

/// Reads the labels of a series written like a selector, without the rule that some condition must be there.
pub(super) fn parse_series_name(text: &str) -> Result<VectorSelector, Vec<Diagnostic>> {
    let mut parser = Parser::new(text)?;
    let selector = parser.lone_selector().ok();
    parser.finish(selector, |_, _| {})
}

/// Parsing cannot go on; the reason is recorded.
struct Stop;

type Parsed<T> = Result<T, Stop>;

/// What a syntax error names as its surroundings. The innermost one that has words for it wins.
#[derive(Clone, Copy)]
struct Context {
    place: &'static str,
    expected: &'static str,
}

const AGGREGATION: Context = Context { place: "aggregation", expected: "" };
const GROUPING: Context = Context { place: "grouping opts", expected: "\"(\"" };
const GROUPING_LABEL: Context = Context { place: "grouping opts", expected: "label" };
const GROUPING_NEXT: Context = Context { place: "grouping opts", expected: "\",\" or \")\"" };
const OFFSET: Context = Context { place: "offset", expected: "number, duration, step(), or range()" };
const AT: Context = Context { place: "@", expected: "timestamp" };
const RANGE_SELECTOR: Context =
    Context { place: "subquery or range selector", expected: "number, duration, step(), or range()" };
const RANGE_END: Context = Context { place: "subquery or range", expected: "\":\" or \"]\"" };
const SUBQUERY: Context =
    Context { place: "subquery selector", expected: "number, duration, step(), range(), or \"]\"" };
const SUBQUERY_END: Context = Context { place: "subquery selector", expected: "\"]\"" };
const LABEL: Context = Context { place: "label matching", expected: "identifier or \"}\"" };
const LABEL_OPERATOR: Context = Context { place: "label matching", expected: "label matching operator" };
const LABEL_VALUE: Context = Context { place: "label matching", expected: "string" };
const LABEL_NEXT: Context = Context { place: "label matching", expected: "\",\" or \"}\"" };

const BINDING_OR: u8 = 1;
const BINDING_AND: u8 = 2;
const BINDING_COMPARISON: u8 = 3;
const BINDING_SUM: u8 = 4;
const BINDING_PRODUCT: u8 = 5;
const BINDING_POWER: u8 = 6;

struct Parser<'a> {
    lexer: Lexer<'a>,
    peeked: Option<Token<'a>>,
    problems: Vec<Diagnostic>,
    contexts: Vec<Context>,
    depth: usize,
    nesting: usize,
    end: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, Vec<Diagnostic>> {
        if text.len() > TEXT_BYTES_MAX {
            let message = format!("the query is {} bytes long; the limit is {TEXT_BYTES_MAX}", text.len());
            return Err(vec![Diagnostic::error(SourceSpan::new(0, TEXT_BYTES_MAX), message)]);
        }
        Ok(Self {
            lexer: Lexer::new(text),
            peeked: None,
            problems: Vec::new(),
            contexts: Vec::new(),
            depth: 0,
            nesting: 0,
            end: text.len(),
        })
    }

    fn finish<T>(
        mut self,
        tree: Option<T>,
        check: impl FnOnce(&T, &mut Vec<Diagnostic>),
    ) -> Result<T, Vec<Diagnostic>> {
        if let (Some(tree), true) = (&tree, self.problems.is_empty()) {
            check(tree, &mut self.problems);
        }
        match tree {
            Some(tree) if self.problems.is_empty() => Ok(tree),
            _ => Err(self.problems),
        }
    }

    fn problem(&mut self, span: SourceSpan, message: impl Into<String>) {
        self.problems.push(Diagnostic::error(span, message));
    }

    fn peek(&mut self) -> Parsed<Token<'a>> {
        if let Some(token) = self.peeked {
            return Ok(token);
        }
        match self.lexer.next() {
            Ok(token) => Ok(*self.peeked.insert(token)),
            Err(error) => {
                let span = SourceSpan::new(error.start, self.end);
                self.problem(span, error.message);
                Err(Stop)
            }
        }
    }

    fn next(&mut self) -> Parsed<Token<'a>> {
        let token = self.peek()?;
        self.peeked = None;
        Ok(token)
    }

    fn accept(&mut self, kind: Kind) -> Parsed<Option<Token<'a>>> {
        if self.peek()?.kind == kind { self.next().map(Some) } else { Ok(None) }
    }

    fn expect(&mut self, kind: Kind) -> Parsed<Token<'a>> {
        match self.accept(kind)? {
            Some(token) => Ok(token),
            None => self.unexpected(None),
        }
    }

    /// Records that the next token does not fit.
    fn unexpected<T>(&mut self, context: Option<Context>) -> Parsed<T> {
        let token = self.peek()?;
        let mut message = format!("unexpected {}", token.describe());
        if let Some(context) = context.or(self.contexts.last().copied()) {
            message = format!("{message} in {}", context.place);
            if !context.expected.is_empty() {
                message = format!("{message}, expected {}", context.expected);
            }
        }
        self.problem(token.span(), message);
        Err(Stop)
    }

    fn within<T>(&mut self, context: Context, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.contexts.push(context);
        let parsed = parse(self);
        self.contexts.pop();
        parsed
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.link()?;
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return self.too_deep(NESTING_MAX);
        }
        let parsed = parse(self);
        self.nesting -= 1;
        self.depth -= 1;
        parsed
    }

    /// Makes the tree one deeper.
    fn link(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { self.too_deep(DEPTH_MAX) } else { Ok(()) }
    }

    fn too_deep<T>(&mut self, limit: usize) -> Parsed<T> {
        let span = self.peek()?.span();
        self.problem(span, format!("the query is nested deeper than {limit} levels"));
        Err(Stop)
    }

    fn query(&mut self) -> Parsed<Expr> {
        if self.peek()?.kind == Kind::End {
            self.problem(SourceSpan::default(), "no expression found in input");
            return Err(Stop);
        }
        let expr = self.expr(0)?;
        self.expect(Kind::End)?;
        Ok(expr)
    }

    fn lone_selector(&mut self) -> Parsed<VectorSelector> {
        let token = self.next()?;
        let selector = match token.kind {
            Kind::LeftBrace => self.selector(None, token)?,
            kind if names_metric(kind) => self.named_selector(token)?,
            _ => {
                self.peeked = Some(token);
                return self.unexpected(None);
            }
        };
        self.expect(Kind::End)?;
        Ok(selector)
    }

    /// An expression whose operators bind at least as tightly as `binding`.
    fn expr(&mut self, binding: u8) -> Parsed<Expr> {
        self.deeper(|parser| {
            let depth = parser.depth;
            let mut left = parser.operand()?;
            while let Some((op, power)) = binary_operator(parser.peek()?.kind).filter(|(_, p)| *p >= binding)
            {
                parser.next()?;
                parser.link()?;
                left = parser.binary(left, op, power)?;
            }
            parser.depth = depth;
            Ok(left)
        })
    }

    fn binary(&mut self, left: Expr, op: BinaryOp, power: u8) -> Parsed<Expr> {
        let returns_bool = self.accept(Kind::Keyword(Keyword::Bool))?.is_some();
        let mut matching = self.matching()?;
        if op.is_set() && matching.cardinality == Cardinality::OneToOne {
            matching.cardinality = Cardinality::ManyToMany;
        }
        let right_power = if op == BinaryOp::Pow { power } else { power + 1 };
        let right = self.expr(right_power)?;
        let span = left.span().to(right.span());
        Ok(Expr::Binary(Box::new(Binary { op, left, right, matching, returns_bool, span })))
    }

    fn matching(&mut self) -> Parsed<Matching> {
        let mut matching = Matching::default();
        if let Kind::Keyword(keyword @ (Keyword::On | Keyword::Ignoring)) = self.peek()?.kind {
            self.next()?;
            matching.on = keyword == Keyword::On;
            matching.labels = self.grouping_labels()?;
            if let Kind::Keyword(keyword @ (Keyword::GroupLeft | Keyword::GroupRight)) = self.peek()?.kind {
                self.next()?;
                let left = keyword == Keyword::GroupLeft;
                matching.cardinality = if left { Cardinality::ManyToOne } else { Cardinality::OneToMany };
                if self.peek()?.kind == Kind::LeftParen {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        self.fill(&mut matching)?;
        Ok(matching)
    }

    fn fill(&mut self, matching: &mut Matching) -> Parsed<()> {
        let Kind::Keyword(first) = self.peek()?.kind else { return Ok(()) };
        match first {
            Keyword::Fill => {
                self.next()?;
                let value = self.fill_value()?;
                (matching.fill_left, matching.fill_right) = (Some(value), Some(value));
            }
            Keyword::FillLeft => {
                self.next()?;
                matching.fill_left = Some(self.fill_value()?);
                if self.accept(Kind::Keyword(Keyword::FillRight))?.is_some() {
                    matching.fill_right = Some(self.fill_value()?);
                }
            }
            Keyword::FillRight => {
                self.next()?;
                matching.fill_right = Some(self.fill_value()?);
                if self.accept(Kind::Keyword(Keyword::FillLeft))?.is_some() {
                    matching.fill_left = Some(self.fill_value()?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Parsed<f64> {
        self.expect(Kind::LeftParen)?;
        let value = self.signed_number()?;
        self.expect(Kind::RightParen)?;
        Ok(value)
    }

    /// A number or duration with or without a sign.
    fn signed_number(&mut self) -> Parsed<f64> {
        let sign = match self.peek()?.kind {
            Kind::Add => self.next().map(|_| 1.0)?,
            Kind::Sub => self.next().map(|_| -1.0)?,
            _ => 1.0,
        };
        match self.peek()?.kind {
            Kind::Number | Kind::Duration => Ok(sign * self.number()?.value),
            _ => self.unexpected(None),
        }
    }

    fn number(&mut self) -> Parsed<NumberLiteral> {
        let token = self.next()?;
        let is_duration = token.kind == Kind::Duration;
        let value = if is_duration {
            parse_duration(token.text).map(|ms| ms as f64 / 1000.0)
        } else {
            parse_number(token.text).map_err(|error| format!("error parsing number: {error}"))
        };
        let value = value.unwrap_or_else(|message| {
            self.problem(token.span(), message);
            0.0
        });
        Ok(NumberLiteral { value, is_duration, span: token.span() })
    }

    /// A primary expression with what follows it: ranges, offsets, `@`.
    fn operand(&mut self) -> Parsed<Expr> {
        let token = self.peek()?;
        if matches!(token.kind, Kind::Add | Kind::Sub) {
            return self.signed();
        }
        let mut expr = self.primary()?;
        loop {
            expr = match self.peek()?.kind {
                Kind::LeftBracket => self.range(expr)?,
                Kind::Keyword(Keyword::Offset) => self.offset(expr)?,
                Kind::At => self.at(expr)?,
                Kind::Keyword(Keyword::Anchored) => self.extension(expr, Extension::Anchored)?,
                Kind::Keyword(Keyword::Smoothed) => self.extension(expr, Extension::Smoothed)?,
                _ => return Ok(expr),
            };
        }
    }

    /// A sign binds like a product: `-2^2` is `-(2^2)`, `-a*b` is `(-a)*b`.
    fn signed(&mut self) -> Parsed<Expr> {
        let sign = self.next()?;
        let negative = sign.kind == Kind::Sub;
        let operand = self.expr(BINDING_POWER)?;
        let span = sign.span().to(operand.span());
        Ok(match operand {
            Expr::Number(literal) => {
                let value = if negative { -literal.value } else { literal.value };
                Expr::Number(NumberLiteral { value, span, ..literal })
            }
            operand => Expr::Unary(Unary { negative, operand: Box::new(operand), span }),
        })
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let token = self.peek()?;
        match token.kind {
            Kind::Number | Kind::Duration => Ok(Expr::Number(self.number()?)),
            Kind::String => {
                self.next()?;
                let value = self.unquote(token);
                Ok(Expr::String(StringLiteral { value, span: token.span() }))
            }
            Kind::LeftParen => self.paren(),
            Kind::LeftBrace => {
                self.next()?;
                self.selector(None, token).map(Expr::Selector)
            }
            Kind::Identifier | Kind::Preprocessor(_) => {
                self.next()?;
                if self.peek()?.kind == Kind::LeftParen {
                    self.call(token)
                } else {
                    self.named_selector(token).map(Expr::Selector)
                }
            }
            Kind::Aggregator(op) => {
                self.next()?;
                let by = |kind| matches!(kind, Kind::Keyword(Keyword::By | Keyword::Without));
                let next = self.peek()?.kind;
                if next == Kind::LeftParen || by(next) {
                    self.aggregate(op, token)
                } else {
                    self.named_selector(token).map(Expr::Selector)
                }
            }
            kind if names_metric(kind) => {
                self.next()?;
                self.named_selector(token).map(Expr::Selector)
            }
            _ => self.unexpected(None),
        }
    }

    fn unquote(&mut self, token: Token<'a>) -> String {
        unquote(token.text).unwrap_or_else(|error| {
            self.problem(token.span(), format!("error unquoting string {}: {error}", quote(token.text)));
            String::new()
        })
    }

    fn paren(&mut self) -> Parsed<Expr> {
        let open = self.next()?;
        let inner = Box::new(self.expr(0)?);
        let close = self.expect(Kind::RightParen)?;
        Ok(Expr::Paren(Paren { inner, span: open.span().to(close.span()) }))
    }

    fn call(&mut self, name: Token<'a>) -> Parsed<Expr> {
        let (args, end) = self.arguments()?;
        let function = Signature::find(name.text).unwrap_or_else(|| {
            self.problem(name.span(), format!("unknown function with name {}", quote(name.text)));
            &UNKNOWN_FUNCTION
        });
        Ok(Expr::Call(Call { function, args, span: SourceSpan::new(name.start, end) }))
    }

    /// `(a, b)`; gives the end of the closing parenthesis too.
    fn arguments(&mut self) -> Parsed<(Vec<Expr>, usize)> {
        self.expect(Kind::LeftParen)?;
        let mut args = Vec::new();
        if let Some(close) = self.accept(Kind::RightParen)? {
            return Ok((args, close.end()));
        }
        args.push(self.expr(0)?);
        loop {
            let token = self.peek()?;
            match token.kind {
                Kind::RightParen => return self.next().map(|close| (args, close.end())),
                Kind::Comma => {
                    self.next()?;
                    if !begins_expression(self.peek()?.kind) {
                        let message = "trailing commas not allowed in function call args";
                        self.problem(token.span(), message);
                    } else {
                        args.push(self.expr(0)?);
                    }
                }
                _ => return self.unexpected(None),
            }
        }
    }

    fn aggregate(&mut self, op: Aggregator, name: Token<'a>) -> Parsed<Expr> {
        let (grouping, args, end) = self.within(AGGREGATION, |parser| {
            let before = parser.grouping()?;
            let (args, mut end) = parser.arguments()?;
            let grouping = match before {
                Some((grouping, _)) => grouping,
                None => match parser.grouping()? {
                    Some((grouping, close)) => {
                        end = close;
                        grouping
                    }
                    None => Grouping::default(),
                },
            };
            Ok((grouping, args, end))
        })?;
        let span = SourceSpan::new(name.start, end);
        let (count, wanted) = (args.len(), if op.has_param() { 2 } else { 1 });
        let mut args = args.into_iter();
        let param = if op.has_param() { args.next() } else { None };
        if count == 0 {
            self.problem(span, "no arguments for aggregate expression provided");
        } else if count != wanted {
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {count}"
            );
            self.problem(span, message);
        }
        let nothing = || Expr::Number(NumberLiteral { value: 0.0, is_duration: false, span });
        let operand = args.next().unwrap_or_else(nothing);
        Ok(Expr::Aggregate(Box::new(Aggregate { op, operand, param, grouping, span })))
    }

    fn grouping(&mut self) -> Parsed<Option<(Grouping, usize)>> {
        let Kind::Keyword(keyword @ (Keyword::By | Keyword::Without)) = self.peek()?.kind else {
            return Ok(None);
        };
        self.next()?;
        let (labels, end) = self.label_list()?;
        Ok(Some((Grouping { without: keyword == Keyword::Without, labels }, end)))
    }

    fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        self.label_list().map(|(labels, _)| labels)
    }

    fn label_list(&mut self) -> Parsed<(Vec<String>, usize)> {
        if self.accept(Kind::LeftParen)?.is_none() {
            return self.unexpected(Some(GROUPING));
        }
        let mut labels = Vec::new();
        loop {
            if let Some(close) = self.accept(Kind::RightParen)? {
                return Ok((labels, close.end()));
            }
            labels.push(self.grouping_label()?);
            let token = self.peek()?;
            match token.kind {
                Kind::Comma => {
                    self.next()?;
                }
                Kind::RightParen => {}
                _ => return self.unexpected(Some(GROUPING_NEXT)),
            }
        }
    }

    fn grouping_label(&mut self) -> Parsed<String> {
        let token = self.peek()?;
        let name = match token.kind {
            Kind::String => self.unquote(token),
            kind if names_label(kind) => token.text.to_owned(),
            _ => return self.unexpected(Some(GROUPING_LABEL)),
        };
        self.next()?;
        if !is_label(&name) {
            self.problem(token.span(), format!("invalid label name for grouping: {}", quote(&name)));
        }
        Ok(name)
    }

    fn named_selector(&mut self, name: Token<'a>) -> Parsed<VectorSelector> {
        match self.accept(Kind::LeftBrace)? {
            Some(_) => self.selector(Some(name), name),
            None => Ok(self.new_selector(Some(name), Vec::new(), name.span())),
        }
    }

    /// The inside of the braces and their end. `first` is where the selector starts.
    fn selector(&mut self, name: Option<Token<'a>>, first: Token<'a>) -> Parsed<VectorSelector> {
        let mut matchers = Vec::new();
        let mut close = self.accept(Kind::RightBrace)?;
        while close.is_none() {
            matchers.extend(self.matcher()?);
            close = self.accept(Kind::RightBrace)?;
            if close.is_none() {
                if self.accept(Kind::Comma)?.is_none() {
                    return self.unexpected(Some(LABEL_NEXT));
                }
                close = self.accept(Kind::RightBrace)?;
            }
        }
        let end = close.map_or(first.end(), |token| token.end());
        Ok(self.new_selector(name, matchers, SourceSpan::new(first.start, end)))
    }

    fn new_selector(
        &self,
        name: Option<Token<'a>>,
        mut matchers: Vec<Matcher>,
        span: SourceSpan,
    ) -> VectorSelector {
        let name = name.map_or("", |token| token.text);
        if !name.is_empty() {
            matchers.push(Matcher::equal(METRIC_NAME, name));
        }
        VectorSelector {
            name: name.into(),
            matchers,
            offset: DurationSpec::ZERO,
            at: None,
            extension: None,
            span,
        }
    }

    fn matcher(&mut self) -> Parsed<Option<Matcher>> {
        let label = self.peek()?;
        let quoted = label.kind == Kind::String;
        let name = match label.kind {
            Kind::Identifier => label.text.to_owned(),
            Kind::String => self.unquote(label),
            _ => return self.unexpected(Some(LABEL)),
        };
        self.next()?;
        let op = match self.peek()?.kind {
            Kind::Assign => MatchOp::Eq,
            Kind::NotEqual => MatchOp::Ne,
            Kind::Matches => MatchOp::Re,
            Kind::NotMatches => MatchOp::NotRe,
            _ if quoted => return Ok(Some(Matcher::equal(METRIC_NAME, &name))),
            _ => return self.unexpected(Some(LABEL_OPERATOR)),
        };
        self.next()?;
        let Some(value) = self.accept(Kind::String)? else { return self.unexpected(Some(LABEL_VALUE)) };
        let text = self.unquote(value);
        match Matcher::new(&name, op, &text) {
            Ok(matcher) => Ok(Some(matcher)),
            Err(message) => {
                self.problem(label.span().to(value.span()), message);
                Ok(None)
            }
        }
    }

    fn range(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.next()?;
        let range = self.within(RANGE_SELECTOR, |parser| parser.positive_duration())?;
        let token = self.peek()?;
        match token.kind {
            Kind::RightBracket => {
                self.next()?;
                self.matrix(expr, range, open.span().to(token.span()))
            }
            Kind::Colon => {
                self.next()?;
                self.subquery(expr, range)
            }
            _ => self.unexpected(Some(RANGE_END)),
        }
    }

    fn matrix(&mut self, expr: Expr, range: DurationSpec, brackets: SourceSpan) -> Parsed<Expr> {
        let problem = match &expr {
            Expr::Selector(selector) if !selector.offset.is_zero() => {
                "no offset modifiers allowed before range"
            }
            Expr::Selector(selector) if selector.at.is_some() => "no @ modifiers allowed before range",
            Expr::Selector(_) => "",
            _ => "ranges only allowed for vector selectors",
        };
        if !problem.is_empty() {
            self.problem(brackets, problem);
        }
        let span = expr.span().to(brackets);
        let selector = match expr {
            Expr::Selector(selector) => selector,
            // The mistake is recorded; an empty selector lets parsing go on to find others.
            _ => self.new_selector(None, Vec::new(), span),
        };
        Ok(Expr::Matrix(MatrixSelector { selector, range, span }))
    }

    fn subquery(&mut self, operand: Expr, range: DurationSpec) -> Parsed<Expr> {
        let step = if self.peek()?.kind == Kind::RightBracket {
            None
        } else {
            Some(self.within(SUBQUERY, |parser| parser.positive_duration())?)
        };
        let Some(close) = self.accept(Kind::RightBracket)? else {
            return self.unexpected(Some(SUBQUERY_END));
        };
        let span = operand.span().to(close.span());
        let offset = DurationSpec::ZERO;
        Ok(Expr::Subquery(Box::new(Subquery { operand, range, step, offset, at: None, span })))
    }

    fn positive_duration(&mut self) -> Parsed<DurationSpec> {
        let duration = self.duration_expr(0)?;
        if let DurationExpr::Number(literal) = &duration
            && literal.value <= 0.0
        {
            self.problem(literal.span, "duration must be greater than 0");
        }
        Ok(specification(duration))
    }

    fn duration_expr(&mut self, binding: u8) -> Parsed<DurationExpr> {
        self.deeper(|parser| {
            let depth = parser.depth;
            let mut left = parser.duration_operand()?;
            while let Some((op, power)) =
                duration_operator(parser.peek()?.kind).filter(|(_, p)| *p >= binding)
            {
                let token = parser.next()?;
                parser.link()?;
                let right = parser.duration_expr(if op == DurationOp::Pow { power } else { power + 1 })?;
                if matches!(&right, DurationExpr::Number(literal) if literal.value == 0.0) {
                    match op {
                        DurationOp::Div => parser.problem(token.span(), "division by zero"),
                        DurationOp::Mod => parser.problem(token.span(), "modulo by zero"),
                        _ => {}
                    }
                }
                left = DurationExpr::Binary(op, Box::new(left), Box::new(right));
            }
            parser.depth = depth;
            Ok(left)
        })
    }

    fn duration_operand(&mut self) -> Parsed<DurationExpr> {
        let token = self.peek()?;
        match token.kind {
            Kind::Add | Kind::Sub => {
                self.next()?;
                let operand = self.duration_expr(BINDING_POWER)?;
                Ok(self.signed_duration(token, operand))
            }
            _ => self.duration_primary(),
        }
    }

    fn duration_primary(&mut self) -> Parsed<DurationExpr> {
        let token = self.peek()?;
        match token.kind {
            Kind::Number | Kind::Duration => {
                let literal = self.number()?;
                Ok(DurationExpr::Number(self.within_range(literal, token.span())))
            }
            Kind::Preprocessor(Preprocessor::Step) => self.empty_call().map(DurationExpr::Step),
            Kind::Preprocessor(Preprocessor::Range) => self.empty_call().map(DurationExpr::Range),
            Kind::Preprocessor(which @ (Preprocessor::MaxOf | Preprocessor::MinOf)) => {
                self.next()?;
                self.expect(Kind::LeftParen)?;
                let left = Box::new(self.duration_expr(0)?);
                self.expect(Kind::Comma)?;
                let right = Box::new(self.duration_expr(0)?);
                let close = self.expect(Kind::RightParen)?;
                let (max, span) = (which == Preprocessor::MaxOf, token.span().to(close.span()));
                Ok(DurationExpr::Extreme { max, left, right, span })
            }
            Kind::LeftParen => {
                self.next()?;
                let inner = self.duration_expr(0)?;
                let close = self.expect(Kind::RightParen)?;
                let span = token.span().to(close.span());
                Ok(match inner {
                    paren @ DurationExpr::Paren(..) => paren,
                    inner => DurationExpr::Paren(Box::new(inner), span),
                })
            }
            _ => self.unexpected(None),
        }
    }

    /// `step()` and the like: the word, `(`, `)`.
    fn empty_call(&mut self) -> Parsed<SourceSpan> {
        let word = self.next()?;
        self.expect(Kind::LeftParen)?;
        let close = self.expect(Kind::RightParen)?;
        Ok(word.span().to(close.span()))
    }

    fn signed_duration(&mut self, sign: Token<'a>, operand: DurationExpr) -> DurationExpr {
        let span = sign.span().to(operand.span());
        match operand {
            DurationExpr::Number(literal) => {
                let value = if sign.kind == Kind::Sub { -literal.value } else { literal.value };
                DurationExpr::Number(self.within_range(NumberLiteral { value, span, ..literal }, sign.span()))
            }
            operand if sign.kind == Kind::Sub => DurationExpr::Negate(Box::new(operand), span),
            operand => operand,
        }
    }

    fn within_range(&mut self, literal: NumberLiteral, place: SourceSpan) -> NumberLiteral {
        if literal.value.abs() > SECONDS_MAX {
            self.problem(place, "duration out of range");
            return NumberLiteral { value: 0.0, ..literal };
        }
        literal
    }

    fn offset(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.next()?;
        let (duration, end) = self.within(OFFSET, |parser| parser.offset_duration())?;
        let offset = specification(duration);
        let span = expr.span();
        let (slot, whole) = match &mut expr {
            Expr::Selector(selector) => (&mut selector.offset, &mut selector.span),
            Expr::Matrix(matrix) => (&mut matrix.selector.offset, &mut matrix.span),
            Expr::Subquery(subquery) => (&mut subquery.offset, &mut subquery.span),
            _ => {
                let message = "offset modifier must be preceded by an instant vector selector or range vector \
                               selector or a subquery";
                self.problem(span, message);
                return Ok(expr);
            }
        };
        let repeated = !slot.is_zero();
        if !repeated {
            *slot = offset;
        }
        whole.end = end as u32;
        if repeated {
            self.problem(span, "offset may not be set multiple times");
        }
        Ok(expr)
    }

    /// An offset ends after a bare literal or call, so that `a offset 1m ^ 2` is `(a offset 1m) ^ 2`; arithmetic
    /// needs parentheses. Gives the end of what was read too.
    fn offset_duration(&mut self) -> Parsed<(DurationExpr, usize)> {
        let token = self.peek()?;
        let duration = match token.kind {
            Kind::Add | Kind::Sub => {
                self.next()?;
                let operand = self.duration_primary()?;
                self.signed_duration(token, operand)
            }
            // Only a parenthesised duration may go on as arithmetic.
            Kind::LeftParen => self.duration_expr(0)?,
            _ => self.duration_primary()?,
        };
        let end = duration_end(&duration);
        Ok((duration, end))
    }

    fn at(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.next()?;
        let (at, end) = self.within(AT, |parser| parser.timestamp(expr.span()))?;
        let span = expr.span();
        let (slot, whole) = match &mut expr {
            Expr::Selector(selector) => (&mut selector.at, &mut selector.span),
            Expr::Matrix(matrix) => (&mut matrix.selector.at, &mut matrix.span),
            Expr::Subquery(subquery) => (&mut subquery.at, &mut subquery.span),
            _ => {
                let message = "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                self.problem(span, message);
                return Ok(expr);
            }
        };
        let repeated = slot.is_some();
        if !repeated {
            *slot = Some(at);
            whole.end = end as u32;
        }
        if repeated {
            self.problem(span, "@ <timestamp> may not be set multiple times");
        }
        Ok(expr)
    }

    fn timestamp(&mut self, span: SourceSpan) -> Parsed<(At, usize)> {
        let token = self.peek()?;
        if let Kind::Preprocessor(which @ (Preprocessor::Start | Preprocessor::End)) = token.kind {
            let call = self.empty_call()?;
            let at = if which == Preprocessor::Start { At::Start } else { At::End };
            return Ok((at, call.end as usize));
        }
        let seconds = self.signed_number()?;
        let end = self.lexer.consumed();
        if !seconds.is_finite() || seconds.abs() >= i64::MAX as f64 {
            let shown = if seconds.is_finite() { format!("{seconds:.6}") } else { decimal(seconds) };
            self.problem(span, format!("timestamp out of bounds for @ modifier: {shown}"));
        }
        Ok((At::Time(whole_millis(seconds * 1000.0)), end))
    }

    fn extension(&mut self, mut expr: Expr, wanted: Extension) -> Parsed<Expr> {
        self.next()?;
        let span = expr.span();
        let word = if wanted == Extension::Anchored { "anchored" } else { "smoothed" };
        let slot = match &mut expr {
            Expr::Selector(selector) => &mut selector.extension,
            Expr::Matrix(matrix) => &mut matrix.selector.extension,
            Expr::Subquery(_) => {
                self.problem(span, format!("{word} modifier is not supported for subqueries"));
                return Ok(expr);
            }
            _ => {
                self.problem(span, format!("{word} modifier not implemented"));
                return Ok(expr);
            }
        };
        let conflict = slot.is_some_and(|set| set != wanted);
        *slot = Some(wanted);
        if conflict {
            self.problem(span, "anchored and smoothed modifiers cannot be used together");
        }
        Ok(expr)
    }
}

/// Stands for a function that does not exist, until the error that says so is returned.
static UNKNOWN_FUNCTION: Signature =
    Signature { name: "", args: &[], variadic: 0, returns: super::ValueType::Vector, experimental: false };

/// Longest duration, in seconds: 64 bits of nanoseconds.
const SECONDS_MAX: f64 = i64::MAX as f64 / 1e9;

/// A literal becomes whole milliseconds at once.
fn specification(duration: DurationExpr) -> DurationSpec {
    match duration {
        DurationExpr::Number(literal) => {
            let nanos = (literal.value * 1e9).round();
            DurationSpec::Literal((nanos / 1e6).trunc() as i64)
        }
        duration => DurationSpec::Expr(duration),
    }
}

/// Where the text of a duration ends; parentheses and calls included.
fn duration_end(duration: &DurationExpr) -> usize {
    match duration {
        DurationExpr::Extreme { span, .. } => span.end as usize,
        DurationExpr::Negate(inner, _) => duration_end(inner),
        DurationExpr::Binary(_, _, right) => duration_end(right),
        duration => duration.span().end as usize,
    }
}

fn binary_operator(kind: Kind) -> Option<(BinaryOp, u8)> {
    Some(match kind {
        Kind::Or => (BinaryOp::Or, BINDING_OR),
        Kind::And => (BinaryOp::And, BINDING_AND),
        Kind::Unless => (BinaryOp::Unless, BINDING_AND),
        Kind::Equal => (BinaryOp::Eq, BINDING_COMPARISON),
        Kind::NotEqual => (BinaryOp::Ne, BINDING_COMPARISON),
        Kind::Greater => (BinaryOp::Gt, BINDING_COMPARISON),
        Kind::Less => (BinaryOp::Lt, BINDING_COMPARISON),
        Kind::GreaterEqual => (BinaryOp::Ge, BINDING_COMPARISON),
        Kind::LessEqual => (BinaryOp::Le, BINDING_COMPARISON),
        Kind::TrimUpper => (BinaryOp::TrimUpper, BINDING_COMPARISON),
        Kind::TrimLower => (BinaryOp::TrimLower, BINDING_COMPARISON),
        Kind::Add => (BinaryOp::Add, BINDING_SUM),
        Kind::Sub => (BinaryOp::Sub, BINDING_SUM),
        Kind::Mul => (BinaryOp::Mul, BINDING_PRODUCT),
        Kind::Div => (BinaryOp::Div, BINDING_PRODUCT),
        Kind::Mod => (BinaryOp::Mod, BINDING_PRODUCT),
        Kind::Atan2 => (BinaryOp::Atan2, BINDING_PRODUCT),
        Kind::Pow => (BinaryOp::Pow, BINDING_POWER),
        _ => return None,
    })
}

fn duration_operator(kind: Kind) -> Option<(DurationOp, u8)> {
    Some(match kind {
        Kind::Add => (DurationOp::Add, BINDING_SUM),
        Kind::Sub => (DurationOp::Sub, BINDING_SUM),
        Kind::Mul => (DurationOp::Mul, BINDING_PRODUCT),
        Kind::Div => (DurationOp::Div, BINDING_PRODUCT),
        Kind::Mod => (DurationOp::Mod, BINDING_PRODUCT),
        Kind::Pow => (DurationOp::Pow, BINDING_POWER),
        _ => return None,
    })
}

/// Words that may be a metric's name outside braces.
fn names_metric(kind: Kind) -> bool {
    use Keyword::{Anchored, By, Fill, FillLeft, FillRight, Offset, Smoothed, Without};
    match kind {
        Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregator(_) | Kind::Preprocessor(_) => true,
        Kind::And | Kind::Or | Kind::Unless => true,
        Kind::Keyword(word) => {
            matches!(word, Anchored | By | Fill | FillLeft | FillRight | Offset | Smoothed | Without)
        }
        _ => false,
    }
}

/// Words that may be a label's name in a list of labels.
/// As in Prometheus, `without` is the one word that names no label where labels are listed.
fn names_label(kind: Kind) -> bool {
    names_metric(kind)
        || matches!(kind, Kind::Keyword(keyword) if keyword != Keyword::Without)
        || kind == Kind::Atan2
}

/// Whether a token may be the first of an expression.
fn begins_expression(kind: Kind) -> bool {
    use Kind::{
        Add, Aggregator, Duration, Identifier, LeftBrace, LeftParen, Number, Preprocessor, String, Sub,
    };
    let first = matches!(
        kind,
        Add | Sub
            | Number
            | Duration
            | String
            | LeftParen
            | LeftBrace
            | Identifier
            | Preprocessor(_)
            | Aggregator(_)
    );
    first || names_metric(kind)
}

/// Milliseconds as Prometheus rounds them; what does not fit is the earliest time, as for Go on its usual machines.
fn whole_millis(millis: f64) -> Millis {
    let fits = millis >= i64::MIN as f64 && millis < i64::MAX as f64;
    Millis(if fits { millis.round() as i64 } else { i64::MIN })
}
