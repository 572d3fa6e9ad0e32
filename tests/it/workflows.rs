//! The workflows of `.github/`: what they run exists, and only a release publishes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use logtracer_harness::envoy::root;
use serde_json::Value;

fn workflows() -> BTreeMap<String, Value> {
    let files = fs::read_dir(root().join(".github/workflows")).unwrap();
    let mut workflows = BTreeMap::new();
    for file in files {
        let file = file.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        let workflow: Value =
            serde_saphyr::from_str(&text).unwrap_or_else(|cause| panic!("{}: {cause}", file.display()));
        workflows.insert(file.file_stem().unwrap().to_str().unwrap().to_owned(), workflow);
    }
    workflows
}

fn jobs(workflow: &Value) -> impl Iterator<Item = (&String, &Value)> {
    workflow["jobs"].as_object().expect("jobs").iter()
}

/// Returns the commands of a job, one a line.
fn commands(job: &Value) -> Vec<&str> {
    let steps = job["steps"].as_array().expect("steps");
    steps.iter().filter_map(|step| step["run"].as_str()).flat_map(str::lines).map(str::trim).collect()
}

#[test]
fn workflows_run_existing_targets_and_scripts() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let mut found = Vec::new();
    for (name, workflow) in workflows() {
        for (job, step) in
            jobs(&workflow).flat_map(|(name, job)| commands(job).into_iter().map(move |it| (name, it)))
        {
            let at = format!("{name}, {job}: {step}");
            if let Some(target) = step.strip_prefix("make ") {
                assert!(makefile.contains(&format!("\n{target}:")), "{at}");
                found.push(target.to_owned());
            }
            let script = step.split_whitespace().next().unwrap_or_default();
            if script.starts_with("scripts/") || script.starts_with(".ci/") {
                let mode = fs::metadata(root().join(script)).unwrap_or_else(|cause| panic!("{at}: {cause}"));
                assert!(mode.permissions().mode() & 0o100 != 0, "{at}");
            }
        }
    }
    found.sort_unstable();
    assert_eq!(found, ["deny", "image", "reproducible"]);
}

#[test]
fn jobs_need_existing_jobs_and_actions_are_pinned() {
    for (name, workflow) in workflows() {
        assert!(workflow["on"].is_object(), "{name}: {}", workflow["on"]);
        // Jobs declare further permissions themselves.
        assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }), "{name}");
        for (job, content) in jobs(&workflow) {
            let needs = match &content["needs"] {
                Value::String(one) => vec![one.as_str()],
                Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            };
            for need in needs {
                assert!(workflow["jobs"][need].is_object(), "{name}: {job} needs {need}");
            }
            assert!(content["runs-on"].is_string(), "{name}: {job}");
            for step in content["steps"].as_array().unwrap() {
                let action = step["uses"].as_str();
                assert!(action.is_some() != step["run"].is_string(), "{name}: {job}: {step}");
                // A tag can be moved to code that nobody has reviewed.
                let is_commit =
                    |(_, it): (&str, &str)| it.len() == 40 && it.bytes().all(|byte| byte.is_ascii_hexdigit());
                let is_pinned = |action: &str| action.split_once('@').is_some_and(is_commit);
                assert!(action.is_none_or(is_pinned), "{name}: {job}: {step}");
            }
        }
    }
}

/// Runs `scripts/publish` with fakes for `curl` and `cargo`. `index` has the branches of a shell's `case` with the
/// response for each crate. Returns whether the script succeeded, and the crates that `cargo` would publish.
fn publish(index: &str) -> (bool, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let published = dir.path().join("published");
    let curl = format!(
        r#"#!/bin/sh
while [ $# -gt 1 ]; do [ "$1" = --output ] && file=$2; shift; done
has() {{ echo '{{"name":"it","vers":"'"$1"'","yanked":false}}' >"$file"; printf 200; }}
case ${{1##*/}} in {index} esac
"#
    );
    let cargo = format!(
        r#"#!/bin/sh
case $1 in
pkgid) echo 'path+file:///logtracer/core#logtracer-core@1.2.3' ;;
publish) [ "$2 $3" = '--locked -p' ] && echo "$4" >>'{}' ;;
esac
"#,
        published.display()
    );
    for (name, text) in [("curl", curl), ("cargo", cargo)] {
        let file = dir.path().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new(root().join("scripts/publish")).env("PATH", path).output().unwrap();
    let published = fs::read_to_string(published).unwrap_or_default();
    (output.status.success(), published.lines().map(str::to_owned).collect())
}

/// A release that has published some of its crates continues with the others. If the index is unavailable, it stops.
#[test]
fn an_interrupted_release_continues() {
    let (is_success, published) = publish(
        "logtracer-core | logtracer-output) has 1.2.3 ;; logtracer-sdk) has 1.2.30 ;; logtracer-exporter) has 1.2.3 ;; *) printf 404 ;;",
    );
    assert!(is_success);
    assert_eq!(published, ["logtracer-sdk", "logtracer-filter"]);
    assert_eq!(publish("*) has 1.2.3 ;;"), (true, vec![]));
    for failure in ["printf 503", "exit 6"] {
        assert_eq!(publish(&format!("*) {failure} ;;")), (false, vec![]), "{failure}");
    }
}

/// Every publishable crate is published after its dependencies in the workspace.
#[test]
fn a_release_publishes_every_crate_in_order() {
    assert_eq!(commands(&workflows()["release"]["jobs"]["crates"]), ["scripts/publish"]);
    let (is_success, published) = publish("*) printf 404 ;;");
    assert!(is_success);

    let mut publishable = Vec::new();
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = workspace.split_once("members = [").and_then(|(_, rest)| rest.split(']').next()).unwrap();
    for folder in members.split('"').skip(1).step_by(2) {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        if manifest.contains("\npublish = false") {
            continue;
        }
        let name =
            manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).unwrap();
        let position =
            published.iter().position(|it| *it == name).unwrap_or_else(|| panic!("{name} is not published"));
        let dependencies = manifest.split_once("\n[dependencies]").map_or("", |(_, rest)| rest);
        let dependencies = dependencies.split("\n[").next().unwrap();
        for before in dependencies.lines().filter_map(|line| line.split(['.', ' ']).next()) {
            if before.starts_with("logtracer-") {
                let at = published.iter().position(|it| *it == before);
                assert!(at.is_some_and(|at| at < position), "{name} is published before {before}");
            }
        }
        publishable.push(name.to_owned());
    }
    assert_eq!(published.len(), publishable.len(), "{published:?}");
}

/// Nothing is published without the push of a tag and the maintainer's switch: a run by hand can have a tag too.
#[test]
fn a_rehearsal_publishes_nothing() {
    let release = &workflows()["release"];
    assert_eq!(release["jobs"]["build"]["if"], "vars.RELEASE == 'on'");
    for (name, job) in jobs(release).filter(|(name, _)| *name != "build") {
        assert_eq!(job["if"], "github.event_name == 'push' && github.ref_type == 'tag'", "{name}");
        assert!(
            job["needs"] == "build" || job["needs"].as_array().unwrap().contains(&"build".into()),
            "{name}"
        );
    }
    let text = commands(&release["jobs"]["build"]).join("\n");
    for word in ["publish ", "push", "cosign", "gh release"] {
        assert!(!text.contains(word), "{word}");
    }
}

/// Each image of `make image`, and the chart, is pushed with all architectures and by digest, and is signed and attested.
#[test]
fn a_release_signs_and_attests_what_it_pushes() {
    let release = &workflows()["release"];
    let images = &release["jobs"]["images"];
    let step = |name: &str| {
        let steps = images["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no step {name}"));
        step["run"].as_str().unwrap()
    };
    let script = fs::read_to_string(root().join("scripts/image")).unwrap();
    let loops = "for name in filter native exporter; do";
    for name in ["filter", "native", "exporter"] {
        assert!(script.contains(&format!("--folder build/image/{name} ")), "{name}");
    }
    let build = commands(&release["jobs"]["build"]).join("\n");
    assert!(build.contains(loops) && build.contains("--directory build/image/$name"), "{build}");
    let push = step("Push the images");
    assert!(push.contains(loops) && push.contains("skopeo copy --all --preserve-digests"), "{push}");
    let sign = step("Sign the images and attach the bills of materials");
    assert!(sign.contains(loops) && sign.contains("cosign sign --yes \"$image\""), "{sign}");
    assert!(sign.contains("cosign attest --yes --type cyclonedx"), "{sign}");
    let chart = step("Push the chart");
    assert!(chart.contains("helm push") && chart.contains("cosign sign --yes"), "{chart}");
    assert!(build.contains("helm package charts/logtracer "), "{build}");

    let attested = |job: &Value| -> Vec<Value> {
        let steps = job["steps"].as_array().unwrap().iter();
        let is_attestation = |step: &&Value| {
            step["uses"].as_str().is_some_and(|action| action.starts_with("actions/attest-build-provenance@"))
        };
        steps.filter(is_attestation).map(|step| step["with"].clone()).collect()
    };
    let subject = |name: &str, digest: &str| {
        serde_json::json!({
            "subject-name": format!("${{{{ env.REGISTRY }}}}/{name}"),
            "subject-digest": format!("${{{{ steps.{digest} }}}}"),
            "push-to-registry": true,
        })
    };
    assert_eq!(
        attested(images),
        [
            subject("logtracer-filter", "push.outputs.filter"),
            subject("logtracer-native", "push.outputs.native"),
            subject("logtracer-exporter", "push.outputs.exporter"),
            subject("charts/logtracer", "chart.outputs.digest"),
        ]
    );
    let page = &release["jobs"]["page"];
    assert_eq!(attested(page), [serde_json::json!({ "subject-checksums": "out/SHA256SUMS" })]);
    for (name, job) in jobs(release) {
        let needs_permission = if attested(job).is_empty() { Value::Null } else { "write".into() };
        assert_eq!(job["permissions"]["attestations"], needs_permission, "{name}");
    }
}
