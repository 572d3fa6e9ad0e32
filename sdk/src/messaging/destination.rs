//! [`Destination`]: sends and processes messages, in spans by OpenTelemetry's conventions for messaging.

use std::borrow::Cow;
use std::future::Future;

use super::context::Received;
use super::span::{MessageSpan, Operation};
use super::{Headers, MessageFuture};
use crate::current::detached;

/// Runs a future for a received message, in the trace of its sender.
///
/// A message without a trace starts one, whatever trace is current.
/// With the feature `spans` and an exporter, the future has a span of the kind `CONSUMER`, as that of
/// [`Destination::process`], which has a better name.
///
/// ```
/// use logtracer_sdk::messaging::consume;
/// use logtracer_sdk::testing::capture_async;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let attributes = [("googclient_traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01")];
/// let (_, lines) = capture_async(consume(&attributes, async { tracing::info!("packing") })).await;
/// assert_eq!(lines[0]["trace"], "463ac35c9f6413ad48485a3953bb6124");
/// # });
/// ```
pub fn consume<H, F>(headers: &H, future: F) -> MessageFuture<F>
where
    H: Headers + ?Sized,
    F: Future,
{
    process(Received::from_headers(headers), MessageSpan::new(Operation::Process, None), future)
}

fn process<F: Future>(received: Received, span: MessageSpan, future: F) -> MessageFuture<F> {
    let span = match received.sender() {
        // The conventions want the link to the sender also where it is the parent.
        Some(sender) => span.link(sender),
        None => span.root(),
    };
    match received.scope() {
        Some(scope) => scope.run(|| span.around(future)),
        None => detached(|| span.around(future)),
    }
}

/// A queue or a topic: names the spans of its messages.
///
/// ```
/// use logtracer_sdk::messaging::Destination;
/// use logtracer_sdk::current_trace;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let orders = Destination::new("kafka", "orders");
/// let headers = vec![("traceparent", b"00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01")];
/// let trace = orders.with_message_id("17").process(&headers, async { current_trace() }).await;
/// assert_eq!(trace.unwrap().trace_id.to_string(), "463ac35c9f6413ad48485a3953bb6124");
/// # });
/// ```
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "spans"), allow(dead_code))]
pub struct Destination {
    pub(super) system: Cow<'static, str>,
    pub(super) name: Cow<'static, str>,
    pub(super) message_id: Option<Cow<'static, str>>,
}

impl Destination {
    /// Returns the queue or topic with this name, in a system as `messaging.system` names it: `gcp_pubsub`, `kafka`,
    /// `rabbitmq`, `aws_sqs`, `servicebus` …
    ///
    /// A good name is general: the name of a topic, not that of a temporary queue.
    pub fn new(system: impl Into<Cow<'static, str>>, name: impl Into<Cow<'static, str>>) -> Self {
        Self { system: system.into(), name: name.into(), message_id: None }
    }

    /// Returns the destination of the message with this id, which its span then has as `messaging.message.id`.
    #[must_use]
    pub fn with_message_id(&self, id: impl Into<Cow<'static, str>>) -> Self {
        Self { message_id: Some(id.into()), ..self.clone() }
    }

    /// Runs a future that sends a message, in a span `send <name>` of the kind `PRODUCER`.
    ///
    /// Call [`inject`](super::inject) within it, so that the message carries this span.
    /// Without a current trace, it starts one. Without the feature `spans`, the message carries the current trace.
    pub fn send<F: Future>(&self, future: F) -> MessageFuture<F> {
        MessageSpan::new(Operation::Send, Some(self)).around(future)
    }

    /// Runs a future for a received message, in the trace of its sender, and in a span `process <name>` of the kind
    /// `CONSUMER`.
    ///
    /// The span is a child of the sender's span, and has a link to it. If the message names a trace and no span, it is a
    /// root of this trace. A message without a trace starts one.
    pub fn process<H, F>(&self, headers: &H, future: F) -> MessageFuture<F>
    where
        H: Headers + ?Sized,
        F: Future,
    {
        process(Received::from_headers(headers), MessageSpan::new(Operation::Process, Some(self)), future)
    }

    /// Runs a future for several received messages together, in one span `process <name>` of the kind `CONSUMER`
    /// with a link to the sender of each message.
    ///
    /// The messages can have different traces, so the span is in none of them: it is a child of the current span, or
    /// the root of a new trace.
    ///
    /// ```
    /// use logtracer_sdk::messaging::Destination;
    /// use logtracer_sdk::current_trace;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let orders = Destination::new("gcp_pubsub", "orders");
    /// let batch = ["4", "5"].map(|digit| {
    ///     [("traceparent", format!("00-463ac35c9f6413ad48485a3953bb612{digit}-00f067aa0ba902b7-01"))]
    /// });
    /// let trace = orders.process_batch(&batch, async { current_trace() }).await.unwrap();
    /// assert!(!trace.trace_id.to_string().starts_with("463ac35c"));
    /// # });
    /// ```
    pub fn process_batch<H, F>(&self, messages: impl IntoIterator<Item = H>, future: F) -> MessageFuture<F>
    where
        H: Headers,
        F: Future,
    {
        let span = MessageSpan::new(Operation::Process, Some(self));
        let (span, count) = messages.into_iter().fold((span, 0), |(span, count), headers| {
            let sender = Received::from_headers(&headers).sender();
            (sender.into_iter().fold(span, MessageSpan::link), count + 1)
        });
        span.message_count(count).around(future)
    }
}
