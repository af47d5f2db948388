//! Regular expressions as relabelling uses them: the whole text must match, `.` matches line ends too.

use std::fmt;
use std::sync::Arc;

use kenning_regex::{Limits, compile_whole};
use regex::{Captures, Regex};

/// Largest compiled expression, in bytes.
const COMPILED_BYTES_MAX: usize = 4 << 20;

/// A compiled expression. Cloning shares it.
#[derive(Clone)]
pub struct Pattern {
    source: Arc<str>,
    regex: Arc<Regex>,
}

impl Pattern {
    /// Compiles `source`.
    pub fn new(source: &str) -> Result<Self, String> {
        let limits = Limits { program: COMPILED_BYTES_MAX, ..Limits::default() };
        let regex = compile_whole(source, limits).map_err(|error| error.to_string())?;
        Ok(Self { source: source.into(), regex: Arc::new(regex) })
    }

    /// The expression as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// True when all of `text` matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The groups, when all of `text` matches.
    pub(super) fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.regex.captures(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}

/// Puts groups in the place of `$1`, `${1}`, `$name` and `${name}`; `$$` is a dollar sign. What names no group is empty, a
/// dollar sign before anything else stands for itself. Definition: Go `regexp.Expand`.
pub(super) fn expand(template: &str, groups: &Captures<'_>) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        match group_name(after) {
            Some((name, after)) => {
                let group = match name.parse::<usize>() {
                    Ok(number) => groups.get(number),
                    Err(_) => groups.name(name),
                };
                out.push_str(group.map_or("", |group| group.as_str()));
                rest = after;
            }
            None => {
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The name at the start of `text`, in braces or not, and what follows it.
fn group_name(text: &str) -> Option<(&str, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let braced = text.strip_prefix('{');
    let inner = braced.unwrap_or(text);
    let end = inner.find(|c| !is_word(c)).unwrap_or(inner.len());
    let (name, after) = inner.split_at_checked(end)?;
    if name.is_empty() {
        return None;
    }
    match braced {
        Some(_) => Some((name, after.strip_prefix('}')?)),
        None => Some((name, after)),
    }
}
