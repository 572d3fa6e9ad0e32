//! The project of the machine, from the metadata server of Google Cloud.
//!
//! <https://cloud.google.com/compute/docs/metadata/querying-metadata>

use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};

use super::environment::variable;
use crate::spans::http1;

const DEFAULT_HOST: &str = "metadata.google.internal";
const PATH: &str = "/computeMetadata/v1/project/project-id";
/// The header that a request must have, and that only a metadata server returns.
const FLAVOR: (HeaderName, HeaderValue) =
    (HeaderName::from_static("metadata-flavor"), HeaderValue::from_static("Google"));
/// A new pod of GKE may have to wait for a moment before the server responds.
const MAX_TIME: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);
/// A project id has at most 30 characters, and a domain may precede it.
const MAX_ID_BYTES: usize = 128;

/// Returns the id, if there is a metadata server.
pub(super) fn project_id() -> Option<String> {
    let host = variable("GCE_METADATA_HOST").unwrap_or_else(|| DEFAULT_HOST.to_owned());
    project_id_from(host, MAX_TIME)
}

/// Uses a thread, because the caller may be in a runtime, and because the resolution of a name has no timeout.
fn project_id_from(host: String, max_time: Duration) -> Option<String> {
    let (to, id) = mpsc::sync_channel(1);
    let request = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let id = runtime.block_on(async { timeout(max_time, request_until_final(&host)).await });
        // The resolution of a name may still run.
        runtime.shutdown_background();
        id.ok().flatten()
    };
    let thread = std::thread::Builder::new().name("logtracer-project".into());
    thread.spawn(move || to.send(request())).ok()?;
    id.recv_timeout(max_time).ok().flatten()
}

enum Response {
    Id(String),
    /// No server of Google, or a project without a valid id.
    Absent,
    /// A later request may succeed.
    Later,
}

async fn request_until_final(host: &str) -> Option<String> {
    loop {
        match request_once(host).await {
            Response::Id(id) => return Some(id),
            Response::Absent => return None,
            Response::Later => sleep(PAUSE).await,
        }
    }
}

async fn request_once(host: &str) -> Response {
    let Ok(addresses) = lookup_host(with_port(host)).await else { return Response::Absent };
    let addresses: Vec<_> = addresses.collect();
    let Ok(stream) = TcpStream::connect(addresses.as_slice()).await else { return Response::Later };
    let (name, google) = FLAVOR;
    let request = Request::get(PATH).header(header::HOST, host).header(&name, &google);
    let Ok(request) = request.body(Full::<Bytes>::default()) else { return Response::Absent };
    let Ok((head, body)) = http1::send(stream, request).await else { return Response::Later };
    if head.headers.get(name) != Some(&google) {
        return Response::Absent;
    }
    match (head.status, read_id(&body.bytes)) {
        (StatusCode::OK, Some(id)) => Response::Id(id),
        (status, _) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => Response::Later,
        _ => Response::Absent,
    }
}

/// Returns the host with its port, which is 80 if it names none: `[::1]` and `::1` are addresses without a port.
fn with_port(host: &str) -> String {
    let has_port = match host.rsplit_once(']') {
        Some((_, after)) => after.starts_with(':'),
        None => host.matches(':').count() == 1,
    };
    match has_port {
        true => host.to_owned(),
        false if host.contains(':') && !host.starts_with('[') => format!("[{host}]:80"),
        false => format!("{host}:80"),
    }
}

fn read_id(body: &[u8]) -> Option<String> {
    let id = std::str::from_utf8(body).ok()?.trim();
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
    (!id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(is_valid)).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Instant;

    /// Serves these responses, each on a connection of its own; returns the host and the requests.
    fn serve(responses: &'static [&'static str]) -> (String, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (to, requests) = mpsc::channel();
        std::thread::spawn(move || {
            for response in responses {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.extend(byte);
                }
                to.send(String::from_utf8(request).unwrap()).unwrap();
                stream.write_all(response.as_bytes()).unwrap();
            }
        });
        (host, requests)
    }

    const LONG: Duration = Duration::from_secs(30);
    const FOUND: &str = "HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\ncontent-length: 10\r\n\r\nmy-project";
    const BUSY: &str =
        "HTTP/1.1 503 Service Unavailable\r\nmetadata-flavor: Google\r\ncontent-length: 0\r\n\r\n";
    const NOT_GOOGLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nmy-project";
    const INVALID: &str = "HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\ncontent-length: 3\r\n\r\na/b";

    #[test]
    fn the_id_of_the_project() {
        let (host, requests) = serve(&[BUSY, FOUND]);
        assert_eq!(project_id_from(host.clone(), LONG).as_deref(), Some("my-project"));
        for request in requests {
            let expected = format!("GET {PATH} HTTP/1.1\r\nhost: {host}\r\nmetadata-flavor: Google\r\n\r\n");
            assert_eq!(request, expected);
        }
    }

    #[test]
    fn another_server() {
        for response in [&[NOT_GOOGLE], &[INVALID]] {
            let (host, _requests) = serve(response);
            assert_eq!(project_id_from(host, LONG), None);
        }
        assert_eq!(project_id_from("no such host.invalid".into(), LONG), None);
    }

    #[test]
    fn ports() {
        for (host, expected) in [
            ("metadata.google.internal", "metadata.google.internal:80"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]", "[::1]:80"),
            ("[::1]:8080", "[::1]:8080"),
            ("::1", "[::1]:80"),
        ] {
            assert_eq!(with_port(host), expected);
        }
    }

    #[test]
    fn no_response_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let start = Instant::now();
        let host = listener.local_addr().unwrap().to_string();
        assert_eq!(project_id_from(host, Duration::from_millis(50)), None);
        assert!(start.elapsed() < LONG);
    }

    /// It may be called in a runtime, too.
    #[tokio::test]
    async fn in_a_runtime() {
        let (host, _requests) = serve(&[FOUND]);
        assert_eq!(project_id_from(host, LONG).as_deref(), Some("my-project"));
    }
}
