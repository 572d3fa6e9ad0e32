//! A gRPC service and its client: the log lines of both, with request messages and a redacted field.
//!
//! `cargo run -p logtracer-sdk --example tonic` calls itself twice and exits.

mod shop_rpc;

use logtracer_sdk::prelude::*;
use logtracer_sdk::server::{Messages, RequestLog, TraceLayer};
use logtracer_sdk::{Format, Logging, Project, TraceContext, client};
use shop_rpc::{BuyReply, BuyRequest, ShopServer, buy, descriptors};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

async fn handle(request: Request<BuyRequest>) -> Result<Response<BuyReply>, Status> {
    let item = request.into_inner().item;
    tracing::info!(item, "buying");
    match item.as_str() {
        "bread" => Ok(Response::new(BuyReply { order: 7 })),
        _ => Err(Status::not_found("we have only bread")),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    Logging::new(Project::none(), "shop").format(Format::Local).install()?;

    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let address = incoming.local_addr()?;
    let messages = Messages::new(&descriptors())?.redact(["card"])?;
    let server = Server::builder()
        .layer(TraceLayer::grpc().requests(RequestLog::Pair).messages(messages))
        .add_service(ShopServer(handle))
        .serve_with_incoming(incoming);
    tokio::spawn(server);

    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
    let traced = client::TraceLayer::new().requests(RequestLog::Pair);
    let shop = tower::ServiceBuilder::new().layer(traced).service(channel);
    for item in ["bread", "eggs"] {
        // Within a server layer there is a current trace. A program without one starts it.
        let reply = buy(shop.clone(), item, "4111-1111").in_trace(TraceContext::new_root()).await;
        if let Err(status) = reply {
            tracing::warn!(code = ?status.code(), "not bought");
        }
    }
    Ok(())
}
