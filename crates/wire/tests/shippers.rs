//! Elasticsearch's bulk, Fluent forward and MessagePack: recorded clients and other people's tables.

mod corpus;

use kenning_model::{LogBatch, Nanos};
use kenning_wire::elastic::{
    BulkOptions, FilterPath, Replying, RequestError, decode_bulk, encode_bulk_reply,
};
use kenning_wire::fluent::FluentDecoder;
use kenning_wire::msgpack::{Framer, Reader, Token};
use kenning_wire::{DecodeLimits, Decoded};
use serde_json::{Value, json};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(char::is_ascii_hexdigit).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// A value as the suite writes it, to compare by.
fn shown(reader: &mut Reader<'_>) -> Value {
    let text = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join("-");
    match reader.token().unwrap() {
        Token::Nil => Value::Null,
        Token::Bool(flag) => json!(flag),
        Token::Int(n) => json!(n as f64),
        Token::Uint(n) => json!(n as f64),
        Token::F32(n) => json!(f64::from(n)),
        Token::F64(n) => json!(n),
        Token::Str(bytes) => json!(std::str::from_utf8(bytes).unwrap()),
        Token::Bin(bytes) => json!(text(bytes)),
        Token::Ext(kind, bytes) => json!([kind, text(bytes)]),
        Token::Array(count) => (0..count).map(|_| shown(reader)).collect(),
        Token::Map(count) => {
            let pair = |reader: &mut Reader<'_>| (shown(reader).as_str().unwrap().to_owned(), shown(reader));
            Value::Object((0..count).map(|_| pair(reader)).collect())
        }
    }
}

#[test]
fn the_suite_of_messagepack() {
    let Some(suite) = corpus::json("fluent_es/msgpack/dist/msgpack-test-suite.json") else { return };
    let mut checked = 0;
    for case in suite.as_object().unwrap().values().flat_map(|cases| cases.as_array().unwrap()) {
        let (kind, wanted) = case.as_object().unwrap().iter().find(|(name, _)| *name != "msgpack").unwrap();
        // Numbers beyond a double's digits come as text in the suite, and times as seconds and nanoseconds.
        for encoded in case["msgpack"].as_array().unwrap() {
            let bytes = hex(encoded.as_str().unwrap());
            assert_eq!(Framer::default().advance(&bytes), Ok(Some(bytes.len())), "{encoded}");
            for cut in 0..bytes.len() {
                assert_eq!(Framer::default().advance(&bytes[..cut]), Ok(None), "{encoded}");
            }
            let mut reader = Reader::new(&bytes);
            match kind.as_str() {
                "timestamp" => assert!(matches!(reader.token(), Ok(Token::Ext(-1, _))), "{encoded}"),
                "bignum" => match reader.token().unwrap() {
                    Token::Uint(n) => assert_eq!(n.to_string(), wanted.as_str().unwrap()),
                    Token::Int(n) => assert_eq!(n.to_string(), wanted.as_str().unwrap()),
                    Token::F64(n) => assert_eq!(n, wanted.as_str().unwrap().parse::<f64>().unwrap()),
                    Token::F32(n) => {
                        assert_eq!(f64::from(n), wanted.as_str().unwrap().parse::<f64>().unwrap())
                    }
                    other => panic!("{encoded} is {other:?}"),
                },
                _ => assert_eq!(floats(&shown(&mut reader)), floats(wanted), "{encoded}"),
            }
            assert!(kind == "timestamp" || reader.is_at_end());
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

/// All numbers as doubles: the suite does not tell their kinds apart.
fn floats(value: &Value) -> Value {
    match value {
        Value::Number(n) => json!(n.as_f64()),
        Value::Array(items) => items.iter().map(floats).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), floats(value))).collect())
        }
        other => other.clone(),
    }
}

/// Decodes all frames of a stream that arrives in pieces of `step` bytes.
fn stream(bytes: &[u8], step: usize) -> Decoded<LogBatch> {
    let limits = DecodeLimits::default();
    let mut decoder = FluentDecoder::new(&limits, Nanos(1), 1 << 20);
    let (mut framer, mut start, mut end) = (Framer::default(), 0, 0);
    while start < bytes.len() {
        match framer.advance(&bytes[start..end]).unwrap() {
            Some(len) => {
                decoder.message(&bytes[start..start + len]).unwrap();
                start += len;
            }
            None => {
                assert!(end < bytes.len(), "the stream is cut");
                end = (end + step).min(bytes.len());
            }
        }
    }
    decoder.finish()
}

#[test]
fn vector_s_frames() {
    let Some(cases) = corpus::json("fluent_es/forward/vector_frames.json") else { return };
    for case in cases.as_array().unwrap() {
        let (name, bytes) = (case["test"].as_str().unwrap(), hex(case["hex"].as_str().unwrap()));
        if case["var"] != "message" {
            continue;
        }
        let decoded = stream(&bytes, 1);
        let got: Vec<_> =
            decoded.batch.rows().map(|row| (row.time.0 / 1_000_000_000, row.line.to_owned())).collect();
        let comment = case["comment"].as_str().unwrap();
        let all = [(1_441_588_984, "foo"), (1_441_588_985, "bar"), (1_441_588_986, "baz")];
        let wanted: Vec<_> =
            all.into_iter().filter(|(time, _)| comment.contains(&time.to_string())).collect();
        assert_eq!(
            got.iter().map(|(time, line)| (*time, line.as_str())).collect::<Vec<_>>(),
            wanted,
            "{name}"
        );
        assert!(decoded.batch.rows().all(|row| row.stream.get("tag") == "tag.name"), "{name}");
    }
}

#[test]
fn recorded_python_clients() {
    let Some(streams) = corpus::json("fluent_es/forward/captured/fluent-logger-python.json") else { return };
    for (name, recorded) in streams.as_object().unwrap() {
        let bytes = hex(recorded["hex"].as_str().unwrap());
        let whole = stream(&bytes, bytes.len());
        assert!(whole.rejected.is_empty() && !whole.batch.is_empty(), "{name}: {}", whole.rejected);
        for step in [1, 7, 64] {
            assert_eq!(stream(&bytes, step), whole, "{name} in pieces of {step}");
        }
        if name == "nanosecond_eventtime" {
            assert_eq!(whole.batch.time[0].0, 1_700_000_000_123_456_716);
        }
    }
}

fn bulk(body: &str) -> Result<Value, RequestError> {
    let options = BulkOptions { now: Nanos(1), ..BulkOptions::default() };
    let decoded = decode_bulk(body.as_bytes(), &options, &DecodeLimits::default(), |_| Ok(()))?;
    let reply = encode_bulk_reply(&decoded.items, &Replying::default(), &FilterPath::default());
    Ok(serde_json::from_slice(&reply).unwrap())
}

#[test]
fn examples_of_the_bulk_api() {
    let check = |body: &str, wanted: &[(&str, u64)]| {
        let reply = bulk(body).unwrap();
        let got: Vec<_> = reply["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item.as_object().unwrap().iter().next().unwrap())
            .map(|(action, result)| (action.as_str(), result["status"].as_u64().unwrap()))
            .collect();
        assert_eq!(got, wanted, "{body}");
    };
    for (example, wanted) in [
        (1, &[("index", 201), ("delete", 400), ("create", 201), ("update", 404)][..]),
        (3, &[("update", 404), ("update", 404), ("create", 201)]),
        (4, &[("index", 201), ("create", 201)]),
    ] {
        let path = format!("fluent_es/bulk/spec-examples/request/BulkRequestExample{example}.yaml");
        let Some(path) = corpus::path(&path) else { return };
        check(&example_body(&std::fs::read_to_string(path).unwrap()), wanted);
    }
}

/// The body in an example's YAML: a quoted scalar in which blank lines are line ends.
fn example_body(yaml: &str) -> String {
    let (_, quoted) = yaml.split_once("value:").unwrap();
    let text = quoted.trim().trim_matches('\'');
    let lines = text.split("\n\n").map(|line| line.split('\n').map(str::trim).collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n").replace("''", "'")
}

#[test]
fn ecs_documents_become_records() {
    for name in ["agent", "kafka", "system"] {
        let Some(path) = corpus::path(&format!("fluent_es/bulk/rally-docs/test-{name}.json")) else { return };
        let documents = std::fs::read_to_string(path).unwrap();
        let documents: Vec<_> = documents.lines().filter(|line| !line.trim().is_empty()).collect();
        let body: String = documents
            .iter()
            .map(|doc| format!("{{\"create\":{{\"_index\":\"logs-{name}-x\"}}}}\n{doc}\n"))
            .collect();
        let options = BulkOptions { now: Nanos(1), ..BulkOptions::default() };
        let decoded = decode_bulk(body.as_bytes(), &options, &DecodeLimits::default(), |_| Ok(())).unwrap();
        assert!(decoded.rejected.is_empty(), "{name}: {}", decoded.rejected);
        for (row, document) in decoded.batch.rows().zip(&documents) {
            assert_eq!(row.line, document.trim(), "{name}");
            assert!(row.time.0 > 1_500_000_000_000_000_000 && !row.stream.get("service_name").is_empty());
        }
        assert_eq!(decoded.batch.len(), documents.len());
    }
}
