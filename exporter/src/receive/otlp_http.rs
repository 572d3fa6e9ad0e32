//! OTLP/HTTP: `POST /v1/traces`.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::body::{self, Packing};
use super::decode::{self, Invalid};
use super::status::{Encoding, Refusal, accepted};
use super::{Reason, Receive};

/// The routes of `--http`.
pub(crate) fn router(receive: Receive) -> Router {
    Router::new()
        .route("/v1/traces", post(traces))
        .method_not_allowed_fallback(async || {
            (StatusCode::METHOD_NOT_ALLOWED, "only POST is possible here\n")
        })
        .fallback(async || (StatusCode::NOT_FOUND, "nothing is here: spans go to POST /v1/traces\n"))
        .with_state(receive)
}

async fn traces(State(receive): State<Receive>, request: Request) -> Response {
    // An unknown encoding is answered in JSON, which everybody can read.
    let encoding = encoding_of(request.headers());
    let answered_in = *encoding.as_ref().unwrap_or(&Encoding::Json);
    let result = match encoding {
        Ok(encoding) => commit(&receive, encoding, request).await,
        Err(refusal) => Err(refusal),
    };
    match result {
        Ok(invalid) => accepted(answered_in, &invalid),
        Err(refusal) => {
            let label = Reason { reason: refusal.reason() };
            receive.metrics.requests_refused.get_or_create(&label).inc();
            refusal.response(answered_in).into_response()
        }
    }
}

async fn commit(
    receive: &Receive,
    encoding: Encoding,
    request: Request,
) -> Result<BTreeMap<Invalid, u32>, Refusal> {
    let packing = Packing::of(request.headers())?;
    let (body, _permit) = body::read(&receive.budget, packing, request.into_body()).await?;
    let decoded = decode::traces(encoding, body)?;
    receive.commit(decoded).await
}

fn encoding_of(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let value = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let value = value.unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        if essence.eq_ignore_ascii_case(encoding.content_type()) {
            return Ok(encoding);
        }
    }
    Err(Refusal::ContentType(essence.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_may_have_parameters() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            encoding_of(&headers)
        };
        assert_eq!(of("application/x-protobuf"), Ok(Encoding::Protobuf));
        assert_eq!(of("Application/JSON; charset=utf-8"), Ok(Encoding::Json));
        assert_eq!(of("text/plain"), Err(Refusal::ContentType("text/plain".to_owned())));
        assert_eq!(encoding_of(&HeaderMap::new()), Err(Refusal::ContentType(String::new())));
    }
}
