//! Trace and span ids (W3C Trace Context), where they come from, and the sampling decision.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Clock;
use crate::sync::thread_number;

/// A trace's id: 16 bytes, never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(u128);

/// A span's id: 8 bytes, never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(u64);

impl TraceId {
    /// The id with this value; `None` for zero, which W3C forbids.
    pub fn new(value: u128) -> Option<Self> {
        (value != 0).then_some(Self(value))
    }

    /// Big-endian bytes, as OTLP carries them.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// 32 lower-case hexadecimal digits.
    pub(crate) fn hex(self) -> [u8; 32] {
        hex(self.0)
    }
}

impl SpanId {
    /// The id with this value; `None` for zero, which W3C forbids.
    pub fn new(value: u64) -> Option<Self> {
        (value != 0).then_some(Self(value))
    }

    /// Big-endian bytes, as OTLP carries them.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// 16 lower-case hexadecimal digits.
    pub(crate) fn hex(self) -> [u8; 16] {
        hex(u128::from(self.0))
    }
}

/// The low `N` hexadecimal digits of `value`.
fn hex<const N: usize>(mut value: u128) -> [u8; N] {
    let mut out = [b'0'; N];
    for slot in out.iter_mut().rev() {
        let digit = (value & 0xf) as u8;
        *slot = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        value >>= 4;
    }
    out
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Draws ids.
#[derive(Debug)]
pub(crate) enum IdSource {
    /// From the operating system's randomness, stretched per thread.
    Random,
    /// From one seed, in order: for tests.
    Seeded(AtomicU64),
}

impl IdSource {
    pub(crate) fn seeded(seed: u64) -> Self {
        IdSource::Seeded(AtomicU64::new(seed))
    }

    pub(crate) fn next_u64(&self) -> u64 {
        match self {
            IdSource::Random => next_random(),
            IdSource::Seeded(state) => mix(state.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN)),
        }
    }

    pub(crate) fn trace_id(&self) -> TraceId {
        let value = u128::from(self.next_u64()) << 64 | u128::from(self.next_u64());
        TraceId(value.max(1))
    }

    pub(crate) fn span_id(&self) -> SpanId {
        SpanId(self.next_u64().max(1))
    }
}

/// 2^64 divided by the golden ratio: the increment of SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// One SplitMix64 stream per thread: ids must be unique, not secret.
fn next_random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(seed());
    }
    let step = |state: &Cell<u64>| {
        let next = state.get().wrapping_add(GOLDEN);
        state.set(next);
        mix(next)
    };
    STATE.try_with(step).unwrap_or_else(|_| mix(seed()))
}

/// Randomness of the operating system; where there is none, time and thread number are better than nothing.
fn seed() -> u64 {
    let mut bytes = [0_u8; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => mix(Clock::system().unix_nanos() ^ (thread_number() as u64).wrapping_mul(GOLDEN)),
    }
}

/// Which spans are recorded; decided before a span does any work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampler {
    /// Whether the parent's decision, when there is a parent, is final.
    pub(crate) parent_based: bool,
    pub(crate) root: RootSampler,
}

/// The decision for a span that has nobody to follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RootSampler {
    On,
    Off,
    /// Sample this share of traces, 0.0 to 1.0.
    Ratio(f64),
}

impl Sampler {
    pub(crate) const ALWAYS_ON: Self = Self { parent_based: false, root: RootSampler::On };

    /// The decision for a span of `trace_id`, whose parent (local or remote) was sampled or not.
    pub(crate) fn decide(&self, trace_id: TraceId, parent_sampled: Option<bool>) -> bool {
        match (self.parent_based, parent_sampled) {
            (true, Some(sampled)) => sampled,
            _ => self.root.decide(trace_id),
        }
    }
}

impl RootSampler {
    /// The ratio compares the trace id's low 63 bits, as the OpenTelemetry SDKs of Go, Java and Rust do, so that
    /// services of one trace agree.
    fn decide(self, trace_id: TraceId) -> bool {
        match self {
            RootSampler::On => true,
            RootSampler::Off => false,
            RootSampler::Ratio(ratio) if ratio >= 1.0 => true,
            RootSampler::Ratio(ratio) => {
                let bound = (ratio.max(0.0) * (1_u64 << 63) as f64) as u64;
                (trace_id.0 as u64) >> 1 < bound
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_is_kept_and_consistent() {
        let ids = IdSource::seeded(7);
        let sampler = Sampler { parent_based: true, root: RootSampler::Ratio(0.1) };
        let drawn: Vec<TraceId> = (0..100_000).map(|_| ids.trace_id()).collect();
        let sampled = drawn.iter().filter(|id| sampler.decide(**id, None)).count();
        assert!((9_500..10_500).contains(&sampled), "{sampled}");
        assert!(drawn.iter().all(|id| sampler.decide(*id, Some(true)) && !sampler.decide(*id, Some(false))));
    }

    #[test]
    fn hexadecimal() {
        let id = TraceId::new(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736).unwrap();
        assert_eq!(&id.hex(), b"4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(&SpanId::new(0xf0_67aa_0ba9_02b7).unwrap().hex(), b"00f067aa0ba902b7");
        assert!(TraceId::new(0).is_none() && SpanId::new(0).is_none());
    }
}
