//! [`OuterCall`]: what an outer layer logs and records of a call, so that the layers within it do not.

use http::Extensions;

/// What the layers around a call do for it; an extension of its request.
///
/// A retry within the outer layer sends clones of the request, which have it as well. One around the layer sends clones
/// of the request before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OuterCall {
    pub(super) has_lines: bool,
    pub(super) has_span: bool,
}

impl OuterCall {
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}
