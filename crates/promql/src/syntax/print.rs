//! Canonical text: `Display` on one line, [`format`] over several lines where a part is longer than a line.

use std::fmt;

use kenning_model::METRIC_NAME;

use super::ast::{
    Aggregate, At, Binary, Cardinality, DurationExpr, DurationOp, DurationSpec, Expr, Extension, MatchOp,
    Matcher, Matching, MatrixSelector, NumberLiteral, Subquery, VectorSelector,
};
use crate::text::{decimal, format_duration, general, is_plain_label, quote};

/// Longest part that stays on one line, in bytes.
const LINE_MAX: usize = 100;

/// The canonical text over several lines, as Prometheus's `format_query` gives it.
#[must_use]
pub fn format(expr: &Expr) -> String {
    format_within(expr, LINE_MAX)
}

/// [`format`] with lines of another length, in bytes. Parts that cannot be split stay as long as they are.
#[must_use]
pub fn format_within(expr: &Expr, line_max: usize) -> String {
    pretty(expr, 0, line_max)
}

fn pretty(expr: &Expr, level: usize, line_max: usize) -> String {
    let indent = "  ".repeat(level);
    let line = expr.to_string();
    let splits = line.len() > line_max;
    match expr {
        Expr::Subquery(_) if !splits => line,
        Expr::Subquery(subquery) => {
            format!("{}{}", pretty(&subquery.operand, level, line_max), subquery_suffix(subquery))
        }
        Expr::Unary(unary) => {
            let operand = pretty(&unary.operand, level, line_max);
            format!("{indent}{}{}", sign(unary.negative), operand.trim())
        }
        _ if !splits => format!("{indent}{line}"),
        Expr::Aggregate(aggregate) => {
            let param = aggregate.param.as_ref();
            let param = param.map_or(String::new(), |param| pretty(param, level + 1, line_max) + ",\n");
            let operand = pretty(&aggregate.operand, level + 1, line_max);
            format!("{indent}{}(\n{param}{operand}\n{indent})", aggregate_head(aggregate))
        }
        Expr::Binary(binary) => {
            let (left, right) =
                (pretty(&binary.left, level + 1, line_max), pretty(&binary.right, level + 1, line_max));
            format!("{left}\n{indent}{}\n{right}", operator(binary))
        }
        Expr::Call(call) => {
            let args: Vec<_> = call.args.iter().map(|arg| pretty(arg, level + 1, line_max)).collect();
            format!("{indent}{}(\n{}\n{indent})", call.function.name, args.join(",\n"))
        }
        Expr::Paren(paren) => {
            format!("{indent}(\n{}\n{indent})", pretty(&paren.inner, level + 1, line_max))
        }
        _ => format!("{indent}{line}"),
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(literal) => literal.fmt(f),
            Self::String(literal) => f.write_str(&quote(&literal.value)),
            Self::Paren(paren) => write!(f, "({})", paren.inner),
            Self::Unary(unary) => write!(f, "{}{}", sign(unary.negative), unary.operand),
            Self::Binary(binary) => write!(f, "{} {} {}", binary.left, operator(binary), binary.right),
            Self::Aggregate(aggregate) => {
                write!(f, "{}(", aggregate_head(aggregate))?;
                if let Some(param) = &aggregate.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", aggregate.operand)
            }
            Self::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                for (i, arg) in call.args.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    arg.fmt(f)?;
                }
                f.write_str(")")
            }
            Self::Selector(selector) => selector.fmt(f),
            Self::Matrix(matrix) => matrix.fmt(f),
            Self::Subquery(subquery) => write!(f, "{}{}", subquery.operand, subquery_suffix(subquery)),
        }
    }
}

impl fmt::Display for NumberLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_duration {
            f.write_str(&format_duration((self.value * 1000.0).round() as i64))
        } else {
            f.write_str(&decimal(self.value))
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", label(&self.name), self.op.as_str(), quote(&self.value))
    }
}

impl fmt::Display for VectorSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_series(f, self)?;
        write_at(f, self.at)?;
        write_extension(f, self.extension)?;
        write_offset(f, &self.offset)
    }
}

impl fmt::Display for MatrixSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_series(f, &self.selector)?;
        write!(f, "[{}]", self.range)?;
        write_extension(f, self.selector.extension)?;
        write_at(f, self.selector.at)?;
        write_offset(f, &self.selector.offset)
    }
}

impl fmt::Display for DurationSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(ms) => f.write_str(&format_duration(*ms)),
            Self::Expr(expr) => expr.fmt(f),
        }
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(literal) => literal.fmt(f),
            Self::Step(_) => f.write_str("step()"),
            Self::Range(_) => f.write_str("range()"),
            Self::Negate(inner, _) => write!(f, "-{inner}"),
            Self::Paren(inner, _) => write!(f, "({inner})"),
            Self::Binary(op, left, right) => write!(f, "{left} {} {right}", duration_operator(*op)),
            Self::Extreme { max, left, right, .. } => {
                write!(f, "{}({left}, {right})", if *max { "max_of" } else { "min_of" })
            }
        }
    }
}

const fn duration_operator(op: DurationOp) -> &'static str {
    match op {
        DurationOp::Add => "+",
        DurationOp::Sub => "-",
        DurationOp::Mul => "*",
        DurationOp::Div => "/",
        DurationOp::Mod => "%",
        DurationOp::Pow => "^",
    }
}

const fn sign(negative: bool) -> &'static str {
    if negative { "-" } else { "+" }
}

fn write_series(f: &mut fmt::Formatter<'_>, selector: &VectorSelector) -> fmt::Result {
    f.write_str(&selector.name)?;
    let is_name = |m: &&Matcher| {
        m.name == METRIC_NAME && m.op == MatchOp::Eq && m.value == selector.name && !m.value.is_empty()
    };
    let mut matchers: Vec<_> =
        selector.matchers.iter().filter(|m| !is_name(m)).map(Matcher::to_string).collect();
    if matchers.is_empty() {
        return Ok(());
    }
    matchers.sort();
    write!(f, "{{{}}}", matchers.join(","))
}

fn write_at(f: &mut fmt::Formatter<'_>, at: Option<At>) -> fmt::Result {
    match at {
        None => Ok(()),
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
        Some(At::Time(time)) => write!(f, " @ {:.3}", time.0 as f64 / 1000.0),
    }
}

fn write_extension(f: &mut fmt::Formatter<'_>, extension: Option<Extension>) -> fmt::Result {
    f.write_str(match extension {
        None => "",
        Some(Extension::Anchored) => " anchored",
        Some(Extension::Smoothed) => " smoothed",
    })
}

fn write_offset(f: &mut fmt::Formatter<'_>, offset: &DurationSpec) -> fmt::Result {
    if offset.is_zero() { Ok(()) } else { write!(f, " offset {offset}") }
}

/// A label's name, quoted where it needs to be.
fn label(name: &str) -> String {
    if is_plain_label(name) { name.into() } else { quote(name) }
}

fn labels(names: &[String]) -> String {
    names.iter().map(|name| label(name)).collect::<Vec<_>>().join(", ")
}

fn aggregate_head(aggregate: &Aggregate) -> String {
    let (op, names) = (aggregate.op.as_str(), labels(&aggregate.grouping.labels));
    if aggregate.grouping.without {
        format!("{op} without ({names}) ")
    } else if names.is_empty() {
        op.into()
    } else {
        format!("{op} by ({names}) ")
    }
}

/// The operator with its modifiers.
fn operator(binary: &Binary) -> String {
    let returns_bool = if binary.returns_bool { " bool" } else { "" };
    let is_vector = |side: &Expr| side.value_type() == super::ValueType::Vector;
    let matching = if is_vector(&binary.left) && is_vector(&binary.right) {
        matching(&binary.matching)
    } else {
        String::new()
    };
    format!("{}{returns_bool}{matching}", binary.op.as_str())
}

fn matching(matching: &Matching) -> String {
    let group = match matching.cardinality {
        Cardinality::ManyToOne => Some("left"),
        Cardinality::OneToMany => Some("right"),
        _ => None,
    };
    let mut text = String::new();
    if !matching.labels.is_empty() || matching.on || group.is_some() {
        let word = if matching.on { "on" } else { "ignoring" };
        text = format!(" {word} ({})", labels(&matching.labels));
    }
    if let Some(side) = group {
        text = format!("{text} group_{side} ({})", labels(&matching.include));
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left == right => format!("{text} fill ({})", general(left)),
        (left, right) => {
            let left = left.map_or(String::new(), |value| format!(" fill_left ({})", general(value)));
            let right = right.map_or(String::new(), |value| format!(" fill_right ({})", general(value)));
            text + &left + &right
        }
    }
}

/// `[range:step] @ time offset offset`
fn subquery_suffix(subquery: &Subquery) -> String {
    struct Suffix<'a>(&'a Subquery);
    impl fmt::Display for Suffix<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let step = self.0.step.as_ref().map_or(String::new(), DurationSpec::to_string);
            write!(f, "[{}:{step}]", self.0.range)?;
            write_at(f, self.0.at)?;
            write_offset(f, &self.0.offset)
        }
    }
    Suffix(subquery).to_string()
}
