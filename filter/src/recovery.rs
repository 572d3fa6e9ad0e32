//! [`Recovery`]: lets the roots of a worker that use the same exporter know that it accepts spans again.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::config::Exporter;
use crate::shared::Shared;

/// When the exporter accepted a batch of any root of this worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recovery(Rc<Cell<u64>>);

/// Cluster, authority and path.
type Key = [String; 3];

thread_local! {
    static EXPORTERS: RefCell<Shared<Key, Cell<u64>>> = const { RefCell::new(Shared::new()) };
}

impl Recovery {
    /// Returns the one that all roots with this exporter share.
    pub(crate) fn of(exporter: &Exporter) -> Self {
        let key = [&exporter.cluster, &exporter.authority, &exporter.path].map(Clone::clone);
        Self(EXPORTERS.with_borrow_mut(|exporters| exporters.get(key, Cell::default)))
    }

    /// Records that a callout which was made at this time succeeded.
    pub(crate) fn set(&self, sent_at: u64) {
        self.0.set(self.0.get().max(sent_at));
    }

    /// Returns whether a callout that was made after this time succeeded.
    pub(crate) fn is_after(&self, time: u64) -> bool {
        self.0.get() > time
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
            Recovery::of(&config.exporter.unwrap())
        };
        let first = of(r#"{"cluster": "a"}"#);
        let (second, other) = (of(r#"{"cluster": "a", "timeout": "5s"}"#), of(r#"{"cluster": "b"}"#));
        first.set(7);
        first.set(3);
        assert!(second.is_after(6) && !second.is_after(7) && !other.is_after(0));
        drop((first, second));
        assert!(!of(r#"{"cluster": "a"}"#).is_after(0));
    }
}
