//! Every key of `docs/configuration.md` on a real Envoy. Each listener of one Envoy has its own configuration.

mod edge;
mod instances;
mod istio;
mod logged;
mod sampling;

use logtracer_harness::collector::{Collector, Span};
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::wire::{Connection, Message};
use logtracer_harness::{shell, wait};
use serde_json::{Value, json};

use crate::{CALLER, Headers, trace, values};

const LABELS: &str = "/logging.googleapis.com~1labels";

struct Keys {
    proxy: Proxy,
    collector: Collector,
}

/// A completed request.
struct Done {
    response: Message,
    /// The headers that the service received; empty for a local reply of Envoy.
    headers: Vec<(String, String)>,
}

impl Keys {
    /// Starts one Envoy with a listener for each configuration. The exporter is added if it is absent.
    fn start(node: Value, configurations: &[(&'static str, Value)]) -> Keys {
        let collector = Collector::start().unwrap();
        let listeners: Vec<_> = configurations
            .iter()
            .map(|(name, configuration)| {
                let mut filter = configuration.clone();
                let exporter = json!({ "cluster": "logtracer-exporter", "flush_interval": "100ms" });
                filter.as_object_mut().unwrap().entry("exporter").or_insert(exporter);
                Listener::new(name, filter)
            })
            .collect();
        let proxy = Proxy::start(node, &listeners, collector.port()).unwrap();
        Keys { proxy, collector }
    }

    fn send(&self, listener: &str, request: &str, headers: Headers<'_>) -> Done {
        let mut connection = Connection::open(self.proxy.address(listener)).unwrap();
        let mut text = format!("{request} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            text.push_str("host: shop\r\n");
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        connection.send(text + "\r\n").unwrap();
        let response = connection.response().unwrap();
        let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let headers = serde_json::from_value(body["headers"].clone()).unwrap_or_default();
        Done { response, headers }
    }

    fn get(&self, listener: &str, path: &str, headers: Headers<'_>) -> Done {
        self.send(listener, &format!("GET {path}"), headers)
    }

    /// Returns the only line and the only span of a trace.
    #[track_caller]
    fn line_and_span(&self, trace_id: &str) -> (Value, Span) {
        let telemetry = self.proxy.telemetry(&self.collector, trace_id).unwrap();
        assert_eq!((telemetry.lines.len(), telemetry.spans.len()), (1, 1), "{telemetry:#?}");
        (telemetry.lines[0].clone(), telemetry.spans[0].clone())
    }

    /// Returns the only line of a trace without a span.
    #[track_caller]
    fn line_only(&self, trace_id: &str) -> Value {
        let lines = wait::try_until("a line", || {
            self.proxy.lines(trace_id).map(|lines| Some(lines).filter(|lines| !lines.is_empty()))
        })
        .unwrap();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    }

    /// Waits until all buffered spans are sent, and returns all spans.
    fn all_spans(&self) -> Vec<Span> {
        let marker = trace(0xffff_ffff);
        self.get("marker", "/origin/ok", &[("b3", &format!("{marker}-{CALLER}-1"))]);
        self.line_and_span(&marker);
        let sum = |name: &str| self.proxy.envoy.stat(&shell::metric(&format!("spans_{name}"))).unwrap();
        wait::until("all spans", || Some(()).filter(|()| sum("buffered") == sum("sent"))).unwrap();
        self.collector.spans()
    }
}

impl Done {
    #[track_caller]
    fn value(&self, name: &str) -> &str {
        match values(&self.headers, name)[..] {
            [value] => value,
            ref found => panic!("{} of {name} in {:?}", found.len(), self.headers),
        }
    }

    #[track_caller]
    fn trace_id(&self) -> &str {
        self.value("x-b3-traceid")
    }

    #[track_caller]
    fn is_sampled(&self) -> bool {
        self.value("x-b3-sampled") == "1"
    }

    fn names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }
}

fn shop() -> Value {
    json!({ "id": "n", "cluster": "shop" })
}
