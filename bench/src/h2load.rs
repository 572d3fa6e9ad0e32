//! Load by `h2load`: a fixed number of HTTP/1.1 requests over keep-alive connections.

use std::process::Command;

use logtracer_harness::{Error, Result};

/// Connections of the load: few, as between two proxies.
pub(crate) const CONNECTIONS: u16 = 4;

/// Sends `requests` requests over `connections` connections and waits for the responses. Each has a B3 context and the
/// headers of a browser.
pub(crate) fn send(port: u16, connections: u16, requests: u64) -> Result<()> {
    const CONTEXT: [&str; 3] = [
        "x-b3-traceid: 463ac35c9f6413ad48485a3953bb6124",
        "x-b3-spanid: 00f067aa0ba902b7",
        "x-b3-sampled: 1",
    ];
    run(port, connections, requests, &CONTEXT)
}

/// Sends requests without a context: each starts a new trace.
pub(crate) fn send_new_traces(port: u16, connections: u16, requests: u64) -> Result<()> {
    run(port, connections, requests, &[])
}

fn run(port: u16, connections: u16, requests: u64, context: &[&str]) -> Result<()> {
    const BROWSER: [&str; 4] = [
        "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "accept: application/json",
        "accept-language: en-GB,en;q=0.5",
        "referer: https://shop.example/items",
    ];
    let mut command = Command::new("h2load");
    command.args(["--h1", "-c", &connections.to_string(), "-t", "1", "-n", &requests.to_string()]);
    for header in context.iter().chain(&BROWSER) {
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
