//! No trace leaks into another request, task or thread.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use logtracer_sdk::prelude::*;
use logtracer_sdk::{TraceContext, carry_traces, current_trace, spawn, spawn_blocking, trace_headers};
use tracing::Instrument;
use tracing_subscriber::prelude::*;

/// Yields often, and sees the same trace each time.
async fn keeps(context: TraceContext) {
    for _ in 0..50 {
        assert_eq!(current_trace(), Some(context));
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_tasks_on_several_threads() {
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
async fn without_a_trace_nothing_is_bound() {
    assert_eq!(async { current_trace() }.in_current_trace().await, None);
    assert_eq!(spawn(async { current_trace() }).await.unwrap(), None);
    // A future that was made outside of a trace runs in that of whoever polls it.
    let context = TraceContext::new_root();
    let future = async { current_trace() }.in_current_trace();
    assert_eq!(future.in_trace(context).await, Some(context));
}

#[test]
fn a_future_is_dropped_in_its_trace() {
    struct Sees(TraceContext);
    impl Drop for Sees {
        fn drop(&mut self) {
            assert_eq!(current_trace(), Some(self.0));
        }
    }
    let context = TraceContext::new_root();
    let never = async move {
        let _sees = Sees(context);
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

/// A guard that is held over an await does not reach beyond the poll of its own task.
#[test]
fn a_guard_stays_within_the_poll() {
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

/// Nor does it reach another task of the same thread that holds one of its own.
#[test]
fn guards_of_two_tasks_on_one_thread() {
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
fn threads_have_their_own() {
    let context = TraceContext::new_root();
    context.run(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(current_trace(), None));
            scope.spawn(|| context.run(|| assert_eq!(current_trace(), Some(context))));
        });
        assert_eq!(current_trace(), Some(context));
    });
}

/// A span that was made in one request, and lives on, takes its trace into no other one.
#[test]
fn a_span_of_one_request_in_another() {
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(carry_traces()));
    let (a, b) = (TraceContext::new_root(), TraceContext::new_root());
    let span = a.run(|| tracing::info_span!("pool"));
    b.run(|| {
        span.in_scope(|| {
            assert_eq!(current_trace(), Some(b));
            // Nor into what is made there.
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

    // Where nothing else is current it decides, and the one within does not end it.
    span.in_scope(|| {
        assert_eq!(current_trace(), Some(a));
        b.run(|| {
            span.in_scope(|| assert_eq!(current_trace(), Some(b)));
            assert_eq!(current_trace(), Some(b));
        });
        assert_eq!(current_trace(), Some(a));
    });
    assert_eq!(current_trace(), None);

    // A span that is left open at the end of a poll is ended by its own guard only.
    let outer = span.enter();
    let mut left_open = None;
    b.run(|| left_open = Some(span.enter()));
    assert_eq!(current_trace(), Some(a));
    drop(left_open);
    assert_eq!(current_trace(), Some(a));
    drop(outer);
    assert_eq!(current_trace(), None);
}

/// A task that was spawned with a span has the trace of the span, in whatever else its thread polls.
#[tokio::test]
async fn spawned_tasks_with_spans() {
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
