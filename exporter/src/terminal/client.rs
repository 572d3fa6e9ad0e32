//! The API of a running exporter.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::{Response, Url};
use serde_json::Value;

use super::Output;

pub(super) struct Client {
    client: reqwest::Client,
    server: Url,
    token: Option<String>,
}

/// The timeout of the connection, and of each part of a response. A live view sends something every two seconds.
const TIMEOUT: Duration = Duration::from_secs(15);

impl Client {
    pub(super) fn new(output: &Output) -> anyhow::Result<Self> {
        let builder = reqwest::Client::builder().connect_timeout(TIMEOUT).read_timeout(TIMEOUT);
        let client = builder.build().context("failed to create an HTTP client")?;
        let token = match &output.view_token_file {
            None => None,
            Some(file) => {
                let text = std::fs::read_to_string(file);
                let text =
                    text.with_context(|| format!("cannot read {} (--view-token-file)", file.display()))?;
                text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
            }
        };
        Ok(Self { client, server: output.server.clone(), token })
    }

    /// Returns a JSON document.
    pub(super) async fn json(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let text = self.get(path, query).await?.text().await.context("the response is incomplete")?;
        serde_json::from_str(&text).with_context(|| format!("{} did not respond with JSON", self.server))
    }

    /// Returns a response, or the error that the exporter explains.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Response> {
        // A path of the exporter can have a query: the link to the next part of a trace.
        let mut url = self.server.join(path).context("invalid --server")?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.get(url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(|error| {
            let cause = anyhow!(error.without_url());
            cause.context(format!("no exporter responds at {} (--server)", self.server))
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        let reason = serde_json::from_str::<Value>(&text).ok();
        let reason = reason.as_ref().and_then(|json| json["error"].as_str());
        bail!("{}", reason.map_or_else(|| format!("{} responded {status}", self.server), str::to_owned))
    }
}
