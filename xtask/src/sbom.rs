//! A bill of materials in CycloneDX 1.5: <https://cyclonedx.org/docs/1.5/json/>.
//!
//! `cargo tree` lists the crates of a package on a target, `cargo metadata` describes each, and `Cargo.lock` has the
//! checksums of their archives.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// Returns the bill of a package of the workspace, built for `target`. The same sources give the same text.
pub(crate) fn of(package: &str, target: &str) -> Result<Value> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--locked", "--filter-platform", target])?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let known: BTreeMap<Crate, &Value> = items(&metadata["packages"])
        .filter_map(|it| Some(((it["name"].as_str()?.to_owned(), it["version"].as_str()?.to_owned()), it)))
        .collect();
    let checksums = checksums()?;

    let nodes = tree(package, target)?;
    let (_, root) = nodes.first().cloned().with_context(|| format!("no {package}"))?;
    let edges = edges(&nodes);
    let crates: BTreeSet<Crate> = nodes.into_iter().map(|(_, it)| it).collect();

    let describe = |it: &Crate, kind: &str| -> Result<Value> {
        let about = known.get(it).with_context(|| format!("cargo metadata has no {} {}", it.0, it.1))?;
        let mut component = json!({ "type": kind, "bom-ref": reference(it), "name": it.0, "version": it.1, "purl": reference(it) });
        if about["description"].is_string() {
            component["description"] = about["description"].clone();
        }
        if let Some(license) = about["license"].as_str() {
            // Older crates write a slash instead of SPDX's OR.
            component["licenses"] =
                json!([{ "expression": license.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ") }]);
        }
        if let Some(checksum) = checksums.get(it) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        if let Some(repository) = about["repository"].as_str() {
            component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
        }
        Ok(component)
    };
    let components: Vec<Value> =
        crates.iter().filter(|it| **it != root).map(|it| describe(it, "library")).collect::<Result<_>>()?;
    let dependencies: Vec<Value> = crates
        .iter()
        .map(|it| {
            let on: Vec<String> = edges.get(it).into_iter().flatten().map(reference).collect();
            json!({ "ref": reference(it), "dependsOn": on })
        })
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": describe(&root, "application")?,
            "properties": [{ "name": "cargo:target", "value": target }],
        },
        "components": components,
        "dependencies": dependencies,
    }))
}

/// The name and the version of a crate.
type Crate = (String, String);

fn reference((name, version): &Crate) -> String {
    format!("pkg:cargo/{name}@{version}")
}

/// Returns every crate of the package with its depth, in the order of `cargo tree`: the dependencies of a crate follow
/// its first occurrence.
fn tree(package: &str, target: &str) -> Result<Vec<(usize, Crate)>> {
    let options = ["--edges", "normal", "--prefix", "depth", "--format", " {p}", "--locked"];
    let text = cargo(&[&["tree", "--package", package, "--target", target], &options[..]].concat())?;
    text.lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let node = (|| Some((words.next()?.parse().ok()?, words.next()?.to_owned(), words.next()?)))();
            let (depth, name, version) =
                node.with_context(|| format!("unexpected line of cargo tree: {line}"))?;
            Ok((depth, (name, version.trim_start_matches('v').to_owned())))
        })
        .collect()
}

fn edges(nodes: &[(usize, Crate)]) -> BTreeMap<Crate, BTreeSet<Crate>> {
    let mut edges: BTreeMap<Crate, BTreeSet<Crate>> = BTreeMap::new();
    let mut path: Vec<&Crate> = Vec::new();
    for (depth, it) in nodes {
        path.truncate(*depth);
        if let Some(above) = path.last() {
            edges.entry((*above).clone()).or_default().insert(it.clone());
        }
        path.push(it);
    }
    edges
}

/// Returns the SHA-256 of the archive of each crate from `Cargo.lock`.
fn checksums() -> Result<BTreeMap<Crate, String>> {
    let file = root().join("Cargo.lock");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let of = |package: &str| {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")))?;
            line.strip_suffix('"').map(str::to_owned)
        };
        Some(((value("name")?, value("version")?), value("checksum")?))
    };
    Ok(text.split("[[package]]").filter_map(of).collect())
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn cargo(arguments: &[&str]) -> Result<String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    let output = cargo.current_dir(root()).args(arguments).output().context("cargo")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    bail!("cargo {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
