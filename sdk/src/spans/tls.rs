//! [`Tls`]: connections to a receiver with an `https` URL.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsConnector, rustls};

use super::SpanExportError;

/// The files with certificates.
#[derive(Debug, Clone, Default)]
pub(super) struct TlsFiles {
    /// The certificate authorities to trust instead of those of the system.
    pub(super) authorities: Option<PathBuf>,
    /// The certificate of the client, and its key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

pub(super) struct Tls {
    connector: TlsConnector,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// # Errors
    ///
    /// If a file cannot be read, or if it has no certificate.
    pub(super) fn new(files: &TlsFiles) -> Result<Self, SpanExportError> {
        let authorities = match &files.authorities {
            Some(path) => certificates(path)?,
            None => system_authorities()?,
        };
        let mut roots = RootCertStore::empty();
        if roots.add_parsable_certificates(authorities).0 == 0 {
            return Err(error(files.authorities.as_deref(), "it has no valid certificate"));
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|source| error(None, source))?
            .with_root_certificates(roots);
        let config = match &files.client {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(certificate)?;
                let key_der = PrivateKeyDer::from_pem_file(key).map_err(|source| error(Some(key), source))?;
                config
                    .with_client_auth_cert(chain, key_der)
                    .map_err(|source| error(Some(certificate), source))?
            }
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        self.connector.connect(name, stream).await
    }
}

/// Returns the provider that the process has installed, or else the one of the feature. The one of the process is not
/// changed.
fn provider() -> Arc<CryptoProvider> {
    if let Some(provider) = CryptoProvider::get_default() {
        return Arc::clone(provider);
    }
    #[cfg(feature = "spans-tls")]
    return Arc::new(rustls::crypto::ring::default_provider());
    #[cfg(not(feature = "spans-tls"))]
    return Arc::new(rustls::crypto::aws_lc_rs::default_provider());
}

fn system_authorities() -> Result<Vec<CertificateDer<'static>>, SpanExportError> {
    let found = rustls_native_certs::load_native_certs();
    match found.errors.into_iter().next() {
        Some(source) if found.certs.is_empty() => Err(error(None, source)),
        _ => Ok(found.certs),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SpanExportError> {
    let certificates =
        CertificateDer::pem_file_iter(path).and_then(|found| found.collect::<Result<Vec<_>, _>>());
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(error(Some(path), "it has no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(source) => Err(error(Some(path), source)),
    }
}

fn error(
    path: Option<&Path>,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> SpanExportError {
    SpanExportError::Certificates { path: path.map(Path::to_owned), source: source.into() }
}
