//! The typed syntax tree of TraceQL.

use crate::value::Static;

/// Steps that spansets run through, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// The steps, at least one.
    pub steps: Vec<Step>,
}

/// A step of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// `{ ... }` and combinations of them.
    Spansets(SpansetExpr),
    /// `count() > 2`
    ScalarFilter(ScalarFilter),
    /// `by(expression)`
    By(FieldExpr),
    /// `coalesce()`
    Coalesce,
    /// `select(.a, .b)`
    Select(Vec<Attribute>),
}

/// What selects spans of a spanset.
#[derive(Clone, Debug, PartialEq)]
pub enum SpansetExpr {
    /// `{ expression }`
    Filter(FieldExpr),
    /// `( pipeline )`
    Pipeline(Pipeline),
    /// `left op right`
    Operation(Box<SpansetExpr>, SpansetOp, Box<SpansetExpr>),
}

/// Operators between spansets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpansetOp {
    /// `&&`: both sides have spans.
    And,
    /// `||`: one side has.
    Or,
    /// A relation between spans of both sides.
    Related(Relation, Join),
}

/// How two spans of a trace lie to each other; the right one is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `>`: the right one is a child of the left one.
    Child,
    /// `<`: the right one is the parent.
    Parent,
    /// `>>`: the right one is a descendant.
    Descendant,
    /// `<<`: the right one is an ancestor.
    Ancestor,
    /// `~`: both have the same parent.
    Sibling,
}

/// Which spans a relation keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// Right ones that are related.
    Right,
    /// `!`: right ones that are not.
    NotRight,
    /// `&`: both ones.
    Both,
}

/// `left op right` over spansets.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalarFilter {
    /// The left side.
    pub left: ScalarExpr,
    /// The comparison.
    pub op: Op,
    /// The right side.
    pub right: ScalarExpr,
}

/// A number per spanset.
#[derive(Clone, Debug, PartialEq)]
pub enum ScalarExpr {
    /// A constant.
    Static(Static),
    /// `avg(expression)`
    Aggregate(Aggregate),
    /// `left op right`
    Binary(Box<ScalarExpr>, Op, Box<ScalarExpr>),
}

/// An aggregate of a spanset's spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The function.
    pub op: AggregateOp,
    /// What is aggregated; nothing for `count`.
    pub expr: Option<FieldExpr>,
}

/// The functions of aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in the language")]
pub enum AggregateOp {
    Count,
    Min,
    Max,
    Avg,
    Sum,
}

impl AggregateOp {
    /// The name in the language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Avg => "avg",
            Self::Sum => "sum",
        }
    }
}

/// A value per span.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldExpr {
    /// A constant.
    Static(Static),
    /// An attribute or intrinsic of the span.
    Attribute(Attribute),
    /// `-expression`
    Negate(Box<FieldExpr>),
    /// `!expression`
    Not(Box<FieldExpr>),
    /// `expression != nil`
    Exists(Box<FieldExpr>),
    /// `expression = nil`
    NotExists(Box<FieldExpr>),
    /// `left op right`
    Binary(Box<BinaryExpr>),
}

/// `left op right`
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryExpr {
    /// The left side.
    pub left: FieldExpr,
    /// The operator.
    pub op: Op,
    /// The right side.
    pub right: FieldExpr,
    /// The right side of a regular expression operator, compiled.
    pub pattern: Option<kenning_model::Pattern>,
}

/// Operators between values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as usual")]
pub enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Re,
    Nre,
    And,
    Or,
}

impl Op {
    const ALL: [Self; 16] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::Mod,
        Self::Pow,
        Self::Eq,
        Self::Ne,
        Self::Lt,
        Self::Le,
        Self::Gt,
        Self::Ge,
        Self::Re,
        Self::Nre,
        Self::And,
        Self::Or,
    ];

    /// The text in the language.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Re => "=~",
            Self::Nre => "!~",
            Self::And => "&&",
            Self::Or => "||",
        }
    }

    /// The operator of that text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.text() == text)
    }

    /// How tightly it binds; only [`Op::Pow`] is right-associative. `&&` and `||` bind alike.
    #[must_use]
    pub const fn precedence(self) -> u8 {
        match self {
            Self::And | Self::Or => 1,
            Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge | Self::Re | Self::Nre => 2,
            Self::Add | Self::Sub => 3,
            Self::Mul | Self::Div | Self::Mod => 5,
            Self::Pow => 6,
        }
    }

    /// True for operators whose result is a truth value.
    #[must_use]
    pub const fn is_boolean(self) -> bool {
        !matches!(self, Self::Add | Self::Sub | Self::Mul | Self::Div | Self::Mod | Self::Pow)
    }

    /// True for `=`, `<` and their like between numbers.
    #[must_use]
    pub const fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge)
    }
}

/// Where an attribute is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `.name`: the span, then its resource, then the rest.
    Any,
    /// `span.name`
    Span,
    /// `resource.name`
    Resource,
    /// `event.name`
    Event,
    /// `link.name`
    Link,
    /// `instrumentation.name`
    Instrumentation,
}

/// An attribute or intrinsic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// A named attribute.
    Named {
        /// `parent.`: of the parent span. Not supported by the evaluation, as in Tempo.
        parent: bool,
        /// Where it is looked for.
        scope: Scope,
        /// Its name.
        name: String,
    },
    /// Something every span has.
    Intrinsic(Intrinsic),
}

/// What every span has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "named as in the language")]
pub enum Intrinsic {
    Duration,
    Name,
    Status,
    StatusMessage,
    Kind,
    ChildCount,
    RootService,
    RootName,
    TraceDuration,
    NestedSetLeft,
    NestedSetRight,
    NestedSetParent,
    EventName,
    EventTimeSinceStart,
    LinkSpanId,
    LinkTraceId,
    InstrumentationName,
    InstrumentationVersion,
    Parent,
    TraceId,
    SpanId,
    ParentId,
}

impl Intrinsic {
    /// The canonical text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Duration => "duration",
            Self::Name => "name",
            Self::Status => "status",
            Self::StatusMessage => "statusMessage",
            Self::Kind => "kind",
            Self::ChildCount => "span:childCount",
            Self::RootService => "rootServiceName",
            Self::RootName => "rootName",
            Self::TraceDuration => "traceDuration",
            Self::NestedSetLeft => "nestedSetLeft",
            Self::NestedSetRight => "nestedSetRight",
            Self::NestedSetParent => "nestedSetParent",
            Self::EventName => "event:name",
            Self::EventTimeSinceStart => "event:timeSinceStart",
            Self::LinkSpanId => "link:spanID",
            Self::LinkTraceId => "link:traceID",
            Self::InstrumentationName => "instrumentation:name",
            Self::InstrumentationVersion => "instrumentation:version",
            Self::Parent => "parent",
            Self::TraceId => "trace:id",
            Self::SpanId => "span:id",
            Self::ParentId => "span:parentID",
        }
    }

    /// The intrinsic of a text, scoped or not.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Some(match text {
            "duration" | "span:duration" => Self::Duration,
            "name" | "span:name" => Self::Name,
            "status" | "span:status" => Self::Status,
            "statusMessage" | "span:statusMessage" => Self::StatusMessage,
            "kind" | "span:kind" => Self::Kind,
            "span:childCount" => Self::ChildCount,
            "rootServiceName" | "trace:rootService" => Self::RootService,
            "rootName" | "trace:rootName" => Self::RootName,
            "traceDuration" | "trace:duration" => Self::TraceDuration,
            "nestedSetLeft" => Self::NestedSetLeft,
            "nestedSetRight" => Self::NestedSetRight,
            "nestedSetParent" => Self::NestedSetParent,
            "event:name" => Self::EventName,
            "event:timeSinceStart" => Self::EventTimeSinceStart,
            "link:spanID" => Self::LinkSpanId,
            "link:traceID" => Self::LinkTraceId,
            "instrumentation:name" => Self::InstrumentationName,
            "instrumentation:version" => Self::InstrumentationVersion,
            "parent" => Self::Parent,
            "trace:id" => Self::TraceId,
            "span:id" => Self::SpanId,
            "span:parentID" => Self::ParentId,
            _ => return None,
        })
    }
}
