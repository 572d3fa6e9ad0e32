//! The SDK in whole services, through its public API.

mod actix;
mod events;
mod fields;
mod grpc;
mod hyper;
mod isolation;
mod lines;
mod logs;
mod mesh;
mod messages;
mod messaging;
mod opentelemetry;
mod outbound;
mod requests;
mod serving;
#[path = "../../examples/shop_rpc/mod.rs"]
mod shop_rpc;
mod span_carrier;
