//! Release tooling: the modules and the exporter as OCI images, and bills of materials. `scripts/image` runs it.

mod exporter;
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
    /// Writes the exporter as an OCI layout for several architectures, and prints the digest of the image
    Exporter {
        /// The program and its architecture: amd64 or arm64
        #[arg(long, value_name = "ARCHITECTURE=FILE", required = true)]
        program: Vec<String>,
        /// The tar of the base for an architecture: the C library and certificates, without a shell
        #[arg(long, value_name = "ARCHITECTURE=FILE", required = true)]
        base: Vec<String>,
        /// The WebAssembly module, which the exporter can serve
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
        Command::Layout { module, native, folder, tag, labels } => {
            let labels = pairs(&labels, "NAME=TEXT")?;
            let digest = if let Some(file) = module {
                // Registries and tools expect an architecture.
                layout::write(&read("plugin.wasm", "amd64", &file)?, &folder, &tag, &labels)?
            } else {
                let read = |(architecture, file)| read("liblogtracer.so", architecture, Path::new(file));
                let native = pairs(&native, "ARCHITECTURE=FILE")?;
                let modules = native.into_iter().map(read).collect::<Result<Vec<_>>>()?;
                layout::write_index(&modules, &folder, &tag, &labels)?
            };
            println!("{digest}");
        }
        Command::Exporter { program, base, module, folder, tag, labels } => {
            let image = exporter::Image {
                programs: pairs(&program, "ARCHITECTURE=FILE")?,
                bases: pairs(&base, "ARCHITECTURE=FILE")?,
                module: &module,
            };
            println!("{}", image.write(&folder, &tag, &pairs(&labels, "NAME=TEXT")?)?);
        }
        Command::Sbom { package, target, file } => {
            let bill = sbom::of(&package, &target)?;
            write(&file, format!("{bill:#}\n").as_bytes())?;
        }
    }
    Ok(())
}

/// Splits arguments at their first `=`.
fn pairs<'a>(arguments: &'a [String], form: &str) -> Result<Vec<(&'a str, &'a str)>> {
    let split = |one: &'a String| one.split_once('=').with_context(|| format!("not {form}: {one}"));
    arguments.iter().map(split).collect()
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
