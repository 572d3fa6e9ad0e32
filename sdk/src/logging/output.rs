//! [`Output`]: where lines go.

use std::fmt;
use std::io::Write as _;

type Write = dyn Fn(&[u8]) + Send + Sync;

/// Takes one whole line, with its line break, at a time.
pub(super) struct Output(Box<Write>);

impl Output {
    pub(super) fn new(write: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self(Box::new(write))
    }

    /// One `write` for a line, so that lines of several processes on one pipe stay whole.
    pub(super) fn stdout() -> Self {
        Self::new(|line| {
            // There is nowhere to tell that stdout is gone, and logging must not stop a service.
            let _ = std::io::stdout().lock().write_all(line);
        })
    }

    pub(super) fn write(&self, line: &[u8]) {
        (self.0)(line);
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}
