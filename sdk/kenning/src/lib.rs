//! One line makes a Rust service observable: metrics, structured logs, traces, health.
