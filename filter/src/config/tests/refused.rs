//! What is refused, and with which words.

use super::*;

#[track_caller]
fn refused(json: &str, expected: &str) {
    match Config::parse(json.as_bytes()) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(error) => assert_eq!(error.to_string(), expected),
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
