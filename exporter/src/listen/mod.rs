//! Listening: connections, plain or with TLS, bounded in number, and in the time and the size of what comes before a
//! request.

mod protocol_timeout;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::log::{self, Severity, Value};
use crate::shutdown::Shutdown;
use protocol_timeout::ProtocolTimeout;
pub(crate) use tls::Tls;

/// Connections of one listener; more of them wait to be accepted.
const MAX_CONNECTIONS: usize = 512;

/// How long the headers of a request, or a TLS handshake, may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest headers that are read; `receive` refuses shorter ones with an answer that says why.
const MAX_HEAD_BYTES: u32 = 64 << 10;

/// Requests at once on one HTTP/2 connection, and what it may send ahead.
const MAX_STREAMS: u32 = 128;
const WINDOW: u32 = 256 << 10;

/// How often an HTTP/2 client that says nothing is asked whether it is there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long to wait when no connection can be accepted: there are too many open files, most likely.
const AFTER_ERROR: Duration = Duration::from_millis(100);

pub(crate) async fn bind(option: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} ({option})"))
}

/// Serves HTTP/1.1 and HTTP/2 until the shutdown, and then until the requests in progress are answered.
///
/// Dropped before that, it closes what is left.
pub(crate) async fn serve(listener: TcpListener, router: Router, tls: Option<Arc<Tls>>, mut stop: Shutdown) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            () = stop.begun() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, tls) = (router.clone(), tls.clone());
                let (watcher, stop) = (graceful.watcher(), stop.clone());
                connections.spawn(async move {
                    let _slot = slot;
                    connection(stream, router, tls, watcher, stop).await;
                });
            }
            Err(error) => {
                tell(Severity::Error, "cannot accept a connection", &error);
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn connection(
    stream: TcpStream,
    router: Router,
    tls: Option<Arc<Tls>>,
    watcher: Watcher,
    mut stop: Shutdown,
) {
    // An answer is one small packet, which should not wait for another one.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return requests(stream, router, watcher).await;
    };
    let accepted = tokio::select! {
        () = stop.begun() => return,
        accepted = tokio::time::timeout(HEAD_TIMEOUT, tls.accept(stream)) => accepted,
    };
    match accepted {
        Ok(Ok(stream)) => requests(stream, router, watcher).await,
        Ok(Err(error)) => tell(Severity::Warning, "a TLS handshake failed", &error),
        Err(_) => {}
    }
}

fn tell(severity: Severity, what: &'static str, error: &std::io::Error) {
    log::repeated(severity, what, &[("error", Value::Fmt(format_args!("{error}")))]);
}

async fn requests<S>(stream: S, router: Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
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
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let stream = ProtocolTimeout::new(stream, HEAD_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // What went wrong is the client's to know: it has hung up, or spoke no HTTP.
    let _ = watcher.watch(connection.into_owned()).await;
}
