//! Loki's API over the in-memory store: shapes, parameters, error texts, and `tail` over a socket.

mod common;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::NOW;
use futures_util::StreamExt;
use http_body_util::BodyExt;
use kenning_api::{Api, ApiParts, App, Body, Tails, WebOptions};
use kenning_model::{
    Batch, BatchId, LabelSet, LogBatch, LogRow, Nanos, Severity, SpanId, Store, TenantId, TraceId, Write,
};
use kenning_query::MemoryStore;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const SECOND: i64 = 1_000_000_000;

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// Lines of one stream, each with its age in seconds and structured metadata.
fn lines(labels: Pairs<'_>, rows: &[(i64, &str, Pairs<'_>)]) -> LogBatch {
    let mut batch = LogBatch::default();
    let labels = LabelSet::from_pairs(labels.iter().copied());
    let stream = batch.add_stream(labels.clone());
    for (age, line, metadata) in rows {
        let metadata = LabelSet::from_pairs(metadata.iter().copied());
        let row = LogRow {
            stream: &labels,
            time: Nanos((NOW - age) * SECOND),
            severity: Severity::UNKNOWN,
            trace_id: TraceId::NONE,
            span_id: SpanId::NONE,
            line,
            metadata: &metadata,
        };
        batch.push(stream, row);
    }
    batch
}

/// A server in this process.
struct World {
    app: App,
    store: Arc<MemoryStore>,
    tails: Arc<Tails>,
    last: u64,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        let tails = Arc::new(Tails::default());
        let app = App::new(Api::new(ApiParts {
            tails: Arc::clone(&tails),
            web: WebOptions { admin_api: true, ..WebOptions::default() },
            ..common::parts(Arc::clone(&store) as Arc<dyn Store>)
        }));
        Self { app, store, tails, last: 0 }
    }

    /// Two services, one with JSON lines and one with logfmt.
    fn filled() -> Self {
        let mut world = Self::new();
        let request = r#"{"status":200,"took":"12ms","user":{"id":"u1"}}"#;
        world.commit(lines(
            &[("service_name", "shop"), ("pod", "1")],
            &[
                (30, request, &[("trace", "t1")]),
                (20, r#"{"status":500,"took":"30ms","user":{"id":"u2"}}"#, &[("trace", "t2")]),
            ],
        ));
        world.commit(lines(&[("service_name", "cart"), ("shard", "17")], &[(10, "size=5KiB ok=true", &[])]));
        world
    }

    /// What the pipeline does with a batch.
    fn commit(&mut self, batch: LogBatch) {
        self.last += 1;
        let tenant = TenantId::default_tenant();
        let group = vec![Write { id: BatchId(self.last), tenant, batch: Batch::Logs(batch) }];
        self.store.write(&group).expect("it fits");
        self.tails.publish(&Arc::new(group));
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> (u16, String) {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(parameters);
        let request = http::Request::get(format!("{path}?{}", query.finish())).body(Body::empty());
        let response = self.app.call(request.expect("a request")).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn check(&self, path: &str, parameters: &[(&str, &str)], pointer: &str, expect: Value) {
        let (status, body) = self.ask(path, parameters).await;
        let json: Value = serde_json::from_str(&body).unwrap_or_default();
        assert_eq!((status, json.pointer(pointer)), (200, Some(&expect)), "{path} {parameters:?}: {body}");
    }

    async fn refuses(&self, path: &str, parameters: &[(&str, &str)], expect: &str) {
        let (status, body) = self.ask(path, parameters).await;
        assert_eq!((status, body.as_str()), (400, expect), "{path} {parameters:?}");
    }
}

const ALL: (&str, &str) = ("query", r#"{service_name=~".+"}"#);

#[tokio::test]
async fn labels_and_fields_are_detected() {
    let world = World::filled();
    let labels = json!([
        {"label": "pod", "cardinality": 1},
        {"label": "service_name", "cardinality": 2},
    ]);
    world.check("/loki/api/v1/detected_labels", &[("query", "")], "/detectedLabels", labels).await;
    let field = |label, kind, cardinality, parsers: Value| json!({"label": label, "type": kind, "cardinality": cardinality, "parsers": parsers});
    let at = |mut field: Value, path: &[&str]| {
        field["jsonPath"] = json!(path);
        field
    };
    let fields = json!([
        field("ok", "boolean", 1, json!(["logfmt"])),
        field("size", "bytes", 1, json!(["logfmt"])),
        at(field("status", "int", 2, json!(["json"])), &["status"]),
        at(field("took", "duration", 2, json!(["json"])), &["took"]),
        field("trace", "string", 2, Value::Null),
        at(field("user_id", "string", 2, json!(["json"])), &["user", "id"]),
    ]);
    world.check("/loki/api/v1/detected_fields", &[ALL], "/fields", fields).await;
    world.check("/loki/api/v1/detected_fields", &[ALL, ("limit", "7")], "/limit", json!(7)).await;
    let values = |name: &str| format!("/loki/api/v1/detected_field/{name}/values");
    world.check(&values("user_id"), &[ALL], "/values", json!(["u1", "u2"])).await;
    world.check(&values("user_id"), &[ALL, ("limit", "1")], "/values", json!(["u1"])).await;
    world.check(&values("nothing"), &[ALL], "/values", json!([])).await;
}

#[tokio::test]
async fn volumes_add_up_bytes_of_lines() {
    let world = World::filled();
    let volume = "/loki/api/v1/index/volume";
    let (shop, cart) = (json!({"service_name": "shop"}), json!({"service_name": "cart"}));
    world.check(volume, &[ALL], "/data/result/0/metric", shop.clone()).await;
    world.check(volume, &[ALL], "/data/result/0/value", json!([NOW, "94"])).await;
    world.check(volume, &[ALL], "/data/result/1", json!({"metric": cart, "value": [NOW, "17"]})).await;
    let first = json!([{"metric": shop, "value": [NOW, "94"]}]);
    world.check(volume, &[ALL, ("limit", "1")], "/data/result", first).await;
    let doubled = "/loki/api/v1/loki/api/v1/index/volume";
    world.check(doubled, &[ALL], "/data/result/0/metric", shop.clone()).await;
    let by_pod = [("query", "{}"), ("targetLabels", "pod")];
    world
        .check(volume, &by_pod, "/data/result/0", json!({"metric": {"pod": "1"}, "value": [NOW, "94"]}))
        .await;
    let names = [("query", "{}"), ("aggregateBy", "labels")];
    world.check(volume, &names, "/data/result/0/metric", json!({"service_name": ""})).await;
    let start = (NOW - 40).to_string();
    let steps = [ALL, ("start", &*start), ("step", "20")];
    let values = json!([[NOW - 40, "47"], [NOW - 20, "47"]]);
    world.check("/loki/api/v1/index/volume_range", &steps, "/data/result/0/values", values).await;
}

#[tokio::test]
async fn what_the_server_says_of_itself() {
    let world = World::filled();
    world.check("/loki/api/v1/drilldown-limits", &[], "/limits/volume_enabled", json!(true)).await;
    world.check("/loki/api/v1/drilldown-limits", &[], "/pattern_ingester_enabled", json!(false)).await;
    world.check("/ds/loki/prometheus/api/v1/rules", &[], "/data/groups", json!([])).await;
    assert_eq!(world.ask("/loki/api/v1/rules", &[]).await, (404, "no rule groups found\n".to_owned()));
    assert_eq!(world.ask("/ready", &[]).await.0, 503);
}

#[tokio::test]
async fn parameters_are_refused_in_lokis_words() {
    let world = World::filled();
    let range = "/loki/api/v1/query_range";
    let refuses = async |parameter: (&str, &str), expect: &str| {
        world.refuses(range, &[ALL, parameter], expect).await;
    };
    // Programs read the first line; what a person can do about it is told in the second.
    let atoi = "strconv.Atoi: parsing \"h\": invalid syntax\nhint: limit is a whole number";
    let time = "strconv.ParseInt: parsing \"t\": invalid syntax";
    refuses(("limit", "h"), atoi).await;
    refuses(("limit", "0"), "limit must be a positive value").await;
    let times =
        "times are nanoseconds or seconds since 1970 or 2026-01-31T12:00:00Z, durations such as 1h30m";
    refuses(("start", "t"), &format!("could not parse 'start' parameter: {time}\nhint: {times}")).await;
    refuses(("direction", "fw"), "invalid direction 'fw'\nhint: direction is forward or backward").await;
    let seconds = "is a number of seconds or a duration such as 15s";
    refuses(("step", "x"), &format!("cannot parse \"x\" to a valid duration\nhint: step {seconds}")).await;
    refuses(
        ("interval", "-1s"),
        &format!("cannot parse \"-1s\" to a valid duration\nhint: interval {seconds}"),
    )
    .await;
    let jsn = [("query", "{a=\"b\"} | jsn")];
    let told = "parse error at line 1, col 14: syntax error: unexpected $end\nhint: did you mean | json?";
    world.refuses(range, &jsn, told).await;
    world.refuses("/loki/api/v1/format_query", &jsn, told).await;
    refuses(("interval", "-1"), "interval must be >= 0").await;
    let tail = "/loki/api/v1/tail";
    world.refuses(tail, &[ALL, ("delay_for", "20")], "delay_for can't be greater than 5").await;
    world
        .refuses(
            tail,
            &[("query", r#"count_over_time({a="b"}[1m])"#)],
            "parse error : only log selector is supported",
        )
        .await;
    let log = "parse error : log queries are not supported as an instant query type, please change your query to a range query type";
    world.refuses("/loki/api/v1/query", &[ALL], log).await;
}

#[tokio::test]
async fn the_older_api_answers_in_its_shapes() {
    let world = World::filled();
    let shop = [("query", r#"{service_name="cart"}"#)];
    world
        .check("/api/prom/query", &shop, "/streams/0/labels", json!(r#"{service_name="cart", shard="17"}"#))
        .await;
    world.check("/api/prom/query", &shop, "/streams/0/entries/0/ts", json!("2023-11-14T22:13:10Z")).await;
    let none = [shop[0], ("regexp", "nothing")];
    world.check("/api/prom/query", &none, "/streams", json!([])).await;
    world.check("/api/prom/label", &[], "/values", json!(["pod", "service_name", "shard"])).await;
    world.check("/ds/loki/api/prom/label/pod/values", &[], "/values", json!(["1"])).await;
}

/// Serves on the loopback; the address.
async fn serve(app: App) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let app = app.clone();
            let service = hyper::service::service_fn(move |request| {
                let app = app.clone();
                async move { Ok::<_, Infallible>(app.call(request).await) }
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(io, service).with_upgrades(),
            );
        }
    });
    address
}

type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

async fn connect(world: &World, path: &str) -> Socket {
    let address = serve(world.app.clone()).await;
    let stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let url = format!("ws://{address}{path}");
    tokio_tungstenite::client_async(url, stream).await.expect("a handshake").0
}

/// The next message as JSON; a close frame as its code.
async fn next(socket: &mut Socket) -> Value {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(20), socket.next()).await;
        match message.expect("in time").expect("open").expect("a message") {
            Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
            Message::Close(frame) => return json!(frame.map(|frame| u16::from(frame.code))),
            _ => {}
        }
    }
}

#[tokio::test]
async fn tail_tells_the_past_then_what_is_committed() {
    let mut world = World::filled();
    let path =
        "/ds/loki/loki/api/v1/tail?query=%7Bservice_name%3D%22shop%22%7D%20%7C%20json%20%7C%20status%3E300";
    let mut socket = connect(&world, path).await;
    let past = next(&mut socket).await;
    assert_eq!(past["streams"][0]["stream"]["user_id"], json!("u2"), "{past}");
    assert_eq!(past["streams"].as_array().map(Vec::len), Some(1), "{past}");
    world.commit(lines(&[("service_name", "shop")], &[(0, r#"{"status":200}"#, &[])]));
    world.commit(lines(&[("service_name", "cart")], &[(0, r#"{"status":404}"#, &[])]));
    world.commit(lines(&[("service_name", "shop")], &[(5, r#"{"status":503}"#, &[("k", "v")])]));
    let live = next(&mut socket).await;
    let stamp = ((NOW - 5) * SECOND).to_string();
    let stream = json!({"service_name": "shop", "status": "503", "k": "v"});
    assert_eq!(live, json!({"streams": [{"stream": stream, "values": [[stamp, r#"{"status":503}"#]]}]}));
    world.tails.close();
    assert_eq!(next(&mut socket).await, json!(1001));
}

#[tokio::test]
async fn tail_speaks_the_older_shape_too() {
    let mut world = World::new();
    let mut socket = connect(&world, "/api/prom/tail?query=%7Ba%3D%22b%22%7D").await;
    // Nothing is told of an empty past, so the socket must be a follower before something is committed.
    while format!("{:?}", world.tails) != "Tails(1)" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.commit(lines(&[("a", "b")], &[(0, "hello", &[])]));
    let entries = json!([{"ts": "2023-11-14T22:13:20Z", "line": "hello"}]);
    let expect = json!({"streams": [{"labels": "{a=\"b\"}", "entries": entries}]});
    assert_eq!(next(&mut socket).await, expect);
}

/// `logcli` connects anew, and fails, when its close frame is not answered.
#[tokio::test]
async fn tail_answers_who_takes_leave() {
    let world = World::filled();
    let mut socket = connect(&world, "/loki/api/v1/tail?query=%7Bservice_name%3D%22shop%22%7D").await;
    next(&mut socket).await;
    let code = tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode::Normal;
    let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame { code, reason: "".into() };
    socket.close(Some(frame)).await.expect("it is sent");
    assert_eq!(next(&mut socket).await, json!(1000));
    assert!(socket.next().await.is_none(), "it ends in order");
}

#[tokio::test]
async fn tail_needs_a_websocket() {
    let world = World::new();
    let (status, _) = world.ask("/loki/api/v1/tail", &[("query", r#"{a="b"}"#)]).await;
    assert!((400..500).contains(&status), "{status}");
}

#[expect(clippy::print_stderr, reason = "a skipped suite must not look like one that passed")]
fn corpus(file: &str) -> Option<Value> {
    let folder = std::env::var_os("KENNING_CORPUS")
        .map_or_else(|| PathBuf::from("/work/shared/corpus"), PathBuf::from);
    let path = folder.join("logql/api").join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: no corpus at {}; set KENNING_CORPUS to run these tests", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).expect("JSON"))
}

/// The requests of Loki's own tests: which are refused and which are not.
#[tokio::test]
async fn requests_of_the_corpus_are_judged_as_there() {
    let Some(corpus) = corpus("requests.json") else { return };
    let world = World::new();
    let mut run = 0;
    let tables = [
        ("query_test.go:TestParseRangeQuery", "/loki/api/v1/query_range"),
        ("query_test.go:TestParseInstantQuery", "/loki/api/v1/query"),
        ("labels_test.go:TestParseLabelQuery", "/loki/api/v1/labels"),
        ("tail_test.go:TestParseTailQuery", "/loki/api/v1/tail"),
    ];
    for (table, path) in tables {
        for case in corpus[table].as_array().into_iter().flatten() {
            let url = case.pointer("/r/URL/args/0").and_then(Value::as_str).expect("a URL");
            let pairs: Vec<(String, String)> =
                form_urlencoded::parse(url.trim_start_matches('?').as_bytes()).into_owned().collect();
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let (status, body) = world.ask(path, &pairs).await;
            assert_eq!(status == 400, case["wantErr"] == json!(true), "{table} {case}: {status} {body}");
            run += 1;
        }
    }
    for case in corpus["series_test.go:TestParseAndValidateSeriesQuery"].as_array().into_iter().flatten() {
        let form = case.pointer("/input/args/0").and_then(Value::as_object).expect("a form");
        let texts = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let pairs: Vec<(&str, String)> = form
            .iter()
            .flat_map(|(name, values)| texts(values).into_iter().map(move |value| (name.as_str(), value)))
            .map(|(name, value)| (name, value.as_str().unwrap_or("").to_owned()))
            .collect();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let (status, body) = world.ask("/loki/api/v1/series", &pairs).await;
        assert_eq!(status == 400, case["shouldErr"] == json!(true), "{case}: {status} {body}");
        run += 1;
    }
    for case in corpus["params_test.go:Test_interval"].as_array().into_iter().flatten() {
        let url = case["reqPath"].as_str().expect("a path");
        let (path, interval) =
            url.split_once("?query={}&start=0&end=3600000000000&").expect("as all of them");
        let (name, value) = interval.split_once('=').expect("a parameter");
        let range = [("start", "0"), ("end", "3600000000000")];
        let status = world.ask(path, &[ALL, range[0], range[1], (name, value)]).await.0;
        assert_eq!(status == 400, case["wantErr"] == json!(true), "{case}: {status}");
        run += 1;
    }
    assert!(run >= 15, "only {run} cases");
}

#[tokio::test]
async fn deletes_are_checked_and_listed() {
    let world = World::filled();
    let ask = async |method: &str, parameters: &[(&str, &str)]| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(parameters);
        let uri = format!("/loki/api/v1/delete?{}", query.finish());
        let request = http::Request::builder().method(method).uri(uri).body(Body::empty());
        let response = world.app.call(request.expect("a request")).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    };
    let refuses = async |parameters: &[(&str, &str)], expect: &str| {
        assert_eq!(ask("POST", parameters).await, (400, expect.to_owned()), "{parameters:?}");
    };
    let start = ("start", "1690000000");
    refuses(&[start], "query not set").await;
    refuses(&[ALL], "start time not set").await;
    refuses(&[ALL, ("start", "1")], "invalid start time: require unix seconds or RFC3339 format").await;
    refuses(&[ALL, start, ("end", "1700000001")], "deletes in the future are not allowed").await;
    refuses(&[ALL, start, ("end", "1680000000")], "start time can't be greater than end time").await;
    let json = "parse error : unsupported query expression: only matchers and line filters can be used here";
    refuses(&[("query", r#"{a="b"} | json | x="y""#), start], json).await;
    let filtered = ("query", r#"{a="b"} |= "x""#);
    refuses(&[filtered, start, ("max_interval", "48h")], "max_interval can't be greater than 24h0m0s").await;
    assert_eq!(ask("GET", &[]).await, (200, "[]".to_owned()));
    let gone = ask("DELETE", &[("request_id", "x")]).await;
    assert_eq!(gone, (404, "could not find delete request with given id".to_owned()));
}

/// The queries of the documents that Kenning's users wrote, with lines like theirs.
#[tokio::test]
async fn queries_of_the_documents_run_as_written() {
    let mut world = World::new();
    world.commit(lines(
        &[("service", "wotr-api")],
        &[(9, "error: connection refused", &[]), (8, "all is well", &[])],
    ));
    world.commit(lines(
        &[("container", "fastapi")],
        &[
            (7, r#"{"level":"ERROR","message":"no token"}"#, &[]),
            (6, r#"{"level":"INFO","message":"started"}"#, &[]),
        ],
    ));
    world.commit(lines(&[("service", "wotr-consumer")], &[(5, r#"{"message":"took a job","id":7}"#, &[])]));
    world.commit(lines(&[("service", "api"), ("level", "error")], &[(4, "Image created: 12", &[])]));
    world.commit(lines(&[("service", "api"), ("level", "info")], &[(3, "Image created: 13", &[])]));
    let check = async |query: &str, expect: &[&str]| {
        let range = "/loki/api/v1/query_range";
        let (status, body) = world.ask(range, &[("query", query), ("limit", "100")]).await;
        let json: Value = serde_json::from_str(&body).unwrap_or_default();
        let streams = json["data"]["result"].as_array().cloned().unwrap_or_default();
        let values =
            streams.iter().flat_map(|stream| stream["values"].as_array().cloned().unwrap_or_default());
        let mut found: Vec<(String, String)> = values
            .map(|pair| {
                (pair[0].as_str().unwrap_or("").to_owned(), pair[1].as_str().unwrap_or("").to_owned())
            })
            .collect();
        found.sort();
        let found: Vec<&str> = found.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!((status, found.as_slice()), (200, expect), "{query}: {body}");
    };
    check(r#"{service="wotr-api"} |= "error""#, &["error: connection refused"]).await;
    let failed = r#"{"level":"ERROR","message":"no token"}"#;
    check(r#"{container="fastapi"} | json | level="ERROR""#, &[failed]).await;
    check(r#"{service="wotr-consumer"} | json | line_format "{{.message}}""#, &["took a job"]).await;
    check(r#"{service="api"}"#, &["Image created: 12", "Image created: 13"]).await;
    check(r#"{service="api", level="error"}"#, &["Image created: 12"]).await;
    check(r#"{service="api"} |= "Image created""#, &["Image created: 12", "Image created: 13"]).await;
}
