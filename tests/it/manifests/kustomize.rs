//! Compares our builds of kustomizations with `kubectl kustomize`.

use std::path::{Path, PathBuf};
use std::process::Command;

use logtracer_harness::envoy::root;
use serde_json::Value;

use super::documents::{build, files, folder, parse, read};
use super::proxy::through_struct;

/// The oldest major version of kustomize to compare with.
const OLDEST: u32 = 5;

/// Every kustomization has the same documents in both builds.
#[test]
fn overlays_are_built_as_by_kubectl() {
    let mut compared = Vec::new();
    for file in files(&folder()) {
        let overlay = file.parent().unwrap();
        if file.ends_with("kustomization.yaml") && read(&file)[0]["kind"] == "Kustomization" {
            assert_eq!(
                sorted(build(overlay).unwrap()),
                sorted(kubectl_build(overlay)),
                "{}",
                overlay.display()
            );
            compared.push(overlay.strip_prefix(folder()).unwrap().to_str().unwrap().to_owned());
        }
    }
    for expected in
        ["", "exporter/base", "exporter/gke", "exporter/gke-shards", "exporter/plain", "monitoring"]
    {
        assert!(compared.iter().any(|path| path == expected), "{expected:?} is not in {compared:?}");
    }
}

/// Returns the `kubectl` that `scripts/kubectl` downloaded, or else the one on the PATH.
fn program() -> PathBuf {
    let downloaded = root().join("build/kubectl");
    let program = if downloaded.is_file() { downloaded } else { PathBuf::from("kubectl") };
    let output = Command::new(&program).args(["version", "--client", "--output=json"]).output();
    let output = output.unwrap_or_else(|cause| panic!("no kubectl ({cause}): run scripts/kubectl"));
    let version: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let kustomize = version["kustomizeVersion"].as_str().unwrap_or("unknown");
    let major = kustomize.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    assert!(
        major.is_some_and(|major: u32| major >= OLDEST),
        "kustomize {OLDEST} or newer is needed, {} has version {kustomize}: run scripts/kubectl",
        program.display()
    );
    program
}

fn kubectl_build(folder: &Path) -> Vec<Value> {
    let output = Command::new(program()).arg("kustomize").arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    parse(std::str::from_utf8(&output.stdout).unwrap()).unwrap()
}

/// Sorts documents, because kustomize orders them by kind, and converts numbers, because it writes 1.0 as 1.
fn sorted(documents: Vec<Value>) -> Vec<Value> {
    let mut documents: Vec<Value> = documents.iter().map(through_struct).collect();
    documents.sort_by_key(|it| format!("{} {}", it["kind"], it["metadata"]["name"]));
    documents
}
