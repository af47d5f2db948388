//! `/api/v1/features`: what this server can do, under the names that Prometheus has for it.

use std::collections::BTreeMap;

use kenning_promql::{Aggregator, SIGNATURES};

use super::Data;
use crate::asked::Asked;
use crate::error::ApiError;

const API: &[(&str, bool)] = &[
    ("exclude_alerts", true),
    ("label_values_match", true),
    ("lifecycle", false),
    ("openapi_3.1", false),
    ("openapi_3.2", false),
    ("otlp_write_receiver", true),
    ("query_stats", true),
    ("query_warnings", true),
    ("remote_write_receiver", true),
    ("search", false),
    ("time_range_labels", true),
    ("time_range_series", true),
];

const LANGUAGE: &[&str] = &[
    "anchored",
    "at_modifier",
    "bool",
    "by",
    "delayed_name_removal",
    "duration_expr",
    "fill",
    "fill_left",
    "fill_right",
    "group_left",
    "group_right",
    "ignoring",
    "negative_offset",
    "offset",
    "on",
    "per_query_lookback_delta",
    "smoothed",
    "subqueries",
    "without",
];

/// Functions of durations and of the query's own borders, which are syntax here.
const DURATION_FUNCTIONS: &[&str] = &["end", "max_of", "min_of", "range", "start", "step"];

const OPERATORS: &[&str] = &[
    "!=", "!~", "%", "*", "+", "-", "/", "<", "</", "<=", "==", "=~", ">", ">/", ">=", "@", "^", "and",
    "atan2", "or", "unless",
];

pub(super) async fn features(asked: Asked) -> Result<Data, ApiError> {
    let mut all: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    let yes = |names: &[&'static str]| names.iter().map(|name| (*name, true)).collect::<BTreeMap<_, _>>();
    let mut api: BTreeMap<_, _> = API.iter().copied().collect();
    api.insert("admin", asked.api.web.admin_api);
    all.insert("api", api);
    let mut language = yes(LANGUAGE);
    language.extend([("per_step_stats", false), ("type_and_unit_labels", false)]);
    all.insert("promql", language);
    let mut functions = yes(DURATION_FUNCTIONS);
    functions.extend(SIGNATURES.iter().map(|signature| (signature.name, true)));
    all.insert("promql_functions", functions);
    let mut operators = yes(OPERATORS);
    operators.extend(Aggregator::ALL.iter().map(|op| (op.as_str(), true)));
    all.insert("promql_operators", operators);
    all.insert("prometheus", [("agent_mode", false), ("server_mode", true)].into_iter().collect());
    let zeros = ("start_timestamp_zero_ingestion", asked.api.web.start_zeros);
    all.insert("scrape", [zeros].into_iter().collect());
    all.insert("tsdb", [("exemplar_storage", true), ("native_histograms", true)].into_iter().collect());
    Ok(Data::new(|json| {
        json.object(|json| {
            for (area, features) in &all {
                json.key(area).object(|json| {
                    features.iter().for_each(|(name, there)| json.key(name).bool(*there));
                });
            }
        });
    }))
}
