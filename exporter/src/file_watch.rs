//! The check of the files in the data directory, each second: files that were removed or replaced get new ones.
//!
//! The outbox, the store and the dead letters also check their own files before they write. This check is for times without
//! traffic, and for the other files.

use std::time::Duration;

use anyhow::anyhow;
use tokio::task::spawn_blocking;

use crate::deliver::calls::Calls;
use crate::deliver::dead_letters::DeadLetters;
use crate::health::Health;
use crate::log::{self, Value};
use crate::outbox::Outbox;
use crate::shutdown::Shutdown;
use crate::storage::{DataDir, DiskReserve};
use crate::store::Store;

const INTERVAL: Duration = Duration::from_secs(1);

/// The periodic check.
pub(crate) struct FileWatch {
    pub(crate) data_dir: DataDir,
    pub(crate) outbox: Outbox,
    pub(crate) store: Store,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) calls: Calls,
    pub(crate) reserve: DiskReserve,
    pub(crate) health: Health,
}

impl FileWatch {
    /// Runs until the shutdown.
    pub(crate) async fn run(self, mut stop: Shutdown) {
        tokio::select! {
            () = stop.begun() => {}
            () = self.run_forever() => {}
        }
    }

    async fn run_forever(&self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let problem = self.check().await.err().map(|error| format!("{error:#}"));
            if let Some(error) = &problem {
                log::error(
                    "failed to replace the files in the data directory",
                    &[("error", Value::Str(error))],
                );
            }
            self.health.set_problem_of_files(problem);
        }
    }

    async fn check(&self) -> anyhow::Result<()> {
        let data_dir = self.data_dir.clone();
        spawn_blocking(move || data_dir.ensure_locked()).await??;
        // The others are checked even if one fails.
        let outbox = self.outbox.check_path().await;
        let store = self.store.clone();
        let store = spawn_blocking(move || store.check_path()).await?;
        let dead_letters = self.dead_letters.check_path().await;
        let (reserve, calls) = (self.reserve.clone(), self.calls.clone());
        spawn_blocking(move || {
            reserve.check_file();
            calls.check_file();
        })
        .await?;
        outbox.map_err(|error| anyhow!(error))?;
        store?;
        dead_letters.map_err(|error| anyhow!(error))?;
        self.data_dir.release_earlier_locks();
        Ok(())
    }
}
