//! Text for people: one stage or argument per line where a part would be too long for one line. The layout is that of
//! Loki's `format_query`; unlike it, nothing of the meaning is lost (`or` operands, `by ()`, parentheses that
//! precedence needs).

use super::ast::{
    BinaryExpr, Expr, Grouping, LabelReplace, LineFilter, LogExpr, LogRange, MetricExpr, RangeAggregation,
    Stage, StageKind, Unwrap, VectorAggregation,
};
use kenning_gotext::{duration, float, quote::quote};

/// Parts longer than this are split, in bytes.
const LINE_BYTES_MAX: usize = 100;

/// Formats a query.
#[must_use]
pub fn format(expr: &Expr) -> String {
    with_line_max(expr, LINE_BYTES_MAX)
}

/// Formats a query whose parts may be `line_max` bytes long.
pub(crate) fn with_line_max(expr: &Expr, line_max: usize) -> String {
    let printer = Printer { line_max };
    match expr {
        Expr::Log(log) => printer.log(log, 0),
        Expr::Metric(metric) => printer.metric(metric, 0),
    }
}

struct Printer {
    line_max: usize,
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

impl Printer {
    fn fits(&self, text: &str) -> bool {
        text.len() <= self.line_max
    }

    fn log(&self, log: &LogExpr, level: usize) -> String {
        let whole = log.to_string();
        if self.fits(&whole) || log.stages.is_empty() {
            return indent(level) + &whole;
        }
        let selector = LogExpr { stages: Vec::new(), ..log.clone() };
        let mut lines = vec![indent(level) + &selector.to_string()];
        lines.extend(log.stages.iter().map(|stage| self.stage(stage, level + 1)));
        lines.join("\n")
    }

    fn stage(&self, stage: &Stage, level: usize) -> String {
        match &stage.kind {
            StageKind::LineFilters(filters) => self.line_filters(filters, level),
            StageKind::Decolorize => stage.to_string(),
            _ => indent(level) + &stage.to_string(),
        }
    }

    /// As many filters as fit on the first line, the others on a line each.
    fn line_filters(&self, filters: &[LineFilter], level: usize) -> String {
        let mut lines: Vec<String> = Vec::new();
        let mut together = String::new();
        for filter in filters {
            let text = filter.to_string();
            let joined = if together.is_empty() { text.clone() } else { format!("{together} {text}") };
            match lines.last_mut() {
                Some(first) if lines_are_one(first, &together) && self.fits(&joined) => {
                    *first = joined.clone()
                }
                _ => lines.push(text),
            }
            together = joined;
        }
        lines.iter().map(|line| indent(level) + line).collect::<Vec<_>>().join("\n")
    }

    fn metric(&self, metric: &MetricExpr, level: usize) -> String {
        let whole = metric.to_string();
        if self.fits(&whole) {
            return indent(level) + &whole;
        }
        match metric {
            MetricExpr::Range(range) => self.range_aggregation(range, level),
            MetricExpr::Vector(vector) => self.vector_aggregation(vector, level),
            MetricExpr::Binary(binary) => self.binary(binary, level),
            MetricExpr::LabelReplace(replace) => self.label_replace(replace, level),
            MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => indent(level) + &whole,
        }
    }

    fn call(&self, head: &str, arguments: &[String], level: usize) -> String {
        format!("{}{head}(\n{}\n{})", indent(level), arguments.join(",\n"), indent(level))
    }

    fn range_aggregation(&self, range: &RangeAggregation, level: usize) -> String {
        let param = range.param.map(|param| indent(level + 1) + &float::general(param));
        let arguments: Vec<String> =
            param.into_iter().chain([self.log_range(&range.range, level + 1)]).collect();
        let grouping = range.grouping.as_ref().map_or_else(String::new, grouping_text);
        self.call(range.op.name(), &arguments, level) + &grouping
    }

    fn log_range(&self, range: &LogRange, level: usize) -> String {
        let mut out = self.log(&range.log, level);
        if let Some(unwrap) = &range.unwrap {
            out.push('\n');
            out.push_str(&unwrap_lines(unwrap, level + 1));
        }
        out.push_str(&format!(" [{}]", duration::format_prometheus(range.interval)));
        if range.offset != 0 {
            out.push_str(&format!(" offset {}", duration::format_prometheus(range.offset)));
        }
        out
    }

    fn vector_aggregation(&self, vector: &VectorAggregation, level: usize) -> String {
        let k = vector.k.map(|k| format!("{}{k}", indent(level + 1)));
        let arguments: Vec<String> = k.into_iter().chain([self.metric(&vector.expr, level + 1)]).collect();
        let grouping =
            if vector.grouping.is_single() { String::new() } else { grouping_text(&vector.grouping) };
        self.call(&format!("{}{grouping}", vector.op.name()), &arguments, level)
    }

    fn binary(&self, binary: &BinaryExpr, level: usize) -> String {
        let mut op = binary.op.text().to_owned();
        if binary.return_bool {
            op.push_str(" bool");
        }
        let matching = &binary.matching;
        if matching.on || !matching.labels.is_empty() || !matching.group("").is_empty() {
            let word = if matching.on { "on" } else { "ignoring" };
            op.push_str(&format!(" {word} ({}) {}", matching.labels.join(", "), matching.group(", ")));
        }
        let left = self.leg(binary, &binary.left, level + 1, false);
        let right = self.leg(binary, &binary.right, level + 1, true);
        op.push_str(matching.no_labels(&right));
        format!("{left}\n{}{op}\n{right}", indent(level))
    }

    /// One side of an operator, in parentheses if it would be read differently without them. Parts on one line bring
    /// their own.
    fn leg(&self, parent: &BinaryExpr, leg: &MetricExpr, level: usize, is_right: bool) -> String {
        let text = self.metric(leg, level);
        let MetricExpr::Binary(child) = leg else { return text };
        let (outer, inner) = (parent.op.precedence(), child.op.precedence());
        let right_associative = parent.op == super::ast::BinOp::Pow;
        let misread = inner < outer || inner == outer && is_right != right_associative;
        if !misread || self.fits(&leg.to_string()) {
            return text;
        }
        format!("{}(\n{}\n{})", indent(level), self.metric(leg, level + 1), indent(level))
    }

    fn label_replace(&self, replace: &LabelReplace, level: usize) -> String {
        let texts = [&replace.dst, &replace.replacement, &replace.src, &replace.regex];
        let texts = texts.into_iter().map(|text| indent(level + 1) + &quote(text));
        let arguments: Vec<String> =
            [self.metric(&replace.expr, level + 1)].into_iter().chain(texts).collect();
        self.call("label_replace", &arguments, level)
    }
}

/// True while everything so far stands on the first line.
fn lines_are_one(first: &str, together: &str) -> bool {
    first == together
}

fn grouping_text(grouping: &Grouping) -> String {
    format!(" {} ({})", if grouping.without { "without" } else { "by" }, grouping.labels.join(", "))
}

fn unwrap_lines(unwrap: &Unwrap, level: usize) -> String {
    let mut lines = vec![format!("{}| unwrap {}", indent(level), unwrap.head())];
    lines.extend(unwrap.filters.iter().map(|filter| format!("{}| {filter}", indent(level))));
    lines.join("\n")
}
