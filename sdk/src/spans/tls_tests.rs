//! An export to an `https` endpoint.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, rustls};

use super::test_receiver::{Export, LONG, OK, Receiver};
use super::{SpanExport, SpanExportError};

/// A certificate that is its own authority.
struct Identity {
    certificate: rcgen::CertifiedKey<rcgen::KeyPair>,
    folder: PathBuf,
}

impl Identity {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("logtracer-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let identity = Self { certificate: rcgen::generate_simple_self_signed(names).unwrap(), folder };
        std::fs::write(identity.certificate_file(), identity.certificate.cert.pem()).unwrap();
        std::fs::write(identity.key_file(), identity.certificate.signing_key.serialize_pem()).unwrap();
        identity
    }

    fn certificate_file(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    fn key_file(&self) -> PathBuf {
        self.folder.join("key.pem")
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Serves the receiver with TLS; a client must have the certificate `client`, if there is one.
fn serve(receiver: &Receiver, server: &Identity, client: Option<&Identity>) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = match client {
        None => config.with_no_client_auth(),
        Some(client) => {
            let mut roots = RootCertStore::empty();
            roots.add(client.certificate.cert.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(server.certificate.signing_key.serialize_der()).unwrap();
    let config = config.with_single_cert(vec![server.certificate.cert.der().clone()], key).unwrap();
    let (acceptor, router) = (TlsAcceptor::from(Arc::new(config)), receiver.router());
    let (to, address) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            to.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
                tokio::spawn(async move {
                    // A client may refuse the certificate.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let server = Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
    });
    address.recv().unwrap()
}

#[test]
fn a_trusted_certificate() {
    let server = Identity::new("trusted");
    let receiver = Receiver::new(&[OK]);
    let port = serve(&receiver, &server, None).port();
    for host in ["127.0.0.1", "localhost"] {
        let export = SpanExport::new("shop", format!("https://{host}:{port}"));
        let export = Export::start(export.ca_file(server.certificate_file()), LONG);
        export.end_spans(&[host]);
        assert_eq!(export.flush(), "");
    }
    let received = receiver.received();
    let names: Vec<&str> = received.iter().flat_map(|request| request.names()).collect();
    assert_eq!(names, ["127.0.0.1", "localhost"]);
}

/// The certificates of the system do not have that of the test, and another authority is not that of the server.
#[test]
fn an_untrusted_certificate() {
    let (server, other) = (Identity::new("untrusted"), Identity::new("other"));
    let receiver = Receiver::new(&[OK]);
    let address = serve(&receiver, &server, None);
    let export = SpanExport::new("shop", format!("https://{address}")).ca_file(other.certificate_file());
    let export = Export::start(export, Duration::from_millis(150));
    export.end_spans(&["one"]);
    let start = format!(
        "dropped spans: 1 unreachable; last error: TLS handshake failed with {address}: invalid peer certificate: "
    );
    let error = export.flush();
    assert!(error.starts_with(&start), "{error}");
    assert!(receiver.received().is_empty());
}

#[test]
fn a_client_certificate() {
    let (server, client) = (Identity::new("server"), Identity::new("client"));
    let receiver = Receiver::new(&[OK]);
    let address = serve(&receiver, &server, Some(&client));
    let export = || SpanExport::new("shop", format!("https://{address}")).ca_file(server.certificate_file());
    let with = Export::start(export().client_certificate(client.certificate_file(), client.key_file()), LONG);
    with.end_spans(&["one"]);
    assert_eq!(with.flush(), "");
    let without = Export::start(export(), Duration::from_millis(150));
    without.end_spans(&["two"]);
    let error = without.flush();
    assert!(error.starts_with("dropped spans: 1 unreachable; last error: "), "{error}");
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn an_invalid_file_is_named() {
    let identity = Identity::new("invalid");
    let missing = identity.folder.join("missing.pem");
    let export = || SpanExport::new("shop", "https://127.0.0.1:1");
    let trusting = || export().ca_file(identity.certificate_file());
    for (export, path) in [
        (export().ca_file(&missing), &missing),
        (export().ca_file(identity.key_file()), &identity.key_file()),
        (trusting().client_certificate(&missing, identity.key_file()), &missing),
        (trusting().client_certificate(identity.certificate_file(), &missing), &missing),
    ] {
        let error = export.transport().unwrap_err();
        assert!(matches!(error, SpanExportError::Certificates { .. }), "{error:?}");
        let start = format!("cannot read certificates from {}: ", path.display());
        assert!(error.to_string().starts_with(&start), "{error}");
    }
}
