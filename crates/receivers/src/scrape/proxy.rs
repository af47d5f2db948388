//! Which proxy a request goes through. Definition of truth: Prometheus `proxy_url`, `no_proxy` and
//! `proxy_from_environment`, which are Go's `net/http` and `golang.org/x/net/http/httpproxy`.
//!
//! Promises: `proxy_url` alone holds for everything; with `no_proxy`, or out of the environment, the machine itself is
//! always asked directly. Proxies are spoken to over HTTP or HTTPS. Lacking: SOCKS (refused by name), host names outside
//! ASCII in `no_proxy`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::net::IpAddr;
use std::sync::Arc;

use kenning_promconfig::Proxy;

use super::client::Place;

/// What the environment says of proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyVariables {
    /// `HTTP_PROXY`: for targets without TLS.
    pub http: String,
    /// `HTTPS_PROXY`: for targets with TLS.
    pub https: String,
    /// `NO_PROXY`: what is asked directly.
    pub no_proxy: String,
}

impl ProxyVariables {
    /// Those of an environment; names in capitals come first.
    #[must_use]
    pub fn of(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let full = |name: &str| variable(name).filter(|value| !value.is_empty());
            full(name).or_else(|| full(&name.to_ascii_lowercase())).unwrap_or_default()
        };
        Self { http: either("HTTP_PROXY"), https: either("HTTPS_PROXY"), no_proxy: either("NO_PROXY") }
    }
}

/// A proxy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProxyServer {
    /// Where it is.
    pub place: Place,
    /// `Proxy-Authorization`, when its URL has a user.
    pub authorization: Option<String>,
}

impl ProxyServer {
    fn of_url(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        if !matches!(scheme, "http" | "https") {
            return Err(format!("a proxy of scheme {scheme:?} is not supported; use http or https"));
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        // Said without the URL, which may hold a password.
        let place =
            Place::new(scheme, address, "/").map_err(|_| "the proxy's URL names no host".to_owned())?;
        let authorization = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let pair = [unescaped(name), b":".to_vec(), unescaped(password)].concat();
            format!("Basic {}", STANDARD.encode(&pair))
        });
        Ok(Self { place, authorization })
    }
}

/// Percent escapes undone.
fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = (byte == b'%').then(|| tail.get(..2)).flatten();
        let escaped = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    out
}

/// The proxies of one HTTP client.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    http: Option<Arc<ProxyServer>>,
    https: Option<Arc<ProxyServer>>,
    /// What is asked directly; `None` when nothing is, not even the machine itself.
    exempt: Option<Exempt>,
}

impl Proxies {
    /// Those of a configuration. An error names what does not work.
    pub fn new(config: &Proxy, environment: &ProxyVariables) -> Result<Self, String> {
        if config.from_environment {
            // As in Go, a variable that is no URL counts as none.
            let read =
                |url: &str| (!url.is_empty()).then(|| ProxyServer::of_url(url).ok().map(Arc::new)).flatten();
            let exempt = Some(Exempt::read(&environment.no_proxy));
            return Ok(Self { http: read(&environment.http), https: read(&environment.https), exempt });
        }
        let Some(url) = &config.url else { return Ok(Self::default()) };
        let server = Arc::new(ProxyServer::of_url(&url.0)?);
        let exempt = (!config.no_proxy.is_empty()).then(|| Exempt::read(&config.no_proxy));
        Ok(Self { http: Some(server.clone()), https: Some(server), exempt })
    }

    /// The proxy for a place; `None` when it is asked directly.
    pub fn of(&self, place: &Place) -> Option<&Arc<ProxyServer>> {
        let server = if place.https { &self.https } else { &self.http }.as_ref()?;
        let direct = self.exempt.as_ref().is_some_and(|exempt| exempt.covers(&place.host, place.port));
        (!direct).then_some(server)
    }
}

/// Hosts that are asked directly.
#[derive(Debug, Default, PartialEq, Eq)]
struct Exempt {
    everything: bool,
    rules: Vec<(What, Option<u16>)>,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Address(IpAddr),
    Network(IpAddr, u8),
    /// A domain with its dot in front; hosts below it, and the domain itself when that is said.
    Domain {
        suffix: String,
        itself: bool,
    },
}

impl Exempt {
    fn read(list: &str) -> Self {
        let mut exempt = Self::default();
        for entry in list.split(',').map(|entry| entry.trim().to_ascii_lowercase()) {
            match entry.as_str() {
                "" => {}
                "*" => return Self { everything: true, rules: Vec::new() },
                entry => exempt.rules.extend(rule(entry)),
            }
        }
        exempt
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        let own = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        let meets = |(what, only): &(What, Option<u16>)| match (what, address) {
            (What::Address(known), Some(address)) => {
                *known == address && only.is_none_or(|only| only == port)
            }
            (What::Network(network, bits), Some(address)) => within(*network, *bits, address),
            (What::Domain { suffix, itself }, None) => {
                let below = host.ends_with(suffix.as_str());
                let domain = *itself && suffix.strip_prefix('.') == Some(host.as_str());
                (below || domain) && only.is_none_or(|only| only == port)
            }
            _ => false,
        };
        self.everything || own || self.rules.iter().any(meets)
    }
}

fn rule(entry: &str) -> Option<(What, Option<u16>)> {
    if let Some((network, bits)) = entry.split_once('/')
        && let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse())
    {
        return Some((What::Network(network, bits), None));
    }
    let (host, port) = match entry.rsplit_once(':') {
        // More colons are an address of version 6, unless brackets hold it.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
        _ => (entry, None),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = host.parse() {
        return Some((What::Address(address), port));
    }
    let host = if host.starts_with("*.") { host.get(1..)? } else { host };
    let itself = !host.starts_with('.');
    let suffix = if itself { format!(".{host}") } else { host.to_owned() };
    (!host.is_empty()).then_some((What::Domain { suffix, itself }, port))
}

/// Whether an address is in a network of `bits` leading bits.
fn within(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let same = |network: u128, address: u128, width: u32| {
        let host_bits = width.saturating_sub(u32::from(bits));
        network.checked_shr(host_bits) == address.checked_shr(host_bits)
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            same(network.to_bits().into(), address.to_bits().into(), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => same(network.to_bits(), address.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_promconfig::Secret;

    fn proxies(url: &str, no_proxy: &str) -> Proxies {
        let config =
            Proxy { url: Some(Secret(url.to_owned())), no_proxy: no_proxy.to_owned(), ..Proxy::default() };
        Proxies::new(&config, &ProxyVariables::default()).unwrap()
    }

    #[track_caller]
    fn check(no_proxy: &str, url: &str, direct: bool) {
        let place = Place::of_url(url).unwrap();
        assert_eq!(proxies("http://p:3128", no_proxy).of(&place).is_none(), direct, "{no_proxy} {url}");
    }

    #[test]
    fn what_is_asked_directly() {
        for url in ["http://localhost/", "http://127.0.0.1:9/", "https://a.b/"] {
            check("", url, false);
            check("*", url, true);
        }
        for (no_proxy, direct, through) in [
            ("x", "http://localhost/", "http://localhost.x.y/"),
            ("x", "http://127.9.0.1/", "http://10.0.0.1/"),
            ("x", "http://[::1]:9/", "http://[::2]/"),
            ("example.com", "http://example.com/", "http://badexample.com/"),
            ("example.com", "http://a.Example.com:8/", "http://example.org/"),
            (".example.com", "http://a.example.com/", "http://example.com/"),
            ("*.example.com", "http://a.example.com/", "http://example.com/"),
            ("a, b:81", "http://b:81/", "http://b:82/"),
            ("b:443", "https://b/", "http://b/"),
            ("10.0.0.0/8", "http://10.1.2.3:4/", "http://11.1.2.3/"),
            ("10.0.0.1:80", "http://10.0.0.1/", "http://10.0.0.1:81/"),
            ("[fd00::1]:80", "http://[fd00::1]/", "http://[fd00::1]:81/"),
            ("fd00::/16", "http://[fd00::9]/", "http://[fe00::9]/"),
            ("0.0.0.0/0", "http://9.9.9.9/", "http://name/"),
        ] {
            check(no_proxy, direct, true);
            check(no_proxy, through, false);
        }
    }

    #[test]
    fn urls_of_proxies() {
        for (url, authority, authorization) in [
            ("http://p:3128", "p:3128", None),
            ("https://p/ignored", "p", None),
            ("p:3128", "p:3128", None),
            ("http://u:p%40ss@p:1", "p:1", Some("Basic dTpwQHNz")),
            ("http://u@p:1", "p:1", Some("Basic dTo=")),
        ] {
            let server = ProxyServer::of_url(url).unwrap();
            assert_eq!(
                (server.place.authority.as_str(), server.authorization.as_deref()),
                (authority, authorization)
            );
        }
        assert!(ProxyServer::of_url("socks5://p:1").unwrap_err().contains("socks5"));
        assert!(ProxyServer::of_url("http://u:secret@/").is_err_and(|error| !error.contains("secret")));
    }

    #[test]
    fn the_environment_tells() {
        let variables = ProxyVariables::of(&|name| match name {
            "HTTP_PROXY" => Some("plain:1".to_owned()),
            "https_proxy" => Some("http://tls:2".to_owned()),
            "no_proxy" => Some("x".to_owned()),
            _ => None,
        });
        let config = Proxy { from_environment: true, ..Proxy::default() };
        let proxies = Proxies::new(&config, &variables).unwrap();
        let of =
            |url: &str| proxies.of(&Place::of_url(url).unwrap()).map(|proxy| proxy.place.authority.clone());
        assert_eq!(of("http://a/").as_deref(), Some("plain:1"));
        assert_eq!(of("https://a/").as_deref(), Some("tls:2"));
        assert_eq!((of("http://x/"), of("http://localhost/")), (None, None));
    }
}
