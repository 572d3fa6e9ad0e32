//! The native module loads in images of Envoy, which have little more than the C library, and is an image itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use logtracer_harness::envoy::root;
use logtracer_harness::shell;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{image, read, run};

fn module() -> PathBuf {
    shell::native_library().unwrap()
}

/// Runs `scripts/native-check`, and returns its stderr if it fails.
fn problem(file: &Path) -> Option<String> {
    let output = Command::new(root().join("scripts/native-check")).arg(file).output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_module_loads_in_every_image() {
    assert_eq!(problem(&module()), None);

    // Also checks that the check is not permissive: this test is an ordinary program.
    let problem = problem(&std::env::current_exe().unwrap()).expect("an ordinary program was accepted");
    let problems =
        ["needs libgcc_s.so.1", "can be unloaded", "exports no envoy_dynamic_module_on_program_init"];
    for expected in problems {
        assert!(problem.contains(expected), "no {expected:?} in: {problem}");
    }
}

fn write_layout(folder: &Path) -> String {
    let mut command = image();
    command.arg("layout").arg("--folder").arg(folder).args(["--tag", "1.2.3", "--label", "a=b"]);
    for architecture in ["amd64", "arm64"] {
        command.arg("--native").arg(format!("{architecture}={}", module().display()));
    }
    run(&mut command).trim_end().to_owned()
}

#[test]
fn the_layout_has_an_image_for_each_architecture() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let digest = write_layout(one.path());
    let output = read("native", one.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let layout: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&layout["digest"], &layout["tag"]), (&json!(digest), &json!("1.2.3")));

    let size = fs::metadata(module()).unwrap().len();
    let file = json!([{ "name": "liblogtracer.so", "size": size, "mode": 0o644, "mtime": 0 }]);
    let of = |architecture: &str| {
        json!({
            "platform": { "architecture": architecture, "os": "linux" },
            "labels": { "a": "b" },
            "files": file,
            "magic": "\u{7f}ELF",
        })
    };
    assert_eq!(layout["images"], json!([of("amd64"), of("arm64")]));
    assert_eq!(write_layout(two.path()), digest);
}
