//! Log lines that tests collect instead of stdout.

use std::sync::{Arc, Mutex};

use logtracer_sdk::{Format, Logging};
use tracing_subscriber::prelude::*;

/// The lines of a logging.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Returns a subscriber with these levels that writes to this.
    pub(crate) fn subscriber(
        &self,
        format: Format,
        level: &str,
    ) -> impl tracing::Subscriber + Send + Sync + use<> {
        let lines = self.clone();
        let logging =
            Logging::new("my-project", "shop").format(format).level(level).ignore_environment().output(
                move |line| {
                    assert!(line.ends_with(b"\n"));
                    lines.0.lock().unwrap().extend_from_slice(line);
                },
            );
        tracing_subscriber::registry().with(logging.layer().unwrap())
    }

    /// Returns the text so far, with times masked.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let mut masked = String::new();
        for line in text.lines() {
            let (before, after) = line.split_once("\"time\":\"").expect("every line has a time");
            let (time, after) = after.split_at(30);
            assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
            masked += &format!("{before}\"time\":\"TIME{after}\n");
        }
        masked
    }

    /// Returns the lines so far, parsed as JSON.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let bytes = self.0.lock().unwrap().clone();
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }
}
