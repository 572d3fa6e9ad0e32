//! `make demo` and `make test` compile every dependency with the same features, so that neither compiles one again.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use logtracer_harness::envoy::root;
use serde_json::Value;

/// Reads both build commands from the scripts.
#[test]
fn the_demo_and_the_tests_share_their_compilations() {
    let demo = script_line("scripts/demo", "scripts/build ");
    let tests = script_line("scripts/test", "cargo build ");
    let of_demo = compilations(&format!("{demo} --"));
    let of_tests = compilations(&tests);
    assert!(of_demo.len() > 200, "only {} compilations", of_demo.len());

    let only_demo: Vec<&String> = of_demo.difference(&of_tests).collect();
    assert!(only_demo.is_empty(), "only for the demo:\n{only_demo:#?}");
    // The demo does not compile the tests.
    for name in ["logtracer-tests", "logtracer-sdk-bench", "proptest"] {
        assert!(!of_demo.iter().any(|unit| unit.contains(&format!("#{name}@"))), "{name}");
    }
}

fn script_line(script: &str, start: &str) -> String {
    let text = fs::read_to_string(root().join(script)).unwrap();
    let line = text.lines().find(|line| line.starts_with(start));
    line.unwrap_or_else(|| panic!("{script} has no line {start}")).to_owned()
}

/// Returns each compilation of a build command: crate, target, features and profile. Nothing is compiled.
fn compilations(command: &str) -> BTreeSet<String> {
    let command = format!("{command} --unit-graph -Z unstable-options");
    let output = Command::new("bash")
        .args(["-c", &command])
        .current_dir(root())
        .env("RUSTC_BOOTSTRAP", "1") // for --unit-graph
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let graph: Value = serde_json::from_slice(&output.stdout).unwrap();
    let units = graph["units"].as_array().unwrap();
    units
        .iter()
        .map(|unit| {
            let fields = ["pkg_id", "target", "profile", "features", "mode", "platform"];
            let values: Vec<String> = fields.map(|field| unit[field].to_string()).into();
            values.join(" ")
        })
        .collect()
}
