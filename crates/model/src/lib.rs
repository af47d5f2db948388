//! Kenning's vocabulary: tenants, label sets, samples, log records, spans, batches and the narrow store trait. No I/O.
