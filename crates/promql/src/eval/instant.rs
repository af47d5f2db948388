//! Functions of one value at a time, sorting, and `absent`.

use std::cmp::Ordering;

use kenning_model::LabelSet;
use kenning_query::SourceSpan;

use super::{Column, Evaluated, Evaluator, Point, Steps, map_floats};
use crate::histogram::scaled;
use crate::plan::{Scalar, Vector, go_max, go_min};

macro_rules! float_functions {
    ($($variant:ident = $name:literal => $apply:expr),+ $(,)?) => {
        /// A function from float to float.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum FloatFunction { $($variant),+ }

        impl FloatFunction {
            pub(crate) fn find(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }

            pub(crate) fn apply(self, value: f64) -> f64 {
                match self { $(Self::$variant => { let apply: fn(f64) -> f64 = $apply; apply(value) })+ }
            }
        }
    };
}

float_functions! {
    Abs = "abs" => f64::abs,
    Ceil = "ceil" => f64::ceil,
    Floor = "floor" => f64::floor,
    Exp = "exp" => f64::exp,
    Sqrt = "sqrt" => f64::sqrt,
    Ln = "ln" => f64::ln,
    Log2 = "log2" => f64::log2,
    Log10 = "log10" => f64::log10,
    Sin = "sin" => f64::sin,
    Cos = "cos" => f64::cos,
    Tan = "tan" => f64::tan,
    Asin = "asin" => f64::asin,
    Acos = "acos" => f64::acos,
    Atan = "atan" => f64::atan,
    Sinh = "sinh" => f64::sinh,
    Cosh = "cosh" => f64::cosh,
    Tanh = "tanh" => f64::tanh,
    Asinh = "asinh" => f64::asinh,
    Acosh = "acosh" => f64::acosh,
    Atanh = "atanh" => f64::atanh,
    Rad = "rad" => |degrees| degrees * std::f64::consts::PI / 180.0,
    Deg = "deg" => |radians| radians * 180.0 / std::f64::consts::PI,
    Sgn = "sgn" => |value| if value < 0.0 { -1.0 } else if value > 0.0 { 1.0 } else { value },
}

impl Evaluator<'_> {
    pub(super) fn negate(&mut self, operand: &Vector, steps: Steps) -> Evaluated<Vec<Column>> {
        let columns = self.vector(operand, steps)?;
        Ok(super::map_points(columns, |_, point| {
            Some(match point {
                Point::Float(value) => Point::Float(-value),
                Point::Histogram(histogram) => Point::Histogram(scaled(histogram, -1.0).into()),
            })
        }))
    }

    pub(super) fn clamp(
        &mut self,
        operand: &Vector,
        [min, max]: [Option<&Scalar>; 2],
        steps: Steps,
    ) -> Evaluated<Vec<Column>> {
        let columns = self.vector(operand, steps)?;
        let mut bound = |scalar: Option<&Scalar>, open: f64| match scalar {
            Some(scalar) => self.scalar(scalar, steps),
            None => Ok(vec![open; steps.len]),
        };
        let (min, max) = (bound(min, f64::NEG_INFINITY)?, bound(max, f64::INFINITY)?);
        Ok(map_floats(columns, |i, value| {
            let (min, max) = (*min.get(i)?, *max.get(i)?);
            if max < min { None } else { Some(go_max(min, go_min(max, value))) }
        }))
    }

    pub(super) fn round(
        &mut self,
        operand: &Vector,
        nearest: Option<&Scalar>,
        steps: Steps,
    ) -> Evaluated<Vec<Column>> {
        let columns = self.vector(operand, steps)?;
        let nearest = nearest.map(|nearest| self.scalar(nearest, steps)).transpose()?;
        Ok(map_floats(columns, |i, value| {
            let nearest = nearest.as_ref().and_then(|values| values.get(i)).copied().unwrap_or(1.0);
            // Multiplying by the inverse rounds better than dividing.
            let inverse = 1.0 / nearest;
            Some((value * inverse + 0.5).floor() / inverse)
        }))
    }

    pub(super) fn absent(
        &mut self,
        operand: &Vector,
        labels: &LabelSet,
        steps: Steps,
    ) -> Evaluated<Vec<Column>> {
        let columns = self.vector(operand, steps)?;
        let missing = |i| columns.iter().all(|column| column.at(i).is_none());
        let points: Vec<_> = (0..steps.len).map(|i| missing(i).then_some(Point::Float(1.0))).collect();
        self.release_columns(&columns, steps);
        self.charge_columns(1, steps)?;
        let column = Column { labels: labels.clone(), drop_name: false, points };
        Ok(if column.is_blank() { Vec::new() } else { vec![column] })
    }

    pub(super) fn sort(
        &mut self,
        operand: &Vector,
        descending: bool,
        span: Option<SourceSpan>,
        steps: Steps,
    ) -> Evaluated<Vec<Column>> {
        if let Some(span) = span.filter(|_| steps.len > 1) {
            self.notes.sort_in_range(span);
        }
        let mut columns = self.vector(operand, steps)?;
        for column in &mut columns {
            column.points.iter_mut().for_each(|point| *point = point.take().filter(|p| p.float().is_some()));
        }
        columns.retain(|column| !column.is_blank());
        let value = |column: &Column| column.at(0).and_then(Point::float).unwrap_or(f64::NAN);
        columns.sort_by(|a, b| {
            let (a, b) = (value(a), value(b));
            match (a.is_nan(), b.is_nan()) {
                (false, false) if descending => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
                (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
                // NaN comes last in both directions.
                (a, b) => a.cmp(&b),
            }
        });
        Ok(columns)
    }

    pub(super) fn sort_by_label(
        &mut self,
        operand: &Vector,
        labels: &[String],
        descending: bool,
        span: Option<SourceSpan>,
        steps: Steps,
    ) -> Evaluated<Vec<Column>> {
        if let Some(span) = span.filter(|_| steps.len > 1) {
            self.notes.sort_in_range(span);
        }
        let mut columns = self.vector(operand, steps)?;
        columns.sort_by(|a, b| {
            let by_label = labels.iter().map(|label| natural_order(a.labels.get(label), b.labels.get(label)));
            let order = by_label.fold(Ordering::Equal, Ordering::then).then_with(|| a.labels.cmp(&b.labels));
            if descending { order.reverse() } else { order }
        });
        Ok(columns)
    }
}

/// Runs of digits compare as numbers, other runs as text.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        if left.is_empty() || right.is_empty() {
            return left.len().cmp(&right.len());
        }
        let ((left_run, left_rest), (right_run, right_rest)) = (run(left), run(right));
        let order = match (left_run.parse::<u64>(), right_run.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => left_run.cmp(right_run),
        };
        if order.is_ne() {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
}

/// The first run of digits or of other characters, and the rest.
fn run(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_order_by_value() {
        let mut names = ["cpu10", "cpu2", "cpu", "a", "cpu2b"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["a", "cpu", "cpu2", "cpu2b", "cpu10"]);
    }
}
