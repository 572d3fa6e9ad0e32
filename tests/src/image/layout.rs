//! The module as an OCI image in a folder: <https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md>.
//!
//! Istio's agent takes the last layer of an image, which must be a gzip'ed tar with a file `plugin.wasm`, and Envoy
//! Gateway does the same. Nothing here tells when and by whom it was made: the same module with the same
//! labels is the same image, to its digest.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};

use super::sha256;
use crate::{Error, Result};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// 1970: a time that is the same everywhere.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// Writes the image of `module` into `folder`, under the name `tag`, and gives the digest by which it is pulled.
pub fn write(module: &[u8], folder: &Path, tag: &str, labels: &[(&str, &str)]) -> Result<String> {
    let tar = tar("plugin.wasm", module)?;
    let layer = gzip(&tar)?;
    let labels: Value = labels.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
    let config = json!({
        "created": CREATED,
        // The module runs in any proxy; registries and tools want to be told some platform.
        "architecture": "amd64",
        "os": "linux",
        "config": { "Labels": labels },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha256(&tar))] },
        "history": [{ "created": CREATED, "created_by": "COPY plugin.wasm /plugin.wasm" }],
    })
    .to_string();

    if folder.exists() {
        fs::remove_dir_all(folder).map_err(Error::when(folder.display()))?;
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(folder, CONFIG, config.as_bytes())?,
        "layers": [blob(folder, LAYER, &layer)?],
        "annotations": labels,
    })
    .to_string();
    let mut described = blob(folder, MANIFEST, manifest.as_bytes())?;
    let digest = described["digest"].as_str().unwrap_or_default().to_owned();
    described["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [described] });
    put(&folder.join("index.json"), index.to_string().as_bytes())?;
    put(&folder.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string().as_bytes())?;
    Ok(digest)
}

/// Writes a blob and describes it.
fn blob(folder: &Path, media_type: &str, bytes: &[u8]) -> Result<Value> {
    let digest = sha256(bytes);
    put(&folder.join("blobs/sha256").join(&digest), bytes)?;
    Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len() }))
}

fn put(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::when(folder.display()))?;
    fs::write(file, bytes).map_err(Error::when(file.display()))
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    // Neither a time nor the name of an operating system in its header.
    let mut packed = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    packed.write_all(bytes).and_then(|()| packed.finish()).map_err(Error::when("gzip"))
}

/// A tar of one file that everyone may read and root owns, of the year 1970 (POSIX `ustar`).
fn tar(name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    const BLOCK: usize = 512;
    let mut header = [0; BLOCK];
    let size = format!("{:011o}", bytes.len());
    let mut field = |at: usize, text: &str| {
        let place = header.get_mut(at..at + text.len());
        place
            .map(|place| place.copy_from_slice(text.as_bytes()))
            .ok_or_else(|| Error::new("a field of a tar"))
    };
    field(0, name)?;
    for (at, number) in
        [(100, "0000644"), (108, "0000000"), (116, "0000000"), (124, &size), (136, "00000000000")]
    {
        field(at, number)?;
    }
    field(148, "        ")?; // the checksum, for the time of summing
    field(156, "0")?; // a regular file
    field(257, "ustar\0")?;
    field(263, "00")?;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());

    let mut tar = Vec::with_capacity(bytes.len() + 4 * BLOCK);
    tar.extend_from_slice(&header);
    tar.extend_from_slice(bytes);
    tar.resize(tar.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0); // two empty blocks are its end
    Ok(tar)
}
