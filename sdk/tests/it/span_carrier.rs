//! `tracing` spans carry the trace.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use logtracer_sdk::prelude::*;
use logtracer_sdk::{Format, TraceContext, carry_traces, current_trace};
use tracing::{Instrument, Level, instrument};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::prelude::*;

use crate::lines::Lines;

#[instrument(level = "info")]
async fn instrumented() -> Option<TraceContext> {
    tokio::task::yield_now().await;
    current_trace()
}

#[instrument(level = "debug")]
async fn instrumented_in_detail() -> Option<TraceContext> {
    current_trace()
}

/// Levels such as `RUST_LOG=warn` or `off` disable lines, not traces.
#[tokio::test]
async fn an_instrumented_task_keeps_its_trace_at_any_level() {
    for level in ["info", "warn", "off"] {
        let lines = Lines::default();
        let subscriber = lines.subscriber(Format::Local, level);
        let _default = tracing::subscriber::set_default(subscriber);
        let context = TraceContext::new_root();
        let task = context.run(|| tokio::spawn(instrumented()));
        // `#[instrument]` makes its span on the first poll, outside of the trace.
        assert_eq!(task.await.unwrap(), None, "{level}");
        // A span that is made where the task is spawned carries the trace.
        let task =
            context.run(|| tokio::spawn(async { current_trace() }.instrument(tracing::info_span!("task"))));
        assert_eq!(task.await.unwrap(), Some(context), "{level}");
        let task = context.run(|| tokio::spawn(instrumented().instrument(tracing::error_span!("task"))));
        assert_eq!(task.await.unwrap(), Some(context), "{level}");
        assert_eq!(current_trace(), None);
    }
}

/// A documented limit: a disabled span carries nothing. The trace of the request itself is not affected.
#[tokio::test]
async fn a_disabled_span_carries_nothing() {
    let lines = Lines::default();
    let _default = tracing::subscriber::set_default(lines.subscriber(Format::Local, "info"));
    let context = TraceContext::new_root();
    let task =
        context.run(|| tokio::spawn(async { current_trace() }.instrument(tracing::debug_span!("detail"))));
    assert_eq!(task.await.unwrap(), None);
    assert_eq!(instrumented_in_detail().in_trace(context).await, Some(context));
}

#[test]
fn a_span_carries_its_trace_to_another_thread() {
    let lines = Lines::default();
    let dispatch = tracing::Dispatch::new(lines.subscriber(Format::Local, "info"));
    tracing::dispatcher::with_default(&dispatch, || {
        let context = TraceContext::new_root();
        let span = context.run(|| tracing::info_span!("work", step = 2));
        let there = dispatch.clone();
        let thread = std::thread::spawn(move || {
            tracing::dispatcher::with_default(&there, || {
                span.in_scope(|| tracing::info!("over there"));
                current_trace()
            })
        });
        assert_eq!(thread.join().unwrap(), None);
        let line = &lines.json()[0];
        assert_eq!((&line["trace"], &line["step"]), (&context.trace_id.to_string().into(), &2.into()));
    });
}

/// `carry_traces` works beside another logging layer, which has its own filter.
#[test]
fn the_layer_works_alone() {
    let logged = Arc::new(AtomicUsize::new(0));
    let filtered = Counts(Arc::clone(&logged)).with_filter(LevelFilter::WARN);
    let subscriber = tracing_subscriber::registry().with(filtered).with(carry_traces());
    tracing::subscriber::with_default(subscriber, || {
        let (one, two) = (TraceContext::new_root(), TraceContext::new_root());
        let span_one = one.run(|| tracing::span!(Level::INFO, "one"));
        let span_two = two.run(|| tracing::span!(Level::INFO, "two"));
        let outside = tracing::span!(Level::INFO, "outside");

        // The innermost trace is current.
        span_one.in_scope(|| {
            assert_eq!(current_trace(), Some(one));
            span_two.in_scope(|| {
                assert_eq!(current_trace(), Some(two));
                one.run(|| assert_eq!(current_trace(), Some(one)));
                outside.in_scope(|| assert_eq!(current_trace(), Some(two)));
            });
            assert_eq!(current_trace(), Some(one));
        });
        assert_eq!(current_trace(), None);

        // Entered twice, exited in the wrong order.
        let first = span_one.enter();
        let again = span_one.enter();
        let second = span_two.enter();
        drop(first);
        assert_eq!(current_trace(), Some(two));
        drop(again);
        drop(second);
        assert_eq!(current_trace(), None);

        // The filter of the other layer still applies.
        tracing::info!("not logged");
        tracing::warn!("logged");
    });
    assert_eq!(logged.load(Ordering::Relaxed), 1);
}

/// Another logging layer.
struct Counts(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Counts {
    fn on_event(&self, _event: &tracing::Event<'_>, _ctx: Context<'_, S>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// An explicit parent determines the trace.
#[test]
fn an_explicit_parent_determines_the_trace() {
    let lines = Lines::default();
    let _default = tracing::subscriber::set_default(lines.subscriber(Format::Local, "info"));
    let (one, two) = (TraceContext::new_root(), TraceContext::new_root());
    let parent = one.run(|| tracing::info_span!("parent", user = "ada"));
    let below = two.run(|| {
        tracing::info!(parent: &parent, "explicit");
        tracing::info!(parent: None, "no parent");
        tracing::info_span!(parent: &parent, "below")
    });
    let detached = two.run(|| tracing::info_span!(parent: None, "detached"));
    assert_eq!(below.in_scope(current_trace), Some(one));
    assert_eq!(detached.in_scope(current_trace), None);
    let lines = lines.json();
    assert_eq!((&lines[0]["trace"], &lines[0]["user"]), (&one.trace_id.to_string().into(), &"ada".into()));
    assert_eq!((&lines[1]["trace"], lines[1].get("user")), (&two.trace_id.to_string().into(), None));
}
