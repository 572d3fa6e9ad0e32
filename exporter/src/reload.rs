//! Files that are read again when they change, while the exporter runs: tokens and certificates.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::log::{self, Severity, Value};

/// How often a look is taken whether a file has changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// No token or certificate is longer.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What some files say, as of a second ago at most.
pub(crate) struct Reloaded<T> {
    /// The options that name the files.
    option: &'static str,
    paths: Vec<PathBuf>,
    read: fn(&[PathBuf]) -> anyhow::Result<T>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    versions: Vec<Version>,
    looked: Instant,
}

/// What tells a changed file: it was written, or another one took its place.
#[derive(PartialEq, Eq)]
struct Version {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl<T> Reloaded<T> {
    /// Reads the files for the first time.
    ///
    /// # Errors
    ///
    /// Those of `read`, and what keeps a file from being read.
    pub(crate) fn open(
        option: &'static str,
        paths: Vec<PathBuf>,
        read: fn(&[PathBuf]) -> anyhow::Result<T>,
    ) -> anyhow::Result<Self> {
        let versions = versions(&paths).and_then(|versions| Ok((versions, read(&paths)?)));
        let (versions, value) = versions.with_context(|| format!("cannot use {option}"))?;
        let state = State { value: Arc::new(value), versions, looked: Instant::now() };
        Ok(Self { option, paths, read, state: Mutex::new(state) })
    }

    /// What the files say; what cannot be read any more leaves it as it was.
    pub(crate) fn current(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= INTERVAL {
            state.looked = Instant::now();
            match self.look(&mut state) {
                Ok(false) => {}
                Ok(true) => log::line(Severity::Info, "read anew", &[("option", Value::Str(self.option))]),
                Err(error) => log::repeated(
                    Severity::Error,
                    "cannot read a file anew, what was read before stays valid",
                    &[("option", Value::Str(self.option)), ("error", Value::Fmt(format_args!("{error:#}")))],
                ),
            }
        }
        state.value.clone()
    }

    fn look(&self, state: &mut State<T>) -> anyhow::Result<bool> {
        let versions = versions(&self.paths)?;
        if versions == state.versions {
            return Ok(false);
        }
        state.value = Arc::new((self.read)(&self.paths)?);
        state.versions = versions;
        Ok(true)
    }
}

/// Says nothing of what is in the files.
impl<T> std::fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloaded").field("paths", &self.paths).finish_non_exhaustive()
    }
}

fn versions(paths: &[PathBuf]) -> anyhow::Result<Vec<Version>> {
    let version = |path: &PathBuf| {
        let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
        if metadata.len() > MAX_FILE_BYTES {
            bail!("{} is longer than {MAX_FILE_BYTES} bytes", path.display());
        }
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Version { inode: metadata.ino(), length: metadata.len(), modified })
    };
    paths.iter().map(version).collect()
}

#[cfg(test)]
impl<T> Reloaded<T> {
    /// As if the time for the next look had come.
    pub(crate) fn look_again(&self) {
        self.state.lock().unwrap().looked = Instant::now().checked_sub(INTERVAL).unwrap();
    }
}
