//! Reads a query. Recursive descent with the precedences of Tempo's grammar; nesting is bounded by [`DEPTH_MAX`].

use kenning_model::{Pattern, SpanKind, StatusCode};
use kenning_query::{Diagnostic, SourceSpan};

use crate::ast::{
    Aggregate, AggregateOp, Attribute, BinaryExpr, FieldExpr, Intrinsic, Join, Op, Pipeline, Relation,
    ScalarExpr, ScalarFilter, Scope, SpansetExpr, SpansetOp, Step,
};
use crate::check;
use crate::lexer::{Tok, Token, tokens};
use crate::value::{Static, Type};

/// Longest query text, in bytes.
const TEXT_BYTES_MAX: usize = 128 << 10;
/// Deepest nesting of parentheses and operators.
const DEPTH_MAX: usize = 128;

/// How tightly unary minus binds: like binary minus.
const MINUS: u8 = 3;
/// How tightly `!` binds: between sums and products.
const NOT: u8 = 4;

/// Metrics functions, which are parts of the language that this crate does not evaluate yet.
const METRICS: [&str; 11] = [
    "rate",
    "count_over_time",
    "min_over_time",
    "max_over_time",
    "avg_over_time",
    "sum_over_time",
    "quantile_over_time",
    "histogram_over_time",
    "compare",
    "topk",
    "bottomk",
];

/// Reads a query and checks its types. Errors point at the place.
pub fn parse(text: &str) -> Result<Pipeline, Vec<Diagnostic>> {
    if text.len() >= TEXT_BYTES_MAX {
        let message = format!("the query is {} bytes long; the limit is {TEXT_BYTES_MAX}", text.len());
        return Err(vec![Diagnostic::error(SourceSpan::default(), message)]);
    }
    let tokens = tokens(text).map_err(|diagnostic| vec![diagnostic])?;
    let mut parser = Parser { tokens, at: 0, depth: 0 };
    let pipeline = parser.whole_query().map_err(|diagnostic| vec![diagnostic])?;
    check::pipeline(&pipeline)
        .map_err(|message| vec![Diagnostic::error(SourceSpan::new(0, text.len()), message)])?;
    Ok(pipeline)
}

type Parsed<T> = Result<T, Diagnostic>;

struct Parser {
    /// Ends with [`Tok::End`].
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Tok {
        self.peek_nth(0)
    }

    fn peek_nth(&self, ahead: usize) -> &Tok {
        self.tokens.get(self.at + ahead).map_or(&Tok::End, |token| &token.tok)
    }

    fn span(&self) -> SourceSpan {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(SourceSpan::default(), |token| token.span)
    }

    fn is_sym(&self, symbol: &str) -> bool {
        matches!(self.peek(), Tok::Sym(text) if *text == symbol)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Tok::Word(text) if text == word)
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = self.is_sym(symbol);
        self.at += usize::from(found);
        found
    }

    fn unexpected(&self, expected: &str) -> Diagnostic {
        let mut message = format!("syntax error: unexpected {}", self.peek().name());
        if !expected.is_empty() {
            message.push_str(&format!(", expecting {expected}"));
        }
        Diagnostic::error(self.span(), message)
    }

    fn expect(&mut self, symbol: &'static str) -> Parsed<()> {
        if self.eat(symbol) { Ok(()) } else { Err(self.unexpected(symbol)) }
    }

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

    /// Counts one more operator of a chain, which grows the tree to the left.
    fn grow(&mut self) -> Parsed<()> {
        self.depth += 1;
        match self.depth > DEPTH_MAX {
            true => Err(Diagnostic::error(self.span(), "the query has too many operators in a row")),
            false => Ok(()),
        }
    }

    fn whole_query(&mut self) -> Parsed<Pipeline> {
        let pipeline = self.pipeline(true)?;
        self.hints()?;
        if *self.peek() == Tok::End { Ok(pipeline) } else { Err(self.unexpected("")) }
    }

    /// `with(name=value, ...)`: advice to Tempo's engine that changes no answer; read and left out.
    fn hints(&mut self) -> Parsed<()> {
        while self.is_word("with") {
            self.at += 1;
            self.expect("(")?;
            loop {
                match self.peek() {
                    Tok::Word(_) => self.at += 1,
                    _ => return Err(self.unexpected("IDENTIFIER")),
                }
                self.expect("=")?;
                self.constant()?;
                if !self.eat(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        Ok(())
    }

    fn pipeline(&mut self, at_start: bool) -> Parsed<Pipeline> {
        self.nested(|parser| {
            let mut steps = vec![parser.step(at_start)?];
            while parser.eat("|") {
                steps.push(parser.step(false)?);
            }
            Ok(Pipeline { steps })
        })
    }

    fn step(&mut self, is_first: bool) -> Parsed<Step> {
        let call = *self.peek_nth(1) == Tok::Sym("(");
        match self.peek().clone() {
            Tok::Word(word) if word == "by" && call => {
                self.at += 2;
                let expr = self.field(0)?;
                self.expect(")")?;
                Ok(Step::By(expr))
            }
            Tok::Word(word) if word == "coalesce" && call && !is_first => {
                self.at += 2;
                self.expect(")")?;
                Ok(Step::Coalesce)
            }
            Tok::Word(word) if word == "select" && call => {
                self.at += 2;
                self.attribute_list().map(Step::Select)
            }
            Tok::Word(word) if METRICS.contains(&word.as_str()) => Err(Diagnostic::error(
                self.span(),
                format!("metrics functions such as {word}() are not supported yet"),
            )),
            _ if self.starts_scalar() => self.scalar_filter().map(Step::ScalarFilter),
            _ => self.spansets(0).map(Step::Spansets),
        }
    }

    fn attribute_list(&mut self) -> Parsed<Vec<Attribute>> {
        let mut list = Vec::new();
        loop {
            match self.attribute() {
                Some(attribute) => list.push(attribute),
                None => return Err(self.unexpected("")),
            }
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(list)
    }

    /// True when a scalar expression starts here, perhaps behind parentheses.
    fn starts_scalar(&self) -> bool {
        let mut ahead = 0;
        while *self.peek_nth(ahead) == Tok::Sym("(") {
            ahead += 1;
        }
        match self.peek_nth(ahead) {
            Tok::Int(_) | Tok::Float(_) | Tok::Duration(_) | Tok::Sym("-") => true,
            Tok::Word(word) => aggregate_op(word).is_some(),
            _ => false,
        }
    }

    fn scalar_filter(&mut self) -> Parsed<ScalarFilter> {
        let left = self.scalar(0)?;
        let op = self.op().filter(|op| op.is_comparison());
        let Some(op) = op else { return Err(self.unexpected("")) };
        self.at += 1;
        let right = self.scalar(0)?;
        Ok(ScalarFilter { left, op, right })
    }

    fn op(&self) -> Option<Op> {
        match self.peek() {
            Tok::Sym(text) => Op::from_text(text),
            _ => None,
        }
    }

    fn scalar(&mut self, floor: u8) -> Parsed<ScalarExpr> {
        self.nested(|parser| {
            let mut left = parser.scalar_operand()?;
            let depth = parser.depth;
            while let Some(op) = parser.op().filter(|op| !op.is_boolean() && op.precedence() > floor) {
                parser.at += 1;
                let right = parser.scalar(op.precedence() - u8::from(op == Op::Pow))?;
                left = ScalarExpr::Binary(Box::new(left), op, Box::new(right));
                parser.grow()?;
            }
            parser.depth = depth;
            Ok(left)
        })
    }

    fn scalar_operand(&mut self) -> Parsed<ScalarExpr> {
        if self.eat("(") {
            let inner = self.scalar(0)?;
            self.expect(")")?;
            return Ok(inner);
        }
        let op = match self.peek() {
            Tok::Word(word) => aggregate_op(word),
            _ => return self.number().map(ScalarExpr::Static),
        };
        let Some(op) = op else { return Err(self.unexpected("")) };
        self.at += 1;
        self.expect("(")?;
        let expr = if op == AggregateOp::Count { None } else { Some(self.field(0)?) };
        self.expect(")")?;
        Ok(ScalarExpr::Aggregate(Aggregate { op, expr }))
    }

    fn number(&mut self) -> Parsed<Static> {
        let negative = self.eat("-");
        let sign = if negative { -1 } else { 1 };
        let value = match self.peek() {
            Tok::Int(n) => Static::Int(n.wrapping_mul(sign)),
            Tok::Float(n) => Static::Float(n * sign as f64),
            Tok::Duration(n) => Static::Duration(n.wrapping_mul(sign)),
            _ => return Err(self.unexpected("")),
        };
        self.at += 1;
        Ok(value)
    }

    fn spansets(&mut self, floor: u8) -> Parsed<SpansetExpr> {
        self.nested(|parser| {
            let mut left = parser.spanset_operand()?;
            let depth = parser.depth;
            while let Some((op, precedence)) = parser.spanset_op().filter(|(_, p)| *p > floor) {
                parser.at += 1;
                let right = parser.spansets(precedence)?;
                left = SpansetExpr::Operation(Box::new(left), op, Box::new(right));
                parser.grow()?;
            }
            parser.depth = depth;
            Ok(left)
        })
    }

    fn spanset_op(&self) -> Option<(SpansetOp, u8)> {
        let Tok::Sym(symbol) = self.peek() else { return None };
        let join = match symbol.chars().next()? {
            _ if matches!(*symbol, "&&" | "||") => {
                return Some((if *symbol == "&&" { SpansetOp::And } else { SpansetOp::Or }, 1));
            }
            '!' => Join::NotRight,
            '&' => Join::Both,
            _ => Join::Right,
        };
        let relation = match symbol.trim_start_matches(['!', '&']) {
            ">" => Relation::Child,
            "<" => Relation::Parent,
            ">>" => Relation::Descendant,
            "<<" => Relation::Ancestor,
            "~" => Relation::Sibling,
            _ => return None,
        };
        Some((SpansetOp::Related(relation, join), 2))
    }

    fn spanset_operand(&mut self) -> Parsed<SpansetExpr> {
        if self.eat("{") {
            if self.eat("}") {
                return Ok(SpansetExpr::Filter(FieldExpr::Static(Static::Bool(true))));
            }
            let expr = self.field(0)?;
            if !self.eat("}") {
                return Err(self.unexpected(""));
            }
            return Ok(SpansetExpr::Filter(expr));
        }
        if !self.eat("(") {
            return Err(self.unexpected(""));
        }
        let mut inner = self.pipeline(true)?;
        self.expect(")")?;
        match (inner.steps.len(), inner.steps.pop()) {
            (1, Some(Step::Spansets(expr))) => Ok(expr),
            (_, last) => {
                inner.steps.extend(last);
                Ok(SpansetExpr::Pipeline(inner))
            }
        }
    }

    fn field(&mut self, floor: u8) -> Parsed<FieldExpr> {
        self.nested(|parser| {
            let start = parser.span();
            let mut left = parser.field_operand()?;
            let depth = parser.depth;
            while let Some(op) = parser.op().filter(|op| op.precedence() > floor) {
                parser.at += 1;
                if matches!(op, Op::Eq | Op::Ne) && parser.is_word("nil") {
                    parser.at += 1;
                    left = existence(op, left);
                    continue;
                }
                let right = parser.field(op.precedence() - u8::from(op == Op::Pow))?;
                left = binary(start.to(parser.span()), left, op, right)?;
                parser.grow()?;
            }
            parser.depth = depth;
            Ok(left)
        })
    }

    fn field_operand(&mut self) -> Parsed<FieldExpr> {
        if self.eat("(") {
            let inner = self.field(0)?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.eat("-") {
            let inner = self.field(MINUS)?;
            return Ok(negated(inner));
        }
        if self.eat("!") {
            return self.field(NOT).map(|inner| FieldExpr::Not(Box::new(inner)));
        }
        if self.is_word("nil") {
            return self.nil_first();
        }
        match self.attribute() {
            Some(attribute) => Ok(FieldExpr::Attribute(attribute)),
            None => self.constant().map(FieldExpr::Static),
        }
    }

    /// `nil != expression`
    fn nil_first(&mut self) -> Parsed<FieldExpr> {
        self.at += 1;
        let op = self.op().filter(|op| matches!(op, Op::Eq | Op::Ne));
        let Some(op) = op else { return Err(self.unexpected("")) };
        self.at += 1;
        if self.is_word("nil") {
            self.at += 1;
            return Ok(FieldExpr::Static(Static::Bool(false)));
        }
        let inner = self.field(op.precedence())?;
        Ok(existence(op, inner))
    }

    /// The attribute or intrinsic here, if there is one.
    fn attribute(&mut self) -> Option<Attribute> {
        let attribute = match self.peek() {
            Tok::Attribute(scope, name) => {
                let (parent, rest) = match scope.strip_prefix("parent.") {
                    Some(rest) => (true, rest),
                    None => (false, scope.as_str()),
                };
                let scope = match rest {
                    "resource." => Scope::Resource,
                    "span." => Scope::Span,
                    "event." => Scope::Event,
                    "link." => Scope::Link,
                    "instrumentation." => Scope::Instrumentation,
                    _ => Scope::Any,
                };
                Attribute::Named { parent, scope, name: name.clone() }
            }
            Tok::Word(word) => Attribute::Intrinsic(Intrinsic::from_text(word)?),
            _ => return None,
        };
        self.at += 1;
        Some(attribute)
    }

    fn constant(&mut self) -> Parsed<Static> {
        let value = match self.peek() {
            Tok::Str(text) => Static::Str(text.clone()),
            Tok::Int(n) => Static::Int(*n),
            Tok::Float(n) => Static::Float(*n),
            Tok::Duration(n) => Static::Duration(*n),
            Tok::Word(word) => match word_value(word) {
                Some(value) => value,
                None => return Err(self.unexpected("")),
            },
            _ => return Err(self.unexpected("")),
        };
        self.at += 1;
        Ok(value)
    }
}

fn aggregate_op(word: &str) -> Option<AggregateOp> {
    use AggregateOp::{Avg, Count, Max, Min, Sum};
    [Count, Min, Max, Avg, Sum].into_iter().find(|op| op.name() == word)
}

fn word_value(word: &str) -> Option<Static> {
    Some(match word {
        "true" => Static::Bool(true),
        "false" => Static::Bool(false),
        "ok" => Static::Status(StatusCode::Ok),
        "error" => Static::Status(StatusCode::Error),
        "unset" => Static::Status(StatusCode::Unset),
        "unspecified" => Static::Kind(SpanKind::Unspecified),
        "internal" => Static::Kind(SpanKind::Internal),
        "server" => Static::Kind(SpanKind::Server),
        "client" => Static::Kind(SpanKind::Client),
        "producer" => Static::Kind(SpanKind::Producer),
        "consumer" => Static::Kind(SpanKind::Consumer),
        "minInt" => Static::Int(i64::MIN),
        "maxInt" => Static::Int(i64::MAX),
        _ => return None,
    })
}

fn existence(op: Op, inner: FieldExpr) -> FieldExpr {
    let inner = Box::new(inner);
    if op == Op::Ne { FieldExpr::Exists(inner) } else { FieldExpr::NotExists(inner) }
}

/// Negative constants are constants.
fn negated(inner: FieldExpr) -> FieldExpr {
    match inner {
        FieldExpr::Static(Static::Int(n)) => FieldExpr::Static(Static::Int(n.wrapping_neg())),
        FieldExpr::Static(Static::Float(n)) => FieldExpr::Static(Static::Float(-n)),
        FieldExpr::Static(Static::Duration(n)) => FieldExpr::Static(Static::Duration(n.wrapping_neg())),
        other => FieldExpr::Negate(Box::new(other)),
    }
}

fn binary(span: SourceSpan, left: FieldExpr, op: Op, right: FieldExpr) -> Parsed<FieldExpr> {
    let pattern = match (op, &right) {
        (Op::Re | Op::Nre, FieldExpr::Static(Static::Str(text))) => {
            let compiled = Pattern::whole(text);
            Some(
                compiled
                    .map_err(|error| Diagnostic::error(span, format!("invalid regex: `{text}`: {error}")))?,
            )
        }
        _ => None,
    };
    if let (FieldExpr::Static(a), FieldExpr::Static(b)) = (&left, &right)
        && a.kind() == Type::Number
        && b.kind() == Type::Number
        && !op.is_boolean()
        && let Ok(folded) = crate::value::apply(op, a, b, None)
    {
        return Ok(FieldExpr::Static(folded));
    }
    Ok(FieldExpr::Binary(Box::new(BinaryExpr { left, op, right, pattern })))
}
