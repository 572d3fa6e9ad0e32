//! What the layers need of a service, with the words of the compiler for a service that lacks it.

use std::fmt;

use http_body::Body;

#[diagnostic::on_unimplemented(
    message = "the error `{Self}` of a service or a body within a `TraceLayer` has no text to log",
    label = "the error `{Self}` does not implement `std::fmt::Display`",
    note = "implement `Display` for the error, or map it: `.map_err(Into::<Box<dyn std::error::Error + Send + Sync>>::into)`"
)]
/// The error of a service or of a body within a layer of this crate: it can be displayed, because the layer logs it.
///
/// Every type with [`Display`](fmt::Display) implements it: every error, a boxed error, and a text.
///
/// ```
/// use logtracer_sdk::server::ServiceError;
///
/// fn text(error: &impl ServiceError) -> String {
///     error.to_string()
/// }
/// assert_eq!(text(&std::io::Error::other("out of eggs")), "out of eggs");
/// ```
///
/// A service with another error is not a service within the layer:
///
/// ```compile_fail,E0277
/// use logtracer_sdk::server::TraceLayer;
/// use tower::{Layer, Service, service_fn};
///
/// fn serve(_: impl Service<http::Request<()>>) {}
///
/// struct NoText;
/// let service = service_fn(async |_: http::Request<()>| Err::<http::Response<String>, _>(NoText));
/// serve(TraceLayer::new().layer(service));
/// ```
pub trait ServiceError: fmt::Display + 'static {}

// Otherwise the compiler asks for `Display` alone, without the text above.
#[diagnostic::do_not_recommend]
impl<E: fmt::Display + 'static> ServiceError for E {}

#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a response body that a `TraceLayer` can pass on",
    label = "`{Self}` does not implement `http_body::Body` of `http-body` 1, or its error has no `Display`",
    note = "bodies of `hyper` 1, `axum` 0.7 and 0.8 and `tonic` 0.12 to 0.14 do; `http_body_util::Full` makes one of bytes",
    note = "versions of these crates that use `http` 0.2 do not fit, see the table of versions in the guide"
)]
/// The body of a response within a layer of this crate: a body of `http_body` 1, whose error can be displayed.
///
/// ```
/// use http_body_util::Full;
/// use logtracer_sdk::server::ResponseBody;
///
/// fn size(body: &impl ResponseBody) -> Option<u64> {
///     body.size_hint().exact()
/// }
/// assert_eq!(size(&Full::new(&b"hello"[..])), Some(5));
/// ```
///
/// A service whose response has another body is not a service within the layer:
///
/// ```compile_fail,E0277
/// use logtracer_sdk::server::TraceLayer;
/// use tower::{Layer, Service, service_fn};
///
/// fn serve(_: impl Service<http::Request<()>>) {}
///
/// let service = service_fn(async |_: http::Request<()>| Ok::<_, String>(http::Response::new(7)));
/// serve(TraceLayer::new().layer(service));
/// ```
pub trait ResponseBody: Body<Error: ServiceError> {}

#[diagnostic::do_not_recommend]
impl<B: Body<Error: ServiceError>> ResponseBody for B {}
