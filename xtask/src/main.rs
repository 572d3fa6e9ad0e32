//! Release tooling: the module as an OCI image, and bills of materials. `scripts/image` runs it.

mod layout;
mod sbom;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use sha2::{Digest as _, Sha256};

#[derive(Parser)]
#[command(name = "logtracer-image")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a module as an OCI layout that Istio or Kubernetes can load, and prints the digest of the image
    Layout {
        /// The WebAssembly module
        #[arg(long, required_unless_present = "native", conflicts_with = "native")]
        module: Option<PathBuf>,
        /// A native module and its architecture: amd64 or arm64
        #[arg(long, value_name = "ARCHITECTURE=FILE")]
        native: Vec<String>,
        /// The folder of the layout; it is replaced if it exists
        #[arg(long)]
        folder: PathBuf,
        /// The tag of the image
        #[arg(long)]
        tag: String,
        /// A label of the image, which is also an annotation of its manifest
        #[arg(long = "label", value_name = "NAME=TEXT")]
        labels: Vec<String>,
    },
    /// Writes the bill of materials of a package of the workspace as CycloneDX
    Sbom {
        /// The package
        #[arg(long)]
        package: String,
        /// The target triple of the build
        #[arg(long)]
        target: String,
        /// The file to write
        #[arg(long)]
        file: PathBuf,
    },
}

#[allow(clippy::print_stdout, reason = "the digest is the result of the command")]
fn main() -> Result<()> {
    match Options::parse().command {
        Command::Layout { module, native, folder, tag, labels } => {
            let labels: Vec<(&str, &str)> = labels
                .iter()
                .map(|label| label.split_once('=').with_context(|| format!("not NAME=TEXT: {label}")))
                .collect::<Result<_>>()?;
            let digest = if let Some(file) = module {
                // Registries and tools expect an architecture.
                layout::write(&read("plugin.wasm", "amd64", &file)?, &folder, &tag, &labels)?
            } else {
                let read = |one: &String| {
                    let (architecture, file) = one.split_once('=').context("not ARCHITECTURE=FILE")?;
                    read("liblogtracer.so", architecture, Path::new(file))
                };
                let modules = native.iter().map(read).collect::<Result<Vec<_>>>()?;
                layout::write_index(&modules, &folder, &tag, &labels)?
            };
            println!("{digest}");
        }
        Command::Sbom { package, target, file } => {
            let bill = sbom::of(&package, &target)?;
            write(&file, format!("{bill:#}\n").as_bytes())?;
        }
    }
    Ok(())
}

fn read(name: &'static str, architecture: &str, file: &Path) -> Result<layout::Module> {
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    Ok(layout::Module { name, architecture: architecture.to_owned(), bytes })
}

/// Writes a file and the folders above it.
fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    std::fs::write(file, bytes).with_context(|| file.display().to_string())
}

/// Returns the SHA-256 of some bytes in hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
