//! `demo.Prices`, a gRPC service with one method: what tonic generates from a proto file, in short.

use axum::extract::Request;
use axum::routing::{MethodRouter, post};
use logtracer_sdk::client::TraceService;
use tonic::transport::Channel;
use tonic::{Response, Status};
use tonic_prost::ProstCodec;

/// The path of the method.
pub const QUOTE: &str = "/demo.Prices/Quote";

/// Asks for the price of an order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct QuoteRequest {
    /// The number of the order.
    #[prost(uint32, tag = "1")]
    pub order: u32,
}

/// The price of an order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Quote {
    /// In cents.
    #[prost(uint32, tag = "1")]
    pub cents: u32,
}

/// Serves the method at [`QUOTE`], beside the routes of HTTP.
pub fn service<F>(quote: fn(QuoteRequest) -> F) -> MethodRouter
where
    F: Future<Output = Result<Quote, Status>> + Send + 'static,
{
    let method = tower::service_fn(move |request: tonic::Request<QuoteRequest>| {
        let quote = quote(request.into_inner());
        async { quote.await.map(Response::new) }
    });
    post(async move |request: Request| {
        tonic::server::Grpc::new(ProstCodec::default()).unary(method, request).await
    })
}

/// Calls the method.
pub async fn quote(client: TraceService<Channel>, order: u32) -> Result<Quote, Status> {
    let mut grpc = tonic::client::Grpc::new(client);
    grpc.ready().await.map_err(|cause| Status::unavailable(cause.to_string()))?;
    let request = tonic::Request::new(QuoteRequest { order });
    let path = axum::http::uri::PathAndQuery::from_static(QUOTE);
    Ok(grpc.unary(request, path, ProstCodec::default()).await?.into_inner())
}
