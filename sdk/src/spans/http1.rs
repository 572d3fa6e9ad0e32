//! One HTTP/1.1 request on a connection of its own, with a response that is bounded.

use bytes::Bytes;
use http::{Request, response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The maximum number of bytes of a response that are read.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The start of a response body.
#[derive(Debug, Default)]
pub(crate) struct BodyPrefix {
    pub(crate) bytes: Vec<u8>,
    /// False if the body is longer, or was cut off.
    pub(crate) is_complete: bool,
}

/// Sends a request, and reads the response. Its status counts even if the body is cut off.
pub(crate) async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> hyper::Result<(response::Parts, BodyPrefix)> {
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (head, body) = client.send_request(request).await?.into_parts();
        Ok((head, read_prefix(body).await))
    };
    tokio::pin!(exchange);
    tokio::select! {
        result = &mut exchange => result,
        // The connection may end when the response is complete.
        _ = connection => exchange.await,
    }
}

async fn read_prefix(mut body: Incoming) -> BodyPrefix {
    let mut prefix = BodyPrefix::default();
    loop {
        let frame = match body.frame().await {
            None => {
                prefix.is_complete = true;
                return prefix;
            }
            Some(Ok(frame)) => frame,
            Some(Err(_)) => return prefix,
        };
        let Some(data) = frame.data_ref() else { continue };
        let free = MAX_RESPONSE_BYTES - prefix.bytes.len();
        prefix.bytes.extend_from_slice(data.get(..free).unwrap_or(data));
        if data.len() > free {
            return prefix;
        }
    }
}
