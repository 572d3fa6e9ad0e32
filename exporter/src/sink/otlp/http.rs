//! OTLP/HTTP with protobuf: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, RequestBuilder, Url};

use super::super::{Accepted, DeliveryError, Rejected, http};
use crate::deliver::Part;

#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

impl Http {
    pub(super) fn new(url: &Url, headers: HeaderMap) -> anyhow::Result<Self> {
        Ok(Self { client: http::client()?, url: traces(url), headers })
    }

    pub(super) async fn deliver(&self, part: &Part) -> Result<Accepted, DeliveryError> {
        let request = self.client.post(self.url.clone()).headers(self.headers.clone());
        send(request, part.body()).await
    }
}

/// Sends a request to export spans, and reads what became of it.
pub(crate) async fn send(request: RequestBuilder, body: Bytes) -> Result<Accepted, DeliveryError> {
    let request = request.header(CONTENT_TYPE, "application/x-protobuf").body(http::body(body));
    let answer = http::send(request).await?;
    // An answer that is something else than it should be is a success all the same.
    Ok(accepted(ExportTraceServiceResponse::decode(answer).unwrap_or_default()))
}

/// What the receiver tells of what it has accepted.
pub(super) fn accepted(response: ExportTraceServiceResponse) -> Accepted {
    let rejected = response.partial_success.filter(|partial| partial.rejected_spans > 0);
    Accepted {
        rejected: rejected.map(|partial| Rejected {
            items: u32::try_from(partial.rejected_spans).unwrap_or(u32::MAX),
            reason: partial.error_message,
        }),
    }
}

/// The address for traces: a URL that does not name it is the base that the SDKs take, too.
fn traces(url: &Url) -> Url {
    let mut url = url.clone();
    let path = url.path().trim_end_matches('/');
    if !path.ends_with("/v1/traces") {
        let path = format!("{path}/v1/traces");
        url.set_path(&path);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_a_base_or_complete() {
        for (given, complete) in [
            ("http://tempo:4318", "http://tempo:4318/v1/traces"),
            ("http://tempo:4318/", "http://tempo:4318/v1/traces"),
            ("https://otlp.example/otlp?key=1", "https://otlp.example/otlp/v1/traces?key=1"),
            ("https://otlp.example/a/v1/traces", "https://otlp.example/a/v1/traces"),
        ] {
            assert_eq!(traces(&Url::parse(given).unwrap()).as_str(), complete);
        }
    }
}
