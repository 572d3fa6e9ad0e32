//! The service with tracing-stackdriver, and its trace by hand.

#[path = "../../shared/by_hand.rs"]
mod by_hand;
#[path = "../../shared/shop.rs"]
mod shop;

use std::error::Error;

use shop::Stock;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let levels = tracing_subscriber::registry().with(EnvFilter::new("info"));
    levels.with(tracing_stackdriver::layer()).try_init()?;
    shop::serve(by_hand::app(Stock::from_environment()?)).await
}
