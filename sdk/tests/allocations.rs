//! What a line costs in allocations: nothing, once the buffers are warm.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::Instant;

use logtracer_sdk::prelude::*;
use logtracer_sdk::{Format, Logging, TraceContext, current_trace};
use tracing_subscriber::prelude::*;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// Counting allocations takes an allocator, and that is an unsafe trait.
#[allow(unsafe_code)]
// SAFETY: everything is handed to the system's allocator as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The allocations of many runs of `work`, once it is warm, and the time of one run in the quickest of many batches.
fn measure(mut work: impl FnMut()) -> (usize, f64) {
    const BATCHES: u32 = 50;
    const RUNS: u32 = 2_000;
    (0..RUNS).for_each(|_| work());
    let before = ALLOCATIONS.get();
    let quickest = (0..BATCHES)
        .map(|_| {
            let start = Instant::now();
            (0..RUNS).for_each(|_| work());
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    (ALLOCATIONS.get() - before, quickest.as_nanos() as f64 / f64::from(RUNS))
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

            let (allocations, nanos) = measure(event);
            println!("a line without a span: {nanos:.0} ns, {allocations} allocations");
            assert_eq!(allocations, 0);

            let span = tracing::info_span!(
                "request",
                method = "GET",
                route = "/basket/{id}",
                status = 200,
                bytes = 7
            );
            let (allocations, nanos) = span.in_scope(|| measure(event));
            println!("a line in a span with four fields: {nanos:.0} ns, {allocations} allocations");
            assert_eq!(allocations, 0);

            let (allocations, nanos) = measure(|| span.in_scope(|| {}));
            println!("entering a span: {nanos:.0} ns, {allocations} allocations");
            assert_eq!(allocations, 0);
        });

        let (allocations, nanos) = measure(|| tracing::debug!(user_id = 17, "not written"));
        println!("a line that is not written: {nanos:.1} ns, {allocations} allocations");
        assert_eq!(allocations, 0);
    });
}

#[test]
fn the_current_trace_costs_nothing() {
    TraceContext::new_root().run(|| {
        let (allocations, nanos) = measure(|| {
            black_box(current_trace());
        });
        println!("current_trace(): {nanos:.2} ns, {allocations} allocations");
        assert_eq!(allocations, 0);
    });
}
