//! Tables of single stages: filters on labels, addresses, `drop` and `keep`, unwrapping, expressions of parsers.

use std::collections::BTreeMap;

use kenning_model::{
    Batch, BatchId, LabelSet, LogBatch, LogRow, Nanos, Severity, SpanId, Store, TenantId, TraceId, Write,
};
use kenning_query::{MemoryStore, QueryContext};
use serde_json::{Value as Json, json as object};

use super::{Tally, constant_text, items, json, labels_of, run, stage, text};
use crate::pattern::Pattern;
use crate::pipeline::Pipeline;
use crate::syntax::ast::{
    CompareOp, Extraction, LabelFilter, MatchOp, Matcher, NamedMatcher, Stage, StageKind,
};
use crate::{Value, instant};

fn matcher(call: &Json) -> Matcher {
    let (name, value) = (constant_text(&call["args"][1]), constant_text(&call["args"][2]));
    let op = match text(&call["args"][0]["_id"]) {
        "labels.MatchEqual" => MatchOp::Eq,
        "labels.MatchNotEqual" => MatchOp::Ne,
        "labels.MatchRegexp" => MatchOp::Re,
        "labels.MatchNotRegexp" => MatchOp::Nre,
        other => panic!("{other}"),
    };
    let pattern =
        matches!(op, MatchOp::Re | MatchOp::Nre).then(|| kenning_model::Pattern::whole(&value).unwrap());
    Matcher { name, op, value, pattern, span: kenning_query::SourceSpan::default() }
}

fn compare_op(json: &Json) -> CompareOp {
    match text(&json["_id"]) {
        "LabelFilterEqual" => CompareOp::Eq,
        "LabelFilterNotEqual" => CompareOp::Ne,
        "LabelFilterGreaterThan" => CompareOp::Gt,
        "LabelFilterGreaterThanOrEqual" => CompareOp::Ge,
        "LabelFilterLesserThan" => CompareOp::Lt,
        "LabelFilterLesserThanOrEqual" => CompareOp::Le,
        other => panic!("{other}"),
    }
}

/// The filter that a Go constructor makes.
fn filter(call: &Json) -> LabelFilter {
    let args = &call["args"];
    let both = || (Box::new(filter(&args[0])), Box::new(filter(&args[1])));
    let (op, name) = (|| compare_op(&args[0]), || constant_text(&args[1]));
    match text(&call["_call"]) {
        "NewAndLabelFilter" => {
            let (left, right) = both();
            LabelFilter::And(left, right)
        }
        "NewOrLabelFilter" => {
            let (left, right) = both();
            LabelFilter::Or(left, right)
        }
        "NewStringLabelFilter" => LabelFilter::Text(matcher(&args[0])),
        "NewNumericLabelFilter" => {
            LabelFilter::Number { name: name(), op: op(), value: args[2].as_f64().unwrap() }
        }
        "NewDurationLabelFilter" => {
            LabelFilter::Duration { name: name(), op: op(), nanos: args[2].as_i64().unwrap() }
        }
        "NewBytesLabelFilter" => {
            LabelFilter::Bytes { name: name(), op: op(), bytes: args[2].as_u64().unwrap() }
        }
        other => panic!("{other}"),
    }
}

type Kept = Option<BTreeMap<String, String>>;

fn labels_after(kind: StageKind, labels: &Json, metadata: &Json) -> Kept {
    run(&[stage(kind)], "", labels, metadata, 0).map(|(_, labels)| labels)
}

/// Labels as they are when a line is kept, without those whose value is empty.
fn wanted(labels: &Json) -> BTreeMap<String, String> {
    let mut labels = labels_of(labels);
    labels.retain(|_, value| !value.is_empty());
    labels
}

#[test]
fn labels_are_filtered_as_by_loki() {
    let Some(tables) = json("stages/filters.json") else { return };
    let mut tally = Tally::new("label filters", &[]);
    for case in items(&tables["label_filter_test.go:TestBinary_Filter"]) {
        let got = labels_after(StageKind::LabelFilter(filter(&case["f"])), &case["lbs"], &Json::Null);
        let want = (case["want"] == true).then(|| wanted(&case["wantLbs"]));
        tally.equal(&case["f"].to_string(), got, want);
    }
    for case in items(&tables["label_filter_test.go:TestBytes_Filter"]) {
        let bytes = case["expectedBytes"].as_u64().unwrap();
        let equal = LabelFilter::Bytes { name: "bar".into(), op: CompareOp::Eq, bytes };
        let got = labels_after(StageKind::LabelFilter(equal), &object!({"bar": case["label"]}), &Json::Null);
        let want = (case["want"] == true).then(|| wanted(&object!({"bar": case["wantLabel"]})));
        tally.equal(text(&case["label"]), got, want);
    }
    for case in items(&tables["label_filter_test.go:TestErrorFiltering"]) {
        let error = object!({"__error__": constant_text(&case["err"])});
        let got = labels_after(StageKind::LabelFilter(filter(&case["f"])), &case["lbs"], &error);
        let want = (case["want"] == true).then(|| wanted(&case["wantLbs"]));
        tally.equal(&case["f"].to_string(), got, want);
    }
    for case in items(&tables["label_filter_test.go:TestStringLabelFilter"]) {
        let kept =
            labels_after(StageKind::LabelFilter(filter(&case["filter"])), &case["labels"], &Json::Null);
        tally.equal(text(&case["name"]), kept.is_some(), case["shouldMatch"] == true);
    }
    tally.settle();
}

#[test]
fn addresses_are_filtered_as_by_loki() {
    let Some(tables) = json("stages/filters.json") else { return };
    let mut tally = Tally::new("address filters", &[]);
    // Whether the stage is refused, else whether the line is kept.
    let outcome = |kind: &str, line: &str, labels: &Json| -> Option<bool> {
        let query = format!("{{a=\"b\"}} {kind}");
        let Ok(crate::Expr::Log(log)) = crate::parse(&query) else { panic!("{query}") };
        Pipeline::new(&log.stages).ok().map(|_| run(&log.stages, line, labels, &Json::Null, 0).is_some())
    };
    let want = |case: &Json| (case["fail"] != true).then_some(case["expectedMatch"] == true);
    for case in items(&tables["ip_test.go:Test_IPLabelFilterTy"]) {
        let op = if case["ty"]["_id"] == "LabelFilterEqual" { "=" } else { "!=" };
        let label = text(&case["label"]);
        let kind = format!("| {label}{op}ip({})", case["pat"]);
        tally.equal(text(&case["name"]), outcome(&kind, "", &object!({ label: case["val"] })), want(case));
    }
    for case in items(&tables["ip_test.go:Test_IPLineFilterTy"]) {
        let op = match text(&case["ty"]["_id"]) {
            "LineMatchEqual" => "|=",
            "LineMatchNotEqual" => "!=",
            "LineMatchRegexp" => "|~",
            _ => "!~",
        };
        let kind = format!("{op} ip({})", case["pat"]);
        tally.equal(text(&case["name"]), outcome(&kind, text(&case["line"]), &Json::Null), want(case));
    }
    tally.settle();
}

fn named(list: &Json) -> Vec<NamedMatcher> {
    let one = |pair: &Json| match pair[0].is_null() {
        true => NamedMatcher::Name(constant_text(&pair[1])),
        false => NamedMatcher::Matcher(matcher(&pair[0])),
    };
    items(list).iter().map(one).collect()
}

/// The stages that Go constructors make. Keeping nothing by name is keeping everything, which no query can say.
fn stages(calls: &Json) -> Vec<Stage> {
    let logfmt = |args: &Json| StageKind::Logfmt {
        strict: args[0] == true,
        keep_empty: args[1] == true,
        fields: Vec::new(),
    };
    let one = |call: &Json| {
        let args = &call["args"];
        Some(stage(match text(&call["_call"]) {
            "NewLogfmtParser" => logfmt(args),
            "NewJSONParser" => StageKind::Json(Vec::new()),
            "NewDropLabels" => StageKind::Drop(named(&args[0])),
            "NewKeepLabels" if items(&args[0]).is_empty() => return None,
            "NewKeepLabels" => StageKind::Keep(named(&args[0])),
            other => panic!("{other}"),
        }))
    };
    items(calls).iter().filter_map(one).collect()
}

#[test]
fn labels_are_dropped_and_kept_as_by_loki() {
    let Some(tables) = json("stages/filters.json") else { return };
    let mut tally = Tally::new("drop and keep", &[]);
    for (table, list) in [
        ("drop_labels_test.go:Test_DropLabels", "dropLabels"),
        ("keep_labels_test.go:Test_KeepLabels", "keepLabels"),
    ] {
        for case in items(&tables[table]) {
            let mut metadata = BTreeMap::new();
            for (label, field) in [("__error__", "err"), ("__error_details__", "errDetails")] {
                if !case[field].is_null() {
                    metadata.insert(label, constant_text(&case[field]));
                }
            }
            let call = if list == "dropLabels" { "NewDropLabels" } else { "NewKeepLabels" };
            let stages = stages(&object!([{"_call": call, "args": [case[list]]}]));
            let got = run(&stages, "", &case["lbs"], &object!(metadata), 0).map(|(_, labels)| labels);
            tally.equal(text(&case["Name"]), got, Some(wanted(&case["want"])));
        }
    }
    for table in ["pipeline_test.go:TestDropLabelsPipeline", "pipeline_test.go:TestKeepLabelsPipeline"] {
        for case in items(&tables[table]) {
            for (index, line) in items(&case["lines"]).iter().enumerate() {
                let got = run(&stages(&case["stages"]), text(line), &Json::Null, &Json::Null, 0);
                let want = (text(&case["wantLine"][index]).to_owned(), labels_of(&case["wantLabels"][index]));
                tally.equal(&format!("{} {index}", text(&case["name"])), got, Some(want));
            }
        }
    }
    tally.settle();
}

fn store(labels: &LabelSet, metadata: &LabelSet, line: &str) -> MemoryStore {
    let (store, mut batch) = (MemoryStore::new(), LogBatch::default());
    let stream = batch.add_stream(labels.clone());
    batch.push(
        stream,
        LogRow {
            stream: labels,
            time: Nanos(50),
            severity: Severity::UNKNOWN,
            trace_id: TraceId::NONE,
            span_id: SpanId::NONE,
            line,
            metadata,
        },
    );
    let write = Write { id: BatchId(1), tenant: TenantId::default_tenant(), batch: Batch::Logs(batch) };
    store.write(&[write]).unwrap();
    store
}

#[test]
fn values_are_unwrapped_as_by_loki() {
    let Some(tables) = json("stages/filters.json") else { return };
    let mut tally = Tally::new("unwrap", &[]);
    for case in items(&tables["metrics_extraction_test.go:Test_labelSampleExtractor_Extract"]) {
        let args = &case["ex"]["args"][0]["args"];
        let label = match text(&args[1]["_id"]) {
            "ConvertFloat" => text(&args[0]).to_owned(),
            "ConvertDuration" => format!("duration({})", text(&args[0])),
            "ConvertBytes" => format!("bytes({})", text(&args[0])),
            other => panic!("{other}"),
        };
        let stages: String = stages(&args[5]).iter().map(|stage| format!("{stage} ")).collect();
        let groups: Vec<&str> = items(&args[2]).iter().map(text).collect();
        let word = if args[3] == true { "without" } else { "by" };
        let set = |json: &Json| LabelSet::from_pairs(labels_of(json));
        let (labels, metadata) = (set(&case["in"]), set(&case["structuredMetadata"]));
        let (name, value) = labels.iter().next().unwrap();
        let query = format!(
            "last_over_time({{{name}=\"{value}\"}} {stages}| unwrap {label}[1m]) {word} ({})",
            groups.join(",")
        );
        let store = store(&labels, &metadata, text(&case["line"]));
        let ctx = QueryContext::new(TenantId::default_tenant());
        let got = instant(&store, &ctx, &query, Nanos(100), 1, true).map(|answer| match answer.value {
            Value::Vector(vector) => vector.into_iter().map(|(labels, _, value)| (labels, value)).collect(),
            _ => Vec::new(),
        });
        let wanted = set(&case["wantLbs"]);
        let result = match got {
            Ok(got) if got == [(wanted.clone(), case["want"].as_f64().unwrap_or(0.0))] => Ok(()),
            Ok(got) => Err(format!("got {got:?}")),
            // The error of a sample fails the query and names the series.
            Err(error) if error.to_string().contains(&format!("'{}'", wanted.get("__error__"))) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        tally.add(text(&case["name"]), result);
    }
    tally.settle();
}

#[test]
fn expressions_of_parsers_are_read_as_by_loki() {
    let (Some(tables), Some(parsers)) = (json("stages/filters.json"), json("stages/parsers.json")) else {
        return;
    };
    // The table has lost the error of the empty expression.
    let mut tally = Tally::new("expressions", &["empty"]);
    let extraction = |expression: &str| vec![Extraction { label: "x".into(), expression: expression.into() }];
    let mut check = |name: &str, kind: StageKind, error: &Json| {
        let got = Pipeline::new(&[stage(kind)]).err().map(|error| error.message);
        let result = match (got, error.as_str()) {
            (None, None) => Ok(()),
            (Some(got), Some(want)) if got.contains(want) => Ok(()),
            (got, want) => Err(format!("got {got:?}, want {want:?}")),
        };
        tally.add(name, result);
    };
    for case in items(&tables["jsonexpr/jsonexpr_test.go:TestJSONExpressionParser"]) {
        check(text(&case["name"]), StageKind::Json(extraction(text(&case["expression"]))), &case["error"]);
    }
    for case in items(&parsers["TestJSONExpressionParserFailures"]) {
        let expression = text(&case["expression"]["args"][1]);
        check(text(&case["name"]), StageKind::Json(extraction(expression)), &case["error"]);
    }
    let logfmt = |fields| StageKind::Logfmt { strict: false, keep_empty: false, fields };
    for case in items(&tables["logfmt/logfmtexpr_test.go:TestLogfmtExpressionParser"]) {
        check(text(&case["name"]), logfmt(extraction(text(&case["expression"]))), &case["error"]);
    }
    for case in items(&parsers["TestNewRegexpParser"]) {
        let query = format!("{{a=\"b\"}} | regexp {}", case["re"]);
        tally.equal(text(&case["name"]), crate::parse(&query).is_err(), case["wantErr"] == true);
    }
    tally.settle();
}

#[test]
fn patterns_are_cut_as_by_loki() {
    let Some(tables) = json("stages/filters.json") else { return };
    let mut tally = Tally::new("pattern parts", &[]);
    for case in
        items(&tables["pattern/parser_test.go:Test_Parse"]).iter().filter(|case| case["err"].is_null())
    {
        let part = |part: &Json| match text(&part["_call"]) {
            "capture" => format!("<{}>", text(&part["args"][0])),
            _ => text(&part["args"][0]).to_owned(),
        };
        let want: Vec<String> = items(&case["expected"]).iter().map(part).collect();
        tally.equal(text(&case["input"]), Pattern::read(text(&case["input"])).texts(), want);
    }
    tally.settle();
}

#[test]
fn texts_are_cut_and_aligned_as_by_loki() {
    let Some(tables) = json("stages/formatters.json") else { return };
    let mut tally = Tally::new("template functions", &[]);
    let mut check = |call: String, case: &Json| {
        let format = StageKind::LineFormat(format!("{{{{ {call} (index . \"s\") }}}}"));
        let got = run(&[stage(format)], "", &object!({"s": case["s"]}), &Json::Null, 0).map(|(line, _)| line);
        tally.equal(&format!("{call} {}", case["s"]), got, Some(text(&case["want"]).to_owned()));
    };
    for (table, function) in
        [("Test_trunc", "trunc"), ("Test_AlignLeft", "alignLeft"), ("Test_AlignRight", "alignRight")]
    {
        items(&tables[table]).iter().for_each(|case| check(format!("{function} {}", case["c"]), case));
    }
    for case in items(&tables["Test_substring"]) {
        check(format!("substr {} {}", case["start"], case["end"]), case);
    }
    for case in items(&tables["TestDecolorizer"]) {
        let got = run(&[stage(StageKind::Decolorize)], text(&case["src"]), &Json::Null, &Json::Null, 0);
        tally.equal(text(&case["name"]), got.map(|(line, _)| line), Some(text(&case["expected"]).to_owned()));
    }
    for case in items(&tables["TestLineFormatter_RequiredLabelNames"]) {
        let template = crate::template::Template::parse("line", text(&case["fmt"])).unwrap();
        let want: Vec<String> = items(&case["want"]).iter().map(|name| text(name).to_owned()).collect();
        tally.equal(text(&case["fmt"]), template.fields(), want);
    }
    tally.settle();
}
