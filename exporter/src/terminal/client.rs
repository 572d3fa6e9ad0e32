//! The API of a running exporter, and its receiver of OTLP.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use prost::Message;
use reqwest::{RequestBuilder, Response, StatusCode, Url, header};
use serde_json::Value;

use super::Output;

pub(super) struct Client {
    client: reqwest::Client,
    server: Url,
    /// The option with the server, for errors.
    option: &'static str,
    token: Option<String>,
}

/// A server, and the names of the options with its URL and its token.
pub(super) struct Server<'a> {
    pub(super) url: &'a Url,
    pub(super) token_file: Option<&'a Path>,
    pub(super) names: (&'static str, &'static str),
}

/// The timeout of the connection, and of each part of a response. A live view sends something every two seconds.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How often a request to a busy exporter is sent again, and how long to wait before.
const MAX_RETRIES: u32 = 10;
const RETRY_DELAY: Duration = Duration::from_secs(2);

impl Client {
    /// Creates a client of the viewer.
    pub(super) fn new(output: &Output) -> anyhow::Result<Self> {
        let token_file = output.view_token_file.as_deref();
        Self::of(&Server { url: &output.server, token_file, names: ("--server", "--view-token-file") })
    }

    pub(super) fn of(server: &Server<'_>) -> anyhow::Result<Self> {
        let (option, token_option) = server.names;
        let builder = reqwest::Client::builder().connect_timeout(TIMEOUT).read_timeout(TIMEOUT);
        let client = builder.build().context("failed to create an HTTP client")?;
        let token = match server.token_file {
            None => None,
            Some(file) => {
                let text = std::fs::read_to_string(file);
                let text =
                    text.with_context(|| format!("cannot read {} ({token_option})", file.display()))?;
                text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
            }
        };
        Ok(Self { client, server: server.url.clone(), option, token })
    }

    /// Returns a JSON document.
    pub(super) async fn json(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let text = self.get(path, query).await?.text().await.context("the response is incomplete")?;
        serde_json::from_str(&text).with_context(|| format!("{} did not respond with JSON", self.server))
    }

    /// Returns a response, or the error that the exporter explains.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Response> {
        // A path of the exporter can have a query: the link to the next part of a trace.
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.success(self.send(self.client.get(url)).await?).await
    }

    /// Sends a message in protobuf, and returns that of the response. Retries while the exporter is busy. The inner error
    /// is the receiver's: it has rejected the message.
    pub(super) async fn post_protobuf(
        &self,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<anyhow::Result<Bytes>> {
        let url = self.url(path)?;
        let mut retries = 0;
        loop {
            let post = self.client.post(url.clone()).header(header::CONTENT_TYPE, "application/x-protobuf");
            let response = self.send(post.body(body.clone())).await?;
            let is_busy =
                [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&response.status());
            if is_busy && retries < MAX_RETRIES {
                retries += 1;
                tokio::time::sleep(RETRY_DELAY).await;
                continue;
            }
            let is_of_request = matches!(
                response.status(),
                StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
            );
            return match self.success(response).await {
                Ok(response) => response.bytes().await.context("the response is incomplete").map(Ok),
                Err(error) if is_of_request => Ok(Err(error)),
                Err(error) => Err(error),
            };
        }
    }

    fn url(&self, path: &str) -> anyhow::Result<Url> {
        self.server.join(path).with_context(|| format!("invalid {}", self.option))
    }

    async fn send(&self, mut request: RequestBuilder) -> anyhow::Result<Response> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request.send().await.map_err(|error| {
            let cause = anyhow!(error.without_url());
            cause.context(format!("no exporter responds at {} ({})", self.server, self.option))
        })
    }

    /// Returns the response of a success, or the error that the exporter explains.
    async fn success(&self, response: Response) -> anyhow::Result<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        let json = serde_json::from_slice::<Value>(&body).ok();
        let of_json = json.as_ref().and_then(|json| json["error"].as_str().or(json["message"].as_str()));
        let status_message = || tonic_types::pb::Status::decode(&body[..]).ok().map(|status| status.message);
        let reason = of_json.map(str::to_owned).or_else(status_message).filter(|reason| !reason.is_empty());
        bail!("{}", reason.unwrap_or_else(|| format!("{} responded {status}", self.server)))
    }
}
