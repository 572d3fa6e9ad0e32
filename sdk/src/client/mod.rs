//! Requests that go out: the headers that pass the trace to the next hop.
//!
//! | the client | what injects the trace |
//! |---|---|
//! | reqwest | `client.get(url).with_trace()`, or `.send_traced()`, which also logs the call |
//! | hyper, tonic, tower | [`TraceLayer`] |
//! | reqwest-middleware | [`TraceLayer`] (feature `reqwest-middleware`) |
//! | any other | [`trace_headers`], [`inject`] |
//! | a peer without tracing | [`traced()`], or [`try_traced`] for a call that can fail: log lines and a span, no headers; [`peer`] logs its URL and status |
//!
//! ```
//! use logtracer_sdk::prelude::*;
//! use logtracer_sdk::{TraceContext, client};
//!
//! // The headers of a call carry the current trace, the same one in each format.
//! let headers = TraceContext::new_root().run(client::trace_headers);
//! let trace = headers["x-b3-traceid"].to_str().unwrap();
//! assert!(headers["traceparent"].to_str().unwrap().contains(trace));
//! assert!(headers["x-cloud-trace-context"].to_str().unwrap().starts_with(trace));
//! ```

mod allowed;
mod hosts;
mod inject;
mod layer;
#[cfg(feature = "reqwest-middleware")]
mod middleware;
mod outer_call;
mod peer_call;
#[cfg(feature = "reqwest")]
mod reqwest;
mod service;
mod traced;

#[cfg(feature = "reqwest")]
pub use self::reqwest::WithTrace;
pub use crate::request::{RequestLog, ResponseBody, ResponseFuture, ServiceError, TraceBody};
pub use hosts::{Hosts, HostsError};
pub use inject::{inject, inject_with, trace_headers};
pub use layer::{ClientTraceLayer, TraceLayer};
#[doc(inline)]
pub use logtracer_core::request::url::{Query, UnknownQuery};
#[cfg(feature = "server")]
pub(crate) use outer_call::OuterCall;
pub use peer_call::{PeerCall, peer};
pub use service::{TraceService, UrlTemplate};
pub use traced::{traced, try_traced};
