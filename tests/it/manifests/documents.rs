//! Reads manifests and builds kustomizations.

use std::fs;
use std::path::{Path, PathBuf};

use logtracer_harness::envoy::root;
use serde_json::{Value, json};

/// Returns the folder of the manifests.
pub(crate) fn folder() -> PathBuf {
    root().join("istio")
}

/// Returns every YAML file below a folder in order.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|cause| panic!("{}: {cause}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Returns the documents of a file.
pub(crate) fn read(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_else(|cause| panic!("{}: {cause}", file.display()));
    parse(&text).unwrap_or_else(|cause| panic!("{}: {cause}", file.display()))
}

/// Returns the documents of a text.
pub(crate) fn parse(text: &str) -> Result<Vec<Value>, String> {
    serde_saphyr::from_multiple(text).map_err(|cause| cause.to_string())
}

/// Returns the documents that `kubectl kustomize FOLDER` prints, in the order of the resources.
///
/// Supports what the overlays need: resources, components, ConfigMaps of files, and JSON patches that target a kind and a
/// name. Anything else in a kustomization is an error.
pub(crate) fn build(folder: &Path) -> Result<Vec<Value>, String> {
    let mut documents = Vec::new();
    add(folder, &mut documents)?;
    Ok(documents)
}

fn add(folder: &Path, documents: &mut Vec<Value>) -> Result<(), String> {
    let file = folder.join("kustomization.yaml");
    let at = |cause: &str| format!("{}: {cause}", file.display());
    let text = fs::read_to_string(&file).map_err(|cause| at(&cause.to_string()))?;
    let kustomization = parse(&text).map_err(|cause| at(&cause))?.pop().ok_or_else(|| at("is empty"))?;

    for key in kustomization.as_object().into_iter().flat_map(|keys| keys.keys()) {
        let known = ["apiVersion", "kind", "resources", "components", "configMapGenerator", "patches"];
        if !known.contains(&key.as_str()) {
            return Err(at(&format!("unsupported field {key}")));
        }
    }
    for resource in list(&kustomization, "resources") {
        let path = folder.join(resource.as_str().ok_or_else(|| at("a resource is not a text"))?);
        if path.is_dir() {
            add(&path, documents)?;
        } else {
            let text =
                fs::read_to_string(&path).map_err(|cause| at(&format!("{}: {cause}", path.display())))?;
            documents.extend(parse(&text)?);
        }
    }
    for generator in list(&kustomization, "configMapGenerator") {
        documents.push(config_map(folder, generator).map_err(|cause| at(&cause))?);
    }
    for component in list(&kustomization, "components") {
        add(&folder.join(component.as_str().ok_or_else(|| at("a component is not a text"))?), documents)?;
    }
    list(&kustomization, "patches")
        .iter()
        .try_for_each(|entry| patch(entry, documents).map_err(|cause| at(&cause)))
}

/// Returns a ConfigMap of the files in a folder.
fn config_map(folder: &Path, generator: &Value) -> Result<Value, String> {
    let options = &generator["options"];
    if options["disableNameSuffixHash"] != true {
        return Err("a generator of ConfigMaps without disableNameSuffixHash".to_owned());
    }
    let mut data = serde_json::Map::new();
    for entry in list(generator, "files") {
        let (key, name) =
            entry.as_str().and_then(|it| it.split_once('=')).ok_or("a file is not a text KEY=FILE")?;
        let text = fs::read_to_string(folder.join(name)).map_err(|cause| format!("{name}: {cause}"))?;
        data.insert(key.to_owned(), text.into());
    }
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": generator["name"],
            "namespace": generator["namespace"],
            "labels": options["labels"],
        },
        "data": data,
    }))
}

fn patch(entry: &Value, documents: &mut [Value]) -> Result<(), String> {
    let (kind, name) = (&entry["target"]["kind"], &entry["target"]["name"]);
    let operations = entry["patch"].as_str().ok_or("a patch has no text")?;
    let operations: json_patch::Patch =
        serde_saphyr::from_str(operations).map_err(|cause| cause.to_string())?;

    let mut targets =
        documents.iter_mut().filter(|it| it["kind"] == *kind && it["metadata"]["name"] == *name).peekable();
    if targets.peek().is_none() {
        return Err(format!("no {kind} {name} to patch"));
    }
    for target in targets {
        json_patch::patch(target, &operations).map_err(|cause| format!("{kind} {name}: {cause}"))?;
    }
    Ok(())
}

/// Returns the list of a key, empty if it is absent.
pub(crate) fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of[key].as_array().map_or(&[], Vec::as_slice)
}

/// Returns the only document of a kind and a name.
#[track_caller]
pub(crate) fn one<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut found = documents.iter().filter(|it| it["kind"] == kind && it["metadata"]["name"] == name);
    match (found.next(), found.next()) {
        (Some(document), None) => document,
        _ => panic!("not one {kind} {name}"),
    }
}
