//! Panics on request, for the test that a panic in a hook does not end Envoy. Only the feature `panic-test` has it.

/// Panics if the path ends with the name of a hook.
pub(crate) fn panic_in(hook: &str, path: Option<Vec<u8>>) {
    #![allow(clippy::panic, reason = "the purpose of this function")]
    if path.is_some_and(|path| path.ends_with(hook.as_bytes())) {
        panic!("asked for in {hook}");
    }
}
