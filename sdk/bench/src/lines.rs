//! One JSON line for the same event in the same span, by each crate, to a writer that discards it.

use std::hint::black_box;
#[cfg(feature = "peers")]
use std::io;

use logtracer_allocations::measure;
use logtracer_sdk::prelude::*;
use logtracer_sdk::{Format, Logging, TraceContext};
use tracing::Subscriber;
use tracing_subscriber::prelude::*;

use crate::report;

/// A writer that discards the bytes.
#[cfg(feature = "peers")]
struct Discard;

#[cfg(feature = "peers")]
impl io::Write for Discard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        black_box(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn run() {
    let logging = Logging::new("my-project", "shop")
        .format(Format::Stackdriver)
        .level("info")
        .ignore_environment()
        .output(|line| {
            black_box(line);
        });
    if let Ok(layer) = logging.layer() {
        TraceContext::new_root().run(|| compare("logtracer-sdk", tracing_subscriber::registry().with(layer)));
    }
    #[cfg(feature = "peers")]
    {
        let level = tracing_subscriber::filter::LevelFilter::INFO;
        let json = tracing_subscriber::fmt::layer().json().with_writer(|| Discard).with_filter(level);
        compare("tracing-subscriber json", tracing_subscriber::registry().with(json));
        let flat = json_subscriber::layer().with_writer(|| Discard).with_filter(level);
        compare("json-subscriber", tracing_subscriber::registry().with(flat));
        let stackdriver = tracing_stackdriver::layer().with_writer(|| Discard).with_filter(level);
        compare("tracing-stackdriver", tracing_subscriber::registry().with(stackdriver));
    }
}

fn compare(who: &str, subscriber: impl Subscriber + Send + Sync) {
    tracing::subscriber::with_default(subscriber, || {
        let path = String::from("/basket/17");
        let event = || tracing::info!(user_id = 17, path = %path, cached = true, "request handled");
        report(&format!("{who}: a line without a span"), measure(event));
        let span =
            tracing::info_span!("request", method = "GET", route = "/basket/{id}", status = 200, bytes = 7);
        report(&format!("{who}: a line in a span with four fields"), span.in_scope(|| measure(event)));
        report(&format!("{who}: a disabled line"), measure(|| tracing::debug!(user_id = 17, "no")));
    });
}
