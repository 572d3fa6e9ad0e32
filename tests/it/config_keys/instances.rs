//! Two instances of the filter in one stream, for example the plugins of a mesh and of a team.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use logtracer_harness::collector::Collector;
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::wire::{self, Connection};
use logtracer_harness::{shell, wait};
use serde_json::{Value, json};

use super::{Keys, shop};
use crate::{CALLER, trace};

/// P3 of the inputs of producers: one line and one span, and a message that says which instance counts.
#[test]
fn the_second_instance_does_nothing() {
    let collector = Collector::start().unwrap();
    let exporter = json!({ "cluster": "logtracer-exporter", "flush_interval": "100ms" });
    let both = |filters| Listener {
        second: Some(json!({ "service_name": "second", "exporter": exporter })),
        filters,
        ..Listener::new("both", json!({ "service_name": "first", "exporter": exporter }))
    };
    // Different filters before and between the instances may respond, so that both or one of them see no headers.
    let apart = Listener { name: "apart", ..both(&["logtracer", "rbac", "second"]) };
    // The first instance sends no header that the second one reads.
    let silent = |name, propagation: Value| {
        let first = json!({ "service_name": "first", "exporter": exporter, "propagation": propagation });
        Listener { name, filter: Some(first), ..both(&["logtracer", "second"]) }
    };
    let of_one_service = Listener {
        name: "same",
        second: Some(json!({ "service_name": "same", "exporter": exporter, "query": "drop" })),
        ..silent("same", json!({ "inject": [] }))
    };
    let first = json!({ "service_name": "same", "exporter": exporter, "propagation": { "inject": [] } });
    let listeners = [
        both(&["rbac", "logtracer", "second"]),
        apart,
        Listener { filter: Some(first), ..of_one_service },
        silent("stripped", json!({ "strip_hosts": ["shop"] })),
        silent("nothing", json!({ "inject": [] })),
    ];
    let keys = Keys { proxy: Proxy::start(shop(), &listeners, collector.port()).unwrap(), collector };

    let cases = [
        ("both", "/origin/ok", true),
        ("both", "/nowhere", true),
        ("both", "/forbidden", true),
        ("apart", "/origin/ok", true),
        ("apart", "/forbidden", true),
        ("both", "/origin/500", true),
        ("stripped", "/origin/ok", true),
        ("nothing", "/origin/ok", true),
        ("same", "/origin/ok", true),
    ];
    for (number, (listener, path, is_first)) in cases.into_iter().enumerate() {
        let number = number as u128;
        let done = keys.get(listener, path, &[("b3", &format!("{}-{CALLER}-1", trace(number)))]);
        let (line, span) = keys.line_and_span(&trace(number));
        let name = match (listener, is_first) {
            ("same", _) => "same",
            (_, true) => "first",
            (_, false) => "second",
        };
        assert_eq!(span.service_name, name, "{listener} {path}");
        assert!(line["message"].as_str().unwrap().starts_with(name), "{listener} {path}: {line}");
        assert_eq!(span.parent_span_id, CALLER, "{listener} {path}");
        if ["stripped", "nothing", "same"].contains(&listener) {
            let names = done.names();
            assert!(!names.contains(&"x-b3-traceid") && !names.contains(&"traceparent"), "{names:?}");
        } else if path == "/origin/ok" {
            assert_eq!(done.value("x-b3-spanid"), span.span_id, "{listener}");
        }
    }
    let duplicates = || keys.proxy.envoy.stat(&shell::metric("duplicates")).unwrap();
    let least = if shell::shell() == shell::Shell::Native { 7 } else { 9 };
    wait::until("the counter", || Some(()).filter(|()| duplicates() >= least)).unwrap();
    let requests = || keys.proxy.envoy.stat(&shell::metric("requests")).unwrap();
    assert_eq!(requests(), cases.len() as u64);

    let errors = keys.proxy.envoy.errors();
    let warnings: Vec<_> = errors.lines().filter(|line| line.contains("are both in this proxy")).collect();
    assert!(!warnings.is_empty() && warnings.len() <= 9, "{errors}");
    let owner = if shell::shell() == shell::Shell::Native { "first" } else { "logtracer" };
    assert!(warnings[0].contains(&format!("{owner} comes first")), "{warnings:?}");
}

/// A request that passes through the same proxy twice is two requests, although the caller's span is one of the proxy's.
#[test]
fn a_request_that_comes_back_is_another_one() {
    let collector = Collector::start().unwrap();
    let config = json!({ "exporter": { "cluster": "logtracer-exporter", "flush_interval": "100ms" } });
    let routes = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "service" } }]);
    let manager = json!({ "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] } });
    let inner = Listener { manager: manager.clone(), ..Listener::new("inner", config.clone()) };
    let outer = Listener { direction: "OUTBOUND", manager, ..Listener::new("outer", config) };
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let services =
        [("service", service.local_addr().unwrap().port()), ("logtracer-exporter", collector.port())];
    let proxy = Proxy::start_before(shop(), &[outer, inner], &services).unwrap();
    let inner = proxy.address("inner");
    // Sends what it receives to the other listener, and responds after it.
    let first = thread::spawn(move || {
        let respond =
            |stream: &mut TcpStream| stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let (mut outer_stream, _) = service.accept().unwrap();
        let mut reader = BufReader::new(outer_stream.try_clone().unwrap());
        let request = wire::read(&mut reader).unwrap().unwrap();
        let mut text = "GET /origin/ok HTTP/1.1\r\n".to_owned();
        for (name, value) in &request.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut back = Connection::open(inner).unwrap();
        back.send(text + "\r\n").unwrap();
        let (mut inner_stream, _) = service.accept().unwrap();
        let mut reader = BufReader::new(inner_stream.try_clone().unwrap());
        wire::read(&mut reader).unwrap().unwrap();
        respond(&mut inner_stream).unwrap();
        assert_eq!(back.response().unwrap().status(), 200);
        respond(&mut outer_stream).unwrap();
    });
    let keys = Keys { proxy, collector };
    keys.get("outer", "/origin/ok", &[("b3", &format!("{}-{CALLER}-1", trace(1)))]);
    first.join().unwrap();
    let mut spans = wait::until("two spans", || {
        let mut spans = keys.collector.spans();
        spans.retain(|span| span.trace_id == trace(1));
        Some(spans).filter(|spans| spans.len() == 2)
    })
    .unwrap();
    spans.sort_by_key(|span| span.kind);
    assert_eq!(spans.iter().map(|span| span.kind).collect::<Vec<_>>(), ["client", "server"]);
    assert_eq!(spans[1].parent_span_id, spans[0].span_id);
    assert_eq!(keys.proxy.envoy.stat(&shell::metric("duplicates")).unwrap(), 0);
}

/// A route can replace a path by a longer one. Its memory then becomes the path of a request that comes back meanwhile.
#[test]
fn a_request_with_the_memory_of_another_ones_path_is_another_one() {
    const LENGTHS: [usize; 5] = [60, 260, 280, 900, 1000];
    let path = |length: usize| format!("/rw/{}", "p".repeat(length));
    let collector = Collector::start().unwrap();
    let config = json!({ "exporter": { "cluster": "logtracer-exporter", "flush_interval": "100ms" } });
    let rewrite = format!("/{}/", "z".repeat(600));
    let routes = json!([{ "match": { "prefix": "/rw/" },
        "route": { "cluster": "service", "prefix_rewrite": rewrite } }]);
    let manager = json!({ "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] } });
    let listener = Listener { manager, ..Listener::new("inbound", config) };
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let services =
        [("service", service.local_addr().unwrap().port()), ("logtracer-exporter", collector.port())];
    let proxy = Proxy::start_before(shop(), &[listener], &services).unwrap();
    let address = proxy.address("inbound");
    // Calls the proxy back before it responds.
    let server = thread::spawn(move || {
        let accept = || {
            let (stream, _) = service.accept().unwrap();
            let request = wire::read(&mut BufReader::new(stream.try_clone().unwrap())).unwrap().unwrap();
            (stream, request)
        };
        let respond = |stream: &mut TcpStream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        };
        for length in LENGTHS {
            let (mut outer, request) = accept();
            let context = request.header("traceparent").unwrap();
            let mut back = Connection::open(address).unwrap();
            back.send(format!(
                "GET {} HTTP/1.1\r\nhost: shop\r\ntraceparent: {context}\r\n\r\n",
                path(length)
            ))
            .unwrap();
            let (mut inner, _) = accept();
            respond(&mut inner).unwrap();
            assert_eq!(back.response().unwrap().status(), 200);
            respond(&mut outer).unwrap();
        }
    });
    let keys = Keys { proxy, collector };
    for (number, length) in (1..).zip(LENGTHS) {
        keys.get("inbound", &path(length), &[("b3", &format!("{}-{CALLER}-1", trace(number)))]);
        let spans = wait::until("two spans", || {
            let mut spans = keys.collector.spans();
            spans.retain(|span| span.trace_id == trace(number));
            Some(spans).filter(|spans| spans.len() == 2)
        });
        let spans = spans.unwrap();
        let is_below = |one: usize, other: usize| spans[one].parent_span_id == spans[other].span_id;
        assert!(is_below(0, 1) || is_below(1, 0), "{length}: {spans:?}");
    }
    server.join().unwrap();
    assert_eq!(keys.proxy.envoy.stat(&shell::metric("duplicates")).unwrap(), 0);
}
