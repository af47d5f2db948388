//! Scrapes over TLS and through proxies, of real servers.

mod common;
#[path = "common/scraping.rs"]
mod scraping;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::*;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use kenning_receivers::scrape::Health;
use kenning_stdx::files::MemFiles;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use scraping::*;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A certificate and its key as PEM.
struct Pair {
    cert: String,
    key: String,
}

/// An authority and what it signed.
struct Authority {
    pair: Pair,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pair = Pair { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() };
        Self { pair, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let signed = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        Pair { cert: signed.pem(), key: key.serialize_pem() }
    }
}

/// A certificate that signed itself, as `openssl req -x509` makes them: an authority by its own word.
fn self_signed(names: &[&str]) -> Pair {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    Pair { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

struct Server<'a> {
    pair: &'a Pair,
    /// Clients must have a certificate of this authority.
    client_ca: Option<&'a str>,
    versions: &'static [&'static SupportedProtocolVersion],
    alpn: &'a [&'a str],
}

impl<'a> Server<'a> {
    fn of(pair: &'a Pair) -> Self {
        Self { pair, client_ca: None, versions: rustls::ALL_VERSIONS, alpn: &["h2", "http/1.1"] }
    }

    fn config(&self) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(self.versions).unwrap();
        let builder = match self.client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let cert = CertificateDer::from_pem_slice(self.pair.cert.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.pair.key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(vec![cert], key).unwrap();
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

type Seen = Arc<Mutex<Vec<String>>>;

/// What a request was, for tests to look at: version, host and credentials.
fn told<B>(request: &Request<B>) -> String {
    let header = |name: &str| {
        request.headers().get(name).map_or("-".to_owned(), |value| value.to_str().unwrap().to_owned())
    };
    let host = request.uri().authority().map_or_else(|| header("host"), ToString::to_string);
    format!("{:?} {host} {} {}", request.version(), header("authorization"), header("x-extra"))
}

/// Serves `a 1` over TLS.
async fn secured(server: Server<'_>) -> (SocketAddr, Seen) {
    let acceptor = TlsAcceptor::from(Arc::new(server.config()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Seen::default());
    let all_seen = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, seen) = (acceptor.clone(), all_seen.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let answer = service_fn(move |request: Request<Incoming>| {
                    seen.lock().unwrap().push(told(&request));
                    async { Ok::<_, std::convert::Infallible>(page("text/plain", "a 1\n")) }
                });
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
            });
        }
    });
    (address, seen)
}

fn yaml(address: impl std::fmt::Display, scheme: &str, more: &str) -> String {
    format!(
        "scrape_configs:\n- job_name: j\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n  scheme: {scheme}\n  \
         static_configs: [{{targets: ['{address}']}}]\n  {more}\n"
    )
}

/// Scrapes with these settings until the target is up, or down with an error that holds `expect`.
async fn check(yaml: String, files: &[(&str, &str)], expect: Result<(), &[&str]>) {
    let node = Node::start_default().await;
    let stored = Arc::new(MemFiles::default());
    files.iter().for_each(|(path, text)| stored.put(path, *text));
    let config = kenning_promconfig::load(yaml.as_bytes()).unwrap();
    let (control, _stopper) = start_with(&node, config.scrape_configs, stored);
    let status = loop {
        let found = control.targets().statuses().into_iter().find(|one| one.health != Health::Unknown);
        // A machine that is busy can take longer than a scrape may.
        match found.filter(|status| !status.last_error.contains("timeout")) {
            Some(status) => break status,
            None => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
        }
    };
    match expect {
        Ok(()) => assert_eq!(status.last_error, "", "{yaml}"),
        Err(words) => {
            let error = &status.last_error;
            assert!(words.iter().any(|word| error.contains(word)), "{error:?} lacks {words:?} for {yaml}");
            assert_eq!(values(&node, "up").first(), Some(&Some(0.0)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_a_target_is_checked() {
    let (good, bad) = (Authority::new("good"), Authority::new("bad"));
    let pair = good.sign(&["127.0.0.1", "exporter.example"]);
    let (address, _) = secured(Server::of(&pair)).await;
    let files = [("/ca.pem", good.pair.cert.as_str()), ("/bad.pem", bad.pair.cert.as_str())];
    let unknown: Result<(), &[&str]> = Err(&["UnknownIssuer"]);
    for (tls, expect) in [
        ("{ca_file: /ca.pem}", Ok(())),
        ("{ca_file: /bad.pem}", unknown),
        ("{}", unknown),
        ("{insecure_skip_verify: true}", Ok(())),
        ("{ca_file: /none.pem}", Err(&["unable to read /none.pem"][..])),
        ("{ca_file: /ca.pem, server_name: exporter.example}", Ok(())),
        (
            "{ca_file: /ca.pem, server_name: other.example}",
            Err(&["not valid for name", "NotValidForName"][..]),
        ),
        ("{ca_file: /bad.pem, server_name: x, insecure_skip_verify: true}", Ok(())),
    ] {
        check(yaml(address, "https", &format!("tls_config: {tls}")), &files, expect).await;
    }
    let inline = format!("tls_config: {{ca: {:?}}}", good.pair.cert);
    check(yaml(address, "https", &inline), &files, Ok(())).await;
    check(yaml(address, "http", ""), &files, Err(&[""])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_signed_itself_is_its_own_authority() {
    let pair = self_signed(&["127.0.0.1"]);
    let (address, _) = secured(Server::of(&pair)).await;
    let other = self_signed(&["127.0.0.1"]);
    let files = [("/own.pem", pair.cert.as_str()), ("/other.pem", other.cert.as_str())];
    check(yaml(address, "https", "tls_config: {ca_file: /own.pem}"), &files, Ok(())).await;
    let refused: &[&str] = &["UnknownIssuer", "CaUsedAsEndEntity"];
    check(yaml(address, "https", "tls_config: {ca_file: /other.pem}"), &files, Err(refused)).await;
    let named = "tls_config: {ca_file: /own.pem, server_name: other.example}";
    check(yaml(address, "https", named), &files, Err(&["not valid for name", "NotValidForName"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_want_a_certificate_get_ours() {
    let authority = Authority::new("both");
    let (server, client) = (authority.sign(&["127.0.0.1"]), authority.sign(&["client"]));
    let strange = Authority::new("strange").sign(&["client"]);
    let wants = Server { client_ca: Some(&authority.pair.cert), ..Server::of(&server) };
    let (address, _) = secured(wants).await;
    let files = [
        ("/ca.pem", authority.pair.cert.as_str()),
        ("/c.pem", client.cert.as_str()),
        ("/c.key", client.key.as_str()),
        ("/s.pem", strange.cert.as_str()),
        ("/s.key", strange.key.as_str()),
    ];
    let with = |pair: &str| yaml(address, "https", &format!("tls_config: {{ca_file: /ca.pem{pair}}}"));
    check(with(", cert_file: /c.pem, key_file: /c.key"), &files, Ok(())).await;
    // What the server says can be lost with its connection.
    let refused: &[&str] = &["CertificateRequired", "certificate", "UnknownCA", "connection", "broken pipe"];
    check(with(""), &files, Err(refused)).await;
    check(with(", cert_file: /s.pem, key_file: /s.key"), &files, Err(refused)).await;
    check(with(", cert_file: /c.pem, key_file: /s.key"), &files, Err(&["client certificate"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_what_both_sides_allow() {
    let authority = Authority::new("a");
    let pair = authority.sign(&["127.0.0.1"]);
    static OLDER: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
    static NEWER: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
    let older = Server { versions: OLDER, ..Server::of(&pair) };
    let newer = Server { versions: NEWER, ..Server::of(&pair) };
    let ((older, _), (newer, _)) = (secured(older).await, secured(newer).await);
    let files = [("/ca.pem", authority.pair.cert.as_str())];
    let with = |address, versions: &str| {
        yaml(address, "https", &format!("tls_config: {{ca_file: /ca.pem, {versions}}}"))
    };
    let refused: Result<(), &[&str]> = Err(&["ProtocolVersion", "protocol version", "incompatible"]);
    check(with(older, "min_version: TLS12"), &files, Ok(())).await;
    check(with(older, "min_version: TLS13"), &files, refused).await;
    check(with(newer, "max_version: TLS12"), &files, refused).await;
    check(with(newer, "min_version: TLS10, max_version: TLS13"), &files, Ok(())).await;
    check(with(newer, "max_version: TLS11"), &files, Err(&["TLS 1.2 and 1.3 are spoken"])).await;
}

/// Scrapes once and gives what the server saw first.
async fn first_seen(seen: &Seen, yaml: String, files: &[(&str, &str)]) -> String {
    check(yaml, files, Ok(())).await;
    seen.lock().unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_where_both_can() {
    let authority = Authority::new("a");
    let pair = authority.sign(&["127.0.0.1"]);
    let files = [("/ca.pem", authority.pair.cert.as_str()), ("/token", "t0k3n\n")];
    let tls = "tls_config: {ca_file: /ca.pem}";
    for (alpn, more, expect) in [
        (
            &["h2", "http/1.1"][..],
            "authorization: {credentials_file: /token}",
            "HTTP/2.0 ADDRESS Bearer t0k3n -",
        ),
        (&["h2", "http/1.1"][..], "enable_http2: false", "HTTP/1.1 ADDRESS - -"),
        (&["http/1.1"][..], "http_headers: {X-Extra: {values: [v]}}", "HTTP/1.1 ADDRESS - v"),
        (&[][..], "basic_auth: {username: u, password: p}", "HTTP/1.1 ADDRESS Basic dTpw -"),
    ] {
        let (address, seen) = secured(Server { alpn, ..Server::of(&pair) }).await;
        let told = first_seen(&seen, yaml(address, "https", &format!("{tls}\n  {more}")), &files).await;
        assert_eq!(told, expect.replace("ADDRESS", &address.to_string()));
    }
}

/// A proxy that asks for a password, tunnels, and passes plain requests on.
async fn proxy() -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Seen::default());
    let all_seen = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = all_seen.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let text = |name: &str| {
                    let value = request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
                    value.unwrap_or_default()
                };
                let (user, extra) = (text("proxy-authorization"), text("x-proxy"));
                seen.lock().unwrap().push(format!("{} {} {user} {extra}", request.method(), request.uri()));
                async move { Ok::<_, std::convert::Infallible>(proxied(request, &user)) }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .with_upgrades();
            tokio::spawn(serving);
        }
    });
    (address, seen)
}

fn proxied(request: Request<Incoming>, user: &str) -> Response<Full<Bytes>> {
    if user != "Basic dTpw" {
        let refused = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        return Response::builder().status(refused).body(Full::default()).unwrap();
    }
    if request.method() != Method::CONNECT {
        return page("text/plain", "a 1\n");
    }
    let place = request.uri().to_string();
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(request).await.unwrap();
        let mut onward = TcpStream::connect(place).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(upgraded), &mut onward).await;
    });
    Response::new(Full::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_are_gone_through() {
    let authority = Authority::new("a");
    let pair = authority.sign(&["127.0.0.1"]);
    let files = [("/ca.pem", authority.pair.cert.as_str())];
    let (target, _) = secured(Server::of(&pair)).await;
    let (proxy, seen) = proxy().await;
    let url = format!("proxy_url: 'http://u:p@{proxy}'");
    // The proxy itself answers for a host that is nowhere.
    let plain = first_seen(&seen, yaml("nowhere.invalid:81", "http", &url), &files).await;
    assert_eq!(plain, "GET http://nowhere.invalid:81/metrics Basic dTpw ");
    seen.lock().unwrap().clear();
    let tls = format!("tls_config: {{ca_file: /ca.pem}}\n  {url}");
    let headers = format!("{tls}\n  proxy_connect_header: {{X-Proxy: [secret]}}");
    let tunnelled = first_seen(&seen, yaml(target, "https", &headers), &files).await;
    assert_eq!(tunnelled, format!("CONNECT {target} Basic dTpw secret"));
    let stranger = format!("tls_config: {{ca_file: /ca.pem}}\n  proxy_url: 'http://{proxy}'");
    let refused: &[&str] = &["refused a tunnel with HTTP status 407"];
    check(yaml(target, "https", &stranger), &files, Err(refused)).await;
    seen.lock().unwrap().clear();
    check(yaml(target, "https", &format!("{tls}\n  no_proxy: nothing.example")), &files, Ok(())).await;
    assert!(
        seen.lock().unwrap().is_empty(),
        "the machine itself is asked directly once exceptions are named"
    );
}
