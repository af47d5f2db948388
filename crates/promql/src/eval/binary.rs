//! Binary operators with at least one vector.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kenning_model::{CounterReset, Histogram, LabelSet};
use kenning_query::{QueryError, SourceSpan};

use super::collect::Collector;
use super::{
    Column, Evaluated, Evaluator, Point, Steps, arithmetic, display_labels, failure, is_metadata, keep,
    without,
};
use crate::annotation::{Annotations, Operation};
use crate::histogram::{Wide, divided, same_data, scaled, trim};
use crate::plan::{ScalarBinary, VectorBinary};
use crate::syntax::{BinaryOp, Cardinality, Matching};

/// What an operator makes of two values.
struct Outcome {
    value: Point,
    /// False: a comparison that does not hold.
    holds: bool,
}

/// The operation of two values; `None` when it has no result, which is remarked.
fn combine(
    op: BinaryOp,
    left: &Point,
    right: &Point,
    span: SourceSpan,
    notes: &mut Annotations,
) -> Option<Outcome> {
    let outcome = match (left, right) {
        (Point::Float(a), Point::Float(b)) => combine_floats(op, *a, *b),
        (Point::Float(factor), Point::Histogram(histogram)) => match op {
            BinaryOp::Mul => Some(of_histogram(scaled(histogram, *factor))),
            _ => None,
        },
        (Point::Histogram(histogram), Point::Float(value)) => match op {
            BinaryOp::Mul => Some(of_histogram(scaled(histogram, *value))),
            BinaryOp::Div => Some(of_histogram(divided(histogram, *value))),
            BinaryOp::TrimUpper => Some(of_histogram(trim(histogram, *value, true))),
            BinaryOp::TrimLower => Some(of_histogram(trim(histogram, *value, false))),
            _ => None,
        },
        (Point::Histogram(a), Point::Histogram(b)) => match op {
            BinaryOp::Eq => Some(Outcome { value: left.clone(), holds: same_data(a, b) }),
            BinaryOp::Ne => Some(Outcome { value: left.clone(), holds: !same_data(a, b) }),
            BinaryOp::Add | BinaryOp::Sub => return combine_histograms(op, a, b, span, notes),
            _ => None,
        },
    };
    if outcome.is_none() {
        let kind = |point: &Point| if point.float().is_some() { "float" } else { "histogram" };
        notes.incompatible_types(kind(left), op.as_str(), kind(right), span);
    }
    outcome
}

fn of_histogram(histogram: Histogram) -> Outcome {
    Outcome { value: Point::Histogram(Arc::new(histogram)), holds: true }
}

fn combine_floats(op: BinaryOp, a: f64, b: f64) -> Option<Outcome> {
    let holds = match op {
        BinaryOp::Eq => a == b,
        BinaryOp::Ne => a != b,
        BinaryOp::Gt => a > b,
        BinaryOp::Lt => a < b,
        BinaryOp::Ge => a >= b,
        BinaryOp::Le => a <= b,
        op => return arithmetic(op, a, b).map(|value| Outcome { value: Point::Float(value), holds: true }),
    };
    Some(Outcome { value: Point::Float(a), holds })
}

fn combine_histograms(
    op: BinaryOp,
    a: &Histogram,
    b: &Histogram,
    span: SourceSpan,
    notes: &mut Annotations,
) -> Option<Outcome> {
    let mut result = Wide::new(a);
    let (combined, operation) = if op == BinaryOp::Add {
        (result.add(b), Operation::Addition)
    } else {
        (result.sub(b), Operation::Subtraction)
    };
    let Ok(reconciled) = combined else {
        notes.incompatible_layout(op.as_str(), span);
        return None;
    };
    if reconciled.reset_conflict {
        notes.reset_conflict(operation, span);
    }
    if reconciled.bounds {
        notes.bounds_reconciled(operation, span);
    }
    let mut result = result.finish();
    if op == BinaryOp::Sub {
        result.reset = CounterReset::Gauge;
    }
    Some(of_histogram(result))
}

impl Evaluator<'_> {
    pub(super) fn scalar_vector(&mut self, plan: &ScalarBinary, steps: Steps) -> Evaluated<Vec<Column>> {
        let scalars = self.scalar(&plan.scalar, steps)?;
        let mut columns = self.vector(&plan.vector, steps)?;
        let (op, notes) = (plan.op, &mut self.notes);
        for column in &mut columns {
            if op.changes_meaning() || plan.returns_bool {
                column.drop_name = true;
            }
            for (slot, scalar) in column.points.iter_mut().zip(&scalars) {
                let Some(vector) = slot.take() else { continue };
                let scalar = Point::Float(*scalar);
                let (left, right) = if plan.scalar_is_left { (&scalar, &vector) } else { (&vector, &scalar) };
                let Some(outcome) = combine(op, left, right, plan.span, notes) else { continue };
                *slot = if plan.returns_bool {
                    Some(truth(outcome.holds))
                } else if !outcome.holds {
                    None
                } else if op.is_comparison() {
                    // The vector's value passes, also when it stands on the right.
                    Some(vector)
                } else {
                    Some(outcome.value)
                };
            }
        }
        columns.retain(|column| !column.is_blank());
        Ok(columns)
    }

    pub(super) fn vector_binary(&mut self, plan: &VectorBinary, steps: Steps) -> Evaluated<Vec<Column>> {
        let left = self.vector(&plan.left, steps)?;
        let right = self.vector(&plan.right, steps)?;
        let matches = Matches::new(&plan.matching, &left, &right);
        let mut collector = Collector::new(steps);
        let mut charged = 0;
        let mut join = Join { plan, left: &left, right: &right, matches: &matches, slots: HashMap::new() };
        for i in 0..steps.len {
            if plan.op.is_set() {
                set_operation(plan.op, &left, &right, &matches, i, &mut collector)?;
            } else {
                join.at(i, &mut collector, &mut self.notes)?;
            }
            let grown = collector.len();
            self.charge_columns(grown.saturating_sub(charged), steps)?;
            charged = grown;
        }
        self.release_columns(&left, steps);
        self.release_columns(&right, steps);
        Ok(collector.finish())
    }
}

fn truth(holds: bool) -> Point {
    Point::Float(if holds { 1.0 } else { 0.0 })
}

/// Which series of the two sides belong together: a group number for each.
struct Matches {
    left: Vec<usize>,
    right: Vec<usize>,
    groups: usize,
}

impl Matches {
    fn new(matching: &Matching, left: &[Column], right: &[Column]) -> Self {
        let mut numbers: HashMap<LabelSet, usize> = HashMap::new();
        let mut number = |columns: &[Column]| {
            let of = |column: &Column| {
                let next = numbers.len();
                *numbers.entry(matched_labels(matching, &column.labels)).or_insert(next)
            };
            columns.iter().map(of).collect::<Vec<_>>()
        };
        let (left, right) = (number(left), number(right));
        Self { left, right, groups: numbers.len() }
    }
}

fn matched_labels(matching: &Matching, labels: &LabelSet) -> LabelSet {
    if matching.on { keep(labels, &matching.labels) } else { without(labels, &matching.labels) }
}

fn set_operation(
    op: BinaryOp,
    left: &[Column],
    right: &[Column],
    matches: &Matches,
    i: usize,
    out: &mut Collector,
) -> Result<(), QueryError> {
    let present = |columns: &[Column], groups: &[usize]| {
        let mut present = vec![false; matches.groups];
        for (_, group) in columns.iter().zip(groups).filter(|(column, _)| column.at(i).is_some()) {
            if let Some(flag) = present.get_mut(*group) {
                *flag = true;
            }
        }
        present
    };
    let has = |flags: &[bool], group: usize| flags.get(group).copied().unwrap_or(false);
    let in_right = present(right, &matches.right);
    for (column, group) in left.iter().zip(&matches.left) {
        let wanted = match op {
            BinaryOp::And => has(&in_right, *group),
            BinaryOp::Unless => !has(&in_right, *group),
            _ => true,
        };
        if let Some(point) = column.at(i).filter(|_| wanted) {
            out.push(&column.labels, column.drop_name, i, point.clone())?;
        }
    }
    if op == BinaryOp::Or {
        let in_left = present(left, &matches.left);
        for (column, group) in right.iter().zip(&matches.right) {
            if let Some(point) = column.at(i).filter(|_| !has(&in_left, *group)) {
                out.push(&column.labels, column.drop_name, i, point.clone())?;
            }
        }
    }
    Ok(())
}

/// One side of a pair: a series, or the fill value with the labels it would have.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Column(usize),
    /// Fills in for the partner, whose labels it takes.
    Fill,
}

struct Join<'a> {
    plan: &'a VectorBinary,
    left: &'a [Column],
    right: &'a [Column],
    matches: &'a Matches,
    /// Places of results by pair; the same pairs come again at every instant.
    slots: HashMap<(Side, Side), usize>,
}

impl Join<'_> {
    /// All pairs of an instant. The "many" side is walked through, the "one" side looked up.
    fn at(&mut self, i: usize, out: &mut Collector, notes: &mut Annotations) -> Result<(), QueryError> {
        let matching = &self.plan.matching;
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let sides = [(self.left, self.matches.left.as_slice()), (self.right, self.matches.right.as_slice())];
        let [(many, many_groups), (one, one_groups)] = if swapped { [sides[1], sides[0]] } else { sides };
        // As in Prometheus, `fill_right` stands in for the "one" side and `fill_left` for the "many" side, also when
        // `group_right` has swapped them.
        let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
        let filled = fill_many.is_some() || fill_one.is_some();
        let absent = |columns: &[Column]| columns.iter().all(|column| column.at(i).is_none());
        // Nothing can match, so what stands twice on the other side does no harm.
        if !filled && (absent(many) || absent(one)) {
            return Ok(());
        }
        let mut partner: Vec<Option<usize>> = vec![None; self.matches.groups];
        for (at, (column, group)) in one.iter().zip(one_groups).enumerate() {
            let Some(slot) = partner.get_mut(*group).filter(|_| column.at(i).is_some()) else { continue };
            if let Some(first) = slot.replace(at) {
                return Err(self.many_to_many(one, first, at, swapped));
            }
        }
        let mut seen = Seen::new(self.matches.groups);
        // Of all pairs of an instant Prometheus keeps the last remark only.
        let (mut last, mut own) = (Annotations::default(), Annotations::default());
        for (at, (column, group)) in many.iter().zip(many_groups).enumerate() {
            let Some(point) = column.at(i) else { continue };
            let partner = partner.get(*group).copied().flatten();
            let (side, other) = match (partner, fill_one) {
                (Some(found), _) => (Side::Column(found), one.get(found).and_then(|c| c.at(i)).cloned()),
                (None, Some(fill)) => (Side::Fill, Some(Point::Float(fill))),
                (None, None) => continue,
            };
            let Some(other) = other else { continue };
            self.pair((Side::Column(at), point), (side, &other), *group, i, &mut seen, out, &mut own)?;
            if !own.is_empty() {
                last = std::mem::take(&mut own);
            }
        }
        if let Some(fill) = fill_many {
            for (at, (column, group)) in one.iter().zip(one_groups).enumerate() {
                let Some(point) = column.at(i).filter(|_| !seen.has(*group)) else { continue };
                let fill = Point::Float(fill);
                self.pair(
                    (Side::Fill, &fill),
                    (Side::Column(at), point),
                    *group,
                    i,
                    &mut seen,
                    out,
                    &mut own,
                )?;
                if !own.is_empty() {
                    last = std::mem::take(&mut own);
                }
            }
        }
        notes.add(last);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the pair, its place, and the three places it writes to")]
    fn pair(
        &mut self,
        (many, many_point): (Side, &Point),
        (one, one_point): (Side, &Point),
        group: usize,
        i: usize,
        seen: &mut Seen,
        out: &mut Collector,
        notes: &mut Annotations,
    ) -> Result<(), QueryError> {
        let plan = self.plan;
        let swapped = plan.matching.cardinality == Cardinality::OneToMany;
        let (left, right) = if swapped { (one_point, many_point) } else { (many_point, one_point) };
        let Some(outcome) = combine(plan.op, left, right, plan.span, notes) else { return Ok(()) };
        let slot = match self.slots.get(&(many, one)) {
            Some(slot) => *slot,
            None => {
                let slot = out.slot(&self.result_labels(many, one), plan.returns_bool);
                self.slots.insert((many, one), slot);
                slot
            }
        };
        if plan.matching.cardinality == Cardinality::OneToOne {
            if seen.has(group) {
                let message = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
                return Err(failure(plan.span, message));
            }
            seen.mark(group);
        } else if !seen.insert(group, slot) {
            let message = "multiple matches for labels: grouping labels must ensure unique matches";
            return Err(failure(plan.span, message));
        }
        if plan.returns_bool {
            out.put(slot, i, truth(outcome.holds))
        } else if outcome.holds {
            out.put(slot, i, outcome.value)
        } else {
            Ok(())
        }
    }

    fn many_to_many(&self, one: &[Column], first: usize, second: usize, swapped: bool) -> QueryError {
        let side = if swapped { "left" } else { "right" };
        let labels = |at: usize| one.get(at).map_or_else(LabelSet::empty, |column| column.labels.clone());
        let group = display_labels(&matched_labels(&self.plan.matching, &labels(second)));
        // The one that was met last comes first.
        let [first, second] = [second, first].map(|at| display_labels(&labels(at)));
        let message = format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{first}, \
             {second}];many-to-many matching not allowed: matching labels must be unique on one side"
        );
        failure(self.plan.span, message)
    }

    fn result_labels(&self, many: Side, one: Side) -> LabelSet {
        let plan = self.plan;
        let swapped = plan.matching.cardinality == Cardinality::OneToMany;
        let (many_columns, one_columns) =
            if swapped { (self.right, self.left) } else { (self.left, self.right) };
        let own = |side: Side, columns: &[Column]| match side {
            Side::Column(at) => columns.get(at).map(|column| column.labels.clone()),
            Side::Fill => None,
        };
        let (many_labels, one_labels) = (own(many, many_columns), own(one, one_columns));
        let filled = |partner: &Option<LabelSet>| {
            partner.as_ref().map_or_else(LabelSet::empty, |labels| matched_labels(&plan.matching, labels))
        };
        let left = many_labels.clone().unwrap_or_else(|| filled(&one_labels));
        let right = one_labels.unwrap_or_else(|| filled(&many_labels));
        combined_labels(plan, &left, &right)
    }
}

/// The labels of a result: the many side's, with what the matching takes away or brings over.
fn combined_labels(plan: &VectorBinary, many: &LabelSet, one: &LabelSet) -> LabelSet {
    let matching = &plan.matching;
    let one_to_one = matching.cardinality == Cardinality::OneToOne;
    let kept = |name: &str| {
        let listed = matching.labels.iter().any(|label| label == name);
        !(plan.op.changes_meaning() && is_metadata(name)) && (!one_to_one || listed == matching.on)
    };
    let mut pairs: Vec<_> = many.iter().filter(|(name, _)| kept(name)).collect();
    pairs.retain(|(name, _)| !matching.include.iter().any(|label| label == name));
    pairs.extend(matching.include.iter().map(|name| (name.as_str(), one.get(name))));
    LabelSet::from_borrowed(&mut pairs)
}

/// Groups that have a result already; for one-to-many matching, which results.
struct Seen {
    groups: Vec<bool>,
    results: HashSet<(usize, usize)>,
}

impl Seen {
    fn new(groups: usize) -> Self {
        Self { groups: vec![false; groups], results: HashSet::new() }
    }

    fn has(&self, group: usize) -> bool {
        self.groups.get(group).copied().unwrap_or(false)
    }

    fn mark(&mut self, group: usize) {
        if let Some(flag) = self.groups.get_mut(group) {
            *flag = true;
        }
    }

    fn insert(&mut self, group: usize, slot: usize) -> bool {
        self.mark(group);
        self.results.insert((group, slot))
    }
}
