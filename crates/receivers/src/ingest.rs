//! The one way from a received body to the store: decompress, decode, offer, wait. Shared by all push protocols.

use std::sync::Arc;
use std::time::Duration;

use kenning_model::{Batch, LogBatch, Nanos, TenantId};
use kenning_pipeline::{Intake, Limits, Receipt, Refusal, RefusedRow, Ticket};
use kenning_wire::compression::{Encoding, decompress_into};
use kenning_wire::{DecodeError, DecodeLimits, Decoded};

use crate::body::{Budget, Received, SMALL_BYTES_MAX};
use crate::outcome::Failure;
use crate::serve::Stop;

/// Where bodies go.
#[derive(Clone)]
pub struct Ingest {
    intake: Intake,
    tenant: TenantId,
    limits: Arc<DecodeLimits>,
    budget: Budget,
}

/// What a decoder makes of a decompressed body.
pub type DecodeResult = Result<Decoded<Batch>, DecodeError>;

impl Ingest {
    pub fn new(intake: Intake, tenant: TenantId, budget: Budget) -> Self {
        let limits = Arc::new(decode_limits(intake.limits(&tenant)));
        Self { intake, tenant, limits, budget }
    }

    /// The same for one kind of receiver, which processors then know.
    pub fn for_receiver(&self, receiver: &'static str) -> Self {
        Self { intake: self.intake.for_receiver(receiver), ..self.clone() }
    }

    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Takes a body to the store. Large and packed bodies are worked on by a thread of their own.
    pub async fn run(
        &self,
        received: Received,
        encoding: Encoding,
        decoded_max: usize,
        decode: impl FnOnce(&[u8], &DecodeLimits, Nanos) -> DecodeResult + Send + 'static,
    ) -> Result<Receipt, Failure> {
        let place = self.budget.decode_place(received.bytes.len()).await?;
        let this = self.clone();
        // What is small and not packed is decoded where it arrives: half a millisecond of work at most.
        let inline = received.bytes.len() <= SMALL_BYTES_MAX && encoding == Encoding::Identity;
        let work = move || {
            let _until_decoded = place;
            this.decode_and_offer(&received, encoding, decoded_max, decode)
        };
        let ticket = if inline {
            work()?
        } else {
            tokio::task::spawn_blocking(work).await.map_err(|_panicked| Failure::Internal)??
        };
        Ok(ticket.wait().await?)
    }

    fn decode_and_offer(
        &self,
        received: &Received,
        encoding: Encoding,
        decoded_max: usize,
        decode: impl FnOnce(&[u8], &DecodeLimits, Nanos) -> DecodeResult,
    ) -> Result<Ticket, Failure> {
        let mut buffer = self.budget.buffer();
        let body = decompress_into(encoding, &received.bytes, decoded_max, &mut buffer.bytes)?;
        let Decoded { batch, rejected } = decode(body, &self.limits, self.intake.now())?;
        drop(buffer);
        Ok(self.intake.offer(&self.tenant, batch, rejected)?)
    }
}

/// How long data of protocols that cannot be told to come again is offered again and again.
const PATIENCE: Duration = Duration::from_secs(300);

/// Longest pause between two offers.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Log records and what their decoder tells besides.
pub struct DecodedLogs<T> {
    /// The records.
    pub logs: Decoded<LogBatch>,
    /// What the answer needs.
    pub told: T,
}

/// What became of log records: the receipt, the rows that limits left out, what the decoder told.
pub struct TakenLogs<T> {
    pub receipt: Receipt,
    pub refused: Vec<RefusedRow>,
    pub told: T,
}

impl Ingest {
    /// As [`Self::run`], for protocols that answer for each record.
    pub async fn logs<T: Send + 'static, E: From<Failure> + Send + 'static>(
        &self,
        received: Received,
        encoding: Encoding,
        decoded_max: usize,
        decode: impl FnOnce(&[u8], &DecodeLimits, Nanos) -> Result<DecodedLogs<T>, E> + Send + 'static,
    ) -> Result<TakenLogs<T>, E> {
        let place = self.budget.decode_place(received.bytes.len()).await.map_err(Failure::from)?;
        let this = self.clone();
        let work = move || {
            let _until_decoded = place;
            let mut buffer = this.budget.buffer();
            let body = decompress_into(encoding, &received.bytes, decoded_max, &mut buffer.bytes);
            let decoded = decode(body.map_err(Failure::from)?, &this.limits, this.intake.now())?;
            drop(buffer);
            this.offer_logs(decoded).map_err(|refusal| E::from(Failure::from(refusal)))
        };
        let worked = tokio::task::spawn_blocking(work).await.map_err(|_panicked| Failure::Internal)?;
        let (ticket, refused, told) = worked?;
        let receipt = ticket.wait().await.map_err(Failure::from)?;
        Ok(TakenLogs { receipt, refused, told })
    }

    fn offer_logs<T>(&self, decoded: DecodedLogs<T>) -> Result<(Ticket, Vec<RefusedRow>, T), Refusal> {
        let Decoded { batch, rejected } = decoded.logs;
        let (ticket, refused) = self.intake.offer_logs(&self.tenant, batch, rejected)?;
        Ok((ticket, refused, decoded.told))
    }

    /// Decodes and offers until it is taken, for protocols whose senders are held back by not being read from. Gives up
    /// after [`PATIENCE`], on a refusal that is final, and when `stop` asks.
    pub async fn logs_patiently<T: Send + 'static, E: From<Failure> + Send + 'static>(
        &self,
        bytes: usize,
        stop: &mut Stop,
        decode: impl Fn(&DecodeLimits, Nanos) -> Result<DecodedLogs<T>, E> + Send + Sync + 'static,
    ) -> Result<TakenLogs<T>, E> {
        let (decode, clock) = (Arc::new(decode), self.intake.clock().clone());
        let started = clock.steady();
        loop {
            let failure = match self.logs_once(bytes, Arc::clone(&decode)).await? {
                Ok(taken) => return Ok(taken),
                Err(failure) => failure,
            };
            let Some(pause) = failure.retry_after() else { return Err(failure.into()) };
            if clock.steady().saturating_sub(started) >= PATIENCE {
                return Err(failure.into());
            }
            tokio::select! {
                () = tokio::time::sleep(pause.min(PAUSE_MAX)) => {}
                () = stop.wait() => return Err(failure.into()),
            }
        }
    }

    /// Decodes and offers once.
    pub async fn logs_now<T: Send + 'static>(
        &self,
        bytes: usize,
        decode: impl Fn(&DecodeLimits, Nanos) -> Result<DecodedLogs<T>, Failure> + Send + Sync + 'static,
    ) -> Result<TakenLogs<T>, Failure> {
        self.logs_once(bytes, Arc::new(decode)).await?
    }

    /// The outer error is the decoder's.
    async fn logs_once<T: Send + 'static, E: From<Failure> + Send + 'static>(
        &self,
        bytes: usize,
        decode: Arc<impl Fn(&DecodeLimits, Nanos) -> Result<DecodedLogs<T>, E> + Send + Sync + 'static>,
    ) -> Result<Result<TakenLogs<T>, Failure>, E> {
        let place = match self.budget.decode_place(bytes).await {
            Ok(place) => place,
            Err(busy) => return Ok(Err(busy.into())),
        };
        let this = self.clone();
        let work = move || {
            let _until_decoded = place;
            decode(&this.limits, this.intake.now()).map(|decoded| this.offer_logs(decoded))
        };
        let offered = if bytes <= SMALL_BYTES_MAX {
            work()?
        } else {
            tokio::task::spawn_blocking(work).await.map_err(|_panicked| Failure::Internal)??
        };
        let (ticket, refused, told) = match offered {
            Ok(offered) => offered,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        Ok(ticket.wait().await.map(|receipt| TakenLogs { receipt, refused, told }).map_err(Failure::from))
    }

    /// The tenant's limits on time, as the decoders of protocols without a way back need them.
    pub fn window(&self) -> (Option<Duration>, Option<Duration>) {
        let limits = self.intake.limits(&self.tenant);
        (limits.past, limits.future)
    }
}

/// The decoder's bounds follow the tenant's limits, so that lifting a limit once lifts it everywhere.
fn decode_limits(limits: &Limits) -> DecodeLimits {
    let lifted = |limit: Option<usize>| limit.unwrap_or(usize::MAX);
    DecodeLimits {
        labels: lifted(limits.labels),
        label_name_bytes: lifted(limits.label_name_bytes),
        label_value_bytes: lifted(limits.label_value_bytes),
        line_bytes: lifted(limits.line_bytes),
        attribute_bytes: lifted(limits.attribute_bytes),
        ..DecodeLimits::default()
    }
}
