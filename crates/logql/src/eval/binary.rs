//! Binary operators between series, and between series and numbers.

use std::collections::{HashMap, HashSet};

use kenning_model::LabelSet;
use kenning_query::QueryError;

use super::grid::{Matrix, Series};
use super::{Evaluator, execution};
use crate::syntax::ast::{BinOp, BinaryExpr, Cardinality, Matching, MetricExpr};

/// An operator between two constants; comparisons give 0 or 1.
pub(crate) fn fold(op: BinOp, left: f64, right: f64) -> f64 {
    if op.is_comparison() { f64::from(u8::from(holds(op, left, right))) } else { arithmetic(op, left, right) }
}

fn arithmetic(op: BinOp, left: f64, right: f64) -> f64 {
    match op {
        BinOp::Add => left + right,
        BinOp::Sub => left - right,
        BinOp::Mul => left * right,
        // Loki, unlike Prometheus, has no infinity here.
        BinOp::Div | BinOp::Mod if right == 0.0 => f64::NAN,
        BinOp::Div => left / right,
        BinOp::Mod => left % right,
        BinOp::Pow => left.powf(right),
        _ => f64::NAN,
    }
}

fn holds(op: BinOp, left: f64, right: f64) -> bool {
    match op {
        BinOp::Eq => left == right,
        BinOp::Ne => left != right,
        BinOp::Gt => left > right,
        BinOp::Ge => left >= right,
        BinOp::Lt => left < right,
        BinOp::Le => left <= right,
        _ => false,
    }
}

/// The value of two samples; `None` when a comparison drops them. What passes a comparison keeps `kept`'s value.
fn merge(op: BinOp, left: f64, right: f64, return_bool: bool, kept: f64) -> Option<f64> {
    match (op.is_comparison(), return_bool) {
        (true, false) => holds(op, left, right).then_some(kept),
        _ => Some(fold(op, left, right)),
    }
}

impl Evaluator<'_> {
    pub(super) fn binary(&mut self, binary: &BinaryExpr) -> Result<Matrix, QueryError> {
        match (&binary.left, &binary.right) {
            (MetricExpr::Literal(number), vector) => {
                let vector = self.evaluate(vector)?;
                Ok(with_number(binary, vector, |value| (*number, value)))
            }
            (vector, MetricExpr::Literal(number)) => {
                let vector = self.evaluate(vector)?;
                Ok(with_number(binary, vector, |value| (value, *number)))
            }
            (left, right) => {
                let (left, right) = (self.evaluate(left)?, self.evaluate(right)?);
                match binary.op {
                    op if op.is_set() => Ok(set_operation(op, &binary.matching, left, &right, self.grid.len)),
                    _ => self.matched(binary, &left, &right),
                }
            }
        }
    }

    fn matched(&self, binary: &BinaryExpr, left: &Matrix, right: &Matrix) -> Result<Matrix, QueryError> {
        let swapped = binary.matching.card == Cardinality::OneToMany;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let signatures = |matrix: &Matrix| -> Vec<LabelSet> {
            matrix.series.iter().map(|series| signature(&series.labels, &binary.matching)).collect()
        };
        let sides =
            Sides { binary, many, one, many_keys: signatures(many), one_keys: signatures(one), swapped };
        let mut results = Results { places: HashMap::new(), matrix: Matrix::default(), len: self.grid.len };
        for step in 0..self.grid.len {
            self.check_cancelled()?;
            sides.step(step, &mut results)?;
        }
        Ok(results.matrix.sorted())
    }
}

fn with_number(binary: &BinaryExpr, mut vector: Matrix, sides: impl Fn(f64) -> (f64, f64)) -> Matrix {
    for slot in vector.series.iter_mut().flat_map(|series| &mut series.values) {
        *slot = slot.and_then(|value| {
            let (left, right) = sides(value);
            merge(binary.op, left, right, binary.return_bool, value)
        });
    }
    vector
}

/// The labels by which series of both sides find each other.
fn signature(labels: &LabelSet, matching: &Matching) -> LabelSet {
    let mut builder = LabelSet::empty().to_builder();
    for (name, value) in labels.iter() {
        if matching.labels.iter().any(|label| label == name) == matching.on {
            builder.set(name, value);
        }
    }
    builder.build_with_empty()
}

struct Sides<'m> {
    binary: &'m BinaryExpr,
    many: &'m Matrix,
    one: &'m Matrix,
    many_keys: Vec<LabelSet>,
    one_keys: Vec<LabelSet>,
    /// The "one" side stands on the left.
    swapped: bool,
}

struct Results {
    places: HashMap<LabelSet, usize>,
    matrix: Matrix,
    len: usize,
}

impl Results {
    fn set(&mut self, labels: LabelSet, step: usize, value: f64) {
        let len = self.len;
        let place = *self.places.entry(labels).or_insert_with_key(|labels| {
            self.matrix.series.push(Series { labels: labels.clone(), values: vec![None; len] });
            self.matrix.series.len() - 1
        });
        if let Some(slot) = self.matrix.series.get_mut(place).and_then(|s| s.values.get_mut(step)) {
            *slot = Some(value);
        }
    }
}

/// Series present at an instant, with their signatures and values.
fn present<'m>(
    matrix: &'m Matrix,
    keys: &'m [LabelSet],
    step: usize,
) -> impl Iterator<Item = (&'m LabelSet, &'m LabelSet, f64)> {
    matrix.series.iter().zip(keys).filter_map(move |(series, key)| {
        Some((key, &series.labels, series.values.get(step).copied().flatten()?))
    })
}

impl Sides<'_> {
    fn step(&self, step: usize, results: &mut Results) -> Result<(), QueryError> {
        let matching = &self.binary.matching;
        let mut partners: HashMap<&LabelSet, (&LabelSet, f64)> = HashMap::new();
        for (key, labels, value) in present(self.one, &self.one_keys, step) {
            if partners.insert(key, (labels, value)).is_some() {
                let side = if self.swapped { "left" } else { "right" };
                return Err(execution(
                    self.binary.span,
                    format!(
                        "found duplicate series on the {side} hand-side;many-to-many matching not allowed: matching \
                         labels must be unique on one side"
                    ),
                ));
            }
        }
        let mut seen: HashSet<(&LabelSet, LabelSet)> = HashSet::new();
        for (key, labels, value) in present(self.many, &self.many_keys, step) {
            let Some((partner, other)) = partners.get(key) else { continue };
            let metric = result_labels(labels, partner, matching);
            let one_to_one = matching.card == Cardinality::OneToOne;
            let identity = if one_to_one { LabelSet::empty() } else { metric.clone() };
            if !seen.insert((key, identity)) {
                let message = match one_to_one {
                    true => {
                        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                    }
                    false => "multiple matches for labels: grouping labels must ensure unique matches",
                };
                return Err(execution(self.binary.span, message));
            }
            let (left, right) = if self.swapped { (*other, value) } else { (value, *other) };
            if let Some(merged) = merge(self.binary.op, left, right, self.binary.return_bool, left) {
                results.set(metric, step, merged);
            }
        }
        Ok(())
    }
}

/// The labels of a result: those matched on for one-to-one, else those of the "many" side with the included ones of the
/// "one" side.
fn result_labels(many: &LabelSet, one: &LabelSet, matching: &Matching) -> LabelSet {
    let mut builder = if matching.card == Cardinality::OneToOne {
        signature(many, matching).to_builder()
    } else {
        many.to_builder()
    };
    for name in &matching.include {
        match one.get(name) {
            "" => builder.remove(name),
            value => builder.set(name, value),
        };
    }
    builder.build()
}

/// `and`, `or` and `unless`, instant by instant.
fn set_operation(op: BinOp, matching: &Matching, left: Matrix, right: &Matrix, len: usize) -> Matrix {
    let keys = |matrix: &Matrix| -> Vec<LabelSet> {
        matrix.series.iter().map(|series| signature(&series.labels, matching)).collect()
    };
    let (left_keys, right_keys) = (keys(&left), keys(right));
    let presence = |matrix: &Matrix, keys: &[LabelSet]| {
        let mut present: HashMap<LabelSet, Vec<bool>> = HashMap::new();
        for (series, key) in matrix.series.iter().zip(keys) {
            let steps = present.entry(key.clone()).or_insert_with(|| vec![false; len]);
            steps.iter_mut().zip(&series.values).for_each(|(step, value)| *step |= value.is_some());
        }
        present
    };
    let masked =
        |mut matrix: Matrix, keys: &[LabelSet], others: &HashMap<LabelSet, Vec<bool>>, wanted: bool| {
            for (series, key) in matrix.series.iter_mut().zip(keys) {
                let other = others.get(key);
                for (step, slot) in series.values.iter_mut().enumerate() {
                    let found = other.and_then(|steps| steps.get(step)).copied().unwrap_or(false);
                    *slot = slot.filter(|_| found == wanted);
                }
            }
            matrix
        };
    match op {
        BinOp::And => masked(left, &left_keys, &presence(right, &right_keys), true),
        BinOp::Unless => masked(left, &left_keys, &presence(right, &right_keys), false),
        _ => {
            let extra = masked(right.clone(), &right_keys, &presence(&left, &left_keys), false);
            let series = left.series.into_iter().chain(extra.series).collect();
            Matrix { series }.joined()
        }
    }
}
