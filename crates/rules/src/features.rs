//! Experimental syntax. Kenning evaluates all of it; a file that another Prometheus shall read is held to what that
//! one has switched on.

use kenning_promql::{Aggregator, Expr, Extension, VectorSelector};

/// What `--enable-feature` of promtool switches on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// `promql-experimental-functions`: functions and aggregations.
    pub functions: bool,
    /// `promql-extended-range-selectors`: `anchored` and `smoothed`.
    pub extended_ranges: bool,
    /// `promql-binop-fill-modifiers`: `fill`, `fill_left`, `fill_right`.
    pub fill: bool,
}

impl Features {
    /// All of them.
    pub const ALL: Self = Self { functions: true, extended_ranges: true, fill: true };

    /// Switches on what a comma-separated list names; gives back the names that mean nothing here.
    pub fn enable<'n>(&mut self, names: &'n str) -> Vec<&'n str> {
        let mut unknown = Vec::new();
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "promql-experimental-functions" => self.functions = true,
                "promql-extended-range-selectors" => self.extended_ranges = true,
                "promql-binop-fill-modifiers" => self.fill = true,
                // Always on: it is part of the language by now.
                "promql-duration-expr" | "promql-delayed-name-removal" => {}
                other => unknown.push(other),
            }
        }
        unknown
    }
}

/// Reads an expression; the error is Prometheus's text with the place: `1:7: parse error: ...`.
pub fn parse(text: &str, features: Features) -> Result<Expr, String> {
    let located = |start: usize, message: &str| {
        let before = text.get(..start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        format!("{line}:{column}: parse error: {message}")
    };
    let expr = kenning_promql::parse(text).map_err(|problems| match problems.first() {
        Some(first) => located(first.span.start as usize, &first.message),
        None => "parse error".to_owned(),
    })?;
    match gated(&expr, features) {
        Some((start, message)) => Err(located(start, &message)),
        None => Ok(expr),
    }
}

/// The first use of syntax that is not switched on, inner parts first. Expressions are no deeper than the parser allows.
fn gated(expr: &Expr, features: Features) -> Option<(usize, String)> {
    if let Some(found) = expr.children().into_iter().find_map(|child| gated(child, features)) {
        return Some(found);
    }
    let message = match expr {
        Expr::Call(call) if call.function.experimental && !features.functions => {
            format!("function {:?} is not enabled", call.function.name)
        }
        Expr::Aggregate(aggregate)
            if !features.functions && matches!(aggregate.op, Aggregator::Limitk | Aggregator::LimitRatio) =>
        {
            format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                aggregate.op.as_str()
            )
        }
        Expr::Binary(binary) if !features.fill && fills(binary) => {
            "binop fill modifiers are experimental and not enabled".to_owned()
        }
        Expr::Selector(selector) => extended(selector, features)?,
        Expr::Matrix(matrix) => extended(&matrix.selector, features)?,
        _ => return None,
    };
    Some((expr.span().start as usize, message))
}

fn fills(binary: &kenning_promql::Binary) -> bool {
    binary.matching.fill_left.is_some() || binary.matching.fill_right.is_some()
}

fn extended(selector: &VectorSelector, features: Features) -> Option<String> {
    let word = match selector.extension? {
        _ if features.extended_ranges => return None,
        Extension::Anchored => "anchored",
        Extension::Smoothed => "smoothed",
    };
    Some(format!("{word} modifier is experimental and not enabled"))
}
