//! What went wrong, folded into the handful of kinds that HTTP knows, and written in the words of each protocol.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use kenning_query::{Diagnostic, QueryError};

use crate::json::Json;
use crate::reply;

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request cannot be understood; sending it again is of no use.
    BadRequest,
    /// What is asked for is not there.
    NotFound,
    /// The request is larger than allowed.
    TooLarge,
    /// The request is understood and cannot be answered (limits, data that cannot be combined).
    Unprocessable,
    /// Nobody waits any more.
    Cancelled,
    /// Time is up.
    TimedOut,
    /// The settings switch it off.
    Disabled,
    /// Too much is going on; come back later.
    Overloaded,
    /// The store failed.
    Internal,
}

/// A failure with its story.
#[derive(Debug)]
pub struct ApiError {
    kind: Kind,
    message: String,
    retry_after: Option<Duration>,
}

impl ApiError {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// See [`Kind::BadRequest`].
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest, message)
    }

    /// See [`Kind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// See [`Kind::TooLarge`].
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(Kind::TooLarge, message)
    }

    /// See [`Kind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// See [`Kind::Unprocessable`].
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unprocessable, message)
    }

    /// See [`Kind::TimedOut`].
    pub fn timed_out() -> Self {
        Self::new(Kind::TimedOut, "query timed out in query execution")
    }

    /// See [`Kind::Disabled`].
    pub fn disabled(message: impl Into<String>) -> Self {
        Self::new(Kind::Disabled, message)
    }

    /// See [`Kind::Overloaded`].
    pub fn overloaded(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(Kind::Overloaded, message) }
    }

    /// The failure of a query, with places in its text.
    pub fn of_query(error: &QueryError, query: &str) -> Self {
        let kind = match error {
            QueryError::Invalid(_) => Kind::BadRequest,
            QueryError::Limit { .. } | QueryError::Execution(_) => Kind::Unprocessable,
            QueryError::Cancelled => Kind::Cancelled,
            QueryError::Store(_) => Kind::Internal,
        };
        let message = match error {
            QueryError::Invalid(diagnostics) => {
                let rendered: Vec<_> = diagnostics.iter().map(|one| one.render(query)).collect();
                format!("invalid query: {}", rendered.join("\n"))
            }
            QueryError::Store(cause) => format!("{error}: {cause}"),
            other => other.to_string(),
        };
        Self::new(kind, message)
    }

    /// The failure of a LogQL query, in Loki's words and with its codes: limits and data that cannot be combined are
    /// the asker's to mend, so they are bad requests.
    pub fn of_logql(error: &QueryError, query: &str) -> Self {
        match error {
            QueryError::Invalid(diagnostics) => Self::of_logql_text(query, diagnostics),
            QueryError::Limit { .. } | QueryError::Execution(_) => Self::bad_request(error.to_string()),
            QueryError::Cancelled | QueryError::Store(_) => Self::of_query(error, query),
        }
    }

    /// The mistakes of a LogQL text in Loki's words, with what to do about the first of them in a line of its own.
    pub fn of_logql_text(query: &str, diagnostics: &[Diagnostic]) -> Self {
        let mut message = kenning_logql::error_text(query, diagnostics);
        if let Some(first) = diagnostics.first().filter(|first| !first.hint.is_empty()) {
            message = hinted(message, &first.hint);
        }
        Self::bad_request(message)
    }

    /// A bad parameter in Loki's words, with what to do about it in a line of its own.
    pub fn bad_parameter(message: impl Into<String>, hint: &str) -> Self {
        Self::bad_request(hinted(message.into(), hint))
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    fn status(&self) -> StatusCode {
        match self.kind {
            Kind::BadRequest => StatusCode::BAD_REQUEST,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::TimedOut | Kind::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            // The web has no word for a client that went away; nginx's is the one that Prometheus and Loki use.
            Kind::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
            Kind::Internal | Kind::Disabled => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// As Prometheus writes it: `{"status":"error","errorType":...,"error":...}`.
    pub fn into_prometheus(self) -> Response {
        let error_type = match self.kind {
            Kind::BadRequest | Kind::TooLarge => "bad_data",
            Kind::NotFound => "not_found",
            Kind::Unprocessable => "execution",
            Kind::Cancelled => "canceled",
            Kind::TimedOut => "timeout",
            Kind::Overloaded | Kind::Disabled => "unavailable",
            Kind::Internal => "internal",
        };
        let body = Json::build(|json| {
            json.key("status").text("error");
            json.key("errorType").text(error_type);
            json.key("error").text(&self.message);
        });
        self.finish(reply::json_with(self.status(), body))
    }

    /// As Prometheus's handlers outside of the JSON API write it: the sentence alone.
    pub fn into_plain(self) -> Response {
        let text = format!("{}\n", self.message);
        self.finish(reply::text_with(self.status(), text))
    }

    /// As Loki writes it: the sentence alone, and what to do about it in a second line.
    pub fn into_loki(self) -> Response {
        let text = match self.kind {
            Kind::TimedOut => hinted(self.message.clone(), TIMEOUT_HINT),
            _ => self.message.clone(),
        };
        self.finish(reply::text_with(self.status(), text))
    }

    /// As Jaeger writes it: an envelope with `errors`.
    pub fn into_jaeger(self) -> Response {
        let status = self.status();
        let body = Json::build(|json| {
            json.key("data").raw("null");
            json.key("total").int(0);
            json.key("limit").int(0);
            json.key("offset").int(0);
            json.key("errors").array(|json| {
                json.object(|json| {
                    json.key("code").int(i64::from(status.as_u16()));
                    json.key("msg").text(&self.message);
                });
            });
        });
        self.finish(reply::json_with(status, body))
    }

    fn finish(&self, mut response: Response) -> Response {
        if let Some(wait) = self.retry_after {
            let seconds = HeaderValue::from(wait.as_secs().max(1));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

const TIMEOUT_HINT: &str =
    "it took longer than limits.query.timeout; narrow its range or its selector, or raise the setting";

/// What programs read stays the first line as it is.
fn hinted(message: String, hint: &str) -> String {
    message + "\nhint: " + hint
}
