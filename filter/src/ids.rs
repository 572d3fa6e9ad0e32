//! New ids from Envoy's random generator.

use core::cell::{Cell, RefCell};

use logtracer_core::{SpanId, TraceId};

use crate::host;

/// A new trace id; [`logtracer_core::sampling`] needs its low 56 bits to be random.
pub(crate) fn trace_id() -> TraceId {
    draw(|| TraceId::from_bytes(bytes()))
}

/// A new span id.
pub(crate) fn span_id() -> SpanId {
    draw(|| SpanId::from_bytes(bytes()))
}

/// Draws until the id is not zero, which one in 2^64 is.
fn draw<T>(id: impl Fn() -> Option<T>) -> T {
    loop {
        if let Some(id) = id() {
            return id;
        }
    }
}

/// Random bytes of Envoy's generator, which cost a call for each 512 of them; from the clock and a counter where the
/// host has none, so that there is always an id.
fn bytes<const N: usize>() -> [u8; N] {
    thread_local! {
        static POOL: RefCell<Pool> = const { RefCell::new(Pool::EMPTY) };
    }
    POOL.with(|pool| pool.try_borrow_mut().ok()?.take()).unwrap_or_else(from_clock)
}

/// Random bytes that no id was made of yet.
struct Pool {
    bytes: [u8; Self::SIZE],
    /// How many of them are used up.
    used: usize,
}

impl Pool {
    const SIZE: usize = 512;
    const EMPTY: Self = Self { bytes: [0; Self::SIZE], used: Self::SIZE };

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.used + N > Self::SIZE {
            self.bytes = host::random()?;
            self.used = 0;
        }
        let taken = self.bytes.get(self.used..self.used + N)?.try_into().ok()?;
        self.used += N;
        Some(taken)
    }
}

fn from_clock<const N: usize>() -> [u8; N] {
    thread_local! {
        static COUNTER: Cell<u64> = const { Cell::new(0) };
    }
    let mut state = host::now_unix_nanos() ^ COUNTER.get();
    let mut bytes = [0; N];
    for byte in &mut bytes {
        // SplitMix64: a step of a Weyl sequence, then mixed.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        *byte = (mixed >> 56) as u8;
    }
    COUNTER.set(state);
    bytes
}
