//! What `.layer()` and `.build()` give: panics and records of `log`, in a separate process.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use logtracer_sdk::{Format, Logging, LoggingError, Project};
use tracing_subscriber::prelude::*;

#[test]
fn a_layer_logs_panics_and_records() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let take = || std::mem::take(&mut *lines.lock().unwrap());
    let logging = Logging::new(Project::none(), "shop").format(Format::Local).ignore_environment();
    let logging = logging.log_panics(true).output(move |line| {
        sink.lock().unwrap().push(serde_json::from_slice::<serde_json::Value>(line).unwrap());
    });
    let (layer, handle) = logging.build().unwrap();
    let panics = || std::panic::catch_unwind(|| panic!("on purpose")).is_err();

    // The layer is in no subscriber yet.
    let of_another_crate = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&of_another_crate);
    std::panic::set_hook(Box::new(move |_| _ = count.fetch_add(1, Ordering::Relaxed)));
    assert!(panics());
    assert_eq!(take(), [] as [serde_json::Value; 0]);

    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
    assert!(panics());
    let written = take();
    assert_eq!((written.len(), &written[0]["message"]), (1, &"shop - panicked: on purpose".into()));
    assert_eq!(of_another_crate.load(Ordering::Relaxed), 2);

    // Of two layers, the newer one writes the line.
    let (logging, newer) = (Logging::new(Project::none(), "newer"), Arc::new(Mutex::new(Vec::new())));
    let sink = Arc::clone(&newer);
    let logging = logging.ignore_environment().log_panics(true).output(move |line| {
        sink.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
    });
    let second = tracing_subscriber::registry().with(logging.layer().unwrap());
    tracing::subscriber::with_default(second, || assert!(panics()));
    assert_eq!((take().len(), newer.lock().unwrap().len()), (0, 1));
    assert_eq!(of_another_crate.load(Ordering::Relaxed), 3);
    let _ = std::panic::take_hook();

    log::info!("not forwarded");
    assert_eq!(take().len(), 0);
    handle.forward_log().unwrap();
    assert!(matches!(handle.forward_log(), Err(LoggingError::AlreadyInstalled)));
    log::info!(user = 7; "forwarded");
    handle.set_level("debug").unwrap();
    log::debug!("forwarded, too");
    let written = take();
    assert_eq!((written.len(), &written[0]["user"]), (2, &7.into()));
}
