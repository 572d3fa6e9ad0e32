//! [`Recovery`]: lets the roots of a process that use the same exporter know that it accepts spans again. With
//! WebAssembly, the process is the VM of one worker.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::config::{Cluster, Exporter};
use crate::shared::Shared;

/// When the exporter accepted a batch of any root of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recovery(Arc<AtomicU64>);

/// Cluster, authority and path.
type Key = [String; 3];

static EXPORTERS: Shared<Key, AtomicU64> = Shared::new();

impl Recovery {
    /// Returns the one that all roots with this cluster of the exporter share.
    pub(crate) fn of(exporter: &Exporter, cluster: &Cluster) -> Self {
        Self(EXPORTERS.get(exporter.destination(cluster), AtomicU64::default))
    }

    /// Records that a callout which was made at this time succeeded.
    pub(crate) fn set(&self, sent_at: u64) {
        self.0.fetch_max(sent_at, Ordering::Relaxed);
    }

    /// Returns whether a callout that was made after this time succeeded.
    pub(crate) fn is_after(&self, time: u64) -> bool {
        self.0.load(Ordering::Relaxed) > time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn roots_with_the_same_exporter_share_its_recovery() {
        let of = |json: &str| {
            let config = Config::parse(format!(r#"{{"exporter": {json}}}"#).as_bytes()).unwrap();
            let exporter = config.exporter.unwrap();
            Recovery::of(&exporter, exporter.clusters.last().unwrap())
        };
        let first = of(r#"{"cluster": "a"}"#);
        let (second, other) = (of(r#"{"cluster": "a", "timeout": "5s"}"#), of(r#"{"cluster": "b"}"#));
        let in_list = of(r#"{"cluster": ["b", "a"]}"#);
        first.set(7);
        first.set(3);
        assert!(in_list.is_after(6) && second.is_after(6) && !second.is_after(7) && !other.is_after(0));
        drop((first, second, in_list));
        assert!(!of(r#"{"cluster": "a"}"#).is_after(0));
    }
}
