//! A batch as bytes: the payload of write-ahead log records. The picture is in `docs/formats/wal-batch.md`.
//!
//! Columnar where it pays: label sets are written against the set before them (most series of a batch differ in one
//! label), times and indices as differences, lines in one run. No compression on top: the log is written once, rarely
//! read, and a commit waits for it.
//!
//! Promises: [`decode`] gives back what [`encode`] was given, bit for bit; it never panics, and what it allocates is
//! bounded by the bytes it reads and by [`EXPANDED_BYTES_MAX`]. Absent: checksums (frames carry them), tenants and ids
//! (records carry them), other versions than [`VERSION`],
//! start timestamps of metrics ([`numbered`], the form that is written today, has them).

mod logs;
mod metrics;
pub mod numbered;
mod sets;
mod spans;

use std::fmt;

use kenning_model::Batch;

use crate::bytes::{Decoder, Encoder};

pub use spans::{decode_events, decode_links, encode_events, encode_links};

/// The version of the layout, the first byte of an encoded batch.
pub const VERSION: u8 = 1;

/// Most bytes of label text that a batch may expand to: sets repeat text of the sets before them, so a few bytes can
/// stand for many.
pub const EXPANDED_BYTES_MAX: usize = 1 << 30;

const METRICS: u8 = 1;
const LOGS: u8 = 2;
const SPANS: u8 = 3;

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The version is not one this program knows.
    Version(u8),
    /// The bytes do not follow the layout from some offset on.
    Malformed {
        /// Where reading stopped.
        offset: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "batch layout {version} is not known (known: {VERSION})"),
            Self::Malformed { offset } => write!(f, "batch is malformed at byte {offset}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Appends the batch to `out`.
pub fn encode(batch: &Batch, out: &mut Vec<u8>) {
    let mut encoder = Encoder::after(std::mem::take(out));
    encoder.byte(VERSION);
    match batch {
        Batch::Metrics(batch) => {
            encoder.byte(METRICS);
            metrics::encode(batch, &mut encoder);
        }
        Batch::Logs(batch) => {
            encoder.byte(LOGS);
            logs::encode(batch, &mut encoder);
        }
        Batch::Spans(batch) => {
            encoder.byte(SPANS);
            spans::encode(batch, &mut encoder);
        }
    }
    *out = encoder.into_bytes();
}

/// Reads a batch that takes up all of `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Batch, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    match decoder.byte() {
        Some(VERSION) => {}
        Some(version) => return Err(DecodeError::Version(version)),
        None => return Err(DecodeError::Malformed { offset: 0 }),
    }
    let batch = match decoder.byte() {
        Some(METRICS) => metrics::decode(&mut decoder).map(Batch::Metrics),
        Some(LOGS) => logs::decode(&mut decoder).map(Batch::Logs),
        Some(SPANS) => spans::decode(&mut decoder).map(Batch::Spans),
        _ => None,
    };
    let malformed = DecodeError::Malformed { offset: bytes.len() - decoder.remaining() };
    batch.filter(|_| decoder.remaining() == 0).ok_or(malformed)
}

#[cfg(test)]
mod tests;
