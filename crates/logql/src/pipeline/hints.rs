//! What a metric query needs from parsers: `sum by (status) (... | json ...)` needs only `status`, and
//! `sum(... | json ...)` needs nothing. Parsers stop as soon as they have it, so errors further on in a line do not
//! count, exactly as in Loki.

use super::{ERROR, LineLabels};

/// The suffix of a parsed label whose name a stream label or structured metadata already has.
pub(crate) const EXTRACTED: &str = "_extracted";

/// Which labels parsers should bother with.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    nothing: bool,
    /// Empty: all.
    required: Vec<String>,
    preserve_error: bool,
}

impl Hints {
    /// Derives hints from the labels that stages read, those grouped by and the one unwrapped.
    pub(crate) fn new(
        stages: Vec<String>,
        groups: &[String],
        without: bool,
        single: bool,
        unwrap: &str,
    ) -> Self {
        let mut required: Vec<String> = Vec::new();
        for name in stages.iter().map(String::as_str).chain(groups.iter().map(String::as_str)).chain([unwrap])
        {
            // A label may come out of a line under its plain name and get the suffix only then.
            for name in [Some(name), name.strip_suffix(EXTRACTED)].into_iter().flatten() {
                if !name.is_empty() && !required.iter().any(|known| known == name) {
                    required.push(name.to_owned());
                }
            }
        }
        let preserve_error = required.iter().any(|name| name == ERROR);
        match (single, required.is_empty()) {
            (true, true) => Self { nothing: true, ..Self::default() },
            (true, false) => Self { nothing: false, required, preserve_error },
            // Without a closed list of groups every label is part of the result.
            (false, _) if without || groups.is_empty() => Self::default(),
            (false, _) => Self { nothing: false, required, preserve_error },
        }
    }

    /// True when parsers have nothing to do (any more).
    pub(crate) fn wants_nothing(&self, labels: &LineLabels<'_>) -> bool {
        self.nothing || self.has_all(labels)
    }

    /// True when everything needed has been extracted.
    pub(crate) fn has_all(&self, labels: &LineLabels<'_>) -> bool {
        !self.required.is_empty() && self.required.iter().all(|name| labels.was_extracted(name))
    }

    /// True when the label is needed.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.required.is_empty() || self.required.iter().any(|required| required == name)
    }

    /// True when the query can tell whether a line has the label.
    pub(crate) fn wants_label(&self, name: &str) -> bool {
        !self.nothing && self.wants(name)
    }

    /// True when a label that starts so is needed.
    pub(crate) fn wants_prefix(&self, prefix: &str) -> bool {
        self.required.is_empty() || self.required.iter().any(|required| required.starts_with(prefix))
    }

    /// True when the query asked for `__error__` itself.
    pub(crate) fn preserves_error(&self) -> bool {
        self.preserve_error
    }
}
