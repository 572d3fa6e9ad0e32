//! [`peer`]: calls to peers without tracing, with their URL and status.

use std::borrow::Cow;
use std::future::Future;

use http::{HeaderMap, Method, StatusCode, Uri};
use logtracer_core::request::url::Query;

use super::service::start_span;
use super::{RequestLog, ServiceError};
use crate::errors::KnownErrors;
use crate::request::{LogOptions, Parts, Pending, Record, RequestHeaders, ResponseFuture, Side};

/// Returns a call to a peer without tracing, over a client that takes no layer: its lines have the URL and the status,
/// as those of `tracer.unsupported_requests` of bbc/logtracer.
///
/// The name is that of its span. The call itself is not changed: no headers are added.
/// For a client with a layer use `TraceLayer::new().hosts(Hosts::none())`, and for reqwest
/// [`send_through`](super::WithTrace::send_through) with that layer.
///
/// ```
/// use http::{Method, StatusCode, Uri};
/// use logtracer_sdk::client::peer;
/// use logtracer_sdk::testing::capture_async;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let call = async {
///     peer("payments")
///         .request(Method::POST, Uri::from_static("https://pay.example.com/charge?card=4111"))
///         .try_run(async { Ok::<_, std::io::Error>(201) }, |status| StatusCode::from_u16(*status).unwrap())
///         .await
/// };
/// let (_, lines) = capture_async(call).await;
/// assert_eq!(lines[0]["message"], "test - OUTBOUND POST - https://pay.example.com/charge?card=REDACTED");
/// assert_eq!(lines[1]["message"], "test - 201 Created - https://pay.example.com/charge?card=REDACTED");
/// # });
/// ```
pub fn peer(name: impl Into<Cow<'static, str>>) -> PeerCall {
    let mut log = LogOptions::new(Side::Client);
    log.requests = RequestLog::Pair;
    PeerCall { name: name.into(), method: Method::GET, uri: Uri::default(), log }
}

/// A call that has not started; made by [`peer`].
///
/// ```
/// use http::{Method, Uri};
/// use logtracer_sdk::client::{PeerCall, peer};
/// use logtracer_sdk::testing::capture_async;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let call: PeerCall = peer("rates").request(Method::GET, Uri::from_static("http://rates/"));
/// let fails = async { Err::<u16, _>(std::io::Error::other("refused")) };
/// let call = async { call.try_run(fails, |_| http::StatusCode::OK).await };
/// let (_, lines) = capture_async(call).await;
/// assert_eq!(lines[1]["message"], "test - no response - http://rates/");
/// assert_eq!(lines[1]["error"], "refused");
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "a call starts with `run` or `try_run`"]
pub struct PeerCall {
    name: Cow<'static, str>,
    method: Method,
    uri: Uri,
    log: LogOptions,
}

impl PeerCall {
    /// Sets the method and the URL, which are in lines and in the span. Query values are redacted.
    pub fn request(self, method: Method, uri: Uri) -> Self {
        Self { method, uri, ..self }
    }

    /// Sets how the query string appears in lines and in the span; its values are redacted by default.
    pub fn query(mut self, query: Query) -> Self {
        self.log.query = query;
        self
    }

    /// Sets the lines to log; [`RequestLog::Pair`] by default.
    pub fn requests(mut self, requests: RequestLog) -> Self {
        self.log.requests = requests;
        self
    }

    /// Starts the call in the current trace, and returns its output. `status` reads the status of the response.
    pub fn run<F: Future>(
        self,
        call: F,
        status: impl FnOnce(&F::Output) -> StatusCode,
    ) -> impl Future<Output = F::Output> {
        finish(self.start(call), |output, pending| {
            pending.record_head(status(output), &HeaderMap::new(), false);
        })
    }

    /// Does what [`run`](Self::run) does for a call that can fail: for an `Err` the second line is a `WARNING` with the
    /// error and its causes in the field `error`, and the span fails.
    pub fn try_run<F, T, E>(
        self,
        call: F,
        status: impl FnOnce(&T) -> StatusCode,
    ) -> impl Future<Output = Result<T, E>>
    where
        F: Future<Output = Result<T, E>>,
        E: ServiceError,
    {
        finish(self.start(call), |output, pending| match output {
            Ok(response) => pending.record_head(status(response), &HeaderMap::new(), false),
            Err(error) => pending.fail(error),
        })
    }

    fn start<F>(self, call: F) -> ResponseFuture<F> {
        let (scope, span) = start_span();
        let headers = HeaderMap::new();
        let parts = Parts {
            method: &self.method,
            uri: &self.uri,
            version: None,
            headers: &headers,
            known: &RequestHeaders::default(),
            route: "",
            caller_ip: None,
            server_uri: None,
        };
        let mut record = Record::start(self.log, scope.as_ref(), span, None, &parts);
        if let Some(record) = &mut record {
            record.set_span_name(self.name);
        }
        Pending::new(Side::Client, scope, record, None, KnownErrors::default()).call(|| call)
    }
}

async fn finish<F: Future>(
    call: ResponseFuture<F>,
    record: impl FnOnce(&F::Output, &mut Pending),
) -> F::Output {
    let (output, mut pending) = call.output().await;
    record(&output, &mut pending);
    output
}
