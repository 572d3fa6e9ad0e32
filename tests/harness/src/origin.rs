//! A service whose response depends on the path of the request: every way in which an upstream can respond or fail.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{SendResponse, handshake};
use http::{HeaderMap, Request, Response};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::{Error, Result, wire};

/// The delay of slow responses.
pub const DELAY: Duration = Duration::from_millis(1200);

/// The running service.
pub struct Origin {
    http: SocketAddr,
    grpc: SocketAddr,
    requests: Arc<Mutex<Vec<wire::Message>>>,
    _runtime: Runtime, // dropping the runtime stops the gRPC side
}

impl Origin {
    /// Starts the service on free ports.
    pub fn start() -> Result<Origin> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::when("a port for the origin"))?;
        let http = listener.local_addr().map_err(Error::when("the port of the origin"))?;
        let requests = Arc::<Mutex<Vec<wire::Message>>>::default();
        let shared = Arc::clone(&requests);
        let tries = Arc::new(AtomicU32::new(0));
        wire::serve(listener, move |stream| drop(converse(stream, &tries, &shared)));

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(Error::when("a runtime for the origin"))?;
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .map_err(Error::when("a port for the origin"))?;
        let grpc = listener.local_addr().map_err(Error::when("the port of the origin"))?;
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve_grpc(stream));
            }
        });
        Ok(Origin { http, grpc, requests, _runtime: runtime })
    }

    /// The address for HTTP/1.1.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The address for gRPC.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Returns the number of requests over HTTP/1.1 to `path` so far.
    pub fn request_count(&self, path: &str) -> usize {
        self.requests(path).len()
    }

    /// Returns the requests over HTTP/1.1 to `path` so far.
    pub fn requests(&self, path: &str) -> Vec<wire::Message> {
        let requests = self.requests.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        requests.iter().filter(|message| message.path() == path).cloned().collect()
    }
}

fn converse(
    mut stream: TcpStream,
    tries: &AtomicU32,
    requests: &Mutex<Vec<wire::Message>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(message) = wire::read(&mut reader)? {
        let path = message.path().to_owned();
        let is_head = message.method() == "HEAD";
        let echo = json!({ "headers": message.headers }).to_string();
        requests.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(message);

        match path.split('?').next().unwrap_or_default() {
            "/origin/head" if is_head => write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n")?,
            "/origin/204" => write!(stream, "HTTP/1.1 204 No Content\r\n\r\n")?,
            "/origin/304" => write!(stream, "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n")?,
            "/origin/418" => write!(stream, "HTTP/1.1 418 Teapot\r\ncontent-length: 0\r\n\r\n")?,
            "/origin/500" => write!(stream, "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n")?,
            "/origin/moved" => {
                write!(stream, "HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n")?;
            }
            "/origin/internal" => {
                let location = "http://shop/origin/ok?from=internal";
                write!(stream, "HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")?;
            }
            "/origin/twice" => {
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nx-trace-id: a\r\nx-trace-id: b\r\nx-answer: yes\r\nx-answer: no\r\n\
                     location: https://me:hush@shop/other?token=hush#hush\r\ncontent-length: 0\r\n\r\n"
                )?;
            }
            "/origin/hints" => {
                write!(stream, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n")?;
                stream.flush()?;
                std::thread::sleep(Duration::from_millis(50));
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
            }
            "/origin/reset" => return Ok(()),
            path if path.starts_with("/origin/never") => wire::hang(&mut stream),
            path if path.starts_with("/origin/half/") => {
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n0123456789")?;
                wire::hang(&mut stream);
            }
            // Ends in the middle of the body.
            path if path.starts_with("/origin/cut/") => {
                let status = path.rsplit('/').next().unwrap_or_default();
                let (header, size) = match path.contains("/chunked/") {
                    true => ("transfer-encoding: chunked", "1000\r\n"),
                    false => ("content-length: 1000", ""),
                };
                write!(stream, "HTTP/1.1 {status} Cut\r\n{header}\r\n\r\n{size}0123456789")?;
                stream.flush()?;
                std::thread::sleep(Duration::from_millis(50));
                return Ok(());
            }
            // The end of the connection is the end of the body.
            "/origin/until-close" => {
                write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n0123456789")?;
                return Ok(());
            }
            "/origin/slow" => {
                std::thread::sleep(DELAY);
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
            }
            // Fails twice, then succeeds.
            "/origin/retry" if tries.fetch_add(1, Ordering::Relaxed) % 3 < 2 => {
                write!(stream, "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")?;
            }
            "/origin/events" => {
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")?;
                write!(stream, "transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")?;
                stream.flush()?;
                std::thread::sleep(DELAY);
                write!(stream, "9\r\ndata: 2\n\n\r\n0\r\n\r\n")?;
            }
            // A native gRPC-Web service: the status is in a frame of the body.
            "/origin/grpc-web" => {
                let frame = [b"\0\0\0\0\x03abc\x80\0\0\0\x11".as_slice(), b"grpc-status: 13\r\n"].concat();
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-type: application/grpc-web+proto\r\ncontent-length: {}\r\n\r\n",
                    frame.len()
                )?;
                stream.write_all(&frame)?;
            }
            "/origin/websocket" => {
                write!(
                    stream,
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
                )?;
                // Echoes until the caller sends `bye` or closes the connection.
                let mut buffer = [0; 1024];
                loop {
                    let size = reader.read(&mut buffer)?;
                    stream.write_all(&buffer[..size])?;
                    if size == 0 || buffer[..size].ends_with(b"bye") {
                        return Ok(());
                    }
                }
            }
            _ => write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-answer: yes\r\ncontent-length: {}\r\n\r\n{echo}",
                echo.len()
            )?,
        }
    }
    Ok(())
}

async fn serve_grpc(stream: tokio::net::TcpStream) {
    let Ok(mut connection) = handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(respond_grpc(request, respond));
    }
}

/// A gRPC message of three bytes, not compressed.
pub const GRPC_MESSAGE: &[u8] = b"\0\0\0\0\x03abc";

async fn respond_grpc(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let content_type = request.headers().get("content-type").cloned();
    let mut body = request.into_body();
    if method == "Chat" {
        let mut response = Response::new(());
        response.headers_mut().extend(content_type.map(|value| (http::header::CONTENT_TYPE, value)));
        let mut stream = respond.send_response(response, false)?;
        while let Some(Ok(bytes)) = body.data().await {
            let _ = body.flow_control().release_capacity(bytes.len());
            if !bytes.is_empty() {
                stream.send_data(bytes, false)?;
            }
        }
        return stream.send_trailers(trailers("0"));
    }
    while let Some(Ok(bytes)) = body.data().await {
        let _ = body.flow_control().release_capacity(bytes.len());
    }

    let head = |status: &str| {
        let mut response = Response::new(());
        response.headers_mut().extend(content_type.clone().map(|value| (http::header::CONTENT_TYPE, value)));
        if !status.is_empty() {
            response.headers_mut().extend(trailers(status));
        }
        response
    };
    match method.as_str() {
        "TrailersOnly" => {
            respond.send_response(head("7"), true)?;
        }
        "NotGrpc" => {
            let mut response = head("");
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            respond.send_response(response, true)?;
        }
        "Never" => std::future::pending().await,
        _ => {
            let mut stream = respond.send_response(head(""), false)?;
            stream.send_data(Bytes::from_static(GRPC_MESSAGE), method == "NoStatus")?;
            match method.as_str() {
                "NoStatus" => {}
                "Reset" => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    stream.send_reset(h2::Reason::INTERNAL_ERROR);
                }
                "Forever" => std::future::pending().await,
                "Watch" => {
                    tokio::time::sleep(DELAY).await;
                    stream.send_data(Bytes::from_static(GRPC_MESSAGE), false)?;
                    stream.send_trailers(trailers("0"))?;
                }
                "Missing" => stream.send_trailers(trailers("5"))?,
                "Broken" => stream.send_trailers(trailers("13"))?,
                "Puzzled" => stream.send_trailers(trailers("2"))?,
                "Odd" => stream.send_trailers(trailers("four"))?,
                _ => stream.send_trailers(trailers("0"))?,
            }
        }
    }
    Ok(())
}

/// Returns the trailers of a call. Errors have a message with an umlaut and a line break.
fn trailers(status: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.extend(http::HeaderValue::from_str(status).ok().map(|value| {
        let name = http::HeaderName::from_static("grpc-status");
        (name, value)
    }));
    if status != "0" {
        let name = http::HeaderName::from_static("grpc-message");
        trailers.insert(name, http::HeaderValue::from_static("no%0Asuch K%C3%A4se 100%"));
    }
    trailers
}
