//! The tree of a query, as written: names resolved to functions and operators, nothing else.

use std::fmt;

use kenning_model::{Field, Filter, METRIC_NAME, Millis, Pattern};
use kenning_query::SourceSpan;

use super::Signature;

/// What an expression evaluates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueType {
    /// One number per instant.
    Scalar,
    /// A set of series with one value each per instant.
    Vector,
    /// A set of series with a range of values each.
    Matrix,
    /// A text.
    String,
}

impl ValueType {
    /// The name of the type in the documentation.
    #[must_use]
    pub const fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::String => "string",
        }
    }

    /// The name of the type in the HTTP API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::String => "string",
        }
    }
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// `1.5`, `5m`
    Number(NumberLiteral),
    /// `"text"`
    String(StringLiteral),
    /// `(...)`
    Paren(Paren),
    /// `-...`
    Unary(Unary),
    /// `... + ...`
    Binary(Box<Binary>),
    /// `sum by (...) (...)`
    Aggregate(Box<Aggregate>),
    /// `rate(...)`
    Call(Call),
    /// `metric{label="value"}`
    Selector(VectorSelector),
    /// `metric[5m]`
    Matrix(MatrixSelector),
    /// `...[5m:1m]`
    Subquery(Box<Subquery>),
}

impl Expr {
    /// Where it stands.
    #[must_use]
    pub fn span(&self) -> SourceSpan {
        match self {
            Self::Number(e) => e.span,
            Self::String(e) => e.span,
            Self::Paren(e) => e.span,
            Self::Unary(e) => e.span,
            Self::Binary(e) => e.span,
            Self::Aggregate(e) => e.span,
            Self::Call(e) => e.span,
            Self::Selector(e) => e.span,
            Self::Matrix(e) => e.span,
            Self::Subquery(e) => e.span,
        }
    }

    /// What it evaluates to, if its parts have the right types.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::String(_) => ValueType::String,
            Self::Paren(e) => e.inner.value_type(),
            Self::Unary(e) => e.operand.value_type(),
            Self::Binary(e) => {
                let scalar = |side: &Self| side.value_type() == ValueType::Scalar;
                if scalar(&e.left) && scalar(&e.right) { ValueType::Scalar } else { ValueType::Vector }
            }
            Self::Aggregate(_) | Self::Selector(_) => ValueType::Vector,
            Self::Call(e) => e.function.returns,
            Self::Matrix(_) | Self::Subquery(_) => ValueType::Matrix,
        }
    }

    /// The expression without the parentheses around it.
    #[must_use]
    pub fn unwrapped(&self) -> &Self {
        let mut inner = self;
        while let Self::Paren(paren) = inner {
            inner = &paren.inner;
        }
        inner
    }

    /// Its direct parts, in the order Prometheus walks them.
    #[must_use]
    pub fn children(&self) -> Vec<&Self> {
        match self {
            Self::Number(_) | Self::String(_) | Self::Selector(_) | Self::Matrix(_) => Vec::new(),
            Self::Paren(e) => vec![&e.inner],
            Self::Unary(e) => vec![&e.operand],
            Self::Binary(e) => vec![&e.left, &e.right],
            Self::Aggregate(e) => std::iter::once(&e.operand).chain(&e.param).collect(),
            Self::Call(e) => e.args.iter().collect(),
            Self::Subquery(e) => vec![&e.operand],
        }
    }
}

/// A number, or a duration standing for its seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberLiteral {
    /// Its value.
    pub value: f64,
    /// True when written as a duration.
    pub is_duration: bool,
    /// Where it stands.
    pub span: SourceSpan,
}

/// A text.
#[derive(Clone, Debug, PartialEq)]
pub struct StringLiteral {
    /// Its value.
    pub value: String,
    /// Where it stands, quotes included.
    pub span: SourceSpan,
}

/// An expression in parentheses.
#[derive(Clone, Debug, PartialEq)]
pub struct Paren {
    /// What is inside.
    pub inner: Box<Expr>,
    /// Where it stands, parentheses included.
    pub span: SourceSpan,
}

/// A sign before an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Unary {
    /// True for `-`, false for `+`.
    pub negative: bool,
    /// What it applies to.
    pub operand: Box<Expr>,
    /// Where it stands.
    pub span: SourceSpan,
}

/// Two expressions and an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Left operand.
    pub left: Expr,
    /// Right operand.
    pub right: Expr,
    /// How series pair up; meaningful between two vectors.
    pub matching: Matching,
    /// A comparison that answers 0 or 1 instead of filtering.
    pub returns_bool: bool,
    /// Where it stands.
    pub span: SourceSpan,
}

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `>`
    Gt,
    /// `<`
    Lt,
    /// `>=`
    Ge,
    /// `<=`
    Le,
    /// `</`: keeps what a histogram observed below a value
    TrimUpper,
    /// `>/`: keeps what a histogram observed above a value
    TrimLower,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

impl BinaryOp {
    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Gt => ">",
            Self::Lt => "<",
            Self::Ge => ">=",
            Self::Le => "<=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// `==` and its kin, which filter or answer 0 or 1.
    #[must_use]
    pub const fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Gt | Self::Lt | Self::Ge | Self::Le)
    }

    /// `and`, `or` and `unless`.
    #[must_use]
    pub const fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// True when the result means something else than the operands, so that it cannot keep their name.
    #[must_use]
    pub const fn changes_meaning(self) -> bool {
        use BinaryOp::{Add, Atan2, Div, Mod, Mul, Pow, Sub};
        matches!(self, Add | Sub | Mul | Div | Mod | Pow | Atan2)
    }
}

/// How series of two vectors pair up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matching {
    /// How many pair with how many.
    pub cardinality: Cardinality,
    /// `on`: only these labels are compared; otherwise (`ignoring`) all but these.
    pub on: bool,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Labels that `group_left` or `group_right` takes over from the one side.
    pub include: Vec<String>,
    /// Value that stands for a missing left side.
    pub fill_left: Option<f64>,
    /// Value that stands for a missing right side.
    pub fill_right: Option<f64>,
}

/// How many series pair with how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cardinality {
    /// Each with at most one.
    #[default]
    OneToOne,
    /// `group_left`: many on the left.
    ManyToOne,
    /// `group_right`: many on the right.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// An aggregation over series.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The operator.
    pub op: Aggregator,
    /// What is aggregated.
    pub operand: Expr,
    /// `k` of `topk`, the quantile of `quantile`, the label of `count_values` ...
    pub param: Option<Expr>,
    /// Which series fall together.
    pub grouping: Grouping,
    /// Where it stands.
    pub span: SourceSpan,
}

/// Labels by which series fall together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    /// `without`: all labels but these (and the name) count; otherwise (`by`) only these.
    pub without: bool,
    /// The labels.
    pub labels: Vec<String>,
}

/// An aggregation operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the operator of that name")]
pub enum Aggregator {
    Avg,
    Bottomk,
    Count,
    CountValues,
    Group,
    LimitRatio,
    Limitk,
    Max,
    Min,
    Quantile,
    Stddev,
    Stdvar,
    Sum,
    Topk,
}

impl Aggregator {
    /// Every operator.
    pub const ALL: [Self; 14] = [
        Self::Avg,
        Self::Bottomk,
        Self::Count,
        Self::CountValues,
        Self::Group,
        Self::LimitRatio,
        Self::Limitk,
        Self::Max,
        Self::Min,
        Self::Quantile,
        Self::Stddev,
        Self::Stdvar,
        Self::Sum,
        Self::Topk,
    ];

    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Bottomk => "bottomk",
            Self::Count => "count",
            Self::CountValues => "count_values",
            Self::Group => "group",
            Self::LimitRatio => "limit_ratio",
            Self::Limitk => "limitk",
            Self::Max => "max",
            Self::Min => "min",
            Self::Quantile => "quantile",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Sum => "sum",
            Self::Topk => "topk",
        }
    }

    /// True for those with a parameter before the vector.
    #[must_use]
    pub const fn has_param(self) -> bool {
        use Aggregator::{Bottomk, CountValues, LimitRatio, Limitk, Quantile, Topk};
        matches!(self, Topk | Bottomk | Limitk | LimitRatio | Quantile | CountValues)
    }
}

/// A function call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function.
    pub function: &'static Signature,
    /// The arguments.
    pub args: Vec<Expr>,
    /// Where it stands.
    pub span: SourceSpan,
}

/// A comparison of a label with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `=~`
    Re,
    /// `!~`
    NotRe,
}

impl MatchOp {
    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Re => "=~",
            Self::NotRe => "!~",
        }
    }
}

/// A condition on one label. An absent label reads as empty text.
#[derive(Clone, PartialEq)]
pub struct Matcher {
    /// The label.
    pub name: String,
    /// The comparison.
    pub op: MatchOp,
    /// The text or the regular expression as written.
    pub value: String,
    test: Test,
}

/// How a matcher looks at a text.
#[derive(Clone, PartialEq)]
enum Test {
    /// It is the matcher's value.
    Equal,
    /// It is one of these: a regular expression that is nothing but a list of texts, as dashboards make them of
    /// variables with many values. They can be long, so they are not compiled, and stores look them up.
    OneOf(Vec<Box<str>>),
    /// It matches.
    Pattern(Pattern),
}

impl Matcher {
    /// A condition.
    ///
    /// # Errors
    /// What is wrong with the regular expression.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self, String> {
        let test = match op {
            MatchOp::Eq | MatchOp::Ne => Test::Equal,
            MatchOp::Re | MatchOp::NotRe => match alternatives(value) {
                Some(texts) => Test::OneOf(texts),
                None => Test::Pattern(Pattern::whole(value)?),
            },
        };
        Ok(Self { name: name.into(), op, value: value.into(), test })
    }

    /// `name="value"`
    #[must_use]
    pub fn equal(name: &str, value: &str) -> Self {
        Self { name: name.into(), op: MatchOp::Eq, value: value.into(), test: Test::Equal }
    }

    /// True when a label of this value passes.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let found = match &self.test {
            Test::Equal => value == self.value,
            Test::OneOf(texts) => texts.binary_search_by(|text| (**text).cmp(value)).is_ok(),
            Test::Pattern(pattern) => pattern.is_match(value),
        };
        found == matches!(self.op, MatchOp::Eq | MatchOp::Re)
    }

    /// The condition as a store understands it.
    #[must_use]
    pub fn filter(&self) -> Filter {
        let field = Field::Label(self.name.as_str().into());
        let found = match &self.test {
            Test::Equal => Filter::eq(field, &self.value),
            Test::OneOf(texts) => match texts.as_slice() {
                [text] => Filter::eq(field, text),
                _ => Filter::OneOf(field, texts.clone()),
            },
            Test::Pattern(pattern) => Filter::Matches(field, pattern.clone()),
        };
        match self.op {
            MatchOp::Eq | MatchOp::Re => found,
            MatchOp::Ne | MatchOp::NotRe => Filter::Not(Box::new(found)),
        }
    }
}

/// The texts of a regular expression that is nothing but `a|b|c`, sorted; a backslash before punctuation is not text.
fn alternatives(pattern: &str) -> Option<Vec<Box<str>>> {
    let (mut texts, mut text) = (Vec::new(), String::new());
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        match c {
            '|' => texts.push(std::mem::take(&mut text).into_boxed_str()),
            '\\' => text.push(characters.next().filter(char::is_ascii_punctuation)?),
            '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            c => text.push(c),
        }
    }
    texts.push(text.into_boxed_str());
    texts.sort();
    texts.dedup();
    Some(texts)
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A fixed evaluation time: `@ ...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A point in time.
    Time(Millis),
    /// Start of the query.
    Start,
    /// End of the query.
    End,
}

/// What a range or an instant does with samples outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// `anchored`: the last sample before the range counts at its start.
    Anchored,
    /// `smoothed`: values at the borders are interpolated.
    Smoothed,
}

/// A selection of series.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The metric name before the braces; empty without.
    pub name: String,
    /// The conditions, the name's last.
    pub matchers: Vec<Matcher>,
    /// `offset`; zero without.
    pub offset: DurationSpec,
    /// `@`
    pub at: Option<At>,
    /// `anchored` or `smoothed`
    pub extension: Option<Extension>,
    /// Where it stands.
    pub span: SourceSpan,
}

impl VectorSelector {
    /// The conditions as a store understands them.
    #[must_use]
    pub fn filter(&self) -> Filter {
        // The name first: it is the most selective condition, and stores look at conditions in order.
        let named = |m: &&Matcher| m.name == METRIC_NAME;
        let names = self.matchers.iter().filter(named);
        let others = self.matchers.iter().filter(|m| !named(m));
        names.chain(others).map(Matcher::filter).fold(Filter::All, Filter::and)
    }
}

/// A selection of series over a range.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// The series, with offset and `@`.
    pub selector: VectorSelector,
    /// Width of the range.
    pub range: DurationSpec,
    /// Where it stands.
    pub span: SourceSpan,
}

/// An expression evaluated over a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// The expression.
    pub operand: Expr,
    /// Width of the range.
    pub range: DurationSpec,
    /// Resolution; the default without.
    pub step: Option<DurationSpec>,
    /// `offset`; zero without.
    pub offset: DurationSpec,
    /// `@`
    pub at: Option<At>,
    /// Where it stands.
    pub span: SourceSpan,
}

/// A duration as written.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationSpec {
    /// Milliseconds, written as a number of seconds or with units.
    Literal(i64),
    /// Arithmetic, resolved when the query's grid is known.
    Expr(DurationExpr),
}

impl DurationSpec {
    /// Nothing written.
    pub const ZERO: Self = Self::Literal(0);

    /// True for zero as a literal.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        matches!(self, Self::Literal(0))
    }
}

/// Arithmetic on durations, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationExpr {
    /// A literal.
    Number(NumberLiteral),
    /// `step()`
    Step(SourceSpan),
    /// `range()`
    Range(SourceSpan),
    /// `-...`
    Negate(Box<DurationExpr>, SourceSpan),
    /// `(...)`
    Paren(Box<DurationExpr>, SourceSpan),
    /// `... + ...`
    Binary(DurationOp, Box<DurationExpr>, Box<DurationExpr>),
    /// `min_of(...)` and `max_of(...)`
    Extreme {
        /// True for `max_of`.
        max: bool,
        /// First.
        left: Box<DurationExpr>,
        /// Second.
        right: Box<DurationExpr>,
        /// Where it stands.
        span: SourceSpan,
    },
}

impl DurationExpr {
    /// Where it stands.
    #[must_use]
    pub fn span(&self) -> SourceSpan {
        match self {
            Self::Number(literal) => literal.span,
            Self::Step(span) | Self::Range(span) | Self::Negate(_, span) | Self::Paren(_, span) => *span,
            Self::Extreme { left, right, .. } | Self::Binary(_, left, right) => left.span().to(right.span()),
        }
    }
}

/// An operator between durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the operator of that name")]
pub enum DurationOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_texts_need_no_pattern() {
        let check = |pattern: &str, expect: Option<&[&str]>| {
            let found = alternatives(pattern);
            let found: Option<Vec<&str>> =
                found.as_ref().map(|texts| texts.iter().map(|text| &**text).collect());
            assert_eq!(found.as_deref(), expect, "{pattern}");
        };
        check("b|a|b", Some(&["a", "b"]));
        check(r"10\.0\.0\.1|x-y", Some(&["10.0.0.1", "x-y"]));
        check("", Some(&[""]));
        check("a|", Some(&["", "a"]));
        check(r"a\d", None);
        check("a.*", None);
        check("(a)", None);
        let long = vec!["value-of-some-length"; 10_000].join("|");
        let matcher = Matcher::new("a", MatchOp::NotRe, &long);
        assert_eq!(matcher.map(|m| (m.matches("value-of-some-length"), m.matches(""))), Ok((false, true)));
    }
}
