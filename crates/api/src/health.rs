//! Is the server there, can it answer, and what does it say about itself.

use axum::http::StatusCode;
use axum::response::Response;

use crate::reply;
use crate::routes::{Call, GET, POST_PUT, Permission, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .add(Permission::Public, GET, "/-/healthy", healthy)
        .add(Permission::Public, GET, "/-/ready", ready)
        .add(Permission::ServerStatus, GET, "/metrics", metrics)
        .add(Permission::ServerStatus, POST_PUT, "/-/reload", reload)
}

async fn healthy(_: Call) -> Response {
    reply::text_with(StatusCode::OK, "Kenning is healthy.\n")
}

async fn ready(call: Call) -> Response {
    let readiness = &call.api.readiness;
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    reply::text_with(status, format!("Kenning is {}.\n", readiness.as_str()))
}

async fn metrics(call: Call) -> Response {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    reply::with_type(StatusCode::OK, content_type, (call.api.own_metrics)())
}

/// Reads the configuration again. A mistake in it leaves the old one in force and is told.
async fn reload(call: Call) -> Response {
    match call.api.scraping.reload() {
        Ok(()) => reply::text_with(StatusCode::OK, ""),
        Err(problem) => reply::text_with(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("failed to reload config: {problem}\n"),
        ),
    }
}
