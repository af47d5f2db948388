use super::*;

fn options(index: Option<&str>) -> BulkOptions {
    let index = index.map(str::to_owned);
    BulkOptions { index, require_alias: false, now: Nanos(1_795_262_400_000_000_000), id_seed: 7 }
}

fn bulk(body: &str, index: Option<&str>) -> Result<Bulk, RequestError> {
    decode_bulk(body.as_bytes(), &options(index), &DecodeLimits::default(), |_| Ok(()))
}

fn reply(bulk: &Bulk, refused: &[usize], filter: &str) -> serde_json::Value {
    let refused = refused.iter().map(|row| RefusedRow { row: *row, reason: "too old".into() }).collect();
    let replying = Replying { took_millis: 3, first_seq_no: 10, refused };
    let text = encode_bulk_reply(&bulk.items, &replying, &FilterPath::parse(filter));
    serde_json::from_slice(&text).unwrap()
}

/// Status and error type of each item.
fn statuses(body: &str, index: Option<&str>) -> Vec<(String, u64, String)> {
    let reply = reply(&bulk(body, index).unwrap(), &[], "");
    let items = reply["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let (action, result) = item.as_object().unwrap().iter().next().unwrap();
            let error = result["error"]["type"].as_str().unwrap_or("").to_owned();
            (action.clone(), result["status"].as_u64().unwrap(), error)
        })
        .collect()
}

#[track_caller]
fn check(body: &str, expect: &[(&str, u64, &str)]) {
    let got = statuses(body, None);
    let got: Vec<_> = got.iter().map(|(a, s, e)| (a.as_str(), *s, e.as_str())).collect();
    assert_eq!(got, expect, "{body}");
}

#[track_caller]
fn refused(body: &str, expect_kind: &str, expect: &str) {
    match bulk(body, None) {
        Err(RequestError::Refused { kind, reason }) => {
            assert_eq!((kind, reason.as_str()), (expect_kind, expect), "{body}");
        }
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn items_are_answered_in_order() {
    check(
        concat!(
            "{\"index\":{\"_index\":\"a\",\"_id\":\"1\"}}\n{\"f\":1}\n",
            "{\"delete\":{\"_index\":\"a\",\"_id\":\"2\"}}\n",
            "{\"create\":{\"_index\":\"a\"}}\r\n{\"f\":2}\r\n",
            "\n",
            "{\"update\":{\"_index\":\"a\",\"_id\":\"1\"}}\n{\"doc\":{}}\n",
            "{\"index\":{\"_index\":\"a\",\"op_type\":\"create\"}}\n{\"f\":3}",
        ),
        &[
            ("index", 201, ""),
            ("delete", 400, "illegal_argument_exception"),
            ("create", 201, ""),
            ("update", 404, "document_missing_exception"),
            ("create", 201, ""),
        ],
    );
    let one = |head: &str, doc: &str, status, kind| {
        check(
            &format!("{head}\n{doc}\n{{\"index\":{{\"_index\":\"ok\"}}}}\n{{}}\n"),
            &[("index", status, kind), ("index", 201, "")],
        );
    };
    let on = |index: &str| format!("{{\"index\":{{\"_index\":\"{index}\"}}}}");
    for index in ["", "*", "****", "Upper", "_x", "-x", "a b", "a,b", "..", &"x".repeat(256)] {
        one(&on(index), "{}", 400, "invalid_index_name_exception");
    }
    for doc in ["", "{", "[]", "1", "nonsense", "{\"a\":1}}", "{\"@timestamp\":\"soon\"}"] {
        one(&on("a"), doc, 400, "document_parsing_exception");
    }
    one("{\"index\":{\"_index\":\"a\",\"_id\":\"\"}}", "{}", 400, "illegal_argument_exception");
    one("{\"index\":{\"_index\":\"a\",\"require_alias\":true}}", "{}", 404, "index_not_found_exception");
    let long = "x".repeat(513);
    one(
        &format!("{{\"index\":{{\"_index\":\"a\",\"_id\":\"{long}\"}}}}"),
        "{}",
        400,
        "illegal_argument_exception",
    );
}

#[test]
fn requests_that_are_none_store_nothing() {
    const ILLEGAL: &str = "illegal_argument_exception";
    let good = "{\"index\":{\"_index\":\"a\"}}\n{}\n";
    let after = |line: &str, told: &str| {
        refused(&format!("{good}{line}"), ILLEGAL, &format!("Malformed action/metadata line [3], {told}"));
    };
    after("{}", "expected FIELD_NAME but found [END_OBJECT]");
    after("[]", "expected START_OBJECT but found [START_ARRAY]");
    after("\"index\"", "expected START_OBJECT but found [VALUE_STRING]");
    after("{\"sneak\":{}}", "expected one of [create, delete, index, update] but found [sneak]");
    after("{\"index\":7}", "expected START_OBJECT but found [VALUE_NUMBER]");
    after(
        "{\"index\":{\"_index\":[1]}}",
        "expected a simple value for field [_index] but found [START_ARRAY]",
    );
    after("{\"index\":{},\"create\":{}}", "expected END_OBJECT but found [FIELD_NAME]");
    after("{\"index\":{}}", "no source line follows it");
    refused(
        "{\"index\":{\"colour\":1}}\n{}\n",
        ILLEGAL,
        "Action/metadata line [1] contains an unknown parameter [colour]",
    );
    let validation = "action_request_validation_exception";
    refused("{\"index\":{}}\n{}\n", validation, "Validation Failed: 1: index is missing;");
    refused("", validation, "Validation Failed: 1: no requests added;");
    refused("\n\n", validation, "Validation Failed: 1: no requests added;");
    assert!(bulk("{\"index\":{}}\n{}\n", Some("of-path")).is_ok());
}

#[test]
fn documents_become_records() {
    let body = concat!(
        "{\"create\":{\"_index\":\"logs-nginx.access-prod\"}}\n",
        " {\"@timestamp\":\"2026-11-21T12:00:00.5Z\",\"message\":\"GET / \\u00e9\",\"log\":{\"level\":\"error\"},",
        "\"host\":{\"name\":\"web-1\"},\"http\":{\"status\":500},\"trace\":{\"id\":\"0102030405060708090a0b0c0d0e0f10\"}} \n",
        "{\"index\":{\"_index\":\"plain\",\"_id\":17}}\n{\"level\":\"warn\",\"service\":{\"name\":\"shop\"}}\n",
    );
    let decoded = bulk(body, None).unwrap();
    let rows: Vec<_> = decoded.batch.rows().collect();
    assert_eq!(rows[0].time.0, 1_795_262_400_500_000_000);
    assert!(
        rows[0].line.starts_with("{\"@timestamp\"") && rows[0].line.contains("\\u00e9"),
        "{}",
        rows[0].line
    );
    let labels: Vec<_> = rows[0].stream.iter().collect();
    assert_eq!(
        labels,
        [("host_name", "web-1"), ("index", "logs-nginx.access-prod"), ("service_name", "nginx.access")]
    );
    assert_eq!(rows[0].trace_id.to_string(), "0102030405060708090a0b0c0d0e0f10");
    let metadata: Vec<_> = rows[0].metadata.iter().collect();
    assert_eq!(metadata, [("detected_level", "error"), ("http_status", "500"), ("log_level", "error")]);
    assert_eq!(rows[1].time, options(None).now);
    assert_eq!((rows[1].metadata.get("_id"), rows[1].stream.get("service_name")), ("17", "shop"));
    assert_eq!(&*decoded.items[1].id, "17");
    assert_eq!(decoded.items[0].id.len(), 20);
}

#[test]
fn answers_show_what_the_pipeline_refused_and_what_the_filter_leaves() {
    let body = "{\"index\":{\"_index\":\"a\",\"_id\":\"1\"}}\n{}\n{\"update\":{\"_index\":\"a\",\"_id\":\"5\"}}\n{}\n\
                {\"index\":{\"_index\":\"a\",\"_id\":\"2\"}}\n{}\n{\"index\":{\"_index\":\"a\",\"_id\":\"3\"}}\n{}\n";
    let decoded = bulk(body, None).unwrap();
    let whole = reply(&decoded, &[1], "");
    assert_eq!((&whole["took"], &whole["errors"]), (&3.into(), &true.into()));
    let of = |item: usize, member: &str| whole["items"][item]["index"][member].clone();
    assert_eq!(
        (of(0, "status"), of(0, "_seq_no"), of(0, "result")),
        (201.into(), 10.into(), "created".into())
    );
    assert_eq!((of(2, "status"), of(2, "error")["reason"].clone()), (400.into(), "too old".into()));
    assert_eq!((of(3, "status"), of(3, "_seq_no")), (201.into(), 11.into()));
    let failed = reply(&decoded, &[], "items.*.error");
    assert!(failed.get("errors").is_none() && failed["items"].as_array().unwrap().len() == 1, "{failed}");
    assert_eq!(failed["items"][0]["update"]["error"]["type"], "document_missing_exception");
    let short = reply(&decoded, &[], "errors,items.*.status");
    assert_eq!(short["items"][0].to_string(), r#"{"index":{"status":201}}"#);
}

#[test]
fn cut_and_twisted_bodies_never_panic() {
    let body =
        "{\"index\":{\"_index\":\"a\",\"_id\":\"1\"}}\n{\"a\":{\"b\":[1,\"\\u00e9\"]},\"@timestamp\":12}\n"
            .repeat(2);
    for cut in 0..body.len() {
        let _ = decode_bulk(&body.as_bytes()[..cut], &options(None), &DecodeLimits::default(), |_| Ok(()));
    }
    for at in 0..body.len() {
        for byte in [0, b'{', b'"', b'\n', 0xff] {
            let mut twisted = body.clone().into_bytes();
            twisted[at] = byte;
            let _ = decode_bulk(&twisted, &options(None), &DecodeLimits::default(), |_| Ok(()));
        }
    }
    let deep = format!("{{\"index\":{{\"_index\":\"a\"}}}}\n{}\n", "{\"a\":".repeat(100_000));
    assert_eq!(statuses(&deep, None)[0].1, 400);
    let limits = DecodeLimits { items: 1, ..DecodeLimits::default() };
    let many = decode_bulk(body.as_bytes(), &options(None), &limits, |_| Ok(()));
    assert!(matches!(many, Err(RequestError::Decode(DecodeError::TooLarge { limit: 1, .. }))));
}
