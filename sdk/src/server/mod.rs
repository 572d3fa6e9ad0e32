//! Requests that come in: a tower layer that extracts or starts their trace and makes it current.
//!
//! ```text
//!  request headers ──► extract: join a trace or start one ──► current_trace() in the handler
//!                        │                                      and in the response body
//!                        └──► record of the request ──────────► log line and span at the end of the body
//! ```
//!
//! ```
//! use logtracer_sdk::current_trace;
//! use logtracer_sdk::server::TraceLayer;
//! use http_body_util::BodyExt;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let service = ServiceBuilder::new().layer(TraceLayer::new()).service(service_fn(
//!     async |_request: http::Request<()>| {
//!         let trace = current_trace().expect("the layer sets one");
//!         Ok::<_, std::convert::Infallible>(http::Response::new(trace.trace_id.to_string()))
//!     },
//! ));
//!
//! let request = http::Request::get("/")
//!     .header("b3", "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1")
//!     .body(())
//!     .unwrap();
//! let response = service.oneshot(request).await.unwrap();
//! let body = response.into_body().collect().await.unwrap().to_bytes();
//! assert_eq!(body, "463ac35c9f6413ad48485a3953bb6124");
//! # });
//! ```

#[cfg(feature = "actix")]
mod actix;
mod b3_values;
mod extract;
mod layer;
#[cfg(feature = "tonic")]
mod message_layer;
#[cfg(feature = "tonic")]
mod message_text;
#[cfg(feature = "tonic")]
mod messages;
mod service;

pub use crate::request::{
    FieldValue, RequestLog, ResponseBody, ResponseFuture, ServiceError, TraceBody, record, set_route,
};
#[cfg(feature = "actix")]
pub use actix::ActixResponse;
pub use layer::{Excluded, ServerTraceLayer, TraceLayer};
#[doc(inline)]
pub use logtracer_core::request::Routes;
#[doc(inline)]
pub use logtracer_core::request::url::{Query, UnknownQuery};
#[cfg(feature = "tonic")]
pub use message_layer::{MessageBody, MessageLayer, MessageService};
#[cfg(feature = "tonic")]
pub use messages::{Messages, MessagesError};
pub use service::TraceService;
