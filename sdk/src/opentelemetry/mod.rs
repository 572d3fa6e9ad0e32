//! OpenTelemetry beside this crate in one process: one trace, one current span.
//!
//! With the feature `opentelemetry` the current trace is the same on both sides, and there is nothing to call:
//!
//! ```text
//!  TraceLayer, in_trace, run, enter ──► CONTEXT ──attached as a remote span──► opentelemetry::Context
//!                                                                                     ▲
//!                          tracing-opentelemetry, Tracer::in_span, Context::attach ───┘
//!
//!  current_trace(), log lines, outgoing headers ◄── the innermost of both
//! ```
//!
//! - An OpenTelemetry span that starts within a request is a child of the request's span, in its trace.
//! - Inside an OpenTelemetry span, [`current_trace()`](crate::current_trace), log lines and outgoing headers have the ids
//!   of that span.
//! - [`server::TraceLayer`](crate::server::TraceLayer) within a layer of OpenTelemetry joins the span of that layer.
//!
//! What is innermost is what was entered last. The order of layers in the subscriber does not matter, nor that of the
//! layers of a server. On a client, the layer of this crate belongs inside that of OpenTelemetry, next to the
//! connection: the layer that is innermost writes its span into the headers.
//!
//! The bridge reads [`opentelemetry::Context::current`] of the crate `opentelemetry` 0.33. `tracing-opentelemetry` 0.34
//! attaches its spans there, unless `with_context_activation(false)` is set.
//! Another version of `opentelemetry` has a current context of its own, which the bridge cannot see.
//!
//! OpenTelemetry has no undecided sampling. If nobody has decided on a trace, it sees a sampled parent.
//! [`RootSampler`] lets the sampler of a root decide instead.
//!
//! The functions of this module convert a context by hand:
//!
//! ```
//! use logtracer_sdk::opentelemetry::{from_context, to_context};
//! use logtracer_sdk::prelude::*;
//! use logtracer_sdk::{Sampling, TraceContext, current_trace};
//! use opentelemetry::trace::TraceContextExt as _;
//!
//! let trace = TraceContext::new_root().with_sampling(Sampling::Accept);
//! let context = to_context(&trace);
//! assert_eq!(context.span().span_context().trace_id().to_string(), trace.trace_id.to_string());
//!
//! // The same by itself:
//! trace.run(|| assert_eq!(from_context(&opentelemetry::Context::current()).unwrap().span_id, trace.span_id));
//! let _attached = context.attach();
//! assert_eq!(current_trace().unwrap().span_id, trace.span_id);
//! ```

mod convert;
mod mirror;
mod sampler;
mod thread;

pub use convert::{from_context, to_context};
pub(crate) use mirror::{Attached, Mirror, carried_beside, foreign};
pub use sampler::RootSampler;
