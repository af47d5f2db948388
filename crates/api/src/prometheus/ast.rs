//! The tree of a query as `/api/v1/parse_query` shows it. Definition: the API description's examples and what
//! Prometheus's own UI reads.

use kenning_promql::{
    At, Binary, Cardinality, DurationExpr, DurationOp, DurationSpec, Expr, Extension, Matcher, NumberLiteral,
    Subquery, ValueType, VectorSelector,
};

use crate::json::Json;

/// Writes a tree.
pub(super) fn write(json: &mut Json, expr: &Expr) {
    match expr {
        Expr::Binary(binary) => write_binary(json, binary),
        Expr::Selector(selector) => json.object(|json| {
            json.key("type").text("vectorSelector");
            write_selector(json, selector);
        }),
        Expr::Matrix(matrix) => json.object(|json| {
            json.key("type").text("matrixSelector");
            write_duration(json, "range", "rangeExpr", Some(&matrix.range));
            write_selector(json, &matrix.selector);
        }),
        Expr::Subquery(subquery) => write_subquery(json, subquery),
        Expr::Number(literal) => json.object(|json| {
            json.key("type").text("numberLiteral");
            json.key("val").text(&number(literal.value));
        }),
        Expr::String(literal) => json.object(|json| {
            json.key("type").text("stringLiteral");
            json.key("val").text(&literal.value);
        }),
        Expr::Paren(paren) => json.object(|json| {
            json.key("type").text("parenExpr");
            write(json.key("expr"), &paren.inner);
        }),
        Expr::Unary(unary) => json.object(|json| {
            json.key("type").text("unaryExpr");
            json.key("op").text(if unary.negative { "-" } else { "+" });
            write(json.key("expr"), &unary.operand);
        }),
        Expr::Aggregate(aggregate) => json.object(|json| {
            json.key("type").text("aggregation");
            json.key("op").text(aggregate.op.as_str());
            write(json.key("expr"), &aggregate.operand);
            match &aggregate.param {
                Some(param) => write(json.key("param"), param),
                None => json.key("param").raw("null"),
            }
            json.key("grouping").texts(&aggregate.grouping.labels);
            json.key("without").bool(aggregate.grouping.without);
        }),
        Expr::Call(call) => json.object(|json| {
            json.key("type").text("call");
            json.key("func").object(|json| {
                json.key("name").text(call.function.name);
                json.key("argTypes").texts(call.function.args.iter().map(|kind| kind.as_str()));
                json.key("variadic").int(i64::from(call.function.variadic));
                json.key("returnType").text(call.function.returns.as_str());
            });
            json.key("args").array(|json| call.args.iter().for_each(|arg| write(json, arg)));
        }),
    }
}

/// The start of a chain of operators comes first in the tree and last here, and chains may be long: they are walked,
/// not descended.
fn write_binary(json: &mut Json, binary: &Binary) {
    json.object(|json| {
        json.key("type").text("binaryExpr");
        json.key("op").text(binary.op.as_str());
        write(json.key("lhs"), &binary.left);
        write(json.key("rhs"), &binary.right);
        let is_vector = |side: &Expr| side.value_type() == ValueType::Vector;
        if is_vector(&binary.left) && is_vector(&binary.right) {
            json.key("matching").object(|json| write_matching(json, binary));
        } else {
            json.key("matching").raw("null");
        }
        json.key("bool").bool(binary.returns_bool);
    });
}

fn write_matching(json: &mut Json, binary: &Binary) {
    let matching = &binary.matching;
    json.key("card").text(match matching.cardinality {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    });
    json.key("labels").texts(&matching.labels);
    json.key("on").bool(matching.on);
    json.key("include").texts(&matching.include);
    json.key("fillValues").object(|json| {
        for (side, fill) in [("lhs", matching.fill_left), ("rhs", matching.fill_right)] {
            match fill {
                Some(value) => json.key(side).number(value),
                None => json.key(side).raw("null"),
            }
        }
    });
}

/// Everything of a selector but the node's type.
fn write_selector(json: &mut Json, selector: &VectorSelector) {
    json.key("name").text(&selector.name);
    write_duration(json, "offset", "offsetExpr", Some(&selector.offset));
    json.key("matchers")
        .array(|json| selector.matchers.iter().for_each(|matcher| write_matcher(json, matcher)));
    write_at(json, selector.at);
    json.key("anchored").bool(selector.extension == Some(Extension::Anchored));
    json.key("smoothed").bool(selector.extension == Some(Extension::Smoothed));
}

fn write_matcher(json: &mut Json, matcher: &Matcher) {
    json.object(|json| {
        json.key("name").text(&matcher.name);
        json.key("value").text(&matcher.value);
        json.key("type").text(matcher.op.as_str());
    });
}

fn write_subquery(json: &mut Json, subquery: &Subquery) {
    json.object(|json| {
        json.key("type").text("subquery");
        write(json.key("expr"), &subquery.operand);
        write_duration(json, "range", "rangeExpr", Some(&subquery.range));
        write_duration(json, "offset", "offsetExpr", Some(&subquery.offset));
        write_duration(json, "step", "stepExpr", subquery.step.as_ref());
        write_at(json, subquery.at);
    });
}

fn write_at(json: &mut Json, at: Option<At>) {
    let (timestamp, border) = match at {
        Some(At::Time(time)) => (Some(time.0), None),
        Some(At::Start) => (None, Some("start")),
        Some(At::End) => (None, Some("end")),
        None => (None, None),
    };
    match timestamp {
        Some(ms) => json.key("timestamp").int(ms),
        None => json.key("timestamp").raw("null"),
    }
    match border {
        Some(border) => json.key("startOrEnd").text(border),
        None => json.key("startOrEnd").raw("null"),
    }
}

/// Milliseconds under `key` and arithmetic under `expression`: one of them is empty.
fn write_duration(json: &mut Json, key: &str, expression: &str, spec: Option<&DurationSpec>) {
    let (ms, arithmetic) = match spec {
        None => (0, None),
        Some(DurationSpec::Literal(ms)) => (*ms, None),
        Some(DurationSpec::Expr(arithmetic)) => (0, Some(arithmetic)),
    };
    json.key(key).int(ms);
    match arithmetic {
        Some(arithmetic) => write_arithmetic(json.key(expression), arithmetic, false),
        None => json.key(expression).raw("null"),
    }
}

fn write_arithmetic(json: &mut Json, expr: &DurationExpr, wrapped: bool) {
    match expr {
        // Of a literal in parentheses Prometheus makes a sum without a left side.
        DurationExpr::Paren(inner, _) if matches!(**inner, DurationExpr::Number(_)) => {
            write_operation(json, "+", None, Some(inner), true);
        }
        DurationExpr::Paren(inner, _) => write_arithmetic(json, inner, true),
        DurationExpr::Number(NumberLiteral { value, is_duration, .. }) => json.object(|json| {
            json.key("type").text("numberLiteral");
            json.key("val").text(&number(*value));
            json.key("duration").bool(*is_duration);
        }),
        DurationExpr::Step(_) => write_operation(json, "step", None, None, wrapped),
        DurationExpr::Range(_) => write_operation(json, "range", None, None, wrapped),
        DurationExpr::Negate(inner, _) => write_operation(json, "-", None, Some(inner), wrapped),
        DurationExpr::Binary(op, left, right) => {
            let op = match op {
                DurationOp::Add => "+",
                DurationOp::Sub => "-",
                DurationOp::Mul => "*",
                DurationOp::Div => "/",
                DurationOp::Mod => "%",
                DurationOp::Pow => "^",
            };
            write_operation(json, op, Some(left), Some(right), wrapped);
        }
        DurationExpr::Extreme { max, left, right, .. } => {
            write_operation(json, if *max { "max_of" } else { "min_of" }, Some(left), Some(right), wrapped);
        }
    }
}

fn write_operation(
    json: &mut Json,
    op: &str,
    left: Option<&DurationExpr>,
    right: Option<&DurationExpr>,
    wrapped: bool,
) {
    json.object(|json| {
        json.key("type").text("durationExpr");
        json.key("op").text(op);
        for (side, expr) in [("lhs", left), ("rhs", right)] {
            match expr {
                Some(expr) => write_arithmetic(json.key(side), expr, false),
                None => json.key(side).raw("null"),
            }
        }
        json.key("wrapped").bool(wrapped);
    });
}

/// All digits, no exponent.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(query: &str, pointer: &str, expect: Value) {
        let mut json = Json::new();
        write(&mut json, &kenning_promql::parse(query).expect(query));
        let tree: Value = serde_json::from_slice(&json.finish()).expect("it is JSON");
        assert_eq!(tree.pointer(pointer), Some(&expect), "{query}: {tree:#}");
    }

    #[test]
    fn nodes_have_the_shapes_that_clients_read() {
        check("1e3", "", json!({"type": "numberLiteral", "val": "1000"}));
        check("-foo", "/op", json!("-"));
        check(
            "foo{a!~\"b\"} offset 5m",
            "",
            json!({
                "type": "vectorSelector", "name": "foo", "offset": 300_000, "offsetExpr": null,
                "matchers": [
                    {"name": "a", "type": "!~", "value": "b"},
                    {"name": "__name__", "type": "=", "value": "foo"},
                ],
                "timestamp": null, "startOrEnd": null, "anchored": false, "smoothed": false,
            }),
        );
        check("foo @ start()", "/startOrEnd", json!("start"));
        check("foo @ 1.5", "/timestamp", json!(1500));
        check(
            "rate(foo[5m])",
            "/func",
            json!({
                "name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector",
            }),
        );
        check("sum by (a, b) (foo)", "/grouping", json!(["a", "b"]));
        check("topk(5, foo)", "/param/val", json!("5"));
        check(
            "foo + on(a) group_left(b) bar",
            "/matching",
            json!({
                "card": "many-to-one", "labels": ["a"], "on": true, "include": ["b"],
                "fillValues": {"lhs": null, "rhs": null},
            }),
        );
        check("foo > bool 1", "/matching", Value::Null);
        check("foo > bool 1", "/bool", json!(true));
        check("foo[5m:1m]", "/step", json!(60_000));
        check("foo[(5m)]", "/rangeExpr/op", json!("+"));
        check("foo[(5m)]", "/rangeExpr/wrapped", json!(true));
        check(
            "foo[(2*5m)]",
            "/rangeExpr",
            json!({
                "type": "durationExpr", "op": "*", "wrapped": true,
                "lhs": {"type": "numberLiteral", "val": "2", "duration": false},
                "rhs": {"type": "numberLiteral", "val": "300", "duration": true},
            }),
        );
    }
}
