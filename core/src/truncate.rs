//! [`truncate`]: texts within a limit.

/// Returns the longest prefix of at most `max_bytes` that ends with a whole character.
///
/// ```
/// use logtracer_core::truncate;
///
/// assert_eq!(truncate("caf\u{e9}", 5), "caf\u{e9}");
/// assert_eq!(truncate("caf\u{e9}", 4), "caf");
/// ```
pub fn truncate(text: &str, max_bytes: usize) -> &str {
    let end = (0..=max_bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn texts_are_truncated_between_characters() {
        for (text, max_bytes, expected) in [
            ("", 0, ""),
            ("", 5, ""),
            ("abc", 3, "abc"),
            ("abc", 2, "ab"),
            ("aä", 2, "a"),
            ("ä", 1, ""),
            ("a😀b", 4, "a"),
            ("a😀b", 5, "a😀"),
        ] {
            assert_eq!(truncate(text, max_bytes), expected, "{text} {max_bytes}");
        }
    }
}
