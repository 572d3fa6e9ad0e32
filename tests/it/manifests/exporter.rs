//! The exporter in a cluster: the program accepts its options, and its objects match each other.

use std::process::Command;

use logtracer_harness::exporter;
use serde_json::{Value, json};

use super::documents::{build, folder, list, one, read};

const NAME: &str = "logtracer-exporter";

/// Every overlay and its sink.
const OVERLAYS: [(&str, &str); 3] =
    [("plain", "--sink=store"), ("gke", "--sink=cloud-trace"), ("gke-shards", "--sink=cloud-trace")];

fn overlay(name: &str) -> Vec<Value> {
    build(&folder().join("exporter").join(name)).unwrap()
}

fn container(documents: &[Value]) -> &Value {
    &one(documents, "StatefulSet", NAME)["spec"]["template"]["spec"]["containers"][0]
}

fn args(documents: &[Value]) -> Vec<String> {
    list(container(documents), "args").iter().map(|arg| arg.as_str().unwrap().to_owned()).collect()
}

#[test]
fn its_options_are_known_to_the_program() {
    for (name, sink) in OVERLAYS {
        let args = args(&overlay(name));
        assert!(args.iter().any(|arg| arg == sink), "{name}: {args:?}");
        let stderr = stderr_of(&args);
        assert!(stderr.contains("no exporter data in"), "{name}: {stderr}");
    }
    let misspelt = stderr_of(&["--snik=store".to_owned()]);
    assert!(misspelt.contains("unexpected argument '--snik'"), "{misspelt}");
}

/// Returns the stderr of the program. It parses all options before it looks for dead letters in an empty folder.
pub(crate) fn stderr_of(args: &[String]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(exporter::program().unwrap());
    command.args(args).arg("--data-dir").arg(dir.path());
    let output = command.args(["dead-letters", "list"]).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_service_and_the_probes_use_its_ports() {
    for (name, _) in OVERLAYS {
        let documents = overlay(name);
        let (container, args) = (container(&documents), args(&documents));
        for (option, port, number) in
            [("--http", "http-otlp", 4318), ("--grpc", "grpc-otlp", 4317), ("--view", "http-view", 4380)]
        {
            assert!(args.contains(&format!("{option}=0.0.0.0:{number}")), "{name}: {args:?}");
            let of_container = json!({ "name": port, "containerPort": number });
            assert!(list(container, "ports").contains(&of_container), "{name}: {port}");

            let ports = list(&one(&documents, "Service", NAME)["spec"], "ports");
            let of_service = ports.iter().find(|it| it["port"] == number).unwrap();
            assert_eq!(of_service["targetPort"], port, "{name}");

            let rules = list(&one(&documents, "NetworkPolicy", NAME)["spec"], "ingress");
            let is_open = rules.iter().any(|rule| list(rule, "ports").iter().any(|it| it["port"] == number));
            assert!(is_open, "{name}: {number}");
        }
        for (probe, path) in
            [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
        {
            assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "http-view" }), "{name}");
        }
    }
}

#[test]
fn its_outbox_is_on_a_volume_and_can_drain() {
    for (name, _) in OVERLAYS {
        let documents = overlay(name);
        let (container, args) = (container(&documents), args(&documents));
        let spec = &one(&documents, "StatefulSet", NAME)["spec"];

        let mount = &list(container, "volumeMounts")[0];
        assert_eq!(mount["name"], spec["volumeClaimTemplates"][0]["metadata"]["name"], "{name}");
        // By a variable, so that a command in the container has it, too.
        let env = list(container, "env");
        let data_dir = env.iter().find(|variable| variable["name"] == "LOGTRACER_DATA_DIR").unwrap();
        assert_eq!(data_dir["value"], mount["mountPath"], "{name}");
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{name}");

        let grace: u64 = value(&args, "--grace").strip_suffix('s').unwrap().parse().unwrap();
        let longest = spec["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(grace < longest, "{name}: {grace} of {longest} s");
    }
}

fn value<'a>(args: &'a [String], option: &str) -> &'a str {
    args.iter().find_map(|arg| arg.strip_prefix(option)?.strip_prefix('=')).unwrap()
}

#[test]
fn its_objects_reference_each_other() {
    for (name, _) in OVERLAYS {
        let documents = overlay(name);
        let namespace = &one(&documents, "Namespace", "logtracer")["metadata"]["name"];
        for document in documents.iter().filter(|it| it["kind"] != "Namespace") {
            assert_eq!(document["metadata"]["namespace"], *namespace, "{name}: {}", document["kind"]);
        }

        let spec = &one(&documents, "StatefulSet", NAME)["spec"];
        let app = &spec["selector"]["matchLabels"];
        let labels = &spec["template"]["metadata"]["labels"];
        assert_eq!(labels["app"], app["app"], "{name}");
        // No proxy traces its own traffic.
        assert_eq!(labels["sidecar.istio.io/inject"], "false", "{name}");
        assert_eq!(one(&documents, "Service", NAME)["spec"]["selector"], *app, "{name}");
        assert_eq!(one(&documents, "PodDisruptionBudget", NAME)["spec"]["selector"]["matchLabels"], *app);
        for policy in documents.iter().filter(|it| it["kind"] == "NetworkPolicy") {
            assert_eq!(policy["spec"]["podSelector"]["matchLabels"], *app, "{name}");
        }
        one(&documents, "ServiceAccount", spec["template"]["spec"]["serviceAccountName"].as_str().unwrap());
    }
}

/// Each replica has its own embedded store, so only exporters with another sink are scaled.
#[test]
fn only_replicas_with_a_shared_sink_are_scaled() {
    let plain = overlay("plain");
    assert_eq!(one(&plain, "StatefulSet", NAME)["spec"]["replicas"], 1);
    assert!(plain.iter().all(|it| it["kind"] != "HorizontalPodAutoscaler"));

    let gke = overlay("gke");
    let scaler = &one(&gke, "HorizontalPodAutoscaler", NAME)["spec"]["scaleTargetRef"];
    assert_eq!(*scaler, json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": NAME }));
    assert_eq!(one(&gke, "StatefulSet", NAME)["spec"]["replicas"], Value::Null);
}

/// The role is bound to the ServiceAccount of the exporter.
#[test]
fn the_command_for_workload_identity_names_the_service_account() {
    let gke = overlay("gke");
    let account = &one(&gke, "ServiceAccount", NAME)["metadata"];
    let names = [&account["namespace"], &account["name"]].map(|name| name.as_str().unwrap());
    let commands = std::fs::read_to_string(folder().join("exporter/gke/kustomization.yaml")).unwrap();
    let [namespace, name] = names;
    assert!(commands.contains(&format!("/subject/ns/{namespace}/sa/{name}\n")), "{names:?}");
}

/// The network policies allow the addresses of DNS (pods, the cache of the node, the metadata server) and of tokens.
#[test]
fn dns_and_the_metadata_server_are_reachable() {
    let gke = overlay("gke");
    let rules: Vec<&Value> = gke
        .iter()
        .filter(|it| it["kind"] == "NetworkPolicy")
        .flat_map(|policy| list(&policy["spec"], "egress"))
        .collect();
    let allows = |address: &str, protocol: &str, port: u16| {
        let cidr = format!("{address}/32");
        rules.iter().any(|rule| {
            let to = list(rule, "to");
            let there = to.is_empty() || to.iter().any(|peer| peer["ipBlock"]["cidr"] == *cidr);
            there && list(rule, "ports").contains(&json!({ "protocol": protocol, "port": port }))
        })
    };
    for address in ["169.254.20.10", "169.254.169.254", "34.118.224.10"] {
        assert!(allows(address, "UDP", 53) && allows(address, "TCP", 53), "{address}");
    }
    for (address, port) in [
        ("169.254.169.254", 80),
        ("169.254.169.254", 8080),
        ("169.254.169.252", 988),
        ("169.254.169.252", 987),
    ] {
        assert!(allows(address, "TCP", port), "{address}:{port}");
    }
    assert!(!allows("169.254.169.254", "TCP", 22));
}

/// Managed Prometheus scrapes the port of the viewer, and the network policy allows it.
#[test]
fn its_metrics_are_collected() {
    let gke = overlay("gke");
    let monitoring = &one(&gke, "PodMonitoring", NAME)["spec"];
    assert_eq!(monitoring["selector"], one(&gke, "StatefulSet", NAME)["spec"]["selector"]);
    let endpoint = &monitoring["endpoints"][0];
    assert_eq!(endpoint["path"], "/metrics");
    let ports = list(container(&gke), "ports");
    let port = ports.iter().find(|it| it["name"] == endpoint["port"]).unwrap();

    let rule = &one(&gke, "NetworkPolicy", "logtracer-exporter-google")["spec"]["ingress"][0];
    assert_eq!(rule["ports"], json!([{ "protocol": "TCP", "port": port["containerPort"] }]));
    let namespaces = &rule["from"][0]["namespaceSelector"]["matchExpressions"][0]["values"];
    assert_eq!(*namespaces, json!(["gmp-system", "gke-gmp-system"]));
}

/// The configurations of the proxies name its Service.
#[test]
fn proxies_find_it() {
    let documents = overlay("plain");
    let service = &one(&documents, "Service", NAME)["metadata"];
    let host = format!("{NAME}.{}.svc.cluster.local", service["namespace"].as_str().unwrap());
    let cluster = format!("outbound|4318||{host}");

    let plugin = &read(&folder().join("wasmplugin.yaml"))[0];
    assert_eq!(plugin["spec"]["pluginConfig"]["exporter"]["cluster"], *cluster);
    let filter =
        &read(&folder().join("variants/envoyfilter.yaml"))[0]["spec"]["configPatches"][0]["patch"]["value"];
    let configuration = filter["typed_config"]["config"]["configuration"]["value"].as_str().unwrap();
    let configuration: Value = serde_json::from_str(configuration).unwrap();
    assert_eq!(configuration["exporter"]["cluster"], *cluster);
    let sidecar = &read(&folder().join("variants/sidecar.yaml"))[0]["spec"]["egress"][0];
    let known = format!("{}/{host}", service["namespace"].as_str().unwrap());
    assert!(list(sidecar, "hosts").contains(&json!(known)));
    let rule = &read(&folder().join("variants/destinationrule.yaml"))[0];
    assert_eq!(
        (&rule["metadata"]["namespace"], &rule["spec"]["host"]),
        (&service["namespace"], &json!(host))
    );
}

/// The shards that the filter names are the pods of the StatefulSet, in their order.
#[test]
fn shards_are_pods_of_the_exporter() {
    let documents = overlay("gke-shards");
    assert!(documents.iter().all(|it| it["kind"] != "HorizontalPodAutoscaler"));
    let set = one(&documents, "StatefulSet", NAME);
    let plugin = &read(&folder().join("variants/shards.yaml"))[0]["spec"];
    let clusters = list(&plugin["pluginConfig"]["exporter"], "cluster");
    assert_eq!(set["spec"]["replicas"], clusters.len());
    for (shard, cluster) in clusters.iter().enumerate() {
        let pod = format!("{NAME}-{shard}");
        let service = one(&documents, "Service", &pod);
        let mut selector = set["spec"]["selector"]["matchLabels"].clone();
        selector["statefulset.kubernetes.io/pod-name"] = json!(pod);
        assert_eq!(service["spec"]["selector"], selector);
        let namespace = service["metadata"]["namespace"].as_str().unwrap();
        assert_eq!(*cluster, format!("outbound|4318||{pod}.{namespace}.svc.cluster.local"));
    }
    assert_eq!(documents.iter().filter(|it| it["kind"] == "Service").count(), clusters.len() + 1);

    // The rest is the general filter.
    let mut general = read(&folder().join("wasmplugin.yaml"))[0]["spec"].clone();
    general["pluginConfig"]["exporter"]["cluster"] = json!(clusters);
    assert_eq!(*plugin, general);
    let config = super::proxy::through_struct(&plugin["pluginConfig"]);
    assert_eq!(super::proxy::error_of(&super::proxy::hop(Some(config))), None);
}

/// The custom overlay of the README, next to the folders that it refers to.
#[test]
fn the_example_of_the_readme_can_be_built() {
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let example = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for name in ["base", "autoscaling"] {
        std::os::unix::fs::symlink(folder().join("exporter").join(name), dir.path().join(name)).unwrap();
    }
    let own = dir.path().join("own");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("kustomization.yaml"), example).unwrap();

    let documents = build(&own).unwrap();
    assert!(container(&documents)["image"].as_str().unwrap().contains("@sha256:"));
    assert!(stderr_of(&args(&documents)).contains("no exporter data in"));
    one(&documents, "HorizontalPodAutoscaler", NAME);
}
