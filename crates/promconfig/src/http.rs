//! How HTTP is spoken to a target or a service: authentication, TLS, proxies, headers. Definition: Prometheus
//! `http_config` and `tls_config`.

use std::fmt;

use crate::fields::{Fields, Log, text};
use crate::units::{self, Url};
use crate::yaml::{self, Content, Node};

/// A text that must not be shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Where a value is: written out, or in a file that is read whenever it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the configuration.
    Inline(Secret),
    /// In this file; blanks around it do not count.
    File(String),
}

/// User and password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasicAuth {
    /// Who.
    pub username: Option<Source>,
    /// The password.
    pub password: Option<Source>,
}

/// The `Authorization` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The word before the credentials, `Bearer` by default.
    pub scheme: String,
    /// The credentials.
    pub credentials: Option<Source>,
}

/// TLS towards a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates to trust instead of the usual ones, as PEM.
    pub ca: Option<Source>,
    /// Our certificate, as PEM.
    pub cert: Option<Source>,
    /// Its key, as PEM.
    pub key: Option<Source>,
    /// The name that the server's certificate must have; the host's when empty.
    pub server_name: String,
    /// Takes any certificate.
    pub insecure_skip_verify: bool,
    /// Lowest version, such as `TLS12`.
    pub min_version: Option<String>,
    /// Highest version.
    pub max_version: Option<String>,
}

/// A header that is added to requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its values.
    pub values: Vec<Source>,
}

/// Tokens that a server hands out. Definition: Prometheus `oauth2`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OAuth2 {
    /// Who asks.
    pub client_id: String,
    /// The secret that it asks with.
    pub client_secret: Option<Source>,
    /// Where it asks.
    pub token_url: String,
    /// What for.
    pub scopes: Vec<String>,
    /// More parameters.
    pub endpoint_params: Vec<(String, String)>,
    /// TLS towards the token's server.
    pub tls: Tls,
    /// The proxy before it.
    pub proxy: Proxy,
    /// Asks with a signed token of its own (RFC 7523) and not with a secret.
    pub signs: bool,
}

/// Which proxy requests go through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// Its URL, a password included.
    pub url: Option<Secret>,
    /// The variables `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` of the environment tell.
    pub from_environment: bool,
    /// What is asked directly: hosts, domains, addresses and networks, separated by commas.
    pub no_proxy: String,
    /// Headers for the proxy itself when it is asked for a tunnel.
    pub connect_headers: Vec<(String, Vec<Secret>)>,
}

/// An HTTP client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpClient {
    /// User and password.
    pub basic_auth: Option<BasicAuth>,
    /// A token.
    pub authorization: Option<Authorization>,
    /// Tokens fetched from a server.
    pub oauth2: Option<Box<OAuth2>>,
    /// TLS.
    pub tls: Tls,
    /// Follows redirects.
    pub follow_redirects: bool,
    /// May speak HTTP/2 over TLS.
    pub enable_http2: bool,
    /// Which proxy requests go through.
    pub proxy: Proxy,
    /// Headers to add.
    pub headers: Vec<Header>,
}

impl Default for HttpClient {
    fn default() -> Self {
        Self {
            basic_auth: None,
            authorization: None,
            oauth2: None,
            tls: Tls::default(),
            follow_redirects: true,
            enable_http2: true,
            proxy: Proxy::default(),
            headers: Vec::new(),
        }
    }
}

impl HttpClient {
    /// Every file this client reads.
    #[must_use]
    pub fn files(&self) -> Vec<&str> {
        let basic = self.basic_auth.iter().flat_map(|auth| [&auth.username, &auth.password]).flatten();
        let token = self.authorization.iter().filter_map(|auth| auth.credentials.as_ref());
        let tls = [&self.tls.ca, &self.tls.cert, &self.tls.key].into_iter().flatten();
        let headers = self.headers.iter().flat_map(|header| &header.values);
        let tokens = self.oauth2.iter().flat_map(|oauth2| {
            let tls = &oauth2.tls;
            [&oauth2.client_secret, &tls.ca, &tls.cert, &tls.key].into_iter().flatten()
        });
        let all = basic.chain(token).chain(tls).chain(headers).chain(tokens);
        all.filter_map(|source| match source {
            Source::File(path) => Some(path.as_str()),
            Source::Inline(_) => None,
        })
        .collect()
    }
}

impl HttpClient {
    /// Every file this client reads, to be changed.
    pub(crate) fn files_mut(&mut self) -> Vec<&mut String> {
        let basic = self.basic_auth.iter_mut().flat_map(|auth| [&mut auth.username, &mut auth.password]);
        let token = self.authorization.iter_mut().map(|auth| &mut auth.credentials);
        let tls = [&mut self.tls.ca, &mut self.tls.cert, &mut self.tls.key];
        let headers = self.headers.iter_mut().flat_map(|header| &mut header.values);
        let tokens = self.oauth2.iter_mut().flat_map(|oauth2| {
            let OAuth2 { client_secret, tls, .. } = &mut **oauth2;
            [client_secret, &mut tls.ca, &mut tls.cert, &mut tls.key]
        });
        let all = basic.chain(token).chain(tls).chain(tokens).flatten().chain(headers);
        all.filter_map(|source| match source {
            Source::File(path) => Some(path),
            Source::Inline(_) => None,
        })
        .collect()
    }
}

/// `<name>` and `<name>_file` and `<name>_ref` of a mapping; how many of them are not empty.
fn source(fields: &Fields<'_>, name: &str, file: &str, reference: &str) -> (Option<Source>, usize) {
    let inline = fields.text_or_empty(name);
    let file = fields.text_or_empty(file);
    let reference = fields.text_or_empty(reference);
    let count = [&inline, &file, &reference].into_iter().filter(|text| !text.is_empty()).count();
    let source = match (inline.is_empty(), file.is_empty()) {
        (false, _) => Some(Source::Inline(Secret(inline))),
        (true, false) => Some(Source::File(file)),
        (true, true) => None,
    };
    (source, count)
}

/// Reads the fields of an HTTP client out of the mapping that they are written in.
pub(crate) fn read_client(fields: &Fields<'_>) -> HttpClient {
    let (bearer, bearers) = source(fields, "bearer_token", "bearer_token_file", "");
    let basic_auth = fields.map("basic_auth", "config.plain").map(|inner| read_basic(inner, fields));
    let oauth2 = fields.map("oauth2", "config.plain").map(|inner| read_oauth2(inner, fields));
    let written = fields.map("authorization", "config.Authorization");
    let has_authorization = written.is_some();
    if bearers > 1 {
        fields.wrong("at most one of bearer_token & bearer_token_file must be configured");
    }
    if bearers > 0 && (basic_auth.is_some() || oauth2.is_some()) {
        fields
            .wrong("at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured");
    }
    let authorization = match written {
        Some(inner) => Some(read_authorization(inner, fields, bearers > 0)),
        None => bearer
            .map(|credentials| Authorization { scheme: "Bearer".to_owned(), credentials: Some(credentials) }),
    };
    let several = (has_authorization && (basic_auth.is_some() || oauth2.is_some()))
        || (oauth2.is_some() && basic_auth.is_some());
    if several {
        fields.wrong("at most one of basic_auth, oauth2 & authorization must be configured");
    }
    HttpClient {
        basic_auth,
        authorization,
        oauth2: oauth2.map(Box::new),
        tls: read_tls(fields, "tls_config"),
        follow_redirects: fields.boolean("follow_redirects").unwrap_or(true),
        enable_http2: fields.boolean("enable_http2").unwrap_or(true),
        proxy: read_proxy(fields),
        headers: read_headers(fields),
    }
}

fn read_basic(inner: Fields<'_>, outer: &Fields<'_>) -> BasicAuth {
    let (username, names) = source(&inner, "username", "username_file", "username_ref");
    let (password, passwords) = source(&inner, "password", "password_file", "password_ref");
    inner.finish();
    if names > 1 {
        outer.wrong("at most one of basic_auth username, username_file & username_ref must be configured");
    }
    if passwords > 1 {
        outer.wrong("at most one of basic_auth password, password_file & password_ref must be configured");
    }
    BasicAuth { username, password }
}

fn read_authorization(inner: Fields<'_>, outer: &Fields<'_>, bearer: bool) -> Authorization {
    let scheme = inner.text_or_empty("type").trim().to_owned();
    let (credentials, count) = source(&inner, "credentials", "credentials_file", "credentials_ref");
    inner.finish();
    if bearer {
        outer.wrong("authorization is not compatible with bearer_token & bearer_token_file");
    }
    if count > 1 {
        outer.wrong("at most one of authorization credentials & credentials_file must be configured");
    }
    if scheme.eq_ignore_ascii_case("basic") {
        outer.wrong("authorization type cannot be set to \"basic\", use \"basic_auth\" instead");
    }
    let scheme = if scheme.is_empty() { "Bearer".to_owned() } else { scheme };
    Authorization { scheme, credentials }
}

const JWT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

fn read_oauth2(inner: Fields<'_>, outer: &Fields<'_>) -> OAuth2 {
    let client_id = inner.text_or_empty("client_id");
    let (client_secret, secrets) = source(&inner, "client_secret", "client_secret_file", "client_secret_ref");
    let (_, keys) =
        source(&inner, "client_certificate_key", "client_certificate_key_file", "client_certificate_key_ref");
    let grant = inner.text_or_empty("grant_type");
    let algorithm = inner.text_or_empty("signature_algorithm");
    let token_url = inner.text_or_empty("token_url");
    for name in ["client_certificate_key_id", "iss", "audience"] {
        let _ = inner.text(name);
    }
    let _ = inner.get("claims");
    let (scopes, endpoint_params) = (inner.texts("scopes"), inner.text_map("endpoint_params"));
    let (tls, proxy) = (read_tls(&inner, "tls_config"), read_proxy(&inner));
    inner.finish();
    if client_id.is_empty() {
        outer.wrong("oauth2 client_id must be configured");
    }
    if token_url.is_empty() {
        outer.wrong("oauth2 token_url must be configured");
    }
    if grant == JWT {
        if keys > 1 {
            outer.wrong(format!(
                "at most one of oauth2 client_certificate_key, client_certificate_key_file & \
                 client_certificate_key_ref must be configured using grant-type={JWT}"
            ));
        }
        if !matches!(algorithm.as_str(), "" | "RS256" | "RS384" | "RS512") {
            outer.wrong("valid signature algorithms are RS256, RS384 and RS512");
        }
    } else if secrets > 1 {
        outer.wrong(
            "at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured using \
             grant-type=client_credentials",
        );
    }
    let signs = grant == JWT;
    OAuth2 { client_id, client_secret, token_url, scopes, endpoint_params, tls, proxy, signs }
}

/// Reads TLS settings from the field `name`.
pub(crate) fn read_tls(fields: &Fields<'_>, name: &str) -> Tls {
    let Some(inner) = fields.map(name, "config.plain") else { return Tls::default() };
    let (ca, cas) = source(&inner, "ca", "ca_file", "ca_ref");
    let (cert, certs) = source(&inner, "cert", "cert_file", "cert_ref");
    let (key, keys) = source(&inner, "key", "key_file", "key_ref");
    let version = |name: &str| {
        let version = inner.text(name).filter(|version| !version.is_empty())?;
        if !matches!(version.as_str(), "TLS10" | "TLS11" | "TLS12" | "TLS13") {
            inner.wrong(format!("unknown TLS version: {version}"));
        }
        Some(version)
    };
    let tls = Tls {
        ca,
        cert,
        key,
        server_name: inner.text_or_empty("server_name"),
        insecure_skip_verify: inner.boolean("insecure_skip_verify").unwrap_or(false),
        min_version: version("min_version"),
        max_version: version("max_version"),
    };
    if cas > 1 {
        inner.wrong("at most one of ca, ca_file & ca_ref must be configured");
    }
    if certs > 1 {
        inner.wrong("at most one of cert, cert_file & cert_ref must be configured");
    }
    if keys > 1 {
        inner.wrong("at most one of key and key_file must be configured");
    }
    if certs > 0 && keys == 0 {
        inner.wrong(
            "exactly one of key or key_file must be configured when a client certificate is configured",
        );
    }
    if keys > 0 && certs == 0 {
        inner.wrong("exactly one of cert or cert_file must be configured when a client key is configured");
    }
    inner.finish();
    tls
}

/// A field that must hold a URL; the text and its parts.
pub(crate) fn read_url(fields: &Fields<'_>, name: &str) -> Option<(String, Url)> {
    let node = fields.some(name)?;
    let text = text(node, fields.log())?;
    match units::url(&text) {
        Ok(url) => Some((text, url)),
        Err(message) => {
            fields.log().note(Some(node.mark.line), message);
            None
        }
    }
}

fn read_proxy(fields: &Fields<'_>) -> Proxy {
    let url = read_url(fields, "proxy_url").map(|(text, _)| text);
    let url_is_set = url.as_ref().is_some_and(|url| !url.is_empty());
    let from_environment = fields.boolean("proxy_from_environment").unwrap_or(false);
    let no_proxy = fields.text_or_empty("no_proxy");
    let headers = fields.map("proxy_connect_header", "config.ProxyHeader");
    let connect_headers: Vec<(String, Vec<Secret>)> = headers.map_or_else(Vec::new, |headers| {
        let values = |value| list(value, headers.log()).into_iter().map(Secret).collect();
        headers.rest().map(|(name, _, value)| (name.to_owned(), values(value))).collect()
    });
    if !connect_headers.is_empty() && !from_environment && !url_is_set {
        fields.wrong(
            "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured",
        );
    }
    if from_environment && url_is_set {
        fields.wrong("if proxy_from_environment is configured, proxy_url must not be configured");
    }
    if from_environment && !no_proxy.is_empty() {
        fields.wrong("if proxy_from_environment is configured, no_proxy must not be configured");
    } else if url.is_none() && !no_proxy.is_empty() {
        fields.wrong("if no_proxy is configured, proxy_url must also be configured");
    }
    Proxy { url: url.filter(|url| !url.is_empty()).map(Secret), from_environment, no_proxy, connect_headers }
}

fn list(node: &Node, log: &Log) -> Vec<String> {
    match &node.content {
        Content::Sequence(items) => items.iter().filter_map(|item| text(item, log)).collect(),
        _ => {
            log.note(
                Some(node.mark.line),
                format!("cannot unmarshal {} into []config.Secret", yaml::tag(node)),
            );
            Vec::new()
        }
    }
}

/// Headers that Kenning sets itself, or that change the connection.
const RESERVED: [&str; 18] = [
    "Authorization",
    "Host",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "User-Agent",
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Www-Authenticate",
    "Accept-Encoding",
    "X-Prometheus-Remote-Write-Version",
    "X-Prometheus-Remote-Read-Version",
    "X-Prometheus-Scrape-Timeout-Seconds",
    "X-Amz-Date",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
];

fn read_headers(fields: &Fields<'_>) -> Vec<Header> {
    let Some(inner) = fields.map("http_headers", "config.Headers") else { return Vec::new() };
    let mut headers = Vec::new();
    for (name, _, value) in inner.rest() {
        if let Some(reserved) = RESERVED.iter().find(|known| known.eq_ignore_ascii_case(name)) {
            fields.wrong(format!("setting header {reserved:?} is not allowed"));
        }
        let Some(header) = Fields::open(value, "config.Header", fields.log()) else { continue };
        let inline = |name: &str| header.texts(name).into_iter().map(|text| Source::Inline(Secret(text)));
        let values = inline("values").chain(inline("secrets"));
        let values = values.chain(header.texts("files").into_iter().map(Source::File)).collect();
        headers.push(Header { name: name.to_owned(), values });
        header.finish();
    }
    headers
}

/// Notes headers of a remote endpoint that may not be set by hand.
pub(crate) fn check_remote_headers(fields: &Fields<'_>, authorization: &str) -> Vec<(String, String)> {
    let headers = fields.text_map("headers");
    for (name, _) in &headers {
        let lower = name.to_lowercase();
        let reserved = lower != "x-prometheus-scrape-timeout-seconds"
            && RESERVED.iter().any(|known| known.eq_ignore_ascii_case(&lower));
        if lower == "authorization" {
            fields.wrong(authorization);
        } else if reserved {
            fields.wrong(format!("{name} is a reserved header. It must not be changed"));
        }
    }
    headers
}
