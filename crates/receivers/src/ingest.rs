//! The one way from a received body to the store: decompress, decode, offer, wait. Shared by all push protocols.

use std::sync::Arc;

use kenning_model::{Batch, Nanos, TenantId};
use kenning_pipeline::{Intake, Limits, Receipt, Ticket};
use kenning_wire::compression::{Encoding, decompress};
use kenning_wire::{DecodeError, DecodeLimits, Decoded};

use crate::body::{Budget, Received, SMALL_BYTES_MAX};
use crate::outcome::Failure;

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
        let body = decompress(encoding, &received.bytes, decoded_max)?;
        let Decoded { batch, rejected } = decode(&body, &self.limits, self.intake.now())?;
        drop(body);
        Ok(self.intake.offer(&self.tenant, batch, rejected)?)
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
