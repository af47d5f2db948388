//! Requests through a router with the layer.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use axum::routing::get;
use kenning::testing::{Capture, SpanKind, SpanStatus};
use serde_json::Value;
use tower_service::Service;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn outgoing() -> String {
    tracing::info!("handling");
    let mut headers = HeaderMap::new();
    kenning::axum::inject(&mut headers);
    headers["traceparent"].to_str().unwrap().to_owned()
}

fn app() -> Router {
    Router::new()
        .route("/users/{id}", get(outgoing))
        .route("/broken", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/forever", get(std::future::pending::<()>))
        .layer(kenning::axum::layer())
        .merge(kenning::axum::routes())
}

fn request(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// Runs `body` on a current-thread runtime, so that everything is captured.
fn capture<F: Future>(body: impl FnOnce() -> F) -> (Capture, F::Output) {
    let captured = Capture::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let output = captured.run(|| runtime.block_on(body()));
    (captured, output)
}

async fn call(request: Request<Body>) -> (StatusCode, HeaderMap, String) {
    let response: Response<Body> = app().call(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn a_request_continues_its_trace_and_is_logged_and_counted() {
    let headers = [("traceparent", TRACEPARENT), ("x-request-id", "abc123")];
    let (captured, (status, headers, body)) = capture(|| call(request("/users/7?q=secret", &headers)));
    let span = captured.span("GET /users/{id}");
    assert_eq!((status, headers["x-request-id"].to_str().unwrap()), (StatusCode::OK, "abc123"));
    assert_eq!(body, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", span.span_id));
    assert_eq!(span.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(span.parent_span_id.unwrap().to_string(), "00f067aa0ba902b7");
    assert_eq!((span.kind, span.status.clone()), (SpanKind::Server, SpanStatus::Unset));
    assert_eq!(span.attribute("http.route").unwrap(), &"/users/{id}");
    assert_eq!(span.attribute("url.path").unwrap(), &"/users/7");
    assert_eq!(span.attribute("http.response.status_code").unwrap(), &200);

    let lines: Vec<Value> =
        captured.log_lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let messages: Vec<&str> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["request started", "handling", "request processed"]);
    assert!(
        lines
            .iter()
            .all(|line| line["request_id"] == "abc123" && line["span_id"] == span.span_id.to_string())
    );
    assert_eq!((&lines[2]["status_code"], &lines[2]["method"]), (&200.into(), &"GET".into()));
    assert!(lines[2]["latency"].as_f64().unwrap() >= 0.0);

    let labels = [("method", "GET"), ("route", "/users/{id}"), ("status", "200")];
    assert_eq!(captured.metric("http_requests_total", &labels), Some(1.0));
    assert_eq!(captured.metric("http_request_duration_seconds", &labels[..2]), Some(1.0));
    assert_eq!(captured.metric("http_requests_in_flight", &[]), Some(0.0));
}

#[test]
fn failures_mark_the_span() {
    let (captured, (status, headers, _)) =
        capture(|| call(request("/broken", &[("x-request-id", "bad id")])));
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(headers["x-request-id"].len(), 16);
    assert!(matches!(captured.span("GET /broken").status, SpanStatus::Error(_)));
    let labels = [("method", "GET"), ("route", "/broken"), ("status", "500")];
    assert_eq!(captured.metric("http_requests_total", &labels), Some(1.0));
}

#[test]
fn unknown_paths_share_one_label() {
    let (captured, (status, ..)) = capture(|| call(request("/wp-admin.php", &[])));
    assert_eq!(status, StatusCode::NOT_FOUND);
    let labels = [("method", "GET"), ("route", "unmatched"), ("status", "404")];
    let counted = captured.metric("http_requests_total", &labels);
    assert!(counted.is_none_or(|count| count == 1.0), "{counted:?}");
    assert!(!captured.exposition(kenning::metrics::Exposition::Text).contains("wp-admin"));
}

#[test]
fn a_caller_that_goes_away_is_recorded() {
    let (captured, ()) = capture(|| async {
        let mut service = app();
        let future = service.call(request("/forever", &[]));
        let _ = tokio::time::timeout(std::time::Duration::from_millis(5), future).await;
    });
    let labels = [("method", "GET"), ("route", "/forever"), ("status", "499")];
    assert_eq!(captured.metric("http_requests_total", &labels), Some(1.0));
    assert_eq!(captured.span("GET /forever").attribute("http.response.status_code").unwrap(), &499);
    assert_eq!(captured.metric("http_requests_in_flight", &[]), Some(0.0));
}

#[test]
fn routes_answer_and_are_not_observed() {
    let (captured, ()) = capture(|| async {
        let open_metrics = [("accept", "application/openmetrics-text;version=1.0.0")];
        let (status, headers, body) = call(request("/metrics", &open_metrics)).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
        assert!(body.ends_with("# EOF\n"));
        for path in ["/health", "/health/ready", "/health/live"] {
            let (status, headers, body) = call(request(path, &[])).await;
            assert_eq!(
                (status, headers["content-type"].to_str().unwrap()),
                (StatusCode::OK, "application/json")
            );
            assert!(serde_json::from_str::<Value>(&body).unwrap()["status"].is_string(), "{path} {body}");
        }
    });
    assert!(captured.spans().is_empty() && captured.log_lines().is_empty());
}
