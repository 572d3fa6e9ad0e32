//! Bytes as text, where they need not be UTF-8: what is not becomes U+FFFD.

/// What stands for bytes that are no text.
const REPLACEMENT: &str = "\u{fffd}";

/// The text of the bytes in pieces, none of them empty; nothing is copied.
pub(crate) fn pieces(bytes: &[u8]) -> impl Iterator<Item = &str> {
    bytes
        .utf8_chunks()
        .flat_map(|chunk| [chunk.valid(), if chunk.invalid().is_empty() { "" } else { REPLACEMENT }])
        .filter(|piece| !piece.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn what_is_no_text_is_replaced() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"caf\xc3\xa9", "café"),
            (b"caf\xe9", "caf\u{fffd}"),
            (b"\xff\xfea", "\u{fffd}\u{fffd}a"),
            (b"a\xe2\x82", "a\u{fffd}"),
        ] {
            assert_eq!(pieces(bytes).collect::<String>(), text);
        }
    }

    proptest! {
        /// As the standard library, which allocates, reads it.
        #[test]
        fn as_the_standard_library_reads_it(bytes: Vec<u8>) {
            prop_assert_eq!(pieces(&bytes).collect::<String>(), String::from_utf8_lossy(&bytes));
        }
    }
}
