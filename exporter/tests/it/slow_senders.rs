//! Clients that send slowly, in every layer where they can, and a lack of file descriptors: the others are answered.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};

use crate::harness::{Exporter, command, eventually, request, span};
use crate::listening::certificate;
use prost::Message;

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

/// The longest body that is accepted.
const MAX_BODY: usize = 8 << 20;

/// How a body arrives.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Transport {
    Gzip,
    Http2,
    Tls,
}

/// An exporter, and a client that trusts its certificate.
struct Server {
    exporter: Exporter,
    client: reqwest::Client,
    pem: Option<String>,
    _dir: tempfile::TempDir,
}

impl Server {
    fn start(transport: Transport) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = command(&dir.path().join("data"));
        let mut client = reqwest::Client::builder();
        let pem = (transport == Transport::Tls).then(|| {
            let (pem, key) = certificate();
            let (cert_path, key_path) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
            std::fs::write(&cert_path, &pem).unwrap();
            std::fs::write(&key_path, key).unwrap();
            command.arg("--tls-cert").arg(cert_path).arg("--tls-key").arg(key_path);
            pem
        });
        if let Some(pem) = &pem {
            client = client.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()]);
        }
        Self { exporter: Exporter::spawn(command), client: client.build().unwrap(), pem, _dir: dir }
    }

    fn url(&self, address: &str, path: &str) -> String {
        let url = format!("{address}{path}");
        if self.pem.is_some() { url.replace("http://127.0.0.1", "https://localhost") } else { url }
    }

    async fn send(&self) -> u16 {
        let body = request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 1)]).encode_to_vec();
        let post = self.client.post(self.url(&self.exporter.http, "/v1/traces")).body(body);
        post.header("content-type", "application/x-protobuf").send().await.unwrap().status().as_u16()
    }

    async fn is_healthy(&self) -> bool {
        self.client.get(self.url(&self.exporter.view, "/healthz")).send().await.unwrap().status() == 200
    }

    /// Sends all of a body except its end. Returns the response, which comes when the client is cut off.
    async fn stall(&self, transport: Transport) -> JoinHandle<String> {
        let stream = connect(&self.exporter.http).await;
        match transport {
            Transport::Gzip => stall_http1(stream, "content-encoding: gzip\r\n").await,
            Transport::Http2 => stall_http2(stream).await,
            Transport::Tls => {
                let mut roots = RootCertStore::empty();
                let pem = self.pem.as_ref().unwrap();
                roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
                let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                let config = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .unwrap()
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                let name = ServerName::try_from("localhost").unwrap();
                let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
                stall_http1(stream, "").await
            }
        }
    }
}

async fn connect(url: &str) -> TcpStream {
    TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap()
}

async fn stall_http1<S>(mut stream: S, header: &str) -> JoinHandle<String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n{header}content-length: {MAX_BODY}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![10; MAX_BODY - 1]).await.unwrap();
    stream.flush().await.unwrap();
    tokio::spawn(async move {
        let mut response = vec![0; 4096];
        let read = stream.read(&mut response).await.unwrap();
        String::from_utf8_lossy(&response[..read]).into_owned()
    })
}

async fn stall_http2(stream: TcpStream) -> JoinHandle<String> {
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    // Pings are answered, also while the body stalls.
    tokio::spawn(connection);
    let head = http::Request::post("http://localhost/v1/traces");
    let head = head.header("content-type", "application/x-protobuf").body(()).unwrap();
    let (response, mut body) = client.send_request(head, false).unwrap();
    let mut left = MAX_BODY - 1;
    while left > 0 {
        body.reserve_capacity(left.min(16 << 10));
        let capacity = std::future::poll_fn(|context| body.poll_capacity(context)).await.unwrap().unwrap();
        let bytes = capacity.min(left);
        body.send_data(Bytes::from(vec![10; bytes]), false).unwrap();
        left -= bytes;
    }
    tokio::spawn(async move {
        let response = response.await.unwrap();
        let (status, _keep) = (response.status().as_u16(), body);
        let body = response.into_body().data().await.unwrap().unwrap();
        format!("HTTP/2 {status} {}", String::from_utf8_lossy(&body))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_senders_in_every_layer_are_cut_off_when_others_wait() {
    for transport in [Transport::Gzip, Transport::Http2, Transport::Tls] {
        let server = Server::start(transport);
        let mut stalled = Vec::new();
        for _ in 0..4 {
            stalled.push(server.stall(transport).await);
        }
        let start = Instant::now();
        let response = eventually("a client that is cut off", async || {
            assert!(server.is_healthy().await);
            let sent = Instant::now();
            assert_eq!(server.send().await, 200, "{transport:?}");
            assert!(sent.elapsed() < Duration::from_secs(4), "{transport:?}: {:?}", sent.elapsed());
            let index = stalled.iter().position(JoinHandle::is_finished)?;
            Some(stalled.swap_remove(index))
        })
        .await
        .await
        .unwrap();
        assert!(start.elapsed() < Duration::from_secs(10), "{transport:?}: {:?}", start.elapsed());
        assert!(response.contains(" 429 ") && response.contains("too slowly"), "{transport:?}: {response}");
    }
}

/// Returns the bytes of a client of HTTP/2 that starts a block of headers and never ends it.
fn endless_continuation() -> Vec<u8> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let frame = |kind: u8, block: &[u8]| {
        [&u32::try_from(block.len()).unwrap().to_be_bytes()[1..], &[kind, 0, 0, 0, 0, 1], block].concat()
    };
    // A header that has no index, of the name `x` and the value `y`.
    let header = [0, 1, b'x', 1, b'y'];
    [PREFACE, &frame(1, &header.repeat(100)), &frame(9, &header.repeat(100))].concat()
}

/// Returns the command of an exporter with this limit of open files.
fn command_with_open_files(dir: &std::path::Path, files: usize) -> Command {
    let inner = command(dir);
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -n {files}; exec \"$0\" \"$@\"")).arg(inner.get_program());
    command.args(inner.get_args()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_a_request_hold_no_places() {
    let dir = tempfile::tempdir().unwrap();
    // Many connections for their number, and few for their memory.
    let exporter = Exporter::spawn(command_with_open_files(dir.path(), 64));
    let (client, body) =
        (reqwest::Client::new(), request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 1)]).encode_to_vec());
    let mut slow = tokio::task::JoinSet::new();
    for n in 0..120 {
        let mut stream = connect(if n % 2 == 0 { &exporter.http } else { &exporter.grpc }).await;
        if n % 4 < 2 {
            // Answers pings, and nothing else.
            slow.spawn(async move {
                if let Ok((client, connection)) = h2::client::handshake(stream).await {
                    let _ = connection.await;
                    drop(client);
                }
            });
            continue;
        }
        slow.spawn(async move {
            let bytes =
                if n % 4 == 2 { endless_continuation() } else { b"POST / HTTP/1.1\r\nx: y".repeat(9) };
            for byte in bytes {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            std::future::pending::<()>().await;
        });
    }
    for _ in 0..20 {
        let start = Instant::now();
        let post = client.post(format!("{}/v1/traces", exporter.http)).body(body.clone());
        let response = post.header("content-type", "application/x-protobuf").send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert_eq!(exporter.get("/healthz").await.status(), 200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lack_of_file_descriptors_ends_nothing_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(dir.path());
    let body = request("shop", vec![span(TRACE, 1, 0, "GET /", 0, 1)]).encode_to_vec();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
    let send = async || {
        let post = client.post(format!("{}/v1/traces", exporter.http)).body(body.clone());
        post.header("content-type", "application/x-protobuf").send().await.is_ok_and(|r| r.status() == 200)
    };
    assert!(send().await && exporter.get("/healthz").await.status() == 200);

    // No more files than there are, and then fewer.
    let pid = Pid::from_raw(i32::try_from(exporter.id()).unwrap()).unwrap();
    let files = std::fs::read_dir(format!("/proc/{}/fd", exporter.id())).unwrap().count() as u64;
    let limit = |files| Rlimit { current: Some(files), maximum: Some(20_000) };
    let before = prlimit(Some(pid), Resource::Nofile, limit(files)).unwrap();
    let mut waiting = Vec::new();
    for n in 0..50 {
        waiting.push(connect(if n % 2 == 0 { &exporter.http } else { &exporter.grpc }).await);
    }
    let (start, ticks) = (Instant::now(), exporter.cpu_ticks());
    let mut sent = 0;
    // The client's connection can be closed in favor of others. A new one is accepted after those that wait.
    while sent < 5 || start.elapsed() < Duration::from_secs(5) {
        assert!(start.elapsed() < Duration::from_secs(60), "{sent} requests in 60 s");
        sent += usize::from(send().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (ticks, seconds) = (exporter.cpu_ticks() - ticks, start.elapsed().as_secs());
    assert!(ticks < 40 * seconds, "{ticks} hundredths of a second of processor time in {seconds} s");
    eventually("healthy", async || {
        let get = client.get(format!("{}/healthz", exporter.view)).timeout(Duration::from_secs(5));
        get.send().await.ok().filter(|response| response.status() == 200)
    })
    .await;

    drop(waiting);
    prlimit(Some(pid), Resource::Nofile, before).unwrap();
    let start = Instant::now();
    eventually("a success", async || send().await.then_some(())).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
