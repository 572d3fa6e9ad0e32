//! The requests of the demo's callers.

use logtracer_harness::{Error, Result, envoy};
use serde_json::Value;

/// A request of a caller from outside.
pub struct Request {
    /// The path.
    pub path: &'static str,
    /// The trace header of the caller.
    pub header: &'static str,
    headers: &'static [(&'static str, &'static str)],
    status: u16,
    /// The calls that the frontend makes for it.
    calls: usize,
    /// The span id of the caller, as in spans and lines.
    pub parent: Option<&'static str>,
    /// True for the request whose trace the demo shows.
    pub shown: bool,
    /// True for the request that fails, whose trace a sink with `keep=error` gets.
    pub fails: bool,
}

/// The response to a request.
pub struct Response {
    /// The status.
    pub status: u16,
    /// The trace id that the service has seen.
    pub trace_id: String,
}

/// Returns the spans of a request: inbound at the frontend, and for each call outbound there and inbound at the backend.
pub const fn spans_with(calls: usize) -> usize {
    1 + 2 * calls
}

/// The requests of the demo.
pub const REQUESTS: &[Request] = &[
    Request {
        path: "/orders/41",
        header: "x-b3-traceid, …",
        headers: &[
            ("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"),
            ("x-b3-spanid", "a2fb4a1d1a96d312"),
            ("x-b3-sampled", "1"),
        ],
        status: 200,
        calls: 2,
        parent: Some("a2fb4a1d1a96d312"),
        shown: false,
        fails: false,
    },
    Request {
        path: "/orders/42",
        header: "x-cloud-trace-context",
        // Google writes span ids as decimal numbers.
        headers: &[("x-cloud-trace-context", "105445aa7843bc8bf206b12000100000/67667974448284343;o=1")],
        status: 200,
        calls: 2,
        parent: Some("00f067aa0ba902b7"),
        shown: true,
        fails: false,
    },
    Request {
        path: "/orders/43",
        header: "none",
        headers: &[],
        status: 200,
        calls: 2,
        parent: None,
        shown: false,
        fails: false,
    },
    Request {
        path: "/checkout/44",
        header: "traceparent",
        headers: &[("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")],
        status: 502,
        calls: 1,
        parent: Some("00f067aa0ba902b7"),
        shown: false,
        fails: true,
    },
];

/// Sends a request without trace headers, which succeeds, to a base URL.
pub fn send_ordinary(base: &str, path: &str) -> Result<()> {
    let response = envoy::client()?.get(format!("{base}{path}")).send().map_err(Error::when(path))?;
    response.error_for_status().map(drop).map_err(Error::when(path))
}

impl Request {
    /// The number of its spans.
    pub fn spans(&self) -> usize {
        spans_with(self.calls)
    }

    /// The trace id in the headers of the caller.
    pub fn trace_id(&self) -> Option<&'static str> {
        let is_id = |part: &&str| part.len() == 32 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.headers.iter().flat_map(|(_, value)| value.split(['-', '/'])).find(is_id)
    }

    /// Sends the request to a base URL, such as `http://127.0.0.1:8080`.
    pub fn send(&self, base: &str) -> Result<Response> {
        let mut request = envoy::client()?.get(format!("{base}{}", self.path));
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        let response = request.send().map_err(Error::when(self.path))?;
        let status = response.status().as_u16();
        let body = response.text().map_err(Error::when(self.path))?;
        if status != self.status {
            return Err(Error::new(format!(
                "{}: status {status} instead of {}: {body}",
                self.path, self.status
            )));
        }
        let json: Value =
            serde_json::from_str(&body).map_err(Error::when(format!("{}: {body}", self.path)))?;
        match json["trace_id"].as_str() {
            Some(trace_id) => Ok(Response { status, trace_id: trace_id.to_owned() }),
            None => Err(Error::new(format!("{}: no trace at the service", self.path))),
        }
    }
}
