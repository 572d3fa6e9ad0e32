//! The exporter as an OCI image for several architectures, like that of `envoy/images/exporter.Dockerfile`, but on a base
//! without a shell.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tar::EntryType;

use crate::layout::{self, Layer, header};

/// The user of distroless images that is not root.
const USER: u64 = 65532;

/// What an image for each architecture consists of.
pub(crate) struct Image<'a> {
    /// The architectures and the files of their programs.
    pub(crate) programs: Vec<(&'a str, &'a str)>,
    /// The architectures and the tars of their base.
    pub(crate) bases: Vec<(&'a str, &'a str)>,
    pub(crate) module: &'a Path,
}

impl Image<'_> {
    /// Writes the image into `folder` with the name `tag`, and returns the digest by which it is pulled.
    pub(crate) fn write(&self, folder: &Path, tag: &str, labels: &[(&str, &str)]) -> Result<String> {
        layout::remove(folder)?;
        let module = read(self.module)?;
        let mut manifests = Vec::new();
        for (architecture, file) in &self.programs {
            let (_, base) = self
                .bases
                .iter()
                .find(|(of, _)| of == architecture)
                .with_context(|| format!("no --base for {architecture}"))?;
            let program = read(Path::new(file))?;
            check_architecture(&program, architecture).with_context(|| (*file).to_owned())?;
            let base = read(Path::new(base))?;
            check_base(&base).context("the base")?;
            let layers = [
                Layer { created_by: "the base".to_owned(), tar: base },
                Layer {
                    created_by: "COPY logtracer-exporter plugin.wasm data".to_owned(),
                    tar: files(&program, &module)?,
                },
            ];
            manifests
                .push((*architecture, layout::manifest_of(&layers, architecture, config(), folder, labels)?));
        }
        layout::finish_index(manifests, folder, tag)
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| file.display().to_string())
}

/// The settings of `envoy/images/exporter.Dockerfile`, except its health check, which needs a shell.
fn config() -> Value {
    json!({
        "User": format!("{USER}:{USER}"),
        "Env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LOGTRACER_HTTP=0.0.0.0:4318",
            "LOGTRACER_GRPC=0.0.0.0:4317",
            "LOGTRACER_VIEW=0.0.0.0:4380",
            "LOGTRACER_DATA_DIR=/data",
        ],
        "ExposedPorts": { "4317/tcp": {}, "4318/tcp": {}, "4380/tcp": {} },
        "Volumes": { "/data": {} },
        "Entrypoint": ["/usr/local/bin/logtracer-exporter"],
    })
}

/// Returns the tar of the exporter's own files.
fn files(program: &[u8], module: &[u8]) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, mode, bytes) in
        [("usr/local/bin/logtracer-exporter", 0o755, program), ("plugin.wasm", 0o644, module)]
    {
        tar.append_data(&mut header(EntryType::Regular, mode, 0, bytes.len()), name, bytes).context(name)?;
    }
    tar.append_data(&mut header(EntryType::Directory, 0o755, USER, 0), "data/", &[][..]).context("data")?;
    tar.into_inner().context("tar")
}

/// Fails if a program is not an ELF file for this architecture.
fn check_architecture(program: &[u8], architecture: &str) -> Result<()> {
    // e_machine of the ELF header.
    let expected: u16 = match architecture {
        "amd64" => 62,
        "arm64" => 183,
        other => bail!("unknown architecture {other}: expected amd64 or arm64"),
    };
    ensure!(program.starts_with(b"\x7fELF"), "not a Linux program");
    let machine = program.get(18..20).and_then(|bytes| Some(u16::from_le_bytes(bytes.try_into().ok()?)));
    ensure!(machine == Some(expected), "not a program for {architecture}");
    Ok(())
}

/// Fails if a base has a shell, or no C library or certificates.
fn check_base(base: &[u8]) -> Result<()> {
    let mut names = Vec::new();
    for entry in tar::Archive::new(base).entries()? {
        let path = entry?.path()?.to_string_lossy().into_owned();
        names.push(path.trim_start_matches("./").trim_end_matches('/').to_owned());
    }
    let is_shell = |name: &&String| {
        let file = name.rsplit('/').next().unwrap_or_default();
        ["sh", "bash", "dash", "busybox"].contains(&file) && name.contains("bin/")
    };
    if let Some(shell) = names.iter().find(is_shell) {
        bail!("it has a shell: {shell}");
    }
    for file in ["libc.so.6", "ca-certificates.crt"] {
        ensure!(names.iter().any(|name| name.ends_with(&format!("/{file}"))), "it has no {file}");
    }
    Ok(())
}
