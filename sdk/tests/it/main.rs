//! The SDK as a service uses it.

mod actix;
mod carry;
mod events;
mod grpc;
mod isolation;
mod lines;
mod logs;
mod mesh;
mod messages;
mod outbound;
mod requests;
#[path = "../../examples/shop_rpc/mod.rs"]
mod shop_rpc;
