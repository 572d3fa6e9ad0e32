//! The fields that an application has added to a request, for the event that is its line: their names are known only at
//! run time, and the fields of an event must be named in the source code.

use std::cell::Cell;
use std::rc::Rc;

use logtracer_core::line::Value;

use super::key_values::KeyValue;

thread_local! {
    static FIELDS: Cell<Option<Rc<[KeyValue]>>> = const { Cell::new(None) };
}

/// Adds the fields to the SDK's own events that `log` logs.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub(crate) fn with<'a>(fields: impl Iterator<Item = (&'a str, Value<'a>)>, log: impl FnOnce()) {
    let fields = fields.map(|(name, value)| KeyValue::new(name, value)).collect();
    let _previous = Restore(FIELDS.try_with(|cell| cell.replace(Some(fields))).unwrap_or_default());
    log();
}

/// Returns the fields of the event that is being logged.
pub(super) fn current() -> Option<Rc<[KeyValue]>> {
    let read = |cell: &Cell<Option<Rc<[KeyValue]>>>| {
        let fields = cell.take();
        cell.set(fields.clone());
        fields
    };
    FIELDS.try_with(read).unwrap_or_default()
}

/// Restores the fields of the outer event, even after a panic of a subscriber.
struct Restore(Option<Rc<[KeyValue]>>);

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = FIELDS.try_with(|cell| cell.set(self.0.take()));
    }
}

#[cfg(all(test, feature = "server", feature = "testing"))]
mod tests {
    use super::*;
    use crate::targets;
    use crate::testing::capture;

    /// The field of the event stays, and of two fields of the application the first one.
    #[test]
    fn a_name_that_the_event_has() {
        let fields = [("path", Value::U64(1)), ("items", Value::U64(2)), ("items", Value::U64(3))];
        let lines = capture(|| {
            with(fields.into_iter(), || tracing::info!(target: targets::SERVER, path = "/", "served"));
        });
        assert_eq!((&lines[0]["path"], &lines[0]["items"]), (&"/".into(), &2.into()));
    }
}
