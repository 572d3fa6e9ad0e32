//! The module as an OCI image in a folder: <https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md>.
//!
//! Istio's agent and Envoy Gateway load the last layer of an image, which must be a gzip'ed tar with a file
//! `plugin.wasm`. A native module is a volume of a pod: Kubernetes mounts the image of the node's architecture.
//!
//! Invariant: the digest of an image depends on its module, tag and labels only. No time and no name of a builder is
//! recorded.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};

use crate::{sha256, write as write_file};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A constant time of creation, because the digest must not depend on the clock.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// A module for an architecture.
pub(crate) struct Module {
    /// The name of its file, at the top of the image.
    pub(crate) name: &'static str,
    /// The architecture, in Go's words.
    pub(crate) architecture: String,
    pub(crate) bytes: Vec<u8>,
}

/// Writes the image of a module that runs on any platform into `folder` with the name `tag`, and returns the digest by
/// which it is pulled.
pub(crate) fn write(module: &Module, folder: &Path, tag: &str, labels: &[(&str, &str)]) -> Result<String> {
    remove(folder)?;
    let descriptor = manifest(module, folder, labels)?;
    finish(descriptor, folder, tag)
}

/// Writes an image with one module for each architecture.
pub(crate) fn write_index(
    modules: &[Module],
    folder: &Path,
    tag: &str,
    labels: &[(&str, &str)],
) -> Result<String> {
    remove(folder)?;
    let manifests = modules
        .iter()
        .map(|module| Ok((module.architecture.as_str(), manifest(module, folder, labels)?)))
        .collect::<Result<Vec<_>>>()?;
    finish_index(manifests, folder, tag)
}

/// Names the images of several architectures together, and returns their digest.
pub(crate) fn finish_index(manifests: Vec<(&str, Value)>, folder: &Path, tag: &str) -> Result<String> {
    let of_platform = |(architecture, mut descriptor): (&str, Value)| {
        descriptor["platform"] = json!({ "architecture": architecture, "os": "linux" });
        descriptor
    };
    let manifests: Vec<Value> = manifests.into_iter().map(of_platform).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string();
    finish(blob(folder, INDEX, index.as_bytes())?, folder, tag)
}

pub(crate) fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    Ok(())
}

/// Writes the blobs of an image and returns the descriptor of its manifest.
fn manifest(module: &Module, folder: &Path, labels: &[(&str, &str)]) -> Result<Value> {
    let Module { name, architecture, bytes } = module;
    let layer = Layer { created_by: format!("COPY {name} /{name}"), tar: tar(name, bytes).context("tar")? };
    manifest_of(&[layer], architecture, json!({}), folder, labels)
}

/// A layer of an image.
pub(crate) struct Layer {
    pub(crate) created_by: String,
    pub(crate) tar: Vec<u8>,
}

/// Writes the blobs of an image with layers and a configuration, and returns the descriptor of its manifest.
pub(crate) fn manifest_of(
    layers: &[Layer],
    architecture: &str,
    mut config: Value,
    folder: &Path,
    labels: &[(&str, &str)],
) -> Result<Value> {
    let labels: Value = labels.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
    config["Labels"] = labels.clone();
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", sha256(&layer.tar))).collect();
    let history: Vec<Value> =
        layers.iter().map(|layer| json!({ "created": CREATED, "created_by": layer.created_by })).collect();
    let config = json!({
        "created": CREATED,
        "architecture": architecture,
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": history,
    })
    .to_string();
    let layers = layers
        .iter()
        .map(|layer| blob(folder, LAYER, &gzip(&layer.tar).context("gzip")?))
        .collect::<Result<Vec<_>>>()?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(folder, CONFIG, config.as_bytes())?,
        "layers": layers,
        "annotations": labels,
    })
    .to_string();
    blob(folder, MANIFEST, manifest.as_bytes())
}

/// Gives an image its name, and returns its digest.
fn finish(mut descriptor: Value, folder: &Path, tag: &str) -> Result<String> {
    let digest = descriptor["digest"].as_str().unwrap_or_default().to_owned();
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] });
    write_file(&folder.join("index.json"), index.to_string().as_bytes())?;
    let version = json!({ "imageLayoutVersion": "1.0.0" }).to_string();
    write_file(&folder.join("oci-layout"), version.as_bytes())?;
    Ok(digest)
}

/// Writes a blob and returns its descriptor.
fn blob(folder: &Path, media_type: &str, bytes: &[u8]) -> Result<Value> {
    let digest = sha256(bytes);
    write_file(&folder.join("blobs/sha256").join(&digest), bytes)?;
    Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len() }))
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    // The header has no time, and 255 for an unknown operating system.
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    gzip.finish()
}

/// Returns a tar of one file that root owns and everybody can read.
fn tar(name: &str, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header(tar::EntryType::Regular, 0o644, 0, bytes.len()), name, bytes)?;
    tar.into_inner()
}

/// Returns the header of a file in a tar. User and group have the same id.
pub(crate) fn header(kind: tar::EntryType, mode: u32, owner: u64, size: usize) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(0);
    header.set_size(size as u64);
    header
}
