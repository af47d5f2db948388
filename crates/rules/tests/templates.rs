//! Templates expand as Prometheus expands them.

#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

mod corpus;

use kenning_model::Nanos;
use kenning_rules::template::{Expander, Sample, SampleValue, alert_data, alert_text};
use kenning_template::{Missing, Value};
use serde_json::Value as Json;

const NOW: Nanos = Nanos(1_353_755_652_000_000_000);

fn samples(json: &Json) -> Vec<Sample> {
    let list = json.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .map(|sample| {
            let labels = sample["Metric"].as_object().expect("labels").iter().map(|(name, value)| {
                // The extraction left the constant for the metric's name as it was written.
                let name = if name.contains("labels.MetricName") { "__name__" } else { name };
                (name.to_owned(), value.as_str().expect("text").to_owned())
            });
            Sample {
                labels: labels.collect(),
                value: SampleValue::Float(sample["F"].as_f64().expect("number")),
            }
        })
        .collect()
}

fn input(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => Value::Int(n),
            (None, Some(n)) => Value::Uint(n),
            _ => Value::Float(n.as_f64().expect("number")),
        },
        Json::String(text) => Value::Str(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(input).collect()),
        Json::Object(map) if map.contains_key("_type") => {
            let histogram = SampleValue::Histogram("{count:3, sum:10}".to_owned());
            Sample { labels: Vec::new(), value: histogram }.into()
        }
        Json::Object(map) => {
            Value::Map(map.iter().map(|(name, value)| (name.clone(), input(value))).collect())
        }
    }
}

/// The expected text; calls in the table stand for what they give.
fn expected(case: &Json) -> String {
    match &case["output"] {
        Json::String(text) => text.clone(),
        _ => "{count:3, sum:10}".to_owned(),
    }
}

#[test]
fn the_expansion_table_passes() {
    let Some(folder) = corpus::folder("promql/template") else { return };
    let mut misses = Vec::new();
    let cases = corpus::json(&folder.join("expansion.json"));
    for case in cases.as_array().expect("a list") {
        let answer = samples(&case["queryResult"]);
        let query = |_: &str, _: Nanos| Ok(answer.clone());
        let missing = match case["options"][0].as_str() {
            Some("missingkey=error") => Missing::Error,
            _ => Missing::Zero,
        };
        let external_url = "http://testhost:9090/path/prefix";
        let expander = Expander { name: "test", now: NOW, external_url, missing, query: &query };
        let (text, data) = (case["text"].as_str().expect("text"), input(&case["input"]));
        let got = match case["html"] == true {
            true => expander.expand_html(text, data, &[]),
            false => expander.expand(text, data),
        };
        let expect = match case["shouldFail"] == true {
            true => Err(case["errorMsg"].as_str().expect("text").to_owned()),
            false => Ok(expected(case)),
        };
        if got != expect {
            misses.push(format!("{text}\n   ours: {got:?}\n theirs: {expect:?}"));
        }
    }
    assert!(misses.is_empty(), "{}\n{}", misses.len(), misses.join("\n"));
}

#[test]
fn alerts_see_their_variables() {
    let query = |text: &str, _: Nanos| Err(format!("cannot run {text}"));
    let expander = Expander {
        name: "__alert_a",
        now: NOW,
        external_url: "http://k",
        missing: Missing::Zero,
        query: &query,
    };
    let check = |text: &str, expect: &str| {
        let labels = vec![("job".to_owned(), "api".to_owned())];
        let external = vec![("region".to_owned(), "eu".to_owned())];
        let data = alert_data(labels, external, "http://k", SampleValue::Float(0.42));
        assert_eq!(expander.expand(&alert_text(text), data).unwrap_or_else(|e| e), expect, "{text}");
    };
    check(
        "{{ $labels.job }}{{ $labels.none }} {{ $value | humanizePercentage }} {{ .Value }}",
        "api 42% 0.42",
    );
    check("{{ $externalLabels.region }} {{ $externalURL }}{{ pathPrefix }}", "eu http://k");
    check(
        "{{ reReplaceAll \"(a)p\" \"<$1>\" $labels.job }} {{ graphLink \"a b\" }}",
        "<a>i /graph?g0.expr=a+b&g0.tab=0",
    );
    check("{{ with args 1 \"x\" }}{{ .arg0 }}{{ .arg1 }}{{ end }} {{ urlQueryEscape \"a&b\" }}", "1x a%26b");
    check(
        "{{ query \"up\" }}",
        "error executing template __alert_a: template: __alert_a:1:115: executing \"__alert_a\" at <query \"up\">: \
         error calling query: cannot run up",
    );
    check(
        "{{ tmpl \"x\" . }}",
        "error parsing template __alert_a: template: __alert_a:1: function \"tmpl\" not defined",
    );
}

#[test]
fn pages_call_templates_of_a_library() {
    let query = |_: &str, _: Nanos| Ok(Vec::new());
    let expander = Expander { name: "p", now: NOW, external_url: "", missing: Missing::Zero, query: &query };
    let library = ["{{define \"row\"}}<td>{{.}}</td>{{end}}"];
    let page = expander.expand_html("{{ tmpl \"row\" \"a<b\" }}{{template \"row\" 1}}", Value::Nil, &library);
    assert_eq!(page.as_deref(), Ok("<td>a&lt;b</td><td>1</td>"));
}
