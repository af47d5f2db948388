//! TraceQL, and the look-ups of traces that need no language.

pub mod lookup;
