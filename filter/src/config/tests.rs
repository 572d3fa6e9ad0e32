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
    refused(r#"{"service_name": 7}"#, "service_name: expected a text that is not empty, found 7");
    refused(r#"{"service_name": ""}"#, "service_name: expected a text that is not empty, found \"\"");
    for id in ["7", "\"\"", "\"projects/p\""] {
        refused(
            &format!(r#"{{"project_id": {id}}}"#),
            &format!("project_id: expected the id of a project, such as \"shop-prod\", found {id}"),
        );
    }
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
    refused(r#"{"exclude": {"paths": "/a"}}"#, "exclude.paths: expected a list of paths, found \"/a\"");
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
        "exporter.authority: expected a host, maybe with a port, such as \"exporter.example:4318\"",
    );
    for name in ["x trace", "Content-Length", "transfer-encoding", "connection", "grpc-status"] {
        refused(
            &format!(r#"{{"response_header": "{name}"}}"#),
            &format!(
                "response_header: expected the name of a header without a meaning of its own, such as \"x-trace-id\", \
                 found \"{name}\""
            ),
        );
    }
}

/// What would do nothing, or break every callout, is a mistake, too.
#[test]
fn what_can_have_no_effect_is_refused() {
    const A_PATH: &str = "a path without its query that begins with /, such as \"/healthz\"";
    const A_PART: &str = "a part of a path, without a query, such as \"/assets/\"";
    for (key, value, expected) in [
        ("path", "healthz", A_PATH),
        ("path", "/a?x", A_PATH),
        ("path", "", A_PATH),
        ("path_prefix", "api/", A_PATH),
        ("path_prefix", "/a#b", A_PATH),
        ("path_contains", "?x=", A_PART),
        ("path_contains", "", A_PART),
        ("method", "post", "a method in capitals, such as \"POST\""),
        ("method", "", "a method in capitals, such as \"POST\""),
    ] {
        refused(
            &format!(r#"{{"sampling": {{"rules": [{{"{key}": "{value}", "rate": 1}}]}}}}"#),
            &format!("sampling.rules[0].{key}: expected {expected}, found \"{value}\""),
        );
    }
    for (key, value, expected) in
        [("paths", "healthz", A_PATH), ("paths", "/a?x", A_PATH), ("path_contains", "a?", A_PART)]
    {
        refused(
            &format!(r#"{{"exclude": {{"{key}": ["/b", "{value}"]}}}}"#),
            &format!("exclude.{key}[1]: expected {expected}, found \"{value}\""),
        );
    }
    for name in ["content-length", "Content-Type", "host", "B3", "traceparent", "user-agent", "te"] {
        refused(
            &format!(r#"{{"exporter": {{"cluster": "c", "headers": {{"{name}": "s3cret"}}}}}}"#),
            &format!("exporter.headers.{name}: expected a header that the filter does not set itself"),
        );
    }
    for (json, key) in [
        (r#"{"edge": "link", "sampling": {}, "edge": "trust"}"#, "edge"),
        (r#"{"sampling": {"rate": 0, "rate": 1}}"#, "rate"),
        (r#"{"sampling": {"rules": [{"path": "/a", "path": "/b", "rate": 1}]}}"#, "path"),
    ] {
        let error = Config::parse(json.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{key}: expected once, found twice at line 1")), "{error}");
    }
}

/// Every kind of value reads as `serde_json` alone reads it.
#[test]
fn json_is_json() {
    for text in
        [r#"{"a": [null, true, -1, 18446744073709551615, 1.5e3, "ü\n", {"b": {}}], "c": ""}"#, "7", "[]"]
    {
        let expected: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(json::parse(text.as_bytes()).unwrap(), expected);
    }
}

#[test]
fn an_export_is_told_from_other_requests() {
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

/// A header value may be a token, and goes into no log.
#[test]
fn header_values_are_not_shown() {
    refused(
        r#"{"exporter": {"cluster": "c", "headers": {"authorization": "s3cret\n"}}}"#,
        "exporter.headers.authorization: expected a text of visible characters",
    );
}

#[test]
fn long_values_are_shortened() {
    let json = format!(r#"{{"log_format": "{}"}}"#, "ü".repeat(1000));
    let error = Config::parse(json.as_bytes()).unwrap_err().to_string();
    assert!(error.chars().count() < 130, "{error}");
}

/// A row of the reference: its keys, and what it says of their default.
fn documented() -> Vec<(Vec<String>, &'static str)> {
    let rows = include_str!("../../../docs/configuration.md").lines().filter(|line| line.starts_with("| `"));
    let row = |line: &'static str| {
        // A bar inside a cell is escaped.
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let (keys, default) = (cells.next().unwrap(), cells.next().unwrap());
        let mut keys: Vec<String> = keys.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let section = keys[0].rsplit_once('.').map(|(section, _)| format!("{section}."));
        for key in keys.iter_mut().skip(1) {
            key.insert_str(0, section.as_deref().unwrap_or_default());
        }
        (keys, default)
    };
    rows.map(row).collect()
}

#[test]
fn every_key_is_documented_and_no_other() {
    let mut documented: Vec<String> = documented().into_iter().flat_map(|(keys, _)| keys).collect();
    let sections: [(&str, &[&str]); 6] = [
        ("", &Config::KEYS),
        ("propagation.", &Propagation::KEYS),
        ("sampling.", &Sampling::KEYS),
        ("sampling.rules[].", &Sampling::RULE_KEYS),
        ("exclude.", &Exclude::KEYS),
        ("exporter.", &Exporter::KEYS),
    ];
    // A section is documented by its keys.
    let is_section = |key: &String| sections.iter().any(|(section, _)| *section == format!("{key}."));
    let mut known: Vec<String> = sections
        .iter()
        .flat_map(|(section, keys)| keys.iter().map(move |key| format!("{section}{key}")))
        .filter(|key| !is_section(key))
        .collect();
    documented.sort_unstable();
    known.sort_unstable();
    assert_eq!(documented, known);
}

/// A configuration that says what the reference calls the defaults is the default.
#[test]
fn documented_defaults_are_the_defaults() {
    let mut written = serde_json::json!({ "exporter": { "cluster": "c" } });
    let mut values = 0;
    for (keys, default) in documented() {
        // What is no literal is told in words: none, or found elsewhere.
        let Some(literal) = default.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) else {
            continue;
        };
        let value = serde_json::from_str(literal).unwrap_or_else(|_| literal.into());
        // Rules have defaults only as parts of a rule.
        if keys[0].contains("[]") {
            assert_eq!((keys[0].as_str(), literal), ("sampling.rules[].log", "true"));
            continue;
        }
        written[keys[0].split('.').next().unwrap()] = match keys[0].split_once('.') {
            None => value,
            Some((section, key)) => {
                let mut object = written[section].clone();
                object[key] = value;
                object
            }
        };
        values += 1;
    }
    assert!(values >= 18, "{values}");
    let bare = Config::parse(br#"{"exporter": {"cluster": "c"}}"#).unwrap();
    assert_eq!(Config::parse(written.to_string().as_bytes()).unwrap(), bare);
    assert_eq!(Config { exporter: None, ..bare }, Config::default());
}

proptest::proptest! {
    /// Any bytes, and any JSON with known keys, are taken or refused with a short reason that shows no header value.
    #[test]
    fn anything_is_taken_or_refused(
        key in proptest::sample::select(&Config::KEYS[..]),
        inner in proptest::sample::select(&Exporter::KEYS[..]),
        text in "\\PC{0,40}",
        number in proptest::num::f64::ANY,
    ) {
        let values = [
            serde_json::json!(text), serde_json::json!(number), serde_json::json!([text]),
            serde_json::json!({ inner: text }), serde_json::json!({ "cluster": "c", inner: number }),
            serde_json::json!({ "cluster": "c", "headers": { "x-a": "hidden\u{7}" } }),
        ];
        for value in values {
            if let Err(error) = Config::parse(serde_json::json!({ key: value }).to_string().as_bytes()) {
                let message = error.to_string();
                proptest::prop_assert!(!message.is_empty() && message.len() < 1000, "{message}");
                proptest::prop_assert!(!message.contains("hidden"), "{message}");
            }
        }
        let _ = Config::parse(text.as_bytes());
    }
}
