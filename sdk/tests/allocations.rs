//! The allocations of a log line: none, when the buffers are warm.

use std::hint::black_box;

use logtracer_allocations::measure;
use logtracer_sdk::prelude::*;
use logtracer_sdk::{Format, Logging, TraceContext, current_trace};
use tracing_subscriber::prelude::*;

#[track_caller]
fn check(what: &str, work: impl FnMut()) {
    assert_eq!(measure(work).allocations, 0.0, "{what}");
}

#[test]
fn a_line_allocates_nothing() {
    for format in [Format::Stackdriver, Format::Local] {
        check_lines(format);
    }
}

fn check_lines(format: Format) {
    let logging = Logging::new("my-project", "shop").format(format).level("info").ignore_environment();
    let logging = logging.output(|line| {
        black_box(line);
    });
    let subscriber = tracing_subscriber::registry().with(logging.layer().unwrap());
    tracing::subscriber::with_default(subscriber, || {
        TraceContext::new_root().run(|| {
            let path = String::from("/basket/17");
            let event = || tracing::info!(user_id = 17, path = %path, cached = true, "request handled");
            check("a line without a span", event);
            let span = tracing::info_span!(
                "request",
                method = "GET",
                route = "/basket/{id}",
                status = 200,
                bytes = 7
            );
            span.in_scope(|| check("a line in a span with four fields", event));
            check("entering a span", || span.in_scope(|| {}));
            let labelled = tracing::info_span!("job", labels.team = "data");
            labelled.in_scope(|| {
                check("a line with labels", || tracing::info!(labels.step = 3, "step done"));
            });
            check("a line with an `httpRequest`", || {
                tracing::info!(
                    http_request.request_method = "GET",
                    http_request.request_url = path,
                    http_request.status = 200,
                    http_request.response_size = 5,
                    http_request.latency = 0.25,
                    "fetched",
                );
            });
            check("a line with `logtracer.severity`", || {
                tracing::info!(logtracer.severity = "NOTICE", error = %std::fmt::Error, "noted");
            });
        });
        check("a disabled line", || tracing::debug!(user_id = 17, "not written"));
    });
}

/// A record without key-values. Key-values are copied.
#[test]
fn a_record_of_log_allocates_nothing() {
    let logging = Logging::new("my-project", "shop").level("info").ignore_environment().output(|line| {
        black_box(line);
    });
    let _handle = logging.install().unwrap();
    TraceContext::new_root().run(|| {
        check("a record of `log`", || log::info!("{} rows", 42));
        check("a disabled record", || log::debug!("{} rows", 42));
        assert!(
            measure(|| log::info!(rows = 42; "counted")).allocations > 0.0,
            "update the documents: key-values are not copied"
        );
    });
}

#[test]
fn the_current_trace_allocates_nothing() {
    TraceContext::new_root().run(|| {
        check("current_trace()", || {
            black_box(current_trace());
        });
    });
}
