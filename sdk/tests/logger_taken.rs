//! Logging where `log` has a logger already; in a process of its own.

use logtracer_sdk::{Logging, LoggingError, Project};

struct Other;

impl log::Log for Other {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        false
    }
    fn log(&self, _: &log::Record<'_>) {}
    fn flush(&self) {}
}

#[test]
fn nothing_is_installed_by_halves() {
    log::set_logger(&Other).unwrap();
    let outcome = Logging::new(Project::none(), "shop").ignore_environment().install();
    assert!(matches!(outcome, Err(LoggingError::AlreadyInstalled)));
    assert!(!tracing::dispatcher::has_been_set());
}
