//! `sampling` and `exclude`: the trace of a request, and whether it has a span and a line.

use logtracer_harness::{shell, wait};
use serde_json::json;

use super::{Keys, shop};
use crate::{CALLER, Headers, TRACE, trace};

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

    // The caller's decision overrides the rate.
    let denied = keys.get("marker", "/origin/ok", &[("b3", "0")]);
    assert!(!denied.is_sampled());
    assert!(keys.get("zero", "/origin/ok", &[("b3", "1")]).is_sampled());
    assert!(!keys.get("zero", "/origin/ok", &[]).is_sampled());

    // Two hops with the same rate agree on every trace.
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

    // `defer_cloud_trace_zero` ignores the load balancer's zero and its copy in traceparent, but not a caller's decision.
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

    // At most two a second, and no limit for decisions of callers.
    let begin = std::time::Instant::now();
    let sampled = (0..30).filter(|_| keys.get("limited", "/origin/ok", &[]).is_sampled()).count() as u64;
    let most = 2 * (begin.elapsed().as_secs() + 2);
    assert!((1..=most).contains(&sampled), "{sampled} of at most {most}");
    assert!(keys.get("limited", "/origin/ok", &[("b3", "1")]).is_sampled());

    // Failed and slow requests are exported late, and their lines stay unsampled.
    let (failed, slow, well) = (trace(1), trace(2), trace(3));
    for (id, path) in [(&failed, "/origin/500"), (&slow, "/origin/slow"), (&well, "/origin/ok")] {
        keys.get("late", path, &[("b3", &format!("{id}-{CALLER}-0"))]);
    }
    for (id, is_error) in [(&failed, true), (&slow, false)] {
        let (line, span) = keys.line_and_span(id);
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

    // Each request is counted once by its decision.
    let count = |name: &str| keys.proxy.envoy.stat(&shell::metric(name)).unwrap();
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
        // request, headers, is sampled, is logged
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
        ("GET /origin/ok", &[("x-debug", "2"), ("x-debug", "1")], true, true), // any value of a header
        ("GET /origin/ok", &[("x-any", "thing")], true, true),
        ("GET /origin/quiet/inside/", &[], true, false), // the first matching rule applies
    ];
    let mut seen = Vec::new();
    for (request, headers, sampled, logged) in cases {
        let done = keys.send("rules", request, headers);
        assert_eq!(done.is_sampled(), *sampled, "{request} {headers:?}");
        seen.push((done.trace_id().to_owned(), *sampled, *logged));
    }
    let failed = trace(1);
    keys.get("rules", "/down", &[("b3", &format!("{failed}-{CALLER}-0"))]);
    assert_eq!(keys.line_only(&failed)["severity"], "ERROR"); // failures are always logged

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
        // listener, path, header, has a span, has a line
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
            assert_eq!(done.trace_id(), trace(index as u128)); // the context is forwarded
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
