//! How LogQL and TraceQL write and read strings, numbers, durations and sizes. The definitions are those of Go's `strconv` and
//! `time` packages, Prometheus' durations and go-humanize's sizes, because queries, label values and error texts of
//! Loki are written with them.

pub mod duration;
pub mod float;
pub mod quote;
pub mod size;
