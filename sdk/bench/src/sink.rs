//! Where all crates write their lines: a sink that counts them.

use std::cell::Cell;
use std::hint::black_box;
#[cfg(feature = "peers")]
use std::io;

/// Lines and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
}

thread_local! {
    static WRITTEN: Cell<Written> = const { Cell::new(Written { lines: 0, bytes: 0 }) };
}

/// Counts what was written; a line ends with a line break.
pub(crate) fn write(bytes: &[u8]) {
    black_box(bytes);
    let Written { lines, bytes: total } = WRITTEN.get();
    WRITTEN
        .set(Written { lines: lines + u64::from(bytes.ends_with(b"\n")), bytes: total + bytes.len() as u64 });
}

/// Returns what this thread has written since the last call.
pub(crate) fn take() -> Written {
    WRITTEN.take()
}

/// The sink for crates that write to an [`io::Write`].
#[cfg(feature = "peers")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sink;

#[cfg(feature = "peers")]
impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
