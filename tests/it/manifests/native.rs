//! Envoy accepts and runs what Istio and Envoy Gateway create from the manifests of the native module.

use logtracer_harness::echo::Echo;
use logtracer_harness::envoy::{self, Envoy};
use logtracer_harness::exporter::Exporter;
use logtracer_harness::hop::{self, Options};
use logtracer_harness::shell::{self, Shell};
use logtracer_harness::{ports, wait};
use serde_json::{Value, json};

use super::documents::{folder, list, one, parse, read};
use super::proxy::{error_of, manager};

fn hop(service: u16, exporter: u16, entrance: u16, admin: u16) -> Value {
    let options = Options { exporter: Some(exporter), ..Options::default() };
    parse(&hop::configuration(&options, entrance, admin, service).unwrap()).unwrap().remove(0)
}

/// Adds the patches of the `EnvoyFilter` to a configuration, as istiod does for a listener of this context.
fn patch(config: &mut Value, patches: &[Value], context: &str) {
    for patch in patches {
        let value = &patch["patch"]["value"];
        let operation = patch["patch"]["operation"].as_str().unwrap();
        let of = patch["match"]["context"].as_str().unwrap();
        match (patch["applyTo"].as_str().unwrap(), operation) {
            ("HTTP_FILTER", "INSERT_FIRST") if of == context => {
                let filters = manager(config)["http_filters"].as_array_mut().unwrap();
                filters.insert(0, value.clone());
            }
            ("HTTP_FILTER", "INSERT_FIRST") => {}
            ("NETWORK_FILTER", "MERGE") => {
                assert_eq!(
                    (of, &value["name"]),
                    ("ANY", &json!("envoy.filters.network.http_connection_manager"))
                );
                manager(config)["access_log"] = value["typed_config"]["access_log"].clone();
            }
            ("BOOTSTRAP", "MERGE") => config["bootstrap_extensions"] = value["bootstrap_extensions"].clone(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn envoy_accepts_the_envoyfilter_of_the_native_module() {
    shell::select(Shell::Native);
    let documents = read(&folder().join("variants/native.yaml"));
    let filter = one(&documents, "EnvoyFilter", "logtracer-native");
    let telemetry = one(&documents, "Telemetry", "logtracer-native");
    assert_eq!(filter["spec"]["workloadSelector"]["labels"], telemetry["spec"]["selector"]["matchLabels"]);
    assert_eq!(filter["metadata"], telemetry["metadata"]);

    let patches = list(&filter["spec"], "configPatches");
    let mut kinds = Vec::new();
    for context in ["SIDECAR_INBOUND", "SIDECAR_OUTBOUND"] {
        let mut config = hop(1, 2, 3, 4);
        manager(&mut config)["http_filters"].as_array_mut().unwrap().remove(0);
        manager(&mut config)["access_log"].take();
        patch(&mut config, patches, context);
        assert_eq!(error_of(&config), None);

        let value = &mut manager(&mut config)["http_filters"][0]["typed_config"]["filter_config"]["value"];
        let filter: Value = serde_json::from_str(value.as_str().unwrap()).unwrap();
        kinds.push(filter["span_kind"].clone());
        assert_eq!(filter["service_name"], "shop");
        *value = json!(value.as_str().unwrap().replace("service_name", "service_nam"));
        let error = error_of(&config).expect("service_nam was accepted");
        assert!(error.contains("logtracer: configuration rejected: service_nam"), "{error}");
    }
    assert_eq!(kinds, ["server", "client"]);
}

/// The annotations in the comment mount the file where the proxy searches for it.
#[test]
fn the_annotations_of_the_native_module_are_json() {
    let text = std::fs::read_to_string(folder().join("variants/native.yaml")).unwrap();
    let annotations = |name: &str| -> Vec<Value> {
        let values = text.lines().filter_map(|line| line.trim_start_matches('#').trim().strip_prefix(name));
        values.map(|value| serde_json::from_str(value.trim_matches(['\'', ' '])).unwrap()).collect()
    };
    let volumes = annotations("sidecar.istio.io/userVolume:");
    assert_eq!(volumes.len(), 2);
    let mount = &annotations("sidecar.istio.io/userVolumeMount:")[0][0];
    let proxy = &annotations("proxy.istio.io/config:")[0];
    assert!(volumes.iter().all(|volume| volume[0]["name"] == mount["name"]));
    assert_eq!(proxy["proxyMetadata"]["ENVOY_DYNAMIC_MODULES_SEARCH_PATH"], mount["mountPath"]);
}

/// Envoy Gateway loads the filter by path and enables it per route; the rest loads the same file by name. The logger
/// knows the requests of the filter all the same.
#[test]
fn envoy_runs_the_native_module_as_envoy_gateway_configures_it() {
    shell::select(Shell::Native);
    let documents = read(&folder().join("variants/envoy-gateway-native.yaml"));
    let proxy = &one(&documents, "EnvoyProxy", "logtracer")["spec"];
    let policy = &one(&documents, "EnvoyExtensionPolicy", "logtracer")["spec"];
    let patch = &one(&documents, "EnvoyPatchPolicy", "logtracer")["spec"]["jsonPatches"][0]["operation"];
    assert_eq!(patch["path"], "/default_filter_chain/filters/0/typed_config/access_log");
    let module = &policy["dynamicModule"][0];
    let known = &proxy["dynamicModules"][0];
    assert_eq!(known["name"], module["name"]);
    let container = &proxy["provider"]["kubernetes"]["envoyDeployment"]["container"];
    let mount = container["volumeMounts"][0]["mountPath"].as_str().unwrap();
    assert_eq!(container["env"][0], json!({ "name": "ENVOY_DYNAMIC_MODULES_SEARCH_PATH", "value": mount }));
    assert_eq!(known["source"]["local"]["path"], format!("{mount}/liblogtracer.so"));

    let dir = tempfile::tempdir().unwrap();
    let echo = Echo::start().unwrap();
    let exporter = Exporter::start("127.0.0.1:0", &[], dir.path()).unwrap();
    let (entrance, admin) = (ports::reserve().unwrap(), ports::reserve().unwrap());
    let mut config = hop(echo.address().port(), exporter.http().port(), entrance, admin);
    let bootstrap = parse(proxy["bootstrap"]["value"].as_str().unwrap()).unwrap().remove(0);
    config["bootstrap_extensions"] = bootstrap["bootstrap_extensions"].clone();
    assert_eq!(bootstrap["static_resources"]["clusters"][0]["name"], module["config"]["exporter"]["cluster"]);

    let manager = manager(&mut config);
    manager["access_log"] = patch["value"].clone();
    let name = "envoy.filters.http.dynamic_modules/envoyextensionpolicy/default/logtracer/dynamic-module/0";
    let file = shell::native_library().unwrap();
    manager["http_filters"][0] = json!({ "name": name, "disabled": true, "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
        "dynamic_module_config": { "module": { "local": { "filename": file } }, "do_not_close": known["doNotClose"] },
        "filter_name": module["filterName"],
        "filter_config": {
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": module["config"].to_string(),
        },
    } });
    manager["route_config"]["virtual_hosts"][0]["routes"][0]["typed_per_filter_config"] =
        json!({ name: { "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {} } });

    let envoy = Envoy::start(&config.to_string(), admin, dir.path()).unwrap();
    let client = envoy::client().unwrap();
    for path in ["/echo", "/without-a-route"] {
        client.get(format!("http://127.0.0.1:{entrance}{path}")).send().unwrap();
    }
    let lines = envoy.lines(1).unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0]["message"].as_str().unwrap().starts_with("public - GET - "), "{}", lines[0]);
    wait::until("the span", || Some(()).filter(|()| envoy.stat(&shell::metric("spans_sent")).unwrap() == 1))
        .unwrap();
}

#[test]
fn the_images_of_the_native_module_are_pinned() {
    let documents = read(&folder().join("variants/envoy-gateway-native.yaml"));
    let proxy = &one(&documents, "EnvoyProxy", "logtracer")["spec"];
    let volume = &proxy["provider"]["kubernetes"]["envoyDeployment"]["pod"]["volumes"][0];
    super::proxy::check_pinned(&volume["image"]["reference"]);
}
