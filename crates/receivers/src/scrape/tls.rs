//! TLS towards targets: certificates read when a connection is made, so that renewed ones are taken up. Without a
//! `ca_file` those count that the machine trusts, and Mozilla's where the machine has none.

use std::sync::Arc;

use kenning_promconfig::{Source, Tls};
use kenning_stdx::files::Files;
use kenning_stdx::net::BoxStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

/// Most bytes of a file with certificates.
const PEM_BYTES_MAX: usize = 16 << 20;

/// What webpki says of an authority's certificate that a server shows as its own.
const AUTHORITY_AS_SERVER: &str = "CaUsedAsEndEntity";
/// Where machines keep the certificates that they trust; the first that is there counts. Definition: Go `crypto/x509`.
const SYSTEM_ROOTS: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// TLS as one client speaks it.
pub(super) struct Cache {
    tls: Tls,
    made: Mutex<Option<Made>>,
}

/// What the last configuration was made of, and the configuration.
struct Made {
    material: Material,
    /// For HTTP/1.1 alone.
    plain: Arc<ClientConfig>,
    /// For whatever both sides can.
    either: Arc<ClientConfig>,
}

/// Certificates and key as PEM.
#[derive(Clone, PartialEq, Eq)]
struct Material {
    ca: Option<Vec<u8>>,
    /// Those of the machine, where no others are given.
    system: Option<Vec<u8>>,
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl Cache {
    pub const fn new(tls: Tls) -> Self {
        Self { tls, made: Mutex::const_new(None) }
    }

    /// Speaks TLS over a connection to `host`; true when HTTP/2 is spoken over it.
    pub async fn connect(
        &self,
        stream: BoxStream,
        host: &str,
        files: &Arc<dyn Files>,
        http2: bool,
    ) -> Result<(BoxStream, bool), String> {
        let config = self.config(files, http2).await?;
        let name = if self.tls.server_name.is_empty() { host } else { &self.tls.server_name };
        let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|error| format!("tls: {error}"))?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        let stream = connected.map_err(|error| format!("tls: {error}"))?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(stream), is_http2))
    }

    async fn config(&self, files: &Arc<dyn Files>, http2: bool) -> Result<Arc<ClientConfig>, String> {
        let (tls, files) = (self.tls.clone(), files.clone());
        let read = tokio::task::spawn_blocking(move || material(&tls, &*files));
        let material = read.await.map_err(|error| error.to_string())??;
        let mut made = self.made.lock().await;
        let usable = made.take().filter(|made| made.material == material);
        let current = match usable {
            Some(current) => current,
            None => Made::new(&self.tls, material)?,
        };
        let config = if http2 { current.either.clone() } else { current.plain.clone() };
        *made = Some(current);
        Ok(config)
    }
}

impl Made {
    fn new(tls: &Tls, material: Material) -> Result<Self, String> {
        let plain = configured(tls, &material)?;
        let mut either = plain.clone();
        either.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { material, plain: Arc::new(plain), either: Arc::new(either) })
    }
}

fn material(tls: &Tls, files: &dyn Files) -> Result<Material, String> {
    let read = |source: &Option<Source>| match source {
        None => Ok(None),
        Some(Source::Inline(text)) => Ok(Some(text.0.clone().into_bytes())),
        Some(Source::File(path)) => files
            .read(path, PEM_BYTES_MAX)
            .map(Some)
            .map_err(|error| format!("unable to read {path}: {error}")),
    };
    let of_machine = || SYSTEM_ROOTS.iter().find_map(|path| files.read(path, PEM_BYTES_MAX).ok());
    let needs_others = tls.ca.is_none() && !tls.insecure_skip_verify;
    Ok::<_, String>(Material {
        ca: read(&tls.ca)?,
        system: needs_others.then(of_machine).flatten(),
        cert: read(&tls.cert)?,
        key: read(&tls.key)?,
    })
}

fn configured(tls: &Tls, material: &Material) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let versions: Vec<_> = rustls::ALL_VERSIONS
        .iter()
        .copied()
        .filter(|version| {
            let number = if **version == rustls::version::TLS13 { 13 } else { 12 };
            let bound = |name: &Option<String>, open: u8| {
                name.as_deref().and_then(|name| name.strip_prefix("TLS")?.parse().ok()).unwrap_or(open)
            };
            (bound(&tls.min_version, 12)..=bound(&tls.max_version, 13)).contains(&number)
        })
        .collect();
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(&versions).map_err(|error| {
        format!(
            "tls: {error}; TLS 1.2 and 1.3 are spoken, and the job allows neither (min_version, max_version)"
        )
    })?;
    let builder = if tls.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        let verifier = Pinned::new(material, &provider)?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    };
    let bad = |error: String| format!("unable to use the client certificate: {error}");
    match (&material.cert, &material.key) {
        (Some(cert), Some(key)) => {
            let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| bad(error.to_string()))?;
            let certs = certs.map_err(|error| bad(error.to_string()))?;
            builder.with_client_auth_cert(certs, key).map_err(|error| bad(error.to_string()))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certs = certs.map_err(|error| format!("unable to use the CA certificate: {error}"))?;
    if certs.is_empty() {
        return Err("unable to use the CA certificate: it holds no PEM certificate".to_owned());
    }
    Ok(certs)
}

fn roots(material: &Material, own: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    if let (None, Some(system)) = (&material.ca, &material.system) {
        // What the machine trusts and is not understood here is nobody's mistake.
        store.add_parsable_certificates(CertificateDer::pem_slice_iter(system).filter_map(Result::ok));
    }
    for cert in own {
        store.add(cert.clone()).map_err(|error| format!("unable to use the CA certificate: {error}"))?;
    }
    if store.is_empty() {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(store)
}

/// The usual check, and besides it a server that shows just the certificate that is trusted: one that signed itself, as
/// exporters often have. Go takes it; webpki minds that an authority shows itself as a server.
#[derive(Debug)]
struct Pinned {
    usual: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl Pinned {
    fn new(material: &Material, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let own = material.ca.as_deref().map_or(Ok(Vec::new()), certificates)?;
        let roots = Arc::new(roots(material, &own)?);
        let usual = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
        let usual = usual.map_err(|error| format!("unable to use the CA certificate: {error}"))?;
        Ok(Self { usual, own })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.usual.verify_server_cert(end_entity, intermediates, name, ocsp, now);
        let Err(rustls::Error::InvalidCertificate(CertificateError::Other(reason))) = &verdict else {
            return verdict;
        };
        // webpki looks at the dates before it looks at this.
        if reason.to_string() != AUTHORITY_AS_SERVER
            || !self.own.iter().any(|own| own.as_ref() == end_entity.as_ref())
        {
            return verdict;
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// `insecure_skip_verify`: whoever answers is believed; what they sign is still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
