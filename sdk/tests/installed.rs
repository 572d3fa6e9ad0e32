//! Logging for the whole process; in a process of its own.

use std::sync::{Arc, Mutex};

use logtracer_sdk::{Format, Logging, LoggingError, Project};

#[test]
fn the_logging_of_a_process() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let logging = Logging::new(Project::none(), "").format(Format::Local).output(move |line| {
        sink.lock().unwrap().push(serde_json::from_slice::<serde_json::Value>(line).unwrap());
    });
    logging.install().unwrap();

    let again = Logging::new(Project::none(), "shop").format(Format::Local).install();
    assert!(matches!(again, Err(LoggingError::AlreadyInstalled)));

    /// Formatting it logs, while a line is being written.
    struct Chatty;
    impl std::fmt::Debug for Chatty {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            tracing::info!("inner");
            f.write_str("chatty")
        }
    }
    tracing::info!(field = ?Chatty, "outer");
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["message"], "inner");
    assert_eq!((&lines[1]["message"], &lines[1]["field"]), (&"outer".into(), &"chatty".into()));
}
