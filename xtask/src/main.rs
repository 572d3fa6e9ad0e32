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
    /// Writes a module as an OCI layout that Istio can load, and prints the digest of the image
    Layout {
        /// The module
        #[arg(long)]
        module: PathBuf,
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
        Command::Layout { module, folder, tag, labels } => {
            let bytes = std::fs::read(&module).with_context(|| module.display().to_string())?;
            let labels: Vec<(&str, &str)> = labels
                .iter()
                .map(|label| label.split_once('=').with_context(|| format!("not NAME=TEXT: {label}")))
                .collect::<Result<_>>()?;
            println!("{}", layout::write(&bytes, &folder, &tag, &labels)?);
        }
        Command::Sbom { package, target, file } => {
            let bill = sbom::of(&package, &target)?;
            write(&file, format!("{bill:#}\n").as_bytes())?;
        }
    }
    Ok(())
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
