//! The service with logtracer-sdk, which exports its spans.

#[path = "../../shared/sdk.rs"]
mod sdk;
#[path = "../../shared/shop.rs"]
mod shop;

use std::error::Error;

use logtracer_sdk::Logging;
use logtracer_sdk::spans::SpanExport;
use shop::Stock;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    Logging::new("my-project", "shop").install()?;
    let _exporter = SpanExport::new("shop", "http://127.0.0.1:4318").install()?;
    shop::serve(sdk::app(Stock::from_environment()?)).await
}
