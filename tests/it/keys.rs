//! Every key of `docs/configuration.md` on a real Envoy. The listeners of one Envoy have a configuration each.

use std::collections::BTreeMap;

use logtracer_tests::collector::{Batch, Collector, Span};
use logtracer_tests::proxy::{ISTIO_EXPORTER, Listener, Proxy};
use logtracer_tests::wait;
use logtracer_tests::wire::{Connection, Message};
use serde_json::{Value, json};

use crate::{CALLER, Headers, TRACE, text, trace, values};

const LABELS: &str = "/logging.googleapis.com~1labels";

struct Keys {
    proxy: Proxy,
    collector: Collector,
}

/// A request that was answered.
struct Done {
    response: Message,
    /// What the service got; nothing where Envoy answered itself.
    headers: Vec<(String, String)>,
}

impl Keys {
    /// One Envoy with a listener for each name; every filter also gets the exporter, unless it says so itself.
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

    /// The one line and the one span of a trace.
    #[track_caller]
    fn left(&self, trace_id: &str) -> (Value, Span) {
        let traces = self.proxy.traces(&self.collector, trace_id).unwrap();
        assert_eq!((traces.lines.len(), traces.spans.len()), (1, 1), "{traces:#?}");
        (traces.lines[0].clone(), traces.spans[0].clone())
    }

    /// The one line of a trace without a span.
    #[track_caller]
    fn line_only(&self, trace_id: &str) -> Value {
        let lines = wait::try_until("a line", || {
            self.proxy.lines(trace_id).map(|lines| Some(lines).filter(|lines| !lines.is_empty()))
        })
        .unwrap();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    }

    /// The ids of all traces with a span, once everything that was buffered has gone out.
    fn all_spans(&self) -> Vec<Span> {
        let marker = trace(0xffff_ffff);
        self.get("marker", "/origin/ok", &[("b3", &format!("{marker}-{CALLER}-1"))]);
        self.left(&marker);
        let sum = |name: &str| self.proxy.envoy.stat(&format!("wasmcustom.logtracer_spans_{name}")).unwrap();
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

/// Rules 41 and 43.
#[test]
fn edge() {
    let keys = Keys::start(
        shop(),
        &[
            ("trust", json!({ "edge": "trust" })),
            ("restart", json!({ "edge": "restart" })),
            ("link", json!({ "edge": "link" })),
        ],
    );
    let debug = format!("{TRACE}-{CALLER}-d");
    let traceparent = format!("00-{TRACE}-{CALLER}-00");
    let sent =
        [("b3", debug.as_str()), ("traceparent", &traceparent), ("tracestate", "a=1"), ("baggage", "user=7")];

    let trusted = keys.get("trust", "/origin/ok", &sent);
    assert_eq!(trusted.trace_id(), TRACE);
    assert_eq!(trusted.value("x-b3-flags"), "1");
    assert_eq!(trusted.value("baggage"), "user=7");
    assert_eq!(trusted.value("tracestate"), "a=1");
    let (_, span) = keys.left(TRACE);
    assert_eq!((span.parent_span_id.as_str(), span.links.len()), (CALLER, 0));
    assert_eq!(span.attributes["logtracer.sampling.reason"], "debug");
    assert_eq!(span.trace_state, "a=1");

    let link = [TRACE, CALLER, "a=1"].map(str::to_owned).into();
    for (edge, links) in [("restart", vec![]), ("link", vec![link])] {
        let restarted = keys.get(edge, "/origin/ok", &sent);
        assert_ne!(restarted.trace_id(), TRACE, "{edge}");
        assert_eq!(restarted.value("x-b3-sampled"), "1", "{edge}");
        assert!(restarted.value("traceparent").ends_with("-03"), "{edge}"); // recorded, and a random id
        for gone in ["x-b3-flags", "x-b3-parentspanid", "b3", "tracestate", "baggage"] {
            assert!(!restarted.names().contains(&gone), "{edge}: {gone} in {:?}", restarted.headers);
        }
        let (_, span) = keys.left(restarted.trace_id());
        assert_eq!((span.parent_span_id.as_str(), span.links), ("", links), "{edge}");
        assert_eq!((span.trace_state.as_str(), span.flags), ("", 3), "{edge}");
        assert_eq!(span.attributes["logtracer.sampling.reason"], "rate", "{edge}");
    }
}

/// Rules 26, 45, 46, 47, 50 and 51.
#[test]
fn sampling() {
    let keys = Keys::start(
        shop(),
        &[
            ("marker", json!({})),
            ("zero", json!({ "sampling": { "rate": 0 } })),
            ("one-half", json!({ "sampling": { "rate": 0.5 } })),
            ("other-half", json!({ "sampling": { "rate": 0.5 } })),
            ("load-balancer", json!({ "sampling": { "defer_cloud_trace_zero": true } })),
            ("limited", json!({ "sampling": { "max_per_second": 2 } })),
            ("late", json!({ "sampling": { "rate": 0, "keep_errors": true, "keep_slower_than": "500ms" } })),
        ],
    );

    // What the caller decided stands, whatever the rate.
    let denied = keys.get("marker", "/origin/ok", &[("b3", "0")]);
    assert!(!denied.is_sampled());
    assert!(keys.get("zero", "/origin/ok", &[("b3", "1")]).is_sampled());
    assert!(!keys.get("zero", "/origin/ok", &[]).is_sampled());

    // Two hops that have the same rate agree on every trace.
    let mut kept = 0;
    for number in 0..48u128 {
        let id = format!("{:032x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) | 1);
        let undecided = format!("{id}-{CALLER}");
        let [one, other] = ["one-half", "other-half"]
            .map(|listener| keys.get(listener, "/origin/ok", &[("b3", &undecided)]).is_sampled());
        assert_eq!(one, other, "{id}");
        kept += u32::from(one);
    }
    assert!((8..=40).contains(&kept), "{kept} of 48");

    // The load balancer's zero is no decision here; its copy in traceparent neither; a caller's own is one.
    let zero = format!("{TRACE}/1;o=0");
    let copy = format!("00-{TRACE}-{CALLER}-00");
    let b3 = format!("{TRACE}-{CALLER}-0");
    let cloud = ("x-cloud-trace-context", zero.as_str());
    for (listener, sent, expected) in [
        ("marker", vec![cloud], false),
        ("load-balancer", vec![cloud], true),
        ("load-balancer", vec![cloud, ("traceparent", &copy)], true),
        ("load-balancer", vec![("traceparent", &copy)], false),
        ("load-balancer", vec![("b3", &b3)], false),
    ] {
        let done = keys.get(listener, "/origin/ok", &sent);
        assert_eq!((done.trace_id(), done.is_sampled()), (TRACE, expected), "{listener}: {sent:?}");
    }

    // Two a second, also while the second turns; what a caller has decided is not limited.
    let begin = std::time::Instant::now();
    let sampled = (0..30).filter(|_| keys.get("limited", "/origin/ok", &[]).is_sampled()).count() as u64;
    let most = 2 * (begin.elapsed().as_secs() + 2);
    assert!((1..=most).contains(&sampled), "{sampled} of at most {most}");
    assert!(keys.get("limited", "/origin/ok", &[("b3", "1")]).is_sampled());

    // Failed and slow ones are exported late, and their lines do not pretend otherwise.
    let (failed, slow, well) = (trace(1), trace(2), trace(3));
    for (id, path) in [(&failed, "/origin/500"), (&slow, "/origin/slow"), (&well, "/origin/ok")] {
        keys.get("late", path, &[("b3", &format!("{id}-{CALLER}-0"))]);
    }
    for (id, is_error) in [(&failed, true), (&slow, false)] {
        let (line, span) = keys.left(id);
        assert_eq!(span.attributes["logtracer.late"], true);
        assert_eq!((span.is_error, span.flags & 1), (is_error, 0));
        assert_eq!(line["logging.googleapis.com/trace_sampled"], false);
    }
    keys.line_only(&well);
    let spans = keys.all_spans();
    assert!(spans.iter().all(|span| span.trace_id != well));
    assert!(spans.iter().all(|span| span.trace_id != denied.trace_id()));
    let exported_halves = spans.iter().filter(|span| span.name == "GET /origin/ok").count();
    assert!(exported_halves >= 2 * kept as usize, "{exported_halves}");

    // Each request was counted once, by who decided.
    let count = |name: &str| keys.proxy.envoy.stat(&format!("wasmcustom.logtracer_{name}")).unwrap();
    wait::until("the counters", || Some(()).filter(|()| count("requests") >= 139)).unwrap();
    let decided: u64 = ["parent", "debug", "rate", "rule", "limit"]
        .map(|who| count(&format!("decided_by_{who}")))
        .iter()
        .sum();
    assert_eq!(decided, count("requests"));
    assert_eq!(count("sampled") + count("denied"), count("requests"));
    assert_eq!(count("decided_by_limit"), 30 - sampled);
}

/// Rules 48 and 69.
#[test]
fn rules() {
    let keys = Keys::start(
        shop(),
        &[
            ("marker", json!({})),
            (
                "rules",
                json!({ "sampling": { "rate": 0, "rules": [
                    { "path": "/origin/exact", "method": "POST", "rate": 1 },
                    { "path_prefix": "/origin/quiet", "rate": 1, "log": false },
                    { "path_prefix": "/down", "log": false },
                    { "path_contains": "/inside/", "rate": 1 },
                    { "host": "*.example.com", "rate": 1 },
                    { "header": "x-debug: 1", "rate": 1 },
                    { "header": "x-any", "rate": 1 },
                    { "path_contains": "inside", "rate": 0 },
                ] } }),
            ),
        ],
    );
    let cases: &[(&str, Headers<'_>, bool, bool)] = &[
        // sampled, logged
        ("GET /origin/ok", &[], false, true),
        ("POST /origin/exact?x=1", &[("content-length", "0")], true, true),
        ("GET /origin/exact", &[], false, true),
        ("POST /origin/exact/not", &[("content-length", "0")], false, true),
        ("GET /origin/quiet/a", &[], true, false),
        ("GET /origin/a/inside/b", &[], true, true),
        ("GET /origin/a?/inside/", &[], false, true),
        ("GET /origin/ok", &[("host", "api.example.com:80")], true, true),
        ("GET /origin/ok", &[("host", "example.com")], false, true),
        ("GET /origin/ok", &[("x-debug", "1")], true, true),
        ("GET /origin/ok", &[("x-debug", "2")], false, true),
        ("GET /origin/ok", &[("x-debug", "2"), ("x-debug", "1")], true, true), // any line of a header
        ("GET /origin/ok", &[("x-any", "thing")], true, true),
        ("GET /origin/quiet/inside/", &[], true, false), // the first that matches counts
    ];
    let mut seen = Vec::new();
    for (request, headers, sampled, logged) in cases {
        let done = keys.send("rules", request, headers);
        assert_eq!(done.is_sampled(), *sampled, "{request} {headers:?}");
        seen.push((done.trace_id().to_owned(), *sampled, *logged));
    }
    let failed = trace(1);
    keys.get("rules", "/down", &[("b3", &format!("{failed}-{CALLER}-0"))]);
    assert_eq!(keys.line_only(&failed)["severity"], "ERROR"); // failures are logged whatever is configured

    let spans = keys.all_spans();
    for (index, (trace_id, sampled, logged)) in seen.iter().enumerate() {
        let case = cases[index].0;
        assert_eq!(spans.iter().any(|span| span.trace_id == *trace_id), *sampled, "{case}");
        assert_eq!(keys.proxy.lines(trace_id).unwrap().len(), usize::from(*logged), "{case}");
        if *sampled {
            let span = spans.iter().find(|span| span.trace_id == *trace_id).unwrap();
            assert_eq!(span.attributes["logtracer.sampling.reason"], "rule", "{case}");
        }
    }
}

/// Rules 48 and 49.
#[test]
fn exclusions() {
    let keys = Keys::start(
        shop(),
        &[
            ("marker", json!({})),
            ("exclude", json!({ "exclude": { "paths": ["/origin/health"], "path_contains": ["/assets/"] } })),
            ("silent", json!({ "exclude": { "paths": ["/origin/health", "/down"], "log": true } })),
            ("probes", json!({ "exclude": { "user_agents": ["prober"] } })),
        ],
    );
    let probe = ("user-agent", "kube-probe/1.30");
    let cases = [
        // span, line
        ("exclude", "/origin/health?x", None, false, true),
        ("exclude", "/origin/healthy", None, true, true),
        ("exclude", "/origin/assets/a.css", None, false, true),
        ("exclude", "/origin/ok", Some(probe), false, true),
        ("exclude", "/origin/ok", Some(("user-agent", "GoogleHC/1.0")), false, true),
        ("exclude", "/origin/ok", Some(("user-agent", "Envoy/HC")), false, true),
        ("exclude", "/origin/ok", Some(("user-agent", "ELB-HealthChecker/2.0")), false, true),
        ("exclude", "/origin/ok", Some(("user-agent", "not kube-probe/1.30")), true, true),
        ("silent", "/origin/health", None, false, false),
        ("silent", "/origin/ok", Some(probe), false, false),
        ("silent", "/origin/ok", None, true, true),
        ("silent", "/down", None, false, true),
        ("probes", "/origin/ok", Some(("user-agent", "prober 1")), false, true),
        ("probes", "/origin/ok", Some(probe), true, true),
    ];
    for (index, (listener, path, header, ..)) in cases.iter().enumerate() {
        let b3 = format!("{}-{CALLER}-1", trace(index as u128));
        let headers: Vec<_> = [("b3", b3.as_str())].into_iter().chain(*header).collect();
        let done = keys.get(listener, path, &headers);
        if *path != "/down" {
            assert_eq!(done.trace_id(), trace(index as u128)); // ids go on all the same
        }
    }
    let spans = keys.all_spans();
    for (index, (listener, path, header, span, line)) in cases.iter().enumerate() {
        let case = format!("{listener} {path} {header:?}");
        let id = trace(index as u128);
        if *line {
            keys.line_only(&id);
        }
        assert_eq!(spans.iter().any(|span| span.trace_id == id), *span, "{case}");
        assert_eq!(keys.proxy.lines(&id).unwrap().len(), usize::from(*line), "{case}");
    }
}

/// Rules 36, 42, 59, 70 and 83.
#[test]
fn what_goes_out_and_what_is_told() {
    let keys = Keys::start(
        shop(),
        &[
            ("stripped", json!({ "propagation": { "strip_hosts": ["api.example.com", "*.partner.com"] } })),
            ("every-format", json!({ "propagation": { "inject": ["b3", "grpc-trace-bin"] } })),
            ("keep", json!({ "query": "keep" })),
            ("drop", json!({ "query": "drop" })),
            (
                "recorded",
                json!({
                    "request_headers": ["X-Tenant", "accept", "referer"],
                    "response_headers": ["x-answer", "content-type", "location"],
                    "response_header": "X-Trace-Id",
                }),
            ),
            ("client", json!({ "span_kind": "client" })),
            ("server", json!({ "span_kind": "server" })),
        ],
    );
    let b3 = |number| format!("{}-{CALLER}-1", trace(number));

    for (number, host, is_stripped) in [
        (1, "api.example.com", true),
        (2, "API.example.com:443", true),
        (3, "eu.api.partner.com", true),
        (4, "partner.com", false),
        (5, "shop", false),
    ] {
        let sent = b3(number);
        let w3c = format!("00-{}-{CALLER}-01", trace(number));
        let sent = [
            ("host", host),
            ("b3", sent.as_str()),
            ("traceparent", &w3c),
            ("tracestate", "a=1"),
            ("baggage", "user=7"),
        ];
        let done = keys.get("stripped", "/origin/ok", &sent);
        let known = [
            "b3",
            "x-b3-traceid",
            "x-b3-sampled",
            "traceparent",
            "tracestate",
            "x-cloud-trace-context",
            "baggage",
        ];
        let left: Vec<_> = done.names().into_iter().filter(|name| known.contains(name)).collect();
        assert_eq!(left.is_empty(), is_stripped, "{host}: {left:?}");
        keys.left(&trace(number)); // line and span stay
    }

    let sent = b3(10);
    let done = keys.get("every-format", "/origin/ok", &[("b3", &sent), ("x-b3-traceid", TRACE)]);
    let span_id = keys.left(&trace(10)).1.span_id;
    assert_eq!(done.value("b3"), format!("{}-{span_id}-1-{CALLER}", trace(10)));
    assert_eq!(done.value("grpc-trace-bin").len(), 39);
    assert!(!done.names().contains(&"x-b3-traceid") && !done.names().contains(&"traceparent"));

    for (number, listener, url, query, referer) in [
        (
            20,
            "server",
            "http://shop/origin/ok?a=REDACTED&REDACTED",
            "a=REDACTED&REDACTED",
            "http://x/?b=REDACTED",
        ),
        (21, "keep", "http://shop/origin/ok?a=1&token", "a=1&token", "http://x/?b=2"),
        (22, "drop", "http://shop/origin/ok", "-", "http://x/"),
    ] {
        let sent = b3(number);
        keys.get(listener, "/origin/ok?a=1&token", &[("b3", &sent), ("referer", "http://x/?b=2")]);
        let (line, span) = keys.left(&trace(number));
        assert_eq!(text(&line, "/httpRequest/requestUrl"), url);
        assert_eq!(text(&line, "/httpRequest/referer"), referer);
        let found = span.attributes.get("url.query").and_then(Value::as_str).unwrap_or("-");
        assert_eq!(found, query, "{listener}");
    }

    let sent = b3(30);
    let done =
        keys.get("recorded", "/origin/ok", &[("b3", &sent), ("x-tenant", "7"), ("cookie", "secret=1")]);
    assert_eq!(done.response.header("x-trace-id"), Some(trace(30).as_str()));
    let (line, span) = keys.left(&trace(30));
    let expected = [
        ("http.request.header.x-tenant", "7"),
        ("http.response.header.x-answer", "yes"),
        ("http.response.header.content-type", "application/json"),
    ];
    for (name, value) in expected {
        assert_eq!(span.attributes[name], json!([value]), "{span:?}");
        assert_eq!(line.pointer(LABELS).unwrap()[name], value, "{line}");
    }
    assert!(!span.attributes.contains_key("http.request.header.accept"));
    assert!(!line.to_string().contains("secret") && !format!("{span:?}").contains("secret"));

    // Every line of a header, and no more of a URL than elsewhere.
    let sent = b3(33);
    // Envoy itself removes what is a whole URL with credentials or a fragment.
    let referer = "//me:hush@shop/cb?code=hush";
    let sent = [("b3", sent.as_str()), ("x-tenant", "7"), ("x-tenant", "8"), ("referer", referer)];
    let done = keys.get("recorded", "/origin/twice", &sent);
    assert_eq!(values(&done.response.headers, "x-trace-id"), [trace(33)]);
    let (line, span) = keys.left(&trace(33));
    let expected = [
        ("http.request.header.x-tenant", vec!["7", "8"]),
        ("http.request.header.referer", vec!["//shop/cb?code=REDACTED"]),
        ("http.response.header.x-answer", vec!["yes", "no"]),
        ("http.response.header.location", vec!["https://shop/other?token=REDACTED"]),
    ];
    for (name, values) in expected {
        assert_eq!(span.attributes[name], json!(values), "{span:?}");
        assert_eq!(line.pointer(LABELS).unwrap()[name], values.join(", "), "{line}");
    }
    assert_eq!(text(&line, "/httpRequest/referer"), "//shop/cb?code=REDACTED");
    assert!(!line.to_string().contains("hush") && !format!("{span:?}").contains("hush"), "{line} {span:?}");

    // Also in answers of Envoy itself; only that of a filter that comes before never passes this one.
    for (number, path, status) in [(31, "/limited", 429), (32, "/nowhere", 404)] {
        let sent = b3(number);
        let done = keys.get("recorded", path, &[("b3", &sent)]);
        assert_eq!(done.response.status(), status);
        assert_eq!(done.response.header("x-trace-id"), Some(trace(number).as_str()), "{path}");
        keys.left(&trace(number));
    }

    for (number, listener, direction) in [(40, "client", "outbound"), (41, "server", "inbound")] {
        let sent = b3(number);
        keys.get(listener, "/origin/418", &[("b3", &sent)]);
        let (line, span) = keys.left(&trace(number));
        assert_eq!(span.kind, listener);
        assert_eq!(span.is_error, listener == "client"); // a 418 is the caller's fault
        assert_eq!(span.attributes.contains_key("url.full"), listener == "client");
        assert_eq!(span.attributes.contains_key("url.path"), listener == "server");
        assert_eq!(line.pointer(LABELS).unwrap()["direction"], direction);
    }
}

/// Istio's layout of the node's metadata, its numbers as doubles, and no configuration at all. Two listeners of one
/// plugin configuration are two root contexts in one VM, as a sidecar has them.
#[test]
fn as_istio_configures_it() {
    let collector = Collector::start().unwrap();
    let node = json!({
        "id": "sidecar~10.0.0.1~cart-7d9f-x.shop~shop.svc.cluster.local",
        "cluster": "cart.shop",
        "metadata": { "LABELS": { "app": "cart-app", "service.istio.io/canonical-name": "cart" } },
    });
    let plugin_config = json!({
        "project_id": "p",
        "sampling": { "rate": 1.0, "max_per_second": 1000.0 },
        "exporter": {
            "cluster": "logtracer-exporter",
            "authority": "exporter.example.com",
            "path": "/otlp/v1/traces",
            "timeout": "3s",
            "flush_interval": "100ms",
            "max_batch_spans": 5.0,
            "max_buffer_bytes": 65536.0,
            "headers": { "Authorization": "Bearer hush" },
        },
    });
    let inbound = Listener::new("inbound", plugin_config.clone());
    let outbound = Listener { direction: "OUTBOUND", ..Listener::new("outbound", plugin_config) };
    let bare = Listener { filter: None, ..Listener::new("bare", json!({})) };
    let proxy = Proxy::start(node, &[inbound, outbound, bare], collector.port()).unwrap();
    let keys = Keys { proxy, collector };

    for (number, listener, kind) in [(1, "inbound", "server"), (2, "outbound", "client")] {
        let sent = format!("{}-{CALLER}-1", trace(number));
        keys.get(listener, "/origin/ok", &[("b3", &sent)]);
        let (line, span) = keys.left(&trace(number));
        assert_eq!((span.kind, span.service_name.as_str()), (kind, "cart"));
        assert!(text(&line, "/message").starts_with("cart - GET - "), "{line}");
        assert_eq!(
            text(&line, "/logging.googleapis.com~1trace"),
            format!("projects/p/traces/{}", trace(number))
        );
    }
    let sent = format!("{}-{CALLER}-1", trace(3));
    assert_eq!(keys.get("bare", "/origin/ok", &[("b3", &sent)]).trace_id(), trace(3));
    assert!(text(&keys.line_only(&trace(3)), "/message").starts_with("cart - GET - "));

    // A burst goes out in batches of five, without waiting for the interval to pass.
    for number in 100..120 {
        let sent = format!("{}-{CALLER}-1", trace(number));
        keys.get("inbound", "/origin/ok", &[("b3", &sent)]);
    }
    keys.left(&trace(119));
    let batches: Vec<Batch> = keys.collector.batches();
    assert!(batches.iter().all(|batch| (1..=5).contains(&batch.spans.len())));
    for batch in batches {
        assert_eq!(batch.path, "/otlp/v1/traces");
        assert_eq!(batch.header("host"), Some("exporter.example.com"));
        assert_eq!(batch.header("authorization"), Some("Bearer hush"));
        assert_eq!(batch.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(batch.header("b3"), Some("0")); // rule 74: what takes spans in is not traced
        let expected: BTreeMap<String, Value> =
            [("service.name", "cart"), ("gcp.project_id", "p")].map(|(k, v)| (k.to_owned(), v.into())).into();
        assert_eq!(batch.resource, expected);
    }
    assert!(!keys.proxy.envoy.errors().contains("hush"));
}

/// Rule 59: Istio calls the listeners of its gateways outbound, but their callers come from outside.
#[test]
fn as_a_gateway_of_istio() {
    let collector = Collector::start().unwrap();
    let node = json!({ "id": "router~10.0.0.2~gate-5c~istio-system.svc.cluster.local", "cluster": "gate" });
    let filter = json!({ "exporter": { "cluster": ISTIO_EXPORTER, "flush_interval": "100ms" } });
    let listener = Listener { direction: "OUTBOUND", ..Listener::new("gate", filter) };
    let keys = Keys { proxy: Proxy::start(node, &[listener], collector.port()).unwrap(), collector };

    keys.get("gate", "/origin/ok", &[("b3", &format!("{}-{CALLER}-1", trace(1)))]);
    let (line, span) = keys.left(&trace(1));
    assert_eq!((span.kind, span.service_name.as_str()), ("server", "gate"));
    assert_eq!(line.pointer(LABELS).unwrap()["direction"], "inbound");
    // No authority may look like the name of this cluster.
    assert_eq!(keys.collector.batches()[0].header("host"), Some("exporter.obs.svc.cluster.local:4318"));
}

/// Where nothing better is known the label `app` names the service.
#[test]
fn a_service_is_named_by_its_label() {
    let node = json!({ "id": "n", "cluster": "c", "metadata": { "LABELS": { "app": "till" } } });
    let keys = Keys::start(node, &[("plain", json!({})), ("named", json!({ "service_name": "desk" }))]);
    for (number, listener, name) in [(1, "plain", "till"), (2, "named", "desk")] {
        keys.get(listener, "/origin/ok", &[("b3", &format!("{}-{CALLER}-1", trace(number)))]);
        assert_eq!(keys.left(&trace(number)).1.service_name, name);
    }
}
