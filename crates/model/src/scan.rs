//! What may be asked of a store: a closed description of rows and of the partial results worth pushing down.
//!
//! Nothing here holds user code, so an embedded engine can evaluate it and a SQL engine can print it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kenning_regex::{Limits, compile, compile_whole, translate};
use regex::Regex;

use crate::fields::{LineSyntax, Tokens, field_of_line, number_of};
use crate::{GroupRow, LabelSet, LogRow, Millis, Nanos, Span, SpanSource, TenantId, TimeRange, ValueRef};

/// The tables of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Series with their float samples and native histograms.
    Samples,
    /// Exemplars of series.
    Exemplars,
    /// Type, help and unit by metric. Has no time: the range of a scan is not looked at.
    Metadata,
    /// Log records.
    Logs,
    /// Spans; filed under their start.
    Spans,
}

/// A question to a store about one table of one tenant.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Whose data.
    pub tenant: TenantId,
    /// Which table.
    pub table: Table,
    /// Rows stamped inside; both ends included.
    pub time: TimeRange,
    /// Which rows.
    pub filter: Filter,
    /// What to make of them.
    pub shape: Shape,
    /// In which order rows come (logs and spans; series always come in label order).
    pub order: Order,
    /// At most so many series, records, spans or values; the first ones by `order`. None: all.
    pub limit: Option<usize>,
    /// The scan fails rather than hold more bytes of results and work space.
    pub bytes_max: usize,
    /// Set by whoever no longer wants the answer; the store looks at it often.
    pub cancel: Cancel,
}

impl Scan {
    /// Bytes a scan may hold when nobody says otherwise: the default memory limit of a query.
    pub const BYTES_MAX_DEFAULT: usize = 256 << 20;

    /// All rows of a table in a range.
    #[must_use]
    pub fn rows(tenant: TenantId, table: Table, time: TimeRange, filter: Filter) -> Self {
        Self {
            tenant,
            table,
            time,
            filter,
            shape: Shape::Rows,
            order: Order::OldestFirst,
            limit: None,
            bytes_max: Self::BYTES_MAX_DEFAULT,
            cancel: Cancel::default(),
        }
    }
}

/// A flag that many may look at and anyone may raise. Once raised it stays up.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the work to stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True once raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The order of log records and spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By time, the earliest first; ties in order of arrival.
    #[default]
    OldestFirst,
    /// By time, the latest first; ties in reverse order of arrival.
    NewestFirst,
}

/// What a scan makes of the rows that pass its filter. A store that cannot push a shape down answers with rows
/// ([`crate::Block::Series`], [`crate::Block::Logs`], [`crate::Block::Spans`]) and shared operators finish the job.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// The rows themselves.
    Rows,
    /// The rows, in columns where that loses nothing (samples): a series of floats without start times comes in
    /// [`crate::Block::Columns`], any other in [`crate::Block::Series`], all in label order.
    Columns,
    /// Distinct values, sorted.
    Distinct(DistinctOf),
    /// Aggregates per group and time bucket (logs and spans).
    Group(Group),
    /// The numbers in a field of the rows that pass, per group (logs). Rows whose field is absent or
    /// no number ([`crate::number_of`]) are left out.
    Numbers {
        /// Fields whose text makes the group's key; absent ones count as empty.
        by: Vec<Field>,
        /// Whose numbers.
        of: Field,
        /// Whether the time of each number is wanted too.
        is_timed: bool,
    },
    /// A range function of every series on a time grid (samples). Windows are left-open: `(t - window, t]`.
    Grid {
        /// The function.
        func: RangeFn,
        /// First instant of the grid.
        start: Millis,
        /// Last instant that the grid may hold.
        end: Millis,
        /// Distance between instants, in milliseconds, above zero.
        step_ms: i64,
        /// Width of the window, in milliseconds, above zero.
        window_ms: i64,
    },
}

/// What is listed by [`Shape::Distinct`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DistinctOf {
    /// Label sets of series or streams, without their rows.
    LabelSets,
    /// Names of labels (samples, logs) or of attributes (spans: resource, span, event and scope together).
    Names,
    /// Values of one field, as text; absent and empty ones are left out.
    Values(Field),
}

/// Groups of rows and what is counted of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Time buckets: bucket `k` holds `(origin + (k-1) * width, origin + k * width]` and is named by its end, as the
    /// range vectors of PromQL and LogQL are. `None`: one bucket named [`Nanos`] zero.
    pub step: Option<(Nanos, i64)>,
    /// Fields whose text makes the group's key; absent ones count as empty.
    pub by: Vec<Field>,
    /// What is computed, in this order.
    pub aggs: Vec<Agg>,
    /// Of every bucket only the groups whose last aggregate is among so many greatest, and those that equal the least
    /// of them; all groups when not given.
    pub top: Option<usize>,
}

impl Group {
    /// Takes out the groups that [`Self::top`] leaves out. Buckets must lie together.
    pub fn keep_top(&self, rows: &mut Vec<GroupRow>) {
        let Some(top) = self.top else { return };
        let last = |row: &GroupRow| row.values.last().copied().unwrap_or(0.0);
        let bounds: Vec<(Nanos, Option<f64>)> = rows
            .chunk_by(|a, b| a.time == b.time)
            .filter_map(|bucket| {
                let mut values: Vec<f64> = bucket.iter().map(last).collect();
                Some((bucket.first()?.time, least_of_top(&mut values, top)))
            })
            .collect();
        let mut bounds = bounds.into_iter().peekable();
        rows.retain(|row| {
            while bounds.next_if(|(time, _)| *time != row.time).is_some() {}
            let bound = bounds.peek().and_then(|(_, bound)| *bound);
            bound.is_some_and(|bound| last(row).total_cmp(&bound).is_ge())
        });
    }
}

/// The least of so many greatest values; none when there are none to keep.
#[must_use]
pub fn least_of_top(values: &mut [f64], top: usize) -> Option<f64> {
    let place = top.min(values.len()).checked_sub(1)?;
    let (_, value, _) = values.select_nth_unstable_by(place, |a, b| b.total_cmp(a));
    Some(*value)
}

/// An aggregate of a group. Rows whose field is not a number do not count for the field aggregates.
#[derive(Clone, Debug, PartialEq)]
pub enum Agg {
    /// Number of rows.
    Count,
    /// Bytes of log lines; zero for spans.
    LineBytes,
    /// Sum of a numeric field.
    Sum(Field),
    /// Least of a numeric field; NaN when no row has one.
    Min(Field),
    /// Greatest of a numeric field; NaN when no row has one.
    Max(Field),
}

/// Range functions that stores may push down. Definition: PromQL's functions of these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeFn {
    /// The latest sample of the window unless it is a stale marker: an instant vector selector.
    Latest,
    /// `rate`
    Rate,
    /// `increase`
    Increase,
    /// `sum_over_time`
    Sum,
    /// `count_over_time`
    Count,
    /// `min_over_time`
    Min,
    /// `max_over_time`
    Max,
    /// `avg_over_time`
    Avg,
}

/// A part of a row that filters and groups can name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// A label of a series (`__name__` is the metric) or of a log stream. Absent reads as empty text.
    Label(Box<str>),
    /// Structured metadata of a log record. Absent reads as empty text.
    Metadata(Box<str>),
    /// A log line.
    Line,
    /// What a query that parses the lines sees under a name: the stream's label, else structured metadata, else the
    /// field of the line. Absent when neither labels nor metadata have it and the line is not plain
    /// ([`crate::Tokens::is_plain`]) or has no such field.
    Parsed(LineSyntax, Box<str>),
    /// True for plain lines ([`crate::Tokens::is_plain`]); absent for others.
    Plain(LineSyntax),
    /// Severity number of a log record.
    Severity,
    /// Trace of a record or span, as 32 lower-case hex digits; absent when there is none.
    TraceId,
    /// Span of a record, or a span's own id, as 16 lower-case hex digits; absent when there is none.
    SpanId,
    /// A span's parent, as 16 lower-case hex digits; absent for a root.
    ParentSpanId,
    /// A span's name.
    Name,
    /// A span's kind, as [`crate::SpanKind::as_str`].
    Kind,
    /// A span's status, as [`crate::StatusCode::as_str`].
    Status,
    /// A span's status message.
    StatusMessage,
    /// A span's duration in nanoseconds.
    Duration,
    /// An attribute of a span's resource; `service.name` is there even if the source left it out.
    Resource(Box<str>),
    /// An attribute of a span.
    Attribute(Box<str>),
    /// The name of a span's instrumentation scope.
    ScopeName,
    /// The version of a span's instrumentation scope.
    ScopeVersion,
    /// An attribute of a span's instrumentation scope.
    Scope(Box<str>),
    /// The name of any of a span's events.
    EventName,
    /// An attribute of any of a span's events.
    Event(Box<str>),
    /// An attribute of any of a span's links.
    Link(Box<str>),
}

/// Which rows pass. Evaluation is two-valued; a comparison with an absent field or of unlike types is false.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Every row.
    All,
    /// Every part passes; an empty list passes.
    And(Vec<Filter>),
    /// Some part passes; an empty list does not.
    Or(Vec<Filter>),
    /// The part does not pass.
    Not(Box<Filter>),
    /// A field compares with a literal.
    Compare(Field, Compare, Literal),
    /// A field's text is one of these.
    OneOf(Field, Vec<Box<str>>),
    /// A field's text matches a pattern.
    Matches(Field, Pattern),
    /// A field's text contains this text.
    Contains(Field, Box<str>),
    /// A field's text is a number as JSON writes them ([`crate::number_of`]), and it compares so.
    Number(Field, Compare, f64),
    /// The field is there (labels and metadata: with a value that is not empty).
    Exists(Field),
}

impl Filter {
    /// `field = text`
    #[must_use]
    pub fn eq(field: Field, text: &str) -> Self {
        Self::Compare(field, Compare::Eq, Literal::Str(text.into()))
    }

    /// Both; [`Filter::All`] disappears.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, one) | (one, Self::All) => one,
            (Self::And(mut parts), one) => {
                parts.push(one);
                Self::And(parts)
            }
            (one, two) => Self::And(vec![one, two]),
        }
    }
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Equal.
    Eq,
    /// There and not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// A constant. Integers and doubles compare by value; text compares with text by bytes; truth values only for equality.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// Text.
    Str(Box<str>),
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// A truth value.
    Bool(bool),
}

/// A compiled regular expression in Go's dialect. Equal when its source is.
#[derive(Clone)]
pub struct Pattern {
    source: Box<str>,
    anchored: bool,
    test: Test,
}

/// How texts are tested. What nobody needs an automaton for has none made.
#[derive(Clone)]
enum Test {
    /// `.*` of whole texts.
    Anything,
    /// `.+` of whole texts.
    Something,
    Regex(Regex),
}

/// Longest source of a pattern, in bytes.
const PATTERN_LEN_MAX: usize = 4 << 10;
/// Largest compiled pattern, in bytes.
const PATTERN_SIZE_MAX: usize = 1 << 20;
/// Largest lazily built automaton, in bytes.
const PATTERN_DFA_MAX: usize = 2 << 20;

impl Pattern {
    /// A pattern that must match the whole text, with `.` matching line ends: label matchers of PromQL and LogQL.
    pub fn whole(source: &str) -> Result<Self, String> {
        Self::compile(source, true)
    }

    /// A pattern that may match anywhere: line filters of LogQL.
    pub fn anywhere(source: &str) -> Result<Self, String> {
        Self::compile(source, false)
    }

    fn compile(source: &str, anchored: bool) -> Result<Self, String> {
        if source.len() > PATTERN_LEN_MAX {
            return Err(format!(
                "regular expression is {} bytes long; the limit is {PATTERN_LEN_MAX}",
                source.len()
            ));
        }
        let plain = match source {
            ".*" if anchored => Some(Test::Anything),
            ".+" if anchored => Some(Test::Something),
            _ => None,
        };
        if let Some(test) = plain {
            return Ok(Self { source: source.into(), anchored, test });
        }
        let limits = Limits { program: PATTERN_SIZE_MAX, automaton: PATTERN_DFA_MAX };
        let compiled = if anchored {
            // Alone first, so that mistakes are told about what was written.
            translate(source).and_then(|_| compile_whole(source, limits))
        } else {
            compile(source, limits)
        };
        let regex = compiled.map_err(|error| error.to_string())?;
        Ok(Self { source: source.into(), anchored, test: Test::Regex(regex) })
    }

    /// True when the text matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        match &self.test {
            Test::Anything => true,
            Test::Something => !text.is_empty(),
            Test::Regex(regex) => regex.is_match(text),
        }
    }

    /// The source as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// True when the whole text must match.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.anchored
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.anchored == other.anchored
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}

/// A row whose fields a filter can look at.
pub trait Record {
    /// Calls `test` with each value the row has for `field` until one passes; true when one did.
    fn any(&self, field: &Field, test: &mut dyn FnMut(ValueRef<'_>) -> bool) -> bool;

    /// The field's first value as text; empty when absent.
    fn text_of(&self, field: &Field) -> String {
        let mut text = String::new();
        self.any(field, &mut |value| {
            text = value.to_string();
            true
        });
        text
    }

    /// The field's first value that is a number.
    fn number_of(&self, field: &Field) -> Option<f64> {
        let mut number = None;
        self.any(field, &mut |value| {
            number = number_in(&value);
            number.is_some()
        });
        number
    }
}

/// A number, or a text that reads as one (labels and metadata are text).
fn number_in(value: &ValueRef<'_>) -> Option<f64> {
    match value {
        ValueRef::Int(n) => Some(*n as f64),
        ValueRef::Double(n) => Some(*n),
        ValueRef::Str(text) => text.parse().ok(),
        _ => None,
    }
}

impl Record for LabelSet {
    fn any(&self, field: &Field, test: &mut dyn FnMut(ValueRef<'_>) -> bool) -> bool {
        match field {
            Field::Label(name) => test(ValueRef::Str(self.get(name))),
            _ => false,
        }
    }
}

impl Record for LogRow<'_> {
    fn any(&self, field: &Field, test: &mut dyn FnMut(ValueRef<'_>) -> bool) -> bool {
        match field {
            Field::Label(name) => test(ValueRef::Str(self.stream.get(name))),
            Field::Metadata(name) => test(ValueRef::Str(self.metadata.get(name))),
            Field::Line => test(ValueRef::Str(self.line)),
            Field::Parsed(syntax, name) => match (self.stream.get(name), self.metadata.get(name)) {
                ("", "") => field_of_line(*syntax, self.line, name)
                    .flatten()
                    .is_some_and(|value| test(ValueRef::Str(value))),
                ("", value) | (value, _) => test(ValueRef::Str(value)),
            },
            Field::Plain(syntax) => {
                let mut tokens = Tokens::default();
                tokens.read(*syntax, self.line) && tokens.is_plain(self.line) && test(ValueRef::Bool(true))
            }
            Field::Severity => test(ValueRef::Int(i64::from(self.severity.0))),
            Field::TraceId => !self.trace_id.is_none() && test(ValueRef::Str(&self.trace_id.to_string())),
            Field::SpanId => !self.span_id.is_none() && test(ValueRef::Str(&self.span_id.to_string())),
            _ => false,
        }
    }
}

/// A span together with its source.
#[derive(Clone, Copy, Debug)]
pub struct SpanRow<'a> {
    /// The span.
    pub span: &'a Span,
    /// Its resource and scope.
    pub source: &'a SpanSource,
}

impl Record for SpanRow<'_> {
    fn any(&self, field: &Field, test: &mut dyn FnMut(ValueRef<'_>) -> bool) -> bool {
        let (span, source) = (self.span, self.source);
        match field {
            Field::TraceId => !span.trace_id.is_none() && test(ValueRef::Str(&span.trace_id.to_string())),
            Field::SpanId => !span.span_id.is_none() && test(ValueRef::Str(&span.span_id.to_string())),
            Field::ParentSpanId => {
                !span.parent_span_id.is_none() && test(ValueRef::Str(&span.parent_span_id.to_string()))
            }
            Field::Name => test(ValueRef::Str(&span.name)),
            Field::Kind => test(ValueRef::Str(span.kind.as_str())),
            Field::Status => test(ValueRef::Str(span.status.as_str())),
            Field::StatusMessage => test(ValueRef::Str(&span.status_message)),
            Field::Duration => test(ValueRef::Int(span.duration_nanos())),
            Field::Resource(name) if **name == *"service.name" => test(ValueRef::Str(source.service_name())),
            Field::Resource(name) => source.resource.get(name).is_some_and(test),
            Field::Attribute(name) => span.attributes.get(name).is_some_and(test),
            Field::ScopeName => test(ValueRef::Str(&source.scope_name)),
            Field::ScopeVersion => test(ValueRef::Str(&source.scope_version)),
            Field::Scope(name) => source.scope.get(name).is_some_and(test),
            Field::EventName => span.events.iter().any(|event| test(ValueRef::Str(&event.name))),
            Field::Event(name) => span.events.iter().filter_map(|e| e.attributes.get(name)).any(test),
            Field::Link(name) => span.links.iter().filter_map(|l| l.attributes.get(name)).any(test),
            Field::Label(_)
            | Field::Metadata(_)
            | Field::Line
            | Field::Parsed(..)
            | Field::Plain(_)
            | Field::Severity => false,
        }
    }
}

impl Filter {
    /// True when the row passes. This is the definition that every store's own evaluation is tested against.
    pub fn matches(&self, row: &impl Record) -> bool {
        match self {
            Self::All => true,
            Self::And(parts) => parts.iter().all(|part| part.matches(row)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(row)),
            Self::Not(part) => !part.matches(row),
            Self::Compare(field, op, literal) => row.any(field, &mut |value| op.holds(&value, literal)),
            Self::OneOf(field, texts) => {
                row.any(field, &mut |value| with_text(&value, |text| texts.iter().any(|t| **t == *text)))
            }
            Self::Matches(field, pattern) => {
                row.any(field, &mut |value| with_text(&value, |text| pattern.is_match(text)))
            }
            Self::Contains(field, needle) => {
                row.any(field, &mut |value| with_text(&value, |text| text.contains(&**needle)))
            }
            Self::Number(field, op, number) => row.any(field, &mut |value| {
                with_text(&value, number_of).is_some_and(|n| op.holds_for(n.partial_cmp(number)))
            }),
            Self::Exists(field @ (Field::Label(_) | Field::Metadata(_))) => {
                row.any(field, &mut |value| value != ValueRef::Str(""))
            }
            Self::Exists(field) => row.any(field, &mut |_| true),
        }
    }
}

fn with_text<T>(value: &ValueRef<'_>, test: impl FnOnce(&str) -> T) -> T {
    match value {
        ValueRef::Str(text) => test(text),
        other => test(&other.to_string()),
    }
}

impl Compare {
    /// What the comparison says of values that stand so to each other; of values that do not compare, it is false.
    #[must_use]
    pub fn holds_for(self, ordering: Option<std::cmp::Ordering>) -> bool {
        ordering.is_some_and(|ordering| match self {
            Self::Eq => ordering.is_eq(),
            Self::Ne => ordering.is_ne(),
            Self::Lt => ordering.is_lt(),
            Self::Le => ordering.is_le(),
            Self::Gt => ordering.is_gt(),
            Self::Ge => ordering.is_ge(),
        })
    }

    fn holds(self, value: &ValueRef<'_>, literal: &Literal) -> bool {
        let ordering = match (value, literal) {
            (ValueRef::Str(text), Literal::Str(other)) => (*text).cmp(other),
            (ValueRef::Int(a), Literal::Int(b)) => a.cmp(b),
            (ValueRef::Bool(a), Literal::Bool(b)) => match self {
                Self::Eq => return a == b,
                Self::Ne => return a != b,
                _ => return false,
            },
            (ValueRef::Int(_) | ValueRef::Double(_), Literal::Int(_) | Literal::Double(_)) => {
                let right = match literal {
                    Literal::Int(n) => *n as f64,
                    Literal::Double(n) => *n,
                    _ => return false,
                };
                match number_in(value).and_then(|left| left.partial_cmp(&right)) {
                    Some(ordering) => ordering,
                    None => return self == Self::Ne,
                }
            }
            _ => return self == Self::Ne,
        };
        self.holds_for(Some(ordering))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attributes, Value};

    fn span() -> (Span, SpanSource) {
        let attributes: Attributes =
            [("http.status_code", Value::Int(500)), ("ok", Value::Bool(false))].into_iter().collect();
        (Span { name: "GET /".into(), attributes, end: Nanos(5), ..Span::default() }, SpanSource::default())
    }

    fn check(filter: Filter, expect: bool) {
        let (span, source) = span();
        assert_eq!(filter.matches(&SpanRow { span: &span, source: &source }), expect, "{filter:?}");
    }

    #[test]
    fn the_greatest_groups_stay_with_their_equals() {
        let check = |top, values: &[(i64, f64)], expect: &[(i64, f64)]| {
            let row = |(time, value): &(i64, f64)| GroupRow {
                time: Nanos(*time),
                key: Vec::new(),
                values: vec![0.0, *value],
            };
            let mut rows: Vec<GroupRow> = values.iter().map(row).collect();
            Group { step: None, by: Vec::new(), aggs: Vec::new(), top }.keep_top(&mut rows);
            let kept: Vec<(i64, f64)> = rows.iter().map(|row| (row.time.0, row.values[1])).collect();
            assert_eq!(kept, expect, "{top:?} {values:?}");
        };
        let two = [(1, 5.0), (1, 7.0), (1, 5.0), (1, 1.0), (2, 1.0), (2, 0.0)];
        check(None, &two, &two);
        check(Some(0), &two, &[]);
        check(Some(1), &two, &[(1, 7.0), (2, 1.0)]);
        check(Some(2), &two, &[(1, 5.0), (1, 7.0), (1, 5.0), (2, 1.0), (2, 0.0)]);
        check(Some(9), &two, &two);
        check(Some(1), &[], &[]);
    }

    #[test]
    fn comparisons_follow_types() {
        let status = || Field::Attribute("http.status_code".into());
        check(Filter::Compare(status(), Compare::Ge, Literal::Int(500)), true);
        check(Filter::Compare(status(), Compare::Lt, Literal::Double(499.5)), false);
        check(Filter::Compare(status(), Compare::Eq, Literal::Str("500".into())), false);
        check(Filter::Compare(status(), Compare::Ne, Literal::Str("500".into())), true);
        check(Filter::Compare(Field::Attribute("nope".into()), Compare::Ne, Literal::Int(1)), false);
        check(Filter::Compare(Field::Attribute("ok".into()), Compare::Eq, Literal::Bool(false)), true);
        check(Filter::Compare(Field::Duration, Compare::Eq, Literal::Int(5)), true);
        check(Filter::eq(Field::Resource("service.name".into()), "unknown_service"), true);
        check(Filter::Exists(Field::TraceId), false);
        check(Filter::And(vec![]), true);
        check(Filter::Or(vec![]), false);
    }

    #[test]
    fn absent_labels_read_as_empty_text() {
        let labels = LabelSet::from_pairs([("job", "api")]);
        let zone = || Field::Label("zone".into());
        assert!(Filter::eq(zone(), "").matches(&labels));
        assert!(!Filter::Exists(zone()).matches(&labels));
        let whole = Pattern::whole("a.|zz").map(|p| Filter::Matches(Field::Label("job".into()), p));
        assert_eq!(whole.map(|filter| filter.matches(&labels)), Ok(false));
    }

    #[test]
    fn hostile_patterns_are_refused() {
        for source in ["(", &"a".repeat(5000), "((a{0,1000}){0,1000}){0,1000}", &"(".repeat(60)] {
            assert!(Pattern::whole(source).is_err(), "{:.20}", source);
        }
    }
}
