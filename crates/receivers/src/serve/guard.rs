//! Watches one connection's bytes and requests, to tell the slow and the silent from the busy.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use kenning_stdx::clock::Clock;
use kenning_stdx::net::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ConnectionLimits;

/// The first bytes of HTTP/2 with prior knowledge; no HTTP/1 method starts so.
const H2_PREFACE_START: &[u8] = b"PRI";

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it go on.
    Keep,
    /// Let its requests end and take no more.
    Finish(&'static str),
    /// Cut it off.
    Drop(&'static str),
}

/// What happened on a connection, in marks of the steady clock.
pub struct Activity {
    clock: Arc<dyn Clock>,
    opened: Duration,
    is_h2: AtomicBool,
    in_flight: AtomicUsize,
    /// First byte since the last request ended.
    head_since: Mark,
    /// Last time no request was left.
    idle_since: Mark,
    /// First write that the peer did not take.
    stalled_since: Mark,
    finishing_since: Mark,
}

/// An instant or none, in one atomic: milliseconds plus one.
#[derive(Default)]
struct Mark(AtomicU64);

impl Mark {
    fn set(&self, at: Duration) {
        self.0.store(encode(at), Ordering::Relaxed);
    }

    fn set_if_none(&self, at: Duration) {
        let _ = self.0.compare_exchange(0, encode(at), Ordering::Relaxed, Ordering::Relaxed);
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn older_than(&self, age: Duration, now: Duration) -> bool {
        let millis = self.0.load(Ordering::Relaxed).checked_sub(1);
        millis.is_some_and(|at| now.saturating_sub(Duration::from_millis(at)) >= age)
    }
}

fn encode(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX - 1) + 1
}

/// A request in flight; it ends when this is dropped.
pub struct InFlight(Arc<Activity>);

impl Activity {
    /// A connection opened now.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let opened = clock.steady();
        let this = Self {
            clock,
            opened,
            is_h2: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            head_since: Mark::default(),
            idle_since: Mark::default(),
            stalled_since: Mark::default(),
            finishing_since: Mark::default(),
        };
        this.head_since.set(opened);
        this.idle_since.set(opened);
        this
    }

    /// A request's head is complete.
    pub fn begin_request(self: Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.head_since.clear();
        InFlight(self)
    }

    /// An end was asked for.
    pub fn begin_finish(&self) {
        self.finishing_since.set(self.clock.steady());
    }

    /// Holds the connection against the limits.
    pub fn judge(&self, limits: &ConnectionLimits, finishing: bool) -> Verdict {
        let now = self.clock.steady();
        let without_request = self.in_flight.load(Ordering::Relaxed) == 0;
        if self.stalled_since.older_than(limits.stall, now) {
            return Verdict::Drop("slow_reader");
        }
        // HTTP/2 peers send frames between requests that are no heads; idleness alone bounds those.
        let awaits_head = without_request && !self.is_h2.load(Ordering::Relaxed);
        if awaits_head && self.head_since.older_than(limits.header_time, now) {
            return Verdict::Drop("slow_header");
        }
        if finishing {
            let overdue = self.finishing_since.older_than(limits.drain, now);
            return if overdue { Verdict::Drop("not_ended") } else { Verdict::Keep };
        }
        if without_request && self.idle_since.older_than(limits.idle, now) {
            return Verdict::Finish("idle");
        }
        if now.saturating_sub(self.opened) >= limits.age { Verdict::Finish("age") } else { Verdict::Keep }
    }

    fn note_read(&self, bytes: &[u8]) {
        if bytes.is_empty() || self.in_flight.load(Ordering::Relaxed) > 0 {
            return;
        }
        if bytes.starts_with(H2_PREFACE_START) {
            self.is_h2.store(true, Ordering::Relaxed);
        }
        self.head_since.set_if_none(self.clock.steady());
    }

    fn note_write<T>(&self, poll: &Poll<T>) {
        if poll.is_pending() {
            self.stalled_since.set_if_none(self.clock.steady());
        } else {
            self.stalled_since.clear();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.idle_since.set(self.0.clock.steady());
        }
    }
}

/// A stream whose traffic is noted.
pub struct GuardedIo {
    stream: BoxStream,
    activity: Arc<Activity>,
}

impl GuardedIo {
    /// Notes the traffic of `stream` in `activity`.
    pub fn new(stream: BoxStream, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl AsyncRead for GuardedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.activity.note_read(buf.filled().get(before..).unwrap_or_default());
        poll
    }
}

impl AsyncWrite for GuardedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.activity.note_write(&poll);
        poll
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.activity.note_write(&poll);
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// An answer's body: its request is in flight until the body has gone.
pub struct Tracked<B> {
    body: Pin<Box<B>>,
    _in_flight: InFlight,
}

impl<B> Tracked<B> {
    /// Keeps `in_flight` for as long as the body is being sent.
    pub fn new(body: B, in_flight: InFlight) -> Self {
        Self { body: Box::pin(body), _in_flight: in_flight }
    }
}

impl<B: Body<Data = Bytes>> Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_stdx::clock::SimClock;

    struct Bench {
        clock: Arc<SimClock>,
        activity: Arc<Activity>,
        limits: ConnectionLimits,
    }

    impl Bench {
        fn new() -> Self {
            let clock = Arc::new(SimClock::new(0));
            let activity = Arc::new(Activity::new(clock.clone()));
            Self { clock, activity, limits: ConnectionLimits::default() }
        }

        #[track_caller]
        fn after(&self, seconds: u64, expect: Verdict) {
            self.clock.advance(Duration::from_secs(seconds));
            assert_eq!(self.activity.judge(&self.limits, false), expect);
        }
    }

    #[test]
    fn silent_and_trickling_heads_are_dropped_in_time() {
        let silent = Bench::new();
        silent.after(9, Verdict::Keep);
        silent.after(1, Verdict::Drop("slow_header"));
        let trickling = Bench::new();
        drop(trickling.activity.clone().begin_request());
        trickling.after(30, Verdict::Keep);
        for _ in 0..9 {
            trickling.activity.note_read(b"G");
            trickling.after(1, Verdict::Keep);
        }
        trickling.activity.note_read(b"E");
        trickling.after(1, Verdict::Drop("slow_header"));
    }

    #[test]
    fn a_request_in_flight_may_take_its_time() {
        let bench = Bench::new();
        let request = bench.activity.clone().begin_request();
        bench.after(1000, Verdict::Keep);
        drop(request);
        bench.after(59, Verdict::Keep);
        bench.after(1, Verdict::Finish("idle"));
    }

    #[test]
    fn http2_without_requests_is_idle_not_slow() {
        let bench = Bench::new();
        bench.activity.note_read(b"PRI * HTTP/2.0");
        bench.after(59, Verdict::Keep);
        bench.after(1, Verdict::Finish("idle"));
    }

    #[test]
    fn peers_that_do_not_read_are_dropped() {
        let bench = Bench::new();
        let _request = bench.activity.clone().begin_request();
        bench.activity.note_write(&Poll::<()>::Pending);
        bench.after(29, Verdict::Keep);
        bench.activity.note_write(&Poll::Ready(()));
        bench.after(29, Verdict::Keep);
        bench.activity.note_write(&Poll::<()>::Pending);
        bench.after(30, Verdict::Drop("slow_reader"));
    }

    #[test]
    fn old_connections_are_asked_to_end() {
        let bench = Bench::new();
        let _request = bench.activity.clone().begin_request();
        bench.after(30 * 60, Verdict::Finish("age"));
    }
}
