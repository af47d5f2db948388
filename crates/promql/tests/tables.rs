//! The tables of Prometheus's parser tests that compare more than verdicts: trees by field, series descriptions, the
//! grammar cases of its editor, and label patterns on label values.

#![expect(clippy::print_stderr, reason = "numbers and skipped corpora are for people to see")]

mod corpus;

use kenning_promql::{
    At, Binary, Cardinality, DurationExpr, DurationOp, DurationSpec, Expr, MatchOp, Matcher, Matching,
    SequenceValue, VectorSelector, parse, parse_series_description,
};
use kenning_query::SourceSpan;
use serde_json::{Value, json};

fn report(what: &str, total: usize, differences: &[String]) {
    differences.iter().take(40).for_each(|difference| eprintln!("{difference}"));
    eprintln!("{what}: {} of {total} as Prometheus", total - differences.len());
    assert!(differences.is_empty(), "{what}: {} differ", differences.len());
}

/// A tree in the shape of the table. Of the fields only those are compared that the table has.
fn tree(expr: &Expr) -> Value {
    let range =
        |span: SourceSpan| json!({"_type": "posrange.PositionRange", "Start": span.start, "End": span.end});
    match expr {
        Expr::Number(e) => json!({
            "_type": "NumberLiteral", "Val": number(e.value), "Duration": e.is_duration, "PosRange": range(e.span),
        }),
        Expr::String(e) => json!({"_type": "StringLiteral", "Val": e.value, "PosRange": range(e.span)}),
        Expr::Paren(e) => json!({"_type": "ParenExpr", "Expr": tree(&e.inner), "PosRange": range(e.span)}),
        Expr::Unary(e) => json!({
            "_type": "UnaryExpr", "Expr": tree(&e.operand), "StartPos": e.span.start,
            "Op": {"_id": if e.negative { "SUB" } else { "ADD" }},
        }),
        Expr::Binary(e) => binary(e),
        Expr::Aggregate(e) => json!({
            "_type": "AggregateExpr", "Op": {"_id": e.op.as_str().to_uppercase()}, "Expr": tree(&e.operand),
            "Param": e.param.as_ref().map(tree), "Grouping": e.grouping.labels, "Without": e.grouping.without,
            "PosRange": range(e.span),
        }),
        Expr::Call(e) => {
            let args: Vec<_> = e.args.iter().map(tree).collect();
            let args = if args.is_empty() { json!({"_type": "Expressions"}) } else { json!(args) };
            let function = json!({"_call": "MustGetFunction", "args": [e.function.name]});
            json!({"_type": "Call", "Func": function, "Args": args, "PosRange": range(e.span)})
        }
        Expr::Selector(e) => selector(e),
        Expr::Matrix(e) => {
            let mut tree = json!({
                "_type": "MatrixSelector", "VectorSelector": selector(&e.selector), "EndPos": e.span.end,
            });
            duration(&mut tree, "Range", "RangeExpr", Some(&e.range));
            tree
        }
        Expr::Subquery(e) => {
            let mut tree = json!({"_type": "SubqueryExpr", "Expr": tree(&e.operand), "EndPos": e.span.end});
            duration(&mut tree, "Range", "RangeExpr", Some(&e.range));
            duration(&mut tree, "Step", "StepExpr", e.step.as_ref());
            duration(&mut tree, "OriginalOffset", "OriginalOffsetExpr", Some(&e.offset));
            put_at(&mut tree, e.at);
            tree
        }
    }
}

fn number(value: f64) -> Value {
    match value {
        _ if value.is_nan() => json!("NaN"),
        _ if value.is_infinite() => json!(if value > 0.0 { "+Inf" } else { "-Inf" }),
        _ => json!(value),
    }
}

fn binary(e: &Binary) -> Value {
    use kenning_promql::BinaryOp as Op;
    let op = match e.op {
        Op::Add => "ADD",
        Op::Sub => "SUB",
        Op::Mul => "MUL",
        Op::Div => "DIV",
        Op::Mod => "MOD",
        Op::Pow => "POW",
        Op::Atan2 => "ATAN2",
        Op::Eq => "EQLC",
        Op::Ne => "NEQ",
        Op::Gt => "GTR",
        Op::Lt => "LSS",
        Op::Ge => "GTE",
        Op::Le => "LTE",
        Op::TrimUpper => "TRIM_UPPER",
        Op::TrimLower => "TRIM_LOWER",
        Op::And => "LAND",
        Op::Or => "LOR",
        Op::Unless => "LUNLESS",
    };
    json!({
        "_type": "BinaryExpr", "Op": {"_id": op}, "LHS": tree(&e.left), "RHS": tree(&e.right),
        "ReturnBool": e.returns_bool, "VectorMatching": matching(&e.matching),
    })
}

fn matching(e: &Matching) -> Value {
    let card = match e.cardinality {
        Cardinality::OneToOne => "CardOneToOne",
        Cardinality::ManyToOne => "CardManyToOne",
        Cardinality::OneToMany => "CardOneToMany",
        Cardinality::ManyToMany => "CardManyToMany",
    };
    json!({
        "_type": "VectorMatching", "Card": {"_id": card}, "MatchingLabels": e.labels, "On": e.on, "Include": e.include,
        "FillValues": {"LHS": e.fill_left, "RHS": e.fill_right},
    })
}

fn selector(e: &VectorSelector) -> Value {
    let matchers: Vec<_> = e.matchers.iter().map(matcher).collect();
    let mut tree = json!({
        "_type": "VectorSelector", "Name": e.name, "LabelMatchers": matchers,
        "PosRange": {"_type": "posrange.PositionRange", "Start": e.span.start, "End": e.span.end},
    });
    duration(&mut tree, "OriginalOffset", "OriginalOffsetExpr", Some(&e.offset));
    put_at(&mut tree, e.at);
    tree
}

fn matcher(e: &Matcher) -> Value {
    let op = match e.op {
        MatchOp::Eq => "labels.MatchEqual",
        MatchOp::Ne => "labels.MatchNotEqual",
        MatchOp::Re => "labels.MatchRegexp",
        MatchOp::NotRe => "labels.MatchNotRegexp",
    };
    let name = if e.name == "__name__" { json!({"_id": "model.MetricNameLabel"}) } else { json!(e.name) };
    json!({"_call": "MustLabelMatcher", "args": [{"_id": op}, name, e.value]})
}

fn put_at(tree: &mut Value, at: Option<At>) {
    match at {
        Some(At::Time(time)) => tree["Timestamp"] = json!({"_call": "makeInt64Pointer", "args": [time.0]}),
        Some(At::Start) => tree["StartOrEnd"] = json!({"_id": "START"}),
        Some(At::End) => tree["StartOrEnd"] = json!({"_id": "END"}),
        None => {}
    }
}

/// Nanoseconds under one key, or arithmetic under the other.
fn duration(tree: &mut Value, key: &str, expression: &str, spec: Option<&DurationSpec>) {
    match spec {
        None => {}
        Some(DurationSpec::Literal(ms)) => tree[key] = json!(ms * 1_000_000),
        Some(DurationSpec::Expr(expr)) => tree[expression] = arithmetic(expr, false),
    }
}

fn arithmetic(expr: &DurationExpr, wrapped: bool) -> Value {
    let node = |op: &str, left: Option<&DurationExpr>, right: Option<&DurationExpr>| {
        json!({
            "_type": "DurationExpr", "Op": {"_id": op}, "Wrapped": wrapped,
            "LHS": left.map(|e| arithmetic(e, false)), "RHS": right.map(|e| arithmetic(e, false)),
        })
    };
    match expr {
        // Of a literal in parentheses Prometheus makes a sum without a left side.
        DurationExpr::Paren(inner, _) => match &**inner {
            DurationExpr::Number(_) => json!({
                "_type": "DurationExpr", "Op": {"_id": "ADD"}, "Wrapped": true, "RHS": arithmetic(inner, false),
            }),
            inner => arithmetic(inner, true),
        },
        DurationExpr::Number(e) => json!({
            "_type": "NumberLiteral", "Val": number(e.value), "Duration": e.is_duration,
            "PosRange": {"_type": "posrange.PositionRange", "Start": e.span.start, "End": e.span.end},
        }),
        DurationExpr::Step(_) => node("STEP", None, None),
        DurationExpr::Range(_) => node("RANGE", None, None),
        DurationExpr::Negate(inner, _) => node("SUB", None, Some(inner)),
        DurationExpr::Binary(op, left, right) => {
            let op = match op {
                DurationOp::Add => "ADD",
                DurationOp::Sub => "SUB",
                DurationOp::Mul => "MUL",
                DurationOp::Div => "DIV",
                DurationOp::Mod => "MOD",
                DurationOp::Pow => "POW",
            };
            node(op, Some(left), Some(right))
        }
        DurationExpr::Extreme { max, left, right, .. } => {
            node(if *max { "MAX_OF" } else { "MIN_OF" }, Some(left), Some(right))
        }
    }
}

/// Where `found` lacks something that `expected` has. Places of arithmetic nodes are not kept, so they are not compared;
/// a literal of `null`, zero, false or nothing may be left out of the table.
fn lacks(expected: &Value, found: &Value, path: &str) -> Option<String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(_)) => expected.iter().find_map(|(key, value)| {
            let arithmetic = expected.get("_type") == Some(&json!("DurationExpr"));
            let place = arithmetic && matches!(key.as_str(), "StartPos" | "EndPos");
            if place { None } else { lacks(value, &found[key], &format!("{path}.{key}")) }
        }),
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            let pairs = expected.iter().zip(found).enumerate();
            pairs.into_iter().find_map(|(i, (e, f))| lacks(e, f, &format!("{path}[{i}]")))
        }
        (Value::Number(expected), Value::Number(found)) if expected.as_f64() == found.as_f64() => None,
        (Value::Number(expected), Value::Null) if expected.as_f64() == Some(0.0) => None,
        _ if expected == found => None,
        _ => Some(format!("{path}: {found} instead of {expected}")),
    }
}

#[test]
fn trees_are_those_of_prometheus() {
    let Some(folder) = corpus::folder("promql/parser") else { return };
    let (mut total, mut differences) = (0, Vec::new());
    for case in corpus::json(&folder, "parse_expr.json") {
        let (Some(input), expected) = (case["input"].as_str(), &case["expected_ast"]) else { continue };
        if expected.is_null() {
            continue;
        }
        total += 1;
        let problem = match parse(input) {
            Ok(expr) => lacks(expected, &tree(&expr), ""),
            Err(problems) => Some(format!("refused: {problems:?}")),
        };
        differences.extend(problem.map(|problem| format!("{input}\n   {problem}")));
    }
    report("trees", total, &differences);
}

/// The arguments that a sequence was made of: numbers, `none` for a gap, the stale marker.
fn same_sequence(expected: &Value, found: &[SequenceValue]) -> bool {
    let expected = expected["args"].as_array().map_or(&[][..], Vec::as_slice);
    expected.len() == found.len()
        && expected.iter().zip(found).all(|(expected, found)| match (expected, found) {
            (Value::Number(value), SequenceValue::Float(found)) => value.as_f64() == Some(*found),
            (Value::Object(_) | Value::String(_) | Value::Null, SequenceValue::Omitted) => true,
            (Value::Object(_) | Value::String(_), SequenceValue::Float(found)) => {
                found.is_nan() || found.is_infinite()
            }
            _ => false,
        })
}

#[test]
fn series_are_described_as_in_prometheus() {
    let Some(folder) = corpus::folder("promql/parser") else { return };
    let (mut total, mut differences) = (0, Vec::new());
    let suites = corpus::json(&folder, "series_descriptions.json");
    for case in suites.iter().flat_map(|suite| suite["cases"].as_array().into_iter().flatten()) {
        let Some(input) = case["input"].as_str().filter(|_| case["expected"].is_null()) else { continue };
        total += 1;
        let fails = case["fail"] == true || !case["expectedError"].is_null();
        let parsed = parse_series_description(input);
        let problem = match (&parsed, fails) {
            (Ok(found), true) => Some(format!("accepted as {found:?}")),
            (Err(error), false) => Some(format!("refused: {error}")),
            (Err(_), true) => None,
            (Ok(found), false) => {
                let labels: Vec<(String, String)> =
                    found.labels.iter().map(|(n, v)| (n.into(), v.into())).collect();
                let mut wanted: Vec<(String, String)> = case["expectedMetric"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| {
                        let name = if name.contains("labels.MetricName") { "__name__" } else { name };
                        (name.to_owned(), value.as_str().unwrap_or_default().to_owned())
                    })
                    .collect();
                wanted.sort();
                let same = labels == wanted && same_sequence(&case["expectedValues"], &found.values);
                (!same).then(|| format!("{found:?} instead of {case}"))
            }
        };
        differences.extend(problem.map(|problem| format!("{input}\n   {problem}")));
    }
    report("series descriptions", total, &differences);
}

/// The grammar of Prometheus's editor: what its tree has no error in parses, and what has one does not. Its grammar does not
/// know types or functions, so messages about these are no disagreement.
#[test]
fn the_editors_grammar_agrees() {
    let Some(folder) = corpus::folder("promql/parser") else { return };
    let text = std::fs::read_to_string(folder.join("expression.txt")).expect("corpus file is readable");
    let (mut total, mut differences) = (0, Vec::new());
    for case in format!("\n{text}").split("\n# ").skip(1) {
        let Some((head, tree)) = case.split_once("==>") else { continue };
        let Some((title, query)) = head.split_once('\n') else { continue };
        let query = query.trim();
        if query.is_empty() || !tree.contains("PromQL(") {
            continue;
        }
        total += 1;
        let is_good = !tree.contains('\u{26a0}');
        match parse(query) {
            Ok(expr) if !is_good => differences.push(format!("{title}: {query}\n   accepted as {expr}")),
            Err(problems) if is_good => {
                let semantic = ["expected type", "unknown function", "argument", "vector", "not allowed"];
                let message = &problems[0].message;
                if !semantic.iter().any(|word| message.contains(word)) {
                    differences.push(format!("{title}: {query}\n   refused: {message}"));
                }
            }
            _ => {}
        }
    }
    report("the editor's grammar", total, &differences);
}

/// Each pattern on each value: the ways around the pattern engine give what the engine gives.
#[test]
fn patterns_and_values() {
    let Some(folder) = corpus::folder("promql/labels") else { return };
    let text =
        std::fs::read_to_string(folder.join("regexes_and_values.json")).expect("corpus file is readable");
    let tables: Value = serde_json::from_str(&text).expect("corpus file is JSON");
    let texts = |key: &str| -> Vec<String> {
        let all = tables[key].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (patterns, values) = (texts("regexes"), texts("values"));
    let (mut total, mut differences) = (0, Vec::new());
    for pattern in &patterns {
        let whole = regex::Regex::new(&format!("^(?s:{pattern})$")).expect(pattern);
        let [is, is_not] =
            [MatchOp::Re, MatchOp::NotRe].map(|op| Matcher::new("a", op, pattern).expect(pattern));
        for value in &values {
            total += 1;
            let wanted = whole.is_match(value);
            if is.matches(value) != wanted || is_not.matches(value) == wanted {
                differences.push(format!("{pattern:?} on {value:?}: should be {wanted}"));
            }
        }
    }
    assert!(total > 100, "only {total} pairs");
    report("patterns on values", total, &differences);
}
