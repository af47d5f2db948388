//! The accept loop and the guards around every connection. Speaks HTTP/1.1 and HTTP/2 with prior knowledge.
//!
//! Guards, all on by default ([`ConnectionLimits`]): connections in all and per address; time to the first byte of a
//! request and for its head; idleness; age; a peer that does not read; streams, header sizes and resets of HTTP/2. A
//! failing `accept` pauses the loop and never ends it. A handler that panics answers 500 for that request alone.
//!
//! Absent: TLS; a spare file descriptor to turn connections away with when descriptors run out (the loop waits).

mod caps;
mod guard;
mod streams;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use kenning_pipeline::telemetry::{Counter, Gauge};
use kenning_stdx::clock::Clock;
use kenning_stdx::net::{BoxStream, Listener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::stats::{ByEnd, ByListener, Stats};
pub use caps::Connections;
use caps::Slot;
use guard::{Activity, GuardedIo, InFlight, Tracked, Verdict};
pub use streams::serve_streams;

const KIB: usize = 1024;

/// How long a failed `accept` pauses the loop: long enough for connections to end, short enough to recover in a second.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

/// How often the guards look at a connection.
const GUARD_TICK: Duration = Duration::from_millis(1500);

/// Guards of a listener's connections.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// From the first byte of a request (from the opening of the connection for the first one) to the end of its head.
    pub header_time: Duration,
    /// Without a request in flight.
    pub idle: Duration,
    /// While the peer reads nothing of an answer.
    pub stall: Duration,
    /// After which a connection is asked to end, whatever it does.
    pub age: Duration,
    /// For requests in flight once an end was asked for.
    pub drain: Duration,
    /// Concurrent requests of one HTTP/2 connection.
    pub h2_streams: u32,
    /// Bytes of one HTTP/2 request's headers.
    pub h2_header_bytes: u32,
    /// Streams opened and reset by the peer that may wait for us (rapid reset).
    pub h2_pending_resets: usize,
    /// Bytes of one HTTP/1 request's head.
    pub h1_header_bytes: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            header_time: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            age: Duration::from_secs(30 * 60),
            drain: Duration::from_secs(10),
            h2_streams: 100,
            h2_header_bytes: 16 * KIB as u32,
            h2_pending_resets: 20,
            h1_header_bytes: 32 * KIB,
        }
    }
}

/// Which versions of HTTP a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/1.1, and HTTP/2 for clients that start with it.
    Both,
    /// HTTP/2 alone, as gRPC needs it.
    Http2,
}

/// What a listener is served with.
#[derive(Clone)]
pub struct Serving {
    /// Name in metrics: a constant such as `otlp_grpc`.
    pub name: &'static str,
    /// Versions of HTTP.
    pub versions: Versions,
    /// Guards.
    pub limits: ConnectionLimits,
    /// Connections of all listeners that share the caps.
    pub connections: Connections,
    /// Measures the guards' times.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub stats: Stats,
}

/// Tells servers to stop when it is called or dropped.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Hears of a [`Stopper`]. Cloning hears the same one.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// A pair of one who tells and one who hears.
#[must_use]
pub fn stop_pair() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Asks for the stop.
    pub fn stop(&self) {
        let _ = self.0.send(true);
    }
}

impl Stop {
    /// Waits until a stop is asked for.
    pub async fn wait(&mut self) {
        // A stopper that is gone cannot call any more: that is a stop too.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}

/// Serves a listener until `stop`, then lets requests in flight end within [`ConnectionLimits::drain`] and returns.
///
/// `handler` gets every request and the peer's address. Its future runs on the connection's task.
pub async fn serve<H, F, B>(listener: Box<dyn Listener>, serving: Serving, stop: Stop, handler: H)
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + From<Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let context = (serving.clone(), stop.clone());
    let start = move |stream, peer, slot| {
        let (serving, stop) = context.clone();
        connection(stream, peer, serving, stop, handler.clone(), slot)
    };
    accept_all(listener, serving, stop, start).await;
}

/// Accepts until `stop` whatever the caps let in, each connection a task of its own, then waits for them to end, for
/// [`ConnectionLimits::drain`] at most.
async fn accept_all<F>(
    listener: Box<dyn Listener>,
    serving: Serving,
    mut stop: Stop,
    start: impl Fn(BoxStream, SocketAddr, Slot) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some(slot) = admit(&serving, peer) {
                        connections.spawn(start(stream, peer, slot));
                    }
                }
                Err(error) => {
                    count_end(&serving, "accept_failed");
                    if !concerns_one_peer(&error) {
                        tokio::time::sleep(ACCEPT_BACK_OFF).await;
                    }
                }
            },
            Some(_) = connections.join_next() => {}
            () = stop.wait() => break,
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(serving.limits.drain, all_ended).await;
    connections.abort_all();
}

/// A peer that left before it was accepted is no reason to pause; a lack of descriptors or memory is.
fn concerns_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn admit(serving: &Serving, peer: SocketAddr) -> Option<Slot> {
    match serving.connections.admit(peer.ip()) {
        Ok(slot) => Some(slot),
        Err(cause) => {
            count_end(serving, cause);
            None
        }
    }
}

pub(crate) fn count_end(serving: &Serving, cause: &'static str) {
    serving.stats.connections_ended.with(&ByEnd { listener: serving.name, cause }).increment();
}

async fn connection<H, F, B>(
    stream: BoxStream,
    peer: SocketAddr,
    serving: Serving,
    mut stop: Stop,
    handler: H,
    slot: Slot,
) where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + From<Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let _slot = slot;
    let _open = OpenGauge::new(&serving);
    let activity = Arc::new(Activity::new(serving.clock.clone()));
    let io = TokioIo::new(GuardedIo::new(stream, activity.clone()));
    let panics = serving.stats.panics.with(&ByListener(serving.name));
    let service = service_fn(|request: Request<Incoming>| {
        let in_flight = activity.clone().begin_request();
        answer(handler(request, peer), in_flight, panics.clone())
    });
    let builder = builder(&serving);
    let serve = builder.serve_connection_with_upgrades(io, service);
    tokio::pin!(serve);
    let mut finishing = false;
    loop {
        tokio::select! {
            // An error here is the peer's: bytes that are not HTTP, or a connection cut off.
            _ended = serve.as_mut() => return,
            end = watch(&activity, &serving, &mut stop, finishing) => match end {
                End::Now => return,
                End::AfterRequests => {
                    finishing = true;
                    activity.begin_finish();
                    serve.as_mut().graceful_shutdown();
                }
            },
        }
    }
}

async fn answer<B: From<Bytes>>(
    handling: impl Future<Output = Response<B>>,
    in_flight: InFlight,
    panics: Arc<Counter>,
) -> Result<Response<Tracked<B>>, Infallible> {
    let response = CatchPanic(Box::pin(handling)).await.unwrap_or_else(|Panicked| {
        panics.increment();
        internal_error()
    });
    Ok(response.map(|body| Tracked::new(body, in_flight)))
}

/// How a connection is to end.
enum End {
    Now,
    AfterRequests,
}

/// Waits until a connection is to end: by its guards, or by the server's stop.
async fn watch(activity: &Activity, serving: &Serving, stop: &mut Stop, finishing: bool) -> End {
    loop {
        tokio::select! {
            () = tokio::time::sleep(GUARD_TICK) => match activity.judge(&serving.limits, finishing) {
                Verdict::Keep => {}
                Verdict::Drop(cause) => {
                    count_end(serving, cause);
                    return End::Now;
                }
                Verdict::Finish(cause) => {
                    count_end(serving, cause);
                    return End::AfterRequests;
                }
            },
            () = stop.wait(), if !finishing => return End::AfterRequests,
        }
    }
}

fn builder(serving: &Serving) -> Builder<TokioExecutor> {
    let limits = &serving.limits;
    let mut builder = Builder::new(TokioExecutor::new());
    // The guards end slow heads sooner; hyper's timer also runs between requests, so it gets the time of idleness.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(limits.h1_header_bytes.max(8 * KIB));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(limits.h2_header_bytes)
        .max_pending_accept_reset_streams(limits.h2_pending_resets)
        .max_local_error_reset_streams(limits.h2_pending_resets);
    match serving.versions {
        Versions::Both => builder,
        Versions::Http2 => builder.http2_only(),
    }
}

fn internal_error<B: From<Bytes>>() -> Response<B> {
    let mut response = Response::new(B::from(Bytes::from_static(b"internal error\n")));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// Counts a connection while it is open.
struct OpenGauge(Arc<Gauge>);

impl OpenGauge {
    fn new(serving: &Serving) -> Self {
        let gauge = serving.stats.connections.with(&ByListener(serving.name));
        gauge.add(1);
        Self(gauge)
    }
}

impl Drop for OpenGauge {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

/// Turns a panic of the inner future into a value.
struct CatchPanic<F>(Pin<Box<F>>);

struct Panicked;

impl<F: Future> Future for CatchPanic<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // After a panic the future is dropped and never polled again, so nothing half-done is seen.
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}
