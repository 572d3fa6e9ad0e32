//! The data directory: it belongs to one exporter, which holds the lock on the file `lock`.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use rustix::fs::OFlags;
use tokio::sync::watch;

use super::open_files::is_at;
use crate::log::{self, Value};

/// A handle to the locked data directory. Clones share the lock.
#[derive(Debug, Clone)]
pub(crate) struct DataDir(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// The lock on the file at the path. Before it, locks on files that were at the path earlier.
    locks: Mutex<Vec<File>>,
    /// The error, once another exporter has locked the directory.
    taken: watch::Sender<Option<String>>,
}

impl DataDir {
    /// Creates the directory, and locks it against other exporters.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let Locked::Here(lock) = lock(path)? else { bail!(in_use(path)) };
        let locks = Mutex::new(vec![lock]);
        Ok(Self(Arc::new(Inner { path: path.to_owned(), locks, taken: watch::Sender::new(None) })))
    }

    /// Returns a directory that is not locked, so that a test can open it several times.
    #[cfg(test)]
    pub(crate) fn unlocked(path: &Path) -> Self {
        let taken = watch::Sender::new(None);
        Self(Arc::new(Inner { path: path.to_owned(), locks: Mutex::default(), taken }))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Locks the directory again if the file `lock` was removed or replaced, for example with the whole directory.
    /// Creates the directory if it does not exist.
    ///
    /// Fails if another exporter holds the lock. [`taken`](Self::taken) then returns.
    pub(crate) fn ensure_locked(&self) -> anyhow::Result<()> {
        let Inner { path, taken, .. } = &*self.0;
        let mut locks = self.0.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &*taken.borrow() {
            bail!(error.clone());
        }
        if locks.last().is_some_and(|lock| is_at(lock, &lock_path(path))) {
            return Ok(());
        }
        match lock(path)? {
            Locked::Here(lock) => locks.push(lock),
            Locked::Elsewhere => {
                let error = in_use(path);
                taken.send_replace(Some(error.clone()));
                bail!(error);
            }
        }
        let path = lock_path(path);
        let fields = [("path", Value::Fmt(format_args!("{}", path.display())))];
        log::error("lock file was removed or replaced, locked the data directory again", &fields);
        Ok(())
    }

    /// Releases the locks on files that are no longer at the path. No database there may be open any more.
    pub(crate) fn release_earlier_locks(&self) {
        let mut locks = self.0.locks.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = locks.len().saturating_sub(1);
        locks.drain(..earlier);
    }

    /// Returns the error once another exporter has locked the directory.
    pub(crate) async fn taken(&self) -> String {
        let mut taken = self.0.taken.subscribe();
        // `self` holds the sender, so waiting cannot fail.
        let error = taken.wait_for(Option::is_some).await;
        error.ok().and_then(|error| error.clone()).unwrap_or_default()
    }
}

enum Locked {
    Here(File),
    /// By another exporter.
    Elsewhere,
}

/// Creates the directory, and tries to lock the file in it.
fn lock(dir: &Path) -> anyhow::Result<Locked> {
    fs::create_dir_all(dir)
        .with_context(|| format!("failed to create the data directory {} (--data-dir)", dir.display()))?;
    let path = lock_path(dir);
    let context = || format!("failed to open {} (--data-dir)", path.display());
    loop {
        // Does not wait for the reader of a FIFO.
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(&path)
            .with_context(context)?;
        if !file.metadata().with_context(context)?.is_file() {
            bail!("{} is not a regular file (--data-dir)", path.display());
        }
        match file.try_lock() {
            // Otherwise it was removed in the meantime.
            Ok(()) if is_at(&file, &path) => return Ok(Locked::Here(file)),
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(Locked::Elsewhere),
            Err(fs::TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
            Err(fs::TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("failed to lock {}", path.display()));
            }
        }
    }
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("lock")
}

fn in_use(dir: &Path) -> String {
    format!("the data directory {} is in use by another exporter (--data-dir)", dir.display())
}
