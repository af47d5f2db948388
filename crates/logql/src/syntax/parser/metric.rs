//! The grammar of metric queries: aggregations, binary operators, literals.

use kenning_query::{Diagnostic, SourceSpan};

use super::super::ast::{
    BinOp, BinaryExpr, Cardinality, Expr, Grouping, LabelReplace, LogExpr, LogRange, Matching, MetricExpr,
    RangeAggregation, RangeOp, VectorAggregation, VectorOp,
};
use super::super::lexer::Tok;
use super::{Parsed, Parser};
use kenning_gotext::float;

impl Parser {
    /// An expression whose operators bind tighter than `floor`.
    pub(super) fn expr(&mut self, floor: u8) -> Parsed<Expr> {
        self.nested(|parser| {
            let start = parser.span();
            let mut left = parser.operand()?;
            let depth = parser.depth;
            while let Some(op) = parser.bin_op().filter(|op| op.precedence() > floor) {
                parser.at += 1;
                let (matching, return_bool) = parser.modifiers()?;
                // The right operand of the right-associative operator may hold the same operator again.
                let right = parser.expr(op.precedence() - u8::from(op == BinOp::Pow))?;
                left = parser.binary(op, matching, return_bool, left, right, start);
                parser.grow()?;
            }
            parser.depth = depth;
            Ok(left)
        })
    }

    fn bin_op(&self) -> Option<BinOp> {
        match self.peek() {
            Tok::Sym(text) => BinOp::from_text(text),
            _ => None,
        }
    }

    fn operand(&mut self) -> Parsed<Expr> {
        match self.peek().clone() {
            Tok::Sym("{") => self.log_query().map(Expr::Log),
            Tok::Sym("(") => {
                self.at += 1;
                let inner = self.expr(0)?;
                self.close()?;
                Ok(inner)
            }
            Tok::Sym("label_replace") => self.label_replace().map(Expr::Metric),
            Tok::Func("vector") => self.vector_literal().map(Expr::Metric),
            Tok::Func(name) => self.aggregation(name).map(Expr::Metric),
            Tok::Number(_) | Tok::Sym("+" | "-") => self.literal().map(Expr::Metric),
            _ => Err(self.unexpected(&[])),
        }
    }

    /// A log query, which cannot unwrap anything.
    fn log_query(&mut self) -> Parsed<LogExpr> {
        let log = self.log_expr()?;
        if self.is_sym("|") {
            self.at += 1;
            return Err(self.unexpected(&[]));
        }
        Ok(log)
    }

    /// The parenthesis behind an expression, where operators might follow too.
    pub(super) fn close(&mut self) -> Parsed<()> {
        if self.eat(")") { Ok(()) } else { Err(self.unexpected(&[])) }
    }

    fn literal(&mut self) -> Parsed<MetricExpr> {
        let span = self.span();
        let negative = self.is_sym("-");
        if negative || self.is_sym("+") {
            self.at += 1;
        }
        let Tok::Number(text) = self.peek().clone() else { return Err(self.unexpected(&["NUMBER"])) };
        self.at += 1;
        let value = self.number(span, &text, "unable to parse literal as a float");
        Ok(MetricExpr::Literal(if negative { -value } else { value }))
    }

    fn number(&mut self, span: SourceSpan, text: &str, complaint: &str) -> f64 {
        float::parse(text).unwrap_or_else(|error| {
            self.problem(span, format!("{complaint}: {error}"));
            f64::NAN
        })
    }

    fn vector_literal(&mut self) -> Parsed<MetricExpr> {
        self.at += 1;
        self.expect("(")?;
        let span = self.span();
        let Tok::Number(text) = self.peek().clone() else { return Err(self.unexpected(&["NUMBER"])) };
        self.at += 1;
        self.expect(")")?;
        Ok(MetricExpr::VectorLiteral(self.number(span, &text, "unable to parse vectorExpr as a float")))
    }

    fn aggregation(&mut self, name: &str) -> Parsed<MetricExpr> {
        if let Some(op) = RangeOp::from_name(name) {
            return self.range_aggregation(op);
        }
        match VectorOp::from_name(name) {
            Some(op) => self.vector_aggregation(op),
            None => Err(self.unexpected(&[])),
        }
    }

    /// `NUMBER ,` in front of what is aggregated.
    fn parameter(&mut self) -> Option<String> {
        match (self.peek().clone(), self.peek_nth(1)) {
            (Tok::Number(text), Tok::Sym(",")) => {
                self.at += 2;
                Some(text)
            }
            _ => None,
        }
    }

    /// The same in front of a range, where a number can be nothing else.
    fn range_parameter(&mut self) -> Parsed<Option<String>> {
        match self.peek().clone() {
            Tok::Number(text) => {
                self.at += 1;
                self.expect(",")?;
                Ok(Some(text))
            }
            Tok::Sym("{" | "(") => Ok(None),
            _ => Err(self.unexpected(&["NUMBER", "{", "("])),
        }
    }

    fn range_aggregation(&mut self, op: RangeOp) -> Parsed<MetricExpr> {
        let start = self.span();
        self.at += 1;
        self.expect("(")?;
        let param_text = self.range_parameter()?;
        let range = self.log_range()?;
        self.expect(")")?;
        let grouping = self.grouping()?;
        let span = self.span_from(start);
        let param = self.quantile(op, param_text, span);
        if grouping.is_some() && !op.allows_grouping() {
            self.problem(span, format!("grouping not allowed for {} aggregation", op.name()));
        }
        if range.unwrap.is_some() && !op.allows_unwrap() {
            self.problem(span, format!("invalid aggregation {} with unwrap", op.name()));
        }
        if range.unwrap.is_none() && !op.allows_lines() {
            self.problem(span, format!("invalid aggregation {} without unwrap", op.name()));
        }
        Ok(MetricExpr::Range(Box::new(RangeAggregation { op, param, range, grouping, span })))
    }

    fn quantile(&mut self, op: RangeOp, text: Option<String>, span: SourceSpan) -> Option<f64> {
        match (op == RangeOp::QuantileOverTime, text) {
            (true, Some(text)) => {
                let complaint = format!("invalid parameter for operation {}", op.name());
                Some(self.number(span, &text, &complaint))
            }
            (true, None) => {
                self.problem(span, format!("parameter required for operation {}", op.name()));
                None
            }
            (false, Some(text)) => {
                self.problem(span, format!("parameter {text} not supported for operation {}", op.name()));
                None
            }
            (false, None) => None,
        }
    }

    /// Lines and their window. The window may stand in front of the pipeline; parentheses may be around all of it, or
    /// around the lines alone.
    fn log_range(&mut self) -> Parsed<LogRange> {
        if !self.is_sym("(") {
            if !self.is_sym("{") {
                return Err(self.unexpected(&["{", "("]));
            }
            let lines = self.lines()?;
            return self.windowed(lines, &["RANGE", "|"]);
        }
        self.nested(|parser| {
            parser.at += 1;
            if parser.is_sym("(") {
                let range = parser.log_range()?;
                parser.expect(")")?;
                return Ok(range);
            }
            let lines = parser.lines()?;
            if matches!(parser.peek(), Tok::Range(_)) || !parser.is_sym(")") {
                let range = parser.windowed(lines, &["RANGE", ")", "|"])?;
                parser.expect(")")?;
                return Ok(range);
            }
            parser.at += 1;
            parser.windowed_outside(lines)
        })
    }

    /// `selector pipeline | unwrap label`, everything behind the selector optional.
    fn lines(&mut self) -> Parsed<LogRange> {
        if !self.is_sym("{") {
            return Err(self.unexpected(&["{", "("]));
        }
        let log = self.log_expr()?;
        Ok(LogRange { log, interval: 0, offset: 0, unwrap: self.unwrap()? })
    }

    /// The window, and the pipeline behind it if there was none before. `behind_unwrap` is what may follow an unwrapped
    /// label.
    fn windowed(&mut self, mut range: LogRange, behind_unwrap: &[&str]) -> Parsed<LogRange> {
        if !self.window(&mut range)? {
            return Err(self.unexpected(if range.unwrap.is_some() { behind_unwrap } else { &[] }));
        }
        if range.log.stages.is_empty() && range.unwrap.is_none() {
            range.log = self.rest_of(range.log)?;
            range.unwrap = self.unwrap()?;
        }
        Ok(range)
    }

    /// The window behind the parentheses around the lines; only an unwrapped label may follow it.
    fn windowed_outside(&mut self, mut range: LogRange) -> Parsed<LogRange> {
        if !self.window(&mut range)? {
            return Err(self.unexpected(&["RANGE"]));
        }
        if range.log.stages.is_empty() && range.unwrap.is_none() {
            range.unwrap = self.unwrap()?;
            if range.unwrap.is_none() && self.eat("|") {
                return Err(self.unexpected(&["unwrap"]));
            }
        }
        Ok(range)
    }

    /// The pipeline behind the window.
    fn rest_of(&mut self, log: LogExpr) -> Parsed<LogExpr> {
        let start = log.span;
        let stages = self.pipeline()?;
        Ok(LogExpr { stages, span: self.span_from(start), ..log })
    }

    /// `[5m] offset 1h`; false when there is none.
    fn window(&mut self, range: &mut LogRange) -> Parsed<bool> {
        let Tok::Range(interval) = *self.peek() else { return Ok(false) };
        self.at += 1;
        range.interval = interval;
        if self.eat("offset") {
            let Tok::Duration(offset) = *self.peek() else { return Err(self.unexpected(&["DURATION"])) };
            self.at += 1;
            range.offset = offset;
        }
        Ok(true)
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = self.is_sym("without");
        if !without && !self.is_sym("by") {
            return Ok(None);
        }
        self.at += 1;
        self.expect("(")?;
        Ok(Some(Grouping { without, labels: self.label_list()? }))
    }

    /// `a, b)`, the opening parenthesis already read.
    fn label_list(&mut self) -> Parsed<Vec<String>> {
        let mut labels = Vec::new();
        if self.eat(")") {
            return Ok(labels);
        }
        loop {
            labels.push(self.ident(if labels.is_empty() {
                &["IDENTIFIER", ")"]
            } else {
                &["IDENTIFIER"]
            })?);
            if self.eat(")") {
                return Ok(labels);
            }
            if !self.eat(",") {
                return Err(self.unexpected(&[",", ")"]));
            }
        }
    }

    fn vector_aggregation(&mut self, op: VectorOp) -> Parsed<MetricExpr> {
        let start = self.span();
        self.at += 1;
        let before = self.grouping()?;
        self.expect("(")?;
        let param = self.parameter();
        let expr = self.metric_argument()?;
        self.close()?;
        let grouping = match before {
            Some(grouping) => Some(grouping),
            None => self.grouping()?,
        };
        let span = self.span_from(start);
        let k = self.how_many(op, param, span);
        if op == VectorOp::ApproxTopk && grouping.is_some() {
            self.problem(span, format!("grouping not allowed for {} aggregation", op.name()));
        }
        let grouping = grouping.unwrap_or_default();
        if matches!(op, VectorOp::Sort | VectorOp::SortDesc) && !grouping.labels.is_empty() {
            self.problem(span, "sort and sort_desc doesn't allow grouping by ");
        }
        Ok(MetricExpr::Vector(Box::new(VectorAggregation { op, k, expr, grouping, span })))
    }

    /// A metric expression; a log query in its place is refused at the token behind it, as Loki's grammar does.
    fn metric_argument(&mut self) -> Parsed<MetricExpr> {
        match self.expr(0)? {
            Expr::Metric(metric) => Ok(metric),
            Expr::Log(_) => Err(self
                .unexpected(&[])
                .with_hint("turn the lines into numbers first, for example with count_over_time({...}[5m])")),
        }
    }

    fn how_many(&mut self, op: VectorOp, param: Option<String>, span: SourceSpan) -> Option<usize> {
        let name = op.name();
        match (op.takes_k(), param) {
            (true, None) => self.problem(span, format!("parameter required for operation {name}")),
            (false, Some(text)) => {
                self.problem(span, format!("unsupported parameter for operation {name}({text},"));
            }
            (true, Some(text)) => match text.parse::<i64>() {
                Err(_) => self.problem(span, format!("invalid parameter {name}({text},")),
                Ok(k) if k <= 0 => {
                    self.problem(span, format!("invalid parameter (must be greater than 0) {name}({text}"));
                }
                Ok(k) => return usize::try_from(k).ok(),
            },
            (false, None) => {}
        }
        None
    }

    fn label_replace(&mut self) -> Parsed<MetricExpr> {
        let start = self.span();
        self.at += 1;
        self.expect("(")?;
        let expr = self.metric_argument()?;
        let mut texts = Vec::new();
        for index in 0..4 {
            // Operators might follow the expression too.
            if !self.eat(",") {
                return Err(self.unexpected(if index == 0 { &[] } else { &[","] }));
            }
            texts.push(self.string(&["STRING"])?);
        }
        self.expect(")")?;
        let span = self.span_from(start);
        let mut texts = texts.into_iter();
        let mut next = || texts.next().unwrap_or_default();
        let (dst, replacement, src, regex) = (next(), next(), next(), next());
        if let Err(error) = kenning_regex::translate(&format!("^(?:{regex})$")) {
            self.problem(span, format!("invalid regex in label_replace: {error}"));
        }
        Ok(MetricExpr::LabelReplace(Box::new(LabelReplace { expr, dst, replacement, src, regex, span })))
    }

    /// `bool on (a) group_left (b)`
    fn modifiers(&mut self) -> Parsed<(Matching, bool)> {
        let return_bool = self.eat("bool");
        let mut matching = Matching { on: self.is_sym("on"), ..Matching::default() };
        if !matching.on && !self.is_sym("ignoring") {
            return Ok((matching, return_bool));
        }
        self.at += 1;
        self.expect("(")?;
        matching.labels = self.label_list()?;
        matching.card = match self.peek() {
            Tok::Sym("group_left") => Cardinality::ManyToOne,
            Tok::Sym("group_right") => Cardinality::OneToMany,
            _ => return Ok((matching, return_bool)),
        };
        self.at += 1;
        // A parenthesis here never opens the right operand.
        if self.eat("(") {
            matching.include = self.label_list()?;
        }
        Ok((matching, return_bool))
    }

    fn binary(
        &mut self,
        op: BinOp,
        matching: Matching,
        return_bool: bool,
        left: Expr,
        right: Expr,
        start: SourceSpan,
    ) -> Expr {
        let span = self.span_from(start);
        let left = self.leg(op, "left", left, span);
        let right = self.leg(op, "right", right, span);
        match (&left, &right) {
            (MetricExpr::Literal(left), MetricExpr::Literal(right)) if !op.is_set() => {
                return Expr::Metric(MetricExpr::Literal(crate::eval::fold(op, *left, *right)));
            }
            _ => {}
        }
        Expr::Metric(MetricExpr::Binary(Box::new(BinaryExpr {
            op,
            matching,
            return_bool,
            left,
            right,
            span,
        })))
    }

    /// One side of an operator: no log query, and no literal beside `and`, `or` and `unless`.
    fn leg(&mut self, op: BinOp, side: &str, leg: Expr, span: SourceSpan) -> MetricExpr {
        match leg {
            Expr::Log(log) => {
                let kind = if log.stages.is_empty() { "MatchersExpr" } else { "PipelineExpr" };
                let message = format!(
                    "unexpected type for {side} leg of binary operation ({}): *syntax.{kind}",
                    op.text()
                );
                self.problems.push((span, Diagnostic::error(log.span, message)));
                MetricExpr::Literal(f64::NAN)
            }
            Expr::Metric(MetricExpr::Literal(value)) if op.is_set() => {
                self.problem(
                    span,
                    format!(
                        "unexpected literal for {side} leg of logical/set binary operation ({}): {}",
                        op.text(),
                        float::fixed(value)
                    ),
                );
                MetricExpr::Literal(value)
            }
            Expr::Metric(metric) => metric,
        }
    }
}
