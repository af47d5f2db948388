//! `info`: adds labels of info metrics (by default `target_info`) to series of the same `instance` and `job`.

use std::collections::{BTreeMap, BTreeSet};

use kenning_model::{Field, Filter, LabelSet, METRIC_NAME};
use kenning_query::SourceSpan;

use super::collect::Collector;
use super::{Column, Evaluated, Evaluator, Steps, display_labels, failure, keep};
use crate::Point;
use crate::plan::{Resets, Selector, Vector, When};
use crate::syntax::{MatchOp, Matcher};

const TARGET_INFO: &str = "target_info";

/// Labels that say which info series belongs to a series.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// The second argument of `info`, taken apart.
struct Wanted {
    /// Which info metrics.
    names: Vec<Matcher>,
    /// Which labels, with conditions on them; none: all.
    labels: BTreeMap<String, Vec<Matcher>>,
}

impl Wanted {
    fn new(matchers: Option<&[Matcher]>) -> Self {
        let target_info = || vec![Matcher::equal(METRIC_NAME, TARGET_INFO)];
        let mut names: Vec<_> =
            matchers.unwrap_or(&[]).iter().filter(|m| m.name == METRIC_NAME).cloned().collect();
        let mut labels: BTreeMap<String, Vec<Matcher>> = BTreeMap::new();
        for matcher in matchers.unwrap_or(&[]).iter().filter(|m| m.name != METRIC_NAME) {
            labels.entry(matcher.name.clone()).or_default().push(matcher.clone());
        }
        let positive = names.iter().any(|m| matches!(m.op, MatchOp::Eq | MatchOp::Re));
        if names.is_empty() {
            names = target_info();
        } else if !positive && let Ok(any_info) = Matcher::new(METRIC_NAME, MatchOp::Re, ".+_info") {
            names.insert(0, any_info);
        }
        Self { names, labels }
    }

    /// True for info series themselves, which stay as they are.
    fn is_info(&self, labels: &LabelSet) -> bool {
        self.names.iter().all(|matcher| matcher.matches(labels.metric_name()))
    }

    /// True when a series without an info series passes.
    fn may_be_absent(&self) -> bool {
        self.labels.values().flatten().all(|matcher| matcher.matches(""))
    }

    fn wants(&self, label: &str) -> bool {
        label != METRIC_NAME && (self.labels.is_empty() || self.labels.contains_key(label))
    }

    /// The info series that may belong to some of these series; `None` when there can be none.
    fn filter(&self, columns: &[Column]) -> Option<Filter> {
        let mut identities = Vec::new();
        for label in IDENTIFYING {
            let relevant = columns.iter().filter(|column| !self.is_info(&column.labels));
            let values: BTreeSet<&str> =
                relevant.map(|c| c.labels.get(label)).filter(|v| !v.is_empty()).collect();
            if !values.is_empty() {
                identities.push(Filter::OneOf(
                    Field::Label(label.into()),
                    values.into_iter().map(Into::into).collect(),
                ));
            }
        }
        if identities.is_empty() {
            return None;
        }
        let conditions = self.names.iter().chain(self.labels.values().flatten()).map(Matcher::filter);
        Some(conditions.chain(identities).fold(Filter::All, Filter::and))
    }
}

impl Evaluator<'_> {
    pub(super) fn info(
        &mut self,
        operand: &Vector,
        matchers: Option<&[Matcher]>,
        when: When,
        steps: Steps,
    ) -> Evaluated<Vec<Column>> {
        let columns = self.vector(operand, steps)?;
        let wanted = Wanted::new(matchers);
        let infos = match wanted.filter(&columns) {
            None => Vec::new(),
            Some(filter) => {
                let (resets, span) = (Resets::AsStored, SourceSpan::default());
                let selector = Selector { filter, when, smoothed: false, resets, span };
                // The time of the sample decides which of two info series is the current one.
                self.select(&selector, steps, |latest| match latest.point {
                    Point::Float(_) => Point::Float(latest.time as f64),
                    histogram => histogram,
                })?
            }
        };
        let (mut out, mut charged) = (Collector::new(steps), 0);
        for i in 0..steps.len {
            let current = current_infos(&infos, i)?;
            for column in &columns {
                let Some(point) = column.at(i) else { continue };
                if let Some(labels) = enriched(&column.labels, &wanted, &current)? {
                    // As in Prometheus, a name that was to be dropped stays.
                    out.push(&labels, false, i, point.clone())?;
                }
            }
            self.charge_columns(out.len() - charged, steps)?;
            charged = out.len();
        }
        self.release_columns(&columns, steps);
        self.release_columns(&infos, steps);
        Ok(out.finish())
    }
}

/// The latest info series by metric and identity.
type Current<'a> = BTreeMap<(&'a str, LabelSet), (&'a LabelSet, f64)>;

fn identity(labels: &LabelSet) -> LabelSet {
    keep(labels, &IDENTIFYING.map(String::from))
}

fn current_infos(infos: &[Column], i: usize) -> Evaluated<Current<'_>> {
    let mut current: Current<'_> = BTreeMap::new();
    for info in infos {
        let time = match info.at(i) {
            None => continue,
            Some(Point::Histogram(_)) => {
                let series = display_labels(&info.labels);
                let message = format!("this should be an info metric, with float samples: {series}");
                return Err(failure(SourceSpan::default(), message));
            }
            Some(Point::Float(time)) => *time,
        };
        let key = (info.labels.metric_name(), identity(&info.labels));
        match current.get(&key) {
            Some((_, known)) if *known > time => {}
            Some((existing, known)) if *known == time => {
                let (existing, new) = (display_labels(existing), display_labels(&info.labels));
                let message = format!(
                    "found duplicate series for info metric: existing {existing} @ {time}, new {new} @ {time}"
                );
                return Err(failure(SourceSpan::default(), message));
            }
            _ => {
                current.insert(key, (&info.labels, time));
            }
        }
    }
    Ok(current)
}

/// A series' labels with those of its info series; `None` when it has none and must have one.
fn enriched(labels: &LabelSet, wanted: &Wanted, current: &Current<'_>) -> Evaluated<Option<LabelSet>> {
    if wanted.is_info(labels) {
        return Ok(Some(labels.clone()));
    }
    let own = identity(labels);
    let (mut added, mut matched) = (BTreeMap::new(), false);
    for (info, _) in current.iter().filter(|((_, id), _)| *id == own).map(|(_, found)| found) {
        matched = true;
        for (name, value) in info.iter().filter(|(name, _)| wanted.wants(name)) {
            if added.get(name).is_some_and(|known| *known != value) {
                return Err(failure(SourceSpan::default(), format!("conflicting label: {name}")));
            }
            if labels.get(name).is_empty() {
                added.insert(name, value);
            }
        }
    }
    if !matched && !wanted.may_be_absent() {
        return Ok(None);
    }
    let mut pairs: Vec<_> = labels.iter().chain(added).collect();
    Ok(Some(LabelSet::from_borrowed(&mut pairs)))
}
