//! Fluent forward over TCP, and its heartbeats over UDP.
//!
//! Frames that have arrived together become one batch; their chunks are acknowledged after its commit. A tenant over its
//! rate or a busy node is not told (the protocol has no word for it): the same frames are offered again while the
//! connection is not read from, and no acknowledgement is sent, so that the sender keeps its chunk. A frame that cannot be
//! read ends the connection under a counted cause.
//!
//! Bounds: [`FluentLimits`]. With a shared key the handshake comes first, and without a proof nothing is read.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kenning_model::TenantId;
use kenning_pipeline::Intake;
use kenning_stdx::net::BoxStream;
use kenning_stdx::net::udp::Datagrams;
use kenning_stdx::random::Random;
use kenning_wire::fluent::{FluentDecoder, FluentError, Handshake, encode_ack};
use kenning_wire::msgpack::Framer;
use tokio::io::AsyncWriteExt;

use crate::body::Budget;
use crate::ingest::{DecodedLogs, Ingest};
use crate::intake_buffer::{Fill, IntakeBuffer};
use crate::outcome::Failure;
use crate::serve::Stop;
use crate::stats::{ByEnd, ByProtocol, Stats};

/// Name of the listener in metrics.
pub const FLUENT: &str = "fluent";

const MIB: usize = 1024 * 1024;

/// Frames that become one batch.
const FRAMES_MAX: usize = 512;
/// Bytes of frames after which a batch is closed.
const GATHER_BYTES: usize = MIB;
/// Answer to a heartbeat datagram, as Fluentd gives it.
const HEARTBEAT: &[u8] = b"\0";

/// What one connection may do.
#[derive(Clone, Debug)]
pub struct FluentLimits {
    /// Bytes of one frame.
    pub frame_bytes: usize,
    /// Bytes of a compressed frame's events after unpacking.
    pub unpacked_bytes: usize,
    /// Without a byte, between frames.
    pub idle: Duration,
    /// Without a byte, inside a frame.
    pub stall: Duration,
    /// For the handshake.
    pub handshake: Duration,
    /// For the peer to take an acknowledgement.
    pub write: Duration,
}

impl Default for FluentLimits {
    fn default() -> Self {
        Self {
            frame_bytes: 8 * MIB,
            unpacked_bytes: 16 * MIB,
            idle: Duration::from_secs(15 * 60),
            stall: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
            write: Duration::from_secs(30),
        }
    }
}

/// Who may send.
#[derive(Clone, Default)]
pub struct FluentSecurity {
    /// The key that both sides know; empty for no handshake.
    pub shared_key: String,
    /// The name by which the server calls itself.
    pub hostname: String,
    /// Names and passwords; empty when no user is asked for.
    pub users: Vec<(String, String)>,
}

/// Takes Fluent forward. Cloning shares it.
#[derive(Clone)]
pub struct FluentService(Arc<Inner>);

struct Inner {
    ingest: Ingest,
    budget: Budget,
    limits: FluentLimits,
    security: FluentSecurity,
    stats: Stats,
}

/// Why a batch of frames was not taken.
enum Ended {
    Frame(FluentError),
    /// The pipeline's refusal, which it has counted.
    Refused,
}

impl From<Failure> for Ended {
    fn from(_: Failure) -> Self {
        Self::Refused
    }
}

impl Ended {
    const fn cause(&self) -> &'static str {
        match self {
            Self::Frame(error) => error.cause(),
            Self::Refused => "refused",
        }
    }
}

impl FluentService {
    /// A service that offers to `intake`.
    #[must_use]
    pub fn new(
        intake: Intake,
        tenant: TenantId,
        budget: Budget,
        limits: FluentLimits,
        security: FluentSecurity,
        stats: Stats,
    ) -> Self {
        let ingest = Ingest::new(intake.for_receiver("fluent"), tenant, budget.clone());
        Self(Arc::new(Inner { ingest, budget, limits, security, stats }))
    }

    /// Serves one connection to its end; tells the cause when it was not the peer who ended it.
    pub async fn connection(
        self,
        mut stream: BoxStream,
        _peer: SocketAddr,
        mut stop: Stop,
    ) -> Option<&'static str> {
        let inner = &self.0;
        let mut buffer = IntakeBuffer::new(inner.budget.clone());
        let mut framer = Framer::default();
        if !inner.security.shared_key.is_empty() {
            let greeting = inner.greet(&mut stream, &mut buffer, &mut framer, &mut stop);
            match tokio::time::timeout(inner.limits.handshake, greeting).await {
                Ok(Ok(())) => {}
                Ok(Err(cause)) => return cause,
                Err(_) => return Some("slow_handshake"),
            }
        }
        loop {
            match inner.frames(buffer.bytes(), &mut framer) {
                Err(cause) => return Some(cause),
                Ok(ends) if !ends.is_empty() => {
                    if let Err(cause) = inner.take(&mut stream, &mut buffer, ends, &mut stop).await {
                        return cause;
                    }
                }
                Ok(_) => {
                    buffer.rest();
                    let between = buffer.bytes().is_empty();
                    let idle = if between { inner.limits.idle } else { inner.limits.stall };
                    match buffer.fill(&mut stream, idle, &mut stop).await {
                        Fill::More => {}
                        Fill::End if between => return None,
                        Fill::End => return Some("cut"),
                        Fill::Close(cause) => return cause,
                    }
                }
            }
        }
    }

    /// Answers heartbeat datagrams until `stop`.
    pub async fn heartbeats(self, port: Box<dyn Datagrams>, mut stop: Stop) {
        let mut buffer = [0; 16];
        loop {
            tokio::select! {
                received = port.receive(&mut buffer) => match received {
                    // An answer that is lost is a heartbeat that is lost: the sender counts them.
                    Ok((_, peer)) => drop(port.send(HEARTBEAT, peer).await),
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                },
                () = stop.wait() => return,
            }
        }
    }
}

impl Inner {
    /// The ends of the whole frames in the buffer, up to one batch of them.
    fn frames(&self, bytes: &[u8], framer: &mut Framer) -> Result<Vec<usize>, &'static str> {
        let (mut ends, mut start) = (Vec::new(), 0);
        while ends.len() < FRAMES_MAX && start < GATHER_BYTES.max(1) {
            let rest = bytes.get(start..).unwrap_or_default();
            match framer.advance(rest) {
                Ok(Some(len)) if len > self.limits.frame_bytes => return Err("too_large"),
                Ok(Some(len)) => {
                    start += len;
                    ends.push(start);
                }
                Ok(None) if rest.len() > self.limits.frame_bytes => return Err("too_large"),
                Ok(None) => {
                    // What was learnt about a frame counts from the front of the buffer, where it is not yet.
                    if start > 0 {
                        *framer = Framer::default();
                    }
                    break;
                }
                // Good frames before the bad one are taken first; it is met again then.
                Err(_) if !ends.is_empty() => {
                    *framer = Framer::default();
                    break;
                }
                Err(_) => return Err("not_msgpack"),
            }
        }
        Ok(ends)
    }

    /// Stores the frames, then acknowledges their chunks.
    async fn take(
        &self,
        stream: &mut BoxStream,
        buffer: &mut IntakeBuffer,
        ends: Vec<usize>,
        stop: &mut Stop,
    ) -> Result<(), Option<&'static str>> {
        let total = ends.last().copied().unwrap_or(0);
        let frames = buffer.take(total);
        self.stats.bytes.with(&ByProtocol(FLUENT)).add(total as u64);
        let count = ends.len() as u64;
        let unpacked_max = self.limits.unpacked_bytes;
        let decode = move |limits: &kenning_wire::DecodeLimits, now| {
            let mut decoder = FluentDecoder::new(limits, now, unpacked_max);
            let (mut chunks, mut start) = (Vec::new(), 0);
            for end in &ends {
                let frame = frames.get(start..*end).unwrap_or_default();
                chunks.extend(decoder.message(frame).map_err(Ended::Frame)?);
                start = *end;
            }
            Ok(DecodedLogs { logs: decoder.finish(), told: chunks })
        };
        let taken = self.ingest.logs_patiently(total, stop, decode).await.map_err(|ended: Ended| {
            let by = ByEnd { listener: FLUENT, cause: ended.cause() };
            self.stats.discarded.with(&by).add(count);
            Some(ended.cause())
        })?;
        let acks: Vec<u8> = taken.told.iter().flat_map(|chunk| encode_ack(chunk)).collect();
        self.send(stream, &acks).await.map_err(|_| None)
    }

    async fn send(&self, stream: &mut BoxStream, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let write = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        tokio::time::timeout(self.limits.write, write).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// HELO, PING, PONG.
    async fn greet(
        &self,
        stream: &mut BoxStream,
        buffer: &mut IntakeBuffer,
        framer: &mut Framer,
        stop: &mut Stop,
    ) -> Result<(), Option<&'static str>> {
        let handshake = Handshake {
            shared_key: self.security.shared_key.clone(),
            hostname: self.security.hostname.clone(),
            users: self.security.users.clone(),
            nonce: fresh_bytes(),
            auth_salt: fresh_bytes(),
        };
        self.send(stream, &handshake.helo()).await.map_err(|_| None)?;
        let len = loop {
            match framer.advance(buffer.bytes()) {
                Ok(Some(len)) => break len,
                Ok(None) if buffer.bytes().len() > 64 * 1024 => return Err(Some("bad_handshake")),
                Ok(None) => {}
                Err(_) => return Err(Some("bad_handshake")),
            }
            match buffer.fill(stream, self.limits.handshake, stop).await {
                Fill::More => {}
                Fill::End => return Err(Some("bad_handshake")),
                Fill::Close(cause) => return Err(cause),
            }
        };
        let ping = buffer.take(len);
        let ping = handshake.answer(&ping).map_err(|_| Some("bad_handshake"))?;
        self.send(stream, &ping.pong).await.map_err(|_| None)?;
        if ping.is_trusted { Ok(()) } else { Err(Some("bad_credentials")) }
    }
}

/// Bytes that nobody can foresee: each half is the operating system's entropy through a keyed hash.
fn fresh_bytes() -> [u8; 16] {
    let half = || u128::from(Random::from_os().next_u64());
    (half() << 64 | half()).to_le_bytes()
}
