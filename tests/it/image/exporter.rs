//! The exporter as an image for two architectures, without a shell and with the module that it serves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use logtracer_harness::envoy::{self, root};
use logtracer_harness::process::sibling;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{image, read, run};

/// The values of e_machine in the header of an ELF file.
const MACHINES: [(&str, u8); 2] = [("amd64", 62), ("arm64", 183)];

/// Writes a tar with empty files.
fn tar(file: &Path, names: &[&str]) {
    let dir = TempDir::new().unwrap();
    for name in names {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    run(Command::new("tar")
        .arg("--create")
        .arg("--file")
        .arg(file)
        .arg("--directory")
        .arg(dir.path())
        .args(names));
}

/// A small program of this host, marked as one of an architecture. It is packed and not run.
fn program(dir: &Path, (architecture, machine): (&str, u8)) -> PathBuf {
    let mut bytes = fs::read(sibling("logtracer-image").unwrap()).unwrap();
    bytes[18] = machine;
    let file = dir.join(architecture);
    fs::write(&file, bytes).unwrap();
    file
}

fn layout(dir: &Path, base: &[&str], machines: [u8; 2]) -> Output {
    let base_tar = dir.join("base.tar");
    tar(&base_tar, base);
    let mut command = image();
    command.args(["exporter", "--tag", "1.2.3", "--label", "a=b", "--module"]).arg(envoy::plugin().unwrap());
    command.arg("--folder").arg(dir.join("layout"));
    for ((architecture, _), machine) in MACHINES.into_iter().zip(machines) {
        command.arg("--base").arg(format!("{architecture}={}", base_tar.display()));
        let program = program(dir, (architecture, machine));
        command.arg("--program").arg(format!("{architecture}={}", program.display()));
    }
    command.output().unwrap()
}

const BASE: [&str; 2] = ["lib/libc.so.6", "etc/ssl/certs/ca-certificates.crt"];

/// The settings of `envoy/images/exporter.Dockerfile` in the form of an image's configuration.
fn dockerfile() -> Value {
    let text = fs::read_to_string(root().join("envoy/images/exporter.Dockerfile")).unwrap();
    let of: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let words = |name: &str| of[name].split(' ').map(str::to_owned).collect::<Vec<_>>();
    let set = |names: Vec<String>| names.into_iter().map(|name| (name, json!({}))).collect::<Value>();
    let mut environment =
        vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
    environment.extend(words("ENV"));
    let ports = set(words("EXPOSE").into_iter().map(|port| port + "/tcp").collect());
    json!({
        "Labels": { "a": "b" },
        "User": of["USER"],
        "Env": environment,
        "ExposedPorts": ports,
        "Volumes": set(words("VOLUME")),
        "Entrypoint": serde_json::from_str::<Value>(of["ENTRYPOINT"]).unwrap(),
    })
}

#[test]
fn the_image_has_the_program_and_the_module_for_each_architecture() {
    let dir = TempDir::new().unwrap();
    let output = layout(dir.path(), &BASE, MACHINES.map(|(_, machine)| machine));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let digest = String::from_utf8(output.stdout).unwrap();

    let output = read("exporter", &dir.path().join("layout"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let layout: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((layout["digest"].as_str(), &layout["tag"]), (Some(digest.trim_end()), &json!("1.2.3")));
    let sha256 = |file: &Path| {
        let printed = run(Command::new("sha256sum").arg(file));
        printed.split(' ').next().unwrap().to_owned()
    };
    let images = layout["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    for ((architecture, _), image) in MACHINES.into_iter().zip(images) {
        assert_eq!(image["platform"], json!({ "architecture": architecture, "os": "linux" }));
        assert_eq!(image["config"], dockerfile(), "{architecture}");
        let program = json!({ "sha256": sha256(&dir.path().join(architecture)), "mode": 0o755, "owner": 0 });
        assert_eq!(image["files"]["usr/local/bin/logtracer-exporter"], program);
        let module = json!({ "sha256": sha256(&envoy::plugin().unwrap()), "mode": 0o644, "owner": 0 });
        assert_eq!(image["files"]["plugin.wasm"], module);
        assert_eq!(image["files"]["data"], json!({ "sha256": null, "mode": 0o755, "owner": 65532 }));
        assert!(image["files"][BASE[0]].is_object(), "{image}");
    }
}

#[test]
fn a_shell_or_another_architecture_is_an_error() {
    let [amd64, arm64] = MACHINES.map(|(_, machine)| machine);
    let dir = TempDir::new().unwrap();
    for (base, machines, word) in [
        (&[BASE[0], BASE[1], "bin/sh"][..], [amd64, arm64], "it has a shell: bin/sh"),
        (&[BASE[0], BASE[1], "usr/bin/busybox"], [amd64, arm64], "it has a shell: usr/bin/busybox"),
        (&[BASE[1]], [amd64, arm64], "it has no libc.so.6"),
        (&[BASE[0]], [amd64, arm64], "it has no ca-certificates.crt"),
        (&BASE, [amd64, amd64], "not a program for arm64"),
    ] {
        let output = layout(dir.path(), base, machines);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(word), "{word}: {errors}");
    }
}
