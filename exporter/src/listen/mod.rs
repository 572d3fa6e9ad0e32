//! Listening: accepts connections, plain or with TLS. Their memory is limited, and so are the time and the size of
//! everything before the body of a request.

mod connections;
mod linger;
mod open_files;
mod protocol_timeout;
mod site;
mod tls;
mod token_file;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::log::{self, Severity, Value};
use crate::shutdown::Shutdown;
use connections::Connection;
pub(crate) use connections::{AllConnections, Closer, Connections};
use linger::{Lingering, RequestBody};
use protocol_timeout::ProtocolTimeout;
pub(crate) use site::{Hosts, is_from_other_page, is_from_page};
pub(crate) use tls::Tls;
pub(crate) use token_file::TokenFile;

/// The longest time for the headers of a request, and for a TLS handshake.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest headers that are read. `receive` has a lower limit, and rejects longer headers with a response that gives
/// the reason.
const MAX_HEAD_BYTES: u32 = 64 << 10;

/// The largest number of concurrent requests on one HTTP/2 connection, and the size of its flow-control windows.
const MAX_STREAMS: u32 = 32;
const WINDOW_BYTES: u32 = 64 << 10;

/// How often a silent HTTP/2 client gets a ping, and how long the connection waits for the response.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The waiting time after a failed `accept`. The most likely cause is too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Binds the address of an option.
pub(crate) async fn bind(option: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} ({option})"))
}

/// Binds the address of an option. The system buffers this much for a client that reads slowly: it would be up to 4 MiB.
pub(crate) fn bind_with_send_buffer(
    option: &str,
    address: SocketAddr,
    bytes: u32,
) -> anyhow::Result<TcpListener> {
    const BACKLOG: u32 = 1024;
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // As `bind` does: a restart must not wait for the connections of the process before.
        socket.set_reuseaddr(true)?;
        socket.set_send_buffer_size(bytes)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().with_context(|| format!("cannot listen on {address} ({option})"))
}

/// Serves HTTP/1.1 and HTTP/2 until the shutdown, and completes the requests in progress.
///
/// Dropping the future closes the remaining connections.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Arc<Tls>>,
    connections: Connections,
    mut stop: Shutdown,
) {
    let graceful = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.begun() => break,
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = Arc::new(connections.add(tls.is_some()));
                let (router, tls) = (router.clone(), tls.clone());
                let (watcher, stop) = (graceful.watcher(), stop.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = connection.closed() => {}
                        () = serve_connection(stream, router, tls, connection.clone(), watcher, stop) => {}
                    }
                });
            }
            Err(error) => {
                log_error(Severity::Error, "failed to accept a connection", &error);
                connections.close_one();
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    tls: Option<Arc<Tls>>,
    connection: Arc<Connection>,
    watcher: Watcher,
    mut stop: Shutdown,
) {
    // A response is one small packet, which should not wait for another one.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        let version = tokio::select! {
            () = stop.begun() => return,
            version = tokio::time::timeout(HEAD_TIMEOUT, version_of(&stream)) => version,
        };
        let Ok(version) = version else { return };
        return serve_requests(stream, version, router, connection, watcher).await;
    };
    let accepted = tokio::select! {
        () = stop.begun() => return,
        accepted = tokio::time::timeout(HEAD_TIMEOUT, tls.accept(stream)) => accepted,
    };
    match accepted {
        Ok(Ok(stream)) => {
            let version = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Some(Version::HTTP_2),
                Some(_) => Some(Version::HTTP_11),
                None => None,
            };
            // On the heap, so that a connection without TLS does not reserve memory for one.
            Box::pin(serve_requests(stream, version, router, connection, watcher)).await;
        }
        Ok(Err(error)) => log_error(Severity::Warning, "TLS handshake failed", &error),
        Err(_) => {}
    }
}

/// Returns the version of HTTP that the first bytes show, without reading them, if these are enough.
///
/// hyper would read them into a buffer, and double the buffer of each connection with HTTP/1 to append what follows.
async fn version_of(stream: &TcpStream) -> Option<Version> {
    const START: &[u8] = b"PRI ";
    let mut first = [0; START.len()];
    let length = stream.peek(&mut first).await.ok()?;
    let first = first.get(..length)?;
    match START.starts_with(first) {
        false => Some(Version::HTTP_11),
        true if first == START => Some(Version::HTTP_2),
        true => None,
    }
}

fn log_error(severity: Severity, message: &'static str, error: &std::io::Error) {
    log::rate_limited(severity, message, &[("error", Value::Fmt(format_args!("{error}")))]);
}

async fn serve_requests<S>(
    stream: S,
    version: Option<Version>,
    router: Router,
    connection: Arc<Connection>,
    watcher: Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = match version {
        Some(Version::HTTP_11) => builder.http1_only(),
        Some(Version::HTTP_2) => builder.http2_only(),
        _ => builder,
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let stream = Lingering::new(stream, connection.clone());
    let stream = ProtocolTimeout::new(stream, HEAD_TIMEOUT, connection.clone());
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let in_progress = connection.start(request.headers());
        request.extensions_mut().insert(connection.closer());
        let response = router.call(RequestBody::of(request, &connection));
        async move {
            let response = response.await;
            drop(in_progress);
            response
        }
    });
    let requests = builder.serve_connection(TokioIo::new(stream), service);
    // Errors are not logged: the client closed the connection, or does not speak HTTP.
    let _ = watcher.watch(requests.into_owned()).await;
}
