//! The fields that an application has added to a request, for the event that is its line.

use logtracer_core::line::Value;

use super::key_values::{Attached, KeyValue, Owner};

/// Adds the fields to the SDK's own events that `log` logs.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub(crate) fn with<'a>(fields: impl Iterator<Item = (&'a str, Value<'a>)>, log: impl FnOnce()) {
    let fields = fields.map(|(name, value)| KeyValue::new(name, value)).collect();
    let _attached = Attached::new(Owner::Request, fields);
    log();
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
