//! The UI's files under `/ui/`. Unknown files are 404; unknown pages of the UI are its own business.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::reply;
use crate::routes::{Call, GET, Permission, Routes};

/// Where the UI lives.
const BASE: &str = "/ui/";

pub(crate) fn routes() -> Routes {
    Routes::new()
        .add(Permission::Public, GET, "/", |_| to_ui())
        .add(Permission::Public, GET, "/ui", |_| to_ui())
        .add(Permission::Public, GET, BASE, page)
        .add(Permission::Public, GET, "/ui/{*path}", file_or_page)
}

async fn to_ui() -> Response {
    let mut response = reply::text_with(StatusCode::FOUND, "");
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(BASE));
    response
}

async fn page(_: Call) -> Response {
    let mut response =
        reply::with_type(StatusCode::OK, "text/html; charset=utf-8", kenning_ui::index_html(BASE));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(kenning_ui::CONTENT_SECURITY_POLICY),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

async fn file_or_page(call: Call) -> Response {
    let path = call.path.first().map_or("", String::as_str);
    match kenning_ui::asset(path) {
        Some(asset) => file(&call, path, &asset),
        // Pages have no dot in their last segment; what has one is a file that is not there.
        None if path.rsplit('/').next().is_some_and(|last| last.contains('.')) => reply::page_not_found(),
        None => page(call).await,
    }
}

fn file(call: &Call, path: &str, asset: &kenning_ui::Asset) -> Response {
    let request_headers = call.request.headers();
    let tag = HeaderValue::from_static(asset.etag);
    let unchanged = request_headers.get(header::IF_NONE_MATCH) == Some(&tag);
    let accepts =
        request_headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    let zipped = kenning_ui::asset_gzip(path).filter(|_| accepts.contains("gzip"));
    let mut response = match (unchanged, zipped) {
        (true, _) => reply::with_type(StatusCode::NOT_MODIFIED, asset.content_type, ""),
        (false, Some(bytes)) => reply::with_type(StatusCode::OK, asset.content_type, bytes),
        (false, None) => reply::with_type(StatusCode::OK, asset.content_type, asset.body),
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if !unchanged && zipped.is_some() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kenning_ui::cache_control(asset)));
    response
}
