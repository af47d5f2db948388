//! Canonical text: what Tempo's `String` methods write.

use std::fmt::{self, Display, Formatter};

use crate::ast::{
    Aggregate, Attribute, FieldExpr, Join, Pipeline, Relation, ScalarExpr, ScalarFilter, Scope, SpansetExpr,
    SpansetOp, Step,
};
use crate::lexer::is_attribute_char;

impl Display for Pipeline {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            write!(f, "{}{step}", if index == 0 { "" } else { "|" })?;
        }
        Ok(())
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spansets(expr) => expr.fmt(f),
            Self::ScalarFilter(filter) => filter.fmt(f),
            Self::By(expr) => write!(f, "by({expr})"),
            Self::Coalesce => f.write_str("coalesce()"),
            Self::Select(list) => {
                let names: Vec<String> = list.iter().map(ToString::to_string).collect();
                write!(f, "select({})", names.join(", "))
            }
        }
    }
}

impl Display for SpansetExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(expr) => write!(f, "{{ {expr} }}"),
            Self::Pipeline(pipeline) => pipeline.fmt(f),
            Self::Operation(left, op, right) => write!(f, "({left}) {op} ({right})"),
        }
    }
}

impl Display for SpansetOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self::Related(relation, join) = self else {
            return f.write_str(if *self == Self::And { "&&" } else { "||" });
        };
        f.write_str(match join {
            Join::Right => "",
            Join::NotRight => "!",
            Join::Both => "&",
        })?;
        f.write_str(match relation {
            Relation::Child => ">",
            Relation::Parent => "<",
            Relation::Descendant => ">>",
            Relation::Ancestor => "<<",
            Relation::Sibling => "~",
        })
    }
}

impl Display for ScalarFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", Wrapped(&self.left), self.op.text(), Wrapped(&self.right))
    }
}

impl Display for ScalarExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(value) => value.fmt(f),
            Self::Aggregate(aggregate) => aggregate.fmt(f),
            Self::Binary(left, op, right) => {
                write!(f, "{} {} {}", Wrapped(&**left), op.text(), Wrapped(&**right))
            }
        }
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.expr {
            Some(expr) => write!(f, "{}({expr})", self.op.name()),
            None => write!(f, "{}()", self.op.name()),
        }
    }
}

/// In parentheses, unless it is a constant or an attribute.
struct Wrapped<'a, T>(&'a T);

impl Display for Wrapped<'_, ScalarExpr> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            ScalarExpr::Static(value) => value.fmt(f),
            other => write!(f, "({other})"),
        }
    }
}

impl Display for Wrapped<'_, FieldExpr> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            FieldExpr::Static(value) => value.fmt(f),
            FieldExpr::Attribute(attribute) => attribute.fmt(f),
            other => write!(f, "({other})"),
        }
    }
}

impl Display for FieldExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(value) => value.fmt(f),
            Self::Attribute(attribute) => attribute.fmt(f),
            Self::Negate(inner) => write!(f, "-{}", Wrapped(&**inner)),
            Self::Not(inner) => write!(f, "!{}", Wrapped(&**inner)),
            Self::Exists(inner) => write!(f, "{} != nil", Wrapped(&**inner)),
            Self::NotExists(inner) => write!(f, "{} = nil", Wrapped(&**inner)),
            Self::Binary(binary) => {
                write!(f, "{} {} {}", Wrapped(&binary.left), binary.op.text(), Wrapped(&binary.right))
            }
        }
    }
}

impl Scope {
    /// The text in front of a name.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Any => ".",
            Self::Span => "span.",
            Self::Resource => "resource.",
            Self::Event => "event.",
            Self::Link => "link.",
            Self::Instrumentation => "instrumentation.",
        }
    }
}

impl Display for Attribute {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intrinsic(intrinsic) => f.write_str(intrinsic.text()),
            Self::Named { parent, scope, name } => {
                match (parent, scope) {
                    (true, Scope::Any) => f.write_str("parent.")?,
                    (true, scope) => write!(f, "parent.{}", scope.prefix())?,
                    (false, scope) => f.write_str(scope.prefix())?,
                }
                if name.chars().all(|c| is_attribute_char(c) && c != '"') {
                    return f.write_str(name);
                }
                write!(f, "\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
            }
        }
    }
}
