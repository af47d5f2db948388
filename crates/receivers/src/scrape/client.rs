//! Fetches documents over a connection that is kept between calls: authentication, headers, redirects.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use kenning_promconfig::{HttpClient, ScrapeConfig, ScrapeProtocol, Source};
use kenning_stdx::files::Files;
use kenning_stdx::net::UNIX;
use kenning_wire::compression::{Encoding, decompress};
use kenning_wire::prometheus::Exposition;

use super::dial::{Body, Dialer, Sender};
use super::target::Target;
use crate::body::{self, BodyError, BodyLimits, Budget, Received};

pub(super) const USER_AGENT: &str = concat!("kenning/", env!("CARGO_PKG_VERSION"));
/// The protobuf exposition, as it is asked for.
const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
/// Requests that one call may take, redirects included. Definition: Go `net/http`.
const REQUESTS_MAX: usize = 10;
/// Most bytes of a file with a password, a token or a header.
const SECRET_BYTES_MAX: usize = 1 << 20;

/// A target's answer, still packed.
pub(super) struct Fetched {
    pub received: Received,
    pub encoding: Encoding,
    pub format: Exposition,
}

/// Any answer, still packed.
pub(super) struct Answer {
    pub received: Received,
    pub encoding: Encoding,
    content_type: String,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub https: bool,
    /// Host and port as written, for the `Host` header.
    pub authority: String,
    /// Host alone.
    pub host: String,
    /// The port, that of the scheme when none is written.
    pub port: u16,
    /// `host:port` to connect to.
    pub connect_to: String,
    /// Path and query.
    pub path: String,
}

impl Place {
    pub fn new(scheme: &str, authority: &str, path: &str) -> Result<Self, String> {
        let https = match scheme {
            "http" => false,
            "https" => true,
            other => return Err(format!("unsupported protocol scheme {other:?}; use http or https")),
        };
        let parsed: http::uri::Authority =
            authority.parse().map_err(|_| format!("{authority:?} is not host:port"))?;
        let explicit_port = authority.len() > parsed.host().len();
        if parsed.host().is_empty()
            || authority.contains('@')
            || (explicit_port && parsed.port_u16().is_none())
        {
            return Err(format!("{authority:?} is not host:port"));
        }
        let port = parsed.port_u16().unwrap_or(if https { 443 } else { 80 });
        Ok(Self {
            https,
            authority: authority.to_owned(),
            host: parsed.host().to_owned(),
            port,
            connect_to: format!("{}:{port}", parsed.host()),
            path: path.to_owned(),
        })
    }

    pub fn of_url(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(format!("{url} is not an absolute URL"));
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Self::new(scheme, authority.as_str(), path)
    }

    /// A path behind a Unix socket.
    pub fn of_socket(socket: &str, path: &str) -> Self {
        Self {
            https: false,
            authority: "localhost".to_owned(),
            host: "localhost".to_owned(),
            port: 80,
            connect_to: format!("{UNIX}{socket}"),
            path: path.to_owned(),
        }
    }

    pub fn url(&self) -> String {
        format!("{}://{}{}", if self.https { "https" } else { "http" }, self.authority, self.path)
    }

    /// Where a `Location` leads from here.
    fn follow(&self, location: &str) -> Result<Self, String> {
        if location.contains("://") {
            return Self::of_url(location);
        }
        let scheme = if self.https { "https" } else { "http" };
        if let Some(rest) = location.strip_prefix("//") {
            return Self::of_url(&format!("{scheme}://{rest}"));
        }
        let path = match location.strip_prefix('/') {
            Some(_) => location.to_owned(),
            None => {
                let before = self.path.split('?').next().unwrap_or_default();
                let folder = before.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{folder}/{location}")
            }
        };
        Ok(Self { path, ..self.clone() })
    }
}

/// A connection to one place, when there is one.
pub(super) struct Client {
    dialer: Dialer,
    budget: Budget,
    kept: Option<(Place, Sender)>,
    /// The `Accept` header of this target's scrapes.
    accept: String,
}

impl Client {
    pub const fn new(dialer: Dialer, budget: Budget) -> Self {
        Self { dialer, budget, kept: None, accept: String::new() }
    }

    /// Gives up the connection.
    pub fn disconnect(&mut self) {
        self.kept = None;
    }

    /// Fetches one document. The caller limits the time.
    pub async fn fetch(&mut self, target: &Target) -> Result<Fetched, String> {
        let config = &target.config;
        if self.accept.is_empty() {
            self.accept = accept_header(config);
        }
        let accept = self.accept.clone();
        let timeout = target.timeout.as_secs_f64().to_string();
        let encoding = if config.enable_compression { "gzip" } else { "identity" };
        let headers = [
            ("accept", accept.as_str()),
            ("accept-encoding", encoding),
            ("x-prometheus-scrape-timeout-seconds", timeout.as_str()),
        ];
        let bytes_max = target.body_bytes_max();
        let answer = self.get(&target.place, &config.client, &headers, bytes_max, target.timeout).await?;
        let format = format_of(&answer.content_type, config.fallback_scrape_protocol)?;
        Ok(Fetched { received: answer.received, encoding: answer.encoding, format })
    }

    /// Gets a document.
    pub async fn get(
        &mut self,
        place: &Place,
        client: &HttpClient,
        headers: &[(&str, &str)],
        bytes_max: usize,
        time: Duration,
    ) -> Result<Answer, String> {
        let mut own = own_headers(client, self.dialer.files()).await?;
        if let Some(token) = self.dialer.token().await? {
            own.authorization = Some(token);
        }
        let mut place = place.clone();
        let origin = place.host.to_ascii_lowercase();
        let mut at_home = true;
        let mut response = None;
        for _ in 0..REQUESTS_MAX {
            let with = |request: &mut Request<Body>| add_headers(request, headers, &own, at_home);
            let answered = self.request(&place, &with).await?;
            let location = header_of(&answered, header::LOCATION);
            if client.follow_redirects && redirects(answered.status()) && !location.is_empty() {
                place = place.follow(&location)?;
                // Whoever once led away from the host does not get its credentials by leading back.
                at_home = at_home && same_or_below(&place.host.to_ascii_lowercase(), &origin);
                continue;
            }
            response = Some(answered);
            break;
        }
        let Some(response) = response else {
            return Err(format!("stopped after {REQUESTS_MAX} redirects"));
        };
        if response.status() != StatusCode::OK {
            self.disconnect();
            return Err(format!("server returned HTTP status {}", response.status()));
        }
        self.answer(response, bytes_max, time).await
    }

    /// Posts a form and gives the answer's body; redirects are not followed.
    pub async fn post_form(
        &mut self,
        place: &Place,
        form: String,
        authorization: Option<String>,
        bytes_max: usize,
        time: Duration,
    ) -> Result<Vec<u8>, String> {
        let with = |request: &mut Request<Body>| {
            *request.method_mut() = Method::POST;
            *request.body_mut() = Body::from(form.clone());
            let headers = request.headers_mut();
            headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
            headers
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            if let Some(Ok(value)) = authorization.as_deref().map(HeaderValue::from_str) {
                headers.insert(header::AUTHORIZATION, value);
            }
        };
        let response = self.request(place, &with).await?;
        if !response.status().is_success() {
            return Err(format!("{} answered HTTP status {}", place.url(), response.status()));
        }
        let answer = self.answer(response, bytes_max, time).await?;
        let body = decompress(answer.encoding, &answer.received.bytes, bytes_max);
        body.map(Cow::into_owned).map_err(|error| error.to_string())
    }

    /// Reads the body of an answer.
    async fn answer(
        &mut self,
        response: Response<Incoming>,
        bytes_max: usize,
        time: Duration,
    ) -> Result<Answer, String> {
        let encoding = Encoding::from_header(&header_of(&response, header::CONTENT_ENCODING));
        let encoding = encoding.map_err(|error| error.to_string())?;
        let content_type = header_of(&response, header::CONTENT_TYPE);
        // The time for the whole call is the only limit on slowness.
        let limits =
            BodyLimits { wire_bytes: bytes_max, decoded_bytes: bytes_max, grace: time, rate_min: 1, time };
        let read = body::read(response.into_body(), &limits, &self.budget, &Patient, true).await;
        let received = read.map_err(|error| {
            self.disconnect();
            told(&error)
        })?;
        Ok(Answer { received, encoding, content_type })
    }

    async fn request(
        &mut self,
        place: &Place,
        with: &(dyn Fn(&mut Request<Body>) + Sync),
    ) -> Result<Response<Incoming>, String> {
        let request = || {
            let mut request = Request::new(Body::default());
            with(&mut request);
            request
        };
        if let Some((kept_place, mut kept)) = self.kept.take()
            && kept_place.connect_to == place.connect_to
            && kept_place.https == place.https
            && kept.ready().await
            && let Ok(response) = kept.send(place, request()).await
        {
            self.kept = Some((kept_place, kept));
            return Ok(response);
        }
        // A kept connection may have been closed by the target at any moment; a fresh one gets the only other try.
        let mut fresh = self.dialer.connect(place).await?;
        let response = fresh.send(place, request()).await?;
        self.kept = Some((place.clone(), fresh));
        Ok(response)
    }
}

/// Answers that lead on to a `Location`. Definition: Go `net/http`.
const fn redirects(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Whether a host is another one or below it. Definition: Go `net/http`, `isDomainOrSubdomain`.
fn same_or_below(host: &str, parent: &str) -> bool {
    let below = |host: &str| host.strip_suffix(parent).is_some_and(|before| before.ends_with('.'));
    host == parent || (!host.contains([':', '%']) && below(host))
}

/// Headers of the configuration, with what their files hold now.
struct OwnHeaders {
    authorization: Option<String>,
    others: Vec<(String, String)>,
}

async fn own_headers(client: &HttpClient, files: &Arc<dyn Files>) -> Result<OwnHeaders, String> {
    let nothing = client.basic_auth.is_none() && client.authorization.is_none() && client.headers.is_empty();
    if nothing {
        return Ok(OwnHeaders { authorization: None, others: Vec::new() });
    }
    let (client, files) = (client.clone(), files.clone());
    let read = tokio::task::spawn_blocking(move || read_headers(&client, &*files));
    read.await.map_err(|error| error.to_string())?
}

/// What a source holds now.
pub(super) fn read_source(source: &Source, files: &dyn Files) -> Result<String, String> {
    match source {
        Source::Inline(text) => Ok(text.0.clone()),
        Source::File(path) => {
            let read = files.read(path, SECRET_BYTES_MAX);
            let bytes = read.map_err(|error| format!("unable to read {path}: {error}"))?;
            Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
        }
    }
}

fn read_headers(client: &HttpClient, files: &dyn Files) -> Result<OwnHeaders, String> {
    let value = |source: &Source| read_source(source, files);
    let or_empty = |source: &Option<Source>| source.as_ref().map_or(Ok(String::new()), value);
    let mut authorization = None;
    if let Some(basic) = &client.basic_auth {
        let pair = format!("{}:{}", or_empty(&basic.username)?, or_empty(&basic.password)?);
        authorization = Some(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    } else if let Some(token) = &client.authorization {
        authorization = Some(format!("{} {}", token.scheme, or_empty(&token.credentials)?));
    }
    let mut others = Vec::new();
    for header in &client.headers {
        for source in &header.values {
            others.push((header.name.clone(), value(source)?));
        }
    }
    Ok(OwnHeaders { authorization, others })
}

/// Headers that stay with the host they are for, whoever sets them. Definition: Go `net/http`.
const SENSITIVE: [&str; 6] =
    ["authorization", "www-authenticate", "cookie", "cookie2", "proxy-authorization", "proxy-authenticate"];

fn add_headers(request: &mut Request<Body>, headers: &[(&str, &str)], own: &OwnHeaders, at_home: bool) {
    let map = request.headers_mut();
    map.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    let authorization = own.authorization.iter().map(|value| ("authorization", value.as_str()));
    let others = own.others.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let may_go = |(name, _): &(&str, &str)| {
        at_home || !SENSITIVE.iter().any(|sensitive| name.eq_ignore_ascii_case(sensitive))
    };
    for (name, value) in headers.iter().copied().chain(authorization.chain(others).filter(may_go)) {
        let pair = (header::HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value));
        if let (Ok(name), Ok(value)) = pair {
            map.append(name, value);
        }
    }
}

/// What is asked for, best first. Definition: Prometheus `acceptHeader`.
fn accept_header(config: &ScrapeConfig) -> String {
    let mut weight = 6;
    let mut parts = Vec::new();
    for protocol in &config.scrape_protocols {
        let escaping = format!(";escaping={}", config.escaping);
        let (kind, escaping) = match protocol {
            ScrapeProtocol::PrometheusProto => (PROTOBUF, escaping.as_str()),
            ScrapeProtocol::PrometheusText004 => ("text/plain;version=0.0.4", ""),
            ScrapeProtocol::PrometheusText100 => ("text/plain;version=1.0.0", escaping.as_str()),
            ScrapeProtocol::OpenMetricsText001 => ("application/openmetrics-text;version=0.0.1", ""),
            ScrapeProtocol::OpenMetricsText100 => {
                ("application/openmetrics-text;version=1.0.0", escaping.as_str())
            }
        };
        parts.push(format!("{kind}{escaping};q=0.{weight}"));
        weight -= 1;
    }
    parts.push(format!("*/*;q=0.{weight}"));
    parts.join(",")
}

/// The time around the whole call measures slowness, so the reading of the body need not.
struct Patient;

impl kenning_stdx::clock::Clock for Patient {
    fn unix_nanos(&self) -> i64 {
        0
    }
    fn steady(&self) -> Duration {
        Duration::ZERO
    }
}

fn told(error: &BodyError) -> String {
    match error {
        BodyError::TooLarge { limit } => {
            format!("body size limit exceeded: the document is larger than {limit} bytes (body_size_limit)")
        }
        other => other.to_string(),
    }
}

fn header_of(response: &Response<Incoming>, name: header::HeaderName) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
}

fn format_of(content_type: &str, fallback: Option<ScrapeProtocol>) -> Result<Exposition, String> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match (essence.as_str(), fallback) {
        ("text/plain", _) => Ok(Exposition::Text),
        ("application/openmetrics-text", _) => Ok(Exposition::OpenMetrics),
        ("application/vnd.google.protobuf", _) => Ok(Exposition::Protobuf),
        (_, Some(ScrapeProtocol::PrometheusProto)) => Ok(Exposition::Protobuf),
        (_, Some(ScrapeProtocol::OpenMetricsText001 | ScrapeProtocol::OpenMetricsText100)) => {
            Ok(Exposition::OpenMetrics)
        }
        (_, Some(_)) => Ok(Exposition::Text),
        ("", None) => {
            Err("the answer has no Content-Type and the job has no fallback_scrape_protocol".to_owned())
        }
        (_, None) => Err(format!(
            "the answer's Content-Type {content_type:?} is not known and the job has no fallback_scrape_protocol"
        )),
    }
}

/// An error with its causes: hyper's own words are "client error" and the like.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    struct Chain<'a>(&'a dyn std::error::Error);
    impl fmt::Display for Chain<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(self.0, f)?;
            let mut cause = self.0.source();
            while let Some(inner) = cause {
                write!(f, ": {inner}")?;
                cause = inner.source();
            }
            Ok(())
        }
    }
    Chain(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let text = Some(ScrapeProtocol::PrometheusText004);
        let open = Some(ScrapeProtocol::OpenMetricsText100);
        for (content_type, fallback, expect) in [
            ("text/plain; version=0.0.4; charset=utf-8", None, Some(Exposition::Text)),
            ("application/openmetrics-text; version=1.0.0", None, Some(Exposition::OpenMetrics)),
            ("", None, None),
            ("text/html", None, None),
            ("", text, Some(Exposition::Text)),
            ("application/vnd.google.protobuf; encoding=delimited", text, Some(Exposition::Protobuf)),
            ("", Some(ScrapeProtocol::PrometheusProto), Some(Exposition::Protobuf)),
            ("application/json", open, Some(Exposition::OpenMetrics)),
        ] {
            assert_eq!(format_of(content_type, fallback).ok(), expect, "{content_type}");
        }
    }

    #[test]
    fn redirects_are_followed_from_where_they_stand() {
        let from = Place::of_url("http://a:1/x/y?z=1").unwrap();
        for (location, url) in [
            ("/m", "http://a:1/m"),
            ("m", "http://a:1/x/m"),
            ("//b/m", "http://b/m"),
            ("https://b:2/m?q", "https://b:2/m?q"),
        ] {
            assert_eq!(from.follow(location).unwrap().url(), url);
        }
        assert_eq!(Place::of_url("https://h/").unwrap().connect_to, "h:443");
        assert!(Place::new("http", "a:b", "/").is_err() && Place::of_url("ftp://x/").is_err());
    }

    #[test]
    fn credentials_stay_with_the_host_and_what_is_below_it() {
        for (host, parent, expect) in [
            ("a", "a", true),
            ("b.a", "a", true),
            ("ba", "a", false),
            ("a", "b.a", false),
            ("::1%.a", "a", false),
            ("127.0.0.1", "127.0.0.1", true),
        ] {
            assert_eq!(same_or_below(host, parent), expect, "{host} {parent}");
        }
    }

    #[test]
    fn what_prometheus_asks_for() {
        let config = ScrapeConfig::of_targets("j", Vec::new());
        assert_eq!(
            accept_header(&config),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
        let mut config = config;
        config.scrape_protocols = vec![ScrapeProtocol::PrometheusProto];
        assert_eq!(
            accept_header(&config),
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;\
             escaping=allow-utf-8;q=0.6,*/*;q=0.5"
        );
    }
}
