//! Requests that go out: the headers that hand the trace on to the next hop.
//!
//! | the client | what hands the trace on |
//! |---|---|
//! | reqwest | `client.get(url).with_trace()`, or `.send_traced()` with the original's two lines |
//! | hyper, tonic, tower | [`TraceLayer`] |
//! | reqwest-middleware | [`TraceLayer`], too (feature `reqwest-middleware`) |
//! | any other | [`trace_headers`], [`inject`] |
//! | a peer that knows nothing of tracing | [`traced()`], [`try_traced`] for one whose failures count |
//!
//! ```
//! use logtracer_sdk::prelude::*;
//! use logtracer_sdk::{TraceContext, client};
//!
//! // Within a request the headers of the next one carry its trace, in each dialect the same.
//! let headers = TraceContext::new_root().run(client::trace_headers);
//! let trace = headers["x-b3-traceid"].to_str().unwrap();
//! assert!(headers["traceparent"].to_str().unwrap().contains(trace));
//! assert!(headers["x-cloud-trace-context"].to_str().unwrap().starts_with(trace));
//! ```

mod call;
mod headers;
mod layer;
#[cfg(feature = "reqwest-middleware")]
mod middleware;
#[cfg(feature = "reqwest")]
mod reqwest;
mod traced;

#[cfg(feature = "reqwest")]
pub use self::reqwest::WithTrace;
pub use crate::exchange::{RequestLog, ResponseFuture, TraceBody};
pub use headers::{inject, inject_with, trace_headers};
pub use layer::{TraceLayer, TraceService};
pub use logtracer_core::request::url::Query;
pub use traced::{traced, try_traced};
