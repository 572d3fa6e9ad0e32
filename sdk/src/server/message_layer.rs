//! [`MessageLayer`]: reads the first message of a gRPC request along with the handler.
//!
//! ```text
//!  TraceService ── Received in the extensions ──► MessageService ──► MessageBody ──► handler
//!       │                                                                │ the first message is there
//!       └──◄── lines: `received gRPC call`, `request` ◄── Received ◄─────┘
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, header};
use http_body::{Body, Frame, SizeHint};
use logtracer_core::request::grpc;
use pin_project_lite::pin_project;
use prost_reflect::MessageDescriptor;
use tower_layer::Layer;
use tower_service::Service;

use super::Messages;
use crate::exchange::Received;

/// The longest message that is logged, in bytes on the wire.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// The part of a layer that reads request messages; made by [`TraceLayer::messages`](super::TraceLayer::messages).
///
/// ```
/// use http_body_util::{BodyExt, Full};
/// use logtracer_sdk::server::{MessageBody, MessageLayer, Messages, TraceLayer};
/// use logtracer_sdk::testing::capture_async;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let layers = TraceLayer::grpc().messages(Messages::new(b"").unwrap());
/// let layers: tower_layer::Stack<MessageLayer, TraceLayer> = layers;
/// # let handler = service_fn(async |request: http::Request<MessageBody<Full<bytes::Bytes>>>| {
/// #     let body = request.into_body().collect().await.unwrap().to_bytes();
/// #     Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(body)))
/// # });
/// # let request = http::Request::post("http://shop/demo.Shop/Buy").body(Full::new(bytes::Bytes::from("?"))).unwrap();
/// let (response, _) = capture_async(layers.layer(handler).oneshot(request)).await;
/// assert_eq!(response.unwrap().status(), 200);
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct MessageLayer(pub(super) Messages);

impl<S> Layer<S> for MessageLayer {
    type Service = MessageService<S>;

    fn layer(&self, inner: S) -> MessageService<S> {
        MessageService { inner, messages: self.0.clone() }
    }
}

/// A service whose first request messages are read along; made by [`MessageLayer`].
///
/// ```
/// use http_body_util::{BodyExt, Full};
/// use logtracer_sdk::server::{MessageBody, MessageService, Messages, TraceLayer, TraceService};
/// use logtracer_sdk::testing::capture_async;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let layers = TraceLayer::grpc().messages(Messages::new(b"").unwrap());
/// # let handler = service_fn(async |request: http::Request<MessageBody<Full<bytes::Bytes>>>| {
/// #     let body = request.into_body().collect().await.unwrap().to_bytes();
/// #     Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(body)))
/// # });
/// # let request = http::Request::post("http://shop/demo.Shop/Buy").body(Full::new(bytes::Bytes::from("?"))).unwrap();
/// let service: TraceService<MessageService<_>> = layers.layer(handler);
/// let (response, _) = capture_async(service.oneshot(request)).await;
/// assert!(response.is_ok());
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct MessageService<S> {
    inner: S,
    messages: Messages,
}

impl<S, B> Service<Request<B>> for MessageService<S>
where
    S: Service<Request<MessageBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let received = request.extensions_mut().remove::<Arc<Received>>();
        let is_text = request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| grpc::is_web_text_content_type(value.as_bytes()));
        let reading = received.and_then(|received| match self.messages.input(request.uri().path()) {
            // The messages of gRPC-Web's text are in Base64, which nobody reads here.
            Some(descriptor) if !is_text && received.is_wanted() => {
                Some(Reading { received, descriptor, messages: self.messages.clone(), bytes: Vec::new() })
            }
            _ => {
                received.tell(None);
                None
            }
        });
        self.inner.call(request.map(|inner| MessageBody { inner, reading }))
    }
}

pin_project! {
    /// The body of a gRPC request whose first message is read along.
    ///
    /// ```
    /// use http_body_util::{BodyExt, Full};
    /// use logtracer_sdk::server::{MessageBody, Messages, TraceLayer};
    /// use logtracer_sdk::testing::capture_async;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// // The handler gets its bytes as they came.
    /// let layers = TraceLayer::grpc().messages(Messages::new(b"").unwrap());
    /// # let handler = service_fn(async |request: http::Request<MessageBody<Full<bytes::Bytes>>>| {
    /// #     let body = request.into_body().collect().await.unwrap().to_bytes();
    /// #     Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(body)))
    /// # });
    /// # let request = http::Request::post("http://shop/demo.Shop/Buy").body(Full::new(bytes::Bytes::from("?"))).unwrap();
    /// let (response, _) = capture_async(layers.layer(handler).oneshot(request)).await;
    /// assert_eq!(response.unwrap().into_body().collect().await.unwrap().to_bytes(), "?");
    /// # });
    /// ```
    #[derive(Debug)]
    pub struct MessageBody<B> {
        #[pin]
        inner: B,
        reading: Option<Reading>,
    }
}

impl<B: Body<Data = Bytes>> Body for MessageBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        let data = match &frame {
            Some(Ok(frame)) => frame.data_ref(),
            _ => None,
        };
        let is_over = match (&mut *this.reading, data) {
            (Some(reading), Some(data)) => reading.take(data),
            _ => frame.is_none(),
        };
        if is_over {
            *this.reading = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The first message as far as it is there.
#[derive(Debug)]
struct Reading {
    received: Arc<Received>,
    descriptor: MessageDescriptor,
    messages: Messages,
    /// The prefix and the message, never more.
    bytes: Vec<u8>,
}

impl Reading {
    /// Takes what belongs to the first message; true when it is complete, and told.
    fn take(&mut self, mut data: &[u8]) -> bool {
        self.take_up_to(PREFIX_BYTES, &mut data);
        let Some((&[flag, length @ ..], _)) = self.bytes.split_first_chunk::<PREFIX_BYTES>() else {
            return false;
        };
        let length = u32::from_be_bytes(length) as usize;
        if flag != 0 {
            return self.tell(format!("({length} bytes, compressed)"));
        }
        if length > MAX_MESSAGE_BYTES {
            return self.tell(format!("({length} bytes)"));
        }
        self.take_up_to(PREFIX_BYTES + length, &mut data);
        match self.bytes.get(PREFIX_BYTES..) {
            Some(message) if message.len() == length => {
                self.tell(self.messages.text_of(self.descriptor.clone(), message))
            }
            _ => false,
        }
    }

    /// Moves bytes from `data` until there are `wanted` in all.
    fn take_up_to(&mut self, wanted: usize, data: &mut &[u8]) {
        let missing = wanted.saturating_sub(self.bytes.len()).min(data.len());
        let (taken, rest) = data.split_at_checked(missing).unwrap_or_default();
        self.bytes.extend_from_slice(taken);
        *data = rest;
    }

    fn tell(&self, message: String) -> bool {
        self.received.tell(Some(message));
        true
    }
}

impl Drop for Reading {
    /// Whoever did not send a whole message has called as well.
    fn drop(&mut self) {
        self.received.tell(None);
    }
}
