//! How connections of one HTTP client are made: directly or through a proxy, in the clear or over TLS, HTTP/1.1 or
//! HTTP/2 as both sides can (ALPN).
//!
//! One [`Dialer`] serves all targets of a job, so that what is made of its certificates is made and held once.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kenning_promconfig::{HttpClient, Secret};
use kenning_stdx::files::Files;
use kenning_stdx::net::{BoxStream, Net};

use super::client::{Place, USER_AGENT, chain};
use super::oauth2::Tokens;
use super::proxy::{Proxies, ProxyServer};
use super::{ScrapeContext, tls};

pub(super) type Body = Full<Bytes>;

/// A connection that requests go over.
pub(super) enum Sender {
    /// HTTP/1.1, straight to the place.
    Direct(http1::SendRequest<Body>),
    /// HTTP/1.1 to a proxy that passes requests on.
    Forwarded(http1::SendRequest<Body>, Arc<ProxyServer>),
    /// HTTP/2.
    Multiplexed(http2::SendRequest<Body>),
}

impl Sender {
    /// False when the other side has closed.
    pub async fn ready(&mut self) -> bool {
        match self {
            Self::Direct(sender) | Self::Forwarded(sender, _) => sender.ready().await.is_ok(),
            Self::Multiplexed(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Sends a request for `place`; its URI and the headers that depend on the way are set here.
    pub async fn send(
        &mut self,
        place: &Place,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, String> {
        let uri = if matches!(self, Self::Direct(_)) { place.path.clone() } else { place.url() };
        *request.uri_mut() = uri.parse::<Uri>().map_err(|error| format!("{uri}: {error}"))?;
        if !matches!(self, Self::Multiplexed(_)) {
            let host = place.authority.parse().map_err(|_| format!("{:?} is no host", place.authority))?;
            request.headers_mut().insert(header::HOST, host);
        }
        let sent = match self {
            Self::Direct(sender) => sender.send_request(request).await,
            Self::Forwarded(sender, proxy) => {
                if let Some(Ok(value)) = proxy.authorization.as_deref().map(str::parse) {
                    request.headers_mut().insert(header::PROXY_AUTHORIZATION, value);
                }
                sender.send_request(request).await
            }
            Self::Multiplexed(sender) => sender.send_request(request).await,
        };
        sent.map_err(|error| chain(&error))
    }
}

/// Makes connections as one HTTP client of the configuration wants them. Cloning shares it.
#[derive(Clone)]
pub(super) struct Dialer(Arc<Inner>);

struct Inner {
    net: Arc<dyn Net>,
    files: Arc<dyn Files>,
    tls: tls::Cache,
    /// An error holds for every connection: what does not work is refused before a job starts.
    proxies: Result<Proxies, String>,
    connect_headers: Vec<(String, Vec<Secret>)>,
    http2: bool,
    tokens: Option<Tokens>,
}

impl Dialer {
    pub fn new(context: &ScrapeContext, client: &HttpClient) -> Self {
        Self(Arc::new(Inner {
            net: context.net.clone(),
            files: context.files.clone(),
            tls: tls::Cache::new(client.tls.clone()),
            proxies: Proxies::new(&client.proxy, &context.proxies),
            connect_headers: client.proxy.connect_headers.clone(),
            http2: client.enable_http2,
            tokens: client.oauth2.as_ref().map(|oauth2| Tokens::new(context, oauth2)),
        }))
    }

    pub fn files(&self) -> &Arc<dyn Files> {
        &self.0.files
    }

    /// The token that a server gave for this client, as the value of a header; `None` when it needs none.
    pub async fn token(&self) -> Result<Option<String>, String> {
        match &self.0.tokens {
            None => Ok(None),
            Some(tokens) => tokens.authorization(&self.0.files).await.map(Some),
        }
    }

    /// A connection to `place`, ready for requests.
    pub async fn connect(&self, place: &Place) -> Result<Sender, String> {
        let proxy = self.0.proxies.as_ref().map_err(Clone::clone)?.of(place);
        let stream = match proxy {
            None => self.open(place).await?,
            Some(proxy) if !place.https => {
                let stream = self.open_proxy(proxy).await?;
                return Ok(Sender::Forwarded(spoken(stream).await?, proxy.clone()));
            }
            Some(proxy) => self.tunnel(proxy, place).await?,
        };
        if !place.https {
            return Ok(Sender::Direct(spoken(stream).await?));
        }
        let (stream, is_http2) = self.0.tls.connect(stream, &place.host, &self.0.files, self.0.http2).await?;
        if !is_http2 {
            return Ok(Sender::Direct(spoken(stream).await?));
        }
        let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| chain(&error))?;
        tokio::spawn(connection);
        Ok(Sender::Multiplexed(sender))
    }

    async fn open(&self, place: &Place) -> Result<BoxStream, String> {
        let opened = self.0.net.connect(&place.connect_to).await;
        opened.map_err(|error| format!("cannot connect to {}: {error}", place.connect_to))
    }

    async fn open_proxy(&self, proxy: &ProxyServer) -> Result<BoxStream, String> {
        let of_proxy = |error| format!("the proxy: {error}");
        let stream = self.open(&proxy.place).await.map_err(of_proxy)?;
        if !proxy.place.https {
            return Ok(stream);
        }
        let wrapped = self.0.tls.connect(stream, &proxy.place.host, &self.0.files, false).await;
        wrapped.map(|(stream, _)| stream).map_err(of_proxy)
    }

    /// A way through the proxy to `place` (RFC 9110, section 9.3.6).
    async fn tunnel(&self, proxy: &ProxyServer, place: &Place) -> Result<BoxStream, String> {
        let stream = self.open_proxy(proxy).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| chain(&error))?;
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::builder().method(Method::CONNECT).uri(&place.connect_to);
        request = request.header(header::HOST, &place.connect_to).header(header::USER_AGENT, USER_AGENT);
        if let Some(authorization) = &proxy.authorization {
            request = request.header(header::PROXY_AUTHORIZATION, authorization);
        }
        for (name, values) in &self.0.connect_headers {
            request = values.iter().fold(request, |request, value| request.header(name, &value.0));
        }
        let request = request.body(Body::default()).map_err(|error| chain(&error))?;
        let answer =
            sender.send_request(request).await.map_err(|error| format!("the proxy: {}", chain(&error)))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the proxy refused a tunnel with HTTP status {}", answer.status()));
        }
        let upgraded = hyper::upgrade::on(answer).await.map_err(|error| chain(&error))?;
        Ok(Box::new(TokioIo::new(upgraded)))
    }
}

/// HTTP/1.1 over a stream.
async fn spoken(stream: BoxStream) -> Result<http1::SendRequest<Body>, String> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| chain(&error))?;
    // Ends with the sender, or when the target closes; its errors reach the sender's requests.
    tokio::spawn(connection);
    Ok(sender)
}
