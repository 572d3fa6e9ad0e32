//! Levels that change while fields are formatted.

use std::fmt;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logtracer_sdk::{Logging, LoggingHandle};
use tracing::Dispatch;
use tracing_subscriber::prelude::*;

const LEVELS: &str = "warn,[job{id=noisy}]=debug";

/// A value whose `Debug` logs while another thread sets the levels.
struct Noisy<'a>(&'a LoggingHandle, &'a Dispatch);

impl fmt::Debug for Noisy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (done, is_done) = channel();
        let (handle, dispatch) = (self.0.clone(), self.1.clone());
        std::thread::spawn(move || {
            tracing::dispatcher::with_default(&dispatch, || handle.set_level(LEVELS).unwrap());
            let _ = done.send(());
        });
        is_done.recv_timeout(Duration::from_secs(10)).expect("the levels wait for the value");
        tracing::warn!("in a value");
        f.write_str("noisy")
    }
}

/// The filter formats a field of a span that a directive names.
#[test]
fn levels_change_while_a_field_is_formatted() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let logging = Logging::new("p", "shop").level(LEVELS).ignore_environment().output(move |line| {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        sink.lock().unwrap().push(line["message"].as_str().unwrap().to_owned());
    });
    let (layer, handle) = logging.build().unwrap();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
    tracing::dispatcher::with_default(&dispatch, || {
        drop(tracing::info_span!("job", id = ?Noisy(&handle, &dispatch)));
        let span = tracing::info_span!("job", id = tracing::field::Empty);
        span.record("id", tracing::field::debug(Noisy(&handle, &dispatch)));
    });
    assert!(lines.lock().unwrap().iter().all(|line| line == "shop - in a value"));
    assert!(!lines.lock().unwrap().is_empty());
}
