//! Load by `h2load`: a fixed number of HTTP/1.1 requests over keep-alive connections, each of which has one request at a
//! time.

use std::process::Command;

use logtracer_harness::{Error, Result};

/// Connections of the load: few, as between two proxies.
pub(crate) const CONNECTIONS: u16 = 4;

/// The lines of each request's headers: `host`, a B3 context and those of a browser.
pub(crate) const HEADERS: usize = 1 + CONTEXT.len() + BROWSER.len();

const CONTEXT: [&str; 3] =
    ["x-b3-traceid: 463ac35c9f6413ad48485a3953bb6124", "x-b3-spanid: 00f067aa0ba902b7", "x-b3-sampled: 1"];

const BROWSER: [&str; 4] = [
    "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "accept: application/json",
    "accept-language: en-GB,en;q=0.5",
    "referer: https://shop.example/items",
];

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) connections: u16,
    /// The lines of each request's headers, at least [`HEADERS`].
    pub(crate) headers: usize,
}

impl Load {
    pub(crate) const fn of(connections: u16) -> Self {
        Self { connections, headers: HEADERS }
    }

    /// Sends requests, each with a B3 context, and waits for the responses.
    pub(crate) fn send(self, port: u16, requests: u64) -> Result<()> {
        let others = (HEADERS..self.headers).map(|n| format!("x-other-{n}: value-of-another-header-{n}"));
        let others: Vec<String> = others.collect();
        let headers: Vec<&str> = CONTEXT.into_iter().chain(others.iter().map(String::as_str)).collect();
        run(port, self.connections, requests, &headers)
    }
}

/// Sends `requests` requests over `connections` connections and waits for the responses. Each has a B3 context and the
/// headers of a browser.
pub(crate) fn send(port: u16, connections: u16, requests: u64) -> Result<()> {
    Load::of(connections).send(port, requests)
}

/// Sends requests without a context: each starts a new trace.
pub(crate) fn send_new_traces(port: u16, connections: u16, requests: u64) -> Result<()> {
    run(port, connections, requests, &[])
}

fn run(port: u16, connections: u16, requests: u64, headers: &[&str]) -> Result<()> {
    let mut command = Command::new("h2load");
    command.args(["--h1", "-c", &connections.to_string(), "-t", "1", "-n", &requests.to_string()]);
    for header in headers.iter().chain(&BROWSER) {
        command.args(["-H", header]);
    }
    command.arg(format!("http://127.0.0.1:{port}/items/42?page=2"));
    let output = command.output().map_err(Error::when("h2load (apt-get install nghttp2-client)"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && text.contains(&format!("{requests} succeeded, 0 failed, 0 errored")) {
        return Ok(());
    }
    Err(Error::new(format!("h2load: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr))))
}
