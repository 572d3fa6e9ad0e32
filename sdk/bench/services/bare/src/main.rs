//! The service without lines and without a trace: what the others add to.

#[path = "../../shared/shop.rs"]
mod shop;

use std::error::Error;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::HeaderMap;
use shop::Stock;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = Router::new().route("/basket/{id}", get(basket)).with_state(Stock::from_environment()?);
    shop::serve(app).await
}

async fn basket(State(stock): State<Stock>) -> String {
    stock.call(HeaderMap::new()).await
}
