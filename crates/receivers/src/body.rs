//! Reads a request's body under guard: size, speed, whole time, and memory charged as the bytes arrive.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use kenning_stdx::clock::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const MIB: usize = 1024 * 1024;

/// Memory is charged in steps of this many bytes.
const CHARGE_STEP: usize = 64 * 1024;

/// Bytes of a refused body, too large or one too many, that are still read and dropped, so that the client gets to read the refusal
/// instead of a reset connection; and the time for it.
const LINGER_BYTES: usize = 32 * MIB;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// What one body may be.
#[derive(Clone, Debug)]
pub struct BodyLimits {
    /// Bytes as they come over the wire.
    pub wire_bytes: usize,
    /// Bytes after decompression.
    pub decoded_bytes: usize,
    /// Time before the rate counts.
    pub grace: Duration,
    /// Bytes a second that must arrive on average after the grace.
    pub rate_min: u64,
    /// Time for the whole body.
    pub time: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            wire_bytes: 8 * MIB,
            decoded_bytes: 16 * MIB,
            grace: Duration::from_secs(5),
            rate_min: 1024,
            time: Duration::from_secs(120),
        }
    }
}

/// Bodies up to this size on the wire count as small: unpacked and decoded they take a few MiB and milliseconds.
pub(crate) const SMALL_BYTES_MAX: usize = 16 * 1024;

/// Small bodies decoded at once.
const SMALL_DECODING_MAX: usize = 32;

/// Bytes of a buffer for decompressed bodies that is kept for the next body.
const BUFFER_KEPT_MAX: usize = 2 * MIB;

/// How long a body may wait to be decoded before its sender is told to come again.
const DECODE_WAIT_MAX: Duration = Duration::from_secs(5);

/// Memory that bodies of all requests may hold together, and the number of bodies decoded at once. Cloning shares it.
///
/// A decoded body and its batch are several times larger than the body, so what bounds them is that few are decoded
/// at the same time. Small bodies have places of their own and never wait behind large ones.
#[derive(Clone, Debug)]
pub struct Budget {
    bytes: Arc<Semaphore>,
    decoding_large: Arc<Semaphore>,
    decoding_small: Arc<Semaphore>,
    buffers: Arc<Buffers>,
}

/// Buffers for decompressed bodies between two uses: at most as many as large bodies are decoded at once. Asked for
/// anew for each body, half a MiB here and there at a time would have the allocator hold many times that.
#[derive(Debug)]
struct Buffers {
    spare: Mutex<Vec<Vec<u8>>>,
    kept_max: usize,
}

/// A buffer that goes back to where it came from.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) bytes: Vec<u8>,
    home: Arc<Buffers>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !(1..=BUFFER_KEPT_MAX).contains(&self.bytes.capacity()) {
            return;
        }
        let mut spare = self.home.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < self.home.kept_max {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// Memory charged to a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub struct Lease(Option<OwnedSemaphorePermit>);

impl Default for Budget {
    /// 128 MiB of bodies, 4 large ones decoded at once.
    fn default() -> Self {
        Self::new(128 * MIB, 4)
    }
}

impl Budget {
    /// A budget of `bytes` for bodies and `decoding` large bodies decoded at once (at least one).
    #[must_use]
    pub fn new(bytes: usize, decoding: usize) -> Self {
        let bytes = Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        let decoding = decoding.clamp(1, Semaphore::MAX_PERMITS);
        let decoding_small = Arc::new(Semaphore::new(SMALL_DECODING_MAX));
        let buffers = Arc::new(Buffers { spare: Mutex::default(), kept_max: decoding });
        Self { bytes, decoding_large: Arc::new(Semaphore::new(decoding)), decoding_small, buffers }
    }

    /// A buffer to decompress a body into; what is in it does not matter.
    pub(crate) fn buffer(&self) -> Buffer {
        let spare = self.buffers.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: spare.unwrap_or_default(), home: Arc::clone(&self.buffers) }
    }

    /// A lease of nothing yet.
    pub(crate) fn lease(&self) -> Lease {
        Lease(None)
    }

    /// Charges more to a lease; false when the budget is spent.
    pub(crate) fn grow(&self, lease: &mut Lease, bytes: usize) -> bool {
        let Ok(bytes) = u32::try_from(bytes) else { return false };
        let Ok(permit) = self.bytes.clone().try_acquire_many_owned(bytes) else { return false };
        match &mut lease.0 {
            Some(held) => held.merge(permit),
            None => lease.0 = Some(permit),
        }
        true
    }

    /// Waits for a place to decode a body of `bytes` in. The bodies that wait are bounded by their bytes, and by time.
    pub(crate) async fn decode_place(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let places = if bytes <= SMALL_BYTES_MAX { &self.decoding_small } else { &self.decoding_large };
        let place = tokio::time::timeout(DECODE_WAIT_MAX, places.clone().acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or(BodyError::Busy)
    }
}

/// Why a body was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// More bytes than allowed.
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// Slower than the least rate, or longer than the whole time.
    TooSlow,
    /// The connection broke, or the framing is wrong.
    Broken {
        /// What HTTP says.
        detail: String,
    },
    /// All memory for bodies is taken, or all places to decode them.
    Busy,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => {
                write!(f, "the body is larger than {limit} bytes; send smaller batches")
            }
            Self::TooSlow => f.write_str("the body came too slowly"),
            Self::Broken { detail } => write!(f, "the body could not be read: {detail}"),
            Self::Busy => f.write_str("overloaded: no room for more request bodies; retry later"),
        }
    }
}

impl std::error::Error for BodyError {}

/// A body in memory and the memory's charge.
#[derive(Debug)]
pub struct Received {
    /// The bytes as they came over the wire.
    pub bytes: Bytes,
    /// Keeps the charge for as long as it lives.
    pub lease: Lease,
}

#[cfg(test)]
impl Received {
    /// Bytes that nobody is charged for.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into(), lease: Lease(None) }
    }
}

/// Reads a whole body. `expects_continue`: the client waits for our word before it sends, so a body that is known to
/// be too large is refused without asking for it.
pub async fn read<B>(
    body: B,
    limits: &BodyLimits,
    budget: &Budget,
    clock: &dyn Clock,
    expects_continue: bool,
) -> Result<Received, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    let mut body = Box::pin(body);
    let too_large = BodyError::TooLarge { limit: limits.wire_bytes };
    if body.size_hint().lower() > limits.wire_bytes as u64 {
        if !expects_continue {
            linger(body.as_mut()).await;
        }
        return Err(too_large);
    }
    let mut reading = Reading { buffer: BytesMut::new(), lease: budget.lease(), charged: 0 };
    let started = clock.steady();
    loop {
        let left = time_left(limits, reading.buffer.len(), clock.steady().saturating_sub(started));
        let frame = tokio::time::timeout(left, next_data(body.as_mut())).await;
        match frame.map_err(|_| BodyError::TooSlow)?? {
            None => return Ok(Received { bytes: reading.buffer.freeze(), lease: reading.lease }),
            Some(data) if data.len() > limits.wire_bytes - reading.buffer.len() => {
                drop(reading);
                linger(body.as_mut()).await;
                return Err(too_large);
            }
            Some(data) => {
                if let Err(busy) = reading.append(&data, body.size_hint().lower(), budget) {
                    drop(reading);
                    linger(body.as_mut()).await;
                    return Err(busy);
                }
            }
        }
    }
}

struct Reading {
    buffer: BytesMut,
    lease: Lease,
    charged: usize,
}

impl Reading {
    /// Keeps what came, and makes room for what its sender says will follow: grown step by step, a body would be there
    /// twice each time its buffer moves. No more than some times what came: the rest is a claim.
    fn append(&mut self, data: &[u8], follows: u64, budget: &Budget) -> Result<(), BodyError> {
        self.make_room(data.len(), budget)?;
        self.buffer.extend_from_slice(data);
        let believed = self.buffer.len().saturating_mul(EXPECTED_FACTOR);
        self.make_room(usize::try_from(follows).unwrap_or(usize::MAX).min(believed), budget)
    }

    /// Room for so many bytes more, charged before it is taken.
    fn make_room(&mut self, bytes: usize, budget: &Budget) -> Result<(), BodyError> {
        let needed = self.buffer.len() + bytes;
        if needed > self.charged {
            let step = (needed - self.charged).next_multiple_of(CHARGE_STEP);
            if !budget.grow(&mut self.lease, step) {
                return Err(BodyError::Busy);
            }
            self.charged += step;
        }
        if self.buffer.capacity() < needed {
            self.buffer.reserve(bytes);
        }
        Ok(())
    }
}

/// Room that is made for each byte that came, as long as a sender says that more will.
const EXPECTED_FACTOR: usize = 8;

/// How long the next bytes may take to come.
fn time_left(limits: &BodyLimits, received: usize, passed: Duration) -> Duration {
    let earned = Duration::from_secs(received as u64 / limits.rate_min.max(1));
    (limits.grace + earned).min(limits.time).saturating_sub(passed)
}

/// The next bytes of the body; trailers are skipped.
async fn next_data<B>(mut body: Pin<&mut B>) -> Result<Option<Bytes>, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    loop {
        match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            None => return Ok(None),
            Some(Err(error)) => return Err(BodyError::Broken { detail: error.to_string() }),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

async fn linger<B>(mut body: Pin<&mut B>)
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    let drop_the_rest = async {
        let mut dropped = 0;
        while dropped < LINGER_BYTES {
            match next_data(body.as_mut()).await {
                Ok(Some(data)) => dropped += data.len(),
                Ok(None) | Err(_) => break,
            }
        }
    };
    let _ = tokio::time::timeout(LINGER_TIME, drop_the_rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use kenning_stdx::clock::SimClock;

    async fn check(len: usize, limit: usize, budget: &Budget) -> Result<usize, BodyError> {
        let limits = BodyLimits { wire_bytes: limit, ..BodyLimits::default() };
        let body = Full::new(Bytes::from(vec![7; len]));
        read(body, &limits, budget, &SimClock::new(0), false).await.map(|received| received.bytes.len())
    }

    #[tokio::test]
    async fn sizes() {
        let budget = Budget::default();
        assert_eq!(check(0, 10, &budget).await, Ok(0));
        assert_eq!(check(10, 10, &budget).await, Ok(10));
        assert_eq!(check(11, 10, &budget).await, Err(BodyError::TooLarge { limit: 10 }));
    }

    #[tokio::test]
    async fn memory_is_charged_and_given_back() {
        let budget = Budget::new(CHARGE_STEP, 1);
        let limits = BodyLimits::default();
        let body = || Full::new(Bytes::from_static(b"x"));
        let held = read(body(), &limits, &budget, &SimClock::new(0), false).await.unwrap();
        assert_eq!(check(1, 10, &budget).await, Err(BodyError::Busy));
        drop(held);
        assert_eq!(check(1, 10, &budget).await, Ok(1));
    }

    #[test]
    fn buffers_are_used_again_but_few_and_no_large_ones() {
        let budget = Budget::new(0, 2);
        let filled = |len: usize| {
            let mut buffer = budget.buffer();
            assert_eq!(buffer.bytes.capacity(), 0);
            buffer.bytes.resize(len, 0);
            buffer
        };
        drop(filled(BUFFER_KEPT_MAX + 1));
        let held = [filled(10), filled(20), filled(30)];
        drop(held);
        let kept = [budget.buffer(), budget.buffer(), budget.buffer()].map(|buffer| buffer.bytes.len());
        assert_eq!(kept, [20, 10, 0]);
    }

    /// A body of which a part has come, and the rest never will.
    struct Stalled(Option<Bytes>, u64);

    impl Body for Stalled {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            match self.0.take() {
                Some(data) => std::task::Poll::Ready(Some(Ok(http_body::Frame::data(data)))),
                None => std::task::Poll::Pending,
            }
        }

        fn size_hint(&self) -> http_body::SizeHint {
            let there = self.0.as_ref().map_or(0, Bytes::len) as u64;
            http_body::SizeHint::with_exact(self.1 + there)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_announced_is_charged_as_far_as_it_is_believed() {
        // What came is little, so that a claim holds little.
        for (came, follows, charged) in
            [(0, 4 * MIB, 0), (100, 4 * MIB, 1), (CHARGE_STEP, 4 * MIB, 9), (CHARGE_STEP, 100, 2)]
        {
            let budget = Budget::new(4 * MIB, 1);
            let body = Stalled(Some(Bytes::from(vec![7; came])), follows as u64);
            let limits = BodyLimits::default();
            let clock = SimClock::new(0);
            let mut reading = Box::pin(read(body, &limits, &budget, &clock, false));
            let waiting = tokio::time::timeout(Duration::from_millis(1), reading.as_mut()).await;
            assert!(waiting.is_err(), "{came}, {follows}");
            let held = 4 * MIB - budget.bytes.available_permits();
            assert_eq!(held, charged * CHARGE_STEP, "{came}, {follows}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_too_many_is_read_to_its_end_before_it_is_refused() {
        let budget = Budget::new(CHARGE_STEP, 1);
        let rest = Stalled(Some(Bytes::from(vec![7; 2 * CHARGE_STEP])), 0);
        let limits = BodyLimits::default();
        let started = tokio::time::Instant::now();
        let refused = read(rest, &limits, &budget, &SimClock::new(0), false).await.map(|_| ());
        assert_eq!((refused, started.elapsed()), (Err(BodyError::Busy), LINGER_TIME));
        assert_eq!(check(2 * CHARGE_STEP, 4 * CHARGE_STEP, &budget).await, Err(BodyError::Busy));
        assert_eq!(check(CHARGE_STEP, 4 * CHARGE_STEP, &budget).await, Ok(CHARGE_STEP));
    }

    #[tokio::test(start_paused = true)]
    async fn small_bodies_do_not_wait_behind_large_ones_and_large_ones_not_for_ever() {
        let budget = Budget::new(0, 1);
        let large = budget.decode_place(SMALL_BYTES_MAX + 1).await;
        assert_eq!(budget.decode_place(usize::MAX).await.map(|_| ()), Err(BodyError::Busy));
        assert!(budget.decode_place(SMALL_BYTES_MAX).await.is_ok());
        drop(large);
        assert!(budget.decode_place(usize::MAX).await.is_ok());
    }

    #[test]
    fn the_time_left_grows_with_what_came() {
        let limits = BodyLimits::default();
        let s = Duration::from_secs;
        assert_eq!(time_left(&limits, 0, s(0)), s(5));
        assert_eq!(time_left(&limits, 0, s(6)), s(0));
        assert_eq!(time_left(&limits, 10 * 1024, s(6)), s(9));
        assert_eq!(time_left(&limits, 8 * MIB, s(100)), s(20));
    }
}
