//! Requests that go out: the headers that hand the trace on to the next hop.

mod headers;
#[cfg(feature = "reqwest")]
mod reqwest;

#[cfg(feature = "reqwest")]
pub use self::reqwest::WithTrace;
pub use headers::{inject, trace_headers};
