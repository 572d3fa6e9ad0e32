//! The service with OpenTelemetry, which exports its spans over OTLP/HTTP.

#[path = "../../shared/otel.rs"]
mod otel;
#[path = "../../shared/shop.rs"]
mod shop;

use std::error::Error;

use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::SdkTracerProvider;
use shop::Stock;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let exporter = SpanExporter::builder().with_http().build()?;
    otel::install(&SdkTracerProvider::builder().with_batch_exporter(exporter).build())?;
    shop::serve(otel::app(Stock::from_environment()?)).await
}
