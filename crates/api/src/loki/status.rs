//! What the server says of itself in Loki's shapes: limits, rules, readiness.

use axum::http::StatusCode;
use axum::response::Response;

use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;
use crate::reply;
use crate::routes::Call;

/// The labels in which Loki looks for a line's level, as the receivers do.
const LEVEL_FIELDS: [&str; 8] = ["level", "LEVEL", "Level", "Severity", "severity", "SEVERITY", "lvl", "LVL"];

/// `GET /loki/api/v1/drilldown-limits`
pub(super) async fn drilldown_limits(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let limits = &asked.api.limits;
    Ok(Json::build(|json| {
        json.key("limits").object(|json| {
            json.key("discover_log_levels").bool(true);
            json.key("discover_service_name").texts(["service_name"]);
            json.key("log_level_fields").texts(LEVEL_FIELDS);
            json.key("max_entries_limit_per_query").int(super::params::LIMIT_MAX as i64);
            json.key("max_line_size_truncate").bool(false);
            json.key("max_query_bytes_read").text("0B");
            json.key("max_query_length").text("0s");
            json.key("max_query_lookback").text("0s");
            json.key("max_query_range").text("0s");
            json.key("max_query_series").int(limits.series_max as i64);
            json.key("metric_aggregation_enabled").bool(false);
            json.key("pattern_persistence_enabled").bool(false);
            json.key("query_timeout").text(&format!("{}s", limits.timeout.as_secs()));
            json.key("volume_enabled").bool(true);
            json.key("volume_max_series").int(limits.series_max as i64);
        });
        json.key("pattern_ingester_enabled").bool(asked.api.patterns.is_some());
        json.key("version").text(asked.api.version);
    }))
}

/// The rules of logs in Prometheus's shape: there are none, for nothing evaluates LogQL rules yet.
pub(super) async fn rules(_: Asked) -> Result<Vec<u8>, ApiError> {
    Ok(nothing("groups"))
}

/// Likewise.
pub(super) async fn alerts(_: Asked) -> Result<Vec<u8>, ApiError> {
    Ok(nothing("alerts"))
}

fn nothing(list: &str) -> Vec<u8> {
    Json::build(|json| {
        json.key("status").text("success");
        json.key("data").object(|json| json.key(list).array(|_| ()));
        json.key("errorType").text("");
        json.key("error").text("");
    })
}

/// The rule files of a ruler without any.
pub(super) async fn rule_files(_: Call) -> Response {
    reply::text_with(StatusCode::NOT_FOUND, "no rule groups found\n")
}

/// `GET /ready`
pub(super) async fn ready(call: Call) -> Response {
    match call.api.readiness.is_ready() {
        true => reply::text_with(StatusCode::OK, "ready\n"),
        false => reply::text_with(StatusCode::SERVICE_UNAVAILABLE, "Ingester not ready: starting\n"),
    }
}
