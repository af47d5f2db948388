//! Labels while they are being rewritten.

use kenning_model::LabelSet;

/// Labels in the making: few, so a list is searched rather than hashed.
///
/// Labels that were there at the start come first, in their order; what a rule sets comes after, in the order of
/// setting. `labelmap` reads them in this order, so the last of two sources of one name wins as in Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    pairs: Vec<Pair>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    name: String,
    value: String,
    was_set: bool,
}

impl Labels {
    /// The labels of a set.
    #[must_use]
    pub fn of(set: &LabelSet) -> Self {
        let pair =
            |(name, value): (&str, &str)| Pair { name: name.into(), value: value.into(), was_set: false };
        Self { pairs: set.iter().map(pair).collect() }
    }

    /// The value of `name`; empty when absent.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.pairs.iter().find(|pair| pair.name == name).map_or("", |pair| &pair.value)
    }

    /// Sets `name`; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return self.remove(name);
        }
        match self.pairs.iter_mut().find(|pair| pair.name == name && pair.was_set) {
            Some(pair) => value.clone_into(&mut pair.value),
            None => {
                self.remove(name);
                self.pairs.push(Pair { name: name.to_owned(), value: value.to_owned(), was_set: true });
            }
        }
    }

    /// Removes `name`.
    pub fn remove(&mut self, name: &str) {
        self.pairs.retain(|pair| pair.name != name);
    }

    /// Keeps the labels whose name `wanted` says yes to.
    pub fn retain(&mut self, mut wanted: impl FnMut(&str) -> bool) {
        self.pairs.retain(|pair| wanted(&pair.name));
    }

    /// Names and values, in the order the type describes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|pair| (pair.name.as_str(), pair.value.as_str()))
    }

    /// The finished set.
    #[must_use]
    pub fn build(&self) -> LabelSet {
        LabelSet::from_borrowed(&mut self.iter().collect::<Vec<_>>())
    }
}
