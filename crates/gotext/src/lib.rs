//! How Go's programs read and write numbers, durations, sizes and quoted text. The queries, configuration, labels and
//! error texts that Kenning takes over from Prometheus, Loki and Tempo are made of them, so every crate that speaks one
//! of those reads and writes them here.
//!
//! Definitions: Go's `strconv`, `fmt`, `time` and `net/url`, Prometheus's `model.Duration`, go-humanize's sizes.
//!
//! Absent on purpose: any language's literals as a whole, formatting verbs (`kenning-template` has `printf`).

pub mod duration;
pub mod float;
pub mod quote;
pub mod size;
pub mod url;
