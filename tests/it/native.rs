//! What only the native module does. The other stories run with it, too: `LOGTRACER_SHELL=native`.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use logtracer_harness::collector::{Collector, Response};
use logtracer_harness::envoy::{self, Envoy};
use logtracer_harness::hop::{self, Options};
use logtracer_harness::origin::Origin;
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::shell::{self, Shell};
use logtracer_harness::wire::Connection;
use logtracer_harness::{ports, wait};
use serde_json::{Value, json};

const EXPORTER: &str = "logtracer-exporter";

fn node() -> Value {
    json!({ "id": "n", "cluster": "shop" })
}

fn get(proxy: &Proxy) {
    let mut connection = Connection::open(proxy.address("inbound")).unwrap();
    connection.send("GET /origin/ok HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    assert_eq!(connection.response().unwrap().status(), 200);
}

/// Starts Envoy with the bootstrap extension.
fn start_with_extension(exporter: Value, port: u16) -> Proxy {
    let listener = Listener::new("inbound", json!({ "exporter": exporter }));
    let bootstrap = json!({ "bootstrap_extensions": shell::native_bootstrap() });
    Proxy::start_with(node(), &[listener], port, bootstrap).unwrap()
}

/// Returns the errors of an Envoy that rejects the configuration `edit` has changed.
#[track_caller]
fn rejection(edit: impl FnOnce(String) -> String) -> String {
    shell::select(Shell::Native);
    let config = edit(hop::configuration(&Options::default(), 1, 2, 3).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let output = envoy::validate(&config, dir.path()).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "accepted: {errors}");
    errors
}

/// Envoy loads modules of the same version, of the next one, and in fact of later ones.
#[test]
fn an_envoy_before_1_38_rejects_the_module_and_says_why() {
    if envoy::version().unwrap() < (1, 38) {
        let without_log = |config: String| {
            let mut config: Value = serde_json::from_str(&config).unwrap();
            let filter = &mut config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
            filter["typed_config"].as_object_mut().unwrap().remove("access_log");
            config.to_string()
        };
        let errors = rejection(without_log);
        assert!(errors.contains("the native module needs Envoy 1.38 or newer"), "{errors}");
    } else {
        let errors =
            rejection(|config| config.replace(r#""filter_name":"logtracer""#, r#""filter_name":"other""#));
        assert!(errors.contains(r#"filter_name: expected logtracer, found "other""#), "{errors}");
        assert!(!errors.contains("needs Envoy"), "{errors}");
    }
}

#[test]
fn names_and_what_the_module_cannot_know_are_demanded() {
    for (from, to, expected) in [
        (r#""logger_name":"logtracer""#, r#""logger_name":"log""#, "logger_name: expected logtracer"),
        (r#"\"service_name\":\"hop-cluster\""#, "", "service_name: missing"),
        (r#"\"service_name\""#, r#"\"service_nam\""#, "service_nam: unknown key"),
    ] {
        let errors = rejection(|config| {
            assert!(config.contains(from), "{config}");
            config.replace(from, to).replace(r#"{,"#, "{")
        });
        assert!(
            errors.contains("logtracer: configuration rejected") && errors.contains(expected),
            "{errors}"
        );
    }
}

/// Rule 75: with the bootstrap extension, Envoy exits when the spans are delivered.
#[test]
fn with_the_bootstrap_extension_an_end_delivers_all_spans() {
    const REQUESTS: usize = 50;
    shell::select(Shell::Native);
    for response in [Response::Status(200), Response::Delayed(Duration::from_secs(1))] {
        let collector = Collector::start().unwrap();
        collector.respond(response);
        let exporter = json!({ "cluster": EXPORTER, "flush_interval": "30m", "timeout": "5s" });
        let mut proxy = start_with_extension(exporter, collector.port());
        for _ in 0..REQUESTS {
            get(&proxy);
        }
        assert!(collector.batches().is_empty(), "they wait for the interval");
        proxy.envoy.stop();
        let sent: usize = collector.batches().iter().map(|batch| batch.spans.len()).sum();
        assert_eq!(sent, REQUESTS, "{}", proxy.envoy.errors());
        assert!(!proxy.envoy.errors().contains("dropped"), "{}", proxy.envoy.errors());
        assert_eq!(proxy.envoy.lines(0).unwrap().len(), REQUESTS);
    }
}

/// Without an exporter that responds, the end waits for a limited time, and the spans are counted.
#[test]
fn an_end_waits_for_an_absent_exporter_for_a_limited_time() {
    shell::select(Shell::Native);
    let exporter = json!({ "cluster": EXPORTER });
    let mut proxy = start_with_extension(exporter, ports::reserve().unwrap());
    get(&proxy);
    let start = Instant::now();
    assert!(proxy.envoy.stop_within(Duration::from_secs(30)));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let errors = proxy.envoy.errors();
    assert!(errors.contains("logtracer: dropped 1 spans: shutdown"), "{errors}");
}

/// Envoy goes on to read its configuration while it waits. Without a filter there is nothing to wait for.
#[test]
fn an_end_does_not_wait_for_a_filter_that_is_removed_meanwhile() {
    shell::select(Shell::Native);
    let exporter = json!({ "cluster": EXPORTER });
    let mut proxy = start_with_extension(exporter, ports::reserve().unwrap());
    get(&proxy);
    proxy.envoy.terminate();
    std::thread::sleep(Duration::from_millis(500));
    proxy.replace(&[]).unwrap();
    assert!(proxy.envoy.stop_within(Duration::from_secs(30)), "{}", proxy.envoy.errors());
    let errors = proxy.envoy.errors();
    assert!(errors.contains("logtracer: dropped 1 spans: shutdown"), "{errors}");
}

/// Rule 75: the bootstrap extension delivers the spans of a filter that no listener has any more.
#[test]
fn the_spans_of_a_removed_filter_are_delivered() {
    const REQUESTS: usize = 20;
    shell::select(Shell::Native);
    let collector = Collector::start().unwrap();
    collector.respond(Response::Delayed(Duration::from_millis(300)));
    let exporter = json!({ "cluster": EXPORTER, "flush_interval": "30m", "timeout": "5s" });
    let mut proxy = start_with_extension(exporter, collector.port());
    for _ in 0..REQUESTS {
        get(&proxy);
    }
    assert!(collector.batches().is_empty(), "they wait for the interval");
    proxy.replace(&[]).unwrap();
    wait::until("the spans", || {
        let sent: usize = collector.batches().iter().map(|batch| batch.spans.len()).sum();
        Some(()).filter(|()| sent == REQUESTS)
    })
    .unwrap();
    proxy.envoy.stop();
    assert!(!proxy.envoy.errors().contains("dropped"), "{}", proxy.envoy.errors());
}

/// Rule 75: streams hold the configuration that an update through ECDS replaces, so it ends in a worker, at times while the
/// response to a callout is awaited.
#[test]
fn updates_through_ecds_lose_nothing() {
    const UPDATES: u32 = 60;
    const UPDATED: &str = "extension_config_discovery.http_filter.logtracer.config_reload";
    shell::select(Shell::Native);
    let collector = Collector::start().unwrap();
    collector.respond(Response::Delayed(Duration::from_millis(100)));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("filter.json");
    let filter_type =
        "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter";
    let write = |number: u32| {
        let exporter = json!({ "cluster": EXPORTER, "flush_interval": "1ms", "timeout": format!("{}ms", 2000 + number) });
        let config =
            json!({ "service_name": "shop", "span_kind": "server", "exporter": exporter }).to_string();
        let resource = json!({
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": "logtracer",
            "typed_config": {
                "@type": filter_type,
                "dynamic_module_config": shell::native_module(),
                "filter_name": "logtracer",
                "filter_config": { "@type": "type.googleapis.com/google.protobuf.StringValue", "value": config },
            },
        });
        let new = file.with_extension("new");
        std::fs::write(&new, json!({ "resources": [resource] }).to_string()).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    write(0);
    let source = json!({ "path_config_source": { "path": file }, "resource_api_version": "V3" });
    let manager = json!({ "http_filters": [
        { "name": "logtracer", "config_discovery": { "config_source": source, "type_urls": [filter_type] } },
        { "name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        } },
    ] });
    let listener = Listener { manager, ..Listener::new("inbound", json!({})) };
    let bootstrap = json!({ "bootstrap_extensions": shell::native_bootstrap() });
    let mut proxy = Proxy::start_with(node(), &[listener], collector.port(), bootstrap).unwrap();
    let is_over = AtomicBool::new(false);
    let requests: usize = std::thread::scope(|scope| {
        let send = || {
            let mut requests = 0;
            while !is_over.load(Ordering::Relaxed) {
                get(&proxy);
                requests += 1;
            }
            requests
        };
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(send)).collect();
        for number in 1..=UPDATES {
            let before = proxy.envoy.stat(UPDATED).unwrap();
            write(number);
            wait::until("the new configuration", || {
                Some(()).filter(|()| proxy.envoy.stat(UPDATED).unwrap() > before)
            })
            .unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    proxy.envoy.stop();
    assert_eq!(proxy.envoy.lines(0).unwrap().len(), requests, "{}", proxy.envoy.errors());
    let spans: usize = collector.batches().iter().map(|batch| batch.spans.len()).sum();
    assert_eq!(spans, requests, "{}", proxy.envoy.errors());
}

/// A logger with an access log filter and without a configuration: the requests that an earlier filter answers have their
/// lines, although streams that are not logged had the same memory.
#[test]
fn responses_of_earlier_filters_are_logged_beside_streams_that_are_not() {
    const CONNECTIONS: usize = 400;
    shell::select(Shell::Native);
    let listener = Listener {
        manager: json!({ "access_log": [log_of_failures()] }),
        ..Listener::new("inbound", json!({}))
    };
    let mut proxy = Proxy::start(node(), &[listener], ports::reserve().unwrap()).unwrap();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: shop\r\n\r\n");
    for number in 0..CONNECTIONS {
        let mut connection = Connection::open(proxy.address("inbound")).unwrap();
        let (before, expected) =
            if number % 2 == 0 { (get("/moved"), &[301, 403][..]) } else { (String::new(), &[403][..]) };
        connection.send(before + &get("/forbidden")).unwrap();
        for status in expected {
            assert_eq!(connection.response().unwrap().status(), *status);
        }
    }
    proxy.envoy.stop();
    let lines = proxy.envoy.lines(0).unwrap();
    let statuses: Vec<_> = lines.iter().map(|line| line["httpRequest"]["status"].as_u64()).collect();
    assert!(statuses.iter().all(|status| *status == Some(403)), "{statuses:?}");
    assert_eq!(statuses.len(), CONNECTIONS);
}

/// Returns an access log with the logger, without a configuration, of the failed requests.
fn log_of_failures() -> Value {
    let failed =
        json!({ "comparison": { "op": "GE", "value": { "default_value": 400, "runtime_key": "failed" } } });
    json!({ "name": "logtracer", "filter": { "status_code_filter": failed }, "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.dynamic_modules.v3.DynamicModuleAccessLog",
        "dynamic_module_config": shell::native_module(),
        "logger_name": "logtracer",
    } })
}

/// A stream that an access log filter excludes waits for a logger that Envoy never calls. Its memory becomes that of a
/// request without the filter, which must not get its line.
#[test]
fn a_request_that_is_not_logged_is_no_other_one() {
    shell::select(Shell::Native);
    let route = |prefix: &str| json!({ "match": { "prefix": prefix }, "route": { "cluster": "service", "prefix_rewrite": "/origin/" } });
    let mut off = route("/off/");
    off["typed_per_filter_config"] = json!({ "logtracer": {
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
        "disabled": true,
        "config": { "@type": "type.googleapis.com/google.protobuf.Empty" },
    } });
    let manager = json!({
        "access_log": [log_of_failures()],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [off, route("/on/")] }] },
    });
    let listener = Listener { manager, ..Listener::new("inbound", json!({})) };
    let mut proxy = Proxy::start(node(), &[listener], ports::reserve().unwrap()).unwrap();
    let get = |path: &str, status: u16| {
        let mut connection = Connection::open(proxy.address("inbound")).unwrap();
        connection.send(format!("GET {path} HTTP/1.1\r\nhost: shop\r\n\r\n")).unwrap();
        assert_eq!(connection.response().unwrap().status(), status);
    };
    for _ in 0..40 {
        get("/on/ok", 200);
    }
    for _ in 0..10 {
        get("/off/500", 500);
    }
    for _ in 0..10 {
        get("/on/500", 500);
    }
    proxy.envoy.stop();
    // Those without the filter have no line, because the logger has no configuration.
    let lines = proxy.envoy.lines(0).unwrap();
    let urls: Vec<&str> =
        lines.iter().map(|line| line["httpRequest"]["requestUrl"].as_str().unwrap()).collect();
    assert_eq!(urls, ["http://shop/on/500"; 10]);
}

/// An Envoy of one hop whose stdout is a file that a test chooses.
struct Stdout {
    envoy: Envoy,
    port: u16,
    _dir: tempfile::TempDir,
    _origin: Origin,
}

impl Stdout {
    /// Starts Envoy under a command of the shell that ends with `exec "$@"`; `$1` is its folder.
    fn start(command: &str) -> Self {
        shell::select(Shell::Native);
        let dir = tempfile::tempdir().unwrap();
        let (port, admin) = (ports::reserve().unwrap(), ports::reserve().unwrap());
        let origin = Origin::start().unwrap();
        let config = hop::configuration(&Options::default(), port, admin, origin.http().port()).unwrap();
        let mut sh = Command::new("sh");
        sh.args(["-c", &format!("dir=$1; shift; {command}"), "sh"]).arg(dir.path());
        let envoy = Envoy::start_under(sh, &config, admin, dir.path()).unwrap();
        Self { envoy, port, _dir: dir, _origin: origin }
    }

    /// Sends requests and returns the longest time of one.
    fn send(&self, requests: u64) -> Duration {
        let mut connection = Connection::open(([127, 0, 0, 1], self.port).into()).unwrap();
        let request = |_| {
            let start = Instant::now();
            connection.send("GET /none HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
            assert_eq!(connection.response().unwrap().status(), 404);
            start.elapsed()
        };
        (0..requests).map(request).max().unwrap()
    }

    fn wait_for(&self, is_reached: impl Fn(&dyn Fn(&str) -> u64) -> bool) {
        let stat = |name: &str| self.envoy.stat(&shell::metric(name)).unwrap();
        wait::until("the counters", || Some(()).filter(|()| is_reached(&stat))).unwrap();
    }
}

/// Lines that stdout does not take are dropped and counted, and no request waits.
#[test]
fn a_blocked_stdout_delays_no_request() {
    const REQUESTS: u64 = 9_000;
    // Opened for reading, too, but nobody reads.
    let stdout = Stdout::start(r#"mkfifo "$dir/stdout" && exec "$@" 1<>"$dir/stdout""#);
    let longest = stdout.send(REQUESTS);
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    stdout.wait_for(|stat| stat("requests") == REQUESTS && stat("lines_dropped") > 100);
}

#[test]
fn lines_that_stdout_rejects_are_counted_as_dropped() {
    let stdout = Stdout::start(r#"exec "$@" 1>/dev/full"#);
    stdout.send(20);
    stdout.wait_for(|stat| stat("requests") == 20 && stat("lines_dropped") == 20);
}
