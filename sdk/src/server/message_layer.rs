//! [`MessageLayer`]: copies the first message of a gRPC request while the handler reads it.
//!
//! ```text
//!  TraceService ── RequestMessage in the extensions ──► MessageService ──► MessageBody ──► handler
//!       │                                                                       │
//!       └──◄── lines: `received gRPC call`, `request` ◄── RequestMessage ◄──────┘
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
use crate::request::RequestMessage;

/// The maximum size of a logged message, as it was received.
const MAX_LOGGED_MESSAGE_BYTES: usize = 16 * 1024;

/// The prefix of a message: one byte that is not 0 if it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// A layer that reads request messages; made by [`TraceLayer::messages`](super::TraceLayer::messages).
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

/// A service within which the first message of each request is read; made by [`MessageLayer`].
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
        let message = request.extensions_mut().remove::<Arc<RequestMessage>>();
        let is_text = request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| grpc::is_web_text_content_type(value.as_bytes()));
        let reading = message.and_then(|message| match self.messages.input(request.uri().path()) {
            // The text format of gRPC-Web is Base64, which is not decoded here.
            Some(descriptor) if !is_text && message.is_logged() => {
                Some(Reading { message, descriptor, messages: self.messages.clone(), bytes: Vec::new() })
            }
            _ => {
                message.set(None);
                None
            }
        });
        self.inner.call(request.map(|inner| MessageBody { inner, reading }))
    }
}

pin_project! {
    /// The body of a gRPC request; its first message is copied for the log.
    ///
    /// ```
    /// use http_body_util::{BodyExt, Full};
    /// use logtracer_sdk::server::{MessageBody, Messages, TraceLayer};
    /// use logtracer_sdk::testing::capture_async;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// // The handler gets the bytes unchanged.
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
        let is_done = match (&mut *this.reading, data) {
            (Some(reading), Some(data)) => reading.read(data),
            _ => frame.is_none(),
        };
        if is_done {
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

/// The first message of a request while it is read.
#[derive(Debug)]
struct Reading {
    message: Arc<RequestMessage>,
    descriptor: MessageDescriptor,
    messages: Messages,
    /// The prefix and the message, as far as they are read.
    bytes: Vec<u8>,
}

impl Reading {
    /// Copies the part of `data` that belongs to the first message; returns true once the message is set.
    fn read(&mut self, mut data: &[u8]) -> bool {
        self.fill(PREFIX_BYTES, &mut data);
        let Some((&[flag, length @ ..], _)) = self.bytes.split_first_chunk::<PREFIX_BYTES>() else {
            return false;
        };
        let length = u32::from_be_bytes(length) as usize;
        if flag != 0 {
            return self.set(format!("({length} bytes, compressed)"));
        }
        if length > MAX_LOGGED_MESSAGE_BYTES {
            return self.set(format!("({length} bytes)"));
        }
        self.fill(PREFIX_BYTES + length, &mut data);
        match self.bytes.get(PREFIX_BYTES..) {
            Some(message) if message.len() == length => {
                self.set(self.messages.text_of(self.descriptor.clone(), message))
            }
            _ => false,
        }
    }

    /// Moves bytes from `data` until `bytes` has this length.
    fn fill(&mut self, length: usize, data: &mut &[u8]) {
        let missing = length.saturating_sub(self.bytes.len()).min(data.len());
        let (taken, rest) = data.split_at_checked(missing).unwrap_or_default();
        self.bytes.extend_from_slice(taken);
        *data = rest;
    }

    fn set(&self, text: String) -> bool {
        self.message.set(Some(text));
        true
    }
}

impl Drop for Reading {
    /// Logs the call without a message if the body ended before its first message.
    fn drop(&mut self) {
        self.message.set(None);
    }
}
