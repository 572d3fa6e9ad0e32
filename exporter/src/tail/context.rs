//! What the logs share while they are read.

use std::time::Duration;

use super::batch::Batch;
use super::rotation::Names;
use crate::metrics::Metrics;
use crate::store::Store;

/// The maximum number of files that are kept open. An open file is read to its end even after it was deleted.
const MAX_OPEN_FILES: usize = 256;

/// What the logs share.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) batch: &'a mut Batch,
    pub(super) window: &'a mut Vec<u8>,
    pub(super) names: &'a mut Names,
    pub(super) store: &'a Store,
    pub(super) metrics: &'a Metrics,
    /// How long a rotated file has to be unchanged before its last line counts as complete.
    pub(super) rotation_wait: Duration,
    pub(super) open_files: &'a mut usize,
}

impl Context<'_> {
    /// Counts a file that was opened if there is room for it. Returns whether it may stay open.
    pub(super) fn reserve_open_file(&mut self) -> bool {
        let has_room = *self.open_files < MAX_OPEN_FILES;
        *self.open_files += usize::from(has_room);
        has_room
    }

    pub(super) fn is_short_of_files(&self) -> bool {
        *self.open_files >= MAX_OPEN_FILES
    }

    /// Subtracts a file that was kept open.
    pub(super) fn closed(&mut self, was_open: bool) {
        *self.open_files -= usize::from(was_open);
    }
}
