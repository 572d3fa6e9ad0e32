//! An install if `tracing` has a subscriber already, in a separate process.

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
fn a_failed_install_changes_nothing() {
    tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap();
    let outcome = Logging::new(Project::none(), "shop").ignore_environment().install();
    assert!(matches!(outcome, Err(LoggingError::AlreadyInstalled)));
    assert!(log::set_logger(&Other).is_ok(), "`log` has no logger yet");
}
