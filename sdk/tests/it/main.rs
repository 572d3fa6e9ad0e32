//! The SDK as a service uses it.

mod actix;
mod carry;
mod events;
mod grpc;
mod hyper;
mod isolation;
mod lines;
mod logs;
mod mesh;
mod messages;
mod outbound;
mod requests;
mod serving;
#[path = "../../examples/shop_rpc/mod.rs"]
mod shop_rpc;
