//! Time, allocations and memory of a closure, for tests and benches.
//!
//! A program with this crate uses its global allocator: the system's, with counters for each thread.
//!
//! ```
//! use logtracer_allocations::{count, peak_bytes};
//!
//! assert_eq!(count(|| drop(Box::new(1))), 1);
//! assert_eq!(count(|| ()), 0);
//! assert_eq!(peak_bytes(|| drop((vec![0u8; 10], vec![0u8; 5]))), ((), 15));
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// The allocated bytes. A thread can free what another one has allocated.
    static BYTES: Cell<isize> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<isize> = const { Cell::new(0) };
}

fn increment() {
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

/// Records bytes that are allocated, before `freed` bytes are.
fn record(allocated: usize, freed: usize) {
    let _ = BYTES.try_with(|bytes| {
        let most = bytes.get().saturating_add_unsigned(allocated);
        bytes.set(most.saturating_sub_unsigned(freed));
        let _ = PEAK_BYTES.try_with(|peak| peak.set(peak.get().max(most)));
    });
}

#[allow(unsafe_code, reason = "counting allocations needs an allocator, which is an unsafe trait")]
// SAFETY: every call is forwarded to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        increment();
        record(layout.size(), 0);
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        record(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        increment();
        // Growing can copy; shrinking does not.
        if size > layout.size() {
            record(size, layout.size());
        } else {
            record(0, layout.size() - size);
        }
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

/// Returns the result of `work`, and the maximum number of bytes that it had allocated at a time on this thread.
///
/// A block that grows counts twice, because it may be copied.
pub fn peak_bytes<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = BYTES.get();
    PEAK_BYTES.set(before);
    let result = work();
    (result, usize::try_from(PEAK_BYTES.get() - before).unwrap_or(0))
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
pub fn measure(work: impl FnMut()) -> Cost {
    measure_batches(1_000, work)
}

/// Does what [`measure`] does, in this number of batches of 200 runs each.
pub fn measure_batches(batches: u32, mut work: impl FnMut()) -> Cost {
    const RUNS: u32 = 200;
    (0..RUNS).for_each(|_| work());
    let mut fastest = f64::INFINITY;
    let allocations = count(|| {
        for _ in 0..batches {
            let start = Instant::now();
            (0..RUNS).for_each(|_| work());
            fastest = fastest.min(start.elapsed().as_nanos() as f64);
        }
    });
    Cost {
        allocations: allocations as f64 / (f64::from(batches) * f64::from(RUNS)),
        nanos: fastest / f64::from(RUNS),
    }
}
