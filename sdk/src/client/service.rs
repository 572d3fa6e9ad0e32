//! [`TraceService`]: the start of a call, from the current trace to its headers.

use http::{Extensions, HeaderMap, Method, Request, Uri, Version};

use super::outer_call::OuterCall;
use super::{ClientTraceLayer, RequestLog, ServiceError};
use crate::current::{Scope, current_trace};
use crate::request::{LogOptions, Parts, Pending, Record, RequestHeaders, RequestSpan, Side, StartRequest};

/// A client whose requests carry the trace; made by [`TraceLayer`](super::TraceLayer).
///
/// ```
/// use logtracer_sdk::client::{TraceLayer, TraceService};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let stock = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
/// let client: TraceService<_> = TraceLayer::new().layer(stock);
/// assert_eq!(client.oneshot(http::Request::new(())).await.unwrap().status(), 200);
/// # });
/// ```
pub type TraceService<S> = crate::request::TraceService<S, ClientTraceLayer>;

/// The template of the URL of a request, such as `/items/{id}`, as an extension of the request: the name of its span
/// is then `GET /items/{id}` instead of `GET`.
///
/// It must have few values: never pass a path with ids in it.
/// The attribute of the span is `url.template`, the label of the line `route`.
///
/// ```
/// use logtracer_sdk::client::{RequestLog, TraceLayer, UrlTemplate};
/// use logtracer_sdk::testing::capture_async;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # let stock = service_fn(async |_: http::Request<()>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
/// let client = TraceLayer::new().requests(RequestLog::Single).layer(stock);
/// let request = http::Request::get("http://stock/items/7").extension(UrlTemplate("/items/{id}"));
/// let (_, lines) = capture_async(client.oneshot(request.body(()).unwrap())).await;
/// assert_eq!(lines[0]["labels"]["route"], "/items/{id}");
/// # });
/// ```
///
/// <https://opentelemetry.io/docs/specs/semconv/registry/attributes/url/#url-template>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UrlTemplate(pub &'static str);

impl UrlTemplate {
    pub(super) fn of(extensions: &Extensions) -> &'static str {
        extensions.get().map_or("", |Self(template)| template)
    }
}

impl StartRequest for ClientTraceLayer {
    fn start<B>(&self, request: &mut Request<B>) -> Pending {
        let (method, uri, version) = (request.method().clone(), request.uri().clone(), request.version());
        let template = UrlTemplate::of(request.extensions());
        let outer = OuterCall::of(request.extensions());
        let (pending, call) = self.start_call(&method, &uri, version, request.headers_mut(), template, outer);
        if let Some(call) = call {
            request.extensions_mut().insert(call);
        }
        pending
    }

    fn log_not_ready<E: ServiceError>(&self, error: &E) {
        // Without lines, the error is left to the caller, as that of a call.
        if self.options.log.requests != RequestLog::Off {
            self.options.ready.log(Side::Client, error, &self.options.known_errors);
        }
    }
}

impl ClientTraceLayer {
    /// Starts a call: injects the trace into its headers and logs its first line. What an outer layer does is left to
    /// it. Returns what the layers within this one need to know, if it logs or records the call.
    pub(super) fn start_call(
        &self,
        method: &Method,
        uri: &Uri,
        version: Version,
        headers: &mut HeaderMap,
        template: &str,
        outer: OuterCall,
    ) -> (Pending, Option<OuterCall>) {
        let options = &*self.options;
        let (mut scope, span) = if outer.has_span { (Scope::current(), None) } else { start_span() };
        {
            let _entered = scope.as_mut().map(Scope::enter);
            options.inject(uri, headers);
        }
        let known = RequestHeaders::of_call(headers);
        let parts = Parts {
            method,
            uri,
            version: Some(version),
            headers,
            known: &known,
            route: template,
            caller_ip: None,
            server_uri: options.peer.as_ref(),
        };
        let requests = if outer.has_lines { RequestLog::Off } else { options.log.requests };
        let log = LogOptions { requests, ..options.log };
        let call = OuterCall {
            has_lines: outer.has_lines || requests != RequestLog::Off,
            has_span: outer.has_span || span.is_some(),
        };
        let record = Record::start(log, scope.as_ref(), span, None, &parts);
        let pending = Pending::new(Side::Client, scope, record, None, options.known_errors.clone());
        (pending, (call != outer).then_some(call))
    }
}

/// Starts the span of a call below the current one; without the feature `spans`, the call is in the current one.
pub(super) fn start_span() -> (Option<Scope>, Option<RequestSpan>) {
    let Some(current) = current_trace() else { return (None, None) };
    let (context, span) = RequestSpan::start(Side::Client.kind(), current, true, true);
    (Some(Scope::of(context)), span)
}
