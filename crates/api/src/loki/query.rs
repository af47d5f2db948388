//! Evaluating queries.

use kenning_logql as logql;
use kenning_model::{Nanos, Store};
use kenning_query::{QueryContext, QueryError};

use super::answer::{Encoding, Shape, Wish, body_of};
use super::params;
use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;

pub(super) async fn range(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let query = params::query(&asked).to_owned();
    evaluate(asked, query, Shape::V1).await
}

/// Evaluates a query over the range that the request names.
pub(super) async fn evaluate(asked: Asked, query: String, shape: Shape) -> Result<Vec<u8>, ApiError> {
    let limit = params::limit(&asked)?;
    let forward = params::forward(&asked)?;
    let params::Grid { start, end, step_ns } = params::grid(&asked)?;
    let interval_ns = params::interval(&asked)?;
    parsed(&query)?;
    let text = query.clone();
    let asking = logql::RangeParams { start, end, step_ns, limit, forward, interval_ns };
    let job = move |store: &dyn Store, context: &QueryContext| logql::range(store, context, &text, &asking);
    answer(asked, &query, shape, forward, job).await
}

pub(super) async fn instant(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let query = params::query(&asked).to_owned();
    let at = params::time(&asked, "time")?.unwrap_or(Nanos(asked.api.clock.unix_nanos()));
    let limit = params::limit(&asked)?;
    let forward = params::forward(&asked)?;
    parsed(&query)?;
    let text = query.clone();
    let job = move |store: &dyn Store, context: &QueryContext| {
        logql::instant(store, context, &text, at, limit, forward)
    };
    answer(asked, &query, Shape::V1, forward, job).await
}

async fn answer<J>(
    asked: Asked,
    query: &str,
    shape: Shape,
    forward: bool,
    job: J,
) -> Result<Vec<u8>, ApiError>
where
    J: FnOnce(&dyn Store, &QueryContext) -> Result<logql::Answer, QueryError> + Send + 'static,
{
    let Asked { api, tenant, headers, .. } = asked;
    let started = api.clock.steady();
    let answer = api.run_within(api.limits.timeout, tenant, query, ApiError::of_logql, job).await?;
    let took = api.clock.steady().saturating_sub(started);
    Ok(body_of(answer, Wish { encoding: Encoding::of(&headers), shape, forward, took }))
}

pub(super) async fn format(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let formatted = logql::format(&parsed(params::query(&asked))?);
    Ok(Json::build(|json| {
        json.key("status").text("success");
        json.key("data").text(&formatted);
    }))
}

/// The query's tree, or the error in Loki's words.
pub(super) fn parsed(query: &str) -> Result<logql::Expr, ApiError> {
    logql::parse(query).map_err(|errors| ApiError::of_logql_text(query, &errors))
}
