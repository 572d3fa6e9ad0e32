//! No trace leaks into another request, task or thread.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use logtracer_sdk::prelude::*;
use logtracer_sdk::{TraceContext, carry_traces, current_trace, spawn, spawn_blocking, trace_headers};
use tracing::Instrument;
use tracing_subscriber::prelude::*;

/// Yields often, and checks the current trace each time.
async fn keeps(context: TraceContext) {
    for _ in 0..50 {
        assert_eq!(current_trace(), Some(context));
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_tasks_keep_their_traces() {
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let context = TraceContext::new_root();
            tokio::spawn(
                async move {
                    keeps(context).await;
                    let child = context.child();
                    let nested = keeps(child).in_trace(child);
                    tokio::join!(nested, keeps(context));
                    spawn(keeps(context)).await.unwrap();
                    assert_eq!(spawn_blocking(current_trace).await.unwrap(), Some(context));
                    assert_eq!(tokio::spawn(async { current_trace() }).await.unwrap(), None);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    keeps(context).await;
                }
                .in_trace(context),
            )
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(current_trace(), None);
}

#[tokio::test]
async fn without_a_trace_nothing_becomes_current() {
    assert_eq!(async { current_trace() }.in_current_trace().await, None);
    assert_eq!(spawn(async { current_trace() }).await.unwrap(), None);
    // A future made outside of a trace runs in the trace in which it is polled.
    let context = TraceContext::new_root();
    let future = async { current_trace() }.in_current_trace();
    assert_eq!(future.in_trace(context).await, Some(context));
}

#[test]
fn a_future_is_dropped_in_its_trace() {
    struct ChecksOnDrop(TraceContext);
    impl Drop for ChecksOnDrop {
        fn drop(&mut self) {
            assert_eq!(current_trace(), Some(self.0));
        }
    }
    let context = TraceContext::new_root();
    let never = async move {
        let _checks = ChecksOnDrop(context);
        std::future::pending::<()>().await;
    };
    let mut task = Box::pin(never.in_trace(context));
    assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(task);
    assert_eq!(current_trace(), None);
}

#[tokio::test]
async fn a_task_that_panics_leaves_nothing_behind() {
    let task = tokio::spawn(async { panic!("on purpose") }.in_trace(TraceContext::new_root()));
    assert!(task.await.is_err());
    assert_eq!(current_trace(), None);
}

/// A guard held over an `.await` has no effect after the poll.
#[test]
fn a_guard_ends_with_the_poll() {
    let (outer, inner) = (TraceContext::new_root(), TraceContext::new_root());
    let mut task = pin!(
        async move {
            let _guard = inner.enter();
            tokio::task::yield_now().await;
        }
        .in_trace(outer)
    );
    let mut cx = Context::from_waker(Waker::noop());
    let _ = task.as_mut().poll(&mut cx);
    assert_eq!(current_trace(), None);
    let _ = task.as_mut().poll(&mut cx);
    assert_eq!(current_trace(), None);
}

/// Guards of two tasks on one thread do not affect each other.
#[test]
fn guards_of_two_tasks_are_independent() {
    let traces = [(); 2].map(|()| TraceContext::new_root());
    let mut tasks = traces.map(|trace| {
        let work = async move {
            let guard = trace.child().enter();
            tokio::task::yield_now().await;
            assert_eq!(current_trace(), Some(trace));
            drop(guard);
            assert_eq!(current_trace(), Some(trace));
            tokio::task::yield_now().await;
            assert_eq!(current_trace(), Some(trace));
        };
        Box::pin(work.in_trace(trace))
    });
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        for task in &mut tasks {
            let _ = task.as_mut().poll(&mut cx);
            assert_eq!(current_trace(), None);
        }
    }
}

#[test]
fn threads_do_not_share_a_trace() {
    let context = TraceContext::new_root();
    context.run(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(current_trace(), None));
            scope.spawn(|| context.run(|| assert_eq!(current_trace(), Some(context))));
        });
        assert_eq!(current_trace(), Some(context));
    });
}

/// A span that outlives its request does not change the trace of another request.
#[test]
fn a_span_does_not_change_the_trace_of_another_request() {
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(carry_traces()));
    let (a, b) = (TraceContext::new_root(), TraceContext::new_root());
    let span = a.run(|| tracing::info_span!("pool"));
    b.run(|| {
        span.in_scope(|| {
            assert_eq!(current_trace(), Some(b));
            // A span made there does not get it either.
            let below = tracing::info_span!("query");
            std::thread::spawn(move || below.in_scope(|| ())).join().unwrap();
            assert_eq!(trace_headers()["x-b3-traceid"], b.trace_id.to_string());
        });
        assert_eq!(current_trace(), Some(b));
    });
    let guarded = b.enter();
    span.in_scope(|| assert_eq!(current_trace(), Some(b)));
    drop(guarded);
    assert_eq!(current_trace(), None);

    // If no other trace is current, that of the span is; entering the span again within another trace does not end it.
    span.in_scope(|| {
        assert_eq!(current_trace(), Some(a));
        b.run(|| {
            span.in_scope(|| assert_eq!(current_trace(), Some(b)));
            assert_eq!(current_trace(), Some(b));
        });
        assert_eq!(current_trace(), Some(a));
    });
    assert_eq!(current_trace(), None);

    // A span that is still entered at the end of a poll is exited only by its own guard.
    let outer = span.enter();
    let mut still_entered = None;
    b.run(|| still_entered = Some(span.enter()));
    assert_eq!(current_trace(), Some(a));
    drop(still_entered);
    assert_eq!(current_trace(), Some(a));
    drop(outer);
    assert_eq!(current_trace(), None);
}

/// A task that is spawned with a span has the trace of the span.
#[tokio::test]
async fn instrumented_tasks_keep_their_traces() {
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(carry_traces()));
    let contexts = [(); 20].map(|()| TraceContext::new_root());
    let tasks = contexts.map(|context| {
        let span = context.run(|| tracing::info_span!("task"));
        context.child().run(|| tokio::spawn(keeps(context).instrument(span)))
    });
    for task in tasks {
        task.await.unwrap();
    }
}
