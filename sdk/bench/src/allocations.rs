//! Time and allocations of a piece of work.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
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

// Short batches: on a busy machine only those are quick that nobody has interrupted.
const BATCHES: u32 = 1_000;
const RUNS: u32 = 200;

/// The allocations of one run of `work` once it is warm, and its nanoseconds in the quickest of many batches.
pub(crate) fn measure(mut work: impl FnMut()) -> (f64, f64) {
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
    let allocations = ALLOCATIONS.get() - before;
    (allocations as f64 / f64::from(BATCHES * RUNS), quickest.as_nanos() as f64 / f64::from(RUNS))
}
