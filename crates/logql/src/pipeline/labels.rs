//! The labels of one line while it runs through a pipeline, in three layers: stream labels, structured metadata and
//! labels parsed from the line.

use std::borrow::Cow;
use std::collections::HashSet;

use kenning_model::LabelSet;

use super::hints::{EXTRACTED, Hints};
use super::{ERROR, ERROR_DETAILS, PRESERVE_ERROR};

/// Where a label comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Category {
    /// The stream.
    Stream = 0,
    /// Structured metadata.
    Metadata = 1,
    /// A parser or formatter.
    Parsed = 2,
}

type Text<'a> = Cow<'a, str>;
type Pair<'a> = (Text<'a>, Text<'a>);

/// Up to so many names are searched one by one.
const NAMES_LINEAR_MAX: usize = 32;

/// A set of names that is cheap while small.
#[derive(Debug, Default)]
struct Names<'a> {
    few: Vec<Text<'a>>,
    many: HashSet<Text<'a>>,
}

impl<'a> Names<'a> {
    fn contains(&self, name: &str) -> bool {
        self.few.iter().any(|known| known == name) || !self.many.is_empty() && self.many.contains(name)
    }

    fn insert(&mut self, name: Text<'a>) {
        if self.few.len() < NAMES_LINEAR_MAX {
            self.few.push(name);
        } else {
            self.many.insert(name);
        }
    }
}

/// The labels of one line.
#[derive(Debug)]
pub(crate) struct LineLabels<'a> {
    base: &'a LabelSet,
    stream: Vec<Pair<'a>>,
    metadata: Vec<Pair<'a>>,
    parsed: Vec<Pair<'a>>,
    deleted: Vec<Text<'a>>,
    extracted: Names<'a>,
    error: Text<'a>,
    details: Text<'a>,
}

impl<'a> LineLabels<'a> {
    /// The labels of a line of a stream, nothing parsed yet.
    pub(crate) fn new(base: &'a LabelSet) -> Self {
        Self {
            base,
            stream: Vec::new(),
            metadata: Vec::new(),
            parsed: Vec::new(),
            deleted: Vec::new(),
            extracted: Names::default(),
            error: Cow::Borrowed(""),
            details: Cow::Borrowed(""),
        }
    }

    /// Adds structured metadata; a name that the stream has gets a suffix.
    pub(crate) fn add_metadata(&mut self, name: &'a str, value: Text<'a>) {
        match name {
            ERROR => self.error = value,
            ERROR_DETAILS => self.details = value,
            _ if self.base_has(name) => {
                self.set(Category::Metadata, Cow::Owned(format!("{name}{EXTRACTED}")), value);
            }
            _ => self.set(Category::Metadata, Cow::Borrowed(name), value),
        }
    }

    fn base_has(&self, name: &str) -> bool {
        !self.base.get(name).is_empty()
    }

    fn layer(&mut self, category: Category) -> &mut Vec<Pair<'a>> {
        match category {
            Category::Stream => &mut self.stream,
            Category::Metadata => &mut self.metadata,
            Category::Parsed => &mut self.parsed,
        }
    }

    /// Sets a label. Parsed labels displace structured metadata, which displaces stream labels.
    pub(crate) fn set(&mut self, category: Category, name: Text<'a>, value: Text<'a>) {
        let hidden = match category {
            Category::Parsed => {
                remove(&mut self.metadata, &name);
                remove(&mut self.stream, &name);
                false
            }
            Category::Metadata => {
                remove(&mut self.stream, &name);
                find(&self.parsed, &name).is_some()
            }
            Category::Stream => find(&self.metadata, &name).is_some() || find(&self.parsed, &name).is_some(),
        };
        if hidden {
            return;
        }
        if category == Category::Parsed && !self.extracted.contains(&name) {
            self.extracted.insert(name.clone());
        }
        let layer = self.layer(category);
        match layer.iter_mut().find(|(known, _)| *known == name) {
            Some(pair) => pair.1 = value,
            None => layer.push((name, value)),
        }
    }

    /// What parsers do with a field: rename it when stream or metadata has its name, leave it out when it is not wanted
    /// or known already, else store it. `value` may decline.
    pub(crate) fn extract(
        &mut self,
        name: Text<'a>,
        hints: &Hints,
        value: impl FnOnce() -> Option<Text<'a>>,
    ) {
        let taken = self.base_has(&name) || find(&self.metadata, &name).is_some();
        let name = if taken { Cow::Owned(format!("{name}{EXTRACTED}")) } else { name };
        if name.is_empty() || !hints.wants(&name) || self.extracted.contains(&name) {
            return;
        }
        if let Some(value) = value() {
            remove(&mut self.metadata, &name);
            remove(&mut self.stream, &name);
            self.extracted.insert(name.clone());
            self.parsed.push((name, value));
        }
    }

    /// True when stream labels or structured metadata have the name.
    pub(crate) fn is_taken(&self, name: &str) -> bool {
        self.base_has(name) || find(&self.metadata, name).is_some()
    }

    /// True when the label was parsed from this line, even if it was removed since.
    pub(crate) fn was_extracted(&self, name: &str) -> bool {
        self.extracted.contains(name)
    }

    /// A label's value and layer.
    pub(crate) fn find(&self, name: &str) -> Option<(&str, Category)> {
        let layers = [
            (&self.stream, Category::Stream),
            (&self.metadata, Category::Metadata),
            (&self.parsed, Category::Parsed),
        ];
        if let Some(hit) = layers.into_iter().find_map(|(layer, c)| find(layer, name).map(|value| (value, c)))
        {
            return Some(hit);
        }
        if self.deleted.iter().any(|deleted| deleted == name) {
            return None;
        }
        match self.base.get(name) {
            "" => None,
            value => Some((value, Category::Stream)),
        }
    }

    /// A label's value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.find(name).map(|(value, _)| value)
    }

    /// A label's value as text filters see it: empty when absent, and `__error__` is readable.
    pub(crate) fn text(&self, name: &str) -> &str {
        if name == ERROR { &self.error } else { self.get(name).unwrap_or("") }
    }

    /// Removes a label from every layer.
    pub(crate) fn delete(&mut self, name: &str) {
        remove(&mut self.stream, name);
        remove(&mut self.metadata, name);
        remove(&mut self.parsed, name);
        if !self.deleted.iter().any(|deleted| deleted == name) {
            self.deleted.push(Cow::Owned(name.to_owned()));
        }
    }

    /// The value of `__error__`; empty without an error.
    pub(crate) fn error(&self) -> &str {
        &self.error
    }

    /// The value of `__error_details__`.
    pub(crate) fn details(&self) -> &str {
        &self.details
    }

    /// Sets the error, whatever it was.
    pub(crate) fn set_error(&mut self, error: &'static str, details: Option<String>) {
        self.error = Cow::Borrowed(error);
        if let Some(details) = details {
            self.details = Cow::Owned(details);
        }
    }

    /// Sets a parser's error.
    pub(crate) fn set_parse_error(&mut self, error: &'static str, details: Option<String>, hints: &Hints) {
        self.set_error(error, details);
        if hints.preserves_error() {
            self.set(Category::Parsed, Cow::Borrowed(PRESERVE_ERROR), Cow::Borrowed("true"));
        }
    }

    /// Forgets the error.
    pub(crate) fn clear_error(&mut self) {
        self.error = Cow::Borrowed("");
    }

    /// Forgets the details of the error.
    pub(crate) fn clear_details(&mut self) {
        self.details = Cow::Borrowed("");
    }

    /// True when nothing was added or removed.
    fn is_untouched(&self) -> bool {
        self.stream.is_empty()
            && self.metadata.is_empty()
            && self.parsed.is_empty()
            && self.deleted.is_empty()
            && self.error.is_empty()
    }

    /// Hands out every label, errors included, with its layer.
    pub(crate) fn for_each<'s>(&'s self, mut visit: impl FnMut(&'s str, &'s str, Category)) {
        for (name, value) in self.base.iter() {
            let shadowed = self.deleted.iter().any(|deleted| deleted == name)
                || find(&self.metadata, name).is_some()
                || find(&self.parsed, name).is_some();
            if !shadowed {
                visit(name, find(&self.stream, name).unwrap_or(value), Category::Stream);
            }
        }
        for (name, value) in &self.stream {
            if !self.base_has(name) || self.deleted.contains(name) {
                visit(name, value, Category::Stream);
            }
        }
        self.metadata.iter().for_each(|(name, value)| visit(name, value, Category::Metadata));
        self.parsed.iter().for_each(|(name, value)| visit(name, value, Category::Parsed));
        self.for_each_error(visit);
    }

    fn for_each_error<'s>(&'s self, mut visit: impl FnMut(&'s str, &'s str, Category)) {
        if !self.error.is_empty() {
            visit(ERROR, &self.error, Category::Parsed);
        }
        if !self.details.is_empty() {
            visit(ERROR_DETAILS, &self.details, Category::Parsed);
        }
    }

    /// The labels of one layer. The stream's own set comes back uncopied where nothing changed.
    pub(crate) fn layer_set(&self, wanted: Category) -> LabelSet {
        if self.is_untouched() {
            return if wanted == Category::Stream { self.base.clone() } else { LabelSet::empty() };
        }
        let mut builder = LabelSet::empty().to_builder();
        self.for_each(|name, value, category| {
            if category == wanted {
                builder.set(name, value);
            }
        });
        builder.build_with_empty()
    }
}

fn find<'x>(layer: &'x [Pair<'_>], name: &str) -> Option<&'x str> {
    layer.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
}

fn remove(layer: &mut Vec<Pair<'_>>, name: &str) {
    layer.retain(|(known, _)| known != name);
}

/// A name that labels may have: letters, digits and underscores, no digit in front.
pub(crate) fn sanitized(key: &str) -> Cow<'_, str> {
    let key = key.trim();
    let digit_first = key.starts_with(|c: char| c.is_ascii_digit());
    let clean = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !digit_first && key.chars().all(clean) {
        return Cow::Borrowed(key);
    }
    let mut out = String::with_capacity(key.len() + 1);
    if digit_first {
        out.push('_');
    }
    out.extend(key.chars().map(|c| if clean(c) { c } else { '_' }));
    Cow::Owned(out)
}

/// Like [`sanitized`] for a part of a line, kept by `keep` where nothing had to change.
pub(crate) fn sanitized_part<'l, 'a>(key: &'l str, keep: impl Fn(&'l str) -> Cow<'a, str>) -> Cow<'a, str> {
    match sanitized(key) {
        Cow::Borrowed(name) => keep(name),
        Cow::Owned(name) => Cow::Owned(name),
    }
}

/// Replacement characters become spaces, as Loki does: its label values must not hold them.
pub(crate) fn without_replacement_char(text: &str) -> Option<String> {
    text.contains(char::REPLACEMENT_CHARACTER).then(|| text.replace(char::REPLACEMENT_CHARACTER, " "))
}
