//! The language of `promqltest` files: `load`, `clear`, `eval instant`, `eval range` and what is expected of them.

mod compare;
mod load;

use kenning_model::{BatchId, Millis, Store, TenantId, Write};
use kenning_promql::{Answer, At, Expr, Grid, Options, SequenceValue, Value, instant_with, range_with};
use kenning_query::{MemoryStore, QueryContext, QueryError};
use regex::Regex;

use compare::Expected;

/// What became of one `eval`.
pub struct Outcome {
    place: String,
    query: String,
    problem: Option<String>,
}

impl Outcome {
    pub fn failure(&self) -> Option<(String, String, String)> {
        self.problem.as_ref().map(|problem| (self.place.clone(), self.query.clone(), problem.clone()))
    }
}

/// The instants an `eval` asks for.
#[derive(Clone, Copy)]
enum When {
    Instant(Millis),
    Range(Grid),
}

/// Conditions on errors, remarks and order.
#[derive(Default)]
struct Conditions {
    fail: Option<TextCondition>,
    warn: Vec<TextCondition>,
    info: Vec<TextCondition>,
    no_warn: bool,
    no_info: bool,
    ordered: bool,
    string: Option<String>,
    range_vector: Option<Grid>,
}

enum TextCondition {
    Any,
    Exactly(String),
    Matching(Regex),
}

impl TextCondition {
    fn parse(text: &str) -> Self {
        let text = text.trim();
        if let Some(message) = text.strip_prefix("msg:") {
            Self::Exactly(message.trim().to_owned())
        } else if let Some(pattern) = text.strip_prefix("regex:") {
            Self::Matching(Regex::new(pattern.trim()).expect("pattern of the test compiles"))
        } else {
            Self::Any
        }
    }

    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(message) => message == text,
            Self::Matching(pattern) => pattern.is_match(text),
        }
    }
}

/// Runs a file.
pub fn run(name: &str, text: &str) -> Vec<Outcome> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let options = Options {
        type_and_unit_labels: name == "type_and_unit",
        annotations_max: usize::MAX,
        ..Options::default()
    };
    let mut session = Session { store: MemoryStore::new(), next_batch: 1, options };
    let (mut outcomes, mut at) = (Vec::new(), 0);
    while let Some(line) = lines.get(at) {
        let block_len = lines[at + 1..].iter().take_while(|line| !line.is_empty()).count();
        let block = &lines[at + 1..at + 1 + block_len];
        if line.starts_with("load") {
            session.load(line, block);
            at += block_len;
        } else if *line == "clear" {
            session.store = MemoryStore::new();
        } else if line.starts_with("eval") {
            let (when, query) = parse_eval(line);
            let problem = session.eval(when, &query, line, block).err();
            outcomes.push(Outcome { place: format!("{name}:{}", at + 1), query, problem });
            at += block_len;
        } else {
            assert!(line.is_empty(), "{name}:{}: not a command: {line}", at + 1);
        }
        at += 1;
    }
    outcomes
}

/// Milliseconds of a duration or of a number of seconds, either with a sign.
pub fn parse_time(text: &str) -> i64 {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let ms = kenning_promql::parse_duration(text)
        .or_else(|_| text.parse::<f64>().map(|seconds| (seconds * 1000.0).round() as i64));
    sign * ms.unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn parse_eval(line: &str) -> (When, String) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let rest = |count: usize| {
        let mut rest = line;
        for _ in 0..count {
            rest = rest.trim_start().split_once(char::is_whitespace).map_or("", |(_, rest)| rest);
        }
        rest.trim().to_owned()
    };
    match words.as_slice() {
        [_, "instant", "at", time, ..] => (When::Instant(Millis(parse_time(time))), rest(4)),
        [_, "instant", ..] => (When::Instant(Millis(0)), rest(2)),
        [_, "range", "from", start, "to", end, "step", step, ..] => {
            (When::Range(grid(start, end, step)), rest(8))
        }
        _ => panic!("not an evaluation: {line}"),
    }
}

fn grid(start: &str, end: &str, step: &str) -> Grid {
    Grid { start: Millis(parse_time(start)), end: Millis(parse_time(end)), step_ms: parse_time(step) }
}

struct Session {
    store: MemoryStore,
    next_batch: u64,
    options: Options,
}

impl Session {
    fn load(&mut self, line: &str, block: &[&str]) {
        let (command, gap) = line.split_once(char::is_whitespace).expect("load has an interval");
        let gap = parse_time(gap.trim());
        let batch = load::batch(block, gap, command == "load_with_nhcb");
        let write = Write { id: BatchId(self.next_batch), tenant: TenantId::default_tenant(), batch };
        self.next_batch += 1;
        self.store.write(&[write]).expect("memory store takes writes");
    }

    fn ask(&self, when: When, query: &str) -> Result<Answer, QueryError> {
        let context = QueryContext::new(TenantId::default_tenant());
        match when {
            When::Instant(at) => instant_with(&self.store, &context, query, at, &self.options),
            When::Range(grid) => range_with(&self.store, &context, query, grid, &self.options),
        }
    }

    fn eval(&self, when: When, query: &str, command: &str, block: &[&str]) -> Result<(), String> {
        let (conditions, expected) = parse_expectations(command, block)?;
        let answer = match (self.ask(when, query), &conditions.fail) {
            (Err(error), Some(condition)) => {
                let message = error.to_string();
                return if condition.holds(&message) {
                    Ok(())
                } else {
                    Err(format!("other error: {message}"))
                };
            }
            (Err(error), None) => return Err(format!("error: {error}")),
            (Ok(_), Some(_)) => return Err("no error".into()),
            (Ok(answer), None) => answer,
        };
        check_remarks("warning", &answer.warnings, &conditions.warn, conditions.no_warn)?;
        check_remarks("info", &answer.infos, &conditions.info, conditions.no_info)?;
        match (when, &answer.value) {
            (_, Value::String(_, text)) => {
                return match &conditions.string {
                    Some(expected) if expected == text => Ok(()),
                    expected => Err(format!("expected text {expected:?}, got {text:?}")),
                };
            }
            (When::Range(grid), _) => return expected.check_matrix(&answer.value, grid),
            (When::Instant(at), Value::Matrix(_)) => {
                let grid = conditions.range_vector.unwrap_or(Grid { start: at, end: at, step_ms: 1 });
                return expected.check_matrix(&answer.value, grid);
            }
            (When::Instant(_), _) => expected.check_instant(&answer.value, conditions.ordered)?,
        }
        let When::Instant(at) = when else { return Ok(()) };
        self.check_as_range(query, at, &answer.value, &expected, conditions.ordered)?;
        self.check_pinned(query, at, &expected, conditions.ordered)
    }

    /// With every selector pinned to an instant, the query gives the same at any other.
    fn check_pinned(
        &self,
        query: &str,
        at: Millis,
        expected: &Expected,
        ordered: bool,
    ) -> Result<(), String> {
        let mut expr = kenning_promql::parse(query).map_err(|problems| format!("{problems:?}"))?;
        if !pin(&mut expr, at) {
            return Ok(());
        }
        let pinned = expr.to_string();
        let others = if at.0 == 0 { vec![-1000, 1000] } else { vec![-10 * at.0, 0, at.0 / 5, 10 * at.0] };
        for other in others.into_iter().map(Millis) {
            let context = |problem| format!("{pinned} at {other}: {problem}");
            let answer =
                self.ask(When::Instant(other), &pinned).map_err(|error| context(error.to_string()))?;
            expected.check_instant(&answer.value, ordered).map_err(context)?;
        }
        Ok(())
    }

    /// The middle of a range query around an instant gives what the instant gives.
    fn check_as_range(
        &self,
        query: &str,
        Millis(at): Millis,
        value: &Value,
        expected: &Expected,
        ordered: bool,
    ) -> Result<(), String> {
        let depends_on_range = Regex::new(r"\b(range|step|start|end)\s*\(").expect("pattern compiles");
        if ordered || depends_on_range.is_match(query) {
            return Ok(());
        }
        let grid = Grid { start: Millis(at - 60_000), end: Millis(at + 60_000), step_ms: 60_000 };
        let answer = self.ask(When::Range(grid), query).map_err(|error| format!("as range: {error}"))?;
        let middle = compare::at(&answer.value, Millis(at), matches!(value, Value::Scalar(..)));
        expected.check_instant(&middle, false).map_err(|problem| format!("as range: {problem}"))
    }
}

fn check_remarks(
    kind: &str,
    found: &[String],
    wanted: &[TextCondition],
    none_allowed: bool,
) -> Result<(), String> {
    if none_allowed && !found.is_empty() {
        return Err(format!("unexpected {kind}: {found:?}"));
    }
    if !wanted.is_empty() {
        if found.is_empty() {
            return Err(format!("no {kind}"));
        }
        if !found.iter().all(|text| wanted.iter().any(|condition| condition.holds(text))) {
            return Err(format!("other {kind}: {found:?}"));
        }
        if !wanted.iter().all(|condition| found.iter().any(|text| condition.holds(text))) {
            return Err(format!("missing {kind}, found only {found:?}"));
        }
    }
    Ok(())
}

fn parse_expectations(command: &str, block: &[&str]) -> Result<(Conditions, Expected), String> {
    let (mut conditions, mut expected) = (Conditions::default(), Expected::default());
    match command.split_whitespace().next() {
        Some("eval_fail") => conditions.fail = Some(TextCondition::Any),
        Some("eval_warn") => conditions.warn.push(TextCondition::Any),
        Some("eval_info") => conditions.info.push(TextCondition::Any),
        Some("eval_ordered") => conditions.ordered = true,
        _ => {}
    }
    for line in block {
        if let Some(expectation) = line.strip_prefix("expect ") {
            parse_expect(expectation.trim(), &mut conditions);
        } else if let Some(message) = line.strip_prefix("expected_fail_message") {
            conditions.fail = Some(TextCondition::Exactly(message.trim().to_owned()));
        } else if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
            conditions.fail = Some(TextCondition::parse(&format!("regex:{pattern}")));
        } else if let Some(number) = load::lone_number(line) {
            expected.scalar = Some(number);
        } else {
            let series =
                kenning_promql::parse_series_description(line).map_err(|e| format!("{line}: {e}"))?;
            let values = if series.values.is_empty() { vec![SequenceValue::Omitted] } else { series.values };
            expected.series.push((series.labels, values));
        }
    }
    Ok((conditions, expected))
}

fn parse_expect(text: &str, conditions: &mut Conditions) {
    let (kind, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    match kind {
        "fail" => conditions.fail = Some(TextCondition::parse(rest)),
        "warn" => conditions.warn.push(TextCondition::parse(rest)),
        "info" => conditions.info.push(TextCondition::parse(rest)),
        "no_warn" => conditions.no_warn = true,
        "no_info" => conditions.no_info = true,
        "ordered" => conditions.ordered = true,
        "string" => conditions.string = Some(rest.trim().trim_matches(['"', '`', '\'']).to_owned()),
        "range" => {
            let words: Vec<&str> = rest.split_whitespace().collect();
            let ["vector", "from", start, "to", end, "step", step] = words.as_slice() else {
                panic!("not an expectation: {text}");
            };
            conditions.range_vector = Some(grid(start, end, step));
        }
        other => panic!("not an expectation: {other}"),
    }
}

/// Functions whose result depends on the instant of evaluation, whatever their arguments.
const DEPEND_ON_INSTANT: &[&str] = &[
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "end",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
];

/// Puts `@` on every selector and subquery without one; those inside of a pinned subquery stay. False when the result
/// would still depend on the instant of evaluation.
fn pin(expr: &mut Expr, at: Millis) -> bool {
    let at_time = Some(At::Time(at));
    match expr {
        Expr::Number(_) | Expr::String(_) => true,
        Expr::Paren(paren) => pin(&mut paren.inner, at),
        Expr::Unary(unary) => pin(&mut unary.operand, at),
        Expr::Binary(binary) => {
            let left = pin(&mut binary.left, at);
            pin(&mut binary.right, at) && left
        }
        Expr::Aggregate(aggregate) => {
            let param = aggregate.param.as_mut().is_none_or(|param| pin(param, at));
            pin(&mut aggregate.operand, at) && param
        }
        Expr::Call(call) => {
            // The second argument of `info` only looks like a selector.
            let selectors = if call.function.name == "info" { 1 } else { call.args.len() };
            let args = call.args.iter_mut().take(selectors);
            let args = args.filter_map(|arg| (!pin(arg, at)).then_some(())).count() == 0;
            args && !DEPEND_ON_INSTANT.contains(&call.function.name)
        }
        Expr::Selector(selector) => {
            selector.at = selector.at.or(at_time);
            true
        }
        Expr::Matrix(matrix) => {
            matrix.selector.at = matrix.selector.at.or(at_time);
            true
        }
        Expr::Subquery(subquery) => {
            subquery.at = subquery.at.or(at_time);
            !depends_on_instant(&subquery.operand)
        }
    }
}

fn depends_on_instant(expr: &Expr) -> bool {
    let itself = matches!(expr, Expr::Call(call) if DEPEND_ON_INSTANT.contains(&call.function.name));
    itself || expr.children().into_iter().any(depends_on_instant)
}
