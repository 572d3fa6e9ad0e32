//! The commands of docs/quickstart.md that need no cloud.

use std::fs;
use std::process::Command;

use logtracer_harness::echo::Echo;
use logtracer_harness::envoy::{self, Envoy, root};
use logtracer_harness::exporter::Exporter;
use logtracer_harness::{ports, wait};
use serde_json::Value;

use super::pages;
use crate::charts::render::render;
use crate::manifests::documents::{build, folder, parse};

const TRACE: &str = "105445aa7843bc8bf206b12000100000";

/// Returns the shell blocks of a section.
fn commands(section: &str) -> Vec<String> {
    let page = pages::page("docs/quickstart.md");
    let start =
        page.lines.iter().find(|(_, line)| line == section).unwrap_or_else(|| panic!("no {section}")).0;
    let level = section.split(' ').next().unwrap();
    let is_end = |line: &str| line.starts_with('#') && line.split(' ').next().unwrap().len() <= level.len();
    let end = page.lines.iter().find(|(number, line)| *number > start && is_end(line));
    let end = end.map_or(usize::MAX, |(number, _)| *number);
    let blocks = page.blocks_of("sh").filter(|block| start < block.line && block.line < end);
    blocks.map(|block| block.text.clone()).collect()
}

#[test]
fn a_plain_envoy_responds_as_documented() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = Exporter::start("127.0.0.1:0", &[], dir.path()).unwrap();
    let echo = Echo::start().unwrap();
    let (port, admin) = (ports::reserve().unwrap(), ports::reserve().unwrap());
    let view = exporter.page().trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let ports = [
        ("8080", port.to_string()),
        ("9901", admin.to_string()),
        ("3000", echo.address().port().to_string()),
        ("4318", exporter.http().port().to_string()),
        ("4380", view),
    ];

    let config = envoy::reference(port, admin, echo.address().port(), exporter.http().port()).unwrap();
    let envoy = Envoy::start(&config, admin, dir.path()).unwrap();

    let run = |command: &str| {
        let mut command = command.to_owned();
        for (there, here) in &ports {
            command = command.replace(&format!("127.0.0.1:{there}/"), &format!("127.0.0.1:{here}/"));
        }
        let output =
            Command::new("bash").args(["-c", &command]).env("NO_PROXY", "127.0.0.1").output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {errors} (curl is needed: sudo apt-get install curl)");
        String::from_utf8(output.stdout).unwrap()
    };
    let commands = commands("## Plain Envoy");
    let mut requests = commands.iter().filter(|command| command.starts_with("curl "));
    run(requests.next().unwrap());

    let shown: Value = serde_json::from_str(&shown("json")).unwrap();
    assert_eq!(shape(&envoy.lines(1).unwrap()[0]), shape(&shown));

    exporter.wait_for_trace(TRACE, 1, 0).unwrap();
    let answer: Value = serde_json::from_str(&run(requests.next().unwrap())).unwrap();
    assert_eq!(answer["spans"][0]["service_name"], "shop");

    // Envoy's own statistics that docs/troubleshooting.md names.
    for name in ["wasm.envoy.wasm.runtime.v8.active", "cluster.logtracer-exporter.upstream_cx_connect_fail"] {
        assert!(envoy.stats(&format!("^{name}$")).unwrap().contains_key(name), "Envoy has no {name}");
    }
    let statistics = requests.next().unwrap();
    assert_eq!(requests.next(), None);
    wait::until("the statistics that are shown", || (run(statistics) == self::shown("")).then_some(()))
        .unwrap();
}

/// Returns the first block of a language on the page.
fn shown(language: &str) -> String {
    pages::page("docs/quickstart.md").blocks_of(language).next().unwrap().text.clone()
}

/// Replaces every value of a line that varies between runs.
fn shape(line: &Value) -> Value {
    let mut line = line.clone();
    for changing in ["/time", "/logging.googleapis.com~1spanId"] {
        *line.pointer_mut(changing).unwrap_or_else(|| panic!("no {changing}")) = Value::Null;
    }
    for changing in ["requestSize", "responseSize", "latency", "userAgent", "requestUrl"] {
        assert!(line["httpRequest"][changing].is_string(), "{changing}: {line}");
        line["httpRequest"][changing] = Value::Null;
    }
    let message = line["message"].as_str().unwrap();
    assert!(
        message.starts_with("shop - GET - http://127.0.0.1:") && message.contains("/?card=REDACTED - 200 OK")
    );
    line["message"] = Value::Null;
    line
}

#[test]
fn the_overlay_for_gke_can_be_built() {
    let commands = commands("### 3. The exporter");
    let overlay =
        commands.iter().find_map(|text| text.split("<<END\n").nth(1)?.split("\nEND").next()).unwrap();
    let overlay =
        overlay.replace("$EXPORTER", "registry/exporter@sha256:00").replace("$PROJECT", "shop-prod");
    assert!(!overlay.contains('$'), "{overlay}");

    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(folder().join("exporter/gke"), dir.path().join("gke")).unwrap();
    let own = dir.path().join("mine");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("kustomization.yaml"), overlay).unwrap();
    let documents = build(&own).unwrap();

    let find =
        |kind: &str| documents.iter().find(|it| it["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    let container = &find("StatefulSet")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry/exporter@sha256:00");
    let args = container["args"].as_array().unwrap();
    assert!(args.contains(&"--project=shop-prod".into()) && args.contains(&"--sink=cloud-trace".into()));
    // The role is bound to the account directly.
    let annotation = &find("ServiceAccount")["metadata"]["annotations"]["iam.gke.io/gcp-service-account"];
    assert_eq!(*annotation, Value::Null);
}

/// Runs the command with `sed` of a section with other input, and returns the specs of what it prints.
fn specs(section: &str, input: &str) -> Vec<Value> {
    let commands = commands(section);
    let command = commands.iter().find(|text| text.contains("> wasmplugin.yaml")).unwrap();
    let command = command.split_once(" > wasmplugin.yaml").unwrap().0;
    let command = &command[command.find("sed -e").unwrap()..];
    assert!(command.contains("istio/wasmplugin.yaml"), "{command}");
    let command = command.replace("istio/wasmplugin.yaml", input);
    let output = Command::new("bash")
        .args(["-ec", &command])
        .envs([("FILTER", FILTER), ("PROJECT", "shop-prod"), ("MODULE", &"1".repeat(64))])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let documents = parse(&String::from_utf8(output.stdout).unwrap()).unwrap();
    documents.into_iter().map(|document| document["spec"].clone()).collect()
}

const FILTER: &str = "europe-docker.pkg.dev/p/logtracer/logtracer-filter@sha256:12";

/// The command sets everything, in the file for all proxies and for both plugins of the file with gateways.
#[test]
fn the_filter_for_gke_is_the_one_that_was_pushed() {
    for (file, plugins) in [("istio/wasmplugin.yaml", 1), ("istio/variants/edge.yaml", 2)] {
        let specs = specs("### 4. The line and the filter", file);
        assert_eq!(specs.len(), plugins, "{file}");
        for spec in specs {
            assert_eq!(spec["url"], format!("oci://{FILTER}"), "{file}");
            assert_eq!(spec["imagePullSecret"], "logtracer-pull", "{file}");
            assert_eq!(spec["pluginConfig"]["project_id"], "shop-prod", "{file}");
        }
    }
}

/// Without a registry for the module, the plugin is that of the variant.
#[test]
fn the_filter_for_gke_can_come_from_the_exporter() {
    let variant = fs::read_to_string(folder().join("variants/wasmplugin-from-exporter.yaml")).unwrap();
    let mut expected = parse(&variant).unwrap().remove(0)["spec"].clone();
    expected["sha256"] = "1".repeat(64).into();
    expected["pluginConfig"]["project_id"] = "shop-prod".into();
    let section = "#### The module from the exporter";
    assert_eq!(specs(section, "istio/wasmplugin.yaml"), [expected.clone()]);

    let at_the_edge = specs(section, "istio/variants/edge.yaml");
    assert_eq!(at_the_edge.len(), 2);
    for mut spec in at_the_edge {
        spec.as_object_mut().unwrap().remove("selector").unwrap();
        spec["pluginConfig"].as_object_mut().unwrap().remove("edge");
        assert_eq!(spec, expected);
    }
}

/// The values have the exporter and the filter that were pushed, and mean the same as the overlay and the command.
#[test]
fn the_release_for_gke_is_the_one_that_was_pushed() {
    let command = commands("#### Helm").remove(0);
    let (write, install) = command.split_once("\nhelm install ").unwrap();
    assert!(install.contains(" --values my.yaml"), "{install}");
    let dir = tempfile::tempdir().unwrap();
    let digest = format!("sha256:{}", "1".repeat(64));
    let exporter = format!("registry.example:5000/logtracer-exporter@{digest}");
    let filter = format!("registry.example:5000/logtracer-filter@{digest}");
    let status = Command::new("bash")
        .args(["-ec", write])
        .envs([("EXPORTER", &*exporter), ("FILTER", &*filter), ("PROJECT", "shop-prod")])
        .current_dir(dir.path())
        .status()
        .unwrap();
    assert!(status.success(), "{write}");
    let values = fs::read_to_string(dir.path().join("my.yaml")).unwrap();
    let release = render(&[&values]).remove(0).unwrap_or_else(|error| panic!("{values}: {error}"));

    let container = &release.of(&["StatefulSet"])[0]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], exporter);
    let args = container["args"].as_array().unwrap();
    assert!(args.contains(&"--project=shop-prod".into()) && args.contains(&"--sink=cloud-trace".into()));
    let plugin = &release.of(&["WasmPlugin"])[0]["spec"];
    assert_eq!(plugin["url"], format!("oci://{filter}"));
    assert_eq!(plugin["imagePullSecret"], "logtracer-pull");
    assert_eq!(plugin["pluginConfig"]["project_id"], "shop-prod");
    let kinds = |of: &[Value]| {
        let mut kinds: Vec<String> = of
            .iter()
            .map(|it| it["kind"].as_str().unwrap().to_owned())
            .filter(|it| it != "Namespace")
            .collect();
        kinds.sort();
        kinds
    };
    let mut expected = build(&folder().join("exporter/gke")).unwrap();
    expected.extend(build(&folder()).unwrap());
    assert_eq!(kinds(&release.objects), kinds(&expected));
    assert!(!release.notes.contains("WARNING: "), "{}", release.notes);
}
