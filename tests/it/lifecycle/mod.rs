//! Every way in which a request can proceed and end. Each request has one line, which is one JSON object, and one span.
//!
//! One Envoy serves a table of cases. Each case has its own trace id, by which its line and span are found.

mod disconnects;
mod expected;
mod grpc;
mod grpc_web;
mod headers;
mod http1;
mod http2;
mod http3;
mod incomplete_responses;
mod local_replies;
mod repeats;
mod sizes;
mod timeouts;
mod tunnels;

use http::Request;
use logtracer_harness::collector::Collector;
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::wire::{Connection, Message};
use serde_json::{Value, json};

use crate::{CALLER, trace};
use expected::{Expected, GRPC, SUCCESS};

/// The end of a request's head.
const END: &str = "\r\n";

struct Table {
    proxy: Proxy,
    collector: Collector,
    /// The listener that requests are sent to.
    listener: &'static str,
    cases: Vec<Case>,
    problems: Vec<String>,
}

/// A completed request and its expected line and span.
struct Case {
    name: &'static str,
    trace_id: String,
    expected: Expected,
}

impl Table {
    /// Starts an Envoy with one listener.
    fn start(filter: Value) -> Table {
        Self::with(&[Listener::new("inbound", filter)])
    }

    /// Starts an Envoy with listeners. Requests are sent to the first one.
    fn with(listeners: &[Listener]) -> Table {
        let collector = Collector::start().unwrap();
        let proxy =
            Proxy::start(json!({ "id": "n", "cluster": "shop" }), listeners, collector.port()).unwrap();
        Table { proxy, collector, listener: listeners[0].name, cases: Vec::new(), problems: Vec::new() }
    }

    /// Adds a case and returns the header `b3` of its request.
    fn case(&mut self, name: &'static str, expected: Expected) -> String {
        let trace_id = trace(self.cases.len() as u128);
        let b3 = format!("{trace_id}-{CALLER}-1");
        self.cases.push(Case { name, trace_id, expected });
        b3
    }

    fn connect(&self) -> Connection {
        Connection::open(self.proxy.address(self.listener)).unwrap()
    }

    /// Sends a request over HTTP/1.1 without waiting for a response. `rest` follows the request line and the headers `host`
    /// and `b3`.
    fn begin(
        &mut self,
        name: &'static str,
        request: &str,
        rest: impl AsRef<[u8]>,
        expected: Expected,
    ) -> Connection {
        let b3 = self.case(name, expected);
        let mut connection = self.connect();
        connection.send(format!("{request} HTTP/1.1\r\nhost: shop\r\nb3: {b3}\r\n")).unwrap();
        connection.send(rest).unwrap();
        connection
    }

    /// Sends one request over HTTP/1.1 and reads its response.
    fn http1(
        &mut self,
        name: &'static str,
        request: &str,
        rest: impl AsRef<[u8]>,
        expected: Expected,
    ) -> Message {
        let mut connection = self.begin(name, request, rest, expected);
        let read = if expected.method == "HEAD" { connection.response_head() } else { connection.response() };
        let response = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(response.status(), expected.status, "{name}");
        response
    }

    /// Checks the lines and spans of all cases.
    fn check(mut self) {
        for case in std::mem::take(&mut self.cases) {
            match self.proxy.telemetry(&self.collector, &case.trace_id) {
                Ok(telemetry) => {
                    let (line, span) = (&telemetry.lines[0], &telemetry.spans[0]);
                    let problems = case.expected.problems(line, span);
                    if !problems.is_empty() {
                        self.problems.push(format!(
                            "{}: {}\n  {line}\n  {span:?}",
                            case.name,
                            problems.join("; ")
                        ));
                    }
                }
                Err(error) => self.problems.push(format!("{}: {error}", case.name)),
            }
            // Duplicates arrive before the later cases are complete.
            self.cases.push(case);
        }
        let spans = self.collector.spans();
        for case in std::mem::take(&mut self.cases) {
            let lines = self.proxy.lines(&case.trace_id).unwrap().len();
            let spans = spans.iter().filter(|span| span.trace_id == case.trace_id).count();
            if (lines, spans) != (1, 1) {
                self.problems.push(format!("{}: {lines} lines, {spans} spans", case.name));
            }
        }
        assert!(self.problems.is_empty(), "{}", self.problems.join("\n"));
    }
}

fn exporter() -> Value {
    json!({ "exporter": { "cluster": "logtracer-exporter", "flush_interval": "100ms" } })
}

/// Returns a gRPC call to a method of the origin.
fn grpc_request(b3: &str, method: &str) -> Request<()> {
    Request::post(format!("http://shop/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("b3", b3)
        .body(())
        .unwrap()
}
