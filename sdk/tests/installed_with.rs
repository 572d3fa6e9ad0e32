//! `install_with` another layer: panics, `log` with its key-values and changes of the levels, in a separate process.

use std::sync::{Arc, Mutex};

use logtracer_sdk::{Format, Logging, LoggingError, Project};
use tracing_subscriber::layer::{Context, Layer};

/// Another layer, which keeps the level of every event.
#[derive(Clone, Default)]
struct Other(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Other {
    fn on_event(&self, event: &tracing::Event<'_>, _ctx: Context<'_, S>) {
        self.0.lock().unwrap().push(event.metadata().level().to_string());
    }
}

impl Other {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[test]
fn everything_works_beside_another_layer() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let logging = |level: &str| {
        let sink = Arc::clone(&sink);
        let logging = Logging::new(Project::none(), "shop").format(Format::Local).ignore_environment();
        logging.level(level).log_panics(true).output(move |line| {
            sink.lock().unwrap().push(serde_json::from_slice::<serde_json::Value>(line).unwrap());
        })
    };
    let take = || std::mem::take(&mut *lines.lock().unwrap());
    let other = Other::default();

    let wrong = logging("inof").install_with(other.clone());
    assert!(matches!(wrong, Err(LoggingError::Level { .. })));
    let handle = logging("info").install_with(other.clone()).unwrap();
    let again = logging("info").install_with(other.clone());
    assert!(matches!(again, Err(LoggingError::AlreadyInstalled)));

    // The levels of the lines are not those of the other layer.
    tracing::debug!("for the other layer");
    log::debug!("for the other layer");
    assert_eq!((take().len(), other.take()), (0, vec!["DEBUG".to_owned(); 2]));
    log::info!(user = 7; "with {}", "pairs");
    let written = take();
    assert_eq!((&written[0]["message"], &written[0]["user"]), (&"shop - with pairs".into(), &7.into()));

    handle.set_level(" debug ").unwrap();
    log::debug!("written");
    handle.set_level("warn").unwrap();
    log::info!("not written");
    assert!(handle.set_level("6").is_err());
    log::warn!("written");
    assert_eq!((take().len(), other.take().len()), (2, 4));

    let caught = std::panic::catch_unwind(|| panic!("on purpose"));
    assert!(caught.is_err());
    let written = take();
    assert_eq!((written.len(), &written[0]["message"]), (1, &"shop - panicked: on purpose".into()));
    let _ = std::panic::take_hook();
}
