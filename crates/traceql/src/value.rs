//! Values of TraceQL and what operators make of them.

use std::cmp::Ordering;

use kenning_gotext::{duration, float};
use kenning_model::{Pattern, SpanKind, StatusCode, Value, ValueRef};

use crate::ast::Op;

/// A constant, or what an attribute holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Static {
    /// Nothing.
    Nil,
    /// An integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// Text.
    Str(String),
    /// A truth value.
    Bool(bool),
    /// Nanoseconds.
    Duration(i64),
    /// A span's status.
    Status(StatusCode),
    /// A span's kind.
    Kind(SpanKind),
    /// A list; comparisons look for one element that holds, negative ones for all.
    Array(Vec<Static>),
}

/// The kinds of values as far as operators care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// Known only at run time.
    Attribute,
    Nil,
    Number,
    Text,
    Bool,
    Status,
    Kind,
    Array,
}

impl Type {
    /// True when both may stand beside an operator.
    pub(crate) fn fits(self, other: Self) -> bool {
        let open = |t| matches!(t, Self::Attribute | Self::Nil | Self::Array);
        self == other || open(self) || open(other)
    }

    /// True when the operator takes it.
    pub(crate) fn takes(self, op: Op) -> bool {
        match self {
            Self::Attribute | Self::Array => true,
            Self::Bool => matches!(op, Op::And | Op::Or | Op::Eq | Op::Ne),
            Self::Number => !matches!(op, Op::And | Op::Or | Op::Re | Op::Nre),
            Self::Text => op.is_comparison() || matches!(op, Op::Re | Op::Nre),
            Self::Nil | Self::Status | Self::Kind => matches!(op, Op::Eq | Op::Ne),
        }
    }
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsupported(pub(crate) &'static str);

impl Static {
    /// Its kind.
    pub(crate) fn kind(&self) -> Type {
        match self {
            Self::Nil => Type::Nil,
            Self::Int(_) | Self::Float(_) | Self::Duration(_) => Type::Number,
            Self::Str(_) => Type::Text,
            Self::Bool(_) => Type::Bool,
            Self::Status(_) => Type::Status,
            Self::Kind(_) => Type::Kind,
            Self::Array(_) => Type::Array,
        }
    }

    /// What an attribute holds.
    pub(crate) fn of(value: &ValueRef<'_>) -> Self {
        match value {
            ValueRef::Empty => Self::Nil,
            ValueRef::Str(text) => Self::Str((*text).to_owned()),
            ValueRef::Bool(flag) => Self::Bool(*flag),
            ValueRef::Int(n) => Self::Int(*n),
            ValueRef::Double(n) => Self::Float(*n),
            ValueRef::Bytes(_) => Self::Str(value.to_string()),
            ValueRef::Nested(nested) => match &**nested {
                Value::Array(items) => Self::Array(items.iter().map(Self::of_item).collect()),
                other => Self::Str(other.to_string()),
            },
        }
    }

    fn of_item(value: &Value) -> Self {
        match value {
            Value::Str(text) => Self::Str(text.clone()),
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Int(n) => Self::Int(*n),
            Value::Double(n) => Self::Float(*n),
            other => Self::Str(other.to_string()),
        }
    }

    /// As an attribute of an answer. Statuses and kinds are text, durations too.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Nil => Value::Str("nil".to_owned()),
            Self::Int(n) => Value::Int(*n),
            Self::Float(n) => Value::Double(*n),
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Array(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Self::Str(text) => Value::Str(text.clone()),
            other => Value::Str(other.text()),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Str(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// As a double; NaN for what is no number.
    pub(crate) fn number(&self) -> f64 {
        match self {
            Self::Int(n) | Self::Duration(n) => *n as f64,
            Self::Float(n) => *n,
            _ => f64::NAN,
        }
    }

    /// Integers and durations as such, so that large ones compare exactly.
    fn whole(&self) -> Option<i64> {
        match self {
            Self::Int(n) | Self::Duration(n) => Some(*n),
            _ => None,
        }
    }

    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Str(a), Self::Str(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Status(a), Self::Status(b)) => Some(a.cmp(b)),
            (Self::Kind(a), Self::Kind(b)) => Some(a.cmp(b)),
            (a, b) if a.kind() == Type::Number && b.kind() == Type::Number => match (a.whole(), b.whole()) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => a.number().partial_cmp(&b.number()),
            },
            _ => None,
        }
    }

    /// Adds for `sum` and `avg`; the kind of the first number stays unless a double comes.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Self::Int(a.saturating_add(*b)),
            (Self::Duration(a), b) if b.whole().is_some() => {
                Self::Duration(a.saturating_add(b.whole().unwrap_or(0)))
            }
            _ => Self::Float(self.number() + other.number()),
        }
    }

    /// Divides for `avg`; durations stay durations.
    pub(crate) fn over(&self, count: f64) -> Self {
        match self {
            Self::Duration(n) => Self::Duration((*n as f64 / count) as i64),
            other => Self::Float(other.number() / count),
        }
    }

    /// True when this is the greater number.
    pub(crate) fn is_greater(&self, other: &Self) -> bool {
        self.compare(other).is_some_and(Ordering::is_gt)
    }
}

/// Applies an operator. Unlike kinds and nothing at all make comparisons false.
pub(crate) fn apply(
    op: Op,
    left: &Static,
    right: &Static,
    pattern: Option<&Pattern>,
) -> Result<Static, Unsupported> {
    let truth = |flag| Ok(Static::Bool(flag));
    match (left, right) {
        (Static::Nil, _) | (_, Static::Nil) => return truth(false),
        (Static::Array(_), Static::Array(_)) => return Err(Unsupported("an operator between two lists")),
        (Static::Array(items), one) => return any_element(op, items, |item| apply(op, item, one, pattern)),
        (one, Static::Array(items)) => return any_element(op, items, |item| apply(op, one, item, pattern)),
        _ => {}
    }
    if left.kind() != right.kind() || !left.kind().takes(op) {
        return truth(false);
    }
    match (op, left, right) {
        (Op::And, Static::Bool(a), Static::Bool(b)) => truth(*a && *b),
        (Op::Or, Static::Bool(a), Static::Bool(b)) => truth(*a || *b),
        (Op::Re | Op::Nre, Static::Str(text), _) => {
            truth(pattern.is_some_and(|pattern| pattern.is_match(text)) == (op == Op::Re))
        }
        _ if op.is_comparison() => truth(holds(op, left.compare(right))),
        _ => arithmetic(op, left, right),
    }
}

/// One element that holds, or all of them for the negative operators.
fn any_element(
    op: Op,
    items: &[Static],
    test: impl Fn(&Static) -> Result<Static, Unsupported>,
) -> Result<Static, Unsupported> {
    if !op.is_boolean() {
        return Err(Unsupported("arithmetic with a list"));
    }
    let all = matches!(op, Op::Ne | Op::Nre);
    let mut found = all;
    for item in items {
        let holds = test(item)? == Static::Bool(true);
        found = if all { found && holds } else { found || holds };
    }
    Ok(Static::Bool(found))
}

fn holds(op: Op, ordering: Option<Ordering>) -> bool {
    match op {
        Op::Ne => ordering != Some(Ordering::Equal),
        Op::Eq => ordering.is_some_and(Ordering::is_eq),
        Op::Lt => ordering.is_some_and(Ordering::is_lt),
        Op::Le => ordering.is_some_and(Ordering::is_le),
        Op::Gt => ordering.is_some_and(Ordering::is_gt),
        Op::Ge => ordering.is_some_and(Ordering::is_ge),
        _ => false,
    }
}

fn arithmetic(op: Op, left: &Static, right: &Static) -> Result<Static, Unsupported> {
    if let (Static::Int(a), Static::Int(b)) = (left, right) {
        return match op {
            Op::Add => Ok(Static::Int(a.wrapping_add(*b))),
            Op::Sub => Ok(Static::Int(a.wrapping_sub(*b))),
            Op::Mul => Ok(Static::Int(a.wrapping_mul(*b))),
            Op::Div | Op::Mod if *b == 0 => Err(Unsupported("division by zero")),
            Op::Div => Ok(Static::Int(a.wrapping_div(*b))),
            Op::Mod => Ok(Static::Int(a.wrapping_rem(*b))),
            _ => Ok(Static::Int(int_power(*a, *b))),
        };
    }
    let (a, b) = (left.number(), right.number());
    Ok(Static::Float(match op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        Op::Mod => a % b,
        _ => a.powf(b),
    }))
}

/// Integer power; negative exponents give zero but for bases of one and minus one.
fn int_power(base: i64, exponent: i64) -> i64 {
    match (base, u32::try_from(exponent)) {
        (_, Ok(exponent)) => base.wrapping_pow(exponent),
        (1, _) => 1,
        (-1, _) => {
            if exponent % 2 == 0 {
                1
            } else {
                -1
            }
        }
        (0 | 2.., _) | (..=-2, _) => 0,
    }
}

impl std::fmt::Display for Static {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Int(n) => n.fmt(f),
            Self::Float(n) => {
                let text = float::general(*n);
                let bare = !text.contains(['e', '.']);
                write!(f, "{text}{}", if bare { ".0" } else { "" })
            }
            Self::Str(text) => write!(f, "`{text}`"),
            Self::Bool(flag) => flag.fmt(f),
            Self::Duration(n) => f.write_str(&duration::format_go(*n)),
            Self::Status(status) => f.write_str(status.as_str()),
            Self::Kind(kind) => f.write_str(kind.as_str()),
            Self::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_follow_kinds() {
        let text = |s: &str| Static::Str(s.into());
        let check = |op, a: Static, b: Static, expect: Result<Static, Unsupported>| {
            assert_eq!(apply(op, &a, &b, None), expect, "{a} {} {b}", op.text());
        };
        check(Op::Eq, Static::Int(1), Static::Float(1.0), Ok(Static::Bool(true)));
        check(Op::Gt, text("123"), text(""), Ok(Static::Bool(true)));
        check(Op::Ne, Static::Nil, text("a"), Ok(Static::Bool(false)));
        check(Op::Ne, text("1"), Static::Int(1), Ok(Static::Bool(false)));
        check(Op::Add, Static::Int(1), Static::Int(2), Ok(Static::Int(3)));
        check(Op::Div, Static::Int(5), Static::Int(0), Err(Unsupported("division by zero")));
        check(Op::Eq, Static::Array(vec![text("a"), text("b")]), text("b"), Ok(Static::Bool(true)));
        check(Op::Ne, Static::Array(vec![text("a"), text("b")]), text("b"), Ok(Static::Bool(false)));
        check(Op::Lt, Static::Duration(5), Static::Int(6), Ok(Static::Bool(true)));
    }
}
