//! Loki's HTTP API v1. Definition: grafana.com "Loki HTTP API" and the calls of Grafana's plug-in.

mod answer;
mod meta;
mod patterns;
mod query;

pub use patterns::AskPatterns;

use axum::response::Response;
use kenning_model::Nanos;

use crate::asked::Asked;
use crate::error::ApiError;
use crate::reply;
use crate::routes::{Call, GET, GET_POST, Permission, Routes};

pub(crate) fn routes() -> Routes {
    use Permission::{Query, ServerStatus};
    Routes::new()
        .add(Query, GET_POST, "/loki/api/v1/query_range", |call| answer_with(call, query::range))
        .add(Query, GET_POST, "/loki/api/v1/query", |call| answer_with(call, query::instant))
        .add(Query, GET_POST, "/loki/api/v1/format_query", |call| answer_with(call, query::format))
        .add(Query, GET_POST, "/loki/api/v1/labels", |call| answer_with(call, meta::labels))
        .add(Query, GET_POST, "/loki/api/v1/label", |call| answer_with(call, meta::labels))
        .add(Query, GET_POST, "/loki/api/v1/label/{name}/values", |call| {
            answer_with(call, meta::label_values)
        })
        .add(Query, GET_POST, "/loki/api/v1/series", |call| answer_with(call, meta::series))
        .add(Query, GET_POST, "/loki/api/v1/patterns", |call| answer_with(call, patterns::patterns))
        .add(Query, GET_POST, "/loki/api/v1/index/stats", |call| answer_with(call, meta::index_stats))
        .add(ServerStatus, GET, "/loki/api/v1/status/buildinfo", |call| answer_with(call, meta::buildinfo))
}

/// The range asked for: `end` or now, `start` or `since` (default one hour) before it.
fn range_of(asked: &Asked) -> Result<(Nanos, Nanos), ApiError> {
    const SINCE_DEFAULT_MS: i64 = 3_600_000;
    let end = asked.params.loki_time("end")?.unwrap_or(Nanos(asked.api.clock.unix_nanos()));
    let since_ms = asked.params.prometheus_duration("since")?.unwrap_or(SINCE_DEFAULT_MS);
    let start = Nanos(end.0.saturating_sub(since_ms.saturating_mul(1_000_000)));
    Ok((asked.params.loki_time("start")?.unwrap_or(start), end))
}

/// Takes the request apart, runs `handler` and writes its failure as Loki would.
async fn answer_with<F, A>(call: Call, handler: F) -> Response
where
    F: FnOnce(Asked) -> A,
    A: Future<Output = Result<Vec<u8>, ApiError>>,
{
    let outcome = async { handler(Asked::of(call).await?).await };
    match outcome.await {
        Ok(body) => reply::json(body),
        Err(error) => error.into_loki(),
    }
}
