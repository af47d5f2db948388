//! Canonical text: what Loki's `String` methods write, on one line.

use std::fmt::{self, Display, Formatter};

use super::ast::{
    BinaryExpr, Cardinality, CompareOp, Conversion, Expr, Extraction, Grouping, LabelFilter, LabelReplace,
    LabelSource, LineFilter, LineOp, LineOperand, LogExpr, LogRange, MatchOp, Matcher, Matching, MetricExpr,
    NamedMatcher, RangeAggregation, Stage, StageKind, Unwrap, VectorAggregation,
};
use kenning_gotext::{duration, float, quote::quote, size};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(log) => log.fmt(f),
            Self::Metric(metric) => metric.fmt(f),
        }
    }
}

/// Writes items with a separator between them.
fn joined<T: Display>(f: &mut Formatter<'_>, items: &[T], separator: &str) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { separator })?;
        item.fmt(f)?;
    }
    Ok(())
}

impl Display for LogExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        joined(f, &self.matchers, ", ")?;
        f.write_str("}")?;
        self.stages.iter().try_for_each(|stage| write!(f, " {stage}"))
    }
}

impl Display for MatchOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Re => "=~",
            Self::Nre => "!~",
        })
    }
}

impl Display for Matcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.name, self.op, quote(&self.value))
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl Display for StageKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineFilters(filters) => joined(f, filters, " "),
            Self::Json(fields) if fields.is_empty() => f.write_str("| json"),
            Self::Json(fields) => {
                f.write_str("| json ")?;
                joined(f, fields, ",")
            }
            Self::Logfmt { strict, keep_empty, fields } => {
                f.write_str("| logfmt")?;
                f.write_str(if *strict { " --strict" } else { "" })?;
                f.write_str(if *keep_empty { " --keep-empty" } else { "" })?;
                f.write_str(if fields.is_empty() { "" } else { " " })?;
                joined(f, fields, ",")
            }
            Self::Regexp(text) => write!(f, "| regexp {}", quote(text)),
            Self::Pattern(text) => write!(f, "| pattern {}", quote(text)),
            Self::Unpack => f.write_str("| unpack"),
            Self::LabelFilter(filter) => write!(f, "| {filter}"),
            Self::LineFormat(text) => write!(f, "| line_format {}", quote(text)),
            Self::LabelFormat(formats) => {
                f.write_str("| label_format ")?;
                for (index, format) in formats.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    match &format.value {
                        LabelSource::Rename(label) => write!(f, "{}={label}", format.name)?,
                        LabelSource::Template(text) => write!(f, "{}={}", format.name, quote(text))?,
                    }
                }
                Ok(())
            }
            Self::Decolorize => f.write_str("| decolorize"),
            Self::Drop(list) => {
                f.write_str("| drop ")?;
                joined(f, list, ",")
            }
            Self::Keep(list) => {
                f.write_str("| keep ")?;
                joined(f, list, ",")
            }
        }
    }
}

impl Display for LineOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Contains => "|=",
            Self::NotContains => "!=",
            Self::Matches => "|~",
            Self::NotMatches => "!~",
            Self::Pattern => "|>",
            Self::NotPattern => "!>",
        })
    }
}

impl Display for LineFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.op)?;
        joined(f, &self.operands, " or ")
    }
}

impl Display for LineOperand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quote(text)),
            Self::Ip(range) => write!(f, "ip({})", quote(range)),
        }
    }
}

impl Display for Extraction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.label, quote(&self.expression))
    }
}

impl Display for NamedMatcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Matcher(matcher) => matcher.fmt(f),
        }
    }
}

impl Display for CompareOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Lt => "<",
            Self::Le => "<=",
        })
    }
}

impl Display for LabelFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(matcher) => text_filter(f, matcher),
            Self::Number { name, op, value } => write!(f, "{name}{op}{}", float::plain(*value)),
            Self::Duration { name, op, nanos } => write!(f, "{name}{op}{}", duration::format_go(*nanos)),
            Self::Bytes { name, op, bytes } => write!(f, "{name}{op}{}", size::format(*bytes)),
            Self::Ip { name, negated, range } => {
                write!(f, "{name}{}ip({})", if *negated { "!=" } else { "=" }, quote(range))
            }
            Self::And(left, right) => write!(f, "( {left} , {right} )"),
            Self::Or(left, right) => write!(f, "( {left} or {right} )"),
        }
    }
}

/// Regular expressions that must match and that Loki keeps as such stand in backquotes.
fn text_filter(f: &mut Formatter<'_>, matcher: &Matcher) -> fmt::Result {
    let kept = matcher.op == MatchOp::Re && !super::simplify::is_literal(&matcher.value);
    match kept && !matcher.value.contains('`') {
        true => write!(f, "{}{}`{}`", matcher.name, matcher.op, matcher.value),
        false => matcher.fmt(f),
    }
}

impl Display for MetricExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => range.fmt(f),
            Self::Vector(vector) => vector.fmt(f),
            Self::Binary(binary) => binary.fmt(f),
            Self::Literal(value) => f.write_str(&float::general(*value)),
            Self::VectorLiteral(value) => write!(f, "vector({})", float::fixed(*value)),
            Self::LabelReplace(replace) => replace.fmt(f),
        }
    }
}

impl Display for RangeAggregation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.op.name())?;
        if let Some(param) = self.param {
            write!(f, "{},", float::plain(param))?;
        }
        write!(f, "{})", self.range)?;
        self.grouping.iter().try_for_each(|grouping| grouping.fmt(f))
    }
}

impl Display for LogRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.log.fmt(f)?;
        self.unwrap.iter().try_for_each(|unwrap| write!(f, " {unwrap}"))?;
        write!(f, "[{}]", duration::format_prometheus(self.interval))?;
        if self.offset != 0 {
            write!(f, " offset {}", duration::format_go(self.offset))?;
        }
        Ok(())
    }
}

impl Display for Unwrap {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("| unwrap ")?;
        f.write_str(&self.head())?;
        self.filters.iter().try_for_each(|filter| write!(f, " | {filter}"))
    }
}

impl Unwrap {
    /// `label` or `conversion(label)`
    pub(super) fn head(&self) -> String {
        match self.conversion {
            Conversion::Float => self.label.clone(),
            Conversion::Bytes => format!("bytes({})", self.label),
            Conversion::Duration => format!("duration({})", self.label),
            Conversion::DurationSeconds => format!("duration_seconds({})", self.label),
        }
    }
}

impl Display for Grouping {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, " {} ({})", if self.without { "without" } else { "by" }, self.labels.join(","))
    }
}

impl Display for VectorAggregation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.name())?;
        if !self.grouping.is_single() {
            self.grouping.fmt(f)?;
        }
        f.write_str("(")?;
        if let Some(k) = self.k {
            write!(f, "{k},")?;
        }
        write!(f, "{})", self.expr)
    }
}

impl Display for BinaryExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "({} {}", self.left, self.op.text())?;
        f.write_str(if self.return_bool { " bool" } else { "" })?;
        let right = self.right.to_string();
        write!(f, "{}{} {right})", self.matching, self.matching.no_labels(&right))
    }
}

impl Matching {
    /// `group_left (a,b)`; empty for one-to-one.
    pub(super) fn group(&self, separator: &str) -> String {
        let name = match self.card {
            Cardinality::OneToOne => return String::new(),
            Cardinality::ManyToOne => "group_left",
            Cardinality::OneToMany => "group_right",
        };
        match self.include.is_empty() {
            true => name.to_owned(),
            false => format!("{name} ({})", self.include.join(separator)),
        }
    }
}

impl Matching {
    /// The empty list of labels, where a parenthesis that follows would be read as one. Loki leaves it out and cannot read
    /// what it printed.
    pub(super) fn no_labels(&self, right: &str) -> &'static str {
        let is_group = self.card != Cardinality::OneToOne && self.include.is_empty();
        if is_group && right.trim_start().starts_with('(') { " ()" } else { "" }
    }
}

impl Display for Matching {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.on && self.labels.is_empty() && self.card == Cardinality::OneToOne {
            return Ok(());
        }
        let word = if self.on { "on" } else { "ignoring" };
        write!(f, " {word} ({}) {}", self.labels.join(","), self.group(","))
    }
}

impl Display for LabelReplace {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "label_replace({}", self.expr)?;
        let texts = [&self.dst, &self.replacement, &self.src, &self.regex];
        texts.into_iter().try_for_each(|text| write!(f, ",{}", quote(text)))?;
        f.write_str(")")
    }
}
