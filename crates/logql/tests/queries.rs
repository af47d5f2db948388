//! Log queries and the bounds of queries, end to end over the in-memory store; and hostile input.

use kenning_logql::{Entry, RangeParams, Value, categorized, instant, merged, parse, range, selector};
use kenning_model::{
    Batch, BatchId, LabelSet, LogBatch, LogRow, Nanos, Severity, SpanId, Store, TenantId, TraceId, Write,
};
use kenning_query::{LimitKind, MemoryStore, QueryContext, QueryError};
use proptest::prelude::*;

/// `(app, nanoseconds, severity, trace, metadata, line)`
type Row<'a> = (&'a str, i64, Severity, u8, &'a [(&'a str, &'a str)], &'a str);

const ROWS: &[Row<'_>] = &[
    ("api", 10, Severity::INFO, 0, &[], "GET /a 200"),
    ("api", 20, Severity::ERROR, 7, &[("user", "ada")], "GET /b 500"),
    ("api", 30, Severity::INFO, 7, &[], r#"{"status":200,"user":"bob"}"#),
    ("web", 20, Severity::UNKNOWN, 0, &[], "level=warn status=301"),
    ("web", 40, Severity::UNKNOWN, 0, &[], "level=info status=200"),
];

fn store(rows: &[Row<'_>]) -> MemoryStore {
    let store = MemoryStore::new();
    for (index, (app, time, severity, trace, metadata, line)) in rows.iter().enumerate() {
        let labels = LabelSet::from_pairs([("app", app)]);
        let mut batch = LogBatch::default();
        let stream = batch.add_stream(labels.clone());
        batch.push(
            stream,
            LogRow {
                stream: &labels,
                time: Nanos(*time),
                severity: *severity,
                trace_id: TraceId([*trace; 16]),
                span_id: SpanId::NONE,
                line,
                metadata: &LabelSet::from_pairs(metadata.iter().copied()),
            },
        );
        let write = Write {
            id: BatchId(index as u64 + 1),
            tenant: TenantId::default_tenant(),
            batch: Batch::Logs(batch),
        };
        store.write(&[write]).unwrap();
    }
    store
}

fn ctx() -> QueryContext {
    QueryContext::new(TenantId::default_tenant())
}

const PARAMS: RangeParams =
    RangeParams { start: Nanos(0), end: Nanos(100), step_ns: 10, limit: 100, forward: true, interval_ns: 0 };

fn lines(query: &str, params: &RangeParams) -> Vec<(i64, String, String)> {
    let answer = range(&store(ROWS), &ctx(), query, params).unwrap();
    let Value::Streams(streams) = answer.value else { panic!("no streams") };
    let show = |labels: &LabelSet| {
        labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
    };
    let mut out = Vec::new();
    for (labels, entries) in merged(streams, params.forward) {
        out.extend(entries.into_iter().map(|Entry { time, line, .. }| (time.0, show(&labels), line)));
    }
    out
}

fn check(query: &str, expect: &[(i64, &str, &str)]) {
    let got = lines(query, &PARAMS);
    let got: Vec<_> =
        got.iter().map(|(time, labels, line)| (*time, labels.as_str(), line.as_str())).collect();
    assert_eq!(got, expect, "{query}");
}

#[test]
fn lines_come_with_all_their_labels() {
    check(
        r#"{app="web"}"#,
        &[(20, "app=web", "level=warn status=301"), (40, "app=web", "level=info status=200")],
    );
    let trace = "07".repeat(16);
    check(
        r#"{app="api"} | detected_level="error""#,
        &[(20, &format!("app=api,detected_level=error,trace_id={trace},user=ada"), "GET /b 500")],
    );
    check(
        &format!(r#"{{app=~".+"}} | trace_id="{trace}" | json | user="bob" | keep user"#),
        &[(30, "user=bob", r#"{"status":200,"user":"bob"}"#)],
    );
    check(
        r#"{app="web"} | logfmt | status >= 300 | line_format "{{.level}} {{__line__ | len}}""#,
        &[(20, "app=web,level=warn,status=301", "warn 21")],
    );
}

#[test]
fn ranges_limits_and_directions() {
    let times = |query: &str, params: RangeParams| -> Vec<i64> {
        let mut times: Vec<i64> = lines(query, &params).into_iter().map(|(time, _, _)| time).collect();
        times.sort_unstable();
        times
    };
    let all = r#"{app=~".+"}"#;
    assert_eq!(times(all, RangeParams { start: Nanos(10), end: Nanos(40), ..PARAMS }), [10, 20, 20, 30]);
    assert_eq!(times(all, RangeParams { limit: 2, forward: false, ..PARAMS }), [30, 40]);
    assert_eq!(times(all, RangeParams { limit: 1, ..PARAMS }), [10]);
    assert_eq!(times(r#"{app=~".+"} | logfmt | status="200""#, RangeParams { limit: 1, ..PARAMS }), [40]);
    assert!(times(all, RangeParams { limit: 0, ..PARAMS }).is_empty());
    assert_eq!(times(all, RangeParams { interval_ns: 15, ..PARAMS }), [10, 30]);
    assert_eq!(times(all, RangeParams { interval_ns: 20, limit: 1, forward: false, ..PARAMS }), [40]);
}

#[test]
fn categories_are_told_apart() {
    let query = r#"{app="api"} |= "status" | json"#;
    let Value::Streams(streams) = range(&store(ROWS), &ctx(), query, &PARAMS).unwrap().value else {
        panic!()
    };
    let groups = categorized(streams, true);
    let (labels, entries) = &groups[0];
    assert_eq!(labels, &LabelSet::from_pairs([("app", "api")]));
    assert_eq!(entries[0].parsed, LabelSet::from_pairs([("status", "200"), ("user", "bob")]));
    let trace = "07".repeat(16);
    let metadata = LabelSet::from_pairs([("detected_level", "info"), ("trace_id", &trace)]);
    assert_eq!(entries[0].structured_metadata, metadata);
}

#[test]
fn levels_and_traces_are_labels_of_series_too() {
    let query = r#"sum by (detected_level) (count_over_time({app="api"}[1m]))"#;
    let Value::Vector(vector) = instant(&store(ROWS), &ctx(), query, Nanos(100), 0, true).unwrap().value
    else {
        panic!()
    };
    let counts: Vec<_> =
        vector.iter().map(|(labels, _, n)| (labels.get("detected_level").to_owned(), *n)).collect();
    assert_eq!(counts, [("error".to_owned(), 1.0), ("info".to_owned(), 2.0)]);
}

#[test]
fn bounds_name_themselves() {
    let limit = |change: fn(&mut QueryContext), query: &str| {
        let mut ctx = ctx();
        change(&mut ctx);
        match range(&store(ROWS), &ctx, query, &PARAMS) {
            Err(QueryError::Limit { kind, .. }) => Some(kind),
            _ => None,
        }
    };
    let count = r#"count_over_time({app=~".+"}[1m])"#;
    assert_eq!(limit(|ctx| ctx.limits.points_max = 5, count), Some(LimitKind::Points));
    assert_eq!(limit(|ctx| ctx.limits.series_max = 1, count), Some(LimitKind::Series));
    assert_eq!(limit(|ctx| ctx.limits.samples_max = 2, count), Some(LimitKind::Samples));
    assert_eq!(limit(|ctx| ctx.limits.memory_bytes_max = 100, count), Some(LimitKind::MemoryBytes));
    assert_eq!(limit(|ctx| ctx.limits.text_bytes_max = 5, count), Some(LimitKind::TextBytes));
    assert_eq!(
        limit(|ctx| ctx.limits.depth_max = 2, "sum(max(count_over_time({a=\"b\"}[1m])))"),
        Some(LimitKind::Depth)
    );
    let ctx = ctx();
    ctx.cancel.raise();
    assert!(matches!(range(&store(ROWS), &ctx, count, &PARAMS), Err(QueryError::Cancelled)));
    assert!(matches!(range(&store(ROWS), &ctx, "{app=\"api\"}", &PARAMS), Err(QueryError::Cancelled)));
}

#[test]
fn instant_queries_are_metrics() {
    let error = instant(&store(ROWS), &ctx(), r#"{app="api"}"#, Nanos(100), 10, true).unwrap_err();
    assert!(
        error.to_string().starts_with("log queries are not supported as an instant query type"),
        "{error}"
    );
    let bad = instant(
        &store(ROWS),
        &ctx(),
        r#"count_over_time({app="api"} | line_format "{{" [1m])"#,
        Nanos(100),
        10,
        true,
    );
    assert!(bad.unwrap_err().to_string().contains("unclosed action"));
}

#[test]
fn selectors_become_filters() {
    // Listings may look at every stream, queries may not.
    for good in [r#"{app="a", env!~"x.*"}"#, "{}", r#"{app=~".*"}"#] {
        assert!(selector(good).is_ok(), "{good}");
    }
    for bad in [r#"{app="a"} |= "x""#, "1", "{", r#"rate({app="a"}[1m])"#] {
        assert!(selector(bad).is_err(), "{bad}");
    }
}

#[test]
fn places_of_mistakes() {
    let check = |query: &str, expect: &str| {
        let errors = parse(query).unwrap_err();
        assert_eq!(errors[0].render(query), expect, "{query}");
    };
    check(
        r#"{app="a"} | foo"#,
        "1:16: syntax error: unexpected $end; \"foo\" is no stage; a label is compared, as in | foo=\"...\"",
    );
    check(
        "sum(\n  {app=\"a\"})",
        "2:12: syntax error: unexpected ); turn the lines into numbers first, for example with count_over_time({...}[5m])",
    );
    check(r#"topk(count_over_time({a="b"}[1m]))"#, "1:1: parameter required for operation topk");
    let two = parse(r#"topk(rate({a="b"}[1m]) by (c))"#).unwrap_err();
    assert_eq!(two.len(), 2);
}

#[test]
fn hostile_nesting_is_refused() {
    let deep = [
        "(".repeat(5_000) + "1" + &")".repeat(5_000),
        "1+".repeat(60_000) + "1",
        "1^".repeat(60_000) + "1",
        format!("{{a=\"b\"}} | {}", "(".repeat(60_000)),
        format!("{{a=\"b\"}} | x=\"1\"{}", " or y=\"2\"".repeat(10_000)),
        format!("{{a=\"b\"}} | x=\"1\"{}", " y=\"2\"".repeat(10_000)),
        "sum(".repeat(20_000),
        "count_over_time(".to_owned() + &"(".repeat(60_000),
    ];
    for query in deep {
        assert!(parse(&query).is_err(), "{:.40}", query);
    }
}

/// Pieces that make texts which are nearly queries.
const PIECES: &[&str] = &[
    "{",
    "}",
    "app",
    "=",
    "\"a\"",
    "=~",
    "!=",
    "|=",
    "|",
    "json",
    "logfmt",
    "unwrap",
    "line_format",
    "`{{.a}}`",
    "(",
    ")",
    "[5m]",
    "rate",
    "sum",
    "by",
    "topk",
    "5",
    "-",
    "+",
    "1.5",
    ",",
    "or",
    "and",
    "ip",
    "offset",
    "1h",
    "bool",
    "on",
    "group_left",
    "label_replace",
    "vector",
    "drop",
    "keep",
    "pattern",
    "\"<a>\"",
    "regexp",
    "\"(?P<x>.)\"",
    "==",
    ">",
    "5KB",
    "#",
    "\n",
    "é",
    "--strict",
    "quantile_over_time",
    "0.9",
];

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn near_queries_print_what_they_mean(pieces in proptest::collection::vec(0..PIECES.len(), 0..24)) {
        let text: Vec<&str> = pieces.iter().map(|piece| PIECES[*piece]).collect();
        if let Ok(expr) = parse(&text.join(" ")) {
            let printed = expr.to_string();
            let again = parse(&printed).map(|expr| expr.to_string());
            prop_assert_eq!(again, Ok(printed));
        }
    }

    #[test]
    fn queries_print_and_format_to_what_they_mean(query in generated::query()) {
        let Ok(expr) = parse(&query) else { return Err(TestCaseError::fail(format!("{query}: {:?}", parse(&query)))) };
        let printed = expr.to_string();
        let again = parse(&printed).map(|expr| expr.to_string());
        prop_assert_eq!(again, Ok(printed.clone()), "printed from {}", query);
        let formatted = kenning_logql::format(&expr);
        let meant = parse(&formatted).map(|expr| expr.to_string());
        prop_assert_eq!(meant, Ok(printed), "formatted from {}: {}", query, formatted);
    }

    #[test]
    fn any_line_runs_through_any_parser(line in "\\PC{0,80}|[{}\\[\\]\":,a-c0-9\\\\ =u]{0,60}") {
        let rows = [("api", 10, Severity::INFO, 0, &[] as &[_], line.as_str())];
        let store = store(&rows);
        for stage in [
            "json", "json a=\"b[0].c\"", "logfmt", "logfmt --strict", "logfmt a", "unpack", "pattern `<a>=<b>`",
            "regexp `(?P<a>\\\\w+)=(?P<b>.*)`", "decolorize", "a > 5", "a > 5s", "a > 5KB", "a = ip(`10.0.0.0/8`)",
            "line_format `{{ .a | fromJson }}{{ __line__ | title | b64enc | urlencode }}`",
        ] {
            let query = format!("{{app=\"api\"}} | json | logfmt | {stage}");
            prop_assert!(range(&store, &ctx(), &query, &PARAMS).is_ok(), "{}", query);
        }
    }

    #[test]
    fn any_template_is_read_or_refused(template in "[{}a-c.|()$:=\" 0-9%-]{0,40}") {
        let rows = [("api", 10, Severity::INFO, 0, &[] as &[_], "x")];
        let query = format!("{{app=\"api\"}} | line_format `{{{{{template}}}}}`");
        let _ = range(&store(&rows), &ctx(), &query, &PARAMS);
    }

    #[test]
    fn sums_counted_by_the_store_are_those_of_the_lines(
        rows in proptest::collection::vec((0usize..3, 0i64..120, 0u8..24, 0u8..3, 0usize..4, 0usize..4), 0..30),
        (op, filter, by) in (0usize..4, 0usize..4, 0usize..6),
        (interval, step, offset) in (1i64..40, 1i64..20, 0i64..20),
    ) {
        let apps = ["api", "web", "db"];
        let metadata: [&[(&str, &str)]; 4] =
            [&[], &[("user", "ada")], &[("app", "other")], &[("detected_level", "odd"), ("user", "")]];
        let texts = ["a", "", "bb a", "c"];
        let rows: Vec<Row<'_>> = rows
            .iter()
            .map(|(app, time, severity, trace, meta, line)| {
                (apps[*app], *time * 1_000_000, Severity(*severity), *trace, metadata[*meta], texts[*line])
            })
            .collect();
        let store = store(&rows);
        let op = ["count_over_time", "rate", "bytes_over_time", "bytes_rate"][op];
        let filter = ["", "|= `a`", "!= `c`", "|~ `b+` | drop __error__"][filter];
        let by = ["", "by (app)", "by (detected_level, app)", "by (user)", "by (trace_id)", "without (user)"][by];
        let window = format!("[{interval}ms] {}", if offset > 0 { format!("offset {offset}ms") } else { String::new() });
        let text = |stage: &str| format!("sum {by} ({op}({{app=~\".+\"}} {filter} {stage} {window}))");
        let params = RangeParams { start: Nanos(0), end: Nanos(100_000_000), step_ns: step * 1_000_000, ..PARAMS };
        let run = |stage: &str| range(&store, &ctx(), &text(stage), &params).unwrap().value;
        // Decolorizing changes nothing here but keeps the store from counting.
        prop_assert_eq!(run(""), run("| decolorize"), "{}", text(""));
        let at = |stage: &str| instant(&store, &ctx(), &text(stage), Nanos(50_000_000), 0, true).unwrap().value;
        prop_assert_eq!(at(""), at("| decolorize"), "{}", text(""));
    }

    #[test]
    fn fields_tested_by_the_store_are_those_of_the_parsers(
        rows in proptest::collection::vec((0usize..2, 0i64..120, 0usize..4, 0usize..FIELD_LINES.len()), 0..30),
        stages in proptest::collection::vec(0usize..FIELD_STAGES.len(), 0..3),
        (function, parser, by) in (0usize..8, 0usize..4, 0usize..5),
        (interval, step) in (1i64..60, 1i64..20),
    ) {
        let metadata: [&[(&str, &str)]; 4] =
            [&[], &[("status", "500")], &[("took", "3")], &[("__error__", "E"), ("user", "")]];
        let rows: Vec<Row<'_>> = rows
            .iter()
            .map(|(app, time, meta, line)| {
                (["api", "web"][*app], *time * 1_000_000, Severity::INFO, 0, metadata[*meta], FIELD_LINES[*line])
            })
            .collect();
        let store = store(&rows);
        let stages: String = stages.iter().map(|stage| FIELD_STAGES[*stage]).collect();
        let parser = ["| json", "| logfmt", "| logfmt --strict", "| logfmt --keep-empty"][parser];
        let by = ["by (status)", "by (app, user)", "by (nope)", "by ()", "by (a_b)"][by];
        let text = |first: &str| {
            let lines = format!("{{app=~\".+\"}} {first} {parser} {stages}");
            let window = format!("[{interval}ms]");
            match function {
                0 => format!("sum {by} (count_over_time({lines} {window}))"),
                1 => format!("sum {by} (bytes_rate({lines} {window}))"),
                2 => format!("quantile_over_time(0.7, {lines} | unwrap took {window}) {by}"),
                3 => format!("sum_over_time({lines} | unwrap took | __error__=\"\" {window}) {by}"),
                4 => format!("max_over_time({lines} | unwrap status {window}) {by}"),
                5 => format!("sum {by} (sum_over_time({lines} | unwrap took {window}))"),
                6 => format!("sum {by} (rate({lines} | unwrap took {window}))"),
                _ => format!("avg_over_time({lines} | unwrap took {window}) {by}"),
            }
        };
        let params = RangeParams { start: Nanos(0), end: Nanos(100_000_000), step_ns: step * 1_000_000, ..PARAMS };
        // Decolorizing changes nothing here but keeps the store from looking at fields.
        let run = |first: &str| range(&store, &ctx(), &text(first), &params).map(|answer| answer.value).ok();
        prop_assert_eq!(run(""), run("| decolorize"), "{}", text(""));
        let at = |first: &str| instant(&store, &ctx(), &text(first), Nanos(60_000_000), 0, true).map(|a| a.value).ok();
        prop_assert_eq!(at(""), at("| decolorize"), "{}", text(""));
    }
}

/// Plain lines, and lines that are not.
const FIELD_LINES: &[&str] = &[
    r#"{"status":500,"took":1.5,"user":"ada"}"#,
    r#"{"status":"500","took":2,"user":"bob","a":{"b":"x"}}"#,
    r#"{"status":404,"took":0.25,"app":"inner"}"#,
    r#"{"status":"odd","took":"slow"}"#,
    r#"{"status":500,"took":8"#,
    r#"{"status":500,"status":404,"took":16}"#,
    r#"{"a":{"b":7},"a_b":8,"took":-0.5}"#,
    r#"{"status":null,"took":32,"user":""}"#,
    r#"{"took":"12ms","user":"x\u0041"}"#,
    "status=500 took=1.5 user=ada",
    "status=404 took=2 user=\"b b\" a.b=7",
    "status=500 took=4 status=404",
    "status= took=1 user",
    "no fields",
    "",
];

const FIELD_STAGES: &[&str] = &[
    r#"| status="500" "#,
    "| status=500 ",
    "| status>=404 ",
    r#"| status!="404" "#,
    r#"| user=~"a.*|" "#,
    r#"| user!~"b.*" "#,
    r#"| took>1 or status="404" "#,
    r#"| took<2, nope="" "#,
    r#"| __error__="" "#,
    r#"|= "took" "#,
    "| drop __error__, __error_details__ ",
    r#"| user="" "#,
];

/// Queries that are right.
mod generated {
    use proptest::prelude::*;
    use proptest::sample::select;

    fn text() -> impl Strategy<Value = String> + Clone {
        let texts = [
            r#""x""#,
            "`a\"b`",
            r#""\n\u00e9\"""#,
            r#""""#,
            "`\\d+`",
            r#""\\d""#,
            "\"\u{1f44c}\"",
            "\"10.0.0.1\"",
        ];
        select(texts.to_vec()).prop_map(str::to_owned)
    }

    fn regex() -> impl Strategy<Value = String> + Clone {
        let texts =
            [r#""a|b""#, "`\\w+`", r#"".*foo""#, r#""(?i)x{2}""#, r#""{""#, r#""500|502""#, r#""(a|b)c""#];
        select(texts.to_vec()).prop_map(str::to_owned)
    }

    fn name() -> impl Strategy<Value = String> + Clone {
        select(vec!["app", "level", "rate", "bytes", "_x1", "duration", "sum"]).prop_map(str::to_owned)
    }

    fn matcher() -> impl Strategy<Value = String> + Clone {
        prop_oneof![
            (name(), select(vec!["=", "!="]), text()).prop_map(|(n, o, v)| format!("{n}{o}{v}")),
            (name(), select(vec!["=~", " !~ "]), regex()).prop_map(|(n, o, v)| format!("{n}{o}{v}")),
        ]
    }

    fn label_filter() -> impl Strategy<Value = String> + Clone {
        let right = select(vec![
            "5",
            "-1.5",
            "1e3",
            "5m",
            "1.5h",
            "-3s",
            "5KB",
            "1.5MiB",
            "0x1p3",
            "20B",
            "123456789B",
        ]);
        let leaf = prop_oneof![
            matcher(),
            (name(), select(vec![">", ">=", "<", "<=", "==", "=", "!="]), right)
                .prop_map(|(n, o, v)| format!("{n} {o} {v}")),
            name().prop_map(|n| format!("{n} = ip(\"10.0.0.0/8\")")),
        ];
        leaf.prop_recursive(3, 8, 2, |inner| {
            (inner.clone(), select(vec![" or ", " and ", ", ", " "]), inner, any::<bool>()).prop_map(
                |(left, op, right, group)| match group {
                    true => format!("({left}{op}{right})"),
                    false => format!("{left}{op}{right}"),
                },
            )
        })
    }

    fn line_filter() -> impl Strategy<Value = String> + Clone {
        prop_oneof![
            (select(vec!["|=", "!="]), proptest::collection::vec(text(), 1..3)),
            (select(vec!["|~", "!~"]), proptest::collection::vec(regex(), 1..3)),
            (select(vec!["|=", "!="]), Just(vec!["ip(\"10.0.0.0/8\")".to_owned()])),
        ]
        .prop_map(|(op, operands)| format!("{op} {}", operands.join(" or ")))
    }

    fn stage() -> impl Strategy<Value = String> + Clone {
        let plain = [
            "| json",
            "| json a, b=\"c[0].d\"",
            "| logfmt --strict",
            "| logfmt --keep-empty a=\"b\"",
            "| unpack",
            "| regexp \"(?P<m>.*)\"",
            "| pattern \"<m> <_>\"",
            "| line_format `{{.x}} \"`",
            "| decolorize",
            "| label_format a=b, c=\"{{.d}}\"",
            "| drop a, b=\"c\"",
            "| keep a, b=~\"c|d\"",
            "|> \"a<_>\"",
            "!> `<_> b`",
        ];
        prop_oneof![
            select(plain.to_vec()).prop_map(str::to_owned),
            line_filter(),
            label_filter().prop_map(|filter| format!("| {filter}")),
        ]
    }

    fn log() -> impl Strategy<Value = String> + Clone {
        (matcher(), proptest::collection::vec(stage(), 0..5))
            .prop_map(|(matcher, stages)| format!("{{cluster=\"c\", {matcher}}} {}", stages.join(" ")))
    }

    fn grouping() -> impl Strategy<Value = String> + Clone {
        let list = proptest::collection::vec(name(), 0..3).prop_map(|names| names.join(", "));
        prop_oneof![
            Just(String::new()),
            list.clone().prop_map(|list| format!(" by ({list})")),
            list.prop_map(|list| format!(" without ({list})")),
        ]
    }

    fn range() -> impl Strategy<Value = String> + Clone {
        let window = (
            select(vec!["5m", "1h30m", "1w", "25h", "500ms"]),
            select(vec!["", " offset 1d", " offset -5m"]),
        )
            .prop_map(|(width, offset)| format!("[{width}]{offset}"));
        let unwrap = (select(vec!["x", "bytes(x)", "duration(x)", "duration_seconds(x)"]), any::<bool>())
            .prop_map(|(label, filtered)| {
                format!("| unwrap {label}{}", if filtered { " | x > 5" } else { "" })
            });
        prop_oneof![
            (
                select(vec!["rate", "count_over_time", "bytes_rate", "absent_over_time"]),
                log(),
                window.clone()
            )
                .prop_map(|(op, log, window)| format!("{op}({log} {window})")),
            (
                select(vec!["avg_over_time(", "quantile_over_time(0.99,", "last_over_time("]),
                log(),
                unwrap,
                window,
                grouping()
            )
                .prop_map(|(op, log, unwrap, window, grouping)| format!(
                    "{op}{log} {unwrap} {window}){grouping}"
                )),
        ]
    }

    fn metric() -> impl Strategy<Value = String> + Clone {
        let leaf = prop_oneof![4 => range(), 1 => Just("vector(1.5)".to_owned())];
        leaf.prop_recursive(4, 12, 2, |inner| {
            let matching = select(vec![
                "",
                " on (a)",
                " ignoring (a, b) group_left ()",
                " on () group_right (c)",
                " on ()",
            ]);
            prop_oneof![
                (select(vec!["sum", "max", "count", "stddev"]), grouping(), inner.clone())
                    .prop_map(|(op, grouping, inner)| format!("{op}{grouping} ({inner})")),
                (select(vec!["topk", "bottomk"]), grouping(), inner.clone())
                    .prop_map(|(op, grouping, inner)| format!("{op}{grouping} (5, {inner})")),
                inner.clone().prop_map(|inner| format!("sort_desc({inner})")),
                inner
                    .clone()
                    .prop_map(|inner| format!("label_replace({inner}, \"a\", \"$1\", \"b\", `(.*)`)")),
                (
                    inner.clone(),
                    select(vec!["+", "-", "*", "/", "%", "^", "and", "or", "unless"]),
                    matching,
                    inner.clone()
                )
                    .prop_map(|(left, op, matching, right)| format!("({left} {op}{matching} {right})")),
                (inner.clone(), select(vec!["+ 1", "^ -2", "> bool 1e6", "!= .5", "- 0x1p3"]))
                    .prop_map(|(left, right)| format!("{left} {right}")),
                (inner.clone(), select(vec!["+", "-", "*", "^", "<", "or"]), inner)
                    .prop_map(|(left, op, right)| format!("{left} {op} {right}")),
            ]
        })
    }

    pub fn query() -> impl Strategy<Value = String> {
        prop_oneof![log(), metric()]
    }
}
