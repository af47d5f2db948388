//! TraceQL: syntax, analysis and evaluation over the store trait; and [`lookup`]s of traces that need no language.
//! Semantics are those of Tempo's main branch of mid 2026.
//!
//! - [`parse`] makes the typed tree of a query and checks its types; `Display` is Tempo's canonical text.
//! - [`search`] finds traces: a scan with what the store can test, then the pipeline over whole traces.
//!
//! Promises: no text makes it panic; nesting, memory and rows are bounded; regular expressions run in linear time.
//! Every value of attributes takes part, lists by any of their elements.
//!
//! Lacking: metrics functions (`rate`, `quantile_over_time`, `compare` ...), `parent.` attributes (as Tempo), scalar
//! arithmetic between pipelines (as Tempo), and traces whose every span began more than an hour before the range.

pub mod ast;
mod check;
mod eval;
mod lexer;
pub mod lookup;
mod parser;
mod print;
mod search;
#[cfg(test)]
mod tests;
mod trace;
mod value;

pub use parser::parse;
pub use search::{MatchedSpan, SpanSet, TraceMatch, search};
pub use value::Static;
