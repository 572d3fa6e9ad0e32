//! [`Reloaded`]: files that are reloaded when they change, while the exporter runs: tokens and certificates.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::fs::OFlags;

use crate::log::{self, Severity, Value};

/// The shortest time between two checks for changed files.
const INTERVAL: Duration = Duration::from_secs(1);

/// The largest file. Tokens and certificates are much smaller.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The content of some files, at most a second old.
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
    checked_at: Instant,
}

/// The properties that differ after a file was written or replaced.
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
    /// Errors of `read`, and I/O errors.
    pub(crate) fn open(
        option: &'static str,
        paths: Vec<PathBuf>,
        read: fn(&[PathBuf]) -> anyhow::Result<T>,
    ) -> anyhow::Result<Self> {
        let versions = versions(&paths).and_then(|versions| Ok((versions, read(&paths)?)));
        let (versions, value) = versions.with_context(|| format!("cannot use {option}"))?;
        let state = State { value: Arc::new(value), versions, checked_at: Instant::now() };
        Ok(Self { option, paths, read, state: Mutex::new(state) })
    }

    /// Returns the content, after reloading changed files. If that fails, the previous content stays in use.
    pub(crate) fn load(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.checked_at.elapsed() >= INTERVAL {
            state.checked_at = Instant::now();
            match self.reload_if_changed(&mut state) {
                Ok(false) => {}
                Ok(true) => log::line(Severity::Info, "reloaded", &[("option", Value::Str(self.option))]),
                Err(error) => log::error(
                    "failed to reload a file, the previous content stays in use",
                    &[("option", Value::Str(self.option)), ("error", Value::Fmt(format_args!("{error:#}")))],
                ),
            }
        }
        state.value.clone()
    }

    /// Returns true if the files were reloaded.
    fn reload_if_changed(&self, state: &mut State<T>) -> anyhow::Result<bool> {
        let versions = versions(&self.paths)?;
        if versions == state.versions {
            return Ok(false);
        }
        state.value = Arc::new((self.read)(&self.paths)?);
        state.versions = versions;
        Ok(true)
    }
}

/// Omits the content of the files, which can be secret.
impl<T> std::fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloaded").field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// Reads a file of an option or of the environment. It must be a regular file of at most [`MAX_FILE_BYTES`]: a read of a
/// FIFO can block for ever, and a device may have no end.
pub(crate) fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    // Before it is opened, because that can have an effect on a device.
    require_regular(path, &fs::metadata(path).with_context(|| path.display().to_string())?)?;
    let read = || -> io::Result<_> {
        // Does not wait for the writer of a FIFO that has replaced the file in the meantime.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let mut content = Vec::new();
        let metadata = file.metadata()?;
        if metadata.is_file() {
            file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
        }
        Ok((metadata, content))
    };
    let (metadata, content) = read().with_context(|| path.display().to_string())?;
    require_regular(path, &metadata)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        bail!("{} is longer than {MAX_FILE_BYTES} bytes", path.display());
    }
    Ok(content)
}

/// Checks a file that a library reads, if it exists.
pub(crate) fn check_file(path: &Path) -> anyhow::Result<()> {
    fs::metadata(path).map_or(Ok(()), |metadata| require_regular(path, &metadata))
}

fn require_regular(path: &Path, metadata: &Metadata) -> anyhow::Result<()> {
    if !metadata.is_file() {
        bail!("{} is not a regular file", path.display());
    }
    if metadata.len() > MAX_FILE_BYTES {
        bail!("{} is longer than {MAX_FILE_BYTES} bytes", path.display());
    }
    Ok(())
}

fn versions(paths: &[PathBuf]) -> anyhow::Result<Vec<Version>> {
    let version = |path: &PathBuf| {
        let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
        require_regular(path, &metadata)?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Version { inode: metadata.ino(), length: metadata.len(), modified })
    };
    paths.iter().map(version).collect()
}

#[cfg(test)]
impl<T> Reloaded<T> {
    /// Makes the next call check the files, as after [`INTERVAL`].
    pub(crate) fn make_check_due(&self) {
        self.state.lock().unwrap().checked_at = Instant::now().checked_sub(INTERVAL).unwrap();
    }
}
