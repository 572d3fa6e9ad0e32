//! [`RequestSpan`]: the span of a request; without the feature `spans` no request has one.

#[cfg(feature = "spans")]
pub(crate) use crate::spans::RequestSpan;

#[cfg(not(feature = "spans"))]
#[derive(Debug)]
pub(crate) enum RequestSpan {}

#[cfg(not(feature = "spans"))]
impl RequestSpan {
    pub(crate) fn start(
        _kind: logtracer_core::span::SpanKind,
        context: logtracer_core::TraceContext,
        _wants_span: bool,
        _is_parent: bool,
    ) -> (logtracer_core::TraceContext, Option<Self>) {
        (context, None)
    }

    pub(crate) fn end(&self, _exchange: &logtracer_core::request::Exchange<'_>, _failed: bool) {
        match *self {}
    }
}
