//! Who is to blame when new series are refused: the metric that most of them belong to, and its label with the most
//! values. That is what an operator must know, and what the sender's logs should say.
//!
//! Only refused series are looked at, in bounded memory per tenant: [`METRICS_MAX`] metrics with a sketch of at most
//! [`LABELS_MAX`] labels each. Counts of values are estimates (linear counting), good to a few percent up to some
//! thousands and cut off there: beyond, the answer is the same.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use kenning_model::{LabelSet, METRIC_NAME};

/// Metrics kept apart; when there are more, the one refused least makes room.
const METRICS_MAX: usize = 32;
/// Labels of one metric that are looked at.
const LABELS_MAX: usize = 32;
/// 64-bit words of a sketch.
const SKETCH_WORDS: usize = 16;
/// Most values that a sketch can tell from more.
const VALUES_MAX: u64 = 5000;
/// Least time between two lines in the log about one tenant.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The refused series of one tenant, by metric.
#[derive(Debug, Default)]
pub struct Culprits {
    metrics: HashMap<Box<str>, Suspect>,
    logged: Option<Duration>,
}

/// What is known about the metric of a refused series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// The metric; empty for log streams.
    pub metric: Box<str>,
    /// Its label with the most values among the refused; empty when no label differs.
    pub label: Box<str>,
    /// About how many, at most [`VALUES_MAX`].
    pub values: u64,
    /// Its refused series so far.
    pub refused: u64,
    /// True when it is time for a line in the log.
    pub log: bool,
}

#[derive(Debug, Default)]
struct Suspect {
    refused: u64,
    labels: HashMap<Box<str>, Sketch>,
}

#[derive(Clone, Debug, Default)]
struct Sketch([u64; SKETCH_WORDS]);

impl Culprits {
    /// Notes a refused series of a metric (empty for streams) and tells what is known about the metric.
    pub fn blame(&mut self, series: &LabelSet, metric: &str, now: Duration) -> Blame {
        let log = self.logged.is_none_or(|last| now >= last + LOG_EVERY);
        if log {
            self.logged = Some(now);
        }
        let suspect = self.suspect(metric);
        suspect.saw(series);
        let (label, values) = suspect.worst();
        Blame { metric: metric.into(), label: label.into(), values, refused: suspect.refused, log }
    }

    fn suspect(&mut self, metric: &str) -> &mut Suspect {
        if !self.metrics.contains_key(metric) && self.metrics.len() >= METRICS_MAX {
            let least = self.metrics.iter().min_by_key(|(_, suspect)| suspect.refused);
            if let Some(name) = least.map(|(name, _)| name.clone()) {
                self.metrics.remove(&name);
            }
        }
        self.metrics.entry(metric.into()).or_default()
    }
}

impl Suspect {
    fn saw(&mut self, series: &LabelSet) {
        self.refused += 1;
        for (name, value) in series.iter().filter(|(name, _)| *name != METRIC_NAME) {
            if let Some(sketch) = self.labels.get_mut(name) {
                sketch.add(value);
            } else if self.labels.len() < LABELS_MAX {
                let mut sketch = Sketch::default();
                sketch.add(value);
                self.labels.insert(name.into(), sketch);
            }
        }
    }

    /// The label with the most values, the first by name of equal ones.
    fn worst(&self) -> (&str, u64) {
        let counted = self.labels.iter().map(|(name, sketch)| (&**name, sketch.values()));
        counted.max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(a.0))).unwrap_or(("", 0))
    }
}

impl Sketch {
    const BITS: usize = SKETCH_WORDS * 64;

    fn add(&mut self, value: &str) {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        let bit = hasher.finish() as usize % Self::BITS;
        if let Some(word) = self.0.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    fn values(&self) -> u64 {
        let set: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        let (bits, unset) = (Self::BITS as f64, (Self::BITS - set as usize) as f64);
        if unset < 1.0 { VALUES_MAX } else { ((bits * (bits / unset).ln()).round() as u64).min(VALUES_MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(pairs: &[(&str, &str)]) -> LabelSet {
        LabelSet::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn the_label_with_the_most_values_is_named() {
        let mut culprits = Culprits::default();
        let mut last = None;
        for n in 0..1000 {
            let (user, zone) = (n.to_string(), (n % 3).to_string());
            let labels = series(&[("__name__", "m"), ("user", &user), ("zone", &zone), ("job", "j")]);
            last = Some(culprits.blame(&labels, "m", Duration::ZERO));
        }
        let Some(blame) = last else { panic!() };
        assert_eq!((&*blame.metric, &*blame.label, blame.refused, blame.log), ("m", "user", 1000, false));
        assert!((900..1100).contains(&blame.values), "{}", blame.values);
    }

    #[test]
    fn the_log_hears_of_it_now_and_then() {
        let mut culprits = Culprits::default();
        let labels = series(&[("a", "b")]);
        let told = [0, 1, 9, 10, 11, 25].map(|s| culprits.blame(&labels, "m", Duration::from_secs(s)).log);
        assert_eq!(told, [true, false, false, true, false, true]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut culprits = Culprits::default();
        for n in 0..10_000 {
            let name = n.to_string();
            culprits.blame(&series(&[(&name, "v")]), "often", Duration::ZERO);
            culprits.blame(&series(&[("l", &name)]), &name, Duration::ZERO);
        }
        assert!(culprits.metrics.len() <= METRICS_MAX);
        assert_eq!(
            culprits.metrics.get("often").map(|s| (s.refused, s.labels.len())),
            Some((10_000, LABELS_MAX))
        );
    }
}
