//! `drop` and `keep`.

use super::{Category, ERROR, ERROR_DETAILS, LineLabels, PRESERVE_ERROR};
use crate::syntax::ast::NamedMatcher;

/// Removes the labels named, those with a condition only where it holds.
#[derive(Debug)]
pub(super) struct Drop(pub(super) Vec<NamedMatcher>);

impl Drop {
    pub(super) fn run(&self, labels: &mut LineLabels<'_>) {
        for named in &self.0 {
            let (name, matches): (&str, bool) = match named {
                NamedMatcher::Name(name) => (name, true),
                NamedMatcher::Matcher(m) if m.name == ERROR_DETAILS => (&m.name, m.matches(labels.details())),
                NamedMatcher::Matcher(m) => (&m.name, m.matches(labels.text(&m.name))),
            };
            match name {
                _ if !matches => {}
                ERROR => labels.clear_error(),
                ERROR_DETAILS => labels.clear_details(),
                _ => labels.delete(name),
            }
        }
    }
}

/// Removes the labels not named, and those whose condition does not hold. Errors stay.
#[derive(Debug)]
pub(super) struct Keep(pub(super) Vec<NamedMatcher>);

impl Keep {
    pub(super) fn run(&self, labels: &mut LineLabels<'_>) {
        let mut doomed = Vec::new();
        labels.for_each(|name, value, _: Category| {
            let special = [ERROR, ERROR_DETAILS, PRESERVE_ERROR].contains(&name);
            if !special && !self.keeps(name, value) {
                doomed.push(name.to_owned());
            }
        });
        doomed.iter().for_each(|name| labels.delete(name));
    }

    fn keeps(&self, name: &str, value: &str) -> bool {
        self.0.iter().any(|named| match named {
            NamedMatcher::Name(kept) => kept == name,
            NamedMatcher::Matcher(matcher) => matcher.name == name && matcher.matches(value),
        })
    }
}
