//! The SDK in whole services, through its public API.

mod actix;
mod allowed_headers;
mod cancelled_calls;
mod caught_panics;
mod changing_levels;
mod client_errors;
mod compiler_messages;
mod events;
mod fields;
mod grpc;
mod hosts;
mod hyper;
mod isolation;
mod lines;
mod logs;
mod mesh;
mod messages;
mod messaging;
mod nested_calls;
mod not_ready;
mod opentelemetry;
mod outbound;
mod request_fields;
mod requests;
mod separate_errors;
mod serving;
#[path = "../../examples/shop_rpc/mod.rs"]
mod shop_rpc;
mod span_carrier;
mod time_limits;
mod trailers;
mod upgrades;
