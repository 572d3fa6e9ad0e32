//! The service with OpenTelemetry, which exports no spans.

#[path = "../../shared/otel.rs"]
mod otel;
#[path = "../../shared/shop.rs"]
mod shop;

use std::error::Error;

use opentelemetry_sdk::trace::SdkTracerProvider;
use shop::Stock;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    otel::install(&SdkTracerProvider::builder().build())?;
    shop::serve(otel::app(Stock::from_environment()?)).await
}
