//! What heads hold of exemplars and of metadata: bounded, the newest win, and what had to go is counted.

use std::collections::{BTreeMap, VecDeque};

use kenning_model::{Exemplar, LabelSet, MetricMetadata};

use super::metadata::MetadataKey;

/// Most exemplars that the head of one tenant holds. Prometheus keeps as many in all.
pub(crate) const EXEMPLARS_MAX: usize = 100_000;

/// Most different metadata of one tenant, in its head and in its part.
pub(crate) const METADATA_MAX: usize = 50_000;

/// Exemplars in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct RecentExemplars {
    list: VecDeque<(LabelSet, Exemplar)>,
    bytes: usize,
    dropped: u64,
}

impl RecentExemplars {
    /// Takes one; the oldest goes when there are too many.
    pub(crate) fn push(&mut self, labels: &LabelSet, exemplar: &Exemplar) {
        if self.list.len() >= EXEMPLARS_MAX
            && let Some(oldest) = self.list.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(bytes_of(&oldest));
            self.dropped += 1;
        }
        let own = (labels.clone(), Exemplar { series: 0, ..exemplar.clone() });
        self.bytes += bytes_of(&own);
        self.list.push_back(own);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(LabelSet, Exemplar)> + Clone {
        self.list.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those that had to go.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// The labels of the series are counted with each exemplar: the series may be gone from the head's maps first.
fn bytes_of((labels, exemplar): &(LabelSet, Exemplar)) -> usize {
    size_of::<(LabelSet, Exemplar)>() + exemplar.labels.heap_bytes() + labels.heap_bytes()
}

/// Metadata with the order in which they were told last.
#[derive(Debug, Default)]
pub(crate) struct RecentMetadata {
    told: BTreeMap<MetadataKey, u64>,
    next: u64,
    bytes: usize,
    dropped: u64,
}

impl RecentMetadata {
    /// Takes one. When there are a quarter too many, those that were told longest ago go.
    pub(crate) fn add(&mut self, metadata: &MetricMetadata) {
        let key = MetadataKey::of(metadata);
        self.next += 1;
        if let Some(last) = self.told.get_mut(&key) {
            *last = self.next;
            return;
        }
        self.bytes += key.heap_bytes();
        self.told.insert(key, self.next);
        if self.told.len() > METADATA_MAX + METADATA_MAX / 4 {
            self.forget();
        }
    }

    fn forget(&mut self) {
        let mut order: Vec<u64> = self.told.values().copied().collect();
        let excess = order.len().saturating_sub(METADATA_MAX);
        let (_, kept_from, _) = order.select_nth_unstable(excess);
        let kept_from = *kept_from;
        self.told.retain(|_, last| *last >= kept_from);
        self.bytes = self.told.keys().map(MetadataKey::heap_bytes).sum();
        self.dropped += excess as u64;
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &MetadataKey> + Clone {
        self.told.keys()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those that had to go.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_model::{MetricKind, Millis};

    #[test]
    fn the_newest_exemplars_stay() {
        let mut recent = RecentExemplars::default();
        let labels = LabelSet::from_pairs([("n", "1")]);
        let exemplar =
            |time| Exemplar { series: 0, time: Millis(time), value: 0.0, labels: LabelSet::empty() };
        for time in 0..EXEMPLARS_MAX as i64 {
            recent.push(&labels, &exemplar(time));
        }
        let bytes = recent.bytes();
        (0..10).for_each(|more| recent.push(&labels, &exemplar(EXEMPLARS_MAX as i64 + more)));
        assert_eq!((recent.bytes(), recent.dropped(), recent.iter().count()), (bytes, 10, EXEMPLARS_MAX));
        assert_eq!(recent.iter().next().map(|(_, exemplar)| exemplar.time), Some(Millis(10)));
    }

    #[test]
    fn metadata_told_lately_stay() {
        let mut recent = RecentMetadata::default();
        let metadata = |n: usize| MetricMetadata {
            metric: format!("m{n}"),
            kind: MetricKind::Counter,
            ..MetricMetadata::default()
        };
        for n in 0..METADATA_MAX + METADATA_MAX / 4 {
            recent.add(&metadata(n));
        }
        recent.add(&metadata(0));
        assert_eq!(recent.dropped(), 0);
        recent.add(&metadata(usize::MAX));
        assert_eq!((recent.keys().count(), recent.dropped()), (METADATA_MAX, METADATA_MAX as u64 / 4 + 1));
        let has = |n: usize| recent.keys().any(|key| *key == MetadataKey::of(&metadata(n)));
        assert!(has(0) && has(usize::MAX) && !has(1));
        assert_eq!(recent.bytes(), recent.keys().map(MetadataKey::heap_bytes).sum::<usize>());
    }
}
