//! What the callers of the demo send.

use serde_json::Value;

use crate::{Error, Result, envoy};

/// A request of a caller from outside.
pub(crate) struct Request {
    pub path: &'static str,
    /// What kind of trace header the caller speaks.
    pub speaks: &'static str,
    headers: &'static [(&'static str, &'static str)],
    status: u16,
    /// The span id of the caller, as spans and lines write it.
    pub parent: Option<&'static str>,
    /// Whether the demo shows its trace.
    pub shown: bool,
}

/// What came back.
pub(crate) struct Answer {
    pub status: u16,
    pub trace_id: String,
}

pub(crate) const REQUESTS: &[Request] = &[
    Request {
        path: "/orders/41",
        speaks: "x-b3-traceid, …",
        headers: &[
            ("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"),
            ("x-b3-spanid", "a2fb4a1d1a96d312"),
            ("x-b3-sampled", "1"),
        ],
        status: 200,
        parent: Some("a2fb4a1d1a96d312"),
        shown: false,
    },
    Request {
        path: "/orders/42",
        speaks: "x-cloud-trace-context",
        // Google writes span ids as decimal numbers.
        headers: &[("x-cloud-trace-context", "105445aa7843bc8bf206b12000100000/67667974448284343;o=1")],
        status: 200,
        parent: Some("00f067aa0ba902b7"),
        shown: true,
    },
    Request { path: "/orders/43", speaks: "none", headers: &[], status: 200, parent: None, shown: false },
    Request {
        path: "/checkout/44",
        speaks: "traceparent",
        headers: &[("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")],
        status: 502,
        parent: Some("00f067aa0ba902b7"),
        shown: false,
    },
];

impl Request {
    /// The trace that the caller names in its headers, if it does.
    pub(crate) fn trace_id(&self) -> Option<&'static str> {
        let is_id = |part: &&str| part.len() == 32 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.headers.iter().flat_map(|(_, value)| value.split(['-', '/'])).find(is_id)
    }

    /// Sends it to an entrance, such as `http://127.0.0.1:8080`.
    pub(crate) fn send(&self, entrance: &str) -> Result<Answer> {
        let mut request = envoy::client()?.get(format!("{entrance}{}", self.path));
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().map_err(Error::when(self.path))?;
        let status = answer.status().as_u16();
        let body = answer.text().map_err(Error::when(self.path))?;
        if status != self.status {
            return Err(Error::new(format!(
                "{} answered {status} instead of {}: {body}",
                self.path, self.status
            )));
        }
        let json: Value =
            serde_json::from_str(&body).map_err(Error::when(format!("{} answered {body}", self.path)))?;
        match json["trace_id"].as_str() {
            Some(trace_id) => Ok(Answer { status, trace_id: trace_id.to_owned() }),
            None => Err(Error::new(format!("{}: the service knew no trace", self.path))),
        }
    }
}
