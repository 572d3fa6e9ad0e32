//! Time and allocations of a closure, for tests and benches.
//!
//! A program with this crate uses its global allocator: the system's, with a counter for each thread.
//!
//! ```
//! use logtracer_allocations::count;
//!
//! assert_eq!(count(|| drop(Box::new(1))), 1);
//! assert_eq!(count(|| ()), 0);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn increment() {
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

#[allow(unsafe_code, reason = "counting allocations needs an allocator, which is an unsafe trait")]
// SAFETY: every call is forwarded to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        increment();
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        increment();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts the allocations and reallocations of `work` on this thread.
pub fn count(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// The cost of one run of a closure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Mean allocations of all runs.
    pub allocations: f64,
    /// Mean time of the fastest of many batches, which excludes interruptions by other processes.
    pub nanos: f64,
}

/// Runs `work` many times after a warm-up, and returns the cost of one run.
pub fn measure(mut work: impl FnMut()) -> Cost {
    const BATCHES: u32 = 1_000;
    const RUNS: u32 = 200;
    (0..RUNS).for_each(|_| work());
    let mut fastest = f64::INFINITY;
    let allocations = count(|| {
        for _ in 0..BATCHES {
            let start = Instant::now();
            (0..RUNS).for_each(|_| work());
            fastest = fastest.min(start.elapsed().as_nanos() as f64);
        }
    });
    Cost { allocations: allocations as f64 / f64::from(BATCHES * RUNS), nanos: fastest / f64::from(RUNS) }
}
