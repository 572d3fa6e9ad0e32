//! Whether everything that has to run still runs.

use std::sync::{Arc, OnceLock};

use tokio::task::JoinSet;

use crate::log::{self, Severity, Value};

/// What has broken down for good; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health(Arc<OnceLock<String>>);

impl Health {
    /// What is wrong until the program is started again.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Watches tasks, as long as it is polled: one that a panic has ended is missed.
    pub(crate) async fn watch<T>(&self, tasks: &mut JoinSet<()>) -> T {
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                let problem = "a part of the exporter has broken down; what waits is safe, start it again";
                log::line(Severity::Critical, problem, &[("error", Value::Fmt(format_args!("{error}")))]);
                // The first one is enough.
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
    async fn a_panic_is_noticed_and_an_end_is_none() {
        let health = Health::default();
        let mut tasks = JoinSet::new();
        let watch = async |tasks: &mut JoinSet<()>| {
            let some_time = std::time::Duration::from_millis(100);
            tokio::time::timeout(some_time, health.watch::<()>(tasks)).await.unwrap_err();
        };
        tasks.spawn(async {});
        watch(&mut tasks).await;
        assert_eq!(health.problem(), None);
        tasks.spawn(async { panic!("on purpose") });
        watch(&mut tasks).await;
        assert!(health.problem().unwrap().contains("has broken down"));
    }
}
