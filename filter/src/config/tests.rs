use core::time::Duration;

use logtracer_core::propagation::{Format, Formats, Propagator};
use logtracer_core::request::Routes;
use logtracer_core::sampling::{Condition, HeaderCondition, Ratio, Rule, Rules};

use super::*;

#[track_caller]
fn refused(json: &str, expected: &str) {
    match Config::parse(json.as_bytes()) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(error) => assert_eq!(error.to_string(), expected),
    }
}

#[test]
fn no_configuration_is_all_defaults() {
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
        "propagation": {"extract": ["cloud-trace", "b3"], "inject": ["b3", "grpc-trace-bin"],
                        "strip_hosts": ["api.example.com", "*.partner.example"]},
        "edge": "link",
        "sampling": {
            "rate": 0.25,
            "defer_cloud_trace_zero": true,
            "max_per_second": 10,
            "keep_errors": true,
            "keep_slower_than": "750ms",
            "rules": [
                {"path_prefix": "/api/", "method": "POST", "rate": 1},
                {"path": "/a", "path_contains": "b", "host": "*.c", "log": false},
                {"header": "X-Debug: 1", "rate": 0.5},
                {"header": "x-any", "rate": 0}
            ]
        },
        "exclude": {"paths": ["/healthz"], "path_contains": ["/app-config/"], "user_agents": ["curl/"], "log": true},
        "request_headers": ["X-Tenant"],
        "response_headers": ["x-cache"],
        "span_kind": "client",
        "query": "drop",
        "response_header": "X-Trace-Id",
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
            rules: Rules::new(vec![
                Rule {
                    conditions: vec![Condition::PathPrefix("/api/".into()), Condition::Method("POST".into())],
                    rate: Some(Ratio::ALL),
                    log: true,
                },
                Rule {
                    conditions: vec![
                        Condition::Path("/a".into()),
                        Condition::PathContains("b".into()),
                        Condition::Host("*.c".parse().unwrap()),
                    ],
                    rate: None,
                    log: false,
                },
                Rule {
                    conditions: vec![Condition::Header(HeaderCondition {
                        name: "x-debug".into(),
                        value: Some("1".into()),
                    })],
                    rate: Ratio::new(0.5),
                    log: true,
                },
                Rule {
                    conditions: vec![Condition::Header(HeaderCondition {
                        name: "x-any".into(),
                        value: None,
                    })],
                    rate: Ratio::new(0.0),
                    log: true,
                },
            ]),
        },
        exclude: Exclude {
            routes: Routes::new().exact("/healthz").contains("/app-config/"),
            user_agents: vec!["curl/".into()],
            log: true,
        },
        request_headers: vec!["x-tenant".into()],
        response_headers: vec!["x-cache".into()],
        span_kind: Some(Kind::Client),
        query: Query::Drop,
        response_header: Some("x-trace-id".into()),
        exporter: Some(Exporter {
            cluster: "outbound|80||exporter.obs.svc.cluster.local".into(),
            authority: "exporter.obs".into(),
            path: "/spans".into(),
            timeout: Duration::from_millis(500),
            flush_interval: Duration::from_millis(1500),
            max_batch_spans: 100,
            max_buffer_bytes: 512 << 10,
            headers: vec![("authorization".into(), "Bearer t0ken".into())],
        }),
    };
    assert_eq!(config, expected);
}

#[test]
fn exporter_defaults() {
    let config = Config::parse(br#"{"exporter": {"cluster": "logtracer"}}"#).unwrap();
    let expected = Exporter {
        cluster: "logtracer".into(),
        authority: "logtracer".into(),
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
fn the_authority_of_a_cluster() {
    for (cluster, expected) in [
        ("logtracer", "logtracer"),
        ("outbound|4318||exporter.obs.svc.cluster.local", "exporter.obs.svc.cluster.local:4318"),
        ("outbound|80|v1|exporter.obs", "exporter.obs:80"),
        ("a/b c", "logtracer-exporter"),
    ] {
        let json = format!(r#"{{"exporter": {{"cluster": "{cluster}"}}}}"#);
        let exporter = Config::parse(json.as_bytes()).unwrap().exporter.unwrap();
        assert_eq!(exporter.authority, expected, "{cluster}");
    }
}

/// Rule 84: the key, the value and what was expected.
#[test]
fn mistakes_are_named() {
    refused("{", "the configuration is not JSON: EOF while parsing an object at line 1 column 1");
    refused("[1]", "expected a JSON object as the configuration, found a list");
    refused(
        r#"{"projectid": "x"}"#,
        "projectid: unknown key, expected one of project_id, service_name, log_format, propagation, edge, \
         sampling, exclude, span_kind, query, request_headers, response_headers, response_header, exporter",
    );
    refused(r#"{"project_id": 7}"#, "project_id: expected a text that is not empty, found 7");
    refused(r#"{"project_id": ""}"#, "project_id: expected a text that is not empty, found \"\"");
    refused(
        r#"{"log_format": "json"}"#,
        "log_format: expected one of stackdriver, local, off, found \"json\"",
    );
    refused(
        r#"{"propagation": {"extract": ["b3", "jaeger"]}}"#,
        "propagation.extract[1]: expected one of b3, b3multi, tracecontext, cloud-trace, grpc-trace-bin, \
         found \"jaeger\"",
    );
    refused(
        r#"{"propagation": {"inject": "b3"}}"#,
        "propagation.inject: expected a list of words out of b3, b3multi, tracecontext, cloud-trace, \
         grpc-trace-bin, found \"b3\"",
    );
    refused(r#"{"propagation": 1}"#, "propagation: expected an object, found 1");
    refused(r#"{"sampling": {"rate": 1.01}}"#, "sampling.rate: expected a number from 0 to 1, found 1.01");
    refused(r#"{"sampling": {"rate": "1"}}"#, "sampling.rate: expected a number from 0 to 1, found \"1\"");
    refused(
        r#"{"sampling": {"ratio": 1}}"#,
        "sampling.ratio: unknown key, expected one of rate, defer_cloud_trace_zero, max_per_second, keep_errors, \
         keep_slower_than, rules",
    );
    refused(
        r#"{"sampling": {"max_per_second": 0}}"#,
        "sampling.max_per_second: expected a number above 0, found 0",
    );
    refused(r#"{"sampling": {"keep_errors": 1}}"#, "sampling.keep_errors: expected true or false, found 1");
    refused(
        r#"{"sampling": {"rules": [{"path": "/a", "rate": 1}, {"rate": 1}]}}"#,
        "sampling.rules[1]: incomplete, expected a condition: path_prefix, path, path_contains, host, method or \
         header",
    );
    refused(
        r#"{"sampling": {"rules": [{"path": "/a"}]}}"#,
        "sampling.rules[0]: incomplete, expected what the rule sets: rate or log",
    );
    refused(
        r#"{"sampling": {"rules": [{"pathprefix": "/a"}]}}"#,
        "sampling.rules[0].pathprefix: unknown key, expected one of path_prefix, path, path_contains, host, method, \
         header, rate, log",
    );
    refused(
        r#"{"sampling": {"rules": [{"header": "x y", "rate": 1}]}}"#,
        "sampling.rules[0].header: expected the name of a header, or name and value such as \"x-debug: 1\", \
         found \"x y\"",
    );
    refused(r#"{"edge": "ignore"}"#, "edge: expected one of trust, restart, link, found \"ignore\"");
    refused(
        r#"{"propagation": {"strip_hosts": ["https://x"]}}"#,
        "propagation.strip_hosts[0]: expected a host such as \"api.example.com\" or \"*.example.com\", \
         found \"https://x\"",
    );
    refused(r#"{"exclude": {"paths": "/a"}}"#, "exclude.paths: expected a list of texts, found \"/a\"");
    refused(
        r#"{"request_headers": ["Cookie"]}"#,
        "request_headers[0]: expected a header that carries no secret, found \"Cookie\"",
    );
    refused(
        r#"{"exporter": {}}"#,
        "exporter.cluster: missing, expected the name of the Envoy cluster of the exporter",
    );
    refused(
        r#"{"exporter": {"cluster": "c", "timeout": "0s"}}"#,
        "exporter.timeout: expected a time from 1ms to 1h such as \"500ms\", \"2s\" or \"1m\", found \"0s\"",
    );
    refused(
        r#"{"exporter": {"cluster": "c", "timeout": "-1s"}}"#,
        "exporter.timeout: expected a time from 1ms to 1h such as \"500ms\", \"2s\" or \"1m\", found \"-1s\"",
    );
    refused(
        r#"{"exporter": {"cluster": "c", "max_batch_spans": 1.5}}"#,
        "exporter.max_batch_spans: expected a whole number from 1 to 10000, found 1.5",
    );
    refused(
        r#"{"exporter": {"cluster": "c", "max_buffer_bytes": "1GiB"}}"#,
        "exporter.max_buffer_bytes: expected a size from 4096 to 67108864 bytes such as \"512KiB\" or \"1MiB\", \
         found \"1GiB\"",
    );
    refused(
        r#"{"exporter": {"cluster": "c", "path": "v1"}}"#,
        "exporter.path: expected a path that begins with /, found \"v1\"",
    );
    refused(
        r#"{"exporter": {"cluster": "c", "authority": "a|b"}}"#,
        "exporter.authority: expected a host, maybe with a port, such as \"exporter.example:4318\", found \"a|b\"",
    );
    refused(
        r#"{"response_header": "x trace"}"#,
        "response_header: expected the name of a header, found \"x trace\"",
    );
}

/// A header value may be a token, and goes into no log.
#[test]
fn header_values_are_not_shown() {
    refused(
        r#"{"exporter": {"cluster": "c", "headers": {"authorization": "s3cret\n"}}}"#,
        "exporter.headers.authorization: expected the name of a header and a text of visible characters",
    );
}

#[test]
fn long_values_are_shortened() {
    let json = format!(r#"{{"log_format": "{}"}}"#, "ü".repeat(1000));
    let error = Config::parse(json.as_bytes()).unwrap_err().to_string();
    assert!(error.chars().count() < 130, "{error}");
}

#[test]
fn every_key_is_documented() {
    let documented = include_str!("../../../docs/configuration.md");
    for key in Config::KEYS {
        assert!(documented.contains(&format!("| `{key}")), "{key}");
    }
}
