//! Any Zipkin v2 receiver, in JSON: `POST /api/v2/spans` (<https://zipkin.io/zipkin-api/>).

mod span;

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};

use super::http;
use crate::deliver::{Accepted, Chunk, DeliveryError, Pace, Sink, decode};
use span::ZipkinSpan;

/// A Zipkin receiver.
#[derive(Debug)]
pub(crate) struct Zipkin {
    client: Client,
    url: Url,
}

impl Zipkin {
    pub(crate) fn new(url: &Url) -> anyhow::Result<Self> {
        let mut url = url.clone();
        if url.path().trim_end_matches('/').is_empty() {
            url.set_path("/api/v2/spans");
        }
        Ok(Self { client: http::client()?, url })
    }
}

impl Sink for Zipkin {
    fn pace(&self) -> Pace {
        Pace { calls: 16, items: 1024, bytes: 1 << 20, linger: Duration::from_millis(50) }
    }

    async fn deliver(&self, chunk: &Chunk) -> Result<Accepted, DeliveryError> {
        let body = body(&decode(chunk)?).map_err(|reason| DeliveryError::Rejected { reason })?;
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(http::body(body.into()));
        http::send(request).await?;
        Ok(Accepted::default())
    }
}

/// Returns the spans of an OTLP request as a list of Zipkin spans.
fn body(request: &ExportTraceServiceRequest) -> Result<Vec<u8>, String> {
    let spans: Vec<ZipkinSpan> = request
        .resource_spans
        .iter()
        .flat_map(|resource_spans| {
            resource_spans.scope_spans.iter().map(move |scope_spans| (resource_spans, scope_spans))
        })
        .flat_map(|(resource_spans, scope_spans)| {
            let resource = resource_spans.resource.as_ref();
            scope_spans
                .spans
                .iter()
                .map(move |span| ZipkinSpan::new(span, resource, scope_spans.scope.as_ref()))
        })
        .collect();
    serde_json::to_vec(&spans).map_err(|error| error.to_string())
}
