//! `edge`: what is taken from a caller who is not trusted.

use logtracer_harness::collector::Collector;
use logtracer_harness::proxy::{Listener, Proxy};
use serde_json::{Value, json};

use super::{Keys, LABELS, shop};
use crate::{CALLER, TRACE, trace};

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
    let (_, span) = keys.line_and_span(TRACE);
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
        let (_, span) = keys.line_and_span(restarted.trace_id());
        assert_eq!((span.parent_span_id.as_str(), span.links), ("", links), "{edge}");
        assert_eq!((span.trace_state.as_str(), span.flags), ("", 3), "{edge}");
        assert_eq!(span.attributes["logtracer.sampling.reason"], "rate", "{edge}");
    }
}

/// The ids are kept, and nothing else of the caller.
#[test]
fn resample() {
    let edge = |rate: f64| json!({ "edge": "resample", "sampling": { "rate": rate } });
    let keys = Keys::start(shop(), &[("all", edge(1.0)), ("none", edge(0.0))]);
    for (number, listener, decision, is_sampled) in
        [(1, "all", "0", true), (2, "all", "d", true), (3, "none", "1", false), (4, "none", "d", false)]
    {
        let b3 = format!("{}-{CALLER}-{decision}", trace(number));
        let traceparent = format!("00-{}-{CALLER}-01", trace(number));
        let sent = [
            ("b3", b3.as_str()),
            ("traceparent", &traceparent),
            ("tracestate", "a=1"),
            ("baggage", "user=7"),
        ];
        let done = keys.get(listener, "/origin/ok", &sent);
        assert_eq!((done.trace_id(), done.is_sampled()), (trace(number).as_str(), is_sampled), "{number}");
        assert_eq!(done.value("x-b3-parentspanid"), CALLER);
        for gone in ["b3", "x-b3-flags", "tracestate", "baggage"] {
            assert!(!done.names().contains(&gone), "{number}: {gone} in {:?}", done.headers);
        }
        let line = if is_sampled {
            let (line, span) = keys.line_and_span(&trace(number));
            assert_eq!((span.parent_span_id.as_str(), span.links.len()), (CALLER, 0));
            assert_eq!(span.attributes["logtracer.sampling.reason"], "rate");
            line
        } else {
            keys.line_only(&trace(number))
        };
        assert_eq!(line["logging.googleapis.com/trace_sampled"], is_sampled);
    }
}

/// The line of the new trace has the id of the caller's, so that one finds the other.
#[test]
fn lines_name_the_trace_of_the_caller() {
    let keys = Keys::start(
        shop(),
        &[
            ("restart", json!({ "edge": "restart" })),
            ("link", json!({ "edge": "link" })),
            ("trust", json!({ "edge": "trust" })),
        ],
    );
    for (listener, expected) in [("restart", true), ("link", true), ("trust", false)] {
        let done = keys.get(listener, "/origin/ok", &[("b3", &format!("{TRACE}-{CALLER}-1"))]);
        let (line, _) = keys.line_and_span(done.trace_id());
        let linked = line.pointer(LABELS).unwrap()["linked_trace"].clone();
        assert_eq!(linked == TRACE, expected, "{listener}: {linked}");
        let none = keys.get(listener, "/origin/ok", &[]);
        let (line, _) = keys.line_and_span(none.trace_id());
        assert_eq!(line.pointer(LABELS).unwrap()["linked_trace"], Value::Null, "{listener}");
    }
}

/// A caller cannot choose the trace or its sampling by the headers of another tracer, and a stranger gets none of them.
#[test]
fn headers_of_other_tracers() {
    const OTHERS: [(&str, &str); 9] = [
        ("uber-trace-id", "1:2:0:1"),
        ("uberctx-user", "7"),
        ("x-datadog-trace-id", "1"),
        ("x-datadog-sampling-priority", "2"),
        ("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"),
        ("sentry-trace", "1-2-1"),
        ("x-ot-span-context", "1;2;1"),
        ("ot-tracer-sampled", "true"),
        ("sw8", "1-a-b-0-c-d-e-f"),
    ];
    let keys = Keys::start(
        shop(),
        &[
            ("trust", json!({})),
            ("resample", json!({ "edge": "resample" })),
            ("restart", json!({ "edge": "restart" })),
            ("link", json!({ "edge": "link" })),
            ("stripped", json!({ "propagation": { "strip_hosts": ["shop"] } })),
        ],
    );
    for listener in ["trust", "resample", "restart", "link", "stripped"] {
        let mut sent = OTHERS.to_vec();
        sent.push(("x-correlation-id", "kept"));
        let done = keys.get(listener, "/origin/ok", &sent);
        let left: Vec<_> =
            done.names().into_iter().filter(|name| OTHERS.iter().any(|(it, _)| it == name)).collect();
        let expected: Vec<_> = OTHERS.iter().map(|(name, _)| *name).filter(|_| listener == "trust").collect();
        assert_eq!(left, expected, "{listener}");
        assert_eq!(done.value("x-correlation-id"), "kept", "{listener}");
    }
}

/// What a Google load balancer sends, at a gateway with the configuration of `docs/google-load-balancer.md`: its trace
/// goes on, its undecided `o=0` is not a decision, and what the client sent in other formats is not read.
#[test]
fn behind_a_google_load_balancer() {
    let page = include_str!("../../../docs/google-load-balancer.md");
    let (_, rest) = page.split_once("```yaml\n").expect("a configuration");
    let (yaml, _) = rest.split_once("```").expect("its end");
    let plugin = crate::manifests::documents::parse(yaml).unwrap().remove(0);
    let mut config = plugin["spec"]["pluginConfig"].clone();
    config["sampling"]["rate"] = json!(1.0);
    config["exporter"] = json!({ "cluster": "logtracer-exporter", "flush_interval": "100ms" });
    let collector = Collector::start().unwrap();
    let gateway = Listener {
        manager: json!({ "use_remote_address": true, "xff_num_trusted_hops": 2 }),
        ..Listener::new("gateway", config)
    };
    let keys = Keys { proxy: Proxy::start(shop(), &[gateway], collector.port()).unwrap(), collector };
    let forwarded = [
        ("via", "1.1 google"),
        ("x-forwarded-for", "10.9.8.7, 203.0.113.7, 35.190.0.1"),
        ("x-forwarded-proto", "https"),
        ("host", "shop.example.com"),
    ];
    for (number, option) in [(1, ";o=0"), (2, ";o=1"), (3, "")] {
        let cloud = format!("{}/9565124096942{option}", trace(number));
        let copy = format!("00-{}-000008b30dd2f3ae-0{}", trace(number), u8::from(option == ";o=1"));
        let mut sent = forwarded.to_vec();
        sent.extend([("x-cloud-trace-context", cloud.as_str()), ("traceparent", &copy)]);
        // A client can send these through the load balancer.
        let of_client = format!("{}-{CALLER}-d", trace(100 + number));
        sent.extend([("b3", of_client.as_str()), ("x-b3-flags", "1"), ("baggage", "user=7")]);
        let done = keys.get("gateway", "/origin/ok", &sent);
        assert_eq!((done.trace_id(), done.is_sampled()), (trace(number).as_str(), true), "{option}");
        assert_eq!(done.value("x-b3-parentspanid"), "000008b30dd2f3ae");
        for gone in ["b3", "x-b3-flags", "baggage"] {
            assert!(!done.names().contains(&gone), "{gone} in {:?}", done.headers);
        }
        let (line, span) = keys.line_and_span(&trace(number));
        assert_eq!(span.attributes["logtracer.sampling.reason"], "rate", "{option}");
        assert_eq!(line["httpRequest"]["remoteIp"], "203.0.113.7");
    }
}
