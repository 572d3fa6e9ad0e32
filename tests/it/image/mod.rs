//! The modules and the exporter as images, and bills of materials, checked by independent readers.

mod exporter;
mod native;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use logtracer_harness::envoy;
use logtracer_harness::process::sibling;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Runs `read.py` on a file or folder.
fn read(what: &str, path: &Path) -> Output {
    let packages = envoy::root().join("build/python-schemas");
    assert!(packages.is_dir(), "no {}: run scripts/python-schemas", packages.display());
    let mut python = Command::new("python3");
    python.arg(envoy::root().join("tests/it/image/read.py")).arg(what).arg(path);
    python.env("PYTHONPATH", packages).output().expect("python3 is needed: apt-get install python3")
}

fn image() -> Command {
    Command::new(sibling("logtracer-image").unwrap())
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Writes the layout of the module and returns its digest.
fn write_layout(folder: &Path, labels: &[&str]) -> String {
    let mut command = image();
    command.arg("layout").arg("--module").arg(envoy::plugin().unwrap());
    command.arg("--folder").arg(folder).args(["--tag", "1.2.3"]);
    command.args(labels.iter().flat_map(|label| ["--label", label]));
    run(&mut command).trim_end().to_owned()
}

/// The reader follows Istio's agent: one layer, a gzip'ed tar with plugin.wasm, and correct digests and sizes.
#[test]
fn the_layout_has_the_module_as_istio_loads_it() {
    let dir = TempDir::new().unwrap();
    let digest = write_layout(dir.path(), &["org.opencontainers.image.title=logtracer"]);
    let output = read("layout", dir.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let image: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(image["digest"], digest);
    assert_eq!(image["tag"], "1.2.3");
    assert_eq!(image["labels"], json!({ "org.opencontainers.image.title": "logtracer" }));
    let module = fs::metadata(envoy::plugin().unwrap()).unwrap().len();
    assert_eq!(image["files"], json!([{ "name": "plugin.wasm", "size": module, "mode": 0o644, "mtime": 0 }]));
    assert_eq!(image["magic"], "\0asm");
}

#[test]
fn the_same_module_is_the_same_image() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    assert_eq!(write_layout(one.path(), &["a=b"]), write_layout(two.path(), &["a=b"]));
    assert_ne!(write_layout(one.path(), &["a=c"]), write_layout(two.path(), &["a=b"]));
}

#[test]
fn a_modified_layout_is_detected() {
    let dir = TempDir::new().unwrap();
    write_layout(dir.path(), &[]);
    for blob in fs::read_dir(dir.path().join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap().path();
        let whole = fs::read(&blob).unwrap();
        let mut changed = whole.clone();
        changed[0] ^= 1;
        fs::write(&blob, changed).unwrap();
        assert!(!read("layout", dir.path()).status.success(), "{}", blob.display());
        fs::write(&blob, whole).unwrap();
    }
    assert!(read("layout", dir.path()).status.success());
}

#[test]
fn the_bills_of_materials_are_complete() {
    let native = "x86_64-unknown-linux-gnu";
    let wasm = "wasm32-unknown-unknown";
    for (package, target, with, without) in [
        (
            "logtracer-exporter",
            native,
            &["logtracer-core", "rusqlite", "tokio"][..],
            &["expect-test", "proptest"][..],
        ),
        (
            "logtracer-filter-wasm",
            wasm,
            &["logtracer-core", "logtracer-filter", "serde_json"],
            &["tokio", "libc"],
        ),
        (
            "logtracer-filter-native",
            native,
            &["logtracer-core", "logtracer-filter", "serde_json", "libc"],
            &["tokio"],
        ),
    ] {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("bill.json");
        run(image().args(["sbom", "--package", package, "--target", target, "--file"]).arg(&file));
        let bill: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(bill["metadata"]["component"]["name"], package);
        let components = bill["components"].as_array().unwrap();
        let of = |name: &str| components.iter().find(|it| it["name"] == name);
        for name in with {
            assert!(of(name).is_some(), "{package}: no {name}");
        }
        for name in without {
            assert!(of(name).is_none(), "{package}: {name}");
        }
        for component in components {
            assert!(component["licenses"][0]["expression"].is_string(), "{component}");
            let is_ours = component["name"].as_str().unwrap().starts_with("logtracer-");
            assert_eq!(component["hashes"][0]["content"].is_string(), !is_ours, "{component}");
        }
        let of_root = bill["dependencies"].as_array().unwrap().iter();
        let on = of_root.filter(|it| it["ref"] == bill["metadata"]["component"]["bom-ref"]);
        assert!(
            on.flat_map(|it| it["dependsOn"].as_array().unwrap())
                .filter_map(Value::as_str)
                .any(|it| it.starts_with("pkg:cargo/logtracer-") && it.ends_with(env!("CARGO_PKG_VERSION")))
        );
        check_schema(&bill);
    }
}

#[track_caller]
fn check_schema(bill: &Value) {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("bill.json");
    fs::write(&file, bill.to_string()).unwrap();
    let output = read("sbom", &file);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // Also checks that the schema is not permissive.
    let mut misspelt = bill.clone();
    misspelt["components"][0]["licences"] = json!([]);
    fs::write(&file, misspelt.to_string()).unwrap();
    assert!(!read("sbom", &file).status.success());
}
