//! Records of many files on their way into one batch.

use std::collections::HashMap;

use kenning_model::{LabelSet, LogBatch, LogRow, Nanos, Severity, SpanId, TraceId};

use super::join::Record;

/// Text of a batch at which it is offered.
const BATCH_BYTES: usize = 1 << 20;
/// Records of a batch at which it is offered.
const BATCH_RECORDS: usize = 16 << 10;

#[derive(Default)]
pub(super) struct Gather {
    batch: LogBatch,
    streams: HashMap<LabelSet, u32>,
    buffer: Vec<u8>,
    last_stamp: i64,
}

impl Gather {
    pub fn is_full(&self) -> bool {
        self.batch.line.text_bytes() >= BATCH_BYTES || self.batch.len() >= BATCH_RECORDS
    }

    pub fn push(&mut self, labels: &LabelSet, record: &Record) {
        let place = match self.streams.get(labels) {
            Some(place) => *place,
            None => {
                let place = self.batch.add_stream(labels.clone());
                self.streams.insert(labels.clone(), place);
                place
            }
        };
        let row = LogRow {
            stream: labels,
            time: record.time,
            severity: Severity::UNKNOWN,
            trace_id: TraceId::NONE,
            span_id: SpanId::NONE,
            line: &record.text,
            metadata: &record.metadata,
        };
        self.batch.push(place, row);
    }

    /// The stamp of a line that has none. Stamps grow, so that lines keep the order in which they were read.
    pub fn stamp(&mut self, wall: Nanos) -> Nanos {
        self.last_stamp = wall.0.max(self.last_stamp.saturating_add(1));
        Nanos(self.last_stamp)
    }

    pub fn take_batch(&mut self) -> LogBatch {
        self.streams.clear();
        std::mem::take(&mut self.batch)
    }

    /// The buffer that files are read into, one after another.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    pub fn give_buffer(&mut self, buffer: Vec<u8>) {
        self.buffer = buffer;
    }
}
