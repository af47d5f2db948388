//! Recording and alerting rules, as far as files go: their model ([`RuleFile`]), strict reading with promtool's
//! messages ([`read`]), its lint ([`duplicates_message`]), and the templates of labels and annotations ([`template`]).
//!
//! Promises: promtool 3.14's verdicts and messages on whole files, measured on the shared corpus; a problem also knows
//! its place where promtool's message does not; no panic on any file.
//!
//! Absent: evaluation and the state of alerts (they come with alerting), rule unit tests, files and HTTP. Known
//! deviations: syntax errors of YAML that our parser words differently from go-yaml are told in our words.

mod features;
mod file;
mod lint;
mod read;
pub mod template;

pub use features::{Features, parse as parse_expression};
pub use file::{Group, Rule, RuleFile, Spot};
pub use lint::{Duplicate, duplicates, duplicates_message};
pub use read::{MORE_DOCUMENTS, Problem, ReadOptions, Reading, read};
