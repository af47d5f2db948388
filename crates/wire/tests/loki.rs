//! Loki push in both forms: the tables of Loki's own tests, and what they leave out.

mod corpus;

use kenning_model::{LogBatch, Reason, Severity};
use kenning_wire::loki::{decode_push_json, decode_push_legacy_json, decode_push_protobuf};
use kenning_wire::{DecodeError, DecodeLimits, Decoded};

fn push(text: &str) -> Result<Decoded<LogBatch>, DecodeError> {
    decode_push_json(text.as_bytes(), &DecodeLimits::default())
}

fn reasons<B>(decoded: &Decoded<B>) -> Vec<(Reason, u64)> {
    decoded.rejected.iter().map(|(reason, count, _)| (reason, count)).collect()
}

fn of_values(values: &str) -> String {
    format!(r#"{{"streams":[{{"stream":{{"app":"a"}},"values":[{values}]}}]}}"#)
}

#[test]
fn loki_s_table_of_requests() {
    let Some(tables) = corpus::json("logql/api/requests.json") else { return };
    let mut checked = 0;
    for case in tables["push/push_test.go:TestParseRequest"].as_array().unwrap() {
        let body = case["body"].as_str().or_else(|| case["body"]["args"][0].as_str());
        let Some(body) = body.filter(|body| !body.contains("%d")) else { continue };
        // Cases about content types and encodings are the receiver's.
        let content_type = case["contentType"].as_str().unwrap_or("");
        let foreign = content_type.starts_with("application/jsonn") || content_type.contains("charsetutf-8");
        let good = case["valid"] == true;
        if foreign || body.is_empty() {
            continue;
        }
        checked += 1;
        let decoded = push(body);
        let all_good = decoded.as_ref().is_ok_and(|decoded| decoded.rejected.is_empty());
        assert_eq!(all_good, good, "{body}: {decoded:?}");
        if !good {
            continue;
        }
        let batch = decoded.unwrap().batch;
        for labels in case["expectedLabels"].as_array().into_iter().flatten() {
            let labels = labels.as_object().unwrap();
            let fits = |stream: &kenning_model::LabelSet| {
                let all = stream.iter().filter(|(name, _)| *name != "service_name");
                all.clone().all(|(name, value)| labels.get(name).is_some_and(|wanted| wanted == value))
            };
            assert!(batch.streams.iter().any(fits), "{body}: {:?}", batch.streams);
        }
    }
    assert!(checked >= 8, "{checked}");
}

#[test]
fn lines_with_all_they_carry() {
    let decoded = push(&of_values(
        r#"["1570818238000000001","level=warn x",{"trace_id":"0102030405060708090a0b0c0d0e0f10","span_id":"xyz","k":"v","e":""}],
           ["-5","{\"level\":\"error\"}"],[7,"plain",null]"#,
    ))
    .unwrap();
    assert!(decoded.rejected.is_empty(), "{}", decoded.rejected);
    let rows: Vec<_> = decoded.batch.rows().collect();
    assert_eq!(rows[0].time.0, 1_570_818_238_000_000_001);
    assert_eq!((rows[0].line, rows[0].severity), ("level=warn x", Severity::WARN));
    assert_eq!(rows[0].trace_id.to_string(), "0102030405060708090a0b0c0d0e0f10");
    assert_eq!(
        rows[0].metadata.iter().collect::<Vec<_>>(),
        [("detected_level", "warn"), ("k", "v"), ("span_id", "xyz")]
    );
    assert_eq!((rows[1].time.0, rows[1].severity), (-5, Severity::ERROR));
    assert_eq!((rows[2].time.0, rows[2].metadata.get("detected_level")), (7, "unknown"));
    assert_eq!(rows[0].stream.iter().collect::<Vec<_>>(), [("app", "a"), ("service_name", "a")]);
}

#[test]
fn good_lines_survive_bad_ones() {
    let check = |value: &str, reason: Reason| {
        let decoded = push(&of_values(&format!(r#"["1","one"],{value},["2","two"]"#))).unwrap();
        assert_eq!(reasons(&decoded), [(reason, 1)], "{value}: {}", decoded.rejected);
        assert_eq!(decoded.batch.rows().map(|row| row.line).collect::<Vec<_>>(), ["one", "two"]);
    };
    check(r#"["soon","x"]"#, Reason::Malformed);
    check(r#"["1.5","x"]"#, Reason::Malformed);
    check(r#"["99999999999999999999","x"]"#, Reason::Malformed);
    check(r#"["1",{"fizz":"buzz"}]"#, Reason::WrongType);
    check(r#"["1"]"#, Reason::Missing);
    check(r#"[]"#, Reason::Missing);
    check(r#"{}"#, Reason::WrongType);
    check(r#"["1","x",{"k":1}]"#, Reason::WrongType);
    check(r#"["1","x",{"k":{"deep":[[[]]]}}]"#, Reason::WrongType);
    check(&format!(r#"["1","{}"]"#, "x".repeat(256 * 1024 + 1)), Reason::TooLong);
    check(&format!(r#"["1","x",{{"k":"{}"}}]"#, "x".repeat(64 * 1024 + 1)), Reason::LabelValueTooLong);
    check(&format!(r#"["1","x",{{"{}":"v"}}]"#, "x".repeat(257)), Reason::BadLabelName);
    check(&format!(r#"["1",{}1{}]"#, "[".repeat(200_000), "]".repeat(200_000)), Reason::WrongType);
}

#[test]
fn streams_may_name_their_labels_last_or_badly() {
    let decoded = push(r#"{"streams":[{"values":[["1","a"]],"stream":{"app":"x"}}]}"#).unwrap();
    assert_eq!(decoded.batch.row(0).unwrap().stream.get("app"), "x");
    for bad in [r#""stream":{}"#, r#""stream":{"a":""}"#, r#""other":1"#] {
        let decoded = push(&format!(r#"{{"streams":[{{{bad},"values":[["1","a"],["2","b"]]}}]}}"#)).unwrap();
        assert_eq!(reasons(&decoded), [(Reason::Missing, 2)], "{bad}");
    }
    for bad in ["a.b", "9a", "é", "a-b"] {
        let decoded =
            push(&format!(r#"{{"streams":[{{"stream":{{"{bad}":"v"}},"values":[["1","a"]]}}]}}"#)).unwrap();
        assert_eq!(reasons(&decoded), [(Reason::BadLabelName, 1)], "{bad}");
    }
    let many: Vec<_> = (0..65).map(|i| format!(r#""l{i}":"v""#)).collect();
    let decoded =
        push(&format!(r#"{{"streams":[{{"stream":{{{}}},"values":[["1","a"]]}}]}}"#, many.join(",")))
            .unwrap();
    assert_eq!(reasons(&decoded), [(Reason::TooManyLabels, 1)]);
    assert!(push(r#"{"streams":[]}"#).unwrap().batch.is_empty());
    for broken in ["", "[]", r#"{"streams":{}}"#, r#"{"streams":[{]}"#, r#"{"streams":[]"#] {
        assert!(push(broken).is_err(), "{broken}");
    }
}

#[test]
fn legacy_pushes() {
    let body = r#"{"streams":[{"labels":"{app=\"a\", job=\"j\"}","entries":[
        {"ts":"2018-12-18T08:28:06.801064-04:00","line":"level=warn x"},{"ts":"soon","line":"y"},{"line":"z"},
        {"timestamp":"1970-01-01T00:00:01Z","line":""}]},{"entries":[{"ts":"1970-01-01T00:00:01Z","line":"q"}],"labels":"{"},
        {"labels":"{a=\"b\"}","entries":null}],"other":[]}"#;
    let decoded = decode_push_legacy_json(body.as_bytes(), &DecodeLimits::default()).unwrap();
    let rows: Vec<_> = decoded.batch.rows().map(|row| (row.time.0, row.line)).collect();
    assert_eq!(rows, [(1_545_136_086_801_064_000, "level=warn x"), (1_000_000_000, "")]);
    assert_eq!(reasons(&decoded), [(Reason::Malformed, 2), (Reason::Missing, 1)]);
    assert_eq!(decoded.batch.row(0).unwrap().stream.get("service_name"), "a");
    for broken in ["", "[]", r#"{"streams":7}"#, r#"{"streams":[{"entries":[}]}"#] {
        assert!(decode_push_legacy_json(broken.as_bytes(), &DecodeLimits::default()).is_err(), "{broken}");
    }
}

fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut len = payload.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(payload);
    out
}

fn entry(seconds: u8, line: &[u8], metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut out = field(1, &[0x08, seconds, 0x10, 5]);
    out.extend(field(2, line));
    for (name, value) in metadata {
        let pair = [field(1, name.as_bytes()), field(2, value.as_bytes())].concat();
        out.extend(field(3, &pair));
    }
    field(2, &out)
}

#[test]
fn protobuf_pushes() {
    let stream = |labels: &str, entries: &[Vec<u8>]| {
        field(1, &[field(1, labels.as_bytes()), entries.concat()].concat())
    };
    let body = [
        stream(
            r#"{job="j", app="x"}"#,
            &[entry(3, b"lvl=info", &[("k", "v")]), entry(4, b"\xff", &[]), entry(5, b"", &[])],
        ),
        stream("{bad", &[entry(1, b"a", &[]), entry(2, b"b", &[])]),
    ]
    .concat();
    let decoded = decode_push_protobuf(&body, &DecodeLimits::default()).unwrap();
    assert_eq!(reasons(&decoded), [(Reason::NotUtf8, 1), (Reason::Malformed, 2)]);
    let rows: Vec<_> = decoded.batch.rows().collect();
    assert_eq!((rows.len(), rows[0].time.0, rows[0].severity), (2, 3_000_000_005, Severity::INFO));
    assert_eq!(rows[0].metadata.get("k"), "v");
    assert_eq!(rows[0].stream.get("service_name"), "x");
    // Cut at any byte: an error or whole streams, never a panic, never half a line.
    for cut in 0..body.len() {
        if let Ok(decoded) = decode_push_protobuf(&body[..cut], &DecodeLimits::default()) {
            assert!(decoded.batch.rows().all(|row| row.line.is_empty() || row.line == "lvl=info"));
        }
    }
}

#[test]
fn too_many_lines_refuse_the_push() {
    let limits = DecodeLimits { items: 1, ..DecodeLimits::default() };
    let two = of_values(r#"["1","a"],["2","b"]"#);
    assert!(matches!(decode_push_json(two.as_bytes(), &limits), Err(DecodeError::TooLarge { limit: 1, .. })));
}
