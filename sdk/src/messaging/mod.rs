//! Messages of a queue or a topic: the trace goes with them, in their headers or attributes.
//!
//! ```text
//!  producer: orders.send(async { inject(&mut headers); … })     consumer: orders.process(&headers, handle(message))
//!                                    │                                                   ▲
//!                                    └── traceparent, tracestate ── Pub/Sub, Kafka, … ───┘
//! ```
//!
//! No client of a broker is a dependency: headers and attributes are maps, lists of pairs, or any type that implements
//! [`Headers`] and [`HeadersMut`].
//!
//! The log lines of the consumer have the trace of the producer, with or without spans.
//! With the feature `spans` and an exporter, sending and processing have spans by OpenTelemetry's conventions for
//! messaging: kinds, names, attributes and links.
//!
//! <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>
//!
//! ```
//! use std::collections::HashMap;
//! use logtracer_sdk::messaging::{Destination, consume, inject};
//! use logtracer_sdk::prelude::*;
//! use logtracer_sdk::{TraceContext, current_trace};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let orders = Destination::new("gcp_pubsub", "orders");
//! let request = TraceContext::new_root();
//! let work = async {
//!     let mut attributes = HashMap::from([("region".to_owned(), "eu".to_owned())]);
//!     orders.send(async {
//!         inject(&mut attributes);
//!         // topic.publish(message).await
//!     }).await;
//!     attributes
//! };
//! let attributes = work.in_trace(request).await;
//!
//! // In another service, later:
//! let processed = consume(&attributes, async { current_trace() }).await;
//! assert_eq!(processed.unwrap().trace_id, request.trace_id);
//! # });
//! ```

mod context;
mod destination;
mod future;
mod headers;
mod span;

pub use context::{extract, inject};
pub use destination::{Destination, consume};
pub use future::MessageFuture;
pub use headers::{Headers, HeadersMut};
