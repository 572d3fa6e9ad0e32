//! `demo.Shop`, a gRPC service with one method: the code that tonic generates, written by hand to need no protoc.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{Service, StdError, http};
use tonic::server::{NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// `/demo.Shop/Buy`
pub(crate) const BUY: &str = "/demo.Shop/Buy";

/// An item to buy, and how to pay.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct BuyRequest {
    /// The name of the item.
    #[prost(string, tag = "1")]
    pub(crate) item: String,
    /// The card number, which must not be logged.
    #[prost(string, tag = "2")]
    pub(crate) card: String,
}

/// A confirmed order.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct BuyReply {
    /// The order number.
    #[prost(uint64, tag = "1")]
    pub(crate) order: u64,
}

/// Returns the file that protoc writes with `--descriptor_set_out`.
#[allow(dead_code)] // some examples log no messages
pub(crate) fn descriptors() -> Vec<u8> {
    let field = |name: &str, number, kind: Type| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        r#type: Some(kind.into()),
        label: Some(Label::Optional.into()),
        ..FieldDescriptorProto::default()
    };
    let message = |name: &str, field| DescriptorProto {
        name: Some(name.to_owned()),
        field,
        ..DescriptorProto::default()
    };
    let method = MethodDescriptorProto {
        name: Some("Buy".to_owned()),
        input_type: Some(".demo.BuyRequest".to_owned()),
        output_type: Some(".demo.BuyReply".to_owned()),
        ..MethodDescriptorProto::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("Shop".to_owned()),
        method: vec![method],
        ..ServiceDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("shop.proto".to_owned()),
        package: Some("demo".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![
            message("BuyRequest", vec![field("item", 1, Type::String), field("card", 2, Type::String)]),
            message("BuyReply", vec![field("order", 1, Type::Uint64)]),
        ],
        service: vec![service],
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

/// The service, with a function that handles its method.
#[derive(Clone)]
pub(crate) struct ShopServer<H>(pub(crate) H);

impl<H> NamedService for ShopServer<H> {
    const NAME: &'static str = "demo.Shop";
}

impl<H, F> Service<http::Request<Body>> for ShopServer<H>
where
    H: Fn(Request<BuyRequest>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<BuyReply>, Status>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = Method(self.0.clone());
        Box::pin(async move {
            if request.uri().path() != BUY {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            Ok(tonic::server::Grpc::new(ProstCodec::default()).unary(method, request).await)
        })
    }
}

struct Method<H>(H);

impl<H, F> UnaryService<BuyRequest> for Method<H>
where
    H: Fn(Request<BuyRequest>) -> F,
    F: Future<Output = Result<Response<BuyReply>, Status>>,
{
    type Response = BuyReply;
    type Future = F;

    fn call(&mut self, request: Request<BuyRequest>) -> F {
        (self.0)(request)
    }
}

/// Calls the method through a client.
pub(crate) async fn buy<C>(client: C, item: &str, card: &str) -> Result<BuyReply, Status>
where
    C: GrpcService<Body>,
    C::ResponseBody: tonic::codegen::Body + Send + 'static,
    <C::ResponseBody as tonic::codegen::Body>::Error: Into<StdError>,
    <C::ResponseBody as tonic::codegen::Body>::Data: Into<tonic::codegen::Bytes>,
    C::ResponseBody: tonic::codegen::Body<Data = tonic::codegen::Bytes>,
{
    let mut grpc = tonic::client::Grpc::new(client);
    if let Err(error) = grpc.ready().await {
        return Err(Status::unavailable(error.into().to_string()));
    }
    let request = BuyRequest { item: item.to_owned(), card: card.to_owned() };
    let path = http::uri::PathAndQuery::from_static(BUY);
    Ok(grpc.unary(Request::new(request), path, ProstCodec::default()).await?.into_inner())
}
