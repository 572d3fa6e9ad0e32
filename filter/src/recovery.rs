//! [`Recovery`]: lets the roots of a worker that use the same exporter know that it accepts spans again.

use core::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use crate::config::Exporter;

/// When the exporter accepted a batch of any root of this worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recovery(Rc<Cell<u64>>);

/// The exporters that the roots of this worker use: cluster, authority and path.
type Exporters = Vec<([String; 3], Weak<Cell<u64>>)>;

thread_local! {
    static EXPORTERS: RefCell<Exporters> = RefCell::default();
}

impl Recovery {
    /// Returns the one that all roots with this exporter share.
    pub(crate) fn of(exporter: &Exporter) -> Self {
        let key = [&exporter.cluster, &exporter.authority, &exporter.path].map(Clone::clone);
        EXPORTERS.with_borrow_mut(|exporters| {
            exporters.retain(|(_, shared)| shared.strong_count() > 0);
            let known = exporters.iter().find(|(known, _)| *known == key);
            if let Some(shared) = known.and_then(|(_, shared)| shared.upgrade()) {
                return Self(shared);
            }
            let new = Self::default();
            exporters.push((key, Rc::downgrade(&new.0)));
            new
        })
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
        assert_eq!(EXPORTERS.with_borrow(Vec::len), 2);
    }
}
