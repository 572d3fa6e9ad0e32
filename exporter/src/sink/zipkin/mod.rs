//! Any Zipkin v2 receiver, in JSON: `POST /api/v2/spans` (<https://zipkin.io/zipkin-api/>).

mod span;

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::Span;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};

use super::body::{BodyBudget, MAX_BODY_BYTES};
use super::http;
use super::json_body::{Frame, write_items};
use crate::deliver::{Accepted, Chunk, DeliveryError, Pace, Sink};
use span::ZipkinSpan;

/// A Zipkin receiver.
#[derive(Debug)]
pub(crate) struct Zipkin {
    client: Client,
    url: Url,
    budget: BodyBudget,
}

impl Zipkin {
    pub(crate) fn new(url: &Url) -> anyhow::Result<Self> {
        let mut url = url.clone();
        if url.path().trim_end_matches('/').is_empty() {
            url.set_path("/api/v2/spans");
        }
        Ok(Self { client: http::client()?, url, budget: BodyBudget::new() })
    }
}

/// The body is a list.
const FRAME: Frame = Frame { start: "[", separator: ",", end: "]" };

impl Sink for Zipkin {
    fn pace(&self) -> Pace {
        Pace { calls: 16, items: 1024, bytes: 1 << 20, linger: Duration::from_millis(50) }
    }

    async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        let (truncated, body) = self.budget.make(MAX_BODY_BYTES, || body(chunk)).await?;
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(http::body(body));
        http::send(request).await?;
        Ok(Accepted { truncated, ..Default::default() })
    }
}

/// Returns the spans of a chunk as a list of Zipkin spans, and the number of truncated spans.
fn body(chunk: &Chunk) -> Result<(u32, Bytes), DeliveryError> {
    let body = write_items(chunk, FRAME, |out, shared, span: &Span| {
        let span = ZipkinSpan::new(span, shared.resource.as_ref(), shared.scope.as_ref());
        serde_json::to_writer(out, &span).map(|()| false)
    })?;
    Ok((body.truncated, body.bytes))
}
