//! [`WholeLines`]: writes lines whole, also to a writer that takes a part of one or none.

use std::fmt;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

/// How long a line waits for a writer that accepts nothing.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// The first pause between two attempts. Each further one is twice as long.
const SHORTEST_PAUSE: Duration = Duration::from_micros(100);

const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// Writes lines so that none is cut: a line that the writer took in part is completed before the next one.
///
/// - A short write continues where it stopped.
/// - [`WouldBlock`](io::ErrorKind::WouldBlock) (`O_NONBLOCK` and a full pipe) is retried for at most a second without
///   progress. The next lines do not wait until the writer accepts something again.
/// - If the writer took nothing of a line, the line is dropped and the error returned.
/// - If it took a part, the rest is kept and written first next time. It is at most one line.
/// - If the other end is closed, the rest is dropped as well: its line has no reader.
///
/// ```
/// use std::io::{self, Write};
/// use logtracer_output::WholeLines;
///
/// /// Takes three bytes at a time.
/// struct Slow(Vec<u8>);
///
/// impl Write for Slow {
///     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
///         let taken = bytes.len().min(3);
///         self.0.extend_from_slice(&bytes[..taken]);
///         Ok(taken)
///     }
///     fn flush(&mut self) -> io::Result<()> {
///         Ok(())
///     }
/// }
///
/// let mut slow = Slow(Vec::new());
/// let mut lines = WholeLines::new();
/// lines.write_line(&mut slow, b"one line\n")?;
/// assert_eq!(slow.0, b"one line\n");
/// # Ok::<(), logtracer_output::WriteError>(())
/// ```
#[derive(Debug, Default)]
pub struct WholeLines {
    /// What is missing of the last line.
    rest: Vec<u8>,
    /// True if the last attempt timed out.
    is_blocked: bool,
}

impl WholeLines {
    /// Creates the state of a writer that has no line yet.
    pub const fn new() -> Self {
        Self { rest: Vec::new(), is_blocked: false }
    }

    /// Writes a line, after the rest of the one before.
    ///
    /// # Errors
    ///
    /// If the line is dropped. The writer has nothing of it, unless its other end is closed.
    pub fn write_line(&mut self, out: &mut impl Write, line: &[u8]) -> Result<(), WriteError> {
        let mut patience = Patience::new(if self.is_blocked { Duration::ZERO } else { MAX_WAIT });
        self.write_rest(out, &mut patience).map_err(|error| error.and_lines(1))?;
        let (written, result) = push(out, line, &mut patience);
        self.is_blocked = result.as_ref().is_err_and(is_would_block);
        match result {
            Err(error) if written > 0 && !is_closed(&error) => {
                self.rest.extend_from_slice(line.get(written..).unwrap_or_default());
                Ok(())
            }
            result => result.map_err(WriteError::from),
        }
    }

    /// Writes the rest of a line, for at most `timeout`.
    ///
    /// # Errors
    ///
    /// If the rest is dropped, or if some of it remains; then no line is dropped.
    pub fn flush(&mut self, out: &mut impl Write, timeout: Duration) -> Result<(), WriteError> {
        self.write_rest(out, &mut Patience::new(timeout))
    }

    fn write_rest(&mut self, out: &mut impl Write, patience: &mut Patience) -> Result<(), WriteError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let (written, result) = push(out, &self.rest, patience);
        self.rest.drain(..written);
        let Err(error) = result else {
            // A line can be long, and most are not.
            self.rest = Vec::new();
            return Ok(());
        };
        self.is_blocked = is_would_block(&error);
        let dropped_lines = u64::from(is_closed(&error));
        if dropped_lines > 0 {
            self.rest = Vec::new();
        }
        Err(WriteError { error, dropped_lines })
    }
}

/// Writes bytes as far as possible; returns how many were written.
fn push(out: &mut impl Write, bytes: &[u8], patience: &mut Patience) -> (usize, io::Result<()>) {
    let mut rest = bytes;
    let result = loop {
        if rest.is_empty() {
            break Ok(());
        }
        match out.write(rest) {
            Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                rest = rest.get(written..).unwrap_or_default();
                patience.restart();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_would_block(&error) && patience.pause() => {}
            Err(error) => break Err(error),
        }
    };
    (bytes.len() - rest.len(), result)
}

fn is_would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Returns true if nobody reads what was written before.
pub(crate) fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}

/// Waits for a writer, up to a limit without progress.
struct Patience {
    limit: Duration,
    since: Option<Instant>,
    pause: Duration,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self { limit, since: None, pause: SHORTEST_PAUSE }
    }

    fn restart(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Sleeps; returns false at once if the limit is exceeded.
    fn pause(&mut self) -> bool {
        if self.since.get_or_insert_with(Instant::now).elapsed() >= self.limit {
            return false;
        }
        thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

/// The error of a line that is dropped.
///
/// ```
/// use std::io;
/// use logtracer_output::WriteError;
///
/// let error = WriteError::from(io::Error::from(io::ErrorKind::BrokenPipe));
/// assert_eq!((error.dropped_lines, error.to_string()), (1, "broken pipe".into()));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct WriteError {
    /// Why.
    pub error: io::Error,
    /// The number of dropped lines: more than one if the rest of the line before is dropped, too.
    pub dropped_lines: u64,
}

impl WriteError {
    fn and_lines(self, lines: u64) -> Self {
        Self { dropped_lines: self.dropped_lines + lines, ..self }
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self { error, dropped_lines: 1 }
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        error.error
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A writer that takes so many bytes, or fails so.
    #[derive(Default)]
    struct Script {
        steps: VecDeque<Result<usize, io::ErrorKind>>,
        /// What it does after the steps.
        then: Option<io::ErrorKind>,
        written: String,
        calls: usize,
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            let step = self.steps.pop_front().unwrap_or(match self.then {
                Some(kind) => Err(kind),
                None => Ok(usize::MAX),
            });
            let taken = step.map(|taken| taken.min(bytes.len()))?;
            self.written += std::str::from_utf8(&bytes[..taken]).unwrap();
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Writes the lines `a…` and `b…`, with these results of single writes, and returns the dropped lines of each.
    #[track_caller]
    fn check(steps: &[Result<usize, io::ErrorKind>], expected: ([u64; 2], &str)) {
        let mut script = Script { steps: steps.iter().copied().collect(), ..Script::default() };
        let mut lines = WholeLines::new();
        let dropped = [&b"aaaa\n"[..], b"bbbb\n"]
            .map(|line| lines.write_line(&mut script, line).map_or_else(|error| error.dropped_lines, |()| 0));
        assert_eq!((dropped, script.written.as_str()), expected, "{steps:?}");
    }

    #[test]
    fn lines_stay_whole() {
        use io::ErrorKind::{BrokenPipe, Interrupted, StorageFull, WouldBlock};

        check(&[], ([0, 0], "aaaa\nbbbb\n"));
        check(&[Ok(1), Ok(2), Err(Interrupted), Ok(1)], ([0, 0], "aaaa\nbbbb\n"));
        check(&[Err(WouldBlock), Ok(2), Err(WouldBlock)], ([0, 0], "aaaa\nbbbb\n"));
        // Nothing of the line was taken: it is dropped.
        check(&[Err(StorageFull)], ([1, 0], "bbbb\n"));
        check(&[Ok(0)], ([1, 0], "bbbb\n"));
        check(&[Err(BrokenPipe), Err(BrokenPipe)], ([1, 1], ""));
        // A part was taken: the rest follows before the next line.
        check(&[Ok(2), Err(StorageFull)], ([0, 0], "aaaa\nbbbb\n"));
        check(&[Ok(2), Err(StorageFull), Ok(1), Err(StorageFull)], ([0, 1], "aaa"));
        // The reader is gone, and what it had of the line, too.
        check(&[Ok(2), Err(BrokenPipe)], ([1, 0], "aabbbb\n"));
        check(&[Ok(2), Err(StorageFull), Err(BrokenPipe)], ([0, 2], "aa"));
    }

    /// The reader goes before a flush: the line that it had in part is dropped, and the error counts it.
    #[test]
    fn a_flush_reports_a_dropped_line() {
        use io::ErrorKind::{BrokenPipe, StorageFull};

        let mut script = Script { steps: VecDeque::from([Ok(2), Err(StorageFull)]), ..Script::default() };
        let mut lines = WholeLines::new();
        assert!(lines.write_line(&mut script, b"aaaa\n").is_ok());
        script.then = Some(BrokenPipe);
        assert_eq!(lines.flush(&mut script, Duration::ZERO).unwrap_err().dropped_lines, 1);
        assert!(lines.flush(&mut script, Duration::ZERO).is_ok());
    }

    #[test]
    fn a_blocked_writer_delays_one_line() {
        let mut script = Script { then: Some(io::ErrorKind::WouldBlock), ..Script::default() };
        let mut lines = WholeLines::new();
        let start = Instant::now();
        assert!(lines.write_line(&mut script, b"waits\n").is_err());
        assert!(start.elapsed() >= MAX_WAIT);
        let calls = script.calls;
        (0..100).for_each(|_| assert!(lines.write_line(&mut script, b"does not\n").is_err()));
        assert_eq!(script.calls, calls + 100);

        // It takes a part and blocks again. Then it takes the rest, at the latest at a flush.
        script.steps = VecDeque::from([Ok(4)]);
        assert!(lines.write_line(&mut script, b"the first\n").is_ok());
        assert_eq!(lines.flush(&mut script, Duration::ZERO).unwrap_err().dropped_lines, 0);
        script.then = None;
        assert!(lines.flush(&mut script, Duration::ZERO).is_ok());
        assert_eq!(script.written, "the first\n");
    }
}
