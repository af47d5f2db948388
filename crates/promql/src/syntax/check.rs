//! Types and rules that the grammar cannot express. Messages, places and order are Prometheus's.

use kenning_model::METRIC_NAME;
use kenning_query::{Diagnostic, SourceSpan};

use super::ast::{Aggregate, Aggregator, Binary, Call, Cardinality, Expr, ValueType, VectorSelector};
use crate::text::quote;

/// Appends everything that is wrong with a tree.
pub(super) fn check(expr: &Expr, text: &str, problems: &mut Vec<Diagnostic>) {
    Checker { text, problems }.check(expr);
}

struct Checker<'a> {
    text: &'a str,
    problems: &'a mut Vec<Diagnostic>,
}

impl Checker<'_> {
    fn problem(&mut self, span: SourceSpan, message: impl Into<String>) {
        self.problems.push(Diagnostic::error(span, message));
    }

    fn check(&mut self, expr: &Expr) -> ValueType {
        match expr {
            Expr::Number(_) | Expr::String(_) => {}
            Expr::Paren(paren) => {
                self.check(&paren.inner);
            }
            Expr::Unary(unary) => {
                let found = self.check(&unary.operand);
                if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                    let found = quote(found.documented());
                    let message = format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {found}"
                    );
                    self.problem(unary.span, message);
                }
            }
            Expr::Binary(binary) => self.binary(binary),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Call(call) => self.call(call),
            Expr::Selector(selector) => self.selector(selector),
            Expr::Matrix(matrix) => self.selector(&matrix.selector),
            Expr::Subquery(subquery) => {
                let found = self.check(&subquery.operand);
                if found != ValueType::Vector {
                    let found = found.as_str();
                    let message = format!("subquery is only allowed on instant vector, got {found} instead");
                    self.problem(subquery.span, message);
                }
            }
        }
        expr.value_type()
    }

    fn expect(&mut self, expr: &Expr, wanted: ValueType, context: &str) {
        let found = self.check(expr);
        if found != wanted {
            let message =
                format!("expected type {} in {context}, got {}", wanted.documented(), found.documented());
            self.problem(expr.span(), message);
        }
    }

    fn aggregate(&mut self, aggregate: &Aggregate) {
        self.expect(&aggregate.operand, ValueType::Vector, "aggregation expression");
        if let Some(param) = &aggregate.param {
            let wanted =
                if aggregate.op == Aggregator::CountValues { ValueType::String } else { ValueType::Scalar };
            self.expect(param, wanted, "aggregation parameter");
        }
    }

    fn binary(&mut self, binary: &Binary) {
        let (left, right) = (self.check(&binary.left), self.check(&binary.right));
        let (op, matching) = (binary.op, &binary.matching);
        if binary.returns_bool && !op.is_comparison() {
            self.problem(self.operator(binary), "bool modifier can only be used on comparison operators");
        }
        let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
        if op.is_comparison() && !binary.returns_bool && scalars {
            self.problem(self.operator(binary), "comparisons between scalars must use BOOL modifier");
        }
        if matching.on {
            for label in matching.labels.iter().filter(|label| matching.include.contains(label)) {
                let label = quote(label);
                let message = format!("label {label} must not occur in ON and GROUP clause at once");
                self.problem(self.operator(binary), message);
            }
        }
        for (side, found) in [(&binary.left, left), (&binary.right, right)] {
            if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                let message = "binary expression must contain only scalar and instant vector types";
                self.problem(side.span(), message);
            }
        }
        self.matching(binary, left == ValueType::Vector && right == ValueType::Vector);
        if op.is_set() && (left == ValueType::Scalar || right == ValueType::Scalar) {
            let message =
                format!("set operator {} not allowed in binary scalar expression", quote(op.as_str()));
            self.problem(binary.span, message);
        }
    }

    fn matching(&mut self, binary: &Binary, vectors: bool) {
        let matching = &binary.matching;
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if !vectors {
            if !matching.labels.is_empty() {
                self.problem(binary.span, "vector matching only allowed between instant vectors");
            }
            if fills {
                self.problem(binary.span, "filling in missing series only allowed between instant vectors");
            }
        } else if binary.op.is_set() {
            if matches!(matching.cardinality, Cardinality::OneToMany | Cardinality::ManyToOne) {
                let message = format!("no grouping allowed for {} operation", quote(binary.op.as_str()));
                self.problem(binary.span, message);
                self.problem(binary.span, "set operations must always be many-to-many");
            }
            if fills {
                self.problem(binary.span, "filling in missing series not allowed for set operators");
            }
        }
    }

    /// The operator with its modifiers: what lies between the operands, without blanks. As in Prometheus the last
    /// byte is left out.
    fn operator(&self, binary: &Binary) -> SourceSpan {
        let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
        let (start, end) = (binary.left.span().end as usize, binary.right.span().start as usize);
        let between = self.text.as_bytes().get(start..end).unwrap_or(&[]);
        let start = start + between.iter().take_while(|b| blank(b)).count();
        let end = end - between.iter().rev().take_while(|b| blank(b)).count();
        SourceSpan::new(start, end.saturating_sub(1))
    }

    fn call(&mut self, call: &Call) {
        let (function, given) = (call.function, call.args.len());
        let (wanted, name) = (function.args.len(), quote(function.name));
        let least = wanted.saturating_sub(1);
        let most = usize::try_from(function.variadic).ok().filter(|n| *n > 0).map(|n| least + n);
        if function.variadic == 0 {
            if given != wanted {
                let message = format!("expected {wanted} argument(s) in call to {name}, got {given}");
                self.problem(call.span, message);
            }
        } else if given < least {
            let message = format!("expected at least {least} argument(s) in call to {name}, got {given}");
            self.problem(call.span, message);
        } else if let Some(most) = most.filter(|most| given > *most) {
            let message = format!("expected at most {most} argument(s) in call to {name}, got {given}");
            self.problem(call.span, message);
        }
        if function.name == "info" {
            self.info(call);
        }
        for (i, arg) in call.args.iter().enumerate() {
            if i >= wanted && function.variadic == 0 {
                break;
            }
            let Some(wanted) = function.args.get(i).or(function.args.last()) else { break };
            let is_label_selector = function.name == "info" && i == 1 && matches!(arg, Expr::Selector(_));
            let found = if is_label_selector { arg.value_type() } else { self.check(arg) };
            if found != *wanted {
                let (wanted, found) = (wanted.documented(), found.documented());
                let message = format!("expected type {wanted} in call to function {name}, got {found}");
                self.problem(arg.span(), message);
            }
        }
    }

    /// The second argument of `info` is a list of label matchers in the clothes of a selector.
    fn info(&mut self, call: &Call) {
        let Some(arg) = call.args.get(1) else { return };
        let found = arg.value_type();
        if found != ValueType::Vector {
            let found = found.documented();
            let message = format!("expected type instant vector in call to function \"info\", got {found}");
            self.problem(call.span, message);
        }
        match arg {
            Expr::Selector(selector) if selector.name.is_empty() => {}
            Expr::Selector(_) => {
                self.problem(arg.span(), "expected label selectors only, got vector selector instead");
            }
            _ => self.problem(arg.span(), "expected label selectors only"),
        }
    }

    fn selector(&mut self, selector: &VectorSelector) {
        let Some((_, others)) = selector.matchers.split_last().filter(|_| !selector.name.is_empty()) else {
            if selector.matchers.iter().all(|matcher| matcher.matches("")) {
                let message = "vector selector must contain at least one non-empty matcher";
                self.problem(selector.span, message);
            }
            return;
        };
        for again in others.iter().filter(|matcher| matcher.name == METRIC_NAME) {
            let (first, second) = (quote(&selector.name), quote(&again.value));
            let message = format!("metric name must not be set twice: {first} or {second}");
            self.problem(selector.span, message);
        }
    }
}
