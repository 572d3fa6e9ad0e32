//! [`TraceBody`]: a response body, polled in the trace of its request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::errors::{ErrorLog, log_panics};
use super::{Record, ResponseBody, ServiceError, Side};
use crate::InTrace;
use crate::current::Scope;
use crate::errors::{Failure, KnownErrors};

pin_project! {
    /// The body of a response that goes through a layer of this crate; a stream in it runs in the trace.
    ///
    /// ```
    /// use http_body_util::BodyExt;
    /// use logtracer_sdk::server::{TraceBody, TraceLayer};
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let handler = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new("hello".to_owned())));
    /// let service = TraceLayer::new().layer(handler);
    /// let body: TraceBody<String> = service.oneshot(http::Request::new(())).await.unwrap().into_body();
    /// assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    /// # });
    /// ```
    #[derive(Debug)]
    pub struct TraceBody<B> {
        #[pin]
        inner: InTrace<B>,
        side: Side,
        known_errors: KnownErrors,
        // Dropped at the end of the body or of the connection, which logs the request.
        record: Option<Box<Record>>,
    }
}

impl<B> TraceBody<B> {
    pub(super) fn new(
        scope: Option<Scope>,
        body: B,
        side: Side,
        known_errors: KnownErrors,
        record: Option<Box<Record>>,
    ) -> Self {
        Self { inner: InTrace::new(scope, body), side, known_errors, record }
    }

    pub(crate) fn inner(&self) -> Option<&B> {
        self.inner.inner()
    }

    /// Polls for the next chunk of the body in its trace, records it, and logs an error.
    pub(crate) fn poll_chunk<T, E: ServiceError>(
        self: Pin<&mut Self>,
        poll: impl FnOnce(Pin<&mut B>) -> Poll<Option<Result<T, E>>>,
        record_chunk: impl FnOnce(&mut Record, &T),
        is_end: impl FnOnce(&B) -> bool,
    ) -> Poll<Option<Result<T, E>>> {
        let mut this = self.project();
        let side = *this.side;
        let (inner, record, known_errors) = (this.inner.as_mut(), &mut *this.record, &*this.known_errors);
        let chunk = ready!(inner.poll_within(|body| {
            let errors = ErrorLog::new(side);
            let chunk = ready!(log_panics(side, record, || poll(body)));
            if let Some(Err(error)) = &chunk {
                let failure = Failure::new(error, known_errors);
                errors.log(&failure);
                if let Some(record) = record {
                    record.mark_failed(&failure);
                }
            }
            Poll::Ready(chunk)
        }));
        if let Some(record) = this.record {
            if let Some(Ok(chunk)) = &chunk {
                record_chunk(record, chunk);
            }
            if chunk.is_none() || this.inner.inner().is_none_or(is_end) {
                record.mark_complete();
            }
        }
        // Logged now: the caller may keep a body that has ended for long.
        if chunk.is_none() {
            *this.record = None;
        }
        Poll::Ready(chunk)
    }
}

/// A body in no trace, for layers that make a response of their own, such as tower-http's `TimeoutLayer`.
impl<B: Default> Default for TraceBody<B> {
    fn default() -> Self {
        Self::new(None, B::default(), Side::Server, KnownErrors::default(), None)
    }
}

impl<B: ResponseBody> Body for TraceBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.poll_chunk(|body| body.poll_frame(cx), Record::add_frame, Body::is_end_stream)
    }

    fn is_end_stream(&self) -> bool {
        self.inner().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner().map(Body::size_hint).unwrap_or_default()
    }
}
