//! Every query of the dashboard and every rule, in a real Prometheus that scrapes three Envoys and an exporter.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use logtracer_harness::collector::{Collector, Response};
use logtracer_harness::exporter::Exporter;
use logtracer_harness::prometheus::{Prometheus, Target};
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::shell::{self, Shell};
use logtracer_harness::wire::Connection;
use logtracer_harness::{envoy, wait};
use serde_json::{Value, json};

use super::dashboard::{dashboard, panels};
use super::{files, metrics, rules, text};

/// The metrics without a series in this test.
const ABSENT: [(&str, &str); 6] = [
    ("istio_requests_total", "only Istio's proxies have it"),
    ("logtracer_exporter_log_records_rejected_total", "no log record is invalid"),
    ("logtracer_exporter_dead_letters_evicted_total", "they take more than --dead-letters-max-bytes"),
    ("logtracer_exporter_store_traces_evicted_total", "the store is neither old nor large"),
    ("logtracer_exporter_log_file_gaps_total", "no log file is truncated"),
    ("logtracer_exporter_spans_not_considered_total", "no span comes after the decision"),
];

/// The programs that Prometheus scrapes. The proxy of `shop-3` has no filter.
struct Mesh {
    proxies: Vec<Proxy>,
    exporter: Exporter,
    log: File,
    _backend: Collector,
}

impl Mesh {
    fn start(dir: &Path) -> Mesh {
        // One sink delivers, one is rejected, and two are absent.
        let backend = Collector::start().unwrap();
        backend.respond(Response::Status(400));
        let log = dir.join("app.log");
        let options = [
            ("--sink", "store".to_owned()),
            ("--sink", format!("otlp=http://127.0.0.1:{}", backend.port())),
            ("--sink", "zipkin=http://127.0.0.1:9".to_owned()),
            // With rules that keep some of the traces.
            ("--sink", "zipkin=http://127.0.0.1:9/kept,keep=rate=0.5".to_owned()),
            ("--decision-wait", "200ms".to_owned()),
            ("--tail", log.display().to_string()),
        ];
        let options: Vec<String> =
            options.into_iter().flat_map(|(name, value)| [name.into(), value]).collect();
        let log = File::create(log).unwrap();
        let exporter = Exporter::start_with(&options, dir).unwrap();

        let start = |filters: &'static [&'static str]| {
            let filter =
                json!({ "exporter": { "cluster": "logtracer-exporter", "flush_interval": "100ms" } });
            let listener = Listener { filters, ..Listener::new("inbound", filter) };
            let node = json!({ "id": "shop", "cluster": "shop" });
            Proxy::start(node, &[listener], exporter.http().port()).unwrap()
        };
        shell::select(Shell::Native);
        let native = start(&["logtracer"]);
        shell::select(Shell::Wasm);
        let proxies = vec![start(&["logtracer"]), native, start(&[])];
        Mesh { proxies, exporter, log, _backend: backend }
    }

    fn targets(&self) -> Vec<Target> {
        let proxies = self.proxies.iter().zip(1..).map(|(proxy, number)| Target {
            address: proxy.envoy.admin(),
            path: "/stats/prometheus",
            labels: json!({ "namespace": "shop", "pod": format!("shop-{number}") }),
        });
        let view: SocketAddr =
            self.exporter.page().trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        let exporter = Target {
            address: view,
            path: "/metrics",
            labels: json!({ "namespace": "logtracer", "pod": "logtracer-exporter-0" }),
        };
        proxies.chain([exporter]).collect()
    }

    /// Sends a request through each proxy, good and bad ones to the exporter, and writes lines to the log.
    fn work(&mut self) {
        for proxy in &self.proxies {
            let mut connection = Connection::open(proxy.address("inbound")).unwrap();
            connection.send("GET /origin/ok HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
            assert_eq!(connection.response().unwrap().status(), 200);
        }
        let post = |path: &str, body: Value| {
            let url = format!("http://{}{path}", self.exporter.http());
            let request = envoy::client().unwrap().post(url).header("content-type", "application/json");
            request.body(body.to_string()).send().unwrap().status().as_u16()
        };
        let spans = |id: &str| {
            let span = json!({ "traceId": id, "spanId": "00f067aa0ba902b7", "name": "work" });
            json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] })
        };
        let record = json!({ "timeUnixNano": "1700000000000000000", "body": { "stringValue": "a line" } });
        let logs = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] });
        let zeros = "0".repeat(32);
        for (path, body, status) in [
            ("/v1/traces", spans(crate::TRACE), 200),
            ("/v1/traces", spans(&zeros), 200), // the span is rejected
            ("/v1/traces", json!("no request"), 400),
            ("/v1/logs", logs, 200),
        ] {
            assert_eq!(post(path, body.clone()), status, "{path} {body}");
        }
        writeln!(self.log, "{{\"message\":\"a line\",\"severity\":\"INFO\"}}\nnot JSON").unwrap();
    }
}

/// Returns the queries of the dashboard with the title of their panel, as Grafana sends them.
fn queries(dashboard: &Value) -> Vec<(&str, String)> {
    let mut queries = Vec::new();
    for panel in panels(dashboard) {
        for target in panel["targets"].as_array().unwrap() {
            let query = ["$namespace", "$pod", "$exporter"]
                .iter()
                .fold(text(target, "expr").to_owned(), |query, variable| query.replace(variable, ".*"))
                .replace("$__rate_interval", "1m");
            assert!(!query.contains('$'), "{query}");
            queries.push((text(panel, "title"), query));
        }
    }
    queries
}

#[test]
fn every_query_has_a_result_and_the_proxy_without_the_filter_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut mesh = Mesh::start(dir.path());
    let prometheus = Prometheus::start(&mesh.targets(), &files().join("alerts.yaml"), dir.path()).unwrap();

    let dashboard = dashboard();
    let mut waiting = queries(&dashboard);
    assert!(waiting.len() > 60, "{}", waiting.len());
    let rules = rules();
    let expressions: Vec<&str> = rules.iter().map(|rule| text(rule, "expr")).collect();
    // An `or` hides a name without a series, so each name is a query of its own.
    let queried = waiting.iter().map(|(_, query)| query.as_str());
    let names: BTreeSet<String> =
        queried.chain(expressions).flat_map(metrics).map(|name| format!("count({name})")).collect();
    waiting.extend(names.into_iter().map(|name| ("a name", name)));
    for (at, query) in &waiting {
        prometheus.query(query).unwrap_or_else(|error| panic!("{at}: {query}: {error}"));
    }

    // What has only absent metrics never has a result.
    let is_absent = |name: &&str| ABSENT.iter().any(|(absent, _)| absent == name);
    let (absent, mut waiting): (Vec<_>, Vec<_>) =
        waiting.into_iter().partition(|(_, query)| metrics(query).iter().all(&is_absent));
    let waited = wait::until("a series of each query", || {
        mesh.work();
        waiting.retain(|(_, query)| prometheus.query(query).unwrap().is_empty());
        waiting.is_empty().then_some(())
    });
    assert!(waited.is_ok(), "no series: {waiting:#?}");
    for (at, query) in absent {
        let series = prometheus.query(&query).unwrap();
        assert!(series.is_empty(), "{at}: {query} has a result, remove it from the table: {series:?}");
    }

    let silent = |rules: &[Value]| {
        let alert = rules.iter().find(|rule| rule["name"] == "LogtracerFilterIsSilent")?;
        let alerts = alert["alerts"].as_array()?.iter().map(|alert| text(&alert["labels"], "pod").to_owned());
        Some(alerts.collect::<Vec<_>>())
    };
    let mut evaluated = Vec::new();
    let waited = wait::until("the silent filter", || {
        mesh.work();
        evaluated = prometheus.rules().unwrap();
        (silent(&evaluated)? == ["shop-3"]).then_some(())
    });
    assert!(waited.is_ok(), "{:?}", silent(&evaluated));
    let (_, panel) =
        queries(&dashboard).into_iter().find(|(title, _)| *title == "Proxies without the filter").unwrap();
    assert_eq!(prometheus.query(&panel).unwrap()[0]["value"][1], "1");
    // It stays the only one.
    for _ in 0..5 {
        std::thread::sleep(Duration::from_secs(1));
        mesh.work();
        assert_eq!(silent(&prometheus.rules().unwrap()).unwrap(), ["shop-3"]);
    }
    assert_eq!(evaluated.len(), rules.len());
    for rule in &evaluated {
        assert_eq!(rule["health"], "ok", "{}: {}", rule["name"], rule["lastError"]);
    }
    // The absent and the rejecting sink are seen, too.
    let dead_letters = evaluated.iter().find(|rule| rule["name"] == "LogtracerDeadLetters").unwrap();
    assert_eq!(dead_letters["alerts"].as_array().unwrap().len(), 1, "{dead_letters}");
}
