//! Syslog over TCP (and TLS, when the listener speaks it) and over UDP.
//!
//! Messages that have arrived together become one batch. TCP senders are held back by not being read from while a batch
//! waits or is refused for now; nothing else can be said to them. Datagrams that meet a refusal are lost, as the protocol
//! has it, and counted. Messages that follow no RFC are kept whole and counted as oddities.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kenning_model::TenantId;
use kenning_pipeline::Intake;
use kenning_stdx::net::BoxStream;
use kenning_stdx::net::udp::Datagrams;
use kenning_wire::DecodeLimits;
use kenning_wire::syslog::{Oddities, Origin, SyslogDecoder, SyslogOptions, next_message};
use tokio::task::JoinSet;

use crate::body::Budget;
use crate::ingest::{DecodedLogs, Ingest};
use crate::intake_buffer::{Fill, IntakeBuffer};
use crate::outcome::Failure;
use crate::serve::Stop;
use crate::stats::{ByEnd, ByProtocol, Stats};

/// Names of the listeners in metrics.
pub const SYSLOG_TCP: &str = "syslog_tcp";
/// See [`SYSLOG_TCP`].
pub const SYSLOG_TLS: &str = "syslog_tls";
/// See [`SYSLOG_TCP`].
pub const SYSLOG_UDP: &str = "syslog_udp";

const KIB: usize = 1024;

/// Messages that become one batch.
const MESSAGES_MAX: usize = 4096;
/// Bytes of datagrams that become one batch.
const DATAGRAMS_BYTES: usize = 1024 * KIB;
/// The longest datagram that there is, and one byte to tell a longer one.
const DATAGRAM_BYTES: usize = 64 * KIB;
/// Batches of datagrams that wait for their commit while more are received.
const COMMITS_MAX: usize = 4;

/// What one connection may do.
#[derive(Clone, Debug)]
pub struct SyslogLimits {
    /// Bytes of one message; `None` for as many as a line may have.
    pub message_bytes: usize,
    /// Without a byte. Quiet senders are normal; a dead one is noticed in the end.
    pub idle: Duration,
    /// Without a byte, inside a message.
    pub stall: Duration,
}

impl Default for SyslogLimits {
    fn default() -> Self {
        Self { message_bytes: 256 * KIB, idle: Duration::from_secs(60 * 60), stall: Duration::from_secs(60) }
    }
}

/// Takes syslog. Cloning shares it.
#[derive(Clone)]
pub struct SyslogService(Arc<Inner>);

struct Inner {
    ingest: Ingest,
    budget: Budget,
    limits: SyslogLimits,
    utc_offset: i32,
    stats: Stats,
}

impl SyslogService {
    /// A service that offers to `intake`. `utc_offset`: seconds that senders' clocks stand east of UTC, for stamps
    /// without a zone.
    #[must_use]
    pub fn new(
        intake: Intake,
        tenant: TenantId,
        budget: Budget,
        limits: SyslogLimits,
        utc_offset: i32,
        stats: Stats,
    ) -> Self {
        let ingest = Ingest::new(intake.for_receiver("syslog"), tenant, budget.clone());
        Self(Arc::new(Inner { ingest, budget, limits, utc_offset, stats }))
    }

    /// Serves one connection to its end; tells the cause when it was not the peer who ended it.
    pub async fn connection(
        self,
        listener: &'static str,
        mut stream: BoxStream,
        peer: SocketAddr,
        mut stop: Stop,
    ) -> Option<&'static str> {
        let inner = &self.0;
        let mut buffer = IntakeBuffer::new(inner.budget.clone());
        let mut fill = Fill::More;
        while fill == Fill::More {
            buffer.rest();
            let idle = if buffer.bytes().is_empty() { inner.limits.idle } else { inner.limits.stall };
            fill = buffer.fill(&mut stream, idle, &mut stop).await;
            // Whatever ends the connection, what was received of it is stored.
            let is_last = fill != Fill::More;
            loop {
                let (messages, used) = match inner.messages(buffer.bytes(), is_last) {
                    Ok(found) => found,
                    Err(cause) => return Some(cause),
                };
                if used == 0 {
                    break;
                }
                let bytes = buffer.take(used);
                let messages = messages.into_iter().map(|place| bytes.slice(place)).collect();
                if let Some(cause) = inner.take(listener, messages, used, peer, &mut stop).await {
                    return Some(cause);
                }
            }
        }
        match fill {
            Fill::Close(cause) => cause,
            Fill::End | Fill::More => None,
        }
    }

    /// Receives datagrams until `stop`.
    pub async fn datagrams(self, port: Box<dyn Datagrams>, mut stop: Stop) {
        let mut buffer = vec![0; DATAGRAM_BYTES + 1];
        let mut commits = JoinSet::new();
        loop {
            let first = tokio::select! {
                received = port.receive(&mut buffer) => received,
                () = stop.wait() => break,
            };
            let mut gathered = Vec::new();
            let mut bytes = 0;
            let mut next = first;
            while let Ok((len, peer)) = next {
                let message = Bytes::copy_from_slice(buffer.get(..len).unwrap_or_default());
                bytes += len;
                gathered.push((message, peer));
                if gathered.len() >= MESSAGES_MAX || bytes >= DATAGRAMS_BYTES {
                    break;
                }
                next = port.try_receive(&mut buffer);
            }
            if gathered.is_empty() {
                // An error of the socket concerns one datagram (or a peer's "port unreachable").
                tokio::task::yield_now().await;
                continue;
            }
            while commits.len() >= COMMITS_MAX && commits.join_next().await.is_some() {}
            let inner = Arc::clone(&self.0);
            commits.spawn(async move { inner.take_datagrams(gathered, bytes).await });
        }
        while commits.join_next().await.is_some() {}
    }
}

impl Inner {
    /// Places of the whole messages at the front, and the bytes they take.
    fn messages(&self, bytes: &[u8], is_last: bool) -> Result<(Vec<Range<usize>>, usize), &'static str> {
        let (mut messages, mut used) = (Vec::new(), 0);
        while messages.len() < MESSAGES_MAX {
            let rest = bytes.get(used..).unwrap_or_default();
            match next_message(rest, self.limits.message_bytes, is_last) {
                Ok(Some((message, taken))) => {
                    messages.push(used + message.start..used + message.end);
                    used += taken;
                }
                Ok(None) => break,
                Err(_) if !messages.is_empty() => break,
                Err(_) => return Err("too_large"),
            }
        }
        Ok((messages, used))
    }

    fn options(&self, now: kenning_model::Nanos) -> SyslogOptions {
        let (past, future) = self.ingest.window();
        SyslogOptions { now, utc_offset: self.utc_offset, past, future }
    }

    /// Stores messages, however long that takes; the cause when they are lost after all.
    async fn take(
        self: &Arc<Self>,
        listener: &'static str,
        messages: Vec<Bytes>,
        bytes: usize,
        peer: SocketAddr,
        stop: &mut Stop,
    ) -> Option<&'static str> {
        self.stats.bytes.with(&ByProtocol(listener)).add(bytes as u64);
        let (count, peer, this) = (messages.len() as u64, host_of(peer), Arc::clone(self));
        let decode = move |limits: &DecodeLimits, now| -> Result<_, Failure> {
            let mut decoder = SyslogDecoder::new(limits, this.options(now));
            for message in &messages {
                decoder.message(message, Origin { peer: &peer, is_spoofable: false })?;
            }
            let (logs, told) = decoder.finish();
            Ok(DecodedLogs { logs, told })
        };
        match self.ingest.logs_patiently(bytes, stop, decode).await {
            Ok(taken) => {
                self.count_oddities(listener, &taken.told);
                None
            }
            Err(_failure) => {
                self.stats.discarded.with(&ByEnd { listener, cause: "refused" }).add(count);
                Some("refused")
            }
        }
    }

    async fn take_datagrams(self: Arc<Self>, datagrams: Vec<(Bytes, SocketAddr)>, bytes: usize) {
        self.stats.bytes.with(&ByProtocol(SYSLOG_UDP)).add(bytes as u64);
        let (count, this) = (datagrams.len() as u64, Arc::clone(&self));
        let decode = move |limits: &DecodeLimits, now| -> Result<_, Failure> {
            let mut decoder = SyslogDecoder::new(limits, this.options(now));
            for (message, peer) in &datagrams {
                decoder.message(message, Origin { peer: &host_of(*peer), is_spoofable: true })?;
            }
            let (logs, told) = decoder.finish();
            Ok(DecodedLogs { logs, told })
        };
        match self.ingest.logs_now(bytes, decode).await {
            Ok(taken) => self.count_oddities(SYSLOG_UDP, &taken.told),
            Err(_failure) => {
                let by = ByEnd { listener: SYSLOG_UDP, cause: "refused" };
                self.stats.discarded.with(&by).add(count);
            }
        }
    }

    fn count_oddities(&self, listener: &'static str, oddities: &Oddities) {
        for (cause, count) in oddities {
            self.stats.oddities.with(&ByEnd { listener, cause }).add(*count);
        }
    }
}

/// The address without its port, which changes with every connection.
fn host_of(peer: SocketAddr) -> String {
    peer.ip().to_canonical().to_string()
}
