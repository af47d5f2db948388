//! A node's receiving half on real sockets, before a store whose writes a test can hold up.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kenning_model::{
    BatchId, Block, Expired, Filter, Flow, LogBatch, Retention, Scan, ScanError, ScanSummary, SeriesRows,
    Span, Store, Table, TenantId, TimeRange, Write, WriteError,
};
use kenning_pipeline::telemetry::{PointValue, Registry};
use kenning_pipeline::{Limits, Pipeline, PipelineOptions};
use kenning_query::MemoryStore;
use kenning_receivers::otlp_grpc::GrpcService;
use kenning_receivers::push::{PushOptions, PushService};
use kenning_receivers::serve::{ConnectionLimits, Connections, Serving, Stopper, Versions, serve, stop_pair};
use kenning_receivers::stats::Stats;
use kenning_stdx::clock::{Clock, SystemClock};
use kenning_stdx::net::{Net, TcpNet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The in-memory store behind a gate.
#[derive(Default)]
pub struct GatedStore {
    inner: MemoryStore,
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Default)]
struct Gate {
    closed: bool,
    failing: bool,
    entered: usize,
}

impl GatedStore {
    pub fn close(&self) {
        self.gate.lock().unwrap().closed = true;
    }

    pub fn open(&self) {
        self.gate.lock().unwrap().closed = false;
        self.changed.notify_all();
    }

    pub fn fail(&self, failing: bool) {
        self.gate.lock().unwrap().failing = failing;
    }

    fn rows(&self, table: Table) -> Vec<Block> {
        let tenant = TenantId::default_tenant();
        let scan = Scan::rows(tenant, table, TimeRange::ALL, Filter::All);
        let mut blocks = Vec::new();
        let mut sink = |block| {
            blocks.push(block);
            Flow::More
        };
        self.inner.scan(&scan, &mut sink).unwrap();
        blocks
    }

    pub fn series(&self) -> Vec<SeriesRows> {
        let rows = |block| if let Block::Series(rows) = block { rows } else { vec![] };
        self.rows(Table::Samples).into_iter().flat_map(rows).collect()
    }

    pub fn lines(&self) -> Vec<String> {
        let logs = |block| if let Block::Logs(logs) = block { logs } else { LogBatch::default() };
        let lines = |logs: LogBatch| logs.rows().map(|row| row.line.to_owned()).collect::<Vec<_>>();
        self.rows(Table::Logs).into_iter().map(logs).flat_map(lines).collect()
    }

    pub fn spans(&self) -> Vec<Span> {
        let spans = |block| if let Block::Spans(spans) = block { spans.spans } else { vec![] };
        self.rows(Table::Spans).into_iter().flat_map(spans).collect()
    }
}

impl Store for GatedStore {
    fn write(&self, group: &[Write]) -> Result<(), WriteError> {
        let mut gate = self.gate.lock().unwrap();
        gate.entered += 1;
        while gate.closed {
            gate = self.changed.wait(gate).unwrap();
        }
        if gate.failing {
            return Err(WriteError::Unavailable { detail: "no space left on device".into() });
        }
        drop(gate);
        self.inner.write(group)
    }

    fn last_batch_id(&self) -> BatchId {
        self.inner.last_batch_id()
    }

    fn scan(&self, scan: &Scan, sink: &mut dyn FnMut(Block) -> Flow) -> Result<ScanSummary, ScanError> {
        self.inner.scan(scan, sink)
    }

    fn expire(&self, policy: &Retention) -> Result<Expired, WriteError> {
        self.inner.expire(policy)
    }
}

#[derive(Default)]
pub struct Setup {
    pub pipeline: PipelineOptions,
    pub push: PushOptions,
    pub connections: ConnectionLimits,
    pub caps: Connections,
}

impl From<Limits> for Setup {
    fn from(limits: Limits) -> Self {
        let pipeline = PipelineOptions { limits: limits.into(), ..PipelineOptions::default() };
        Self { pipeline, ..Self::default() }
    }
}

pub struct Node {
    pub store: Arc<GatedStore>,
    pub pipeline: Pipeline,
    pub registry: Registry,
    pub stats: Stats,
    pub clock: Arc<dyn Clock>,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub stopper: Stopper,
    pub served: Vec<tokio::task::JoinHandle<()>>,
}

impl Node {
    pub async fn start(setup: Setup) -> Self {
        let (store, clock) = (Arc::new(GatedStore::default()), Arc::new(SystemClock::new()));
        let registry = Registry::new();
        let stats = Stats::new(&registry);
        let pipeline = Pipeline::start(store.clone(), clock.clone(), setup.pipeline, &registry).unwrap();
        let push = PushService::new(pipeline.intake(), setup.push.clone(), stats.clone());
        let grpc = GrpcService::new(pipeline.intake(), setup.push, stats.clone());
        let (stopper, stop) = stop_pair();
        let serving = |name, versions| Serving {
            name,
            versions,
            limits: setup.connections.clone(),
            connections: setup.caps.clone(),
            clock: clock.clone(),
            stats: stats.clone(),
        };
        let any = "127.0.0.1:0".parse().unwrap();
        let (http_listener, grpc_listener) =
            (TcpNet.bind(any).await.unwrap(), TcpNet.bind(any).await.unwrap());
        let addresses = (http_listener.local_addr().unwrap(), grpc_listener.local_addr().unwrap());
        let on_http = move |request, _| {
            let push = push.clone();
            async move { push.serve(request).await }
        };
        let on_grpc = move |request, _| {
            let grpc = grpc.clone();
            async move { grpc.serve(request).await }
        };
        let served = vec![
            tokio::spawn(serve(http_listener, serving("otlp_http", Versions::Both), stop.clone(), on_http)),
            tokio::spawn(serve(grpc_listener, serving("otlp_grpc", Versions::Http2), stop, on_grpc)),
        ];
        let (http, grpc) = addresses;
        Self { store, pipeline, registry, stats, clock, http, grpc, stopper, served }
    }

    pub async fn start_default() -> Self {
        Self::start(Setup::default()).await
    }

    pub fn now(&self) -> i64 {
        self.clock.unix_nanos()
    }

    /// Sum of a counter's or gauge's points that carry all these label values.
    pub fn counted(&self, family: &str, labels: &[&str]) -> f64 {
        let snapshot = self.registry.snapshot();
        let points = snapshot.iter().filter(|f| f.name == family).flat_map(|f| &f.points);
        let matching = points.filter(|point| labels.iter().all(|l| point.labels.iter().any(|(_, v)| v == l)));
        matching.map(|point| if let PointValue::Number(value) = point.value { value } else { 0.0 }).sum()
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        send(self.http, "POST", path, headers, body.into()).await
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub trailers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).or_else(|| self.trailers.get(name));
        value.map_or("", |value| value.to_str().unwrap())
    }
}

pub async fn send(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "kenning");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap();
    answer(response).await
}

pub async fn call(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
    let stream = TcpStream::connect(to).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut request =
        Request::builder().method("POST").uri(format!("http://kenning{path}")).header("te", "trailers");
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/grpc");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap();
    answer(response).await
}

async fn answer(response: http::Response<hyper::body::Incoming>) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Answer { status, headers, trailers, body: collected.to_bytes() }
}

/// Sends bytes as they are, then reads until the peer closes.
pub async fn raw(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

pub fn framed(flag: u8, message: &[u8]) -> Bytes {
    let mut frame = vec![flag];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(message);
    frame.into()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

pub fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

pub fn traces_json(spans: &[(&str, i64)]) -> String {
    let span = |(name, start): &(&str, i64)| {
        format!(
            r#"{{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"{name}","kind":2,
            "startTimeUnixNano":"{start}","endTimeUnixNano":"{start}"}}"#
        )
    };
    let spans: Vec<_> = spans.iter().map(span).collect();
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"t"}}}}]}},
        "scopeSpans":[{{"scope":{{}},"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    )
}

pub fn logs_json(lines: &[(&str, i64)]) -> String {
    let record = |(line, time): &(&str, i64)| {
        format!(r#"{{"timeUnixNano":"{time}","severityNumber":9,"body":{{"stringValue":"{line}"}}}}"#)
    };
    let records: Vec<_> = lines.iter().map(record).collect();
    format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"t"}}}}]}},
        "scopeLogs":[{{"logRecords":[{}]}}]}}]}}"#,
        records.join(",")
    )
}

pub fn gauge_json(points: &[(&str, i64)]) -> String {
    let metric = |(name, time): &(&str, i64)| {
        format!(
            r#"{{"name":"{name}","gauge":{{"dataPoints":[{{"timeUnixNano":"{time}","asDouble":1.5}}]}}}}"#
        )
    };
    let metrics: Vec<_> = points.iter().map(metric).collect();
    format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{}]}}]}}]}}"#, metrics.join(","))
}

pub fn traces_protobuf(spans: &[(&str, i64)]) -> Vec<u8> {
    let json = traces_json(spans);
    let (limits, options) = (
        kenning_wire::DecodeLimits::default(),
        kenning_wire::otlp::OtlpOptions::new(kenning_model::Nanos(0)),
    );
    let decoded = kenning_wire::otlp::decode_traces(
        json.as_bytes(),
        kenning_wire::otlp::Format::Json,
        &limits,
        &options,
    );
    kenning_wire::otlp::encode_traces(&decoded.unwrap().batch)
}
