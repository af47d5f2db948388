//! TLS of listeners whose protocols are not HTTP: syslog (RFC 5425) and Fluent forward.
//!
//! Promises: TLS 1.2 and 1.3 only; a handshake has [`HANDSHAKE_TIME`]; with a file of client authorities, whoever has no
//! certificate of theirs is turned away. Renewed certificates are taken up within [`CHECK_EVERY`] by new connections; while
//! the files cannot be used, the last good ones stay in use and a warning says why. Lacking: revocation lists, names picked by SNI.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kenning_stdx::clock::Clock;
use kenning_stdx::files::Files;
use kenning_stdx::net::BoxStream;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;

/// For a handshake, from the opening of the connection.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long files are trusted to be what they were.
pub const CHECK_EVERY: Duration = Duration::from_secs(30);
/// Most bytes of a file with certificates.
const PEM_BYTES_MAX: usize = 1 << 20;

/// Paths of PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, then those between it and its authority.
    pub cert: String,
    /// The certificate's key.
    pub key: String,
    /// Authorities of which clients must have a certificate; empty: clients need none.
    pub client_ca: String,
}

impl TlsFiles {
    /// True when nothing is set: no TLS.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why TLS cannot be spoken.
#[derive(Debug)]
pub struct TlsError {
    /// The file.
    path: String,
    /// What is wrong with it.
    reason: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

impl std::error::Error for TlsError {}

/// Contents of the files.
#[derive(PartialEq, Eq)]
struct Material {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

struct Current {
    material: Material,
    config: Arc<ServerConfig>,
    checked: Duration,
    /// Why the files could not be used when they were last looked at; told once.
    refused: Option<String>,
}

impl Current {
    fn renew(&mut self, paths: &TlsFiles, looked: Result<Material, TlsError>) {
        let renewed = looked.and_then(|material| {
            let is_new = material != self.material;
            is_new.then(|| configured(paths, &material).map(|config| (material, config))).transpose()
        });
        let refused = match renewed {
            Ok(renewed) => {
                if let Some((material, config)) = renewed {
                    (self.material, self.config) = (material, config);
                    tracing::info!(cert = paths.cert, "a renewed certificate is in use");
                }
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = refused.as_ref().filter(|why| self.refused.as_ref() != Some(why)) {
            tracing::warn!(error = why, "certificates cannot be renewed; those of before stay in use");
        }
        self.refused = refused;
    }
}

struct Inner {
    paths: TlsFiles,
    files: Arc<dyn Files>,
    clock: Arc<dyn Clock>,
    current: Mutex<Current>,
}

/// Speaks the server's side of TLS. Cloning shares it.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

/// Tells what is wrong with the files, as [`Tls::new`] would.
///
/// # Errors
///
/// As there.
pub fn check(paths: &TlsFiles, files: &dyn Files) -> Result<(), TlsError> {
    configured(paths, &read(paths, files)?).map(drop)
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// A file that is missing, too long (1 MiB), without what it should hold, or a key that is not the certificate's.
    pub fn new(paths: TlsFiles, files: Arc<dyn Files>, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let material = read(&paths, &*files)?;
        let config = configured(&paths, &material)?;
        let current = Mutex::new(Current { material, config, checked: clock.steady(), refused: None });
        Ok(Self(Arc::new(Inner { paths, files, clock, current })))
    }

    /// Makes the handshake over a connection that was accepted; the cause when that fails.
    pub async fn accept(&self, stream: BoxStream) -> Result<BoxStream, &'static str> {
        let acceptor = TlsAcceptor::from(self.config().await);
        match tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(_)) => Err("tls"),
            Err(_) => Err("slow_handshake"),
        }
    }

    async fn config(&self) -> Arc<ServerConfig> {
        let inner = &self.0;
        let mut current = inner.current.lock().await;
        let now = inner.clock.steady();
        if now.saturating_sub(current.checked) < CHECK_EVERY {
            return current.config.clone();
        }
        current.checked = now;
        let this = Arc::clone(inner);
        if let Ok(looked) = tokio::task::spawn_blocking(move || read(&this.paths, &*this.files)).await {
            current.renew(&inner.paths, looked);
        }
        current.config.clone()
    }
}

fn read(paths: &TlsFiles, files: &dyn Files) -> Result<Material, TlsError> {
    let read = |path: &str| {
        files
            .read(path, PEM_BYTES_MAX)
            .map_err(|error| TlsError { path: path.to_owned(), reason: error.to_string() })
    };
    let client_ca = if paths.client_ca.is_empty() { None } else { Some(read(&paths.client_ca)?) };
    Ok(Material { cert: read(&paths.cert)?, key: read(&paths.key)?, client_ca })
}

fn configured(paths: &TlsFiles, material: &Material) -> Result<Arc<ServerConfig>, TlsError> {
    let wrong = |path: &str, reason: String| TlsError { path: path.to_owned(), reason };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&paths.cert, error.to_string()))?;
    let builder = match &material.client_ca {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let roots = certificates(&paths.client_ca, pem)?;
            let mut store = RootCertStore::empty();
            for root in roots {
                store.add(root).map_err(|error| wrong(&paths.client_ca, error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| wrong(&paths.client_ca, error.to_string()))?,
            )
        }
    };
    let chain = certificates(&paths.cert, &material.cert)?;
    let key = PrivateKeyDer::from_pem_slice(&material.key)
        .map_err(|error| wrong(&paths.key, format!("no private key in PEM: {error}")))?;
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|error| wrong(&paths.key, error.to_string()))?;
    // Senders of logs never read. Tickets would lie unread when they close, and a socket closed with bytes unread is reset,
    // which takes the last messages with it.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn certificates(path: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |reason: String| TlsError { path: path.to_owned(), reason };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() { Err(wrong("no certificate in PEM".to_owned())) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io;

    use kenning_stdx::clock::{SimClock, SystemClock};
    use kenning_stdx::files::MemFiles;

    use super::*;

    struct Memory(BTreeMap<&'static str, &'static [u8]>);

    impl Files for Memory {
        fn read(&self, path: &str, _: usize) -> io::Result<Vec<u8>> {
            self.0.get(path).map(|bytes| bytes.to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }

        fn exists(&self, path: &str) -> bool {
            self.0.contains_key(path)
        }

        fn glob(&self, _: &str) -> Vec<String> {
            Vec::new()
        }
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let files = Arc::new(Memory(BTreeMap::from([("empty", &b""[..]), ("text", b"hello")])));
        let check = |cert: &str, key: &str, client_ca: &str, expect: &str| {
            let paths = TlsFiles { cert: cert.into(), key: key.into(), client_ca: client_ca.into() };
            let error = Tls::new(paths, files.clone(), Arc::new(SystemClock::new())).err().unwrap();
            assert!(error.to_string().starts_with(expect), "{error}");
        };
        check("none", "empty", "", "none: ");
        check("empty", "none", "", "none: ");
        check("empty", "empty", "", "empty: no certificate in PEM");
        check("empty", "text", "text", "text: no certificate in PEM");
    }

    /// A certificate that signed itself, and its key.
    fn pair() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    /// Whether who trusts only `cert` can connect.
    async fn trusts(tls: &Tls, cert: &str) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        let (near, far) = tokio::io::duplex(1 << 16);
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let (client, _) = tokio::join!(connector.connect(name, near), tls.accept(Box::new(far)));
        client.is_ok()
    }

    #[tokio::test]
    async fn renewed_certificates_are_taken_up_without_a_restart() {
        let (files, clock) = (Arc::new(MemFiles::default()), Arc::new(SimClock::new(0)));
        let put = |(cert, key): &(String, String)| {
            files.put("/cert", cert.as_str());
            files.put("/key", key.as_str());
        };
        let (first, second, third) = (pair(), pair(), pair());
        put(&first);
        let paths = TlsFiles { cert: "/cert".to_owned(), key: "/key".to_owned(), ..TlsFiles::default() };
        let tls = Tls::new(paths, files.clone(), clock.clone()).unwrap();
        assert!(trusts(&tls, &first.0).await && !trusts(&tls, &second.0).await);
        put(&second);
        assert!(trusts(&tls, &first.0).await, "files are looked at every {CHECK_EVERY:?}");
        clock.advance(CHECK_EVERY);
        assert!(trusts(&tls, &second.0).await && !trusts(&tls, &first.0).await);
        // Half a renewal: the key is not the certificate's. Then the file is cut off, then gone.
        for broken in [Some(third.0.as_str()), Some("-----BEGIN"), None] {
            match broken {
                Some(text) => files.put("/cert", text),
                None => files.remove("/cert"),
            }
            clock.advance(CHECK_EVERY);
            assert!(trusts(&tls, &second.0).await, "{broken:?}");
        }
        put(&third);
        clock.advance(CHECK_EVERY);
        assert!(trusts(&tls, &third.0).await && !trusts(&tls, &second.0).await);
    }
}
