//! Refuses queries whose types cannot fit and those that nobody evaluates, in the words of Tempo.

use crate::ast::{
    Aggregate, Attribute, BinaryExpr, FieldExpr, Intrinsic, Op, Pipeline, ScalarExpr, ScalarFilter, Scope,
    SpansetExpr, Step,
};
use crate::value::{Static, Type};

type Checked = Result<(), String>;

pub(crate) fn pipeline(pipeline: &Pipeline) -> Checked {
    pipeline.steps.iter().try_for_each(step)
}

fn step(step: &Step) -> Checked {
    match step {
        Step::Spansets(expr) => spansets(expr),
        Step::ScalarFilter(filter) => scalar_filter(filter),
        Step::By(expr) if !mentions_span(expr) => {
            Err(format!("grouping field expressions must reference the span: by({expr})"))
        }
        Step::By(expr) => field(expr),
        Step::Coalesce => Ok(()),
        Step::Select(list) => list.iter().try_for_each(attribute),
    }
}

fn spansets(expr: &SpansetExpr) -> Checked {
    match expr {
        SpansetExpr::Pipeline(inner) => pipeline(inner),
        SpansetExpr::Operation(left, _, right) => spansets(left).and_then(|()| spansets(right)),
        SpansetExpr::Filter(inner) => {
            field(inner)?;
            match type_of(inner) {
                Type::Attribute | Type::Bool => Ok(()),
                _ => Err(format!("span filter field expressions must resolve to a boolean: {expr}")),
            }
        }
    }
}

fn scalar_filter(filter: &ScalarFilter) -> Checked {
    scalar(&filter.left)?;
    scalar(&filter.right)?;
    fit(scalar_type(&filter.left), filter.op, scalar_type(&filter.right), filter)?;
    match (&filter.left, &filter.right) {
        (ScalarExpr::Aggregate(_), ScalarExpr::Static(_)) => Ok(()),
        _ => Err(format!("scalar filters other than aggregate and constant are not yet supported: {filter}")),
    }
}

fn scalar(expr: &ScalarExpr) -> Checked {
    match expr {
        ScalarExpr::Static(_) => Ok(()),
        ScalarExpr::Aggregate(inner) => aggregate(inner),
        ScalarExpr::Binary(left, op, right) => {
            scalar(left)?;
            scalar(right)?;
            fit(scalar_type(left), *op, scalar_type(right), expr)
        }
    }
}

fn scalar_type(expr: &ScalarExpr) -> Type {
    match expr {
        ScalarExpr::Static(value) => value.kind(),
        ScalarExpr::Aggregate(Aggregate { expr: Some(expr), .. }) => type_of(expr),
        ScalarExpr::Aggregate(_) | ScalarExpr::Binary(..) => Type::Number,
    }
}

fn aggregate(aggregate: &Aggregate) -> Checked {
    let Some(expr) = &aggregate.expr else { return Ok(()) };
    field(expr)?;
    if !matches!(type_of(expr), Type::Attribute | Type::Number) {
        return Err(format!("aggregate field expressions must resolve to a number type: {aggregate}"));
    }
    match mentions_span(expr) {
        true => Ok(()),
        false => Err(format!("aggregate field expressions must reference the span: {aggregate}")),
    }
}

fn fit(left: Type, op: Op, right: Type, whole: &dyn std::fmt::Display) -> Checked {
    if !left.fits(right) {
        return Err(format!("binary operations must operate on the same type: {whole}"));
    }
    if !left.takes(op) || !right.takes(op) {
        return Err(format!("illegal operation for the given types: {whole}"));
    }
    Ok(())
}

fn field(expr: &FieldExpr) -> Checked {
    match expr {
        FieldExpr::Static(_) => Ok(()),
        FieldExpr::Attribute(inner) => attribute(inner),
        FieldExpr::Exists(inner) => field(inner),
        FieldExpr::NotExists(inner) => {
            field(inner)?;
            absence(inner)
        }
        FieldExpr::Negate(inner) => unary(expr, inner, Type::Number),
        FieldExpr::Not(inner) => unary(expr, inner, Type::Bool),
        FieldExpr::Binary(binary) => binary_field(expr, binary),
    }
}

fn unary(whole: &FieldExpr, inner: &FieldExpr, wanted: Type) -> Checked {
    field(inner)?;
    let kind = type_of(inner);
    match kind == wanted || kind == Type::Attribute {
        true => Ok(()),
        false => Err(format!("illegal operation for the given type: {whole}")),
    }
}

/// Some things are always there.
fn absence(inner: &FieldExpr) -> Checked {
    match inner {
        FieldExpr::Attribute(attribute @ Attribute::Intrinsic(_)) => {
            Err(format!("{attribute}=nil is not valid because intrinsics cannot be nil"))
        }
        FieldExpr::Attribute(attribute @ Attribute::Named { scope: Scope::Resource, name, .. })
            if name == "service.name" =>
        {
            Err(format!("{attribute}=nil is not valid because resource.service.name cannot be nil"))
        }
        _ => Ok(()),
    }
}

fn binary_field(whole: &FieldExpr, binary: &BinaryExpr) -> Checked {
    field(&binary.left)?;
    field(&binary.right)?;
    fit(type_of(&binary.left), binary.op, type_of(&binary.right), whole)?;
    match binary.op {
        Op::Re | Op::Nre if binary.pattern.is_none() => {
            Err(format!("invalid type for =~ or !~: {}", binary.right))
        }
        _ => Ok(()),
    }
}

fn attribute(attribute: &Attribute) -> Checked {
    match attribute {
        Attribute::Named { parent: true, .. } => Err("parent not yet supported".to_owned()),
        Attribute::Intrinsic(Intrinsic::Parent) => Err("intrinsic (parent) not yet supported".to_owned()),
        _ => Ok(()),
    }
}

/// What kind of value an expression has, as far as that is known without data.
fn type_of(expr: &FieldExpr) -> Type {
    match expr {
        FieldExpr::Static(value) => value.kind(),
        FieldExpr::Attribute(Attribute::Named { .. }) => Type::Attribute,
        FieldExpr::Attribute(Attribute::Intrinsic(intrinsic)) => intrinsic_type(*intrinsic),
        FieldExpr::Not(_) | FieldExpr::Exists(_) | FieldExpr::NotExists(_) => Type::Bool,
        FieldExpr::Negate(inner) => type_of(inner),
        FieldExpr::Binary(binary) if binary.op.is_boolean() => Type::Bool,
        FieldExpr::Binary(binary) => match (type_of(&binary.left), type_of(&binary.right)) {
            (Type::Attribute, right) => right,
            (left, _) => left,
        },
    }
}

fn intrinsic_type(intrinsic: Intrinsic) -> Type {
    match intrinsic {
        Intrinsic::Duration
        | Intrinsic::ChildCount
        | Intrinsic::TraceDuration
        | Intrinsic::NestedSetLeft
        | Intrinsic::NestedSetRight
        | Intrinsic::NestedSetParent
        | Intrinsic::EventTimeSinceStart => Type::Number,
        Intrinsic::Status => Type::Status,
        Intrinsic::Kind => Type::Kind,
        Intrinsic::Parent => Type::Nil,
        _ => Type::Text,
    }
}

fn mentions_span(expr: &FieldExpr) -> bool {
    match expr {
        FieldExpr::Static(Static::Nil) => true,
        FieldExpr::Static(_) => false,
        FieldExpr::Attribute(_) => true,
        FieldExpr::Negate(inner)
        | FieldExpr::Not(inner)
        | FieldExpr::Exists(inner)
        | FieldExpr::NotExists(inner) => mentions_span(inner),
        FieldExpr::Binary(binary) => mentions_span(&binary.left) || mentions_span(&binary.right),
    }
}
