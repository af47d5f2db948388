//! How many bytes of lines streams have: `index/volume` at the end of a range, `index/volume_range` over its steps.
//!
//! Definition: Loki's handlers of these names. Bytes are those of the lines, counted, where Loki estimates from chunks.

use std::collections::{BTreeMap, BTreeSet};

use kenning_model::{Agg, DistinctOf, Field, Filter, Group, GroupRow, LabelSet, Nanos, Pattern, Scan, Shape};
use kenning_query::{QueryError, operators};

use super::meta::{scan_of, selector};
use super::params;
use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;

/// Series in an answer that does not say how many.
const LIMIT_DEFAULT: usize = 100;
/// Labels that series may be told apart by.
const LABELS_MAX: usize = 256;

/// What is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AggregateBy {
    /// Bytes per combination of the labels' values.
    Series,
    /// Bytes per label that streams have, whatever its value.
    Labels,
}

struct Question {
    filter: Filter,
    /// The labels that series have; `None`: all.
    targets: Option<Vec<String>>,
    aggregate: AggregateBy,
    limit: usize,
}

impl Question {
    fn of(asked: &Asked) -> Result<Self, ApiError> {
        let query = params::query(asked);
        let mut filter = selector(query)?;
        let aggregate = match asked.params.get("aggregateBy") {
            None | Some("series") => AggregateBy::Series,
            Some("labels") => AggregateBy::Labels,
            Some(_) => {
                return Err(ApiError::bad_request(
                    "invalid aggregation option: must be one of: series, labels",
                ));
            }
        };
        let names = names_in(&filter);
        let told: Vec<String> = asked.params.get("targetLabels").map_or_else(Vec::new, |text| {
            text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
        });
        let targets = match (told.is_empty(), names.is_empty()) {
            (false, _) => {
                // A stream without a label that is asked for has no place in the answer.
                for name in told.iter().filter(|name| !names.contains(*name)) {
                    filter = filter.and(has_label(name)?);
                }
                Some(told)
            }
            (true, false) => Some(names.into_iter().collect()),
            (true, true) => None,
        };
        Ok(Self { filter, targets, aggregate, limit: params::limit_of(asked, "limit", LIMIT_DEFAULT)? })
    }
}

fn has_label(name: &str) -> Result<Filter, ApiError> {
    let any = Pattern::whole(".+").map_err(ApiError::internal)?;
    Ok(Filter::Matches(Field::Label(name.into()), any))
}

/// The labels that a selector names.
fn names_in(filter: &Filter) -> BTreeSet<String> {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => parts.iter().flat_map(names_in).collect(),
        Filter::Not(part) => names_in(part),
        Filter::Compare(Field::Label(name), ..)
        | Filter::OneOf(Field::Label(name), _)
        | Filter::Matches(Field::Label(name), _)
        | Filter::Contains(Field::Label(name), _)
        | Filter::Exists(Field::Label(name)) => [name.to_string()].into(),
        _ => BTreeSet::new(),
    }
}

/// Bytes by series and time.
type Volumes = BTreeMap<LabelSet, BTreeMap<Nanos, f64>>;

async fn volumes(asked: Asked, question: &Question, step: Option<(Nanos, i64)>) -> Result<Volumes, ApiError> {
    let names = scan_of(&asked, question.filter.clone(), Shape::Distinct(DistinctOf::Names))?;
    let sizes = Group { step, by: Vec::new(), aggs: vec![Agg::LineBytes], top: None };
    let sizes = scan_of(&asked, question.filter.clone(), Shape::Group(sizes))?;
    let (targets, aggregate) = (question.targets.clone(), question.aggregate);
    let found = asked.api.run(asked.tenant, "", move |store, context| {
        let with_cancel = |scan: Scan| Scan { cancel: context.cancel.clone(), ..scan };
        let labels: Vec<Box<str>> = match targets {
            Some(targets) => targets.into_iter().map(Into::into).collect(),
            None => operators::distinct_texts(store, &with_cancel(names))?.0,
        };
        if labels.len() > LABELS_MAX {
            return Err(QueryError::Limit {
                kind: kenning_query::LimitKind::Series,
                limit: LABELS_MAX as u64,
            });
        }
        let mut sizes = with_cancel(sizes);
        if let Shape::Group(group) = &mut sizes.shape {
            group.by = labels.iter().cloned().map(Field::Label).collect();
        }
        let (rows, _) = operators::groups(store, &sizes)?;
        Ok(added_up(&labels, rows, aggregate))
    });
    found.await
}

fn added_up(names: &[Box<str>], rows: Vec<GroupRow>, aggregate: AggregateBy) -> Volumes {
    let mut volumes = Volumes::new();
    for row in rows {
        let bytes = row.values.first().copied().unwrap_or(0.0);
        let present = || names.iter().zip(&row.key).filter(|(_, value)| !value.is_empty());
        let mut add = |labels: LabelSet| {
            *volumes.entry(labels).or_default().entry(row.time).or_insert(0.0) += bytes;
        };
        match aggregate {
            AggregateBy::Series => add(LabelSet::from_pairs(present())),
            AggregateBy::Labels => present().for_each(|(name, _)| {
                let mut only = LabelSet::empty().to_builder();
                only.set(name, "");
                add(only.build_with_empty());
            }),
        }
    }
    volumes
}

/// The largest series, the largest first.
fn largest(volumes: Volumes, limit: usize) -> Vec<(LabelSet, BTreeMap<Nanos, f64>)> {
    let total = |points: &BTreeMap<Nanos, f64>| points.values().sum::<f64>();
    let mut all: Vec<_> = volumes.into_iter().collect();
    all.sort_by(|a, b| total(&b.1).total_cmp(&total(&a.1)).then_with(|| a.0.cmp(&b.0)));
    all.truncate(limit);
    all
}

/// `GET /loki/api/v1/index/volume`
pub(super) async fn volume(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let (_, end) = params::range(&asked)?;
    let question = Question::of(&asked)?;
    let found = largest(volumes(asked, &question, None).await?, question.limit);
    Ok(body("vector", |json| {
        for (labels, points) in &found {
            json.object(|json| {
                json.key("metric").pairs(labels.iter());
                json.key("value");
                point(json, end, points.values().sum());
            });
        }
    }))
}

/// `GET /loki/api/v1/index/volume_range`: points stand at the beginnings of the steps.
pub(super) async fn volume_range(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let params::Grid { start, step_ns, .. } = params::grid(&asked)?;
    let question = Question::of(&asked)?;
    // Buckets of the store hold their ends and not their beginnings; Loki's the other way round.
    let before = Nanos(start.0.saturating_sub(1));
    let found = largest(volumes(asked, &question, Some((before, step_ns))).await?, question.limit);
    let beginning = |end: Nanos| Nanos(end.0.saturating_add(1).saturating_sub(step_ns));
    Ok(body("matrix", |json| {
        for (labels, points) in &found {
            json.object(|json| {
                json.key("metric").pairs(labels.iter());
                json.key("values").array(|json| {
                    points.iter().for_each(|(end, bytes)| point(json, beginning(*end), *bytes))
                });
            });
        }
    }))
}

fn point(json: &mut Json, at: Nanos, bytes: f64) {
    json.array(|json| {
        json.number(at.to_millis().0 as f64 / 1000.0);
        json.text(&format!("{bytes:.0}"));
    });
}

fn body(kind: &str, fill: impl FnOnce(&mut Json)) -> Vec<u8> {
    Json::build(|json| {
        json.key("status").text("success");
        json.key("data").object(|json| {
            json.key("resultType").text(kind);
            json.key("result").array(fill);
        });
    })
}
