//! Requests that are rejected before their body is read: a client that reads only when it has sent everything gets the
//! response.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{DEADLINE, Exporter, command};

/// More than the buffers of the system take.
const BODY_BYTES: usize = 20 << 20;

/// Sends a request and then reads the first line of the response, as a client without a thread for reading does.
fn send(url: &str, head: &str, body: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(format!("{head}\r\nhost: localhost\r\n\r\n").as_bytes())?;
    for part in body.chunks(256 << 10) {
        stream.write_all(part)?;
        // Slower than the exporter responds, on any machine.
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut response = vec![0; 64];
    let read = stream.read(&mut response)?;
    let text = String::from_utf8_lossy(&response[..read]).into_owned();
    Ok(text.split_whitespace().nth(1).unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_still_sending_gets_the_response() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "secret").unwrap();
    let mut command = command(&dir.path().join("data"));
    command.arg("--token-file").arg(&token);
    let exporter = Exporter::spawn(command);
    let (protobuf, length) =
        ("content-type: application/x-protobuf", format!("content-length: {BODY_BYTES}"));
    let chunked = || {
        let chunk = [b"10000\r\n", &[10; 0x10000][..], b"\r\n"].concat();
        [chunk.repeat(BODY_BYTES >> 16), b"0\r\n\r\n".to_vec()].concat()
    };
    let authorized = "authorization: Bearer secret";
    let body = || vec![10; BODY_BYTES];
    for (url, head, body, expected) in [
        (&exporter.http, format!("POST /v1/unknown HTTP/1.1\r\n{length}"), body(), "404"),
        (&exporter.http, format!("PUT /v1/traces HTTP/1.1\r\n{length}"), body(), "405"),
        (&exporter.http, format!("POST /v1/traces HTTP/1.1\r\n{protobuf}\r\n{length}"), body(), "401"),
        (&exporter.http, format!("POST /v1/traces HTTP/1.1\r\n{authorized}\r\n{length}"), body(), "415"),
        (
            &exporter.http,
            format!("POST /v1/traces HTTP/1.1\r\n{authorized}\r\n{protobuf}\r\n{length}"),
            body(),
            "413",
        ),
        (
            &exporter.http,
            format!("POST /v1/traces HTTP/1.1\r\n{authorized}\r\n{protobuf}\r\ntransfer-encoding: chunked"),
            chunked(),
            "413",
        ),
        // A head that never ends.
        (
            &exporter.http,
            "POST /v1/traces HTTP/1.1\r\nx: ".to_owned() + &"x".repeat(BODY_BYTES / 8),
            vec![],
            "431",
        ),
        (&exporter.grpc, format!("POST /v1/traces HTTP/1.1\r\n{protobuf}\r\n{length}"), body(), "415"),
        (&exporter.view, format!("POST /api/traces HTTP/1.1\r\n{length}"), body(), "405"),
    ] {
        let (url, name) = (url.clone(), head.chars().take(100).collect::<String>());
        let got = tokio::task::spawn_blocking(move || send(&url, &head, &body)).await.unwrap();
        assert_eq!(got.map_err(|error| error.to_string()).as_deref(), Ok(expected), "{name}");
    }
}
