//! Every way in which a request can live and end: one line, which is one JSON object, and one span.
//!
//! One Envoy serves a table of cases. Each case is a trace of its own, so that what it left behind is found by its
//! trace id.

mod again;
mod answers;
mod expected;
mod grpc;
mod grpc_web;
mod headers;
mod http1;
mod http2;
mod leaving;
mod sizes;
mod timeouts;
mod tunnels;

use http::Request;
use logtracer_tests::collector::Collector;
use logtracer_tests::proxy::{Listener, Proxy};
use logtracer_tests::wire::{Connection, Message};
use serde_json::{Value, json};

use crate::{CALLER, trace};
use expected::{Expected, GRPC, WELL};

/// The end of a request's head.
const END: &str = "\r\n";

struct Lives {
    proxy: Proxy,
    collector: Collector,
    /// Where requests go.
    listener: &'static str,
    cases: Vec<Case>,
    problems: Vec<String>,
}

/// A request that is over, and what has to be left of it.
struct Case {
    name: &'static str,
    trace_id: String,
    expected: Expected,
}

impl Lives {
    /// Starts an Envoy with one listener.
    fn start(filter: Value) -> Lives {
        Self::with(&[Listener::new("inbound", filter)])
    }

    /// Starts an Envoy with these listeners; requests go to the first.
    fn with(listeners: &[Listener]) -> Lives {
        let collector = Collector::start().unwrap();
        let proxy =
            Proxy::start(json!({ "id": "n", "cluster": "shop" }), listeners, collector.port()).unwrap();
        Lives { proxy, collector, listener: listeners[0].name, cases: Vec::new(), problems: Vec::new() }
    }

    /// Names a case; its request has to carry the header `b3` that this gives.
    fn case(&mut self, name: &'static str, expected: Expected) -> String {
        let trace_id = trace(self.cases.len() as u128);
        let b3 = format!("{trace_id}-{CALLER}-1");
        self.cases.push(Case { name, trace_id, expected });
        b3
    }

    fn connect(&self) -> Connection {
        Connection::open(self.proxy.address(self.listener)).unwrap()
    }

    /// Sends the head of a request over HTTP/1.1; `rest` is what follows the request line and the headers `host`
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

    /// Looks at what all cases left behind.
    fn check(mut self) {
        for case in std::mem::take(&mut self.cases) {
            match self.proxy.traces(&self.collector, &case.trace_id) {
                Ok(traces) => {
                    let (line, span) = (&traces.lines[0], &traces.spans[0]);
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
            // Whatever would come twice has come by the time that the later cases are complete.
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

/// A call of gRPC to a method of the origin.
fn grpc_request(b3: &str, method: &str) -> Request<()> {
    Request::post(format!("http://shop/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("b3", b3)
        .body(())
        .unwrap()
}
