//! What has no line of the filter has another one: requests while a proxy has no module or replaces it, and connections.
//! The access loggers are those that Istio creates from `istio/install/mesh.yaml` and `istio/telemetry.yaml`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::wire::Connection;
use logtracer_harness::{lines, wait};
use serde_json::{Value, json};

use crate::manifests::access_log::of_istio;
use crate::{CALLER, text, trace};

fn listener(name: &'static str, filters: &'static [&'static str], config: Value) -> Listener {
    Listener { filters, manager: json!({ "access_log": of_istio() }), ..Listener::new(name, config) }
}

fn shop() -> Value {
    json!({ "id": "n", "cluster": "shop" })
}

/// Sends a request and returns its status.
fn get(address: SocketAddr, path: &str, headers: &str) -> u16 {
    let mut connection = Connection::open(address).unwrap();
    connection.send(format!("GET {path} HTTP/1.1\r\nhost: shop\r\n{headers}\r\n")).unwrap();
    connection.response().unwrap().status()
}

/// Opens a connection that is not HTTP for the proxy, and returns its local address.
fn connect(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /origin/ok HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    stream.local_addr().unwrap().to_string()
}

/// The module is lost, traps and is replaced under load.
#[test]
fn each_request_and_each_connection_has_one_line() {
    let with = |config| listener("shop", &["rbac", "logtracer"], config);
    let tcp = Listener { tcp: Some("service"), ..listener("tcp", &[], json!({})) };
    let proxy = Proxy::start(shop(), &[with(json!({})), tcp.clone()], 1).unwrap();
    let (http, raw) = (proxy.address("shop"), proxy.address("tcp"));

    let is_over = AtomicBool::new(false);
    let (paths, connections) = thread::scope(|scope| {
        let requests = scope.spawn(|| {
            let mut paths = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let path = format!("/origin/ok/{}", paths.len());
                assert_eq!(get(http, &path, ""), 200);
                paths.push(path);
            }
            paths
        });
        let connections = scope.spawn(|| {
            let mut addresses = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                addresses.push(connect(raw));
                thread::sleep(Duration::from_millis(5));
            }
            addresses
        });
        for round in 0..12 {
            let next = match round % 4 {
                0 => listener("shop", &["rbac"], json!({})),
                1 => with(json!({ "project_id": format!("p{round}") })),
                2 => listener("shop", &["rbac", "trapping"], json!({})),
                _ => with(json!({ "project_id": format!("p{round}") })),
            };
            proxy.replace(&[next, tcp.clone()]).unwrap();
            thread::sleep(Duration::from_millis(400));
        }
        is_over.store(true, Ordering::Relaxed);
        (requests.join().unwrap(), connections.join().unwrap())
    });
    assert!(paths.len() > 40 && connections.len() > 40, "{} {}", paths.len(), connections.len());

    let found = wait::try_until("all lines", || {
        let found = lines::read(proxy.envoy.stdout())?;
        Ok(Some(found).filter(|found| found.len() >= paths.len() + connections.len()))
    })
    .unwrap();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_logger = [0, 0];
    for line in &found {
        let is_fallback = line["logging.googleapis.com/labels"]["logger"] == "logtracer-fallback";
        let key = match line["httpRequest"]["requestUrl"].as_str() {
            Some(url) => {
                by_logger[usize::from(is_fallback)] += 1;
                url.trim_start_matches("http://shop").to_owned()
            }
            None => text(line, "/downstream_remote_address").to_owned(),
        };
        *counts.entry(key).or_default() += 1;
    }
    // A later connection can have the address of an earlier one.
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    for key in paths.iter().chain(&connections) {
        *expected.entry(key.clone()).or_default() += 1;
    }
    assert_eq!(counts, expected);
    assert!(by_logger.iter().all(|count| *count > 4), "{by_logger:?} of {} requests", paths.len());
}

/// The line of a request without the filter is a line of Cloud Logging, too.
#[test]
fn a_request_without_the_filter() {
    let proxy = Proxy::start(shop(), &[listener("shop", &["rbac"], json!({}))], 1).unwrap();
    let address = proxy.address("shop");
    let b3 = format!("x-b3-traceid: {}\r\nx-b3-spanid: {CALLER}\r\nuser-agent: test/1\r\n", trace(1));
    for (path, expected, severity) in [
        ("/origin/ok?token=hush", 200, "INFO"),
        ("/origin/418", 418, "WARNING"),
        ("/origin/500", 500, "ERROR"),
        ("/down", 503, "ERROR"),
        ("/forbidden", 403, "WARNING"),
    ] {
        assert_eq!(get(address, path, &b3), expected);
        let path = path.split('?').next().unwrap();
        let url = format!("http://shop{path}");
        let line = line_of(&proxy, &url);
        assert_eq!(text(&line, "/severity"), severity, "{path}");
        assert_eq!(text(&line, "/message"), format!("no logtracer - GET - {url} - {expected}"));
        assert_eq!(line["httpRequest"]["status"], expected);
        assert_eq!(text(&line, "/httpRequest/requestMethod"), "GET");
        assert_eq!(text(&line, "/httpRequest/userAgent"), "test/1");
        assert_eq!(text(&line, "/httpRequest/remoteIp"), "127.0.0.1");
        assert_eq!(text(&line, "/httpRequest/protocol"), "HTTP/1.1");
        assert_eq!(text(&line, "/logging.googleapis.com~1trace"), trace(1));
        assert_eq!(text(&line, "/logging.googleapis.com~1spanId"), CALLER);
        let time = text(&line, "/time");
        assert!(time.len() == 30 && time.ends_with('Z') && time.contains('T'), "{time}");
        assert!(!line.to_string().contains("hush"), "{line}");
    }
    // An aborted request has no status.
    let mut connection = Connection::open(address).unwrap();
    connection.send("GET /origin/never/aborted HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    wait::until("the request", || {
        Some(()).filter(|()| proxy.origin.request_count("/origin/never/aborted") == 1)
    })
    .unwrap();
    drop(connection);
    let line = line_of(&proxy, "http://shop/origin/never/aborted");
    assert_eq!((text(&line, "/severity"), text(&line, "/response_flags")), ("INFO", "DC"));
}

fn line_of(proxy: &Proxy, url: &str) -> Value {
    wait::try_until(url, || {
        let mut found = lines::read(proxy.envoy.stdout())?;
        found.retain(|line| line["httpRequest"]["requestUrl"] == url);
        Ok(found.pop())
    })
    .unwrap()
}

/// A line that the configuration leaves out has no other line in its place.
#[test]
fn a_line_that_is_left_out_stays_out() {
    let configs = [
        ("rule", json!({ "sampling": { "rules": [{ "path_prefix": "/origin", "log": false }] } })),
        ("share", json!({ "sampling": { "log_rate": 0 } })),
        ("excluded", json!({ "exclude": { "path_contains": ["/origin"], "log": true } })),
        ("off", json!({ "log_format": "off" })),
        ("logged", json!({})),
    ];
    let filters = &["rbac", "logtracer"];
    let listeners: Vec<_> =
        configs.iter().map(|(name, config)| listener(name, filters, config.clone())).collect();
    let proxy = Proxy::start(shop(), &listeners, 1).unwrap();
    for name in ["rule", "share", "excluded", "off", "logged"] {
        assert_eq!(get(proxy.address(name), &format!("/origin/ok/{name}"), ""), 200);
    }
    // A malformed request has no headers; the filter has a line for it.
    let mut connection = Connection::open(proxy.address("logged")).unwrap();
    connection.send("nonsense\r\n\r\n").unwrap();
    assert_eq!(connection.response().unwrap().status(), 400);
    line_of(&proxy, "http://shop/origin/ok/logged");
    let found = wait::try_until("two lines", || {
        lines::read(proxy.envoy.stdout()).map(|found| Some(found).filter(|found| found.len() >= 2))
    })
    .unwrap();
    let messages: Vec<_> = found.iter().map(|line| text(line, "/message")).collect();
    assert_eq!(
        messages,
        ["shop - GET - http://shop/origin/ok/logged - 200 OK", "shop - 400 Bad Request"],
        "{found:#?}"
    );
}
