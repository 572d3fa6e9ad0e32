//! Panics on request, for the test that a panic in a hook does not end Envoy. Only the feature `panic-test` has it.

/// Panics if the path ends with the name.
pub(crate) fn panic_in(name: &str, path: Option<Vec<u8>>) {
    #![allow(clippy::panic, reason = "the purpose of this function")]
    if path.is_some_and(|path| path.ends_with(name.as_bytes())) {
        panic!("asked for {name}");
    }
}
