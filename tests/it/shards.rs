//! Two replicas of the exporter: what a sink with rules keeps of a trace whose spans come from several proxies.

use std::collections::BTreeSet;
use std::time::Duration;

use logtracer_core::{TraceId, shard_of};
use logtracer_harness::collector::{Collector, Span};
use logtracer_harness::exporter::Exporter;
use logtracer_harness::proxy::{Listener, Proxy};
use logtracer_harness::wire::Connection;
use logtracer_harness::{ports, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::CALLER;

const TRACES: u128 = 24;

/// Returns the id of a trace.
fn trace(number: u128) -> TraceId {
    TraceId::new((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).unwrap()
}

/// A replica with `--keep error`, and the backend that it alone sends to.
struct Replica {
    exporter: Exporter,
    backend: Collector,
    _dir: TempDir,
}

impl Replica {
    fn start() -> Replica {
        let (dir, backend) = (tempfile::tempdir().unwrap(), Collector::start().unwrap());
        let sink = format!("otlp=http://127.0.0.1:{}", backend.port());
        let options = ["--sink", "store", "--sink", &sink, "--keep", "error", "--decision-wait", "3s"];
        let exporter = Exporter::start_with(&options.map(str::to_owned), dir.path()).unwrap();
        Replica { exporter, backend, _dir: dir }
    }
}

/// Starts the Envoy of a service. It responds itself: 200, or 503 for `/fail`.
fn service(name: &str, exporter: Value, clusters: &[(&str, u16)]) -> Proxy {
    let exporter = json!({ "cluster": exporter, "max_batch_spans": 1 });
    let filter = json!({ "service_name": name, "exporter": exporter });
    let routes = json!([
        { "match": { "path": "/fail" }, "direct_response": { "status": 503 } },
        { "match": { "prefix": "/" }, "direct_response": { "status": 200 } },
    ]);
    let listener = Listener {
        filters: &["logtracer"],
        manager: json!({ "route_config": { "virtual_hosts":
            [{ "name": "all", "domains": ["*"], "routes": routes }] } }),
        ..Listener::new("inbound", filter)
    };
    Proxy::start_before(json!({ "id": name, "cluster": name }), &[listener], clusters).unwrap()
}

#[track_caller]
fn request(proxy: &Proxy, path: &str, id: TraceId) {
    let mut connection = Connection::open(proxy.address("inbound")).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nb3: {id}-{CALLER}-1\r\n\r\n");
    connection.send(request).unwrap();
    let expected = if path == "/fail" { 503 } else { 200 };
    assert_eq!(connection.response().unwrap().status(), expected);
}

/// Returns how many spans a trace has: in the front one or two, so that no order of the replicas repeats, and one in the
/// back, which fails in two of three traces.
fn spans_of(number: u128) -> usize {
    2 + (number % 2) as usize
}

fn fails(number: u128) -> bool {
    !number.is_multiple_of(3)
}

/// Sends every trace through both services, and waits until the replicas have stored all spans.
fn send_traces(exporter: &Value, clusters: &[(&str, u16)], replicas: &[Replica; 2]) -> [Proxy; 2] {
    let proxies = ["front", "back"].map(|name| service(name, exporter.clone(), clusters));
    let [front, back] = &proxies;
    for number in 0..TRACES {
        (1..spans_of(number)).for_each(|_| request(front, "/ok", trace(number)));
        request(back, if fails(number) { "/fail" } else { "/ok" }, trace(number));
    }
    let all: usize = (0..TRACES).map(spans_of).sum();
    wait::until("all spans in the outboxes", || {
        let committed = |replica: &Replica| replica.exporter.metric("spans_committed_total").unwrap_or(0.0);
        (replicas.iter().map(committed).sum::<f64>() == all as f64).then_some(())
    })
    .unwrap();
    proxies
}

/// Waits until both replicas have decided on all traces, and returns what each has sent on.
fn kept(replicas: &[Replica; 2]) -> [Vec<Span>; 2] {
    wait::until("all verdicts", || {
        let settled = |replica: &Replica| {
            let count = |name: &str| replica.exporter.metric(name).unwrap_or(f64::NAN);
            let sent_on = replica.backend.spans().len() as f64;
            sent_on + count("spans_not_kept_total") == count("spans_committed_total")
        };
        replicas.iter().all(settled).then_some(())
    })
    .unwrap();
    [&replicas[0], &replicas[1]].map(|replica| replica.backend.spans())
}

fn of_trace(spans: &[Span], number: u128) -> usize {
    let id = trace(number).to_string();
    spans.iter().filter(|span| span.trace_id == id).count()
}

#[test]
fn a_list_of_clusters_keeps_failed_traces_whole() {
    let replicas = [Replica::start(), Replica::start()];
    let ports = [0, 1].map(|index: usize| replicas[index].exporter.http().port());
    let clusters = [("exporter-0", ports[0]), ("exporter-1", ports[1])];
    let _proxies = send_traces(&json!(["exporter-0", "exporter-1"]), &clusters, &replicas);
    let kept = kept(&replicas);
    let mut used = BTreeSet::new();
    for number in 0..TRACES {
        let shard = shard_of(trace(number), 2);
        used.insert(shard);
        let expected = if fails(number) { spans_of(number) } else { 0 };
        assert_eq!(of_trace(&kept[shard], number), expected, "trace {number} in its replica {shard}");
        assert_eq!(of_trace(&kept[1 - shard], number), 0, "trace {number} in the other replica");
    }
    assert_eq!(used.len(), 2);
}

/// With one cluster for both replicas, Envoy takes them in turn: a replica that does not get the failed span does not
/// keep the others of its trace.
#[test]
fn one_cluster_for_both_replicas_loses_parts_of_failed_traces() {
    let replicas = [Replica::start(), Replica::start()];
    let ports = [0, 1].map(|index: usize| replicas[index].exporter.http().port());
    let clusters = [("exporter", ports[0]), ("exporter", ports[1])];
    let _proxies = send_traces(&json!("exporter"), &clusters, &replicas);
    let kept = kept(&replicas);
    let (mut whole, mut parts) = (0, 0);
    for number in (0..TRACES).filter(|number| fails(*number)) {
        let spans = of_trace(&kept[0], number) + of_trace(&kept[1], number);
        assert!((1..=spans_of(number)).contains(&spans), "trace {number}: {spans}");
        if spans == spans_of(number) { whole += 1 } else { parts += 1 }
    }
    assert!(parts > 0, "all {whole} traces are whole");
}

/// A replica that is away delays nothing for the other one, and gets its own spans when it is back.
#[test]
fn a_replica_that_is_away_delays_no_other() {
    let up = Collector::start().unwrap();
    let away = ports::reserve().unwrap();
    let clusters = [("up", up.port()), ("away", away)];
    let proxy = service("front", json!(["up", "away"]), &clusters);
    (0..TRACES).for_each(|number| request(&proxy, "/ok", trace(number)));
    let count = |collector: &Collector, shard: usize| {
        let spans = collector.spans();
        let of_shard = |number: &u128| shard_of(trace(*number), 2) == shard;
        (0..TRACES).filter(of_shard).map(|number| of_trace(&spans, number)).collect::<Vec<_>>()
    };
    let all = |collector: &Collector, shard| {
        let counts = count(collector, shard);
        (counts.len() > 4 && counts.iter().all(|spans| *spans == 1)).then_some(())
    };
    wait::until("the spans of the one that is up", || all(&up, 0)).unwrap();
    assert!(count(&up, 1).iter().all(|spans| *spans == 0));
    let log = wait::until("the message", || {
        let errors = proxy.envoy.errors();
        errors.contains("unavailable").then_some(errors)
    });
    let log = log.unwrap();
    assert!(log.contains("retrying, cluster away") && !log.contains("retrying, cluster up"), "{log}");

    std::thread::sleep(Duration::from_millis(200));
    let back = Collector::at(away).unwrap();
    wait::until("the spans of the one that is back", || all(&back, 1)).unwrap();
    assert!(count(&back, 0).iter().all(|spans| *spans == 0));
}
