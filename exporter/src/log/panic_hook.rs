//! The panic hook.

use super::{Severity, Value, line};

/// Installs a panic hook that writes a log line.
pub(crate) fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let error = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let mut fields = vec![
            ("error", Value::Str(error.unwrap_or("unknown"))),
            ("thread", Value::Str(thread.name().unwrap_or_default())),
        ];
        let location = panic.location().map(ToString::to_string);
        if let Some(location) = &location {
            fields.push(("location", Value::Str(location)));
        }
        line(Severity::Critical, "panic", &fields);
    }));
}
