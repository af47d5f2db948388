//! TraceQL: syntax, analysis and evaluation over the store trait; and lookups of traces that need no language.

pub mod lookup;
