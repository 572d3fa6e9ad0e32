//! `overrides`: which of them a workload gets, and what is rejected.

use super::*;
use crate::node::Node;

const CONFIG: &str = r#"{
    "project_id": "shop-prod",
    "sampling": { "rate": 0.1, "keep_errors": true, "rules": [{ "path": "/a", "rate": 0 }] },
    "exporter": { "cluster": "c" },
    "overrides": [
        { "namespace": "payments", "service": "vault", "log_format": "off" },
        { "namespace": "payments", "sampling": { "rate": 1, "rules": [] }, "exporter": { "timeout": "5s" } },
        { "label": "team=search", "edge": "restart", "project_id": null },
        { "label": "noisy", "sampling": { "log_rate": 0.01 } },
        { "service": "gateway", "exporter": null }
    ]
}"#;

fn of(namespace: &str, service: &str, labels: &[(&str, &str)]) -> Config {
    let name = |text: &str| Some(text).filter(|text| !text.is_empty()).map(str::to_owned);
    let node = Node { namespace: name(namespace), service_name: name(service), ..Node::default() };
    let label =
        |key: &str| labels.iter().find(|(known, _)| *known == key).map(|(_, value)| (*value).to_owned());
    Config::parse(CONFIG.as_bytes()).unwrap().for_node(&node, label)
}

fn rate(config: &Config) -> String {
    config.sampling.rate.to_string()
}

#[test]
fn the_first_override_that_matches_applies() {
    let general = Config { overrides: vec![], ..Config::parse(CONFIG.as_bytes()).unwrap() };
    assert_eq!(of("", "", &[]), general);
    assert_eq!(of("shop", "cart", &[("team", "cart"), ("app", "cart")]), general);

    assert_eq!(of("payments", "vault", &[]).log_format, None);
    let payments = of("payments", "ledger", &[("noisy", "")]);
    assert_eq!(rate(&payments), "1");
    // The other keys of a section stay, and a list is replaced.
    assert!(payments.sampling.keep_errors && payments.sampling.rules.is_empty());
    let exporter = payments.exporter.unwrap();
    assert_eq!((exporter.clusters[0].name.as_str(), exporter.timeout.as_secs()), ("c", 5));

    let search = of("", "", &[("team", "search"), ("noisy", "")]);
    assert_eq!((search.propagation.edge, search.project_id.as_deref()), (Edge::Restart, None));
    let noisy = of("", "", &[("noisy", "")]);
    assert_eq!((noisy.sampling.log_rate.to_string(), rate(&noisy)), ("0.01".into(), "0.1".into()));
    assert_eq!(of("", "gateway", &[]).exporter, None);
    assert!(of("", "gateway", &[]).overrides.is_empty());
}

/// Null removes a key, also one of a map (RFC 7396).
#[test]
fn an_override_removes_headers() {
    let json = br#"{
        "exporter": { "cluster": "c", "headers": { "authorization": "Bearer x", "x-tenant": "a" } },
        "overrides": [
            { "namespace": "a", "exporter": { "headers": { "authorization": null, "x-other": null } } },
            { "namespace": "b", "exporter": { "headers": null } }
        ]
    }"#;
    for (namespace, expected) in [("a", &["x-tenant"][..]), ("b", &[]), ("c", &["authorization", "x-tenant"])]
    {
        let node = Node { namespace: Some(namespace.to_owned()), ..Node::default() };
        let exporter = Config::parse(json).unwrap().for_node(&node, |_| None).exporter.unwrap();
        let names: Vec<&str> = exporter.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, expected, "{namespace}");
    }
}

/// The configured name of the service comes before the one of the node.
#[test]
fn a_service_has_its_configured_name() {
    let json = br#"{"service_name": "a", "overrides": [{"service": "a", "query": "drop"}, {"service": "b", "query": "keep"}]}"#;
    let node = Node { service_name: Some("b".into()), ..Node::default() };
    let config = Config::parse(json).unwrap().for_node(&node, |_| None);
    assert_eq!(config.query, Query::Drop);
}

/// Every override is checked, whatever the node is.
#[test]
fn errors_name_the_override() {
    let conditions = "namespace, label, service";
    for (overrides, expected) in [
        ("7", "overrides: expected a list of objects, found 7".to_owned()),
        ("[7]", "overrides[0]: expected an object, found 7".to_owned()),
        ("[{}]", "overrides[0]: incomplete, expected a condition: namespace, label or service".to_owned()),
        (
            r#"[{"service": "a"}, {"query": "drop"}]"#,
            "overrides[1]: incomplete, expected a condition: namespace, label or service".to_owned(),
        ),
        (
            r#"[{"service": "a", "sampling": {"rate": 2}}]"#,
            "overrides[0].sampling.rate: expected a number from 0 to 1, found 2".to_owned(),
        ),
        (
            r#"[{"service": "a", "exporter": {"timeout": "1s"}}]"#,
            "overrides[0].exporter.cluster: missing, expected the name of the exporter's Envoy cluster".to_owned(),
        ),
        (
            r#"[{"service": "a", "overrides": []}]"#,
            format!(
                "overrides[0].overrides: unknown key, expected one of {conditions}, {}",
                Config::KEYS.join(", ").replace(", overrides", "")
            ),
        ),
        (r#"[{"namespace": ""}]"#, "overrides[0].namespace: expected a non-empty string, found \"\"".to_owned()),
        (
            r#"[{"label": "team = a"}]"#,
            "overrides[0].label: expected the key of a label, or a key and a value such as \"team=payments\", \
             found \"team = a\""
                .to_owned(),
        ),
    ] {
        let json = format!(r#"{{"overrides": {overrides}}}"#);
        assert_eq!(Config::parse(json.as_bytes()).unwrap_err().to_string(), expected, "{overrides}");
    }
    for (label, is_valid) in [
        ("team", true),
        ("app.kubernetes.io/name=a_b-c", true),
        ("team=", true),
        ("=payments", false),
        ("te am=payments", false),
        ("team=pay ments", false),
        ("team=a=b", false),
    ] {
        let json = format!(r#"{{"overrides": [{{"label": "{label}"}}]}}"#);
        assert_eq!(Config::parse(json.as_bytes()).is_ok(), is_valid, "{label}");
    }
    let many = format!(r#"{{"overrides": [{}]}}"#, vec![r#"{"service": "a"}"#; 201].join(","));
    let error = Config::parse(many.as_bytes()).unwrap_err().to_string();
    assert_eq!(error, "overrides: expected at most 200 overrides, found 201");
}

/// What is made of the largest list is small beside its JSON: no override has a copy of the others.
#[test]
fn the_cost_of_overrides_does_not_grow_with_their_square() {
    let json = |count: usize| {
        let one = format!(r#"{{"service": "a", "service_name": "{}"}}"#, "x".repeat(1000));
        format!(r#"{{"overrides": [{}]}}"#, vec![one; count].join(","))
    };
    let allocated = |count| {
        let json = json(count);
        logtracer_allocations::peak_bytes(|| Config::parse(json.as_bytes()).unwrap()).1
    };
    let (some, all) = (allocated(50), allocated(200));
    assert!(all < 6 * some, "{some} bytes for 50 overrides, {all} for 200");
}

/// The general configuration is checked first, so that an error in it is not reported for an override.
#[test]
fn an_error_of_the_general_configuration_is_reported_as_such() {
    let json = br#"{"query": "x", "overrides": [{"service": "a"}]}"#;
    let error = Config::parse(json).unwrap_err().to_string();
    assert!(error.starts_with("query: "), "{error}");
}

/// A native module knows no labels of its pod.
#[test]
fn the_native_module_rejects_labels() {
    let check = |overrides: &str| {
        let json = format!(r#"{{"service_name": "a", "overrides": [{overrides}]}}"#);
        Config::parse(json.as_bytes()).unwrap().check_native(Direction::Known, &Node::default())
    };
    assert_eq!(check(r#"{"namespace": "a"}, {"service": "b"}"#), Ok(()));
    let error = check(r#"{"namespace": "a"}, {"label": "b"}"#).unwrap_err().to_string();
    assert!(error.starts_with("overrides[1].label: expected namespace or service"), "{error}");
    let error = check(r#"{"namespace": "a", "service_name": null}"#).unwrap_err().to_string();
    assert!(error.starts_with("overrides[0].service_name: missing"), "{error}");
    let node = Node { service_name: Some("a".into()), ..Node::default() };
    assert!(Config::default().check_native(Direction::Known, &node).is_ok());
}
