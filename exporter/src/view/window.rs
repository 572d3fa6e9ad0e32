//! [`Window`]: a part of a text that is too long for one piece. The text is rendered again for each part.

use std::io;

/// Passes on what follows the first `skip` bytes, up to a limit of the buffer.
#[derive(Debug)]
pub(super) struct Window<'a> {
    out: &'a mut Vec<u8>,
    skip: u64,
    max_bytes: usize,
    /// What was passed on.
    written: u64,
    is_full: bool,
}

impl<'a> Window<'a> {
    /// The buffer may get `max_bytes` long.
    pub(super) const fn new(out: &'a mut Vec<u8>, skip: u64, max_bytes: usize) -> Self {
        Self { out, skip, max_bytes, written: 0, is_full: false }
    }

    /// Returns the bytes that were passed on, and whether there are more.
    pub(super) const fn end(self) -> (u64, bool) {
        (self.written, self.is_full)
    }
}

impl io::Write for Window<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= skipped as u64;
        let wanted = bytes.get(skipped..).unwrap_or_default();
        let free = self.max_bytes.saturating_sub(self.out.len());
        let taken = wanted.get(..free.min(wanted.len())).unwrap_or_default();
        self.out.extend_from_slice(taken);
        self.written += taken.len() as u64;
        if taken.len() < wanted.len() {
            self.is_full = true;
            if taken.is_empty() && skipped == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(skipped + taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_parts_are_the_whole() {
        let text: String = (0..1000).map(|n| format!("{n} \u{1}\"")).collect();
        let whole = serde_json::to_string(&text).unwrap();
        for max_bytes in [1, 7, 4096, 100_000] {
            let (mut parts, mut offset) = (Vec::new(), 0);
            loop {
                let mut out = Vec::new();
                let mut window = Window::new(&mut out, offset, max_bytes);
                let result = serde_json::to_writer(&mut window, &text);
                let (written, is_full) = window.end();
                assert_eq!((result.is_err(), written as usize), (is_full, out.len()));
                offset += written;
                parts.append(&mut out);
                if !is_full {
                    break;
                }
            }
            assert!(parts == whole.as_bytes(), "{max_bytes}");
        }
        let mut out = Vec::new();
        Window::new(&mut out, 2, 9).write_all(b"abcd").unwrap();
        assert_eq!(out, b"cd");
    }
}
