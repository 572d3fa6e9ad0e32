//! The health of the tasks that have to run until the end.

use std::sync::{Arc, OnceLock};

use tokio::task::JoinSet;

use crate::log::{self, Severity, Value};

/// The first permanent failure. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health(Arc<OnceLock<String>>);

impl Health {
    /// Returns the failure that only a restart clears.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
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
                let _ = self.0.set(problem.to_owned());
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
        tasks.spawn(async { panic!("on purpose") });
        watch(&mut tasks).await;
        assert!(health.problem().unwrap().contains("panicked"));
    }
}
