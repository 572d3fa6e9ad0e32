//! Envoy accepts the configurations that Istio and Envoy Gateway create from the manifests.

use logtracer_harness::envoy;
use logtracer_harness::hop::{self, Options};
use serde_json::{Value, json};

use super::documents::{folder, one, parse, read};

/// Returns a configuration of Envoy with the filter's JSON, for validation only.
pub(crate) fn hop(filter: Option<Value>) -> Value {
    let text = hop::configuration(&Options { filter, ..Options::default() }, 1, 2, 3).unwrap();
    parse(&text).unwrap().remove(0)
}

/// Returns the HTTP connection manager of a configuration.
pub(super) fn manager(config: &mut Value) -> &mut Value {
    &mut config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
}

/// Validates a configuration, and returns the error of Envoy if it rejects it.
pub(crate) fn error_of(config: &Value) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let output = envoy::validate(&config.to_string(), dir.path()).unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Converts a value as a `google.protobuf.Struct` does, whose numbers are doubles: 1.0 becomes 1.
pub(crate) fn through_struct(value: &Value) -> Value {
    match value {
        Value::Number(number) => {
            let number = number.as_f64().unwrap();
            // Integers below 2^53 are exact.
            let is_integer = number.fract() == 0.0 && number.abs() < 9e15;
            if is_integer { json!(number as i64) } else { json!(number) }
        }
        Value::Array(items) => items.iter().map(through_struct).collect(),
        Value::Object(keys) => {
            Value::Object(keys.iter().map(|(key, value)| (key.clone(), through_struct(value))).collect())
        }
        _ => value.clone(),
    }
}

fn plugin_config() -> Value {
    read(&folder().join("wasmplugin.yaml"))[0]["spec"]["pluginConfig"].clone()
}

#[test]
fn envoy_accepts_the_plugin_config() {
    let config = through_struct(&plugin_config());
    assert_eq!(config["sampling"]["rate"].to_string(), "1");
    assert_eq!(error_of(&hop(Some(config))), None);

    let mut misspelt = plugin_config();
    misspelt["sampling"]["rte"] = json!(1);
    let error = error_of(&hop(Some(through_struct(&misspelt)))).expect("sampling.rte was accepted");
    assert!(error.contains("sampling.rte"), "{error}");
}

/// Every number of the filter's keys can be a double. Without `pluginConfig` the configuration is an empty text.
#[test]
fn envoy_accepts_doubles_and_an_empty_plugin_config() {
    let all = json!({
        "sampling": { "rate": 0.25, "max_per_second": 100, "rules": [{ "path": "/", "rate": 1.0 }] },
        "exporter": { "cluster": "logtracer-exporter", "max_batch_spans": 512, "max_buffer_bytes": 1_048_576 },
    });
    assert_eq!(error_of(&hop(Some(through_struct(&all)))), None);

    let mut none = hop(Some(json!({})));
    let filter = &mut manager(&mut none)["http_filters"][0]["typed_config"]["config"];
    filter["configuration"]["value"] = json!("");
    assert_eq!(error_of(&none), None);
}

#[test]
fn envoy_accepts_the_envoyfilter() {
    let document = read(&folder().join("variants/envoyfilter.yaml")).remove(0);
    let mut filter = document["spec"]["configPatches"][0]["patch"]["value"].clone();
    let code = &mut filter["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"];
    assert_eq!(*code, "/etc/logtracer/plugin.wasm");
    *code = json!(envoy::plugin().unwrap());

    let mut config = hop(None);
    manager(&mut config)["http_filters"][0] = filter;
    assert_eq!(error_of(&config), None);

    let filter = &mut manager(&mut config)["http_filters"][0]["typed_config"]["config"];
    filter["configuration"]["value"] = json!("{ \"edge\": \"x\" }");
    let error = error_of(&config).expect("edge: x was accepted");
    assert!(error.contains("edge"), "{error}");
}

/// The logger that Istio creates from the provider and the filter expression is that of all other tests.
#[test]
fn the_line_is_logged_unchanged() {
    let mesh = &read(&folder().join("install/mesh.yaml"))[0]["spec"]["meshConfig"];
    let spec = &read(&folder().join("telemetry.yaml"))[0]["spec"];
    assert_eq!(spec["tracing"], json!([{ "disableSpanReporting": true }]));
    let telemetry = &spec["accessLogging"][0];
    let provider = &mesh["extensionProviders"][0];
    assert_eq!(provider["name"], telemetry["providers"][0]["name"]);
    assert_eq!(mesh["accessLogFile"], "");
    assert_eq!(mesh["enableTracing"], false);

    let file = &provider["envoyFileAccessLog"];
    check_logger(&file["path"], &file["logFormat"]["text"], &telemetry["filter"]["expression"], hop(None));
}

#[track_caller]
fn check_logger(path: &Value, text: &Value, expression: &Value, mut config: Value) {
    let logger = &mut manager(&mut config)["access_log"][0];
    assert_eq!(*expression, logger["filter"]["extension_filter"]["typed_config"]["expression"]);
    assert_eq!(*text, logger["typed_config"]["log_format"]["text_format_source"]["inline_string"]);
    logger["typed_config"] = json!({
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": path,
        "log_format": { "text_format_source": { "inline_string": text } },
    });
    assert_eq!(*path, "/dev/stdout");
    assert_eq!(error_of(&config), None);
}

#[test]
fn envoy_accepts_the_configuration_of_envoy_gateway() {
    let documents = read(&folder().join("variants/envoy-gateway.yaml"));
    let wasm = &one(&documents, "EnvoyExtensionPolicy", "logtracer")["spec"]["wasm"][0];
    let proxy = &one(&documents, "EnvoyProxy", "logtracer")["spec"];

    let mut config = hop(Some(wasm["config"].clone()));
    let bootstrap = parse(proxy["bootstrap"]["value"].as_str().unwrap()).unwrap().remove(0);
    let cluster = &bootstrap["static_resources"]["clusters"][0];
    assert_eq!(cluster["name"], wasm["config"]["exporter"]["cluster"]);
    let clusters = config["static_resources"]["clusters"].as_array_mut().unwrap();
    clusters.retain(|it| it["name"] != cluster["name"]);
    clusters.push(cluster.clone());

    let setting = &proxy["telemetry"]["accessLog"]["settings"][0];
    check_logger(
        &setting["sinks"][0]["file"]["path"],
        &setting["format"]["text"],
        &setting["matches"][0],
        config,
    );
}

/// A failure of the filter must not fail requests.
#[test]
fn the_filter_is_pinned_and_fails_open() {
    let plugin = &read(&folder().join("wasmplugin.yaml"))[0]["spec"];
    assert_eq!(plugin["failStrategy"], "FAIL_OPEN");
    assert_eq!(plugin["phase"], "AUTHN");
    assert_eq!(plugin["match"], json!([{ "mode": "CLIENT_AND_SERVER" }]));
    // A project of an example must not appear in the lines of users.
    assert_eq!(plugin["pluginConfig"]["project_id"], Value::Null);
    check_pinned(&plugin["url"]);

    let gateway = &read(&folder().join("variants/envoy-gateway.yaml"))[0]["spec"]["wasm"][0];
    assert_eq!(gateway["failOpen"], true);
    check_pinned(&gateway["code"]["image"]["url"]);
}

/// The kind of newer versions of Istio has the same fields, some of them in the section `wasm`.
#[test]
fn the_traffic_extension_is_the_plugin() {
    let plugin = read(&folder().join("wasmplugin.yaml")).remove(0);
    let extension = read(&folder().join("variants/trafficextension.yaml")).remove(0);
    assert_eq!(extension["metadata"], plugin["metadata"]);
    let mut spec = extension["spec"].as_object().unwrap().clone();
    let wasm = spec.remove("wasm").unwrap();
    spec.extend(wasm.as_object().unwrap().clone());
    assert_eq!(Value::Object(spec), plugin["spec"]);
}

/// The plugin for sidecars replaces the general one with the same settings. The plugin for gateways trusts no caller.
#[test]
fn at_the_edge_one_filter_runs_and_trusts_no_caller() {
    let for_all = read(&folder().join("wasmplugin.yaml")).remove(0);
    let edge = read(&folder().join("variants/edge.yaml"));
    let [sidecars, gateways] = &edge[..] else { panic!("{} documents", edge.len()) };
    assert_eq!(sidecars["metadata"], for_all["metadata"]);
    let without_selector = |plugin: &Value| {
        let mut spec = plugin["spec"].clone();
        let selector = spec.as_object_mut().unwrap().remove("selector").expect("a selector");
        (selector, spec)
    };
    let (of_sidecars, spec) = without_selector(sidecars);
    assert_eq!(spec, for_all["spec"]);
    // Only the injection template of sidecars has this label.
    assert_eq!(of_sidecars, json!({ "matchLabels": { "security.istio.io/tlsMode": "istio" } }));

    let (of_gateways, mut spec) = without_selector(gateways);
    assert_eq!(of_gateways, json!({ "matchLabels": { "istio": "ingressgateway" } }));
    let config = spec["pluginConfig"].as_object_mut().unwrap();
    assert_eq!(config.remove("edge"), Some(json!("link")));
    assert_eq!(spec, for_all["spec"]);
    assert_eq!(error_of(&hop(Some(through_struct(&gateways["spec"]["pluginConfig"])))), None);
}

#[track_caller]
pub(super) fn check_pinned(url: &Value) {
    let (_, digest) = url.as_str().unwrap().split_once("@sha256:").expect("a digest");
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{url}");
}
