//! Elasticsearch's way in: `_bulk`, single documents, and what shippers ask before they send.
//!
//! | Path | Answer |
//! |---|---|
//! | `/`, `/_license`, `/_xpack`, `/_cluster/health`, `/_nodes/…`, `/_cat/…` | what clients check: version 8, a basic license, one green node |
//! | `/_bulk`, `/{index}/_bulk` | per item, after the commit |
//! | `/{index}/_doc`, `/{index}/_doc/{id}`, `/{index}/_create/{id}` | one document, after the commit |
//! | `/_index_template`, `/_component_template`, `/_template`, `/_ilm/policy`, `/_ingest/pipeline`, `/_data_stream`, `/{index}` | kept in memory and shown again ([`registry`]) |
//! | `/_cluster/settings` | `action.auto_create_index` is followed, the rest is kept |
//! | `_search` and other queries | 501: logs are asked for in LogQL |
//!
//! All on a port of their own (`elastic.listen`) and under `/ds/elasticsearch` on the main port; the main port has `/_bulk`
//! and `/{index}/_bulk` at its root too.
//!
//! What is acknowledged is kept, and what is kept without an effect (pipelines, lifecycle policies) is answered with a
//! `Warning` header that says so; Elastic's clients log it. What was kept is gone after a restart, when shippers set it up
//! again as they do on every start.

mod info;
mod registry;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use kenning_pipeline::Intake;
use kenning_stdx::random::Random;
use kenning_wire::compression::Encoding;
use kenning_wire::elastic::{
    Action, Bulk, BulkOptions, FilterPath, Item, RefusedRow, Replying, RequestError, decode_bulk,
    decode_document, encode_bulk_reply, encode_document_reply, encode_error,
};
use kenning_wire::{DecodeLimits, Decoded};

use crate::body::{self, BodyLimits, Received};
use crate::ingest::{DecodedLogs, Ingest, TakenLogs};
use crate::outcome::{Failure, retry_seconds};
use crate::push::{PushOptions, Reply, encoding_header, header_text};
use crate::stats::{ByProtocol, Stats};
use registry::Registry;

/// Name of the protocol in metrics.
pub const ELASTIC: &str = "elastic";

/// Where the main port groups this protocol.
const PREFIX: &str = "/ds/elasticsearch";

/// Elasticsearch's clients refuse to talk to servers that do not send this.
const PRODUCT: HeaderName = HeaderName::from_static("x-elastic-product");

/// Takes bulk requests. Cloning shares it.
#[derive(Clone)]
pub struct ElasticService(Arc<Inner>);

struct Inner {
    ingest: Ingest,
    body: BodyLimits,
    registry: Arc<Registry>,
    seq_no: AtomicU64,
    stats: Stats,
}

/// Why nothing of a request was stored.
enum Refused {
    Request(RequestError),
    Failure(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// A request's head, taken apart.
struct Asked {
    method: Method,
    path: String,
    segments: Vec<String>,
    query: Vec<(String, String)>,
    host: String,
}

impl Asked {
    fn of<B>(request: &Request<B>, path: &str) -> Self {
        let decoded = |text: &str| percent_decoded(text, false);
        let query = request.uri().query().unwrap_or("").split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decoded(name, true), percent_decoded(value, true))
        };
        Self {
            method: request.method().clone(),
            path: path.to_owned(),
            segments: path.split('/').filter(|segment| !segment.is_empty()).map(decoded).collect(),
            query: query.map(pair).collect(),
            host: header_text(request.headers(), &header::HOST).to_owned(),
        }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.parameter(name), Some("" | "true"))
    }
}

/// What a path with a body is for.
enum Write {
    Bulk { index: Option<String> },
    Document { index: String, action: Action, id: Option<String> },
}

impl Write {
    fn of(asked: &Asked) -> Option<Self> {
        let segments: Vec<&str> = asked.segments.iter().map(String::as_str).collect();
        let (post, put) = (asked.method == Method::POST, asked.method == Method::PUT);
        let created = asked.parameter("op_type") == Some("create");
        let action = if created { Action::Create } else { Action::Index };
        match segments.as_slice() {
            ["_bulk"] if post || put => Some(Self::Bulk { index: None }),
            [index, "_bulk"] if post || put => Some(Self::Bulk { index: Some((*index).to_owned()) }),
            [index, "_doc"] if post => Some(Self::Document { index: (*index).to_owned(), action, id: None }),
            [index, "_doc", id] if post || put => {
                Some(Self::Document { index: (*index).to_owned(), action, id: Some((*id).to_owned()) })
            }
            [index, "_create", id] if post || put => Some(Self::Document {
                index: (*index).to_owned(),
                action: Action::Create,
                id: Some((*id).to_owned()),
            }),
            _ => None,
        }
    }
}

impl ElasticService {
    /// A service that offers to `intake`.
    #[must_use]
    pub fn new(intake: Intake, options: PushOptions, stats: Stats) -> Self {
        let ingest = Ingest::new(intake.for_receiver("elasticsearch"), options.tenant, options.budget);
        let (registry, seq_no) = (Arc::default(), AtomicU64::new(0));
        Self(Arc::new(Inner { ingest, body: options.body, registry, seq_no, stats }))
    }

    /// Answers a request of the main port; `None`, with the body unread, when the path is not of this protocol.
    pub async fn handle<B>(&self, request: Request<B>) -> Result<Reply, Request<B>>
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let path = request.uri().path();
        let below = path.strip_prefix(PREFIX).filter(|below| below.is_empty() || below.starts_with('/'));
        let is_bulk = path.ends_with("/_bulk") && path.matches('/').count() <= 2;
        match (below.map(str::to_owned), is_bulk) {
            (Some(below), _) => Ok(self.answer(request, &below).await),
            (None, true) => {
                let path = path.to_owned();
                Ok(self.answer(request, &path).await)
            }
            (None, false) => Err(request),
        }
    }

    /// Answers every request, for a port of its own.
    pub async fn serve<B>(&self, request: Request<B>) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let path = request.uri().path();
        let path = path.strip_prefix(PREFIX).unwrap_or(path).to_owned();
        self.answer(request, &path).await
    }

    async fn answer<B>(&self, request: Request<B>, path: &str) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let clock = self.0.ingest.intake().clock().clone();
        let (started, version) = (clock.steady(), request.version());
        let asked = Asked::of(&request, path);
        let reply = match Write::of(&asked) {
            Some(write) => self.0.write(&asked, write, request).await,
            None => self.0.admin(&asked, request).await,
        };
        let took = clock.steady().saturating_sub(started);
        self.0.stats.count_reply(ELASTIC, reply.status().as_u16(), took);
        crate::push::for_version(reply, version)
    }
}

impl Inner {
    async fn read<B>(&self, request: Request<B>) -> Result<(Received, Encoding), Failure>
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let encoding = Encoding::from_header(&encoding_header(request.headers()))?;
        let clock = self.ingest.intake().clock().clone();
        let awaits_word = request.headers().contains_key(header::EXPECT);
        let body = request.into_body();
        let received = body::read(body, &self.body, self.ingest.budget(), &*clock, awaits_word).await?;
        self.stats.bytes.with(&ByProtocol(ELASTIC)).add(received.bytes.len() as u64);
        Ok((received, encoding))
    }

    async fn write<B>(&self, asked: &Asked, write: Write, request: Request<B>) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let sent = header_text(request.headers(), &header::CONTENT_TYPE).to_owned();
        // A page in a browser can post text and forms to any port of its machine, but not this.
        if !sent.to_ascii_lowercase().contains("json") {
            let reason = format!("Content-Type header [{sent}] is not supported");
            return error(StatusCode::NOT_ACCEPTABLE, "media_type_header_exception", &reason);
        }
        let clock = self.ingest.intake().clock().clone();
        let started = clock.steady();
        let filter = FilterPath::parse(asked.parameter("filter_path").unwrap_or(""));
        let is_bulk = matches!(write, Write::Bulk { .. });
        let (items, replying) = match self.store(asked, write, request).await {
            Ok(TakenLogs { refused, told: items, receipt }) => {
                let refused = refused.into_iter().map(|row| RefusedRow { row: row.row, reason: row.why });
                let replying = Replying {
                    took_millis: clock.steady().saturating_sub(started).as_millis() as u64,
                    first_seq_no: self.seq_no.fetch_add(receipt.stored, Ordering::Relaxed),
                    refused: refused.collect(),
                };
                (items, replying)
            }
            Err(Refused::Request(RequestError::Refused { kind, reason })) => {
                return error(StatusCode::BAD_REQUEST, kind, &reason);
            }
            Err(Refused::Request(RequestError::Decode(decode))) => return failure(&Failure::from(decode)),
            Err(Refused::Failure(refused)) => return failure(&refused),
        };
        let mut reply = if is_bulk {
            json(StatusCode::OK, encode_bulk_reply(&items, &replying, &filter))
        } else {
            let (status, body) = encode_document_reply(&items, &replying, &filter);
            json(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), body)
        };
        if asked.parameter("pipeline").is_some_and(|name| !name.is_empty() && name != "_none") {
            warn(&mut reply, "ingest pipelines are not run; documents are stored as they were sent");
        }
        reply
    }

    async fn store<B>(
        &self,
        asked: &Asked,
        write: Write,
        request: Request<B>,
    ) -> Result<TakenLogs<Vec<Item>>, Refused>
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let (received, encoding) = self.read(request).await?;
        let (registry, id_seed) = (Arc::clone(&self.registry), Random::from_os().next_u64());
        let require_alias = asked.flag("require_alias");
        let decode = move |body: &[u8], limits: &DecodeLimits, now| {
            let allows = |index: &str| registry.allows(index);
            let bulk = match write {
                Write::Bulk { index } => {
                    let options = BulkOptions { index, require_alias, now, id_seed };
                    decode_bulk(body, &options, limits, allows).map_err(Refused::Request)?
                }
                Write::Document { index, action, id } => {
                    let options = BulkOptions { index: Some(index), require_alias, now, id_seed };
                    decode_document(body, action, id.as_deref(), &options, limits, allows)
                }
            };
            let Bulk { batch, rejected, items } = bulk;
            let stored = items.iter().filter(|item| item.outcome.is_ok());
            registry.note_written(stored.map(|item| &*item.index));
            Ok(DecodedLogs { logs: Decoded { batch, rejected }, told: items })
        };
        self.ingest.logs(received, encoding, self.body.decoded_bytes, decode).await
    }

    async fn admin<B>(&self, asked: &Asked, request: Request<B>) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        if let Some(reply) = info::answer(asked, &self.registry) {
            return reply;
        }
        if info::is_query(asked) {
            let reason = "logs are asked for in LogQL, at /loki/api/v1/query_range; Elasticsearch queries are not answered";
            return error(StatusCode::NOT_IMPLEMENTED, "unsupported_operation_exception", reason);
        }
        let body = match asked.method {
            Method::PUT | Method::POST => match self.read(request).await {
                Ok((received, encoding)) => {
                    match kenning_wire::compression::decompress(
                        encoding,
                        &received.bytes,
                        registry::ENTRY_BYTES_MAX,
                    ) {
                        Ok(body) => body.into_owned(),
                        Err(decode) => return failure(&decode.into()),
                    }
                }
                Err(refused) => return failure(&refused),
            },
            _ => Vec::new(),
        };
        self.registry.answer(asked, &body).unwrap_or_else(|| {
            let reason = format!("no handler found for uri [{}] and method [{}]", asked.path, asked.method);
            error(StatusCode::BAD_REQUEST, "illegal_argument_exception", &reason)
        })
    }
}

fn json(status: StatusCode, body: Vec<u8>) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(PRODUCT, HeaderValue::from_static("Elasticsearch"));
    reply
}

fn error(status: StatusCode, kind: &str, reason: &str) -> Reply {
    json(status, encode_error(status.as_u16(), kind, reason))
}

fn failure(failure: &Failure) -> Reply {
    let kind = match failure.status() {
        StatusCode::TOO_MANY_REQUESTS => "es_rejected_execution_exception",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable_shards_exception",
        StatusCode::PAYLOAD_TOO_LARGE => "content_too_long_exception",
        StatusCode::BAD_REQUEST => "parse_exception",
        _ => "illegal_argument_exception",
    };
    let mut reply = error(failure.status(), kind, &failure.to_string());
    if let Some(after) = failure.retry_after() {
        reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_seconds(after)));
    }
    if failure.ends_connection() {
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

/// Adds a warning as Elasticsearch sends its own; clients log it.
fn warn(reply: &mut Reply, text: &'static str) {
    if let Ok(value) = HeaderValue::from_str(&format!("299 Elasticsearch-8-Kenning \"{text}\"")) {
        reply.headers_mut().append(header::WARNING, value);
    }
}

/// Decodes `%xx`, and `+` as a blank in queries; bytes that are not UTF-8 become the replacement character.
fn percent_decoded(text: &str, is_query: bool) -> String {
    let text = if is_query { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
}
