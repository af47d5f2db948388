//! Evaluating queries.

use kenning_logql as logql;
use kenning_model::{Nanos, Store};
use kenning_query::{QueryContext, QueryError};

use super::answer::{Encoding, body_of};
use super::range_of;
use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;

/// Log lines answered when the request does not say how many.
const LIMIT_DEFAULT: usize = 100;
/// Most log lines in an answer.
const LIMIT_MAX: usize = 5_000;
/// Points a range is cut into when the request gives no step.
const POINTS_DEFAULT: i64 = 250;
const SECOND_NS: i64 = 1_000_000_000;

pub(super) async fn range(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let query = asked.params.required("query")?.to_owned();
    let (start, end) = range_of(&asked)?;
    if end < start {
        return Err(ApiError::bad_request("end timestamp must not be before or equal to start time"));
    }
    let step_ms = asked.params.prometheus_duration("step")?;
    let step_ns = step_ms.map_or_else(|| default_step_ns(start, end), |ms| ms.saturating_mul(1_000_000));
    if step_ns <= 0 {
        return Err(ApiError::bad_request("zero or negative query resolution step widths are not accepted"));
    }
    let points = (i128::from(end.0) - i128::from(start.0)) / i128::from(step_ns);
    let points_max = asked.api.limits.points_max;
    let (limit, forward) = (limit(&asked)?, forward(&asked)?);
    let encoding = Encoding::of(&asked.headers);
    let params = logql::RangeParams { start, end, step_ns, limit, forward };
    let text = query.clone();
    if parsed(&query)?.is_metric() && points > i128::from(points_max) {
        let limit = QueryError::Limit { kind: kenning_query::LimitKind::Points, limit: points_max };
        return Err(ApiError::of_query(&limit, &query));
    }
    let job = move |store: &dyn Store, context: &QueryContext| logql::range(store, context, &text, &params);
    Ok(body_of(asked.api.run(asked.tenant, &query, job).await?, encoding, forward))
}

/// The step Loki chooses itself: 250 points, no finer than a second.
fn default_step_ns(start: Nanos, end: Nanos) -> i64 {
    let seconds = end.0.saturating_sub(start.0) / SECOND_NS / POINTS_DEFAULT;
    seconds.max(1).saturating_mul(SECOND_NS)
}

pub(super) async fn instant(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let query = asked.params.required("query")?.to_owned();
    let at = asked.params.loki_time("time")?.unwrap_or(Nanos(asked.api.clock.unix_nanos()));
    let (limit, forward) = (limit(&asked)?, forward(&asked)?);
    let encoding = Encoding::of(&asked.headers);
    parsed(&query)?;
    let text = query.clone();
    let job = move |store: &dyn Store, context: &QueryContext| {
        logql::instant(store, context, &text, at, limit, forward)
    };
    Ok(body_of(asked.api.run(asked.tenant, &query, job).await?, encoding, forward))
}

pub(super) async fn format(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let expression = parsed(asked.params.required("query")?)?;
    Ok(Json::build(|json| {
        json.key("status").text("success");
        json.key("data").text(&expression.to_string());
    }))
}

/// The query's tree, or the error in Loki's words.
fn parsed(query: &str) -> Result<logql::Expr, ApiError> {
    logql::parse(query).map_err(|errors| ApiError::bad_request(logql::error_text(query, &errors)))
}

fn limit(asked: &Asked) -> Result<usize, ApiError> {
    let limit = asked.params.count("limit")?.filter(|limit| *limit > 0).unwrap_or(LIMIT_DEFAULT);
    if limit > LIMIT_MAX {
        let message = format!(
            "max entries limit per query exceeded, limit > max_entries_limit ({limit} > {LIMIT_MAX})"
        );
        return Err(ApiError::bad_request(message));
    }
    Ok(limit)
}

fn forward(asked: &Asked) -> Result<bool, ApiError> {
    match asked.params.get("direction").map(str::to_ascii_lowercase).as_deref() {
        None | Some("backward") => Ok(false),
        Some("forward") => Ok(true),
        Some(other) => {
            Err(ApiError::bad_request(format!("invalid direction \"{other}\": use backward or forward")))
        }
    }
}
