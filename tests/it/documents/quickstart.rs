//! The commands of docs/quickstart.md that need no cloud.

use std::fs;
use std::process::Command;

use logtracer_harness::echo::Echo;
use logtracer_harness::envoy::{self, Envoy, root};
use logtracer_harness::exporter::Exporter;
use logtracer_harness::{ports, wait};
use serde_json::Value;

use super::pages;
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

#[test]
fn the_filter_for_gke_is_the_one_that_was_pushed() {
    let commands = commands("### 4. The line and the filter");
    let sed = commands.iter().find_map(|text| Some(&text[text.find("sed ")?..])).unwrap();
    let sed = sed.replace(" > wasmplugin.yaml", "");
    let filter = "europe-docker.pkg.dev/p/logtracer/logtracer-filter@sha256:12";
    let output = Command::new("bash")
        .args(["-c", &sed])
        .envs([("FILTER", filter), ("PROJECT", "shop-prod")])
        .current_dir(root())
        .output()
        .unwrap();
    let spec = &parse(&String::from_utf8(output.stdout).unwrap()).unwrap()[0]["spec"];
    assert_eq!(spec["url"], format!("oci://{filter}"));
    assert_eq!(spec["imagePullSecret"], "logtracer-pull");
    assert_eq!(spec["pluginConfig"]["project_id"], "shop-prod");
}
