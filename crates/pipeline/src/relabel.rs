//! Relabelling: rules that rewrite or drop label sets, of targets before they are scraped and of series before they
//! are stored. Definition: Prometheus `relabel_config`, all eleven actions.
//!
//! Promises: a [`Rule`] is valid by construction and its messages are the ones operators of Prometheus know; applying
//! rules never fails. Absent: reading rules from YAML (the configuration's to do).

mod labels;
mod pattern;
mod rule;

pub use labels::Labels;
pub use pattern::Pattern;
pub use rule::{Action, NameScheme, Rule, RuleError, Written};

/// Applies `rules` in order; false when one of them drops the labels.
#[must_use]
pub fn apply(rules: &[Rule], labels: &mut Labels) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}
