//! [`Begun`]: the start of an exchange, the same for all servers and clients.

use std::sync::Arc;

use http::HeaderName;

use super::received::Received;
use super::seen::{Parts, Seen, watch};
use super::{RequestLog, ResponseFuture, Side, Telling};
use crate::current::Scope;
#[cfg(feature = "spans")]
pub(crate) use crate::spans::RequestSpan;

/// A request that has begun: what it runs in, and what looks at it if it is told of or recorded.
pub(crate) struct Begun {
    pub(crate) side: Side,
    pub(crate) scope: Option<Scope>,
    pub(crate) seen: Option<Box<Seen>>,
}

impl Begun {
    /// Begins to look at a request, and writes the first of its lines; with `received` that is left to whoever reads
    /// the message.
    pub(crate) fn new(
        telling: Telling,
        scope: Option<Scope>,
        span: Option<RequestSpan>,
        received: Option<Arc<Received>>,
        parts: &Parts<'_>,
    ) -> Self {
        let is_told = telling.requests != RequestLog::Off || span.is_some();
        let seen = is_told.then(|| Seen::new(telling, scope.clone(), span, received, parts));
        Self { side: telling.side, scope, seen }
    }

    /// Hands the request to a service of tower, in its scope.
    pub(crate) fn call<F>(
        mut self,
        response_header: Option<HeaderName>,
        call: impl FnOnce() -> F,
    ) -> ResponseFuture<F> {
        let scope = self.scope.clone();
        let future = watch(self.side, self.scope.as_ref(), &mut self.seen, || match scope {
            Some(scope) => scope.entered(call),
            None => call(),
        });
        ResponseFuture::new(self, future, response_header)
    }
}

/// Without the feature `spans` no request has a span.
#[cfg(not(feature = "spans"))]
#[derive(Debug)]
pub(crate) enum RequestSpan {}

#[cfg(not(feature = "spans"))]
impl RequestSpan {
    pub(crate) fn start(
        _kind: logtracer_core::span::SpanKind,
        context: logtracer_core::TraceContext,
        _wanted: bool,
        _is_of_another: bool,
    ) -> (logtracer_core::TraceContext, Option<Self>) {
        (context, None)
    }

    pub(crate) fn end(&self, _exchange: &logtracer_core::request::Exchange<'_>, _failed: bool) {
        match *self {}
    }
}
