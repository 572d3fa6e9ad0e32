//! HTTP in, gRPC out: client → axum `/buy` → tonic `/demo.Shop/Buy`, all in one trace.
//!
//! `cargo run -p logtracer-sdk --example mixed` sends one request to itself and exits.

mod shop_rpc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use logtracer_sdk::prelude::*;
use logtracer_sdk::server::{RequestLog, TraceLayer};
use logtracer_sdk::{Format, Logging, Project, TraceContext, client};
use shop_rpc::{BuyReply, BuyRequest, ShopServer, buy};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

async fn sell(_request: Request<BuyRequest>) -> Result<Response<BuyReply>, Status> {
    tracing::info!(stock = 3, "one less");
    Ok(Response::new(BuyReply { order: 7 }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    Logging::new(Project::none(), "shop").format(Format::Local).install()?;

    // The gRPC service.
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let stock = format!("http://{}", incoming.local_addr()?);
    let server = Server::builder()
        .layer(TraceLayer::grpc().requests(RequestLog::Single))
        .add_service(ShopServer(sell));
    tokio::spawn(server.serve_with_incoming(incoming));

    // The HTTP service, which calls it.
    let channel = Channel::from_shared(stock)?.connect().await?;
    let stock = tower::ServiceBuilder::new().layer(client::TraceLayer::new()).service(channel);
    let app = Router::new()
        .route(
            "/buy",
            get(async move || match buy(stock, "bread", "4111-1111").await {
                Ok(reply) => Ok(format!("order {}\n", reply.order)),
                Err(_) => Err(StatusCode::BAD_GATEWAY),
            }),
        )
        .layer(TraceLayer::new().requests(RequestLog::Single));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/buy", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });

    // The caller.
    let response = reqwest::Client::new().get(url).send_traced().in_trace(TraceContext::new_root()).await?;
    assert_eq!(response.text().await?, "order 7\n");
    Ok(())
}
