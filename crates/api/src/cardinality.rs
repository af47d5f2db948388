//! Where the UI's explorer of cardinality gets its numbers: which metrics, labels and pairs of label and value have the
//! most series, of all or of those that some selector takes, and how far the tenant is from its limits.

use kenning_model::{Millis, Store, TimeRange};
use kenning_query::QueryContext;

use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;
use crate::prometheus::{params, tsdb};
use crate::reply;
use crate::routes::{Call, GET_POST, Permission, Routes};

/// Lines of each list without and with `limit`.
const TOP_DEFAULT: usize = 20;
const TOP_MAX: usize = 1_000;
/// How far back to look without `start`: what limits count as active.
const RECENT_MS: i64 = 3_600_000;

pub(crate) fn routes() -> Routes {
    Routes::new().add(Permission::Query, GET_POST, "/api/ui/v1/cardinality", |call| async {
        match explore(call).await {
            Ok(body) => reply::json(body),
            Err(error) => error.into_prometheus(),
        }
    })
}

async fn explore(call: Call) -> Result<Vec<u8>, ApiError> {
    let asked = Asked::of(call).await?;
    let top = asked.params.count("limit")?.unwrap_or(TOP_DEFAULT).clamp(1, TOP_MAX);
    let end = params::time_or(&asked.params, "end", Millis(asked.api.now_ms()))?;
    let start = params::time_or(&asked.params, "start", Millis(end.0.saturating_sub(RECENT_MS)))?;
    let filter = params::any_selector(&asked.params)?;
    let overview = (asked.api.ingest)();
    let limits = overview.series_limits_of(asked.tenant.as_str());
    let time = TimeRange::from_millis(start, end);
    let job = move |store: &dyn Store, context: &QueryContext| tsdb::count(store, context, time, filter);
    let counts = asked.api.run(asked.tenant, "", job).await?;
    Ok(Json::build(|json| {
        json.key("series").int(counts.series as i64);
        json.key("metricCount").int(counts.by_metric.len() as i64);
        json.key("labelCount").int(counts.values.len() as i64);
        tsdb::write_top(json, "metrics", &counts.by_metric, top);
        tsdb::write_top(json, "labels", &counts.values, top);
        tsdb::write_top(json, "pairs", &counts.by_pair, top);
        json.key("limits").object(|json| {
            for (key, limit) in [("series", limits.series), ("seriesPerMetric", limits.per_metric)] {
                if let Some(limit) = limit {
                    json.key(key).int(limit as i64);
                }
            }
        });
        json.key("warnings").texts(&counts.missing);
    }))
}
