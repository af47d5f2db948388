//! Prometheus's HTTP API v1. Definition: prometheus.io "HTTP API", checked against the corpus's API description.

mod admin;
mod answer;
mod ast;
mod features;
mod federate;
mod meta;
pub(crate) mod params;
mod query;
mod remote_read;
mod status;
pub(crate) mod tsdb;

use axum::response::Response;

use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;
use crate::routes::{Call, GET, GET_POST, POST, POST_PUT, Permission, Routes};
use crate::{cors, encoding, reply};

/// What is said of an answer that was cut to the limit asked for.
const TRUNCATED: &str = "results truncated due to limit";

pub(crate) fn routes() -> Routes {
    use Permission::{Admin, Query, ServerStatus};
    Routes::new()
        .add(Query, GET_POST, "/api/v1/query", |call| answer_with(call, query::instant))
        .add(Query, GET_POST, "/api/v1/query_range", |call| answer_with(call, query::range))
        .add(Query, GET_POST, "/api/v1/query_exemplars", |call| answer_with(call, query::exemplars))
        .add(Query, GET_POST, "/api/v1/format_query", |call| answer_with(call, query::format))
        .add(Query, GET_POST, "/api/v1/parse_query", |call| answer_with(call, query::parse))
        .add(Query, GET_POST, "/api/v1/labels", |call| answer_with(call, meta::labels))
        .add(Query, GET_POST, "/api/v1/label/{name}/values", |call| answer_with(call, meta::label_values))
        .add(Query, GET_POST, "/api/v1/series", |call| answer_with(call, meta::series))
        .add(Query, GET_POST, "/api/v1/metadata", |call| answer_with(call, meta::metadata))
        .add(ServerStatus, GET, "/api/v1/targets", |call| answer_with(call, status::targets))
        .add(ServerStatus, GET, "/api/v1/targets/metadata", |call| {
            answer_with(call, status::targets_metadata)
        })
        .add(ServerStatus, GET, "/api/v1/scrape_pools", |call| answer_with(call, status::scrape_pools))
        .add(Query, GET, "/api/v1/rules", |call| answer_with(call, status::rules))
        .add(Query, GET, "/api/v1/alerts", |call| answer_with(call, status::alerts))
        .add(ServerStatus, GET, "/api/v1/status/buildinfo", |call| answer_with(call, status::buildinfo))
        .add(ServerStatus, GET, "/api/v1/status/runtimeinfo", |call| answer_with(call, status::runtimeinfo))
        .add(ServerStatus, GET, "/api/v1/status/config", |call| answer_with(call, status::config))
        .add(ServerStatus, GET, "/api/v1/status/walreplay", |call| answer_with(call, status::walreplay))
        .add(ServerStatus, GET, "/api/v1/status/tsdb", |call| answer_with(call, tsdb::status))
        .add(ServerStatus, GET, "/api/v1/status/tsdb/blocks", |call| answer_with(call, tsdb::blocks))
        .add(ServerStatus, GET, "/api/v1/alertmanagers", |call| answer_with(call, status::alertmanagers))
        .add(ServerStatus, GET, "/api/v1/features", |call| answer_with(call, features::features))
        .add(ServerStatus, GET, "/api/v1/notifications", |call| answer_with(call, status::notifications))
        .add(ServerStatus, GET, "/api/v1/notifications/live", |call| answer_with(call, status::no_news))
        .add(Query, GET, "/federate", federate::federate)
        .add(Query, POST, "/api/v1/read", remote_read::read)
        .add(Query, GET_POST, "/api/v1/search/metric_names", |call| answer_with(call, status::no_search))
        .add(Query, GET_POST, "/api/v1/search/label_names", |call| answer_with(call, status::no_search))
        .add(Query, GET_POST, "/api/v1/search/label_values", |call| answer_with(call, status::no_search))
        .add(Admin, POST_PUT, "/api/v1/admin/tsdb/delete_series", |call| answer_with(call, admin::delete))
        .add(Admin, POST_PUT, "/api/v1/admin/tsdb/clean_tombstones", |call| answer_with(call, admin::clean))
        .add(Admin, POST_PUT, "/api/v1/admin/tsdb/snapshot", |call| answer_with(call, admin::snapshot))
}

/// Takes the request apart, runs `handler` and writes its failure as Prometheus would.
async fn answer_with<F, A>(call: Call, handler: F) -> Response
where
    F: FnOnce(Asked) -> A,
    A: Future<Output = Result<Data, ApiError>>,
{
    let (api, headers) = (call.api.clone(), call.request.headers().clone());
    let outcome = async { handler(Asked::of(call).await?).await };
    let mut response = match outcome.await {
        Ok(data) => data.into_body().map_or_else(reply::no_content, reply::json),
        Err(error) => error.into_prometheus(),
    };
    cors::allow(api.web.cors_origin.as_ref(), &headers, response.headers_mut());
    if encoding::takes_gzip(&headers) { encoding::gzip(response).await } else { response }
}

/// A successful answer, with what is to be said beside its `data`.
struct Data {
    /// The answer up to and with its `data`, the object still open; `None` when there is nothing to say.
    json: Option<Json>,
    warnings: Vec<String>,
    infos: Vec<String>,
}

impl Data {
    fn new(fill: impl FnOnce(&mut Json)) -> Self {
        let mut json = Json::new();
        json.open_object();
        json.key("status").text("success");
        fill(json.key("data"));
        Self { json: Some(json), warnings: Vec::new(), infos: Vec::new() }
    }

    /// Nothing to say but that it is done: status 204.
    fn nothing() -> Self {
        Self { json: None, warnings: Vec::new(), infos: Vec::new() }
    }

    fn with_warnings(self, warnings: Vec<String>) -> Self {
        Self { warnings, ..self }
    }

    fn into_body(self) -> Option<Vec<u8>> {
        let mut json = self.json?;
        for (key, list) in [("warnings", &self.warnings), ("infos", &self.infos)] {
            if !list.is_empty() {
                json.key(key).texts(list);
            }
        }
        json.close_object();
        Some(json.finish())
    }
}
