//! What the UI's editors of PromQL and LogQL ask while a query is typed: what may stand at the cursor, what a word means, what is
//! wrong and how the query is written nicely. All of it is the language crate's knowledge; names of metrics and labels
//! are looked up by the UI itself.
//!
//! Places are counted in UTF-16 code units, as scripts in browsers count them. Absent: data, evaluation.

use axum::response::Response;
use kenning_logql as logql;
use kenning_promql::{self as promql, Aggregator, Expect, SIGNATURES};
use kenning_query::{Diagnostic, Level};

use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;
use crate::reply;
use crate::routes::{Call, GET, GET_POST, Permission, Routes};

/// Longest text looked at, in bytes. Each keystroke is a request.
const QUERY_BYTES_MAX: usize = 64 * 1024;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .add(Permission::Query, GET_POST, "/api/ui/v1/promql/complete", |call| answer(call, complete))
        .add(Permission::Query, GET_POST, "/api/ui/v1/promql/check", |call| answer(call, check))
        .add(Permission::Query, GET_POST, "/api/ui/v1/logql/complete", |call| answer(call, complete_logql))
        .add(Permission::Query, GET_POST, "/api/ui/v1/logql/check", |call| answer(call, check_logql))
        .add(Permission::Query, GET, "/api/ui/v1/promql/functions", |call| answer(call, |_| Ok(functions())))
}

async fn answer(call: Call, handler: fn(&Asked) -> Result<Vec<u8>, ApiError>) -> Response {
    let outcome = async { handler(&Asked::of(call).await?) };
    match outcome.await {
        Ok(body) => reply::json(body),
        Err(error) => error.into_prometheus(),
    }
}

fn query_of(asked: &Asked) -> Result<&str, ApiError> {
    let query = asked.params.get("query").unwrap_or("");
    match query.len() <= QUERY_BYTES_MAX {
        true => Ok(query),
        false => Err(ApiError::bad_request(format!(
            "invalid parameter \"query\": {} bytes are over {QUERY_BYTES_MAX}; shorten it",
            query.len()
        ))),
    }
}

/// Byte offset of a place counted in UTF-16 code units; the end for places beyond.
fn byte_of(text: &str, units: usize) -> usize {
    let mut seen = 0;
    for (at, c) in text.char_indices() {
        if seen >= units {
            return at;
        }
        seen += c.len_utf16();
    }
    text.len()
}

/// Place in UTF-16 code units of a byte offset; the end for offsets beyond.
fn units_of(text: &str, byte: usize) -> i64 {
    let before = text.char_indices().take_while(|(at, _)| *at < byte);
    before.map(|(_, c)| c.len_utf16() as i64).sum()
}

fn complete(asked: &Asked) -> Result<Vec<u8>, ApiError> {
    let query = query_of(asked)?;
    let at = asked.params.count("at")?.map_or(query.len(), |units| byte_of(query, units));
    Ok(completion(query, at))
}

fn completion(query: &str, at: usize) -> Vec<u8> {
    let found = promql::complete(query, at);
    Json::build(|json| {
        json.key("from").int(units_of(query, found.from));
        json.key("to").int(units_of(query, found.to));
        json.key("expects").array(|json| found.expects.iter().for_each(|one| write_expect(json, one)));
        if let Some(hover) = promql::hover(query, at) {
            json.key("hover").object(|json| {
                json.key("from").int(units_of(query, hover.from));
                json.key("to").int(units_of(query, hover.to));
                json.key("signature").text(&hover.signature);
                json.key("help").text(hover.help);
            });
        }
    })
}

fn write_expect(json: &mut Json, expect: &Expect) {
    json.object(|json| match expect {
        Expect::Functions => json.key("kind").text("functions"),
        Expect::Metrics => json.key("kind").text("metrics"),
        Expect::Durations => json.key("kind").text("durations"),
        Expect::Labels { selector } => {
            json.key("kind").text("labels");
            json.key("selector").text(selector.as_deref().unwrap_or(""));
        }
        Expect::Values { label, selector } => {
            json.key("kind").text("values");
            json.key("label").text(label);
            json.key("selector").text(selector.as_deref().unwrap_or(""));
        }
        Expect::Words(words) => {
            json.key("kind").text("words");
            json.key("words").texts(*words);
        }
    });
}

fn check(asked: &Asked) -> Result<Vec<u8>, ApiError> {
    Ok(verdict(query_of(asked)?))
}

/// Everything wrong with a query, or what it gives and how it is written nicely.
fn verdict(query: &str) -> Vec<u8> {
    let parsed = promql::parse(query);
    Json::build(|json| {
        json.key("diagnostics").array(|json| {
            let wrong = parsed.as_ref().err().map(Vec::as_slice).unwrap_or_default();
            wrong.iter().for_each(|one| write_diagnostic(json, query, one));
        });
        if let Ok(expression) = &parsed {
            json.key("type").text(expression.value_type().documented());
            json.key("formatted").text(&promql::format(expression));
        }
    })
}

fn write_diagnostic(json: &mut Json, query: &str, one: &Diagnostic) {
    json.object(|json| {
        json.key("level").text(match one.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "info",
        });
        json.key("from").int(units_of(query, one.span.start as usize));
        json.key("to").int(units_of(query, one.span.end as usize));
        json.key("message").text(&one.message);
        json.key("hint").text(&one.hint);
    });
}

fn complete_logql(asked: &Asked) -> Result<Vec<u8>, ApiError> {
    let query = query_of(asked)?;
    let at = asked.params.count("at")?.map_or(query.len(), |units| byte_of(query, units));
    let found = logql::complete(query, at);
    Ok(Json::build(|json| {
        json.key("from").int(units_of(query, found.from));
        json.key("to").int(units_of(query, found.to));
        json.key("expects").array(|json| found.expects.iter().for_each(|one| write_logql_expect(json, one)));
    }))
}

fn write_logql_expect(json: &mut Json, expect: &logql::Expect) {
    json.object(|json| match expect {
        logql::Expect::Functions => {
            json.key("kind").text("functions");
            json.key("words").texts(logql::functions());
        }
        logql::Expect::Durations => json.key("kind").text("durations"),
        logql::Expect::Labels { selector } => {
            json.key("kind").text("labels");
            json.key("selector").text(selector.as_deref().unwrap_or(""));
        }
        logql::Expect::Values { label, selector } => {
            json.key("kind").text("values");
            json.key("label").text(label);
            json.key("selector").text(selector.as_deref().unwrap_or(""));
        }
        logql::Expect::Fields { query } => {
            json.key("kind").text("fields");
            json.key("query").text(query.as_deref().unwrap_or(""));
        }
        logql::Expect::Words(words) => {
            json.key("kind").text("words");
            json.key("words").texts(words.iter().copied());
        }
    });
}

/// Everything wrong with a LogQL query, or what it gives and how it is written nicely.
fn check_logql(asked: &Asked) -> Result<Vec<u8>, ApiError> {
    let query = query_of(asked)?;
    let read = logql::check(query);
    Ok(Json::build(|json| {
        json.key("diagnostics").array(|json| {
            let wrong = read.as_ref().err().map(Vec::as_slice).unwrap_or_default();
            wrong.iter().for_each(|one| write_diagnostic(json, query, one));
        });
        if let Ok(expr) = &read {
            json.key("type").text(if expr.is_metric() { "metric" } else { "log" });
            json.key("formatted").text(&logql::format(expr));
        }
    }))
}

/// Every function and aggregation with its signature and a line of help.
fn functions() -> Vec<u8> {
    let aggregations = Aggregator::ALL.iter().map(|one| (one.as_str(), true));
    let functions = SIGNATURES.iter().map(|one| (one.name, false));
    Json::build(|json| {
        json.key("functions").array(|json| {
            for (name, aggregates) in aggregations.chain(functions) {
                let (signature, help) = promql::help(name).unwrap_or_default();
                json.object(|json| {
                    json.key("name").text(name);
                    json.key("aggregates").bool(aggregates);
                    json.key("signature").text(&signature);
                    json.key("help").text(help);
                });
            }
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("JSON is UTF-8")
    }

    #[test]
    fn what_may_stand_at_the_cursor() {
        let check = |marked: &str, expect: &str| {
            let at = marked.find('|').expect("a cursor");
            let query = marked.replacen('|', "", 1);
            assert_eq!(text(completion(&query, at)), expect, "{marked}");
        };
        check("sum(ra|", r#"{"from":4,"to":6,"expects":[{"kind":"functions"},{"kind":"metrics"}]}"#);
        check("up[|", r#"{"from":3,"to":3,"expects":[{"kind":"durations"}]}"#);
        check("up{|", r#"{"from":3,"to":3,"expects":[{"kind":"labels","selector":"{__name__=\"up\"}"}]}"#);
        check(
            "up{job=\"|",
            r#"{"from":8,"to":8,"expects":[{"kind":"values","label":"job","selector":"{__name__=\"up\"}"}]}"#,
        );
    }

    #[test]
    fn places_are_counted_as_browsers_count() {
        let query = "up{a=\"😀\", b";
        assert_eq!(byte_of(query, 8), "up{a=\"😀".len());
        assert_eq!(units_of(query, "up{a=\"😀".len()), 8);
        assert_eq!(byte_of(query, 999), query.len());
        assert_eq!(units_of(query, 999), query.encode_utf16().count() as i64);
    }

    #[test]
    fn a_query_is_judged() {
        assert_eq!(
            text(verdict("sum (up)by(job)")),
            r#"{"diagnostics":[],"type":"instant vector","formatted":"sum by (job) (up)"}"#
        );
        let wrong: serde_json::Value = serde_json::from_slice(&verdict("sum(up")).expect("JSON");
        assert_eq!(wrong["diagnostics"][0]["level"], "error");
        assert!(wrong["diagnostics"][0]["to"].as_i64() <= Some(6), "{wrong}");
        assert!(wrong.get("formatted").is_none());
    }

    #[test]
    fn functions_are_told_with_their_signatures() {
        let all: serde_json::Value = serde_json::from_slice(&functions()).expect("JSON");
        let list = all["functions"].as_array().expect("a list");
        let without = list.iter().filter(|one| one["signature"] == "" || one["help"] == "");
        assert_eq!(without.map(|one| one["name"].to_string()).collect::<Vec<_>>(), [""; 0]);
        let rate = list.iter().find(|one| one["name"] == "rate").expect("rate is known");
        assert_eq!(rate["signature"], "rate(range vector) instant vector");
    }
}
