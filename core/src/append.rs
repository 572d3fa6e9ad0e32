//! [`append`]: appends a short text to a buffer.

/// Appends bytes, as [`Vec::extend_from_slice`] does.
///
/// In WebAssembly, a copy whose length is not a constant is a call out of the module, which takes as many
/// instructions as copying a text of a line or a span in words.
#[inline]
pub(crate) fn append(out: &mut Vec<u8>, bytes: &[u8]) {
    if cfg!(target_arch = "wasm32") { append_words(out, bytes) } else { out.extend_from_slice(bytes) }
}

#[cfg_attr(not(any(target_arch = "wasm32", test)), allow(dead_code, reason = "memcpy is faster"))]
fn append_words(out: &mut Vec<u8>, bytes: &[u8]) {
    const MOST: usize = 64;
    if bytes.len() > MOST {
        return out.extend_from_slice(bytes);
    }
    out.reserve(MOST);
    let Some(last) = bytes.last_chunk::<8>() else {
        for byte in bytes {
            out.push(*byte);
        }
        return;
    };
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    for word in words {
        out.extend_from_slice(word);
    }
    if !rest.is_empty() {
        // The last word overlaps the one before it.
        out.truncate(out.len() + rest.len() - last.len());
        out.extend_from_slice(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn every_length_is_appended() {
        let bytes: Vec<u8> = (0..100).collect();
        for length in 0..bytes.len() {
            let mut out = b"before".to_vec();
            append_words(&mut out, &bytes[..length]);
            assert_eq!(out, [b"before", &bytes[..length]].concat());
        }
    }
}
