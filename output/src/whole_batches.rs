//! [`WholeBatches`]: writes batches of lines whole, also to a writer that takes a part of one or none.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;

use crate::whole_lines::is_closed;

/// Writes batches of lines so that no line is cut, for example by a full disk: the rest of a line that the writer took in
/// part is written before the next one.
///
/// [`WouldBlock`](ErrorKind::WouldBlock) (`O_NONBLOCK` and a full pipe) is retried without end; after any other error, the
/// lines of the batch that the writer has not begun are dropped. If its other end is closed, the rest is dropped as well.
///
/// ```
/// use std::time::Duration;
///
/// use logtracer_output::WholeBatches;
///
/// let mut written = Vec::new();
/// let mut batches = WholeBatches::new(Duration::from_millis(100));
/// assert_eq!(batches.write(&mut written, b"one\ntwo\n"), 0);
/// assert_eq!(written, b"one\ntwo\n");
/// ```
#[derive(Debug)]
pub struct WholeBatches {
    /// What is missing of the last line.
    rest: Vec<u8>,
    pause: Duration,
}

impl WholeBatches {
    /// Creates the state of a writer that has no line yet. `pause` is the time between two attempts to write to a writer
    /// that would block.
    pub const fn new(pause: Duration) -> Self {
        Self { rest: Vec::new(), pause }
    }

    /// Writes lines, each with its line break. Returns the number of those that are dropped.
    pub fn write(&mut self, out: &mut impl Write, lines: &[u8]) -> usize {
        let (written, is_closed) = push(out, &self.rest, self.pause);
        self.rest.drain(..written);
        if !self.rest.is_empty() {
            return count(lines) + self.drop_rest(is_closed);
        }
        let (written, is_closed) = push(out, lines, self.pause);
        let (done, unwritten) = lines.split_at_checked(written).unwrap_or((lines, &[]));
        let is_cut = done.last().is_some_and(|byte| *byte != b'\n');
        let end = unwritten.iter().position(|byte| *byte == b'\n').filter(|_| is_cut);
        let (rest, dropped) = unwritten.split_at(end.map_or(0, |end| end + 1));
        self.rest.extend_from_slice(rest);
        count(dropped) + self.drop_rest(is_closed)
    }

    /// Drops the rest of a line if nobody reads it any more. Returns the number of dropped lines.
    fn drop_rest(&mut self, is_closed: bool) -> usize {
        let is_dropped = is_closed && !self.rest.is_empty();
        if is_dropped {
            self.rest.clear();
        }
        usize::from(is_dropped)
    }
}

/// Writes until an error that does not pass, such as a full disk. Returns the number of bytes written, and whether the
/// other end is closed.
fn push(out: &mut impl Write, bytes: &[u8], pause: Duration) -> (usize, bool) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match out.write(rest) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another program has made the descriptor non-blocking, and nobody reads.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(pause),
            Err(error) => return (written, is_closed(&error)),
        }
    }
    (written, false)
}

fn count(lines: &[u8]) -> usize {
    lines.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Takes so many bytes in all, and fails then.
    struct Disk {
        written: String,
        free: usize,
        error: ErrorKind,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.free);
            if taken == 0 {
                return Err(self.error.into());
            }
            self.free -= taken;
            self.written += std::str::from_utf8(&bytes[..taken]).unwrap();
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_cuts_no_line() {
        for (free, dropped, written) in [
            (0, [2, 2], "e\n"),
            (1, [1, 2], "aaa\ne\n"),
            (3, [1, 2], "aaa\ne\n"),
            (4, [1, 2], "aaa\ne\n"),
            (6, [0, 2], "aaa\nbbb\ne\n"),
            (10, [0, 1], "aaa\nbbb\ncc\ne\n"),
            (99, [0, 0], "aaa\nbbb\ncc\nd\ne\n"),
        ] {
            let mut disk = Disk { written: String::new(), free, error: ErrorKind::StorageFull };
            let mut batches = WholeBatches::new(Duration::ZERO);
            let first = [batches.write(&mut disk, b"aaa\nbbb\n"), batches.write(&mut disk, b"cc\nd\n")];
            disk.free = 99;
            assert_eq!((first, batches.write(&mut disk, b"e\n")), (dropped, 0), "{free}");
            assert_eq!(disk.written, written, "{free}");
        }
    }

    /// Every line that nobody reads is counted.
    #[test]
    fn a_closed_pipe_drops_the_rest_of_a_line() {
        let mut pipe = Disk { written: String::new(), free: 2, error: ErrorKind::BrokenPipe };
        let mut batches = WholeBatches::new(Duration::ZERO);
        assert_eq!(batches.write(&mut pipe, b"aaa\nbbb\n"), 2);
        assert_eq!(batches.write(&mut pipe, b"cc\n"), 1);
        pipe = Disk { free: 5, error: ErrorKind::StorageFull, ..pipe };
        assert_eq!(batches.write(&mut pipe, b"dd\neee\n"), 0);
        pipe.error = ErrorKind::BrokenPipe;
        assert_eq!(batches.write(&mut pipe, b"f\ng\n"), 3);
        assert_eq!(pipe.written, "aadd\nee");
    }
}
