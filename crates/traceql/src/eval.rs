//! Runs a pipeline over one trace.

use std::collections::HashSet;

use crate::ast::{
    Aggregate, AggregateOp, Attribute, FieldExpr, Join, Pipeline, Relation, ScalarExpr, ScalarFilter,
    SpansetExpr, SpansetOp, Step,
};
use crate::trace::Trace;
use crate::value::{Static, Type, Unsupported, apply};

/// Spans of a trace that belong together, and what the pipeline found out about them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spanset {
    /// Places in the trace, each once.
    pub(crate) spans: Vec<usize>,
    /// Groups and aggregates, by their text.
    pub(crate) attributes: Vec<(String, Static)>,
}

type Evaluated<T> = Result<T, Unsupported>;

/// The spansets that come out of the pipeline.
pub(crate) fn run(pipeline: &Pipeline, trace: &Trace) -> Evaluated<Vec<Spanset>> {
    let everything = Spanset { spans: (0..trace.len()).collect(), attributes: Vec::new() };
    run_on(pipeline, trace, vec![everything])
}

fn run_on(pipeline: &Pipeline, trace: &Trace, input: Vec<Spanset>) -> Evaluated<Vec<Spanset>> {
    pipeline.steps.iter().try_fold(input, |sets, step| match step {
        _ if sets.is_empty() => Ok(sets),
        Step::Spansets(expr) => each(sets, |set| spansets(expr, trace, set)),
        Step::ScalarFilter(filter) => scalar_filter(filter, trace, sets),
        Step::By(expr) => each(sets, |set| by(expr, trace, set)),
        Step::Coalesce => Ok(vec![coalesce(sets)]),
        Step::Select(_) => Ok(sets),
    })
}

fn each(sets: Vec<Spanset>, run: impl Fn(&Spanset) -> Evaluated<Vec<Spanset>>) -> Evaluated<Vec<Spanset>> {
    let mut out = Vec::new();
    for set in &sets {
        out.extend(run(set)?);
    }
    Ok(out)
}

fn coalesce(sets: Vec<Spanset>) -> Spanset {
    let mut seen = HashSet::new();
    let spans = sets.into_iter().flat_map(|set| set.spans).filter(|span| seen.insert(*span)).collect();
    Spanset { spans, attributes: Vec::new() }
}

fn by(expr: &FieldExpr, trace: &Trace, set: &Spanset) -> Evaluated<Vec<Spanset>> {
    let mut groups: Vec<(Static, Spanset)> = Vec::new();
    for span in &set.spans {
        let key = field(expr, trace, *span)?;
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.spans.push(*span),
            None => {
                let mut attributes = set.attributes.clone();
                attributes.push((format!("by({expr})"), key.clone()));
                groups.push((key, Spanset { spans: vec![*span], attributes }));
            }
        }
    }
    Ok(groups.into_iter().map(|(_, group)| group).collect())
}

fn scalar_filter(filter: &ScalarFilter, trace: &Trace, sets: Vec<Spanset>) -> Evaluated<Vec<Spanset>> {
    let (ScalarExpr::Aggregate(aggregate), ScalarExpr::Static(right)) = (&filter.left, &filter.right) else {
        return Err(Unsupported("a scalar filter other than aggregate and constant"));
    };
    let mut out = Vec::new();
    for mut set in sets {
        let Some(value) = aggregated(aggregate, trace, &set)? else { continue };
        if apply(filter.op, &value, right, None)? == Static::Bool(true) {
            set.attributes.push((aggregate.to_string(), value));
            out.push(set);
        }
    }
    Ok(out)
}

/// The aggregate of a spanset; `None` when no span has the value.
fn aggregated(aggregate: &Aggregate, trace: &Trace, set: &Spanset) -> Evaluated<Option<Static>> {
    let Some(expr) = &aggregate.expr else { return Ok(Some(Static::Int(set.spans.len() as i64))) };
    let mut values = Vec::new();
    for span in &set.spans {
        let value = field(expr, trace, *span)?;
        if value.kind() == Type::Number {
            values.push(value);
        }
    }
    let count = values.len() as f64;
    let values = values.into_iter();
    Ok(match aggregate.op {
        AggregateOp::Count => Some(Static::Int(set.spans.len() as i64)),
        AggregateOp::Max => values.reduce(|best, value| if value.is_greater(&best) { value } else { best }),
        AggregateOp::Min => values.reduce(|best, value| if best.is_greater(&value) { value } else { best }),
        AggregateOp::Sum => values.reduce(|sum, value| sum.plus(&value)),
        AggregateOp::Avg => values.reduce(|sum, value| sum.plus(&value)).map(|sum| sum.over(count)),
    })
}

fn spansets(expr: &SpansetExpr, trace: &Trace, set: &Spanset) -> Evaluated<Vec<Spanset>> {
    let keep = |spans: Vec<usize>| match spans.is_empty() {
        true => Vec::new(),
        false => vec![Spanset { spans, attributes: set.attributes.clone() }],
    };
    match expr {
        SpansetExpr::Pipeline(inner) => run_on(inner, trace, vec![set.clone()]),
        SpansetExpr::Filter(filter) => {
            let mut spans = Vec::new();
            for span in &set.spans {
                if field(filter, trace, *span)? == Static::Bool(true) {
                    spans.push(*span);
                }
            }
            Ok(keep(spans))
        }
        SpansetExpr::Operation(left, op, right) => {
            let (left, right) = (spansets(left, trace, set)?, spansets(right, trace, set)?);
            Ok(keep(operation(*op, trace, &left, &right)?))
        }
    }
}

fn all_spans(sets: &[Spanset]) -> Vec<usize> {
    let mut seen = HashSet::new();
    sets.iter().flat_map(|set| &set.spans).copied().filter(|span| seen.insert(*span)).collect()
}

fn operation(op: SpansetOp, trace: &Trace, left: &[Spanset], right: &[Spanset]) -> Evaluated<Vec<usize>> {
    let union = || {
        let mut seen = HashSet::new();
        let both = all_spans(left).into_iter().chain(all_spans(right));
        both.filter(|span| seen.insert(*span)).collect()
    };
    match op {
        SpansetOp::And if left.is_empty() || right.is_empty() => Ok(Vec::new()),
        SpansetOp::And | SpansetOp::Or => Ok(union()),
        SpansetOp::Related(relation, join) => {
            if left.len() > 1 || right.len() > 1 {
                return Err(Unsupported(
                    "spanset operators for multiple spansets per trace; consider using coalesce()",
                ));
            }
            Ok(related(relation, join, trace, &all_spans(left), &all_spans(right)))
        }
    }
}

/// Spans of the right side by their relation to spans of the left side.
fn related(relation: Relation, join: Join, trace: &Trace, left: &[usize], right: &[usize]) -> Vec<usize> {
    let (mut hit_left, mut hit_right) = (HashSet::new(), HashSet::new());
    let (lefts, rights): (HashSet<usize>, HashSet<usize>) =
        (left.iter().copied().collect(), right.iter().copied().collect());
    let mut meet = |left: usize, right: usize| {
        if lefts.contains(&left) && rights.contains(&right) {
            hit_left.insert(left);
            hit_right.insert(right);
        }
    };
    match relation {
        Relation::Child => right.iter().for_each(|r| trace.parent(*r).into_iter().for_each(|l| meet(l, *r))),
        Relation::Parent => left.iter().for_each(|l| trace.parent(*l).into_iter().for_each(|r| meet(*l, r))),
        Relation::Descendant => right.iter().for_each(|r| trace.ancestors(*r).for_each(|l| meet(l, *r))),
        Relation::Ancestor => left.iter().for_each(|l| trace.ancestors(*l).for_each(|r| meet(*l, r))),
        Relation::Sibling => siblings(trace, left, right, &mut meet),
    }
    match join {
        Join::Right => right.iter().copied().filter(|span| hit_right.contains(span)).collect(),
        Join::NotRight => right.iter().copied().filter(|span| !hit_right.contains(span)).collect(),
        Join::Both => {
            let lefts = left.iter().copied().filter(|span| hit_left.contains(span));
            let rights =
                right.iter().copied().filter(|span| hit_right.contains(span) && !hit_left.contains(span));
            lefts.chain(rights).collect()
        }
    }
}

/// Different spans with the same parent. Two of each family's left side are enough to find every match.
fn siblings(trace: &Trace, left: &[usize], right: &[usize], meet: &mut impl FnMut(usize, usize)) {
    let mut families: std::collections::HashMap<usize, (Vec<usize>, Vec<usize>)> =
        std::collections::HashMap::new();
    for span in left {
        if let Some(parent) = trace.parent(*span) {
            families.entry(parent).or_default().0.push(*span);
        }
    }
    for span in right {
        if let Some(parent) = trace.parent(*span) {
            families.entry(parent).or_default().1.push(*span);
        }
    }
    for (lefts, rights) in families.values() {
        for r in rights {
            lefts.iter().filter(|l| *l != r).take(1).for_each(|l| meet(*l, *r));
        }
        for l in lefts {
            rights.iter().filter(|r| *r != l).take(1).for_each(|r| meet(*l, *r));
        }
    }
}

/// The value of an expression for a span.
pub(crate) fn field(expr: &FieldExpr, trace: &Trace, span: usize) -> Evaluated<Static> {
    match expr {
        FieldExpr::Static(value) => Ok(value.clone()),
        FieldExpr::Attribute(attribute) => Ok(trace.value(span, attribute)),
        FieldExpr::Exists(inner) => Ok(Static::Bool(field(inner, trace, span)? != Static::Nil)),
        FieldExpr::NotExists(inner) => Ok(Static::Bool(field(inner, trace, span)? == Static::Nil)),
        FieldExpr::Negate(inner) => Ok(match field(inner, trace, span)? {
            Static::Int(n) => Static::Int(n.wrapping_neg()),
            Static::Float(n) => Static::Float(-n),
            Static::Duration(n) => Static::Duration(n.wrapping_neg()),
            _ => Static::Nil,
        }),
        FieldExpr::Not(inner) => Ok(match field(inner, trace, span)? {
            Static::Bool(flag) => Static::Bool(!flag),
            _ => Static::Nil,
        }),
        FieldExpr::Binary(binary) => {
            let left = field(&binary.left, trace, span)?;
            match (&left, binary.op) {
                (Static::Bool(false), crate::ast::Op::And) => return Ok(left),
                (Static::Bool(true), crate::ast::Op::Or) => return Ok(left),
                _ => {}
            }
            let right = field(&binary.right, trace, span)?;
            apply(binary.op, &left, &right, binary.pattern.as_ref())
        }
    }
}

/// Attributes that the pipeline mentions, each once: answers show them.
pub(crate) fn mentioned(pipeline: &Pipeline) -> Vec<Attribute> {
    let mut found = Vec::new();
    let mut fields: Vec<&FieldExpr> = Vec::new();
    let mut pipelines = vec![pipeline];
    while let Some(pipeline) = pipelines.pop() {
        for step in &pipeline.steps {
            match step {
                Step::Spansets(expr) => {
                    let mut todo = vec![expr];
                    while let Some(expr) = todo.pop() {
                        match expr {
                            SpansetExpr::Filter(filter) => fields.push(filter),
                            SpansetExpr::Pipeline(inner) => pipelines.push(inner),
                            SpansetExpr::Operation(left, _, right) => todo.extend([&**right, &**left]),
                        }
                    }
                }
                Step::ScalarFilter(filter) => {
                    if let ScalarExpr::Aggregate(Aggregate { expr: Some(expr), .. }) = &filter.left {
                        fields.push(expr);
                    }
                }
                Step::By(expr) => fields.push(expr),
                Step::Select(list) => found.extend(list.iter().cloned()),
                Step::Coalesce => {}
            }
        }
    }
    while let Some(expr) = fields.pop() {
        match expr {
            FieldExpr::Attribute(attribute) => found.push(attribute.clone()),
            FieldExpr::Negate(e) | FieldExpr::Not(e) | FieldExpr::Exists(e) | FieldExpr::NotExists(e) => {
                fields.push(e)
            }
            FieldExpr::Binary(binary) => fields.extend([&binary.left, &binary.right]),
            FieldExpr::Static(_) => {}
        }
    }
    let mut seen = HashSet::new();
    found.retain(|attribute| seen.insert(attribute.clone()));
    found
}
