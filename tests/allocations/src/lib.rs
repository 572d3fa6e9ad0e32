//! Time and allocations of a piece of work, for the tests that assert them and the benches that print them.
//!
//! Whoever uses this crate has its allocator: the system's, with a counter for each thread.
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

fn note() {
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

#[allow(unsafe_code, reason = "counting allocations takes an allocator, and that is an unsafe trait")]
// SAFETY: everything is handed to the system's allocator as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The allocations (and reallocations) of `work` on this thread.
pub fn count(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// What one run of a piece of work costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// The mean of all runs.
    pub allocations: f64,
    /// The mean of the quickest of many batches: on a busy machine only those are quick that nobody has interrupted.
    pub nanos: f64,
}

/// Runs `work` many times and tells what one run costs, once it is warm.
pub fn measure(mut work: impl FnMut()) -> Cost {
    const BATCHES: u32 = 1_000;
    const RUNS: u32 = 200;
    (0..RUNS).for_each(|_| work());
    let mut quickest = f64::INFINITY;
    let allocations = count(|| {
        for _ in 0..BATCHES {
            let start = Instant::now();
            (0..RUNS).for_each(|_| work());
            quickest = quickest.min(start.elapsed().as_nanos() as f64);
        }
    });
    Cost { allocations: allocations as f64 / f64::from(BATCHES * RUNS), nanos: quickest / f64::from(RUNS) }
}
