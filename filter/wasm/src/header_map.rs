//! [`HeaderMap`]: names with values, in the serialization of proxy-wasm.
//!
//! ```text
//! count u32 | (name length u32, value length u32) * count | (name NUL value NUL) * count
//! ```
//!
//! <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1#serialization>

/// Names with values, serialized by the host: the lines of headers, or the values of a list.
///
/// ```
/// use logtracer_filter_wasm::header_map::{HeaderMap, serialize};
///
/// let headers = HeaderMap::new(serialize(&[("host", "shop"), ("accept", "*/*")]));
/// assert_eq!(headers.iter().next(), Some((&b"host"[..], &b"shop"[..])));
/// assert_eq!(HeaderMap::new(vec![0xff; 9]).iter().count(), 0);
/// ```
#[derive(Debug, Default)]
pub struct HeaderMap(Vec<u8>);

impl HeaderMap {
    /// Creates a map from the bytes of the host.
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the names and values, in order. The iterator ends early if the serialization is invalid.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let bytes = self.0.as_slice();
        let count = number_at(bytes, 0).unwrap_or(0);
        let mut sizes = 4;
        let mut text = 4usize.saturating_add(count.saturating_mul(8));
        (0..count).map_while(move |_| {
            let name = take(bytes, &mut text, number_at(bytes, sizes)?)?;
            let value = take(bytes, &mut text, number_at(bytes, sizes + 4)?)?;
            sizes += 8;
            Some((name, value))
        })
    }
}

/// Serializes names with values for the host.
pub fn serialize(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = (lines.len() as u32).to_le_bytes().to_vec();
    for (name, value) in lines {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for text in lines.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

fn number_at(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(number.try_into().ok()?) as usize)
}

/// Returns the text of this length at `at`, and moves `at` behind the NUL after it.
fn take<'a>(bytes: &'a [u8], at: &mut usize, length: usize) -> Option<&'a [u8]> {
    let end = at.checked_add(length)?;
    let text = bytes.get(*at..end)?;
    *at = end.checked_add(1)?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serialized_map_reads_back() {
        let lines = [(":path", "/a"), ("x", ""), ("x", "1\x002"), ("y", "\u{e9}")];
        let expected: Vec<_> =
            lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        assert_eq!(HeaderMap::new(serialize(&lines)).iter().collect::<Vec<_>>(), expected);
        assert_eq!(HeaderMap::default().iter().count(), 0);
    }

    #[test]
    fn a_truncated_map_ends_early() {
        let whole = serialize(&[("a", "1"), ("b", "2")]);
        for length in 0..whole.len() {
            let truncated = HeaderMap::new(whole.get(..length).unwrap().to_vec());
            // The head has 20 bytes, and each line four.
            let expected = if length < 23 { 0 } else { (length - 19) / 4 };
            assert_eq!(truncated.iter().count(), expected, "{length} bytes");
        }
        assert_eq!(HeaderMap(vec![0xff; 64]).iter().count(), 0);
    }
}
