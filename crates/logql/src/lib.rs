//! LogQL: syntax, analysis and evaluation over the store trait. Semantics are those of Loki's main branch of mid 2026.
//!
//! - [`parse`] makes the typed tree of a query, with places in the text; its `Display` is Loki's canonical text and
//!   [`format`] the one for people; [`error_text`] says what is wrong as Loki's API does.
//! - [`Live`] runs a log query over batches as they come, [`LineMatcher`] tests single records; [`detected_fields`] finds
//!   what fields a line has.
//! - [`check`] tells everything that is wrong with a query, and [`complete`] what may stand at a place of it, for editors.
//! - [`range`] and [`instant`] answer a query; [`selector`] turns a stream selector into a store's filter.
//!
//! Promises: no text and no line makes it panic; nesting, memory, rows, points and series are bounded by
//! [`kenning_query::Limits`]; regular expressions run in linear time; answers do not depend on the store's order of
//! streams. What a store can test itself (label matchers, line filters, severity, trace ids, time) is part of the scan; the
//! pipeline tests it again, so a store that pushes nothing down gives the same answer.
//!
//! Lacking: the sketches of sharded Loki (`approx_topk` is exact here), and time zones in templates. Deviations and their
//! reasons stand in `docs/logql.md`.

mod answer;
mod complete;
mod detected;
mod eval;
mod pattern;
mod pipeline;
pub mod syntax;
mod template;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Entry, Stats, Stream, Value, categorized, merged};
pub use complete::{Completion, Expect, complete, functions};
pub use detected::{DetectedFields, detected_fields, detected_json_path, detected_type};
pub use eval::{
    LineMatcher, LineSelector, Live, RangeParams, check, instant, line_selector, range, selector,
};
pub use pipeline::decolorized;
pub use syntax::ast::Expr;
pub use syntax::{error_text, format, parse};
pub use template::{TEMPLATE_FUNCTIONS, template_function};
