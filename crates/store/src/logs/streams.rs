//! What labels say of the streams of a part, and its wordings of a text searched for, worked out once per part: the row groups
//! of a scan share it, and so do scans, for a dashboard asks the same again and again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kenning_model::Filter;

use super::index::LogIndex;
use super::search::Search;
use super::stream_list::StreamList;
use crate::scan::prune::field_of;
use crate::scan::prune::only_labels;
use kenning_model::Field;

/// Tests that are remembered per part, a byte a stream each; the one used longest ago goes first.
const TESTS_MAX: usize = 16;
/// Texts that were searched for and are remembered per part, a few bytes a column each.
const SEARCHES_MAX: usize = 8;
/// Labels whose values are remembered per part, four bytes a stream each and the values.
const KEYS_MAX: usize = 8;

/// Which streams pass a test.
#[derive(Clone, Debug)]
pub(crate) struct Passing {
    each: Arc<[bool]>,
    /// The verdict that all streams have in common.
    common: Option<bool>,
}

impl Passing {
    /// Every stream.
    pub(crate) fn all() -> Self {
        Self { each: Arc::default(), common: Some(true) }
    }

    fn of(each: Arc<[bool]>) -> Self {
        let common = match (each.contains(&true), each.contains(&false)) {
            (_, false) => Some(true),
            (false, true) => Some(false),
            (true, true) => None,
        };
        Self { each, common }
    }

    /// Whether a stream passes.
    #[inline]
    pub(crate) fn holds(&self, stream: u32) -> bool {
        self.common.unwrap_or_else(|| self.each.get(stream as usize) == Some(&true))
    }

    /// The verdict that all streams have in common, if they have.
    pub(crate) fn common(&self) -> Option<bool> {
        self.common
    }

    fn not(&self) -> Self {
        Self { each: self.each.iter().map(|passes| !passes).collect(), common: self.common.map(|one| !one) }
    }

    fn join(self, other: Self, is_and: bool) -> Self {
        // Whichever verdict settles it.
        let settles = |passing: &Self| passing.common == Some(!is_and);
        match (self, other) {
            (one, _) | (_, one) if settles(&one) => one,
            (one, other) if one.common.is_some() => other,
            (one, other) if other.common.is_some() => one,
            (one, other) => {
                let pairs = one.each.iter().zip(other.each.iter());
                Self::of(pairs.map(|(a, b)| if is_and { *a && *b } else { *a || *b }).collect())
            }
        }
    }
}

/// The values of a label.
#[derive(Clone, Debug)]
pub(crate) struct StreamKeys {
    /// Each value once.
    pub(crate) texts: Arc<[Box<str>]>,
    /// Per stream its value.
    pub(crate) codes: Arc<[u32]>,
}

/// What is known of the streams of one part. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct StreamFacts(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    tests: VecDeque<(Filter, Passing)>,
    keys: VecDeque<(Box<str>, StreamKeys)>,
    searches: VecDeque<Arc<Search>>,
}

impl StreamFacts {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which streams pass a filter that looks at labels alone.
    pub(crate) fn passing(&self, filter: &Filter, index: &LogIndex) -> Passing {
        let mut known = self.known();
        if let Some(place) = known.tests.iter().position(|(of, _)| of == filter)
            && let Some(found) = known.tests.remove(place)
        {
            let passing = found.1.clone();
            known.tests.push_front(found);
            return passing;
        }
        drop(known);
        let mut each = Vec::with_capacity(index.streams.len());
        index.streams.for_each(|labels| each.push(filter.matches(labels)));
        let passing = Passing::of(each.into());
        let mut known = self.known();
        known.tests.truncate(TESTS_MAX - 1);
        known.tests.push_front((filter.clone(), passing.clone()));
        passing
    }

    /// Which streams may have rows that pass a filter, whatever else is in them.
    pub(crate) fn may_match(&self, filter: &Filter, index: &LogIndex) -> Passing {
        let join = |parts: &[Filter], is_and: bool| {
            let mut parts = parts.iter().map(|part| self.may_match(part, index));
            let first = parts.next();
            first.map(|first| parts.fold(first, |a, b| a.join(b, is_and)))
        };
        match filter {
            Filter::All => Passing::all(),
            Filter::And(parts) => join(parts, true).unwrap_or_else(Passing::all),
            Filter::Or(parts) => join(parts, false).unwrap_or_else(|| Passing::all().not()),
            Filter::Not(part) if only_labels(part) => self.passing(part, index).not(),
            Filter::Not(_) => Passing::all(),
            leaf if matches!(field_of(leaf), Some(Field::Label(_))) => self.passing(leaf, index),
            _ => Passing::all(),
        }
    }

    /// What the index says about a search for a text that is not empty.
    pub(crate) fn search(&self, needle: &str, index: &LogIndex) -> Arc<Search> {
        let is_it = |search: &&Arc<Search>| search.needle() == needle.as_bytes();
        if let Some(search) = self.known().searches.iter().find(is_it) {
            return Arc::clone(search);
        }
        let search = Arc::new(Search::new(needle, index));
        let mut known = self.known();
        known.searches.truncate(SEARCHES_MAX - 1);
        known.searches.push_front(Arc::clone(&search));
        search
    }

    /// The values of a label.
    pub(crate) fn keys(&self, name: &str, index: &LogIndex) -> StreamKeys {
        if let Some((_, keys)) = self.known().keys.iter().find(|(of, _)| **of == *name) {
            return keys.clone();
        }
        let keys = keys_of(name, &index.streams);
        let mut known = self.known();
        known.keys.truncate(KEYS_MAX - 1);
        known.keys.push_front((name.into(), keys.clone()));
        keys
    }
}

fn keys_of(name: &str, streams: &StreamList) -> StreamKeys {
    let mut places: HashMap<Box<str>, u32> = HashMap::new();
    let (mut texts, mut codes): (Vec<Box<str>>, Vec<u32>) = (Vec::new(), Vec::with_capacity(streams.len()));
    streams.for_each(|labels| {
        let text = labels.get(name);
        // Neighbours are often alike.
        let before =
            codes.last().copied().filter(|code| texts.get(*code as usize).is_some_and(|t| **t == *text));
        codes.push(match before.or_else(|| places.get(text).copied()) {
            Some(code) => code,
            None => {
                let code = texts.len() as u32;
                places.insert(text.into(), code);
                texts.push(text.into());
                code
            }
        });
    });
    StreamKeys { texts: texts.into(), codes: codes.into() }
}

#[cfg(test)]
mod tests {
    use kenning_model::LabelSet;
    use proptest::prelude::*;

    use super::*;
    use crate::scan::prune::may_match;

    fn filter() -> impl Strategy<Value = Filter> {
        let label = |name: &'static str| Field::Label(name.into());
        let leaf = prop_oneof![
            Just(Filter::All),
            (prop_oneof![Just("a"), Just("b")], "[xy]?")
                .prop_map(move |(name, text)| Filter::eq(label(name), &text)),
            Just(Filter::Contains(Field::Line, "x".into())),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            let parts = proptest::collection::vec(inner.clone(), 0..3);
            prop_oneof![
                parts.clone().prop_map(Filter::And),
                parts.prop_map(Filter::Or),
                inner.prop_map(|part| Filter::Not(Box::new(part))),
            ]
        })
    }

    proptest! {
        #[test]
        fn streams_may_match_as_their_labels_do(filters in proptest::collection::vec(filter(), 1..30)) {
            let sets = [[("a", "x"), ("b", "y")], [("a", "y"), ("b", "x")], [("a", "x"), ("b", "")]];
            let sets: Vec<LabelSet> = sets.into_iter().map(LabelSet::from_pairs).collect();
            let index = LogIndex { tick: 1, streams: StreamList::of(&sets), ..LogIndex::default() };
            let facts = StreamFacts::default();
            for filter in &filters {
                let found = facts.may_match(filter, &index);
                for (labels, stream) in sets.iter().zip(0..) {
                    prop_assert_eq!(found.holds(stream), may_match(filter, labels), "{:?}", filter);
                }
            }
        }
    }

    #[test]
    fn values_of_labels_have_codes() {
        let streams =
            vec![LabelSet::from_pairs([("a", "x")]), LabelSet::empty(), LabelSet::from_pairs([("a", "x")])];
        let index = LogIndex { tick: 1, streams: StreamList::of(&streams), ..LogIndex::default() };
        let facts = StreamFacts::default();
        for _ in 0..2 {
            let keys = facts.keys("a", &index);
            let texts: Vec<&str> = keys.codes.iter().map(|code| &*keys.texts[*code as usize]).collect();
            assert_eq!(texts, ["x", "", "x"]);
        }
    }
}
