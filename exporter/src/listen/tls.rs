//! `--tls-cert` and `--tls-key`: TLS for all listeners, with rustls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::reload::{Reloaded, read_file};

/// A certificate and its key, which are reloaded when the files change.
#[derive(Debug)]
pub(crate) struct Tls(Reloaded<ServerConfig>);

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    ///
    /// A file cannot be read or is not PEM, or the key does not belong to the certificate.
    pub(crate) fn open(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let paths = vec![certificate.to_owned(), key.to_owned()];
        Reloaded::open("--tls-cert and --tls-key", paths, read).map(Self)
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.0.load()).accept(stream).await
    }
}

fn read(paths: &[PathBuf]) -> anyhow::Result<ServerConfig> {
    let [certificate, key] = paths else { bail!("a certificate and a key are required") };
    let display = |path: &Path| path.display().to_string();
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read_file(certificate)?)
        .collect::<Result<_, _>>()
        .with_context(|| display(certificate))?;
    if chain.is_empty() {
        bail!("{} contains no certificate in PEM", certificate.display());
    }
    let private_key = PrivateKeyDer::from_pem_slice(&read_file(key)?).with_context(|| display(key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private_key)
        .with_context(|| format!("{} and {}", certificate.display(), key.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
