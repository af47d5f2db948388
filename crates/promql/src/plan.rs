//! The query made ready for a grid: durations, `@ start()` and context functions resolved, every function its own
//! variant, scalars and vectors apart. What does not fit together cannot be written down here, so that the evaluator
//! has no such cases.

use kenning_model::{Filter, LabelSet, METRIC_NAME, Millis};
use kenning_query::{Diagnostic, QueryError, SourceSpan};
use kenning_regex::{Limits, compile_whole};

use crate::eval::{DatePart, FloatFunction, HistogramStatistic, RangeFunction};
use crate::syntax::{
    Aggregate, Aggregator, At, Binary, BinaryOp, Call, DurationExpr, DurationOp, DurationSpec, Expr,
    Extension, Grouping, MatchOp, Matcher, Matching, MatrixSelector, Subquery, ValueType, VectorSelector,
};
use crate::text::{is_label, quote};

/// A whole query.
#[derive(Debug)]
pub(crate) enum Root {
    Scalar(Scalar),
    Vector(Vector),
    Matrix(Range),
    Text(String),
}

/// One number per instant.
#[derive(Debug)]
pub(crate) enum Scalar {
    Constant(f64),
    Time,
    /// `scalar(...)`
    Only(Box<Vector>),
    Negate(Box<Scalar>),
    Binary(BinaryOp, Box<Scalar>, Box<Scalar>),
    /// The value at the first instant of the grid, at all of them.
    AtFirst(Box<Scalar>),
    /// `min_of` and `max_of`
    Extreme {
        max: bool,
        left: Box<Scalar>,
        right: Box<Scalar>,
    },
}

/// Series selected at an instant.
#[derive(Debug)]
pub(crate) struct Selector {
    pub filter: Filter,
    pub when: When,
    pub smoothed: bool,
    pub resets: Resets,
    pub span: SourceSpan,
}

/// What is said of counter resets between the histograms of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resets {
    /// What the store says, and where there is none for certain.
    AsStored,
    /// Every one is marked: below `histogram_count` and the like Prometheus reads no buckets, and so has to look for
    /// resets while it reads. Aggregations can tell the difference.
    Marked,
}

/// When data is looked at, relative to the instant of evaluation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct When {
    pub at: Option<i64>,
    pub offset: i64,
}

impl When {
    /// The instant that is looked at when evaluating at `time`.
    pub(crate) fn of(self, time: i64) -> i64 {
        self.at.unwrap_or(time).saturating_sub(self.offset)
    }
}

/// Series over a range.
#[derive(Debug)]
pub(crate) struct Range {
    pub source: RangeSource,
    pub when: When,
    pub width: i64,
    pub span: SourceSpan,
}

#[derive(Debug)]
pub(crate) enum RangeSource {
    Selector { filter: Filter, extension: Option<Extension>, resets: Resets },
    Subquery { operand: Box<Vector>, step: Option<i64> },
}

/// A set of series with one value each per instant.
#[derive(Debug)]
pub(crate) enum Vector {
    Selector(Selector),
    OfScalar(Scalar),
    Negate(Box<Vector>),
    Aggregate(Box<Aggregation>),
    Binary(Box<VectorBinary>),
    ScalarBinary(Box<ScalarBinary>),
    OverRange(Box<OverRange>),
    AbsentOverRange {
        range: Range,
        labels: LabelSet,
    },
    Absent {
        operand: Box<Vector>,
        labels: LabelSet,
    },
    Float {
        function: FloatFunction,
        operand: Box<Vector>,
    },
    Clamp {
        operand: Box<Vector>,
        min: Option<Scalar>,
        max: Option<Scalar>,
    },
    Round {
        operand: Box<Vector>,
        nearest: Option<Scalar>,
    },
    Date {
        part: DatePart,
        operand: Option<Box<Vector>>,
    },
    /// `timestamp` of a selector: the samples' own times.
    TimestampOfSelector(Selector),
    TimestampOf(Box<Vector>),
    /// `start_timestamp` of a selector: when the samples' counters began.
    StartTimestampOfSelector(Selector),
    /// `start_timestamp` of anything else: computed values have no start.
    Nothing(Box<Vector>),
    Statistic {
        statistic: HistogramStatistic,
        operand: Box<Vector>,
    },
    Quantiles(Box<Quantiles>),
    Fraction {
        lower: Scalar,
        upper: Scalar,
        operand: Box<Vector>,
        span: SourceSpan,
    },
    LabelReplace(Box<LabelReplace>),
    LabelJoin {
        operand: Box<Vector>,
        target: String,
        separator: String,
        sources: Vec<String>,
    },
    Sort {
        operand: Box<Vector>,
        descending: bool,
        /// The place to remark that sorting a range is in vain; none for what is the same at every step.
        span: Option<SourceSpan>,
    },
    SortByLabel {
        operand: Box<Vector>,
        labels: Vec<String>,
        descending: bool,
        /// As for [`Self::Sort`].
        span: Option<SourceSpan>,
    },
    Info {
        operand: Box<Vector>,
        matchers: Option<Vec<Matcher>>,
        when: When,
    },
}

#[derive(Debug)]
pub(crate) struct Aggregation {
    pub op: AggregateOp,
    pub operand: Vector,
    pub grouping: Grouping,
    pub span: SourceSpan,
    pub operand_span: SourceSpan,
    pub param_span: SourceSpan,
}

#[derive(Debug)]
pub(crate) enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Quantile(Scalar),
    Topk(Scalar),
    Bottomk(Scalar),
    Limitk(Scalar),
    LimitRatio(Scalar),
    CountValues(String),
}

#[derive(Debug)]
pub(crate) struct VectorBinary {
    pub op: BinaryOp,
    pub left: Vector,
    pub right: Vector,
    pub matching: Matching,
    pub returns_bool: bool,
    pub span: SourceSpan,
}

#[derive(Debug)]
pub(crate) struct ScalarBinary {
    pub op: BinaryOp,
    pub vector: Vector,
    pub scalar: Scalar,
    pub scalar_is_left: bool,
    pub returns_bool: bool,
    pub span: SourceSpan,
}

#[derive(Debug)]
pub(crate) struct OverRange {
    pub function: RangeFunction,
    pub range: Range,
    pub params: Vec<Scalar>,
    /// The first argument, which remarks point at.
    pub span: SourceSpan,
}

#[derive(Debug)]
pub(crate) struct Quantiles {
    pub operand: Vector,
    pub operand_span: SourceSpan,
    pub quantiles: Vec<(Scalar, SourceSpan)>,
    /// The label that tells several quantiles apart.
    pub label: Option<String>,
}

#[derive(Debug)]
pub(crate) struct LabelReplace {
    pub operand: Vector,
    pub target: String,
    pub replacement: String,
    pub source: String,
    pub regex: regex::Regex,
}

/// What resolution needs to know about a query's grid and about what stands around an expression.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolver {
    start: i64,
    end: i64,
    step: i64,
    /// Below a function that looks at counts and sums of histograms only.
    statistics_only: bool,
    /// Below something that needs the buckets of histograms.
    needs_buckets: bool,
}

type Resolved<T> = Result<T, QueryError>;

fn invalid<T>(span: SourceSpan, message: impl Into<String>) -> Resolved<T> {
    Err(QueryError::Invalid(vec![Diagnostic::error(span, message)]))
}

fn failed<T>(span: SourceSpan, message: impl Into<String>) -> Resolved<T> {
    Err(QueryError::Execution(Diagnostic::error(span, message)))
}

impl Resolver {
    /// For a query from `start` to `end`; the step of an instant is zero.
    pub(crate) const fn new(start: i64, end: i64, step: i64) -> Self {
        Self { start, end, step, statistics_only: false, needs_buckets: false }
    }

    /// Makes a checked tree ready.
    pub(crate) fn root(self, expr: &Expr) -> Resolved<Root> {
        Ok(match expr.value_type() {
            ValueType::Scalar => Root::Scalar(self.scalar(expr)?),
            ValueType::Vector => Root::Vector(self.vector(expr)?),
            ValueType::Matrix => Root::Matrix(self.range(expr)?),
            ValueType::String => Root::Text(text(expr).to_owned()),
        })
    }

    fn scalar(self, expr: &Expr) -> Resolved<Scalar> {
        let expr = expr.unwrapped();
        match expr {
            Expr::Number(literal) => Ok(Scalar::Constant(literal.value)),
            Expr::Unary(unary) => {
                let operand = self.scalar(&unary.operand)?;
                Ok(if unary.negative { Scalar::Negate(Box::new(operand)) } else { operand })
            }
            Expr::Binary(binary) => {
                let sides = (Box::new(self.scalar(&binary.left)?), Box::new(self.scalar(&binary.right)?));
                Ok(Scalar::Binary(binary.op, sides.0, sides.1))
            }
            Expr::Call(call) => self.scalar_call(call),
            _ => invalid(expr.span(), "expected a scalar"),
        }
    }

    fn scalar_call(self, call: &Call) -> Resolved<Scalar> {
        let seconds = |ms: i64| Scalar::Constant(ms as f64 / 1000.0);
        match (call.function.name, call.args.as_slice()) {
            ("time", []) => Ok(Scalar::Time),
            ("pi", []) => Ok(Scalar::Constant(std::f64::consts::PI)),
            ("start", []) => Ok(seconds(self.start)),
            ("end", []) => Ok(seconds(self.end)),
            ("range", []) => Ok(seconds(self.end.saturating_sub(self.start))),
            ("step", []) => Ok(seconds(if self.start == self.end { 0 } else { self.step })),
            ("scalar", [operand]) => Ok(Scalar::Only(Box::new(self.vector(operand)?))),
            (name @ ("min_of" | "max_of"), [left, right]) => Ok(Scalar::Extreme {
                max: name == "max_of",
                left: Box::new(self.scalar(left)?),
                right: Box::new(self.scalar(right)?),
            }),
            _ => invalid(call.span, "expected a scalar function"),
        }
    }

    fn with_buckets(self) -> Self {
        Self { needs_buckets: true, ..self }
    }

    fn resets(self) -> Resets {
        if self.statistics_only && !self.needs_buckets { Resets::Marked } else { Resets::AsStored }
    }

    fn boxed(self, expr: &Expr) -> Resolved<Box<Vector>> {
        self.vector(expr).map(Box::new)
    }

    fn vector(self, expr: &Expr) -> Resolved<Vector> {
        let expr = expr.unwrapped();
        match expr {
            Expr::Selector(selector) => Ok(Vector::Selector(self.selector(selector)?)),
            Expr::Unary(unary) if unary.negative => Ok(Vector::Negate(self.boxed(&unary.operand)?)),
            Expr::Unary(unary) => self.vector(&unary.operand),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Call(call) => self.call(call),
            _ => invalid(expr.span(), "expected an instant vector"),
        }
    }

    fn selector(self, selector: &VectorSelector) -> Resolved<Selector> {
        Ok(Selector {
            filter: selector.filter(),
            when: self.when(selector.at, &selector.offset)?,
            // An instant has no start to be anchored at: `anchored` means nothing here.
            smoothed: selector.extension == Some(Extension::Smoothed),
            resets: self.resets(),
            span: selector.span,
        })
    }

    fn when(self, at: Option<At>, offset: &DurationSpec) -> Resolved<When> {
        let at = at.map(|at| match at {
            At::Time(Millis(time)) => time,
            At::Start => self.start,
            At::End => self.end,
        });
        Ok(When { at, offset: self.duration(offset, true)? })
    }

    fn range(self, expr: &Expr) -> Resolved<Range> {
        match expr.unwrapped() {
            Expr::Matrix(matrix) => self.matrix(matrix),
            Expr::Subquery(subquery) => self.subquery(subquery),
            other => invalid(other.span(), "expected a range vector"),
        }
    }

    fn matrix(self, matrix: &MatrixSelector) -> Resolved<Range> {
        let selector = &matrix.selector;
        Ok(Range {
            source: RangeSource::Selector {
                filter: selector.filter(),
                extension: selector.extension,
                resets: self.resets(),
            },
            when: self.when(selector.at, &selector.offset)?,
            width: self.duration(&matrix.range, false)?,
            span: matrix.span,
        })
    }

    fn subquery(self, subquery: &Subquery) -> Resolved<Range> {
        let step = subquery.step.as_ref().map(|step| self.duration(step, false)).transpose()?;
        let operand = self.with_buckets().boxed(&subquery.operand)?;
        let source = RangeSource::Subquery { operand, step: step.filter(|s| *s > 0) };
        Ok(Range {
            source,
            when: self.when(subquery.at, &subquery.offset)?,
            width: self.duration(&subquery.range, false)?,
            span: subquery.span,
        })
    }

    /// Milliseconds of a duration.
    fn duration(self, duration: &DurationSpec, may_be_negative: bool) -> Resolved<i64> {
        let expr = match duration {
            DurationSpec::Literal(ms) => return Ok(*ms),
            DurationSpec::Expr(expr) => expr,
        };
        let seconds = self.seconds(expr)?;
        let wrong = |what: &str| {
            let span = expr.span();
            invalid(span, format!("{}:{}: {what}", span.start, span.end))
        };
        if !seconds.is_finite() {
            return wrong("duration is NaN or infinite");
        }
        if seconds <= 0.0 && !may_be_negative {
            return wrong("duration must be greater than 0");
        }
        if seconds.abs() > i64::MAX as f64 / 1e9 {
            return wrong("duration is out of range");
        }
        Ok((seconds * 1000.0).trunc() as i64)
    }

    fn seconds(self, expr: &DurationExpr) -> Resolved<f64> {
        Ok(match expr {
            DurationExpr::Number(literal) => literal.value,
            DurationExpr::Step(_) => self.step as f64 / 1000.0,
            DurationExpr::Range(_) => self.end.saturating_sub(self.start) as f64 / 1000.0,
            DurationExpr::Negate(inner, _) => -self.seconds(inner)?,
            DurationExpr::Paren(inner, _) => self.seconds(inner)?,
            DurationExpr::Extreme { max, left, right, .. } => {
                let (left, right) = (self.seconds(left)?, self.seconds(right)?);
                if *max { go_max(left, right) } else { go_min(left, right) }
            }
            DurationExpr::Binary(op, left, right) => {
                let (left, right) = (self.seconds(left)?, self.seconds(right)?);
                let span = expr.span();
                let zero = |what| invalid(span, format!("{}:{}: {what} by zero", span.start, span.end));
                match op {
                    DurationOp::Add => left + right,
                    DurationOp::Sub => left - right,
                    DurationOp::Mul => left * right,
                    DurationOp::Div if right == 0.0 => return zero("division"),
                    DurationOp::Mod if right == 0.0 => return zero("modulo"),
                    DurationOp::Div => left / right,
                    DurationOp::Mod => left % right,
                    DurationOp::Pow => left.powf(right),
                }
            }
        })
    }

    fn binary(self, binary: &Binary) -> Resolved<Vector> {
        let (op, returns_bool, span) = (binary.op, binary.returns_bool, binary.span);
        if matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower) && !self.needs_buckets {
            return self.with_buckets().binary(binary);
        }
        let is_scalar = |side: &Expr| side.value_type() == ValueType::Scalar;
        let scalar_is_left = is_scalar(&binary.left);
        if !scalar_is_left && !is_scalar(&binary.right) {
            let (left, right) = (self.vector(&binary.left)?, self.vector(&binary.right)?);
            let matching = binary.matching.clone();
            return Ok(Vector::Binary(Box::new(VectorBinary {
                op,
                left,
                right,
                matching,
                returns_bool,
                span,
            })));
        }
        let (scalar, vector) =
            if scalar_is_left { (&binary.left, &binary.right) } else { (&binary.right, &binary.left) };
        let (scalar, vector) = (self.scalar(scalar)?, self.vector(vector)?);
        Ok(Vector::ScalarBinary(Box::new(ScalarBinary {
            op,
            vector,
            scalar,
            scalar_is_left,
            returns_bool,
            span,
        })))
    }

    fn aggregate(self, aggregate: &Aggregate) -> Resolved<Vector> {
        let param = || match &aggregate.param {
            // Prometheus evaluates such an aggregation once, for the first instant, whatever its parameter is.
            Some(param) if is_step_invariant(&aggregate.operand) => {
                Ok(Scalar::AtFirst(Box::new(self.scalar(param)?)))
            }
            Some(param) => self.scalar(param),
            None => invalid(aggregate.span, "the aggregation lacks its parameter"),
        };
        let op = match aggregate.op {
            Aggregator::Sum => AggregateOp::Sum,
            Aggregator::Avg => AggregateOp::Avg,
            Aggregator::Count => AggregateOp::Count,
            Aggregator::Min => AggregateOp::Min,
            Aggregator::Max => AggregateOp::Max,
            Aggregator::Group => AggregateOp::Group,
            Aggregator::Stddev => AggregateOp::Stddev,
            Aggregator::Stdvar => AggregateOp::Stdvar,
            Aggregator::Quantile => AggregateOp::Quantile(param()?),
            Aggregator::Topk => AggregateOp::Topk(param()?),
            Aggregator::Bottomk => AggregateOp::Bottomk(param()?),
            Aggregator::Limitk => AggregateOp::Limitk(param()?),
            Aggregator::LimitRatio => AggregateOp::LimitRatio(param()?),
            Aggregator::CountValues => {
                let label = aggregate.param.as_ref().map_or("", text);
                if !is_label(label) {
                    return failed(aggregate.span, format!("invalid label name {}", quote(label)));
                }
                AggregateOp::CountValues(label.to_owned())
            }
        };
        // Remarks point behind the parentheses around an argument, as Prometheus has dropped them by then.
        let (operand, operand_span) = (aggregate.operand.unwrapped(), aggregate.operand.unwrapped().span());
        let param_span = aggregate.param.as_ref().map_or(aggregate.span, |param| param.unwrapped().span());
        Ok(Vector::Aggregate(Box::new(Aggregation {
            op,
            operand: self.vector(operand)?,
            grouping: aggregate.grouping.clone(),
            span: aggregate.span,
            operand_span,
            param_span,
        })))
    }

    fn call(self, call: &Call) -> Resolved<Vector> {
        let (name, args) = (call.function.name, call.args.as_slice());
        let args: Vec<&Expr> = args.iter().map(Expr::unwrapped).collect();
        if let Some(function) = RangeFunction::find(name) {
            return self.over_range(function, call, &args);
        }
        if let (Some(function), [operand]) = (FloatFunction::find(name), args.as_slice()) {
            return Ok(Vector::Float { function, operand: self.boxed(operand)? });
        }
        if let (Some(statistic), [operand]) = (HistogramStatistic::find(name), args.as_slice()) {
            let only = matches!(name, "histogram_count" | "histogram_sum" | "histogram_avg");
            let below = Self { statistics_only: self.statistics_only || only, ..self };
            return Ok(Vector::Statistic { statistic, operand: below.boxed(operand)? });
        }
        if let Some(part) = DatePart::find(name) {
            let operand = args.first().map(|operand| self.boxed(operand)).transpose()?;
            return Ok(Vector::Date { part, operand });
        }
        self.other_call(call, &args)
    }

    fn other_call(self, call: &Call, args: &[&Expr]) -> Resolved<Vector> {
        let span = call.span;
        let name = call.function.name;
        Ok(match (name, args) {
            ("vector", [scalar]) => Vector::OfScalar(self.scalar(scalar)?),
            ("absent", [operand]) => {
                Vector::Absent { operand: self.boxed(operand)?, labels: labels_for_absent(operand) }
            }
            ("absent_over_time", [range]) => {
                let labels = labels_for_absent(range);
                let range = self.range(range)?;
                check_extension(&range, call)?;
                Vector::AbsentOverRange { range, labels }
            }
            ("clamp", [operand, min, max]) => Vector::Clamp {
                operand: self.boxed(operand)?,
                min: Some(self.scalar(min)?),
                max: Some(self.scalar(max)?),
            },
            ("clamp_min", [operand, min]) => {
                Vector::Clamp { operand: self.boxed(operand)?, min: Some(self.scalar(min)?), max: None }
            }
            ("clamp_max", [operand, max]) => {
                Vector::Clamp { operand: self.boxed(operand)?, min: None, max: Some(self.scalar(max)?) }
            }
            ("round", [operand, rest @ ..]) => {
                let nearest = rest.first().map(|nearest| self.scalar(nearest)).transpose()?;
                Vector::Round { operand: self.boxed(operand)?, nearest }
            }
            ("timestamp", [Expr::Selector(selector)]) => {
                Vector::TimestampOfSelector(self.selector(selector)?)
            }
            ("timestamp", [operand]) => Vector::TimestampOf(self.boxed(operand)?),
            ("start_timestamp", [Expr::Selector(selector)]) => {
                Vector::StartTimestampOfSelector(self.selector(selector)?)
            }
            ("start_timestamp", [operand]) => Vector::Nothing(self.boxed(operand)?),
            ("histogram_quantile", [quantile, operand]) => self.quantiles(operand, &[quantile], None)?,
            ("histogram_quantiles", [operand, label, quantiles @ ..]) => {
                self.quantiles(operand, quantiles, Some(text(label).to_owned()))?
            }
            ("histogram_fraction", [lower, upper, operand]) => Vector::Fraction {
                lower: self.scalar(lower)?,
                upper: self.scalar(upper)?,
                span: operand.span(),
                operand: self.with_buckets().boxed(operand)?,
            },
            ("label_replace", [operand, target, replacement, source, regex]) => {
                self.label_replace(span, operand, [target, replacement, source, regex])?
            }
            ("label_join", [operand, target, separator, sources @ ..]) => {
                self.label_join(span, operand, target, separator, sources)?
            }
            ("sort" | "sort_desc", [operand]) => {
                let span = (!is_step_invariant(operand)).then_some(span);
                Vector::Sort { operand: self.boxed(operand)?, descending: name == "sort_desc", span }
            }
            ("sort_by_label" | "sort_by_label_desc", [operand, labels @ ..]) => Vector::SortByLabel {
                operand: self.boxed(operand)?,
                labels: labels.iter().map(|label| text(label).to_owned()).collect(),
                descending: name == "sort_by_label_desc",
                span: (!is_step_invariant(operand)).then_some(span),
            },
            ("info", [operand, rest @ ..]) => {
                let matchers = rest.first().and_then(|arg| match arg {
                    Expr::Selector(selector) => Some(selector.matchers.clone()),
                    _ => None,
                });
                let when = self.time_of(operand)?.unwrap_or(When { at: None, offset: 0 });
                Vector::Info { operand: self.boxed(operand)?, matchers, when }
            }
            _ => return invalid(span, format!("function {name} cannot be called like this")),
        })
    }

    fn quantiles(self, operand: &Expr, quantiles: &[&Expr], label: Option<String>) -> Resolved<Vector> {
        let quantile = |expr: &&Expr| Ok((self.scalar(expr)?, expr.span()));
        Ok(Vector::Quantiles(Box::new(Quantiles {
            operand_span: operand.span(),
            operand: self.with_buckets().vector(operand)?,
            quantiles: quantiles.iter().map(quantile).collect::<Resolved<_>>()?,
            label,
        })))
    }

    fn label_replace(self, span: SourceSpan, operand: &Expr, texts: [&Expr; 4]) -> Resolved<Vector> {
        let [target, replacement, source, pattern] = texts.map(|expr| text(expr).to_owned());
        let Ok(regex) = compile_whole(&pattern, Limits::default()) else {
            return failed(span, format!("invalid regular expression in label_replace(): {pattern}"));
        };
        if !is_label(&target) {
            return failed(span, format!("invalid destination label name in label_replace(): {target}"));
        }
        let operand = self.vector(operand)?;
        Ok(Vector::LabelReplace(Box::new(LabelReplace { operand, target, replacement, source, regex })))
    }

    fn label_join(
        self,
        span: SourceSpan,
        operand: &Expr,
        target: &Expr,
        separator: &Expr,
        sources: &[&Expr],
    ) -> Resolved<Vector> {
        let (target, separator) = (text(target).to_owned(), text(separator).to_owned());
        let sources: Vec<_> = sources.iter().map(|source| text(source).to_owned()).collect();
        if let Some(source) = sources.iter().find(|source| !is_label(source)) {
            return failed(span, format!("invalid source label name in label_join(): {source}"));
        }
        if !is_label(&target) {
            return failed(span, format!("invalid destination label name in label_join(): {target}"));
        }
        Ok(Vector::LabelJoin { operand: self.boxed(operand)?, target, separator, sources })
    }

    fn over_range(self, function: RangeFunction, call: &Call, args: &[&Expr]) -> Resolved<Vector> {
        let (mut range, mut params) = (None, Vec::new());
        for arg in args {
            match arg.value_type() {
                ValueType::Matrix => range = Some(self.range(arg)?),
                _ => params.push(self.scalar(arg)?),
            }
        }
        let Some(range) = range else { return invalid(call.span, "expected a range vector") };
        check_extension(&range, call)?;
        // Prometheus has no place for what a subquery gives, and says the first.
        let place = |arg: &&Expr| match arg.unwrapped() {
            Expr::Subquery(_) => SourceSpan::new(0, 0),
            _ => arg.span(),
        };
        let span = args.first().map_or(call.span, place);
        Ok(Vector::OverRange(Box::new(OverRange { function, range, params, span })))
    }

    /// When the first selector of an expression looks at its data: the innermost `@`, and the offsets within it.
    fn time_of(self, expr: &Expr) -> Resolved<Option<When>> {
        if let Expr::Selector(selector) = expr {
            return self.when(selector.at, &selector.offset).map(Some);
        }
        if let Expr::Matrix(matrix) = expr {
            return self.when(matrix.selector.at, &matrix.selector.offset).map(Some);
        }
        for child in expr.children() {
            let Some(inner) = self.time_of(child)? else { continue };
            let Expr::Subquery(subquery) = expr else { return Ok(Some(inner)) };
            if inner.at.is_some() {
                return Ok(Some(inner));
            }
            let outer = self.when(subquery.at, &subquery.offset)?;
            return Ok(Some(When { at: outer.at, offset: outer.offset.saturating_add(inner.offset) }));
        }
        Ok(None)
    }
}

/// Go's `math.Max`: NaN wins.
pub(crate) fn go_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        if a == f64::INFINITY || b == f64::INFINITY { f64::INFINITY } else { f64::NAN }
    } else {
        a.max(b)
    }
}

/// Go's `math.Min`: NaN wins.
pub(crate) fn go_min(a: f64, b: f64) -> f64 {
    -go_max(-a, -b)
}

fn text(expr: &Expr) -> &str {
    match expr.unwrapped() {
        Expr::String(literal) => &literal.value,
        _ => "",
    }
}

/// Refuses `anchored` and `smoothed` for functions that do not know samples outside of their range.
fn check_extension(range: &Range, call: &Call) -> Resolved<()> {
    let RangeSource::Selector { extension: Some(extension), .. } = &range.source else { return Ok(()) };
    let (word, allowed) = match extension {
        Extension::Anchored => ("anchored", "changes, delta, increase, rate, resets"),
        Extension::Smoothed => ("smoothed", "delta, increase, rate"),
    };
    let name = call.function.name;
    if allowed.split(", ").any(|allowed| allowed == name) {
        return Ok(());
    }
    failed(call.span, format!("{word} modifier can only be used with: {allowed} - not with {name}"))
}

/// Functions that look at the time of a step, whatever their arguments are.
const OF_THE_STEP: [&str; 14] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "end",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "year",
];

/// Whether an expression is evaluated once for all steps, because every selector within says `@`.
///
/// Definition: Prometheus `promql.PreprocessExpr`, parameters of aggregations left out as there.
fn is_step_invariant(expr: &Expr) -> bool {
    match expr {
        Expr::Number(_) | Expr::String(_) => true,
        Expr::Selector(selector) => selector.at.is_some(),
        Expr::Matrix(matrix) => matrix.selector.at.is_some(),
        Expr::Subquery(subquery) => subquery.at.is_some(),
        Expr::Aggregate(aggregate) => is_step_invariant(&aggregate.operand),
        Expr::Call(call) if call.function.name == "timestamp" => {
            call.args.iter().all(|arg| matches!(arg.unwrapped(), Expr::Selector(s) if s.at.is_some()))
        }
        Expr::Call(call) if OF_THE_STEP.contains(&call.function.name) => false,
        Expr::Call(_) | Expr::Binary(_) | Expr::Paren(_) | Expr::Unary(_) => {
            expr.children().into_iter().all(is_step_invariant)
        }
    }
}

/// The labels that an empty result would have had for certain.
fn labels_for_absent(expr: &Expr) -> LabelSet {
    let matchers = match expr {
        Expr::Selector(selector) => &selector.matchers,
        Expr::Matrix(matrix) => &matrix.selector.matchers,
        _ => return LabelSet::empty(),
    };
    let mut labels = LabelSet::empty().to_builder();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name != METRIC_NAME) {
        if matcher.op == MatchOp::Eq && !seen.contains(&matcher.name.as_str()) {
            labels.set(&matcher.name, &matcher.value);
            seen.push(&matcher.name);
        } else {
            labels.remove(&matcher.name);
        }
    }
    labels.build()
}
