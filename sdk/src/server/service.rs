//! [`TraceService`]: headers to scope.

use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use logtracer_core::TraceContext;
use logtracer_core::propagation::{Propagator, TraceHeaders};
use tower_service::Service;

use super::{ResponseFuture, TraceBody};
use crate::current::{Carried, Scope, TraceContextExt};
use crate::future::InTrace;
use crate::ids;

/// The longest `x-request-id` that is passed on, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 256;

/// A service whose requests have a trace; made by [`TraceLayer`](super::TraceLayer).
#[derive(Debug, Clone)]
pub struct TraceService<S> {
    pub(super) inner: S,
    pub(super) propagator: Propagator,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for TraceService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
{
    type Response = Response<TraceBody<ResponseBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let (context, carried) = read(&self.propagator, request.headers());
        request.extensions_mut().insert(context);
        let mut scope = Scope::new(context, carried);
        let future = {
            let _entered = scope.enter();
            self.inner.call(request)
        };
        ResponseFuture { inner: InTrace::new(Some(scope), future) }
    }
}

/// The trace of a request, and what goes on beside it.
fn read(propagator: &Propagator, headers: &HeaderMap) -> (TraceContext, Option<Carried>) {
    let lines = TraceHeaders::collect(headers);
    let extracted = propagator.extract(&lines);
    let context = match extracted.parent {
        Some(parent) => parent.join().unwrap_or_else(|| parent.child(ids::new_span_id())),
        None => TraceContext::new_root().with_sampling(extracted.sampling),
    };
    let request_id = headers
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .filter(|id| !id.is_empty() && id.len() <= MAX_REQUEST_ID_BYTES)
        .map(Box::from);
    let tracestate = extracted.tracestate.with_line(|line| Box::from(line));
    let nothing = request_id.is_none() && tracestate.is_none();
    (context, (!nothing).then_some(Carried { trace_id: context.trace_id, request_id, tracestate }))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use logtracer_core::Sampling;

    use super::*;

    fn read_one(name: &'static str, value: &'static str) -> (TraceContext, Option<Carried>) {
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
        read(&Propagator::default(), &headers)
    }

    #[track_caller]
    fn check(name: &'static str, value: &'static str, trace: &str, span: Option<&str>, sampling: Sampling) {
        let (context, _) = read_one(name, value);
        assert_eq!(context.trace_id.to_string(), trace);
        assert_eq!(context.sampling, sampling);
        match span {
            Some(span) => assert_eq!(context.span_id.to_string(), span),
            None => assert_eq!(context.parent_span_id, None),
        }
    }

    #[test]
    fn every_dialect_is_joined() {
        const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
        check(
            "b3",
            "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1",
            TRACE,
            Some("00f067aa0ba902b7"),
            Sampling::Accept,
        );
        check(
            "traceparent",
            "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-00",
            TRACE,
            Some("00f067aa0ba902b7"),
            Sampling::Deny,
        );
        check(
            "x-cloud-trace-context",
            "463ac35c9f6413ad48485a3953bb6124/74;o=1",
            TRACE,
            Some("000000000000004a"),
            Sampling::Accept,
        );
        check("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124", TRACE, None, Sampling::Defer);
    }

    #[test]
    fn missing_ids_are_made() {
        let (first, _) = read_one("b3", "0");
        let (second, _) = read_one("b3", "0");
        assert_eq!((first.parent_span_id, first.sampling), (None, Sampling::Deny));
        assert_ne!(first.trace_id, second.trace_id);
        let (root, carried) = read_one("traceparent", "nonsense");
        assert_eq!((root.parent_span_id, root.sampling), (None, Sampling::Defer));
        assert!(carried.is_none());
    }

    #[test]
    fn a_request_id_is_carried_without_a_trace() {
        let (context, carried) = read_one("x-request-id", "0af76519");
        let carried = carried.unwrap();
        assert_eq!((carried.trace_id, carried.request_id.as_deref()), (context.trace_id, Some("0af76519")));
    }
}
