//! [`Pending`]: a request that has started and has no response yet.

#[cfg(feature = "server")]
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

#[cfg(feature = "server")]
use super::RequestMessage;
use super::errors::{self, ErrorLog};
use super::{Record, ResponseFuture, ServiceError, Side, TraceBody};
use crate::InTrace;
use crate::current::Scope;
use crate::errors::{Failure, KnownErrors};

/// A request between its start and its response, the same for all servers and clients.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(super) side: Side,
    pub(super) scope: Option<Scope>,
    /// Present if the request is logged or has a span.
    pub(super) record: Option<Box<Record>>,
    /// The name of the response header with the trace id.
    pub(super) response_header: Option<HeaderName>,
    pub(super) known_errors: KnownErrors,
    pub(super) errors: ErrorLog,
}

impl Pending {
    pub(crate) fn new(
        side: Side,
        scope: Option<Scope>,
        record: Option<Box<Record>>,
        response_header: Option<HeaderName>,
        known_errors: KnownErrors,
    ) -> Self {
        Self { side, scope, record, response_header, known_errors, errors: ErrorLog::new(side) }
    }

    /// Returns the message that the log lines of the request wait for.
    #[cfg(feature = "server")]
    pub(crate) fn message(&self) -> Option<Arc<RequestMessage>> {
        self.record.as_ref().and_then(|record| record.message())
    }

    /// Hands the request to a service, in its trace.
    pub(crate) fn call<F>(self, call: impl FnOnce() -> F) -> ResponseFuture<F> {
        let Self { side, mut scope, mut record, response_header, known_errors, .. } = self;
        let future = {
            let _entered = scope.as_mut().map(Scope::enter);
            errors::log_panics(side, &mut record, call)
        };
        ResponseFuture { inner: InTrace::new(scope, future), side, record, response_header, known_errors }
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
        TraceBody::new(self.scope, body, self.side, self.known_errors, self.record)
    }

    /// Records that there is no response, and logs the error.
    pub(crate) fn fail<E: ServiceError>(&mut self, error: &E) {
        let failure = Failure::new(error, &self.known_errors);
        if let Some(record) = &mut self.record {
            record.mark_failed(&failure);
        }
        self.log_failure(&failure);
    }

    /// Logs an error of the service, whatever the response is.
    #[cfg(feature = "actix")]
    pub(crate) fn log_error<E: ServiceError>(&mut self, error: &E) {
        let failure = Failure::new(error, &self.known_errors);
        self.log_failure(&failure);
    }

    fn log_failure<E: ServiceError>(&mut self, failure: &Failure<'_, E>) {
        // The error of a client is left to its caller.
        if self.side == Side::Server {
            let _entered = self.scope.as_mut().map(Scope::enter);
            self.errors.log(failure);
        }
    }
}
