//! Tokens that a server hands out for a client's own credentials. Definition: RFC 6749, sections 4.4 and 5; where that
//! leaves room, Go `golang.org/x/oauth2/clientcredentials`.
//!
//! Promises: a token is asked for once for all targets of a job, kept until shortly before it runs out, and asked for anew
//! when the secret's file changes; credentials go as a header and, where that is refused, as parameters. Lacking: the grant
//! type `jwt-bearer`, which is refused by name.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kenning_gotext::url::query_escape;
use kenning_promconfig::{HttpClient, OAuth2, Source};
use kenning_stdx::clock::Clock;
use kenning_stdx::files::Files;
use serde_json::Value;
use tokio::sync::Mutex;

use super::ScrapeContext;
use super::client::{Client, Place, read_source};
use super::dial::Dialer;
use crate::body::Budget;

/// Most bytes of an answer with a token. Definition: Go `golang.org/x/oauth2`.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Time that a token's server has; a scrape's own limit may end the wait before.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// So long before its end a token counts as run out. Definition: Go `golang.org/x/oauth2`.
const EARLY: Duration = Duration::from_secs(10);
/// Most bytes of what a refusal says that are told on.
const TOLD_BYTES_MAX: usize = 200;

/// The tokens of one HTTP client.
pub(super) struct Tokens {
    config: OAuth2,
    dialer: Dialer,
    budget: Budget,
    clock: Arc<dyn Clock>,
    held: Mutex<Option<Held>>,
}

struct Held {
    /// What it was asked for with.
    secret: String,
    /// The whole value of the header.
    authorization: String,
    /// By the steady clock; `None`: it does not run out.
    until: Option<Duration>,
}

/// A token as its server hands it out.
#[derive(Debug, PartialEq, Eq)]
struct Granted {
    authorization: String,
    lasts: Option<Duration>,
}

impl Tokens {
    pub fn new(context: &ScrapeContext, config: &OAuth2) -> Self {
        let own =
            HttpClient { tls: config.tls.clone(), proxy: config.proxy.clone(), ..HttpClient::default() };
        Self {
            config: config.clone(),
            dialer: Dialer::new(context, &own),
            budget: context.budget.clone(),
            clock: context.intake.clock().clone(),
            held: Mutex::const_new(None),
        }
    }

    /// The value of the `Authorization` header, asked for when none is held.
    pub async fn authorization(&self, files: &Arc<dyn Files>) -> Result<String, String> {
        let secret = self.secret(files).await?;
        let mut held = self.held.lock().await;
        let now = self.clock.steady();
        if let Some(known) = &*held
            && known.secret == secret
            && known.until.is_none_or(|until| now < until)
        {
            return Ok(known.authorization.clone());
        }
        let granted = self.ask(&secret).await.map_err(|error| format!("oauth2: {error}"))?;
        let until = granted.lasts.map(|lasts| now.saturating_add(lasts.saturating_sub(EARLY)));
        let authorization = granted.authorization;
        *held = Some(Held { secret, authorization: authorization.clone(), until });
        Ok(authorization)
    }

    async fn secret(&self, files: &Arc<dyn Files>) -> Result<String, String> {
        match &self.config.client_secret {
            None => Ok(String::new()),
            Some(Source::Inline(text)) => Ok(text.0.clone()),
            Some(source) => {
                let (source, files) = (source.clone(), files.clone());
                let read = tokio::task::spawn_blocking(move || read_source(&source, &*files)).await;
                let read = read.map_err(|error| error.to_string())?;
                read.map_err(|error| format!("unable to read oauth2 client secret: {error}"))
            }
        }
    }

    async fn ask(&self, secret: &str) -> Result<Granted, String> {
        let place = Place::of_url(&self.config.token_url)?;
        let id = &self.config.client_id;
        let header = STANDARD.encode(format!("{}:{}", query_escape(id), query_escape(secret)));
        let first = self.post(&place, form(&self.config, None), Some(format!("Basic {header}"))).await;
        match first {
            Ok(granted) => Ok(granted),
            // Some servers look for the credentials among the parameters only.
            Err(refused) => {
                self.post(&place, form(&self.config, Some(secret)), None).await.map_err(|_| refused)
            }
        }
    }

    async fn post(
        &self,
        place: &Place,
        form: String,
        authorization: Option<String>,
    ) -> Result<Granted, String> {
        let mut client = Client::new(self.dialer.clone(), self.budget.clone());
        let answer = client.post_form(place, form, authorization, ANSWER_BYTES_MAX, ANSWER_TIME).await?;
        granted(&answer).map_err(|error| format!("{}: {error}", self.config.token_url))
    }
}

/// The parameters of a request; with the credentials when a secret is given.
fn form(config: &OAuth2, secret: Option<&str>) -> String {
    let mut form = "grant_type=client_credentials".to_owned();
    let mut add = |name: &str, value: &str| {
        let _ = write!(form, "&{}={}", query_escape(name), query_escape(value));
    };
    if !config.scopes.is_empty() {
        add("scope", &config.scopes.join(" "));
    }
    if let Some(secret) = secret {
        add("client_id", &config.client_id);
        add("client_secret", secret);
    }
    config.endpoint_params.iter().for_each(|(name, value)| add(name, value));
    form
}

/// Reads an answer in JSON.
fn granted(answer: &[u8]) -> Result<Granted, String> {
    let json: Value =
        serde_json::from_slice(answer).map_err(|error| format!("cannot parse the token: {error}"))?;
    let text = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default();
    if !text("error").is_empty() {
        let told: String = text("error_description").chars().take(TOLD_BYTES_MAX).collect();
        let error: String = text("error").chars().take(TOLD_BYTES_MAX).collect();
        return Err(format!("{error} {told}").trim_end().to_owned());
    }
    if text("access_token").is_empty() {
        return Err("the answer lacks an access_token".to_owned());
    }
    let kind = match text("token_type").to_ascii_lowercase().as_str() {
        "" | "bearer" => "Bearer",
        "mac" => "MAC",
        "basic" => "Basic",
        _ => text("token_type"),
    };
    let seconds = json.get("expires_in").and_then(|value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64().map(|seconds| seconds as u64),
    });
    Ok(Granted {
        authorization: format!("{kind} {}", text("access_token")),
        lasts: seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, expect: Result<(&str, Option<u64>), &str>) {
        let found = granted(answer.as_bytes());
        match expect {
            Ok((authorization, seconds)) => {
                let lasts = seconds.map(Duration::from_secs);
                assert_eq!(found, Ok(Granted { authorization: authorization.to_owned(), lasts }), "{answer}");
            }
            Err(words) => {
                assert!(found.as_ref().is_err_and(|error| error.contains(words)), "{answer}: {found:?}")
            }
        }
    }

    #[test]
    fn answers_of_servers() {
        check(
            r#"{"access_token":"t","token_type":"bearer","expires_in":3600}"#,
            Ok(("Bearer t", Some(3600))),
        );
        check(r#"{"access_token":"t"}"#, Ok(("Bearer t", None)));
        check(r#"{"access_token":"t","token_type":"mac","expires_in":"60"}"#, Ok(("MAC t", Some(60))));
        check(r#"{"access_token":"t","token_type":"Own","expires_in":0}"#, Ok(("Own t", None)));
        check(r#"{"error":"invalid_client","error_description":"who?"}"#, Err("invalid_client who?"));
        check(r#"{"token":"t"}"#, Err("lacks an access_token"));
        check("access_token=t", Err("cannot parse the token"));
    }

    #[test]
    fn parameters_are_those_of_the_grant() {
        let config = OAuth2 {
            client_id: "a b".to_owned(),
            scopes: vec!["x".to_owned(), "y".to_owned()],
            endpoint_params: vec![("audience".to_owned(), "https://z/".to_owned())],
            ..OAuth2::default()
        };
        assert_eq!(
            form(&config, None),
            "grant_type=client_credentials&scope=x+y&audience=https%3A%2F%2Fz%2F"
        );
        let with = form(&config, Some("s&t"));
        assert!(with.contains("&client_id=a+b&client_secret=s%26t&"), "{with}");
    }
}
