//! Compares our builds of kustomizations with `kubectl kustomize`.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::documents::{build, files, folder, parse, read};

/// The oldest major version of kustomize to compare with.
const OLDEST: u32 = 5;

/// Every kustomization has the same documents in both builds. Without a current `kubectl` nothing is compared.
#[test]
fn overlays_are_built_as_by_kubectl() {
    if let Err(missing) = find_kubectl() {
        eprintln!("overlays are not compared with `kubectl kustomize`: {missing}");
        return;
    }
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
            compared.push(overlay.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    assert_eq!(compared, ["base", "gke", "plain", "monitoring"]);
}

/// Returns an error if no `kubectl` with a current kustomize is on the PATH.
fn find_kubectl() -> Result<(), String> {
    let output = kubectl(&["version", "--client", "--output=json"]).map_err(|_| "no kubectl on the PATH")?;
    let version: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let kustomize = version["kustomizeVersion"].as_str().unwrap_or("unknown");
    let major = kustomize.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    if major.is_some_and(|major: u32| major >= OLDEST) {
        return Ok(());
    }
    Err(format!("kustomize {OLDEST} or newer is needed, kubectl has version {kustomize}"))
}

fn kubectl_build(folder: &Path) -> Vec<Value> {
    let output = kubectl(&["kustomize", folder.to_str().unwrap()]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    parse(std::str::from_utf8(&output.stdout).unwrap()).unwrap()
}

fn kubectl(arguments: &[&str]) -> std::io::Result<Output> {
    Command::new("kubectl").args(arguments).output()
}

/// Sorts documents, because kustomize orders them by kind.
fn sorted(mut documents: Vec<Value>) -> Vec<Value> {
    documents.sort_by_key(|it| format!("{} {}", it["kind"], it["metadata"]["name"]));
    documents
}
