//! Renders the chart with Helm's own library.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use logtracer_harness::envoy::root;
use serde_json::Value;

use crate::manifests::documents::parse;

/// What Helm makes of values.
#[derive(Debug)]
pub(crate) struct Release {
    /// The objects, in the order of the template files.
    pub(crate) objects: Vec<Value>,
    /// What `helm install` prints.
    pub(crate) notes: String,
}

impl Release {
    /// Returns the objects of some kinds.
    pub(crate) fn of(&self, kinds: &[&str]) -> Vec<Value> {
        self.objects.iter().filter(|it| kinds.contains(&it["kind"].as_str().unwrap())).cloned().collect()
    }
}

/// Returns the folder of the chart.
pub(crate) fn chart() -> PathBuf {
    root().join("charts/logtracer")
}

/// Returns the names and texts of the files in `examples/`, in order.
pub(crate) fn examples() -> Vec<(String, String)> {
    let files = crate::manifests::documents::files(&chart().join("examples"));
    let examples: Vec<_> = files
        .iter()
        .map(|file| {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(file).unwrap())
        })
        .collect();
    assert!(examples.len() > 5, "only {} examples", examples.len());
    examples
}

/// Renders the chart with each text of values, or returns Helm's error.
pub(crate) fn render<T: AsRef<str>>(values: &[T]) -> Vec<Result<Release, String>> {
    render_chart(&chart(), values)
}

/// Renders the chart with values that Helm accepts.
#[track_caller]
pub(crate) fn release(values: &Value) -> Release {
    render(&[values.to_string()]).remove(0).unwrap_or_else(|error| panic!("{values}: {error}"))
}

/// Renders a chart in a folder or an archive.
pub(crate) fn render_chart<T: AsRef<str>>(chart: &Path, values: &[T]) -> Vec<Result<Release, String>> {
    let texts: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
    let results = python(&[chart.to_str().unwrap()], &serde_json::to_string(&texts).unwrap());
    let results = results.as_array().unwrap();
    assert_eq!(results.len(), values.len());
    results.iter().map(read).collect()
}

/// Packs the chart into a folder, and returns the archive.
pub(crate) fn package(folder: &Path) -> PathBuf {
    let archive = python(&[chart().to_str().unwrap(), "--package", folder.to_str().unwrap()], "");
    PathBuf::from(archive.as_str().unwrap())
}

fn read(result: &Value) -> Result<Release, String> {
    if let Some(error) = result["error"].as_str() {
        return Err(error.to_owned());
    }
    assert_eq!(result["lint"], serde_json::json!([]));
    let (mut objects, mut notes) = (Vec::new(), String::new());
    for (name, text) in result["files"].as_object().unwrap() {
        let text = text.as_str().unwrap();
        if name.ends_with("/NOTES.txt") {
            text.clone_into(&mut notes);
        } else {
            let documents = parse(text).unwrap_or_else(|cause| panic!("{name}: {cause}\n{text}"));
            objects.extend(documents.into_iter().filter(|it| !it.is_null()));
        }
    }
    Ok(Release { objects, notes })
}

fn python(arguments: &[&str], input: &str) -> Value {
    let packages = root().join("build/python-helm");
    assert!(packages.is_dir(), "no {}: run scripts/python-helm", packages.display());
    let mut python = Command::new("python3")
        .arg(root().join("tests/it/charts/render.py"))
        .args(arguments)
        .env("PYTHONPATH", &packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed: apt-get install python3");
    python.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "render.py ended with {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}
