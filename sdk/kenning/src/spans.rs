//! The table of open spans.
//!
//! Sharded by the creating thread, so that locks are almost never contended. Under a lock bytes are only copied;
//! no foreign code runs. A span's id holds shard, slot and generation, so a stale id finds nothing.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use tracing_core::Metadata;
use tracing_core::span::Id;

use crate::fields::{ATTRIBUTE_BYTES_MAX, ATTRIBUTES_MAX, Scoped, SpanFields, Status};
use crate::ids::SpanId;
use crate::otlp::{Fields, Wire};
use crate::propagation::Context;
use crate::proto;
use crate::sync::{lock, thread_number};

const SHARDS: usize = 8;
/// Open spans of the threads that share a shard.
pub(crate) const SPANS_PER_SHARD_MAX: usize = 16 * 1024;
/// Encoded events of one span.
const EVENT_BYTES_MAX: usize = 64 * 1024;
/// Encoded links of one span.
const LINK_BYTES_MAX: usize = 16 * 1024;
const INDEX_BITS: u32 = 24;
const SHARD_BITS: u32 = 8;

/// An open span.
#[derive(Debug)]
pub(crate) struct OpenSpan {
    pub(crate) metadata: &'static Metadata<'static>,
    pub(crate) context: Context,
    pub(crate) parent: Option<SpanId>,
    pub(crate) parent_remote: bool,
    pub(crate) name: Cow<'static, str>,
    pub(crate) start_unix_nanos: u64,
    pub(crate) start_mono_nanos: u64,
    pub(crate) kind: u8,
    pub(crate) attributes: Vec<u8>,
    pub(crate) attribute_count: u32,
    pub(crate) attributes_dropped: u32,
    pub(crate) events: Vec<u8>,
    pub(crate) events_dropped: u32,
    pub(crate) links: Vec<u8>,
    pub(crate) links_dropped: u32,
    pub(crate) status: Status,
    pub(crate) scoped: Vec<Arc<Scoped>>,
}

impl OpenSpan {
    pub(crate) fn recording(&self) -> bool {
        self.context.sampled
    }

    /// Takes over freshly visited fields.
    pub(crate) fn apply(&mut self, mut fields: SpanFields) {
        self.add_attributes(&mut fields);
        self.kind = fields.kind.unwrap_or(self.kind);
        if let Some(name) = fields.name {
            self.name = Cow::Owned(name);
        }
        if let Some(status) = fields.status {
            self.status = status;
        }
        if let Some(message) = fields.status_message
            && !matches!(self.status, Status::Ok)
        {
            self.status = Status::Error(message);
        }
        for field in fields.scoped {
            self.scoped.retain(|known| known.name != field.name);
            self.scoped.push(field);
        }
    }

    /// Within the bounds; a field recorded again replaces its earlier value, because keys are unique in OTLP.
    fn add_attributes(&mut self, fields: &mut SpanFields) {
        self.attributes_dropped = self.attributes_dropped.saturating_add(fields.dropped);
        if fields.count == 0 {
            return;
        }
        if self.attribute_count == 0 {
            self.attributes = std::mem::take(&mut fields.attributes);
            self.attribute_count = fields.count;
            return;
        }
        for (key, encoded) in attributes(&fields.attributes) {
            self.remove_attribute(key);
            if self.attribute_count >= ATTRIBUTES_MAX || self.attributes.len() > ATTRIBUTE_BYTES_MAX {
                self.attributes_dropped = self.attributes_dropped.saturating_add(1);
            } else {
                self.attributes.extend_from_slice(encoded);
                self.attribute_count += 1;
            }
        }
    }

    fn remove_attribute(&mut self, key: &[u8]) {
        let mut start = 0;
        let found = attributes(&self.attributes).find_map(|(known, encoded)| {
            let range = start..start + encoded.len();
            start = range.end;
            (known == key).then_some(range)
        });
        if let Some(range) = found {
            self.attributes.drain(range);
            self.attribute_count -= 1;
        }
    }

    /// An error inside the span marks it, unless it was declared fine.
    pub(crate) fn mark_error(&mut self, message: &str) {
        match &self.status {
            Status::Unset => self.status = Status::Error(message.to_owned()),
            Status::Error(known) if known.is_empty() => self.status = Status::Error(message.to_owned()),
            _ => {}
        }
    }

    pub(crate) fn add_event(&mut self, encoded: &[u8]) {
        if self.events.len() + encoded.len() > EVENT_BYTES_MAX {
            self.events_dropped += 1;
        } else {
            self.events.extend_from_slice(encoded);
        }
    }

    pub(crate) fn add_link(&mut self, other: &Context) {
        if self.links.len() > LINK_BYTES_MAX {
            self.links_dropped += 1;
            return;
        }
        proto::message(&mut self.links, 13, |link| {
            proto::bytes(link, 1, &other.trace_id.to_bytes());
            proto::bytes(link, 2, &other.span_id.to_bytes());
            if let Some(state) = &other.trace_state {
                proto::bytes(link, 3, state.as_bytes());
            }
        });
    }

    /// Writes the finished span as field 2 of OTLP's `ScopeSpans`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, end_mono_nanos: u64) {
        let duration = end_mono_nanos.saturating_sub(self.start_mono_nanos);
        proto::message(out, 2, |span| {
            proto::bytes(span, 1, &self.context.trace_id.to_bytes());
            proto::bytes(span, 2, &self.context.span_id.to_bytes());
            if let Some(state) = &self.context.trace_state {
                proto::bytes(span, 3, state.as_bytes());
            }
            if let Some(parent) = self.parent {
                proto::bytes(span, 4, &parent.to_bytes());
            }
            proto::bytes(span, 5, self.name.as_bytes());
            proto::uint(span, 6, u64::from(self.kind));
            proto::fixed64(span, 7, self.start_unix_nanos);
            proto::fixed64(span, 8, self.start_unix_nanos.saturating_add(duration));
            span.extend_from_slice(&self.attributes);
            count(span, 10, self.attributes_dropped);
            span.extend_from_slice(&self.events);
            count(span, 12, self.events_dropped);
            span.extend_from_slice(&self.links);
            count(span, 14, self.links_dropped);
            encode_status(span, &self.status);
            proto::fixed32(span, 16, self.flags());
        });
    }

    /// W3C flags in the low byte; bit 8 says that bit 9 (the parent is remote) is meant.
    fn flags(&self) -> u32 {
        u32::from(self.context.sampled) | 1 << 8 | u32::from(self.parent_remote) << 9
    }
}

/// The encoded attributes one by one: key, and the whole field with its head.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let mut fields = Fields::new(rest);
        let Some(Some((_, Wire::Bytes(pair)))) = fields.next() else { return None };
        let (encoded, after) = rest.split_at_checked(rest.len() - fields.remaining())?;
        rest = after;
        let Some(Some((1, Wire::Bytes(key)))) = Fields::new(pair).next() else { return None };
        Some((key, encoded))
    })
}

fn count(out: &mut Vec<u8>, field: u32, dropped: u32) {
    if dropped > 0 {
        proto::uint(out, field, u64::from(dropped));
    }
}

fn encode_status(out: &mut Vec<u8>, status: &Status) {
    match status {
        Status::Unset => {}
        Status::Ok => proto::message(out, 15, |status| proto::uint(status, 3, 1)),
        Status::Error(message) => proto::message(out, 15, |status| {
            if !message.is_empty() {
                proto::bytes(status, 2, message.as_bytes());
            }
            proto::uint(status, 3, 2);
        }),
    }
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    references: u32,
    span: Option<Box<OpenSpan>>,
}

#[derive(Debug, Default)]
struct Shard {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

/// Open spans by id.
#[derive(Debug, Default)]
pub(crate) struct SpanTable {
    shards: [Mutex<Shard>; SHARDS],
}

/// The id of spans the table had no room for: every look-up of it finds nothing.
pub(crate) fn untracked() -> Id {
    Id::from_u64(u64::MAX)
}

impl SpanTable {
    /// Stores a span with one reference; an id that leads nowhere when the shard is full.
    pub(crate) fn insert(&self, span: OpenSpan) -> Result<Id, Id> {
        let number = thread_number() % SHARDS;
        let Some(shard) = self.shards.get(number) else { return Err(untracked()) };
        let span = Box::new(span);
        let mut shard = lock(shard);
        let Some(index) = shard.free_slot() else { return Err(untracked()) };
        let Some(slot) = shard.slots.get_mut(index as usize) else { return Err(untracked()) };
        // Generation 0 is never given out, which keeps ids non-zero.
        slot.generation = slot.generation.wrapping_add(1).max(1);
        slot.references = 1;
        slot.span = Some(span);
        let generation = u64::from(slot.generation);
        Ok(Id::from_u64(
            generation << (INDEX_BITS + SHARD_BITS) | (number as u64) << INDEX_BITS | u64::from(index),
        ))
    }

    /// Runs `body` on the span, under its shard's lock.
    pub(crate) fn with<R>(&self, id: &Id, body: impl FnOnce(&mut OpenSpan) -> R) -> Option<R> {
        self.with_slot(id, |slot| slot.span.as_deref_mut().map(body)).flatten()
    }

    pub(crate) fn add_reference(&self, id: &Id) {
        self.with_slot(id, |slot| slot.references = slot.references.saturating_add(1));
    }

    /// Drops one reference; the span itself with the last.
    pub(crate) fn release(&self, id: &Id) -> Option<Box<OpenSpan>> {
        let (shard, index, generation) = self.locate(id)?;
        let mut shard = lock(shard);
        let slot = shard.slots.get_mut(index).filter(|slot| slot.generation == generation)?;
        slot.references = slot.references.saturating_sub(1);
        if slot.references > 0 {
            return None;
        }
        let span = slot.span.take();
        if span.is_some() {
            shard.free.push(index as u32);
        }
        span
    }

    fn with_slot<R>(&self, id: &Id, body: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        let (shard, index, generation) = self.locate(id)?;
        let mut shard = lock(shard);
        let slot = shard.slots.get_mut(index)?;
        (slot.generation == generation && slot.span.is_some()).then(|| body(slot))
    }

    fn locate(&self, id: &Id) -> Option<(&Mutex<Shard>, usize, u32)> {
        let bits = id.into_u64();
        let index = bits & ((1 << INDEX_BITS) - 1);
        let shard = (bits >> INDEX_BITS) & ((1 << SHARD_BITS) - 1);
        Some((self.shards.get(shard as usize)?, index as usize, (bits >> (INDEX_BITS + SHARD_BITS)) as u32))
    }
}

impl Shard {
    fn free_slot(&mut self) -> Option<u32> {
        if let Some(index) = self.free.pop() {
            return Some(index);
        }
        if self.slots.len() >= SPANS_PER_SHARD_MAX {
            return None;
        }
        self.slots.push(Slot::default());
        u32::try_from(self.slots.len() - 1).ok()
    }
}
