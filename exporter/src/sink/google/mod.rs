//! The parts that the sinks of Google Cloud share: credentials, the project, and the meaning of errors.

mod credentials;
pub(crate) mod metadata_server;
pub(super) mod project;
mod time;

pub use credentials::Auth;
pub use project::ProjectId;
pub(super) use time::Time;

use reqwest::{Client, RequestBuilder, Url};

use super::http;
use crate::deliver::{DeliveryError, Denied};
use credentials::Credentials;

/// A client of one Google Cloud service, for one or several projects.
#[derive(Debug)]
pub(crate) struct Google {
    client: Client,
    endpoint: Url,
    credentials: Credentials,
    /// The project of resources that name none.
    pub(crate) project: ProjectId,
}

/// How the exporter gets access to Google Cloud.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// The project of `--project`.
    pub(crate) project: Option<ProjectId>,
    pub(crate) auth: Auth,
}

/// A Google Cloud service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service<'a> {
    pub(crate) endpoint: &'a Url,
    /// The OAuth scope that its token needs.
    pub(crate) scope: &'static str,
}

impl Google {
    /// Finds the credentials and the project.
    ///
    /// # Errors
    ///
    /// Fails if there are none. The error says how to provide them.
    pub(crate) async fn open(service: Service<'_>, access: &Access) -> anyhow::Result<Self> {
        let client = http::client()?;
        let project = project::find(access.project.as_ref(), access.auth).await?;
        let credentials = Credentials::open(access.auth, service.scope, &project).await?;
        Ok(Self { client, endpoint: service.endpoint.clone(), credentials, project })
    }

    /// Returns a `POST` to this path, with a token.
    pub(crate) async fn post(&self, path: &str) -> Result<RequestBuilder, DeliveryError> {
        let mut url = self.endpoint.clone();
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        Ok(self.client.post(url).headers(self.credentials.headers().await?))
    }

    /// Records that a call was accepted.
    pub(crate) fn record_accepted(&self) {
        self.credentials.record_accepted();
    }

    /// Adjusts an error about the access to a project. Any other error is returned unchanged.
    ///
    /// Items of the exporter's own project wait until the operator has fixed the access. Items of another project become
    /// dead letters, so that they do not block all others. Any other denied call, by a proxy say, is retried.
    pub(crate) fn adjust_access_denied(&self, project: &ProjectId, error: DeliveryError) -> DeliveryError {
        match error {
            DeliveryError::AccessDenied { denied: Denied::Token, .. } => {
                self.credentials.record_rejected();
                error
            }
            DeliveryError::AccessDenied { reason, denied: Denied::Resource, .. }
                if *project != self.project =>
            {
                DeliveryError::Undeliverable { reason: format!("project {project}: {reason}") }
            }
            other => other,
        }
    }
}

/// Parses the URL of an endpoint.
pub(crate) fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("not a URL ({error})"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() && url.query().is_none() => Ok(url),
        _ => Err("expected http://HOST or https://HOST, perhaps with a port".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn denied_access_to_another_project_is_undeliverable() {
        let own: ProjectId = "shop-1".parse().unwrap();
        let google = Google {
            client: http::client().unwrap(),
            endpoint: endpoint("http://localhost").unwrap(),
            credentials: Credentials::open(Auth::None, "", &own).await.unwrap(),
            project: own.clone(),
        };
        let other: ProjectId = "other-2".parse().unwrap();
        let denied =
            |denied| DeliveryError::AccessDenied { reason: "no".to_owned(), retry_after: None, denied };
        let undeliverable = DeliveryError::Undeliverable { reason: "project other-2: no".to_owned() };
        for (project, error, expected) in [
            (&own, denied(Denied::Resource), denied(Denied::Resource)),
            (&other, denied(Denied::Resource), undeliverable),
            (&other, denied(Denied::Call), denied(Denied::Call)),
        ] {
            assert_eq!(google.adjust_access_denied(project, error), expected, "{project}");
        }
    }
}
