//! Requests that go out: the headers that hand the trace on to the next hop.
//!
//! | the client | what hands the trace on |
//! |---|---|
//! | reqwest | `client.get(url).with_trace()`, or `.send_traced()` with the original's two lines |
//! | hyper, tonic, tower | [`TraceLayer`] |
//! | reqwest-middleware | [`TraceLayer`], too (feature `reqwest-middleware`) |
//! | any other | [`trace_headers`], [`inject`] |
//! | a peer that knows nothing of tracing | [`traced()`] |

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
pub use traced::traced;
