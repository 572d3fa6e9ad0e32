//! Configurations that are rejected, and the error messages.

use logtracer_core::propagation::Format;

use super::*;

#[track_caller]
fn check_rejected(json: &str, expected: &str) {
    match Config::parse(json.as_bytes()) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(error) => assert_eq!(error.to_string(), expected),
    }
}

/// Rule 84: the key, the value and what was expected.
#[test]
fn errors_name_the_key_and_what_was_expected() {
    check_rejected("{", "invalid JSON: EOF while parsing an object at line 1 column 1");
    check_rejected("[1]", "expected an object, found a list");
    check_rejected(
        r#"{"projectid": "x"}"#,
        "projectid: unknown key, expected one of project_id, service_name, log_format, line_break, \
         propagation, edge, sampling, exclude, span_kind, query, request_headers, response_headers, response_header, exporter, overrides",
    );
    check_rejected(r#"{"service_name": 7}"#, "service_name: expected a non-empty string, found 7");
    check_rejected(r#"{"service_name": ""}"#, "service_name: expected a non-empty string, found \"\"");
    for id in ["7", "\"\"", "\"projects/p\""] {
        check_rejected(
            &format!(r#"{{"project_id": {id}}}"#),
            &format!("project_id: expected a project id, such as \"shop-prod\", found {id}"),
        );
    }
    check_rejected(
        r#"{"log_format": "json"}"#,
        "log_format: expected one of stackdriver, local, off, found \"json\"",
    );
    check_rejected(r#"{"line_break": "yes"}"#, "line_break: expected true or false, found \"yes\"");
    let formats = Format::ALL.map(Format::as_str).join(", ");
    check_rejected(
        r#"{"propagation": {"extract": ["b3", "jaeger"]}}"#,
        &format!("propagation.extract[1]: expected one of {formats}, found \"jaeger\""),
    );
    check_rejected(
        r#"{"propagation": {"inject": "b3"}}"#,
        &format!("propagation.inject: expected a list with any of {formats}, found \"b3\""),
    );
    check_rejected(r#"{"propagation": 1}"#, "propagation: expected an object, found 1");
    check_rejected(
        r#"{"sampling": {"rate": 1.01}}"#,
        "sampling.rate: expected a number from 0 to 1, found 1.01",
    );
    check_rejected(
        r#"{"sampling": {"rate": "1"}}"#,
        "sampling.rate: expected a number from 0 to 1, found \"1\"",
    );
    check_rejected(
        r#"{"sampling": {"ratio": 1}}"#,
        "sampling.ratio: unknown key, expected one of rate, defer_cloud_trace_zero, max_per_second, keep_errors, \
         keep_slower_than, log_rate, rules",
    );
    check_rejected(
        r#"{"sampling": {"max_per_second": 0}}"#,
        "sampling.max_per_second: expected a number above 0, found 0",
    );
    check_rejected(
        r#"{"sampling": {"keep_errors": 1}}"#,
        "sampling.keep_errors: expected true or false, found 1",
    );
    check_rejected(
        r#"{"sampling": {"rules": [{"path": "/a", "rate": 1}, {"rate": 1}]}}"#,
        "sampling.rules[1]: incomplete, expected a condition: path_prefix, path, path_contains, host, method or \
         header",
    );
    check_rejected(
        r#"{"sampling": {"rules": [{"path": "/a"}]}}"#,
        "sampling.rules[0]: incomplete, expected rate, log or both",
    );
    check_rejected(
        r#"{"sampling": {"rules": [{"pathprefix": "/a"}]}}"#,
        "sampling.rules[0].pathprefix: unknown key, expected one of path_prefix, path, path_contains, host, method, \
         header, rate, log",
    );
    check_rejected(
        r#"{"sampling": {"rules": [{"header": "x y", "rate": 1}]}}"#,
        "sampling.rules[0].header: expected a header name, or a name and a value such as \"x-debug: 1\", \
         found \"x y\"",
    );
    check_rejected(
        r#"{"edge": "ignore"}"#,
        "edge: expected one of trust, resample, restart, link, found \"ignore\"",
    );
    check_rejected(
        r#"{"propagation": {"strip_hosts": ["https://x"]}}"#,
        "propagation.strip_hosts[0]: expected a host, such as \"api.example.com\" or \"*.example.com\", \
         found \"https://x\"",
    );
    check_rejected(
        r#"{"propagation": {"strip_hosts": ["x:80"]}}"#,
        "propagation.strip_hosts[0]: expected a host, such as \"api.example.com\" or \"*.example.com\", \
         found \"x:80\"",
    );
    check_rejected(
        r#"{"exclude": {"paths": "/a"}}"#,
        "exclude.paths: expected a list of paths, found \"/a\"",
    );
    check_rejected(
        r#"{"request_headers": ["Cookie"]}"#,
        "request_headers[0]: expected a header that carries no secret, found \"Cookie\"",
    );
    check_rejected(
        r#"{"exporter": {}}"#,
        "exporter.cluster: missing, expected the name of the exporter's Envoy cluster",
    );
    let list = |names: usize| {
        serde_json::Value::from((0..names).map(|number| format!("c{number}")).collect::<Vec<_>>()).to_string()
    };
    for (cluster, expected) in [
        ("7", "exporter.cluster: expected a non-empty string, or a list of 1 to 16 of them, found 7"),
        ("\"\"", "exporter.cluster: expected a non-empty string, or a list of 1 to 16 of them, found \"\""),
        (
            "{}",
            "exporter.cluster: expected a non-empty string, or a list of 1 to 16 of them, found an object",
        ),
        ("null", "exporter.cluster: missing, expected the name of the exporter's Envoy cluster"),
        ("[]", "exporter.cluster: expected 1 to 16 names, found 0"),
        (list(17).as_str(), "exporter.cluster: expected 1 to 16 names, found 17"),
        (r#"["a", 7]"#, "exporter.cluster[1]: expected a non-empty string, found 7"),
        (r#"["a", ["b"]]"#, "exporter.cluster[1]: expected a non-empty string, found a list"),
        (r#"["a", ""]"#, "exporter.cluster[1]: expected a non-empty string, found \"\""),
        (r#"["a", "b", "a"]"#, "exporter.cluster: expected different names, found a twice"),
    ] {
        check_rejected(&format!(r#"{{"exporter": {{"cluster": {cluster}}}}}"#), expected);
    }
    check_rejected(
        r#"{"exporter": {"cluster": ["a", "b"], "max_buffer_bytes": 8191}}"#,
        "exporter.max_buffer_bytes: expected at least 4096 bytes for each cluster",
    );
    check_rejected(
        r#"{"exporter": {"cluster": "c", "timeout": "0s"}}"#,
        "exporter.timeout: expected a duration from 1ms to 1h, such as \"500ms\", \"2s\" or \"1m\", found \"0s\"",
    );
    check_rejected(
        r#"{"exporter": {"cluster": "c", "timeout": "-1s"}}"#,
        "exporter.timeout: expected a duration from 1ms to 1h, such as \"500ms\", \"2s\" or \"1m\", found \"-1s\"",
    );
    check_rejected(
        r#"{"exporter": {"cluster": "c", "max_batch_spans": 1.5}}"#,
        "exporter.max_batch_spans: expected a whole number from 1 to 10000, found 1.5",
    );
    check_rejected(
        r#"{"exporter": {"cluster": "c", "max_buffer_bytes": "1GiB"}}"#,
        "exporter.max_buffer_bytes: expected a size from 4096 to 67108864 bytes, such as \"512KiB\" or \"1MiB\", \
         found \"1GiB\"",
    );
    check_rejected(
        r#"{"exporter": {"cluster": "c", "path": "v1"}}"#,
        "exporter.path: expected a path that starts with /, found \"v1\"",
    );
    check_rejected(
        r#"{"exporter": {"cluster": "c", "authority": "a|b"}}"#,
        "exporter.authority: expected a host with an optional port, such as \"exporter.example:4318\"",
    );
    for name in ["x trace", "Content-Length", "transfer-encoding", "connection", "grpc-status"] {
        check_rejected(
            &format!(r#"{{"response_header": "{name}"}}"#),
            &format!(
                "response_header: expected a header name without a standard meaning, such as \"x-trace-id\", or \
                 traceresponse or server-timing, found \"{name}\""
            ),
        );
    }
    check_rejected(
        r#"{"response_header": ["x-trace-id", 7]}"#,
        "response_header[1]: expected a header name without a standard meaning, such as \"x-trace-id\", or \
         traceresponse or server-timing, found 7",
    );
    for log in ["1.5", "\"yes\""] {
        check_rejected(
            &format!(r#"{{"sampling": {{"rules": [{{"path": "/a", "log": {log}}}]}}}}"#),
            &format!("sampling.rules[0].log: expected true, false or a number from 0 to 1, found {log}"),
        );
    }
}

/// A setting that would have no effect, or would break every callout, is an error.
#[test]
fn settings_without_effect_are_rejected() {
    const A_PATH: &str = "a path that starts with / and has no query, such as \"/healthz\"";
    const A_PART: &str = "a part of a path without a query, such as \"/assets/\"";
    for (key, value, expected) in [
        ("path", "healthz", A_PATH),
        ("path", "/a?x", A_PATH),
        ("path", "", A_PATH),
        ("path_prefix", "api/", A_PATH),
        ("path_prefix", "/a#b", A_PATH),
        ("path_contains", "?x=", A_PART),
        ("path_contains", "", A_PART),
        ("method", "post", "a method in upper case, such as \"POST\""),
        ("method", "", "a method in upper case, such as \"POST\""),
    ] {
        check_rejected(
            &format!(r#"{{"sampling": {{"rules": [{{"{key}": "{value}", "rate": 1}}]}}}}"#),
            &format!("sampling.rules[0].{key}: expected {expected}, found \"{value}\""),
        );
    }
    for (key, value, expected) in
        [("paths", "healthz", A_PATH), ("paths", "/a?x", A_PATH), ("path_contains", "a?", A_PART)]
    {
        check_rejected(
            &format!(r#"{{"exclude": {{"{key}": ["/b", "{value}"]}}}}"#),
            &format!("exclude.{key}[1]: expected {expected}, found \"{value}\""),
        );
    }
    for name in ["content-length", "Content-Type", "host", "B3", "traceparent", "user-agent", "te"] {
        check_rejected(
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
        assert!(error.starts_with(&format!("{key}: duplicate key at line 1 column ")), "{error}");
    }
}

/// A header value can be a token, and the error goes into a log.
#[test]
fn header_values_are_not_shown() {
    for (key, value, expected) in [
        ("headers", r#""s3cret""#, "exporter.headers: expected an object of header names and values"),
        (
            "headers",
            r#"{"Bearer s3cret": "x"}"#,
            "exporter.headers: expected valid header names, such as \"authorization\", with their values",
        ),
        (
            "headers",
            r#"{"authorization": "s3cret\n"}"#,
            "exporter.headers.authorization: expected a string of printable ASCII characters",
        ),
        (
            "authority",
            r#""user:s3cret@exporter""#,
            "exporter.authority: expected a host with an optional port, such as \"exporter.example:4318\"",
        ),
    ] {
        check_rejected(&format!(r#"{{"exporter": {{"cluster": "c", "{key}": {value}}}}}"#), expected);
    }
}

#[test]
fn long_values_and_keys_are_truncated() {
    let text = "ü".repeat(1000);
    let shown = "ü".repeat(59);
    check_rejected(
        &format!(r#"{{"log_format": "{text}"}}"#),
        &format!("log_format: expected one of stackdriver, local, off, found \"{shown}…"),
    );
    let shown = "ü".repeat(60);
    let keys = Config::KEYS.join(", ");
    check_rejected(&format!(r#"{{"{text}": 1}}"#), &format!("{shown}…: unknown key, expected one of {keys}"));
}

proptest::proptest! {
    /// Any bytes, and any JSON with known keys, are accepted or rejected with a short error that shows no header value.
    #[test]
    fn any_input_is_accepted_or_rejected(
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
