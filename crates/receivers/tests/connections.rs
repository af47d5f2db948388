//! The guards around connections, on real sockets with their times shortened.

mod common;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use kenning_receivers::serve::{ConnectionLimits, Connections, Serving, Versions, serve, stop_pair};
use kenning_stdx::net::{BoxFuture, BoxStream, Listener, Net, TcpNet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SHORT: Duration = Duration::from_millis(100);

fn with(connections: ConnectionLimits) -> Setup {
    Setup { connections, ..Setup::default() }
}

/// Reads until the peer closes; what came, or `None` when it is still open after a while.
async fn until_closed(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut read)).await;
    closed.ok().map(|_| read)
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_and_trickling_clients_are_dropped_while_others_are_served() {
    let node =
        Node::start(with(ConnectionLimits { header_time: SHORT, ..ConnectionLimits::default() })).await;
    let mut silent = TcpStream::connect(node.http).await.unwrap();
    let mut trickling = TcpStream::connect(node.http).await.unwrap();
    trickling.write_all(b"POST /v1/logs HTTP/1.1\r\nhost: x\r\nx-a: ").await.unwrap();
    let mut half_preface = TcpStream::connect(node.http).await.unwrap();
    half_preface.write_all(b"PO").await.unwrap();
    for stream in [&mut silent, &mut trickling, &mut half_preface] {
        assert_eq!(until_closed(stream).await.as_deref(), Some(&b""[..]));
    }
    let answer = node.post("/v1/logs", &[("content-type", "application/json")], "{}").await;
    assert_eq!(answer.status, 200);
    assert_eq!(node.counted("kenning_http_connections_ended_total", &["otlp_http", "slow_header"]), 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_end_gracefully() {
    let node = Node::start(with(ConnectionLimits { idle: SHORT, ..ConnectionLimits::default() })).await;
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    let request =
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(request.as_bytes()).await.unwrap();
    let read = until_closed(&mut stream).await.unwrap();
    assert!(read.starts_with(b"HTTP/1.1 200 OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_cap_are_closed_at_once() {
    let caps = Connections::new(Some(2), None);
    let node = Node::start(Setup { caps, ..Setup::default() }).await;
    let (first, _second) =
        (TcpStream::connect(node.http).await.unwrap(), TcpStream::connect(node.grpc).await.unwrap());
    while node.counted("kenning_http_connections", &[]) < 2.0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut third = TcpStream::connect(node.http).await.unwrap();
    assert_eq!(until_closed(&mut third).await.as_deref(), Some(&b""[..]));
    assert_eq!(node.counted("kenning_http_connections_ended_total", &["too_many"]), 1.0);
    drop(first);
    while node.counted("kenning_http_connections", &["otlp_http"]) > 0.0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(node.post("/v1/logs", &[("content-type", "application/json")], "{}").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_heads_are_refused() {
    let node = Node::start_default().await;
    let padding = "x".repeat(64 * 1024);
    let answer =
        raw(node.http, format!("POST /v1/logs HTTP/1.1\r\nhost: x\r\nx-a: {padding}\r\n\r\n").as_bytes())
            .await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let garbage = raw(node.http, b"\x16\x03\x01 hello\r\n\r\n").await;
    assert!(garbage.is_empty() || garbage.starts_with("HTTP/1.1 400 "), "{garbage}");
    assert_eq!(node.post("/v1/logs", &[("content-type", "application/json")], "{}").await.status, 200);
}

async fn panicking(request: Request<Incoming>, _: SocketAddr) -> Response<Full<Bytes>> {
    assert!(request.uri().path() != "/panic", "a handler that breaks an invariant");
    Response::new(Full::from("fine"))
}

fn serving_of(node: &Node, name: &'static str) -> Serving {
    Serving {
        name,
        versions: Versions::Both,
        limits: ConnectionLimits::default(),
        connections: Connections::default(),
        clock: node.clock.clone(),
        stats: node.stats.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_its_request_alone() {
    let node = Node::start_default().await;
    let listener = TcpNet.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, (_stopper, stop)) = (listener.local_addr().unwrap(), stop_pair());
    tokio::spawn(serve(listener, serving_of(&node, "panics"), stop, panicking));
    assert_eq!(send(address, "GET", "/panic", &[], "".into()).await.status, 500);
    assert_eq!(send(address, "GET", "/", &[], "".into()).await.text(), "fine");
    assert_eq!(node.counted("kenning_http_panics_total", &["panics"]), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_requests_in_flight_end_and_takes_no_more() {
    let node = Node::start_default().await;
    node.store.close();
    let body = logs_json(&[("last words", node.now())]);
    let http = node.http;
    let headers = [("content-type", "application/json")];
    let waiting = tokio::spawn(async move { send(http, "POST", "/v1/logs", &headers, body.into()).await });
    while node.counted("kenning_ingest_queue_bytes", &[]) == 0.0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    node.stopper.stop();
    while TcpStream::connect(http).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    node.store.open();
    assert_eq!(waiting.await.unwrap().status, 200);
    for served in node.served {
        served.await.unwrap();
    }
    assert_eq!(node.store.lines(), ["last words"]);
}

/// A listener that lacks descriptors for a while.
struct Starved {
    inner: Box<dyn Listener>,
    failures_left: AtomicUsize,
}

impl Listener for Starved {
    fn accept(&self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        const EMFILE: i32 = 24;
        let lowered = |left: usize| left.checked_sub(1);
        match self.failures_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lowered) {
            Ok(_) => Box::pin(async { Err(io::Error::from_raw_os_error(EMFILE)) }),
            Err(_) => self.inner.accept(),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accept_loop_outlives_a_lack_of_descriptors() {
    let node = Node::start_default().await;
    let inner = TcpNet.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, (_stopper, stop)) = (inner.local_addr().unwrap(), stop_pair());
    let starved = Starved { inner, failures_left: AtomicUsize::new(3) };
    tokio::spawn(serve(Box::new(starved), serving_of(&node, "starved"), stop, panicking));
    assert_eq!(send(address, "GET", "/", &[], "".into()).await.text(), "fine");
    assert_eq!(node.counted("kenning_http_connections_ended_total", &["starved", "accept_failed"]), 3.0);
}
