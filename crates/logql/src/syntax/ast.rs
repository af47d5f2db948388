//! The typed syntax tree: what a query says, with its places in the text.

use kenning_model::Pattern;
use kenning_query::SourceSpan;

/// A query: log lines or numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// Selects log lines.
    Log(LogExpr),
    /// Computes series of numbers.
    Metric(MetricExpr),
}

/// A stream selector and its pipeline: `{app="a"} |= "x" | json`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogExpr {
    /// Which streams.
    pub matchers: Vec<Matcher>,
    /// What happens to each of their lines, in order. Line filters that follow each other make one stage.
    pub stages: Vec<Stage>,
    /// Where it stands.
    pub span: SourceSpan,
}

/// How a label matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchOp {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `=~`, the whole value
    Re,
    /// `!~`, the whole value
    Nre,
}

/// `name op "value"`
#[derive(Clone, Debug, PartialEq)]
pub struct Matcher {
    /// The label.
    pub name: String,
    /// The comparison.
    pub op: MatchOp,
    /// The value as meant, without quotes.
    pub value: String,
    /// The compiled value of the two regular expression operators.
    pub pattern: Option<Pattern>,
    /// Where it stands.
    pub span: SourceSpan,
}

impl Matcher {
    /// True when a label value passes. An absent label reads as empty text.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let regex = || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(value));
        match self.op {
            MatchOp::Eq => self.value == value,
            MatchOp::Ne => self.value != value,
            MatchOp::Re => regex(),
            MatchOp::Nre => !regex(),
        }
    }
}

/// One step of a pipeline and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// What it does.
    pub kind: StageKind,
    /// Where it stands.
    pub span: SourceSpan,
}

/// What a stage does.
#[derive(Clone, Debug, PartialEq)]
pub enum StageKind {
    /// `|= "a" != "b"`: every one must pass.
    LineFilters(Vec<LineFilter>),
    /// `| json` or `| json name="path"`
    Json(Vec<Extraction>),
    /// `| logfmt` or `| logfmt name="key"`
    Logfmt {
        /// `--strict`: an error ends the line.
        strict: bool,
        /// `--keep-empty`: keys without a value are kept.
        keep_empty: bool,
        /// What to extract; empty: everything.
        fields: Vec<Extraction>,
    },
    /// `| regexp "(?P<name>re)"`
    Regexp(String),
    /// `| pattern "<name> literal"`
    Pattern(String),
    /// `| unpack`
    Unpack,
    /// `| name op value`
    LabelFilter(LabelFilter),
    /// `| line_format "template"`
    LineFormat(String),
    /// `| label_format a=b, c="template"`
    LabelFormat(Vec<LabelFormat>),
    /// `| decolorize`
    Decolorize,
    /// `| drop a, b="c"`
    Drop(Vec<NamedMatcher>),
    /// `| keep a, b="c"`
    Keep(Vec<NamedMatcher>),
}

/// How a line filter compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineOp {
    /// `|=`
    Contains,
    /// `!=`
    NotContains,
    /// `|~`
    Matches,
    /// `!~`
    NotMatches,
    /// `|>`
    Pattern,
    /// `!>`
    NotPattern,
}

impl LineOp {
    /// True for the operators that keep what they find.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        matches!(self, Self::Contains | Self::Matches | Self::Pattern)
    }
}

/// A line filter: one operator, any of the operands. Negative operators have one operand; a chain of theirs was
/// written as several filters.
#[derive(Clone, Debug, PartialEq)]
pub struct LineFilter {
    /// The operator.
    pub op: LineOp,
    /// The operands, at least one.
    pub operands: Vec<LineOperand>,
}

/// What a line filter looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineOperand {
    /// A text, regular expression or pattern.
    Text(String),
    /// `ip("range")`
    Ip(String),
}

/// `name="expression"` of the json and logfmt parsers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extraction {
    /// The label to set.
    pub label: String,
    /// Where its value comes from.
    pub expression: String,
}

/// A comparison of the numeric label filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    /// `==`, also written `=`
    Eq,
    /// `!=`
    Ne,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `<`
    Lt,
    /// `<=`
    Le,
}

impl CompareOp {
    /// True when `left op right` holds.
    #[must_use]
    pub fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Eq => left == right,
            Self::Ne => left != right,
            Self::Gt => left > right,
            Self::Ge => left >= right,
            Self::Lt => left < right,
            Self::Le => left <= right,
        }
    }
}

/// A filter on labels.
#[derive(Clone, Debug, PartialEq)]
pub enum LabelFilter {
    /// Text against text.
    Text(Matcher),
    /// The label's value as a number.
    Number {
        /// The label.
        name: String,
        /// The comparison.
        op: CompareOp,
        /// The right side.
        value: f64,
    },
    /// The label's value as a duration.
    Duration {
        /// The label.
        name: String,
        /// The comparison.
        op: CompareOp,
        /// The right side, in nanoseconds.
        nanos: i64,
    },
    /// The label's value as a size.
    Bytes {
        /// The label.
        name: String,
        /// The comparison.
        op: CompareOp,
        /// The right side, in bytes.
        bytes: u64,
    },
    /// An address within the label's value.
    Ip {
        /// The label.
        name: String,
        /// True for `!=`.
        negated: bool,
        /// An address, a range or a CIDR block.
        range: String,
    },
    /// Both pass.
    And(Box<LabelFilter>, Box<LabelFilter>),
    /// One passes.
    Or(Box<LabelFilter>, Box<LabelFilter>),
}

/// One assignment of `label_format`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelFormat {
    /// The label to set.
    pub name: String,
    /// What to set it to.
    pub value: LabelSource,
}

/// Where `label_format` takes a value from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelSource {
    /// Another label, which vanishes.
    Rename(String),
    /// A template.
    Template(String),
}

/// A label named by `drop` or `keep`, with a condition or without.
#[derive(Clone, Debug, PartialEq)]
pub enum NamedMatcher {
    /// Any value.
    Name(String),
    /// Values that match.
    Matcher(Matcher),
}

/// An expression whose value is a set of series.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricExpr {
    /// `rate({...}[5m])`
    Range(Box<RangeAggregation>),
    /// `sum by (app) (...)`
    Vector(Box<VectorAggregation>),
    /// `a / b`
    Binary(Box<BinaryExpr>),
    /// `1.5`
    Literal(f64),
    /// `vector(1.5)`
    VectorLiteral(f64),
    /// `label_replace(...)`
    LabelReplace(Box<LabelReplace>),
}

/// The functions of range aggregations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in the language")]
pub enum RangeOp {
    Rate,
    RateCounter,
    CountOverTime,
    BytesRate,
    BytesOverTime,
    AvgOverTime,
    SumOverTime,
    MinOverTime,
    MaxOverTime,
    StdvarOverTime,
    StddevOverTime,
    QuantileOverTime,
    FirstOverTime,
    LastOverTime,
    AbsentOverTime,
}

impl RangeOp {
    const ALL: [Self; 15] = [
        Self::Rate,
        Self::RateCounter,
        Self::CountOverTime,
        Self::BytesRate,
        Self::BytesOverTime,
        Self::AvgOverTime,
        Self::SumOverTime,
        Self::MinOverTime,
        Self::MaxOverTime,
        Self::StdvarOverTime,
        Self::StddevOverTime,
        Self::QuantileOverTime,
        Self::FirstOverTime,
        Self::LastOverTime,
        Self::AbsentOverTime,
    ];

    /// The name in the language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::RateCounter => "rate_counter",
            Self::CountOverTime => "count_over_time",
            Self::BytesRate => "bytes_rate",
            Self::BytesOverTime => "bytes_over_time",
            Self::AvgOverTime => "avg_over_time",
            Self::SumOverTime => "sum_over_time",
            Self::MinOverTime => "min_over_time",
            Self::MaxOverTime => "max_over_time",
            Self::StdvarOverTime => "stdvar_over_time",
            Self::StddevOverTime => "stddev_over_time",
            Self::QuantileOverTime => "quantile_over_time",
            Self::FirstOverTime => "first_over_time",
            Self::LastOverTime => "last_over_time",
            Self::AbsentOverTime => "absent_over_time",
        }
    }

    /// The function of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name() == name)
    }

    /// True when it may take `by` or `without`.
    #[must_use]
    pub const fn allows_grouping(self) -> bool {
        matches!(
            self,
            Self::AvgOverTime
                | Self::StddevOverTime
                | Self::StdvarOverTime
                | Self::QuantileOverTime
                | Self::MaxOverTime
                | Self::MinOverTime
                | Self::FirstOverTime
                | Self::LastOverTime
        )
    }

    /// True when it may be given a log range with `unwrap`.
    #[must_use]
    pub const fn allows_unwrap(self) -> bool {
        !matches!(self, Self::CountOverTime | Self::BytesRate | Self::BytesOverTime)
    }

    /// True when it may be given a log range without `unwrap`.
    #[must_use]
    pub const fn allows_lines(self) -> bool {
        matches!(
            self,
            Self::CountOverTime | Self::BytesRate | Self::BytesOverTime | Self::Rate | Self::AbsentOverTime
        )
    }
}

/// `op(param, {...} | unwrap x [5m] offset 1m) by (a)`
#[derive(Clone, Debug, PartialEq)]
pub struct RangeAggregation {
    /// The function.
    pub op: RangeOp,
    /// The quantile.
    pub param: Option<f64>,
    /// What it is applied to.
    pub range: LogRange,
    /// Which labels stay.
    pub grouping: Option<Grouping>,
    /// Where it stands.
    pub span: SourceSpan,
}

/// Lines of a sliding window.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRange {
    /// Which lines.
    pub log: LogExpr,
    /// Width of the window, in nanoseconds.
    pub interval: i64,
    /// How far the window lies in the past, in nanoseconds.
    pub offset: i64,
    /// The label whose value is the sample.
    pub unwrap: Option<Unwrap>,
}

/// `| unwrap duration(label) | filter`
#[derive(Clone, Debug, PartialEq)]
pub struct Unwrap {
    /// The label.
    pub label: String,
    /// How its value is read.
    pub conversion: Conversion,
    /// Filters applied afterwards.
    pub filters: Vec<LabelFilter>,
}

/// How `unwrap` reads a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// As a number.
    Float,
    /// As a size, in bytes.
    Bytes,
    /// As a duration, in seconds.
    Duration,
    /// The same under its longer name.
    DurationSeconds,
}

/// `by (a, b)` or `without (a, b)`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    /// True for `without`.
    pub without: bool,
    /// The labels, as written.
    pub labels: Vec<String>,
}

impl Grouping {
    /// True for `by ()`: everything becomes one series without labels.
    #[must_use]
    pub fn is_single(&self) -> bool {
        !self.without && self.labels.is_empty()
    }
}

/// The functions of vector aggregations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in the language")]
pub enum VectorOp {
    Sum,
    Avg,
    Max,
    Min,
    Count,
    Stddev,
    Stdvar,
    Bottomk,
    Topk,
    ApproxTopk,
    Sort,
    SortDesc,
}

impl VectorOp {
    const ALL: [Self; 12] = [
        Self::Sum,
        Self::Avg,
        Self::Max,
        Self::Min,
        Self::Count,
        Self::Stddev,
        Self::Stdvar,
        Self::Bottomk,
        Self::Topk,
        Self::ApproxTopk,
        Self::Sort,
        Self::SortDesc,
    ];

    /// The name in the language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Max => "max",
            Self::Min => "min",
            Self::Count => "count",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Bottomk => "bottomk",
            Self::Topk => "topk",
            Self::ApproxTopk => "approx_topk",
            Self::Sort => "sort",
            Self::SortDesc => "sort_desc",
        }
    }

    /// The function of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name() == name)
    }

    /// True when it selects `k` series.
    #[must_use]
    pub const fn takes_k(self) -> bool {
        matches!(self, Self::Bottomk | Self::Topk | Self::ApproxTopk)
    }
}

/// `op by (a) (k, expr)`
#[derive(Clone, Debug, PartialEq)]
pub struct VectorAggregation {
    /// The function.
    pub op: VectorOp,
    /// How many series `topk` and its like select.
    pub k: Option<usize>,
    /// What is aggregated.
    pub expr: MetricExpr,
    /// Which labels stay.
    pub grouping: Grouping,
    /// Where it stands.
    pub span: SourceSpan,
}

/// Binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in the language")]
pub enum BinOp {
    Or,
    And,
    Unless,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

impl BinOp {
    const ALL: [Self; 15] = [
        Self::Or,
        Self::And,
        Self::Unless,
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::Mod,
        Self::Pow,
        Self::Eq,
        Self::Ne,
        Self::Gt,
        Self::Ge,
        Self::Lt,
        Self::Le,
    ];

    /// The text in the language.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Unless => "unless",
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Lt => "<",
            Self::Le => "<=",
        }
    }

    /// The operator of that text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.text() == text)
    }

    /// How tightly it binds; only [`BinOp::Pow`] is right-associative.
    #[must_use]
    pub const fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Eq | Self::Ne | Self::Gt | Self::Ge | Self::Lt | Self::Le => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod => 5,
            Self::Pow => 6,
        }
    }

    /// True for `and`, `or` and `unless`.
    #[must_use]
    pub const fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// True for `==`, `<` and their like.
    #[must_use]
    pub const fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Gt | Self::Ge | Self::Lt | Self::Le)
    }
}

/// `left op modifiers right`. At most one side is a literal.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryExpr {
    /// The operator.
    pub op: BinOp,
    /// How series find each other.
    pub matching: Matching,
    /// `bool`: comparisons answer 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// The left side.
    pub left: MetricExpr,
    /// The right side.
    pub right: MetricExpr,
    /// Where it stands.
    pub span: SourceSpan,
}

/// How many series of one side may match one of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cardinality {
    /// One to one.
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
}

/// `on (a) group_left (b)`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// How many may match.
    pub card: Cardinality,
    /// True for `on`.
    pub on: bool,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// The labels taken over from the "one" side.
    pub include: Vec<String>,
}

/// `label_replace(expr, "dst", "replacement", "src", "regex")`
#[derive(Clone, Debug, PartialEq)]
pub struct LabelReplace {
    /// What it is applied to.
    pub expr: MetricExpr,
    /// The label to set.
    pub dst: String,
    /// Its value, with `$1` or `${name}` for groups of the regular expression.
    pub replacement: String,
    /// The label to read.
    pub src: String,
    /// The regular expression that must match all of its value.
    pub regex: String,
    /// Where it stands.
    pub span: SourceSpan,
}

impl Expr {
    /// True when the answer is numbers.
    #[must_use]
    pub const fn is_metric(&self) -> bool {
        matches!(self, Self::Metric(_))
    }

    /// Every selector with its pipeline, from left to right.
    #[must_use]
    pub fn logs(&self) -> Vec<&LogExpr> {
        match self {
            Self::Log(log) => vec![log],
            Self::Metric(metric) => metric.ranges().into_iter().map(|range| &range.range.log).collect(),
        }
    }
}

impl MetricExpr {
    /// Every range aggregation, from left to right.
    #[must_use]
    pub fn ranges(&self) -> Vec<&RangeAggregation> {
        let (mut found, mut todo) = (Vec::new(), vec![self]);
        while let Some(expr) = todo.pop() {
            match expr {
                Self::Range(range) => found.push(&**range),
                Self::Vector(vector) => todo.push(&vector.expr),
                Self::Binary(binary) => todo.extend([&binary.right, &binary.left]),
                Self::LabelReplace(replace) => todo.push(&replace.expr),
                Self::Literal(_) | Self::VectorLiteral(_) => {}
            }
        }
        found
    }

    /// True when somewhere in it the order of series matters: `sort` or `sort_desc`.
    #[must_use]
    pub fn is_sorted(&self) -> bool {
        match self {
            Self::Vector(vector) => {
                matches!(vector.op, VectorOp::Sort | VectorOp::SortDesc) || vector.expr.is_sorted()
            }
            Self::Binary(binary) => binary.left.is_sorted() || binary.right.is_sorted(),
            Self::LabelReplace(replace) => replace.expr.is_sorted(),
            Self::Range(_) | Self::Literal(_) | Self::VectorLiteral(_) => false,
        }
    }
}
