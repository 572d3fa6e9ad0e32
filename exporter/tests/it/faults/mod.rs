//! Faults of a disk in a running exporter: a C library that fails its system calls (`faults.c`).

use std::path::PathBuf;
use std::process::Command;

/// The faults of one exporter, which are switched on and off while it runs.
pub(crate) struct Faults {
    dir: tempfile::TempDir,
}

impl Faults {
    /// Compiles the library.
    pub(crate) fn new() -> Self {
        let faults = Self { dir: tempfile::tempdir().unwrap() };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/faults/faults.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(faults.library())
            .args([source, "-ldl"])
            .output()
            .expect("no C compiler; run: sudo apt-get install gcc libc6-dev");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        faults
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("faults.so")
    }

    fn switch(&self) -> PathBuf {
        self.dir.path().join("faults")
    }

    /// Lets this command run with the library.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.library()).env("FAULTS_FILE", self.switch());
    }

    /// Switches on these faults, one per line (see `faults.c`), and all others off.
    pub(crate) fn set(&self, faults: &str) {
        let new = self.dir.path().join("new");
        std::fs::write(&new, faults).unwrap();
        std::fs::rename(new, self.switch()).unwrap();
    }
}
