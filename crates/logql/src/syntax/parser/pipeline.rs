//! The grammar of pipelines: line filters, parsers, label filters and formatters.

use kenning_query::Diagnostic;

use super::super::ast::{
    CompareOp, Conversion, Extraction, LabelFilter, LabelFormat, LabelSource, LineFilter, LineOp,
    LineOperand, MatchOp, NamedMatcher, Stage, StageKind, Unwrap,
};
use super::super::lexer::Tok;
use super::{Parsed, Parser};
use crate::pattern::Pattern;
use kenning_gotext::float;

impl Parser {
    /// Stages up to the first token that starts none. `| unwrap` belongs to the range around the pipeline.
    pub(super) fn pipeline(&mut self) -> Parsed<Vec<Stage>> {
        let mut stages = Vec::new();
        loop {
            let start = self.span();
            let kind = if line_op(self.peek()).is_some() {
                StageKind::LineFilters(self.line_filters()?)
            } else if self.is_sym("|") && *self.peek_nth(1) != Tok::Sym("unwrap") {
                self.at += 1;
                self.piped_stage()?
            } else {
                return Ok(stages);
            };
            stages.push(Stage { kind, span: self.span_from(start) });
        }
    }

    fn line_filters(&mut self) -> Parsed<Vec<LineFilter>> {
        let mut filters = Vec::new();
        while let Some(op) = line_op(self.peek()) {
            self.at += 1;
            let mut operands = vec![self.line_operand()?];
            while self.eat("or") {
                operands.push(self.line_operand()?);
            }
            if op.is_positive() {
                filters.push(LineFilter { op, operands });
            } else {
                // "Not (a or b)" is "not a and not b".
                filters
                    .extend(operands.into_iter().map(|operand| LineFilter { op, operands: vec![operand] }));
            }
        }
        Ok(filters)
    }

    fn line_operand(&mut self) -> Parsed<LineOperand> {
        if *self.peek() == Tok::Func("ip") {
            self.at += 1;
            return Ok(LineOperand::Ip(self.parenthesized_string()?));
        }
        self.string(&["STRING", "ip"]).map(LineOperand::Text)
    }

    fn parenthesized_string(&mut self) -> Parsed<String> {
        self.expect("(")?;
        let text = self.string(&["STRING"])?;
        self.expect(")")?;
        Ok(text)
    }

    fn piped_stage(&mut self) -> Parsed<StageKind> {
        let keyword = match *self.peek() {
            Tok::Sym(keyword) => keyword,
            Tok::Ident(_) => return self.label_filter_stage(),
            _ => return Err(self.unexpected(&[])),
        };
        if keyword == "(" {
            return self.label_filter_stage();
        }
        self.at += 1;
        match keyword {
            "json" => self.extractions(false).map(StageKind::Json),
            "logfmt" => self.logfmt(),
            "regexp" => self.regexp(),
            "pattern" => self.pattern(),
            "unpack" => Ok(StageKind::Unpack),
            "line_format" => self.string(&["STRING"]).map(StageKind::LineFormat),
            "label_format" => self.label_formats().map(StageKind::LabelFormat),
            "decolorize" => Ok(StageKind::Decolorize),
            "drop" => self.named_matchers().map(StageKind::Drop),
            "keep" => self.named_matchers().map(StageKind::Keep),
            _ => {
                self.at -= 1;
                Err(self.unexpected(&[]))
            }
        }
    }

    fn logfmt(&mut self) -> Parsed<StageKind> {
        let (mut strict, mut keep_empty) = (false, false);
        while let Tok::Flag(flag) = *self.peek() {
            self.at += 1;
            strict |= flag == "--strict";
            keep_empty |= flag == "--keep-empty";
        }
        Ok(StageKind::Logfmt { strict, keep_empty, fields: self.extractions(false)? })
    }

    /// `a, b="c"`; none at all unless `required`.
    fn extractions(&mut self, required: bool) -> Parsed<Vec<Extraction>> {
        let mut list = Vec::new();
        while required || !list.is_empty() || matches!(self.peek(), Tok::Ident(_)) {
            let label = self.ident(&["IDENTIFIER"])?;
            let expression = if self.eat("=") { self.string(&["STRING"])? } else { label.clone() };
            list.push(Extraction { label, expression });
            if !self.eat(",") {
                break;
            }
        }
        Ok(list)
    }

    fn regexp(&mut self) -> Parsed<StageKind> {
        let span = self.span();
        let text = self.string(&["STRING"])?;
        check_regexp(&text)
            .map_err(|reason| Diagnostic::error(span, format!("invalid regexp parser: {reason}")))?;
        Ok(StageKind::Regexp(text))
    }

    fn pattern(&mut self) -> Parsed<StageKind> {
        let span = self.span();
        let text = self.string(&["STRING"])?;
        Pattern::for_parser(&text)
            .map_err(|reason| Diagnostic::error(span, format!("invalid pattern parser: {reason}")))?;
        Ok(StageKind::Pattern(text))
    }

    fn label_formats(&mut self) -> Parsed<Vec<LabelFormat>> {
        let mut list = Vec::new();
        loop {
            let name = self.ident(&["IDENTIFIER"])?;
            self.expect("=")?;
            let value = match self.peek() {
                Tok::Ident(_) => LabelSource::Rename(self.ident(&[])?),
                _ => LabelSource::Template(self.string(&["IDENTIFIER", "STRING"])?),
            };
            list.push(LabelFormat { name, value });
            if !self.eat(",") {
                return Ok(list);
            }
        }
    }

    fn named_matchers(&mut self) -> Parsed<Vec<NamedMatcher>> {
        let mut list = Vec::new();
        loop {
            let compared = matches!(self.peek_nth(1), Tok::Sym("=" | "!=" | "=~" | "!~"));
            list.push(if compared {
                NamedMatcher::Matcher(self.matcher(&["IDENTIFIER"])?)
            } else {
                NamedMatcher::Name(self.ident(&["IDENTIFIER"])?)
            });
            if !self.eat(",") {
                return Ok(list);
            }
        }
    }

    /// `| unwrap conversion(label) | filter ...`, the bar not yet read.
    pub(super) fn unwrap(&mut self) -> Parsed<Option<Unwrap>> {
        if !(self.is_sym("|") && *self.peek_nth(1) == Tok::Sym("unwrap")) {
            return Ok(None);
        }
        self.at += 2;
        let conversion = match self.peek() {
            Tok::Func("bytes") => Conversion::Bytes,
            Tok::Func("duration") => Conversion::Duration,
            Tok::Func("duration_seconds") => Conversion::DurationSeconds,
            _ => Conversion::Float,
        };
        let label = if conversion == Conversion::Float {
            self.ident(&["IDENTIFIER", "BYTES_CONV", "DURATION_CONV", "DURATION_SECONDS_CONV"])?
        } else {
            self.at += 1;
            self.expect("(")?;
            let label = self.ident(&["IDENTIFIER"])?;
            self.expect(")")?;
            label
        };
        let mut filters = Vec::new();
        while self.eat("|") {
            if !matches!(self.peek(), Tok::Ident(_) | Tok::Sym("(")) {
                return Err(self.unexpected(&["IDENTIFIER", "("]));
            }
            filters.push(self.label_filter(Binding::Open)?);
        }
        Ok(Some(Unwrap { label, conversion, filters }))
    }

    fn label_filter_stage(&mut self) -> Parsed<StageKind> {
        self.label_filter(Binding::Open).map(StageKind::LabelFilter)
    }

    /// A chain of filters. A comma or nothing between two filters means "and" and binds as loosely as the operator
    /// before it allows: yacc shifts where the grammar gives no precedence.
    fn label_filter(&mut self, outer: Binding) -> Parsed<LabelFilter> {
        self.nested(|parser| {
            let mut left = parser.one_label_filter()?;
            let depth = parser.depth;
            loop {
                let (inner, is_or) = match parser.peek() {
                    Tok::Sym("or") if outer < Binding::Or => (Binding::Or, true),
                    Tok::Sym("and") if outer < Binding::And => (Binding::And, false),
                    Tok::Sym("," | "(") | Tok::Ident(_) => (Binding::Open, false),
                    _ => break,
                };
                if !matches!(parser.peek(), Tok::Sym("(") | Tok::Ident(_)) {
                    parser.at += 1;
                }
                let right = Box::new(parser.label_filter(inner)?);
                left = match is_or {
                    true => LabelFilter::Or(Box::new(left), right),
                    false => LabelFilter::And(Box::new(left), right),
                };
                parser.grow()?;
            }
            parser.depth = depth;
            Ok(left)
        })
    }

    fn one_label_filter(&mut self) -> Parsed<LabelFilter> {
        if self.eat("(") {
            let filter = self.label_filter(Binding::Open)?;
            self.close()?;
            return Ok(filter);
        }
        let start = self.span();
        let name = self.ident(&["IDENTIFIER", "("])?;
        let Tok::Sym(symbol) = *self.peek() else { return Err(self.unexpected(&[])) };
        let (text_op, compare) = match symbol {
            "=" => (Some(MatchOp::Eq), Some(CompareOp::Eq)),
            "!=" => (Some(MatchOp::Ne), Some(CompareOp::Ne)),
            "=~" => (Some(MatchOp::Re), None),
            "!~" => (Some(MatchOp::Nre), None),
            "==" => (None, Some(CompareOp::Eq)),
            ">" => (None, Some(CompareOp::Gt)),
            ">=" => (None, Some(CompareOp::Ge)),
            "<" => (None, Some(CompareOp::Lt)),
            "<=" => (None, Some(CompareOp::Le)),
            _ => return Err(self.unexpected(&[])),
        };
        self.at += 1;
        match (self.peek().clone(), text_op, compare) {
            (Tok::Str(value), Some(op), _) => {
                self.at += 1;
                self.new_matcher(start, name, op, value).map(LabelFilter::Text)
            }
            (Tok::Func("ip"), Some(op @ (MatchOp::Eq | MatchOp::Ne)), _) => {
                self.at += 1;
                Ok(LabelFilter::Ip { name, negated: op == MatchOp::Ne, range: self.parenthesized_string()? })
            }
            (_, _, Some(op)) => self.numeric_filter(name, op),
            _ => Err(self.unexpected(if text_op.is_some() { &["STRING"] } else { &[] })),
        }
    }

    fn numeric_filter(&mut self, name: String, op: CompareOp) -> Parsed<LabelFilter> {
        let span = self.span();
        let negative = self.is_sym("-");
        if negative || self.is_sym("+") {
            self.at += 1;
            if !matches!(self.peek(), Tok::Number(_)) {
                return Err(self.unexpected(&["NUMBER"]));
            }
        }
        let filter = match self.peek() {
            Tok::Duration(nanos) => LabelFilter::Duration { name, op, nanos: *nanos },
            Tok::Bytes(bytes) => LabelFilter::Bytes { name, op, bytes: *bytes },
            Tok::Number(text) => {
                let value = float::parse(text).map_err(|error| {
                    Diagnostic::error(span, format!("unable to parse literal as a float: {error}"))
                })?;
                LabelFilter::Number { name, op, value: if negative { -value } else { value } }
            }
            _ => return Err(self.unexpected(&[])),
        };
        self.at += 1;
        Ok(filter)
    }
}

/// How tightly the operator to the left of a label filter holds it.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Binding {
    Open,
    Or,
    And,
}

fn line_op(tok: &Tok) -> Option<LineOp> {
    Some(match tok {
        Tok::Sym("|=") => LineOp::Contains,
        Tok::Sym("!=") => LineOp::NotContains,
        Tok::Sym("|~") => LineOp::Matches,
        Tok::Sym("!~") => LineOp::NotMatches,
        Tok::Sym("|>") => LineOp::Pattern,
        Tok::Sym("!>") => LineOp::NotPattern,
        _ => return None,
    })
}

/// The rules of the regexp parser: named groups, each name once.
fn check_regexp(text: &str) -> Result<(), String> {
    let regex =
        kenning_regex::compile(text, kenning_regex::Limits::default()).map_err(|error| error.to_string())?;
    if let Some(name) = repeated_name(text) {
        return Err(format!("duplicate extracted label name '{name}'"));
    }
    if regex.capture_names().flatten().next().is_none() {
        return Err("at least one named capture must be supplied".to_owned());
    }
    Ok(())
}

/// The name of a group that a regular expression has twice.
fn repeated_name(regex: &str) -> Option<&str> {
    let mut seen: Vec<&str> = Vec::new();
    for part in regex.split("(?").skip(1) {
        let name = part.trim_start_matches('P').strip_prefix('<').and_then(|name| name.split_once('>'));
        let Some((name, _)) = name else { continue };
        if seen.contains(&name) {
            return Some(name);
        }
        seen.push(name);
    }
    None
}
