//! The table of routes: path, methods, permission and handler in one line each, so that none can be without.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use kenning_model::Pattern;

use crate::state::Api;
use crate::{cors, reply};

/// What a caller must be allowed to do. (Checked against principals once there are any; today the server listens on
/// loopback only, where the operator of the machine is the one principal.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Anyone: health, the UI's files.
    Public,
    /// Reads telemetry of a tenant.
    Query,
    /// Reads the server's own state.
    ServerStatus,
    /// Deletes data and makes snapshots.
    Admin,
}

/// A request with what handlers need of it.
pub(crate) struct Call {
    pub api: Api,
    pub request: Request,
    /// The values of the path's `{name}` parts, decoded, in order.
    pub path: Vec<String>,
}

type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;
type Handler = Arc<dyn Fn(Call) -> Answer + Send + Sync>;

/// One line of the table.
#[derive(Clone)]
pub struct Route {
    /// Methods it answers.
    pub methods: &'static [Method],
    /// Path with `{name}` parts.
    pub path: String,
    /// Who may call it.
    pub permission: Permission,
    handler: Handler,
}

/// Query endpoints answer both: Grafana sends either.
pub(crate) const GET_POST: &[Method] = &[Method::GET, Method::POST];
pub(crate) const GET: &[Method] = &[Method::GET];
pub(crate) const POST: &[Method] = &[Method::POST];
pub(crate) const POST_PUT: &[Method] = &[Method::POST, Method::PUT];

/// A table of routes.
#[derive(Clone, Default)]
pub struct Routes(Vec<Route>);

impl Routes {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route.
    pub(crate) fn add<F, A>(
        mut self,
        permission: Permission,
        methods: &'static [Method],
        path: &str,
        handler: F,
    ) -> Self
    where
        F: Fn(Call) -> A + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |call| Box::pin(handler(call)));
        self.0.push(Route { methods, path: path.to_owned(), permission, handler });
        self
    }

    /// Adds another table's routes.
    #[must_use]
    pub fn merge(mut self, other: &Self) -> Self {
        self.0.extend(other.0.iter().cloned());
        self
    }

    /// Adds another table's routes under a prefix.
    #[must_use]
    pub fn nest(mut self, prefix: &str, other: &Self) -> Self {
        self.0.extend(
            other.0.iter().cloned().map(|route| Route { path: format!("{prefix}{}", route.path), ..route }),
        );
        self
    }

    /// The lines of the table.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    /// The table as a service. What no route takes is offered to the push handler, then answered 404.
    pub(crate) fn into_router(self, api: Api) -> Router {
        let mut router = Router::new();
        for Route { methods, path, handler, .. } in self.0 {
            let api = api.clone();
            let names: Arc<[(usize, bool)]> = parameter_places(&path).into();
            let filter = methods
                .iter()
                .filter_map(|m| MethodFilter::try_from(m.clone()).ok())
                .reduce(MethodFilter::or);
            let Some(filter) = filter else { continue };
            let serve = move |request: Request| {
                let call =
                    Call { api: api.clone(), path: path_values(request.uri().path(), &names), request };
                handler(call)
            };
            router = router.route(&path, on(filter, serve));
        }
        let origins = api.clone();
        let fallback = move |request: Request<Body>| {
            let api = api.clone();
            async move { api.push.handle(request).await.unwrap_or_else(reply::page_not_found) }
        };
        let check = move |request: Request, next: Next| {
            let origins = origins.clone();
            async move { refuse_odd_paths(request, next, origins.web.cors_origin.as_ref()).await }
        };
        router.fallback(fallback).layer(middleware::from_fn(check))
    }
}

/// Which segments of a path template are parameters, and whether one takes all that follows.
fn parameter_places(template: &str) -> Vec<(usize, bool)> {
    let is_parameter = |(place, segment): (usize, &str)| {
        let inner = segment.strip_prefix('{')?.strip_suffix('}')?;
        Some((place, inner.starts_with('*')))
    };
    template.split('/').enumerate().filter_map(is_parameter).collect()
}

fn path_values(path: &str, places: &[(usize, bool)]) -> Vec<String> {
    let decode = |text: &str| percent_decoded(text);
    let value = |&(place, rest): &(usize, bool)| match rest {
        false => path.split('/').nth(place).map_or_else(String::new, decode),
        true => path.splitn(place + 1, '/').nth(place).map_or_else(String::new, decode),
    };
    places.iter().map(value).collect()
}

/// Decodes `%xx` once; bytes that are not UTF-8 become the replacement character.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escape = (first == b'%').then(|| tail.get(..2)).flatten();
        let decoded = escape.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(decoded.unwrap_or(first));
        rest = if decoded.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Paths with more than one spelling are refused before they are matched, so that what is authorised is what is run.
/// What a browser asks before it lets a script send a request is answered here for the APIs that scripts may use.
async fn refuse_odd_paths(request: Request, next: Next, origins: Option<&Pattern>) -> Response {
    let path = request.uri().path();
    let dotted = path.split('/').any(|segment| segment == "." || segment == "..");
    let lower = path.to_ascii_lowercase();
    let encoded_separator = ["%2e", "%5c", "%00", "%25", "\\"].iter().any(|odd| lower.contains(odd));
    if path.contains("//") || dotted || encoded_separator {
        return reply::text_with(StatusCode::BAD_REQUEST, "400 path is not in its plain form\n");
    }
    if request.method() == Method::OPTIONS
        && (path.starts_with("/api/v1/") || path.starts_with("/ds/prometheus/"))
    {
        let mut response = reply::no_content();
        cors::allow(origins, request.headers(), response.headers_mut());
        return response;
    }
    let mut response = next.run(request).await;
    // A method that a route does not take is told which ones it does by axum; the body says it in words.
    if response.status() == StatusCode::METHOD_NOT_ALLOWED
        && !response.headers().contains_key(header::CONTENT_TYPE)
    {
        let allow = response.headers().get(header::ALLOW).cloned();
        response = reply::text_with(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n");
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_parameters_are_cut_out_and_decoded_once() {
        let check = |template: &str, path, expect: &[&str]| {
            assert_eq!(path_values(path, &parameter_places(template)), expect, "{path}");
        };
        check("/api/v1/label/{name}/values", "/api/v1/label/a%2Fb/values", &["a/b"]);
        check("/ui/{*file}", "/ui/assets/app.js", &["assets/app.js"]);
        check("/s/{s}/operations", "/s/caf%C3%A9%20x/operations", &["café x"]);
        check("/plain", "/plain", &[]);
    }
}
