//! Bytes that may not be UTF-8, as text: each invalid sequence becomes U+FFFD.

const REPLACEMENT: &str = "\u{fffd}";

/// Returns the text of the bytes as non-empty pieces, without copying.
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
    fn invalid_sequences_are_replaced() {
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
        /// The standard library allocates for the same result.
        #[test]
        fn the_text_equals_that_of_the_standard_library(bytes: Vec<u8>) {
            prop_assert_eq!(pieces(&bytes).collect::<String>(), String::from_utf8_lossy(&bytes));
        }
    }
}
