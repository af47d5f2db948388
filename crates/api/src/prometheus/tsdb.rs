//! What is stored, in numbers: cardinality of recent series, parts on disk.

use std::collections::{BTreeMap, BTreeSet};

use kenning_model::{
    DistinctOf, Filter, LabelSet, METRIC_NAME, Millis, Scan, Shape, Store, Table, TimeRange,
};
use kenning_query::{QueryContext, QueryError, operators};

use super::{Data, params};
use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;

/// How far back "recent" reaches. Prometheus reports its head, which holds two to three hours.
const RECENT_MS: i64 = 2 * 3_600_000;
const TOP_DEFAULT: usize = 10;
const TOP_MAX: i64 = 10_000;

pub(super) async fn status(asked: Asked) -> Result<Data, ApiError> {
    let top = top_of(&asked)?;
    let end = asked.api.now_ms();
    let start = end.saturating_sub(RECENT_MS);
    let job = move |store: &dyn Store, context: &QueryContext| {
        count(store, context, TimeRange::from_millis(Millis(start), Millis(end)), Filter::All)
    };
    let counts = asked.api.run(asked.tenant, "", job).await?;
    Ok(Data::new(|json| {
        json.object(|json| {
            json.key("headStats").object(|json| {
                json.key("numSeries").int(counts.series as i64);
                json.key("numLabelPairs").int(counts.by_pair.len() as i64);
                // A series has one chunk in memory.
                json.key("chunkCount").int(counts.series as i64);
                json.key("minTime").int(start);
                json.key("maxTime").int(end);
            });
            write_top(json, "seriesCountByMetricName", &counts.by_metric, top);
            write_top(json, "labelValueCountByLabelName", &counts.values, top);
            write_top(json, "memoryInBytesByLabelName", &counts.value_bytes, top);
            write_top(json, "seriesCountByLabelValuePair", &counts.by_pair, top);
        });
    })
    .with_warnings(counts.missing))
}

fn top_of(asked: &Asked) -> Result<usize, ApiError> {
    let Some(text) = asked.params.get("limit") else { return Ok(TOP_DEFAULT) };
    match params::whole_number(text) {
        Ok(limit) if limit > TOP_MAX => {
            Err(ApiError::bad_request(format!("limit must not exceed {TOP_MAX}")))
        }
        Ok(limit) if limit >= 1 => Ok(usize::try_from(limit).unwrap_or(TOP_DEFAULT)),
        _ => Err(ApiError::bad_request("limit must be a positive number")),
    }
}

/// Series counted in several ways.
#[derive(Default)]
pub(crate) struct Counts {
    pub series: u64,
    /// By the metric's name.
    pub by_metric: BTreeMap<String, u64>,
    /// By `label=value`.
    pub by_pair: BTreeMap<String, u64>,
    /// Different values of each label.
    pub values: BTreeMap<String, u64>,
    value_bytes: BTreeMap<String, u64>,
    /// What could not be read.
    pub missing: Vec<String>,
}

/// Counts the series of the filter with samples in the range.
pub(crate) fn count(
    store: &dyn Store,
    context: &QueryContext,
    time: TimeRange,
    filter: Filter,
) -> Result<Counts, QueryError> {
    let scan = Scan {
        shape: Shape::Distinct(DistinctOf::LabelSets),
        bytes_max: context.limits.memory_bytes_max,
        cancel: context.cancel.clone(),
        ..Scan::rows(context.tenant.clone(), Table::Samples, time, filter)
    };
    let (sets, summary) = operators::label_sets(store, &scan)?;
    Ok(Counts { missing: summary.missing, ..counts_of(&sets) })
}

fn counts_of(sets: &[LabelSet]) -> Counts {
    let mut counts = Counts { series: sets.len() as u64, ..Counts::default() };
    let mut pairs: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for set in sets {
        set.iter().for_each(|pair| *pairs.entry(pair).or_default() += 1);
    }
    for ((name, value), series) in pairs {
        if name == METRIC_NAME {
            counts.by_metric.insert(value.to_owned(), series);
        }
        *counts.values.entry(name.to_owned()).or_default() += 1;
        *counts.value_bytes.entry(name.to_owned()).or_default() += value.len() as u64;
        counts.by_pair.insert(format!("{name}={value}"), series);
    }
    counts
}

/// The largest first, equal ones by name.
pub(crate) fn write_top(json: &mut Json, key: &str, counts: &BTreeMap<String, u64>, top: usize) {
    let mut order: BTreeSet<(std::cmp::Reverse<u64>, &str)> = BTreeSet::new();
    for (name, count) in counts {
        order.insert((std::cmp::Reverse(*count), name));
        if order.len() > top {
            order.pop_last();
        }
    }
    json.key(key).array(|json| {
        for (count, name) in order {
            json.object(|json| {
                json.key("name").text(name);
                json.key("value").int(count.0 as i64);
            });
        }
    });
}

/// Parts of metrics as Prometheus shows its blocks.
pub(super) async fn blocks(asked: Asked) -> Result<Data, ApiError> {
    let blocks = (asked.api.blocks)();
    Ok(Data::new(|json| {
        json.object(|json| {
            json.key("blocks").array(|json| {
                for block in &blocks {
                    json.object(|json| {
                        let id = format!("{:026}", block.id);
                        json.key("ulid").text(&id);
                        json.key("minTime").int(block.min_ms);
                        json.key("maxTime").int(block.max_ms);
                        json.key("stats").object(|json| {
                            json.key("numSamples").int(block.samples as i64);
                            // Told by reading the part, which a page of status is not worth.
                            json.key("numSeries").int(0);
                            json.key("numChunks").int(0);
                            json.key("numBytes").int(block.bytes as i64);
                        });
                        json.key("compaction").object(|json| {
                            json.key("level").int(i64::from(block.level) + 1);
                            json.key("sources").texts([&id]);
                        });
                        json.key("version").int(1);
                    });
                }
            });
        });
    }))
}
