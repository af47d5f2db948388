//! Loki's HTTP API v1 and what is left of the one before it. Definition: grafana.com "Loki HTTP API" and the calls of
//! Grafana's plug-in; docs/loki-api.md has the table.

mod answer;
mod delete;
mod fields;
mod legacy;
mod meta;
mod params;
mod patterns;
mod query;
mod stats;
mod status;
mod tail;
mod tails;
mod volume;

pub(crate) use delete::Deletes;
pub use patterns::AskPatterns;
pub use tails::{TailEvent, Tails};

use axum::http::Method;
use axum::response::Response;
use kenning_model::Nanos;

use crate::asked::Asked;
use crate::error::ApiError;
use crate::reply;
use crate::routes::{Call, GET, GET_POST, Permission, Routes};
use answer::Shape;

/// What the path of deletes answers.
const DELETES: &[Method] = &[Method::GET, Method::POST, Method::PUT, Method::DELETE];

pub(crate) fn routes() -> Routes {
    let v1 = version_1();
    Routes::new()
        .merge(&v1)
        // Grafana 12.3.1 doubles the prefix in some of its calls.
        .nest("/loki/api/v1", &v1)
        .merge(&before_version_1())
}

fn version_1() -> Routes {
    use Permission::{Admin, Query, ServerStatus};
    let routes = Routes::new()
        .add(Query, GET_POST, "/loki/api/v1/query_range", |call| answer_with(call, query::range))
        .add(Query, GET_POST, "/loki/api/v1/query", |call| answer_with(call, query::instant))
        .add(Query, GET_POST, "/loki/api/v1/format_query", |call| answer_with(call, query::format))
        .add(Query, GET, "/loki/api/v1/tail", |call| tail::tail(call, Shape::V1))
        .add(Query, GET_POST, "/loki/api/v1/labels", |call| answer_with(call, meta::labels))
        .add(Query, GET_POST, "/loki/api/v1/label", |call| answer_with(call, meta::labels))
        .add(Query, GET_POST, "/loki/api/v1/label/{name}/values", |call| {
            answer_with(call, meta::label_values)
        })
        .add(Query, GET_POST, "/loki/api/v1/series", |call| answer_with(call, meta::series))
        .add(Query, GET_POST, "/loki/api/v1/patterns", |call| answer_with(call, patterns::patterns));
    routes
        .add(Query, GET_POST, "/loki/api/v1/index/stats", |call| answer_with(call, meta::index_stats))
        .add(Query, GET_POST, "/loki/api/v1/index/volume", |call| answer_with(call, volume::volume))
        .add(Query, GET_POST, "/loki/api/v1/index/volume_range", |call| {
            answer_with(call, volume::volume_range)
        })
        .add(Query, GET_POST, "/loki/api/v1/detected_labels", |call| answer_with(call, fields::labels))
        .add(Query, GET_POST, "/loki/api/v1/detected_fields", |call| answer_with(call, fields::fields))
        .add(Query, GET_POST, "/loki/api/v1/detected_field/{name}/values", |call| {
            answer_with(call, fields::values)
        })
        .add(Query, GET, "/loki/api/v1/drilldown-limits", |call| answer_with(call, status::drilldown_limits))
        .add(Admin, DELETES, "/loki/api/v1/delete", delete::delete)
        .add(Query, GET, "/loki/api/v1/rules", status::rule_files)
        .add(ServerStatus, GET, "/loki/api/v1/status/buildinfo", |call| answer_with(call, meta::buildinfo))
}

fn before_version_1() -> Routes {
    use Permission::{Public, Query};
    Routes::new()
        .add(Query, GET_POST, "/api/prom/query", |call| answer_with(call, legacy::log_query))
        .add(Query, GET_POST, "/api/prom/label", |call| answer_with(call, legacy::labels))
        .add(Query, GET_POST, "/api/prom/label/{name}/values", |call| answer_with(call, legacy::label_values))
        .add(Query, GET_POST, "/api/prom/series", |call| answer_with(call, meta::series))
        .add(Query, GET, "/api/prom/tail", |call| tail::tail(call, Shape::Legacy))
        .add(Query, GET, "/api/prom/rules", status::rule_files)
        .add(Query, GET, "/prometheus/api/v1/rules", |call| answer_with(call, status::rules))
        .add(Query, GET, "/prometheus/api/v1/alerts", |call| answer_with(call, status::alerts))
        .add(Public, GET, "/ready", status::ready)
}

/// The range asked for.
fn range_of(asked: &Asked) -> Result<(Nanos, Nanos), ApiError> {
    params::range(asked)
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
