//! Configurations that are accepted, and the result.

use core::time::Duration;

use logtracer_core::propagation::{Format, Formats, Propagator};
use logtracer_core::request::Routes;
use logtracer_core::sampling::{Condition, HeaderCondition, Ratio, Rule, Rules};

use super::*;

#[test]
fn an_empty_configuration_is_the_default() {
    for json in ["", " \n", "{}", r#"{"project_id": null}"#] {
        assert_eq!(Config::parse(json.as_bytes()).unwrap(), Config::default(), "{json:?}");
    }
}

#[test]
fn every_key_is_read() {
    let json = r#"{
        "project_id": "shop-prod",
        "service_name": "basket",
        "log_format": "local",
        "line_break": true,
        "propagation": {"extract": ["cloud-trace", "b3"], "inject": ["b3", "grpc-trace-bin"],
                        "strip_hosts": ["api.example.com", "*.partner.example"]},
        "edge": "link",
        "sampling": {
            "rate": 0.25,
            "defer_cloud_trace_zero": true,
            "max_per_second": 10,
            "keep_errors": true,
            "keep_slower_than": "750ms",
            "log_rate": 0.5,
            "rules": [
                {"path_prefix": "/api/", "method": "POST", "rate": 1},
                {"path": "/a", "path_contains": "b", "host": "*.c", "log": false},
                {"header": "X-Debug: 1", "rate": 0.5},
                {"header": "x-any", "rate": 0, "log": 0.01}
            ]
        },
        "exclude": {"paths": ["/healthz"], "path_contains": ["/app-config/"], "user_agents": ["curl/"], "log": true},
        "request_headers": ["X-Tenant"],
        "response_headers": ["x-cache"],
        "span_kind": "client",
        "query": "drop",
        "response_header": ["X-Trace-Id", "TraceResponse", "server-timing"],
        "exporter": {
            "cluster": "outbound|80||exporter.obs.svc.cluster.local",
            "authority": "exporter.obs",
            "path": "/spans",
            "timeout": "500ms",
            "flush_interval": "1.5s",
            "max_batch_spans": 100.0,
            "max_buffer_bytes": "512KiB",
            "headers": {"Authorization": "Bearer t0ken"}
        }
    }"#;
    let config = Config::parse(json.as_bytes()).unwrap();
    let expected = Config {
        project_id: Some("shop-prod".into()),
        service_name: Some("basket".into()),
        log_format: Some(line::Format::Local),
        line_break: true,
        propagation: Propagation {
            propagator: Propagator {
                extract: Formats::of(&[Format::CloudTrace, Format::B3]),
                inject: Formats::of(&[Format::B3, Format::GrpcTraceBin]),
            },
            strip_hosts: vec!["api.example.com".parse().unwrap(), "*.partner.example".parse().unwrap()],
            edge: Edge::Link,
        },
        sampling: Sampling {
            rate: Ratio::new(0.25).unwrap(),
            defer_cloud_trace_zero: true,
            max_per_second: Some(10.0),
            keep_errors: true,
            keep_slower_than: Some(Duration::from_millis(750)),
            log_rate: Ratio::new(0.5).unwrap(),
            rules: Rules::new(vec![
                Rule {
                    conditions: vec![Condition::PathPrefix("/api/".into()), Condition::Method("POST".into())],
                    rate: Some(Ratio::ALL),
                    log_rate: None,
                },
                Rule {
                    conditions: vec![
                        Condition::Path("/a".into()),
                        Condition::PathContains("b".into()),
                        Condition::Host("*.c".parse().unwrap()),
                    ],
                    rate: None,
                    log_rate: Ratio::new(0.0),
                },
                Rule {
                    conditions: vec![Condition::Header(HeaderCondition {
                        name: "x-debug".into(),
                        value: Some("1".into()),
                    })],
                    rate: Ratio::new(0.5),
                    log_rate: None,
                },
                Rule {
                    conditions: vec![Condition::Header(HeaderCondition {
                        name: "x-any".into(),
                        value: None,
                    })],
                    rate: Ratio::new(0.0),
                    log_rate: Ratio::new(0.01),
                },
            ]),
        },
        exclude: Exclude {
            routes: Routes::new().exact("/healthz").contains("/app-config/"),
            user_agents: vec!["curl/".into()],
            from_log: true,
        },
        request_headers: vec![CapturedHeader {
            name: "x-tenant".into(),
            attribute: "http.request.header.x-tenant".into(),
        }],
        response_headers: vec![CapturedHeader {
            name: "x-cache".into(),
            attribute: "http.response.header.x-cache".into(),
        }],
        span_kind: Some(SpanKind::Client),
        query: Query::Drop,
        response_header: vec![
            ResponseHeader::TraceId("x-trace-id".into()),
            ResponseHeader::TraceResponse,
            ResponseHeader::ServerTiming,
        ],
        exporter: Some(Exporter {
            clusters: vec![Cluster {
                name: "outbound|80||exporter.obs.svc.cluster.local".into(),
                authority: "exporter.obs".into(),
            }],
            path: "/spans".into(),
            timeout: Duration::from_millis(500),
            flush_interval: Duration::from_millis(1500),
            max_batch_spans: 100,
            max_buffer_bytes: 512 << 10,
            headers: vec![("authorization".into(), "Bearer t0ken".into())],
        }),
        overrides: vec![],
    };
    assert_eq!(config, expected);
}

#[test]
fn the_exporter_has_defaults() {
    let config = Config::parse(br#"{"exporter": {"cluster": "logtracer"}}"#).unwrap();
    let expected = Exporter {
        clusters: vec![Cluster { name: "logtracer".into(), authority: "logtracer".into() }],
        path: "/v1/traces".into(),
        timeout: Duration::from_secs(2),
        flush_interval: Duration::from_secs(1),
        max_batch_spans: 512,
        max_buffer_bytes: 1 << 20,
        headers: vec![],
    };
    assert_eq!(config.exporter, Some(expected));
}

#[test]
fn the_default_authority_comes_from_the_cluster() {
    for (cluster, expected) in [
        ("logtracer", "logtracer"),
        ("outbound|4318||exporter.obs.svc.cluster.local", "exporter.obs.svc.cluster.local:4318"),
        ("outbound|80|v1|exporter.obs", "exporter.obs:80"),
        ("a/b c", "logtracer-exporter"),
    ] {
        let json = format!(r#"{{"exporter": {{"cluster": "{cluster}"}}}}"#);
        let exporter = Config::parse(json.as_bytes()).unwrap().exporter.unwrap();
        assert_eq!(exporter.clusters[0].authority, expected, "{cluster}");
    }
}

#[test]
fn the_exporter_has_one_cluster_or_a_list() {
    let parse = |cluster: &str, more: &str| {
        let json = format!(r#"{{"exporter": {{"cluster": {cluster}{more}}}}}"#);
        Config::parse(json.as_bytes()).unwrap().exporter.unwrap()
    };
    assert_eq!(parse(r#"["c"]"#, ""), parse(r#""c""#, ""));
    let clusters = |exporter: Exporter| -> Vec<String> {
        exporter.clusters.iter().map(|cluster| format!("{} {}", cluster.name, cluster.authority)).collect()
    };
    let two = r#"["outbound|4318||a.obs", "outbound|4318||b.obs"]"#;
    assert_eq!(
        clusters(parse(two, "")),
        ["outbound|4318||a.obs a.obs:4318", "outbound|4318||b.obs b.obs:4318"]
    );
    let both = clusters(parse(two, r#", "authority": "x""#));
    assert_eq!(both, ["outbound|4318||a.obs x", "outbound|4318||b.obs x"]);
    let sixteen: Vec<String> = (0..16).map(|number| format!("\"c{number}\"")).collect();
    let sixteen = parse(&format!("[{}]", sixteen.join(",")), r#", "max_buffer_bytes": "64KiB""#);
    assert_eq!((sixteen.clusters.len(), sixteen.buffer_bytes()), (16, 4096));
}

#[test]
fn is_export_matches_only_requests_of_filters() {
    let json = br#"{"exporter": {"cluster": "c", "path": "/v1/traces?tenant=7"}}"#;
    let exporter = Config::parse(json).unwrap().exporter.unwrap();
    let own = Exporter::USER_AGENT.as_bytes();
    for (method, path, user_agent, expected) in [
        ("POST", "/v1/traces", own, true),
        ("POST", "/v1/traces", b"logtracer-filter/9".as_slice(), true),
        ("GET", "/v1/traces", own, false),
        ("POST", "/pay", own, false),
        ("POST", "/v1/traces", b"curl/8", false),
    ] {
        assert_eq!(
            exporter.is_export(method.as_bytes(), path.as_bytes(), user_agent),
            expected,
            "{method} {path}"
        );
    }
}

/// Every type of value is the same as from `serde_json` alone.
#[test]
fn json_is_parsed_as_by_serde_json() {
    for text in
        [r#"{"a": [null, true, -1, 18446744073709551615, 1.5e3, "ü\n", {"b": {}}], "c": ""}"#, "7", "[]"]
    {
        let expected: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(json::parse(text.as_bytes()).unwrap(), expected);
    }
}

/// Each choice that a key has, by its name.
#[test]
fn every_choice_is_read() {
    let parse =
        |key: &str, name: &str| Config::parse(format!(r#"{{"{key}": "{name}"}}"#).as_bytes()).unwrap();
    for (name, expected) in [
        ("stackdriver", Some(line::Format::Stackdriver)),
        ("local", Some(line::Format::Local)),
        ("off", None),
    ] {
        assert_eq!(parse("log_format", name).log_format, expected, "{name}");
    }
    for (name, expected) in [
        ("trust", Edge::Trust),
        ("resample", Edge::Resample),
        ("restart", Edge::Restart),
        ("link", Edge::Link),
    ] {
        assert_eq!(parse("edge", name).propagation.edge, expected, "{name}");
    }
    for (name, expected) in
        [("auto", None), ("server", Some(SpanKind::Server)), ("client", Some(SpanKind::Client))]
    {
        assert_eq!(parse("span_kind", name).span_kind, expected, "{name}");
    }
    for (name, expected) in [("redact", Query::Redact), ("keep", Query::Keep), ("drop", Query::Drop)] {
        assert_eq!(parse("query", name).query, expected, "{name}");
    }
    for (name, expected) in [
        ("x-trace-id", ResponseHeader::TraceId("x-trace-id".into())),
        ("traceresponse", ResponseHeader::TraceResponse),
        ("server-timing", ResponseHeader::ServerTiming),
    ] {
        assert_eq!(parse("response_header", name).response_header, [expected], "{name}");
    }
}

/// The least and the greatest number of each range.
#[test]
fn ranges_include_their_bounds() {
    let exporter = |key: &str, value: &str| {
        let json = format!(r#"{{"exporter": {{"cluster": "c", "{key}": {value}}}}}"#);
        Config::parse(json.as_bytes()).map(|config| config.exporter.unwrap())
    };
    for (value, expected) in [
        ("4095", None),
        ("4096", Some(4_096)),
        ("\"4KiB\"", Some(4_096)),
        ("67108864", Some(67_108_864)),
        ("\"64MiB\"", Some(67_108_864)),
        ("67108865", None),
    ] {
        let read = exporter("max_buffer_bytes", value).ok().map(|exporter| exporter.max_buffer_bytes);
        assert_eq!(read, expected, "{value}");
    }
    for (value, expected) in [
        ("0", None),
        ("1", Some(1)),
        ("5.0", Some(5)),
        ("10000", Some(10_000)),
        ("10001", None),
        ("-1", None),
    ] {
        let read = exporter("max_batch_spans", value).ok().map(|exporter| exporter.max_batch_spans);
        assert_eq!(read, expected, "{value}");
    }
    for (value, expected) in [
        ("0.9ms", None),
        ("1ms", Some(Duration::from_millis(1))),
        ("1h", Some(Duration::from_secs(3_600))),
        ("60.1m", None),
    ] {
        let read = exporter("timeout", &format!("\"{value}\"")).ok().map(|exporter| exporter.timeout);
        assert_eq!(read, expected, "{value}");
    }
    let overrides = vec![r#"{"service": "a"}"#; 200].join(",");
    let config = Config::parse(format!(r#"{{"overrides": [{overrides}]}}"#).as_bytes()).unwrap();
    assert_eq!(config.overrides.len(), 200);
}

/// Rules 48 and 49: by the whole path, by a part of it, or by how the user agent starts.
#[test]
fn requests_are_excluded() {
    let json = br#"{"exclude": {"paths": ["/healthz"], "path_contains": ["/assets/"]}}"#;
    let exclude = Config::parse(json).unwrap().exclude;
    for (path, user_agent, expected) in [
        ("/healthz", "", true),
        ("/v1/assets/x", "curl/8", true),
        ("/", "kube-probe/1.30", true),
        ("/", "GoogleHC/1.0", true),
        ("/", "Envoy/HC", true),
        ("/", "ELB-HealthChecker/2.0", true),
        ("/", "not kube-probe/", false),
        ("/healthz/deep", "curl/8", false),
        ("/", "", false),
    ] {
        assert_eq!(exclude.matches(path.as_bytes(), user_agent.as_bytes()), expected, "{path} {user_agent}");
    }
}
