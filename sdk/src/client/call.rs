//! What is common to all clients: the headers, the lines and the span of one call.

use http::{HeaderMap, Method, Uri, Version};

use super::{RequestLog, inject};
use crate::current::Scope;
use crate::exchange::{Parts, Seen, Telling};
#[cfg(feature = "spans")]
use crate::spans::RequestSpan;

/// Begins a call: writes the trace into its headers, and says what it runs in and who looks at it.
pub(super) fn start(
    telling: Telling,
    method: &Method,
    uri: &Uri,
    version: Version,
    headers: &mut HeaderMap,
) -> (Option<Scope>, Option<Box<Seen>>) {
    let scope = Scope::current();
    #[cfg(feature = "spans")]
    let (scope, span) = match scope.map(|scope| scope.context()) {
        Some(context) => {
            let (context, span) = RequestSpan::start(telling.side.kind(), context, true, true);
            (Some(Scope::here(context)), span)
        }
        None => (None, None),
    };
    match scope.clone() {
        Some(scope) => scope.entered(|| inject(headers)),
        None => inject(headers),
    }
    #[cfg(feature = "spans")]
    let is_told = telling.requests != RequestLog::Off || span.is_some();
    #[cfg(not(feature = "spans"))]
    let is_told = telling.requests != RequestLog::Off;
    let seen = is_told.then(|| {
        let parts = Parts { method, uri, version, headers, route: "" };
        Seen::new(
            telling,
            scope.clone(),
            &parts,
            #[cfg(feature = "spans")]
            span,
        )
    });
    (scope, seen)
}
