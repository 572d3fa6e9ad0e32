//! The service with logtracer-sdk.

#[path = "../../shared/sdk.rs"]
mod sdk;
#[path = "../../shared/shop.rs"]
mod shop;

use std::error::Error;

use logtracer_sdk::Logging;
use shop::Stock;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    Logging::new("my-project", "shop").install()?;
    shop::serve(sdk::app(Stock::from_environment()?)).await
}
