//! How LogQL writes and reads strings, numbers, durations and sizes. The definitions are those of Go's `strconv` and
//! `time` packages, Prometheus' durations and go-humanize's sizes, because queries, label values and error texts of
//! Loki are written with them.

pub(crate) mod duration;
pub(crate) mod float;
pub(crate) mod quote;
pub(crate) mod size;
