//! Logging where `tracing` has a subscriber already; in a process of its own.

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
    tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap();
    let outcome = Logging::new(Project::none(), "shop").ignore_environment().install();
    assert!(matches!(outcome, Err(LoggingError::AlreadyInstalled)));
    assert!(log::set_logger(&Other).is_ok(), "the logger of `log` is still free");
}
