//! The module as an OCI image, and bills of materials, for scripts/image.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use logtracer_tests::image::{layout, sbom};
use logtracer_tests::{Error, Result};

#[derive(Parser)]
#[command(name = "logtracer-image")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a module as an OCI layout, in the form that Istio demands, and prints the digest of the image.
    Layout {
        /// The module.
        #[arg(long)]
        module: PathBuf,
        /// The folder of the layout, which is made anew.
        #[arg(long)]
        folder: PathBuf,
        /// The tag of the image.
        #[arg(long)]
        tag: String,
        /// A label of the image and annotation of its manifest: NAME=TEXT.
        #[arg(long = "label", value_name = "NAME=TEXT")]
        labels: Vec<String>,
    },
    /// Writes what a package of the workspace is built of, as CycloneDX.
    Sbom {
        /// The package.
        #[arg(long)]
        package: String,
        /// The platform that it is built for.
        #[arg(long)]
        target: String,
        /// The file to write.
        #[arg(long)]
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Options::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("logtracer-image: {cause}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the digest is what the caller asks for")]
fn run(command: Command) -> Result<()> {
    match command {
        Command::Layout { module, folder, tag, labels } => {
            let bytes = std::fs::read(&module).map_err(Error::when(module.display()))?;
            let split = |label| {
                str::split_once(label, '=').ok_or_else(|| Error::new(format!("not NAME=TEXT: {label}")))
            };
            let labels: Vec<(&str, &str)> =
                labels.iter().map(|label| split(label.as_str())).collect::<Result<_>>()?;
            println!("{}", layout::write(&bytes, &folder, &tag, &labels)?);
        }
        Command::Sbom { package, target, file } => {
            let bill = sbom::of(&package, &target)?;
            let folder = file.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder).map_err(Error::when(folder.display()))?;
            std::fs::write(&file, format!("{bill:#}\n")).map_err(Error::when(file.display()))?;
        }
    }
    Ok(())
}
