//! [`Pending`]: a request that has started and has no response yet.

use std::fmt;
#[cfg(feature = "server")]
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

#[cfg(feature = "server")]
use super::RequestMessage;
use super::errors::{self, ErrorLog};
use super::{Record, ResponseFuture, Side, TraceBody};
use crate::InTrace;
use crate::current::Scope;

/// A request between its start and its response, the same for all servers and clients.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(super) side: Side,
    pub(super) scope: Option<Scope>,
    /// Present if the request is logged or has a span.
    pub(super) record: Option<Box<Record>>,
    /// The name of the response header with the trace id.
    pub(super) response_header: Option<HeaderName>,
    pub(super) errors: ErrorLog,
}

impl Pending {
    pub(crate) fn new(
        side: Side,
        scope: Option<Scope>,
        record: Option<Box<Record>>,
        response_header: Option<HeaderName>,
    ) -> Self {
        Self { side, scope, record, response_header, errors: ErrorLog::new(side) }
    }

    /// Returns the message that the log lines of the request wait for.
    #[cfg(feature = "server")]
    pub(crate) fn message(&self) -> Option<Arc<RequestMessage>> {
        self.record.as_ref().and_then(|record| record.message())
    }

    /// Hands the request to a service, in its trace.
    pub(crate) fn call<F>(mut self, call: impl FnOnce() -> F) -> ResponseFuture<F> {
        let scope = self.scope.clone();
        let future = errors::log_panics(self.side, self.scope.as_ref(), &mut self.record, || match scope {
            Some(scope) => scope.run(call),
            None => call(),
        });
        let Self { side, scope, record, response_header, .. } = self;
        ResponseFuture { inner: InTrace::new(scope, future), side, record, response_header }
    }

    /// Returns the response header with the trace id, if one is configured.
    pub(crate) fn trace_header(&self) -> Option<(HeaderName, HeaderValue)> {
        let (name, scope) = (self.response_header.clone()?, self.scope.as_ref()?);
        // Digits are always a valid value.
        Some((name, HeaderValue::from_str(&scope.context().trace_id.to_hex()).ok()?))
    }

    /// Records the status and the headers of the response.
    pub(crate) fn record_head(&mut self, status: StatusCode, headers: &HeaderMap, has_body: bool) {
        if let Some(record) = &mut self.record {
            record.set_head(status, headers);
            if !has_body {
                record.mark_complete();
                // Logged now: an empty body may never be polled.
                self.record = None;
            }
        }
    }

    /// Wraps the body of the response, so that it is recorded as well.
    pub(crate) fn wrap_body<B>(self, body: B) -> TraceBody<B> {
        TraceBody::new(self.scope, body, self.side, self.record)
    }

    /// Records that there is no response, and logs the error.
    pub(crate) fn fail(&mut self, error: impl fmt::Display) {
        self.log_error(error);
        if let Some(record) = &mut self.record {
            record.mark_failed();
        }
    }

    /// Logs an error of the service, whatever the response is.
    pub(crate) fn log_error(&self, error: impl fmt::Display) {
        self.errors.log(self.scope.as_ref(), error);
    }
}
