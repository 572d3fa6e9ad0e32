//! The log at one path: the file that is there now, and its rotated files.
//!
//! Each file keeps its own read position, so that programs can write to several of them at once. A file is recognized
//! by its inode together with its content, also after a restart. Content without its file is a file that was
//! truncated or moved: the reading goes on in the copy that has this content.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::context::Context;
use super::file::{FileId, metadata_of};
use super::generation::{Generation, Poll};
use super::{discovery, log_error};
use crate::store::{ReadPosition, ReadPositions};

/// The interval at which a file is read that grows.
const INTERVAL: Duration = Duration::from_millis(200);

/// The pause after an error.
pub(super) const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(2);

/// A log.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    generations: Vec<Generation>,
    /// The files beside the log are known.
    is_known: bool,
    /// A position has changed since it was saved.
    is_dirty: bool,
    /// When the log is read next.
    due: Instant,
    interval: Duration,
}

impl LogFile {
    /// Continues at these positions.
    pub(super) fn new(path: PathBuf, positions: &[ReadPosition]) -> Self {
        Self {
            path,
            generations: positions.iter().map(Generation::restore).collect(),
            is_known: false,
            is_dirty: false,
            due: Instant::now(),
            interval: INTERVAL,
        }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Reads what is new, and adds it to the batch. Logs an error.
    ///
    /// A log that does not grow is read less and less often, at least every `max_interval`.
    pub(super) fn read(&mut self, context: &mut Context<'_>, max_interval: Duration) {
        let result = self.poll(context);
        if std::mem::take(&mut self.is_dirty) {
            let generations = self.generations.iter().map(Generation::position).collect();
            context.batch.save(ReadPositions { file: key(&self.path), generations });
        }
        let pause = match result {
            Ok(Poll::Advanced { has_more: true }) => Duration::ZERO,
            Ok(Poll::Idle) => {
                self.interval = (2 * self.interval).min(max_interval);
                self.interval
            }
            Ok(_) => {
                self.interval = INTERVAL;
                self.interval
            }
            Err(error) => {
                log_error(&self.path, &error.to_string());
                PAUSE_AFTER_ERROR.max(max_interval)
            }
        };
        self.due = Instant::now() + pause;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> io::Result<Poll> {
        let now = metadata_of(&self.path)?;
        let id = now.as_ref().map(FileId::of);
        let current = self.generations.iter().find(|generation| generation.is_current);
        if !self.is_known || id != current.map(|current| current.id) {
            self.find_files(now.as_ref(), context)?;
        }
        let (mut has_more, mut is_displaced, mut error) = (false, false, None);
        let mut generations = std::mem::take(&mut self.generations);
        generations.retain_mut(|generation| {
            if context.batch.is_full(context.store) {
                has_more = true;
                return true;
            }
            let metadata = now.as_ref().filter(|_| generation.is_current);
            match generation.poll(metadata, context) {
                Ok(Poll::Idle) => {}
                Ok(Poll::Advanced { has_more: more }) => {
                    self.is_dirty = true;
                    has_more |= more;
                }
                Ok(Poll::Displaced) => is_displaced = true,
                Ok(Poll::Finished) => {
                    self.is_dirty = true;
                    generation.close(context);
                    return false;
                }
                Err(cause) => error = Some(cause),
            }
            true
        });
        self.generations = generations;
        if is_displaced {
            self.find_files(metadata_of(&self.path)?.as_ref(), context)?;
        }
        match error {
            Some(error) => Err(error),
            None if self.is_dirty || has_more => Ok(Poll::Advanced { has_more }),
            None => Ok(Poll::Idle),
        }
    }

    fn find_files(&mut self, now: Option<&Metadata>, context: &mut Context<'_>) -> io::Result<()> {
        discovery::find_files(&self.path, &mut self.generations, self.is_known, now, context)?;
        self.is_known = true;
        self.is_dirty = true;
        Ok(())
    }
}

/// The name of the log in the store.
pub(super) fn key(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
