//! The health of the tasks that have to run until the end, and of the files in the data directory.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::task::JoinSet;

use crate::log::{self, Severity, Value};

/// What is wrong. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health(Arc<Problems>);

#[derive(Debug, Default)]
struct Problems {
    /// The first permanent failure.
    permanent: OnceLock<String>,
    files: Mutex<Option<String>>,
}

impl Health {
    /// Returns the failure that only a restart clears.
    pub(crate) fn permanent_failure(&self) -> Option<&str> {
        self.0.permanent.get().map(String::as_str)
    }

    /// Returns the failure that only a restart clears, or the problem of the files.
    pub(crate) fn problem(&self) -> Option<String> {
        let files = || self.0.files.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.permanent_failure().map(str::to_owned).or_else(files)
    }

    /// Sets or clears the problem of the files in the data directory.
    pub(crate) fn set_problem_of_files(&self, problem: Option<String>) {
        *self.0.files.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// Watches tasks while it is polled, and records the first that panics.
    pub(crate) async fn watch<T>(&self, tasks: &mut JoinSet<()>) -> T {
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                let problem = "a task of the exporter panicked: the outbox is safe, restart the exporter";
                log::line(Severity::Critical, problem, &[("error", Value::Fmt(format_args!("{error}")))]);
                // The first is enough.
                let _ = self.0.permanent.set(problem.to_owned());
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_recorded_and_an_end_is_not() {
        let health = Health::default();
        let mut tasks = JoinSet::new();
        let watch = async |tasks: &mut JoinSet<()>| {
            let short = std::time::Duration::from_millis(100);
            tokio::time::timeout(short, health.watch::<()>(tasks)).await.unwrap_err();
        };
        tasks.spawn(async {});
        watch(&mut tasks).await;
        assert_eq!(health.problem(), None);
        health.set_problem_of_files(Some("removed".to_owned()));
        assert_eq!((health.permanent_failure(), health.problem().as_deref()), (None, Some("removed")));
        tasks.spawn(async { panic!("on purpose") });
        watch(&mut tasks).await;
        assert!(health.problem().unwrap().contains("panicked"));
        assert_eq!(health.permanent_failure().map(str::to_owned), health.problem());
    }
}
