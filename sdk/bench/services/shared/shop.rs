//! What all services share: a listener, and a call to the next service.

use std::error::Error;

use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, Request, Uri};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;

/// The next service, at the URL in `STOCK`.
#[derive(Clone)]
pub struct Stock {
    client: Client<HttpConnector, Empty<Bytes>>,
    url: Uri,
}

impl Stock {
    pub fn from_environment() -> Result<Self, Box<dyn Error>> {
        let url = std::env::var("STOCK")?.parse()?;
        Ok(Self { client: Client::builder(TokioExecutor::new()).build_http(), url })
    }

    /// Calls the service with these headers, and returns its status.
    pub async fn call(&self, headers: HeaderMap) -> String {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = headers;
        let response = self.client.request(request).await;
        response.map_or_else(|error| error.to_string(), |response| response.status().to_string())
    }
}

/// Serves at the address in `LISTEN`.
pub async fn serve(app: Router) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(std::env::var("LISTEN")?).await?;
    Ok(axum::serve(listener, app).await?)
}
