//! What is common to all clients: the headers, the lines and the span of one call.

use http::{HeaderMap, Method, Uri, Version};

use super::{TraceLayer, inject_with};
use crate::current::Scope;
use crate::exchange::{Begun, Parts, RequestSpan};

/// Begins a call: writes the trace into its headers, and says what it runs in and who looks at it.
pub(super) fn start(
    layer: &TraceLayer,
    method: &Method,
    uri: &Uri,
    version: Version,
    headers: &mut HeaderMap,
) -> Begun {
    let (scope, span) = match Scope::current() {
        Some(scope) => {
            let (context, span) = RequestSpan::start(layer.telling.side.kind(), scope.context(), true, true);
            (Some(Scope::here(context)), span)
        }
        None => (None, None),
    };
    if let Some(scope) = scope.clone() {
        scope.entered(|| inject_with(&layer.propagator, headers));
    }
    Begun::new(
        layer.telling,
        scope,
        span,
        None,
        &Parts { method, uri, version, headers, route: "", peer: None },
    )
}
