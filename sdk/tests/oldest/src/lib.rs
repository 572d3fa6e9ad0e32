//! A service on the oldest version of each crate that docs/sdk.md names. It has to compile.

use std::convert::Infallible;
use std::net::SocketAddr;

use http::{Request, Response, Uri};
use http_body_util::Full;
use logtracer_sdk::{client, server};
use tonic::body::BoxBody;
use tonic::client::GrpcService;
use tonic::transport::{Channel, Endpoint, Server};
use tower::{Layer as _, Service, ServiceBuilder, service_fn};
use tower_http::trace::TraceLayer;

/// axum 0.7.
pub async fn axum(address: SocketAddr) -> std::io::Result<()> {
    let router = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, router.layer(server::TraceLayer::new())).await
}

/// A server of tonic 0.12.
pub async fn tonic(address: SocketAddr) -> Result<(), tonic::transport::Error> {
    let routes = tonic::service::Routes::default();
    Server::builder().layer(server::TraceLayer::grpc()).add_routes(routes).serve(address).await
}

/// A channel of tonic 0.12 for a generated client.
pub fn tonic_client(uri: Uri) -> impl GrpcService<BoxBody> {
    let channel: Channel = Endpoint::from(uri.clone()).connect_lazy();
    client::TraceLayer::new().peer(uri).layer(channel)
}

/// tower 0.4 and tower-http 0.5, on both sides of the layer.
pub fn tower() -> impl Service<Request<Full<&'static [u8]>>> {
    let handler = service_fn(|_: Request<Full<&'static [u8]>>| async {
        Ok::<_, Infallible>(Response::new(Full::new(&b"hello"[..])))
    });
    ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(server::TraceLayer::new())
        .layer(TraceLayer::new_for_http())
        .service(handler)
}

/// reqwest 0.12, which has no `with_trace`.
pub async fn reqwest(client: &reqwest::Client) -> reqwest::Result<reqwest::Response> {
    client.get("http://stock/").headers(client::trace_headers()).send().await
}
