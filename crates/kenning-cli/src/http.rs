//! Asking a running server.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::Failure;

/// Longest wait for an answer; the server's own limit for a query is shorter.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer that is read: 5 000 lines of 50 KiB, or a whole instance's series.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// The flags that say whom to ask.
#[derive(Args)]
pub(crate) struct Server {
    /// Where the server is
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:7070")]
    url: String,
    /// Whose data; `self` is Kenning's own
    #[arg(long, global = true, value_name = "TENANT")]
    pub(crate) tenant: Option<String>,
}

impl Server {
    pub(crate) fn remote(self) -> Remote {
        Remote { base: with_scheme(&self.url), tenant: self.tenant }
    }
}

/// A server's address without a slash at its end; `http` when it names no scheme.
pub(crate) fn with_scheme(url: &str) -> String {
    let url = url.trim_end_matches('/');
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
}

/// A server and a tenant.
pub(crate) struct Remote {
    base: String,
    tenant: Option<String>,
}

impl Remote {
    /// GETs a JSON document; the server's own words on failure.
    pub(crate) fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, Failure> {
        let (url, agent) = self.begin(path);
        let mut request = agent.get(&url);
        for (name, value) in parameters {
            request = request.query(name, value);
        }
        if let Some(tenant) = &self.tenant {
            request = request.header("X-Scope-OrgID", tenant);
        }
        self.end(&url, request.call())
    }

    /// POSTs parameters; `null` for an answer without a body.
    pub(crate) fn post(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, Failure> {
        let (url, agent) = self.begin(path);
        let mut request = agent.post(&url);
        if let Some(tenant) = &self.tenant {
            request = request.header("X-Scope-OrgID", tenant);
        }
        self.end(&url, request.send_form(parameters.iter().copied()))
    }

    fn begin(&self, path: &str) -> (String, ureq::Agent) {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .build()
            .into();
        (format!("{}{path}", self.base), agent)
    }

    fn end(
        &self,
        url: &str,
        answered: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, Failure> {
        let mut response = answered.map_err(|error| {
            format!(
                "cannot reach {}: {error}. Is `kenning serve` running there? Point --url at it",
                self.base
            )
        })?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
        if status.is_success() && body.trim().is_empty() {
            Ok(Value::Null)
        } else if status.is_success() {
            Ok(serde_json::from_str(&body)
                .map_err(|error| format!("{url} answered what is not JSON: {error}"))?)
        } else {
            Err(Failure(words_of(&body)))
        }
    }
}

/// The sentence inside an error body, whichever protocol wrote it.
fn words_of(body: &str) -> String {
    let json: Option<Value> = serde_json::from_str(body).ok();
    let from_json = json.as_ref().and_then(|json| {
        json.get("error")
            .or_else(|| json.get("message"))
            .or_else(|| json.pointer("/errors/0/msg"))
            .and_then(Value::as_str)
    });
    from_json.unwrap_or(body).trim().to_owned()
}
