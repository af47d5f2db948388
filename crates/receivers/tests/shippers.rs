//! Log shippers: what they get to hear, and when. Elasticsearch's bulk, Fluent forward, syslog.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{GatedStore, Node, gzip};
use http::Request;
use http_body_util::{BodyExt, Full};
use kenning_receivers::body::Budget;
use kenning_receivers::elastic::ElasticService;
use kenning_receivers::fluent::{FluentLimits, FluentSecurity, FluentService};
use kenning_receivers::push::PushOptions;
use kenning_receivers::serve::{Stopper, stop_pair};
use kenning_receivers::syslog::{SYSLOG_TCP, SyslogLimits, SyslogService};
use kenning_stdx::net::BoxStream;
use kenning_stdx::net::udp::SimPort;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

const TENANT: fn() -> kenning_model::TenantId = kenning_model::TenantId::default_tenant;

fn elastic(node: &Node) -> ElasticService {
    ElasticService::new(node.pipeline.intake(), PushOptions::default(), node.stats.clone())
}

async fn ask(service: &ElasticService, line: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, Value) {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let reply = service.serve(request.body(Full::new(Bytes::from(body))).unwrap()).await;
    assert_eq!(reply.headers()["x-elastic-product"], "Elasticsearch", "{line}");
    let status = reply.status().as_u16();
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn bulk_items_are_answered_one_by_one_after_the_commit() {
    let node = Node::start_default().await;
    let service = elastic(&node);
    let body = concat!(
        "{\"create\":{\"_index\":\"a\"}}\n{\"message\":\"one\"}\n",
        "{\"create\":{\"_index\":\"a\"}}\n{\"message\":\"old\",\"@timestamp\":\"1999-01-01T00:00:00Z\"}\n",
        "{\"create\":{\"_index\":\"a\"}}\n{\"message\":\"two\"}\n",
    );
    let gzipped = [NDJSON, ("content-encoding", "gzip")];
    let (status, reply) = ask(&service, "POST /_bulk", &gzipped, gzip(body.as_bytes())).await;
    let statuses: Vec<_> =
        reply["items"].as_array().unwrap().iter().map(|i| i["create"]["status"].clone()).collect();
    assert_eq!(
        (status, &reply["errors"], statuses),
        (200, &true.into(), vec![201.into(), 400.into(), 201.into()])
    );
    assert_eq!(node.store.lines(), ["{\"message\":\"one\"}", "{\"message\":\"two\"}"]);
    node.store.fail(true);
    let one = b"{\"index\":{}}\n{}\n".to_vec();
    let (status, reply) = ask(&service, "PUT /b/_bulk", &[NDJSON], one.clone()).await;
    assert_eq!((status, &reply["error"]["type"]), (503, &"unavailable_shards_exception".into()));
    let (status, _) = ask(&service, "POST /b/_bulk", &[("content-type", "text/plain")], one).await;
    assert_eq!(status, 406);
}

#[tokio::test]
async fn shippers_find_what_they_look_for() {
    let node = Node::start_default().await;
    let service = elastic(&node);
    let check = async |line: &str, body: &str, status: u16, pointer: &str, expect: Value| {
        let (got, reply) = ask(&service, line, &[JSON], body.as_bytes().to_vec()).await;
        assert_eq!(
            (got, reply.pointer(pointer).cloned().unwrap_or_default()),
            (status, expect),
            "{line} {reply}"
        );
    };
    check("GET /", "", 200, "/version/build_flavor", "default".into()).await;
    check("GET /_license?human=false", "", 200, "/license/status", "active".into()).await;
    check("GET /_cluster/health", "", 200, "/status", "green".into()).await;
    check("GET /_nodes/http", "", 200, "/_nodes/total", 1.into()).await;
    check("GET /_ilm/policy/beat", "", 404, "/status", 404.into()).await;
    check("PUT /_ilm/policy/beat", r#"{"policy":{"phases":{}}}"#, 200, "/acknowledged", true.into()).await;
    check("GET /_ilm/policy/beat", "", 200, "/beat/version", 1.into()).await;
    check("HEAD /_index_template/beat", "", 404, "", Value::Null).await;
    check("PUT /_index_template/beat", r#"{"index_patterns":["b*"]}"#, 200, "/acknowledged", true.into())
        .await;
    check("HEAD /_index_template/beat", "", 200, "", Value::Null).await;
    check("GET /_index_template/beat", "", 200, "/index_templates/0/name", "beat".into()).await;
    check("PUT /i1", "", 200, "/index", "i1".into()).await;
    check("PUT /i1", "", 400, "/error/type", "resource_already_exists_exception".into()).await;
    check("HEAD /i1", "", 200, "", Value::Null).await;
    check("DELETE /i1,none", "", 404, "/status", 404.into()).await;
    check("DELETE /i1,none?ignore_unavailable=true", "", 200, "/acknowledged", true.into()).await;
    check("HEAD /i1", "", 404, "", Value::Null).await;
    check("POST /i1/_search", "{}", 501, "/status", 501.into()).await;
    check("GET /_nonsense", "", 400, "/status", 400.into()).await;
    let auto = r#"{"transient":{"action.auto_create_index":"ok-*"}}"#;
    check("PUT /_cluster/settings", auto, 200, "/acknowledged", true.into()).await;
    let bulk = "{\"index\":{\"_index\":\"no\"}}\n{}\n{\"index\":{\"_index\":\"ok-1\"}}\n{}\n";
    check("POST /_bulk", bulk, 200, "/items/0/index/error/type", "index_not_found_exception".into()).await;
    check("POST /_bulk", bulk, 200, "/items/1/index/status", 201.into()).await;
    check("POST /ok-1/_doc", r#"{"message":"x"}"#, 201, "/result", "created".into()).await;
}

fn fluent(node: &Node, key: &str) -> FluentService {
    let security = FluentSecurity { shared_key: key.into(), hostname: "kenning".into(), users: vec![] };
    let limits = FluentLimits { frame_bytes: 4096, ..FluentLimits::default() };
    let intake = node.pipeline.intake();
    FluentService::new(intake, TENANT(), Budget::default(), limits, security, node.stats.clone())
}

struct Client {
    stream: DuplexStream,
    served: JoinHandle<Option<&'static str>>,
    _stopper: Stopper,
}

impl Client {
    fn of_fluent(service: FluentService) -> Self {
        let (stream, far) = tokio::io::duplex(1 << 16);
        let (stopper, stop) = stop_pair();
        let far: BoxStream = Box::new(far);
        let served = tokio::spawn(service.connection(far, "127.0.0.1:9".parse().unwrap(), stop));
        Self { stream, served, _stopper: stopper }
    }

    /// Sends the rest, closes, and tells how the server ended it and what it said.
    async fn end(mut self, bytes: &[u8]) -> (Option<&'static str>, Vec<u8>) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = self.stream.read_to_end(&mut answer).await;
        (self.served.await.unwrap(), answer)
    }
}

/// `["t", nil, {"message": text}, {"chunk": "c"}]`; nil is the time of receipt.
fn message(text: &str) -> Vec<u8> {
    let mut out = b"\x94\xa1t\xc0\x81\xa7message".to_vec();
    out.push(0xa0 | text.len() as u8);
    out.extend(text.as_bytes());
    out.extend(b"\x81\xa5chunk\xa1c");
    out
}

#[tokio::test]
async fn fluent_chunks_are_acknowledged_after_the_commit() {
    let node = Node::start_default().await;
    node.store.close();
    let mut client = Client::of_fluent(fluent(&node, ""));
    client.stream.write_all(&[message("one"), message("two")].concat()).await.unwrap();
    let mut answer = [0; 14];
    let early = tokio::time::timeout(Duration::from_millis(50), client.stream.read_exact(&mut answer)).await;
    assert!(early.is_err(), "acknowledged before the commit");
    node.store.open();
    client.stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"\x81\xa3ack\xa1c\x81\xa3ack\xa1c");
    assert_eq!(node.store.lines(), ["one", "two"]);
    assert_eq!(client.end(b"").await, (None, vec![]));
}

#[tokio::test]
async fn bad_fluent_frames_end_the_connection_for_a_counted_cause() {
    let node = Node::start_default().await;
    let check = async |bytes: &[u8], cause| {
        let (ended, _) = Client::of_fluent(fluent(&node, "")).end(bytes).await;
        assert_eq!(ended, cause, "{bytes:?}");
    };
    check(b"\xc1", Some("not_msgpack")).await;
    check(b"\x01", Some("bad_frame")).await;
    check(b"GET / HTTP/1.1\r\n\r\n", Some("bad_frame")).await;
    check(&message("cut")[..9], Some("cut")).await;
    check(&[&b"\xdb\x7f\xff\xff\xff"[..], &[b'x'; 5000]].concat(), Some("too_large")).await;
    check(&message("good"), None).await;
    assert_eq!(node.store.lines(), ["good"]);
    let (ended, answer) = Client::of_fluent(fluent(&node, "key")).end(&message("no proof")).await;
    assert_eq!((ended, &answer[..6]), (Some("bad_handshake"), &b"\x92\xa4HELO"[..]));
    assert_eq!(node.store.lines(), ["good"]);
}

fn syslog(node: &Node) -> SyslogService {
    let (intake, limits) = (node.pipeline.intake(), SyslogLimits::default());
    SyslogService::new(intake, TENANT(), Budget::default(), limits, 0, node.stats.clone())
}

#[tokio::test]
async fn syslog_over_streams_and_datagrams() {
    let node = Node::start_default().await;
    let (stream, far) = tokio::io::duplex(1 << 16);
    let (stopper, stop) = stop_pair();
    let peer = "127.0.0.1:9".parse().unwrap();
    let far: BoxStream = Box::new(far);
    let served = tokio::spawn(syslog(&node).connection(SYSLOG_TCP, far, peer, stop.clone()));
    let client = Client { stream, served, _stopper: stop_pair().0 };
    assert_eq!(
        client.end(b"<13>1 - h a - - - one\n21 <13>1 - h a - - - twoplain, and cut").await,
        (None, vec![])
    );
    assert_eq!(node.store.lines().len(), 3, "{:?}", node.store.lines());
    assert_eq!(node.counted("kenning_receive_oddities_total", &[SYSLOG_TCP, "no_priority"]), 1.0);
    let (port, feed, _) = SimPort::new(peer, 8);
    let served = tokio::spawn(syslog(&node).datagrams(Box::new(port), stop));
    feed.send((b"<13>1 - h a - - - datagram".to_vec(), peer)).await.unwrap();
    let arrived = async {
        while !node.store.lines().contains(&"datagram".to_owned()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), arrived).await.unwrap();
    stopper.stop();
    served.await.unwrap();
    let _: &GatedStore = &node.store;
}
