//! New ids from the random generator of the host.

use core::cell::{Cell, RefCell};

use logtracer_core::{SpanId, TraceId};

use crate::host::Host;

/// Returns a new trace id. Its low 56 bits are random, as [`logtracer_core::sampling`] requires.
pub(crate) fn trace_id(host: &impl Host) -> TraceId {
    draw(|| TraceId::from_bytes(bytes(host)))
}

/// Returns a new span id.
pub(crate) fn span_id(host: &impl Host) -> SpanId {
    draw(|| SpanId::from_bytes(bytes(host)))
}

/// Draws again while the id is zero, which is the case at most once in 2^64 draws.
fn draw<T>(id: impl Fn() -> Option<T>) -> T {
    loop {
        if let Some(id) = id() {
            return id;
        }
    }
}

/// Returns random bytes of the host's generator, which needs one host call for 512 of them. If the generator is
/// unavailable, the bytes come from the clock and a counter, because every request needs an id.
fn bytes<const N: usize>(host: &impl Host) -> [u8; N] {
    thread_local! {
        static POOL: RefCell<Pool> = const { RefCell::new(Pool::EMPTY) };
    }
    POOL.with(|pool| pool.try_borrow_mut().ok()?.take(host)).unwrap_or_else(|| from_clock(host))
}

/// Random bytes for the next ids.
struct Pool {
    bytes: [u8; Self::SIZE],
    /// The number of bytes that are used up.
    used: usize,
}

impl Pool {
    const SIZE: usize = 512;
    const EMPTY: Self = Self { bytes: [0; Self::SIZE], used: Self::SIZE };

    fn take<const N: usize>(&mut self, host: &impl Host) -> Option<[u8; N]> {
        if self.used + N > Self::SIZE {
            self.bytes = host.random()?;
            self.used = 0;
        }
        let taken = self.bytes.get(self.used..self.used + N)?.try_into().ok()?;
        self.used += N;
        Some(taken)
    }
}

/// Returns different bytes in each call, even if the clock has not advanced.
fn from_clock<const N: usize>(host: &impl Host) -> [u8; N] {
    thread_local! {
        static COUNTER: Cell<u64> = const { Cell::new(0) };
    }
    let mut state = host.unix_nanos() ^ COUNTER.get();
    let mut bytes = [0; N];
    for byte in &mut bytes {
        // SplitMix64: one step of a Weyl sequence, then mixed.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        *byte = (mixed >> 56) as u8;
    }
    COUNTER.set(state);
    bytes
}
