//! TLS towards targets: certificates read when a connection is made, so that renewed ones are taken up.

use std::sync::Arc;

use kenning_promconfig::{Source, Tls};
use kenning_stdx::files::Files;
use kenning_stdx::net::BoxStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

/// Most bytes of a file with certificates.
const PEM_BYTES_MAX: usize = 16 << 20;

/// TLS as one client speaks it.
pub(super) struct Cache {
    tls: Tls,
    /// What the last configuration was made of, and the configuration.
    made: Option<(Material, Arc<ClientConfig>)>,
}

/// Certificates and key as PEM.
#[derive(Clone, PartialEq, Eq)]
struct Material {
    ca: Option<Vec<u8>>,
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl Cache {
    pub const fn new(tls: Tls) -> Self {
        Self { tls, made: None }
    }

    /// Speaks TLS over a connection to `host`.
    pub async fn connect(
        &mut self,
        stream: BoxStream,
        host: &str,
        files: &Arc<dyn Files>,
    ) -> Result<BoxStream, String> {
        let config = self.config(files).await?;
        let name = if self.tls.server_name.is_empty() { host } else { &self.tls.server_name };
        let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|error| format!("tls: {error}"))?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map(|stream| Box::new(stream) as BoxStream).map_err(|error| format!("tls: {error}"))
    }

    async fn config(&mut self, files: &Arc<dyn Files>) -> Result<Arc<ClientConfig>, String> {
        let (tls, files) = (self.tls.clone(), files.clone());
        let material = tokio::task::spawn_blocking(move || {
            let read = |source: &Option<Source>| match source {
                None => Ok(None),
                Some(Source::Inline(text)) => Ok(Some(text.0.clone().into_bytes())),
                Some(Source::File(path)) => files
                    .read(path, PEM_BYTES_MAX)
                    .map(Some)
                    .map_err(|error| format!("unable to read {path}: {error}")),
            };
            Ok::<_, String>(Material { ca: read(&tls.ca)?, cert: read(&tls.cert)?, key: read(&tls.key)? })
        });
        let material = material.await.map_err(|error| error.to_string())??;
        if let Some((known, config)) = &self.made
            && *known == material
        {
            return Ok(config.clone());
        }
        let config = Arc::new(configured(&self.tls, &material)?);
        self.made = Some((material, config.clone()));
        Ok(config)
    }
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
        builder.with_root_certificates(roots(material.ca.as_deref())?)
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

fn roots(ca: Option<&[u8]>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let Some(pem) = ca else {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(store);
    };
    for cert in CertificateDer::pem_slice_iter(pem) {
        let cert = cert.map_err(|error| format!("unable to use the CA certificate: {error}"))?;
        store.add(cert).map_err(|error| format!("unable to use the CA certificate: {error}"))?;
    }
    if store.is_empty() {
        return Err("unable to use the CA certificate: it holds no PEM certificate".to_owned());
    }
    Ok(store)
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
