//! The bytes of a stream that wait to become messages: bounded, and charged to the budget before they are kept.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kenning_stdx::net::BoxStream;
use tokio::io::AsyncReadExt;

use crate::body::{Budget, Lease};
use crate::serve::Stop;

/// Bytes asked of the socket at once.
const READ_BYTES: usize = 64 * 1024;

/// How long a connection waits for room in the budget, and how often it looks.
const ROOM_WAIT: Duration = Duration::from_secs(30);
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// More bytes.
    More,
    /// The peer has sent all it will.
    End,
    /// The connection is to be ended, for this cause; `None` when the server stops.
    Close(Option<&'static str>),
}

/// Bytes received and not yet used.
pub struct IntakeBuffer {
    bytes: BytesMut,
    lease: Lease,
    charged: usize,
    budget: Budget,
}

impl IntakeBuffer {
    pub fn new(budget: Budget) -> Self {
        Self { bytes: BytesMut::new(), lease: budget.lease(), charged: 0, budget }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The first `count` bytes, out of the buffer.
    pub fn take(&mut self, count: usize) -> Bytes {
        self.bytes.split_to(count.min(self.bytes.len())).freeze()
    }

    /// Gives the memory back while nothing waits.
    pub fn rest(&mut self) {
        if self.bytes.is_empty() && self.charged > READ_BYTES {
            (self.bytes, self.lease, self.charged) = (BytesMut::new(), self.budget.lease(), 0);
        }
    }

    /// Reads more, for at most `idle`.
    pub async fn fill(&mut self, stream: &mut BoxStream, idle: Duration, stop: &mut Stop) -> Fill {
        if !self.charge(self.bytes.len() + READ_BYTES).await {
            return Fill::Close(Some("no_memory"));
        }
        self.bytes.reserve(READ_BYTES);
        tokio::select! {
            read = tokio::time::timeout(idle, stream.read_buf(&mut self.bytes)) => match read {
                Err(_) => Fill::Close(Some("idle")),
                // A peer that resets has not sent the rest of what it began.
                Ok(Err(_)) | Ok(Ok(0)) => Fill::End,
                Ok(Ok(_)) => Fill::More,
            },
            () = stop.wait() => Fill::Close(None),
        }
    }

    async fn charge(&mut self, needed: usize) -> bool {
        let mut waited = Duration::ZERO;
        while needed > self.charged {
            let step = (needed - self.charged).next_multiple_of(READ_BYTES);
            if self.budget.grow(&mut self.lease, step) {
                self.charged += step;
            } else if waited >= ROOM_WAIT {
                return false;
            } else {
                tokio::time::sleep(ROOM_PAUSE).await;
                waited += ROOM_PAUSE;
            }
        }
        true
    }
}
