//! What a line costs in allocations: nothing, once the buffers are warm.

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
fn nothing_is_allocated_for_a_line() {
    let logging =
        Logging::new("my-project", "shop").format(Format::Stackdriver).level("info").output(|line| {
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
        });
        check("a line that is not written", || tracing::debug!(user_id = 17, "not written"));
    });
}

#[test]
fn the_current_trace_costs_nothing() {
    TraceContext::new_root().run(|| {
        check("current_trace()", || {
            black_box(current_trace());
        });
    });
}
