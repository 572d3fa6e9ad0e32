//! What the sinks of Google Cloud share: credentials, the project, and what answers mean.

mod credentials;
pub(super) mod project;

pub use credentials::Auth;
pub use project::ProjectId;

use reqwest::{Client, RequestBuilder, Url};

use super::http;
use crate::deliver::{DeliveryError, Denied};
use credentials::Credentials;

/// A service of Google Cloud, to be called for one project or for several.
#[derive(Debug)]
pub(crate) struct Google {
    client: Client,
    endpoint: Url,
    credentials: Credentials,
    /// The project of what does not name another.
    pub(crate) project: ProjectId,
}

/// How the exporter gets access to Google Cloud.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// The project of `--project`.
    pub(crate) project: Option<ProjectId>,
    pub(crate) auth: Auth,
}

/// Which service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service<'a> {
    pub(crate) endpoint: &'a Url,
    /// What the token has to be good for.
    pub(crate) scope: &'static str,
}

impl Google {
    /// Finds the credentials and the project.
    ///
    /// # Errors
    ///
    /// There are none, and what to do about it.
    pub(crate) async fn open(service: Service<'_>, access: &Access) -> anyhow::Result<Self> {
        let client = http::client()?;
        let project = project::find(access.project.as_ref(), access.auth, &client).await?;
        let credentials = Credentials::open(access.auth, service.scope, &project).await?;
        Ok(Self { client, endpoint: service.endpoint.clone(), credentials, project })
    }

    /// A `POST` to this path, with a token.
    pub(crate) async fn post(&self, path: &str) -> Result<RequestBuilder, DeliveryError> {
        let mut url = self.endpoint.clone();
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        Ok(self.client.post(url).headers(self.credentials.headers().await?))
    }

    /// Takes note that a call was accepted.
    pub(crate) fn accepted(&self) {
        self.credentials.accepted();
    }

    /// What a failure means that is not about what was sent but about the access to a project.
    ///
    /// What is not allowed in the exporter's own project waits, for somebody will mend that; another project must not
    /// hold up everything else, so that what is for it goes to the dead letters. Whatever else is denied, such as by
    /// a proxy on the way, waits.
    pub(crate) fn judge(&self, project: &ProjectId, error: DeliveryError) -> DeliveryError {
        match error {
            DeliveryError::AccessDenied { denied: Denied::Token, .. } => {
                self.credentials.renew();
                error
            }
            DeliveryError::AccessDenied { reason, denied: Denied::Access, .. }
                if *project != self.project =>
            {
                DeliveryError::Undeliverable { reason: format!("project {project}: {reason}") }
            }
            other => other,
        }
    }
}

/// Reads the URL of an endpoint.
pub(crate) fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("that is no URL ({error})"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() && url.query().is_none() => Ok(url),
        _ => Err("expected http://HOST or https://HOST, perhaps with a port".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_access_to_another_project_is_given_up() {
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
        let unwanted = DeliveryError::Undeliverable { reason: "project other-2: no".to_owned() };
        for (project, error, expected) in [
            (&own, denied(Denied::Access), denied(Denied::Access)),
            (&other, denied(Denied::Access), unwanted),
            (&other, denied(Denied::Call), denied(Denied::Call)),
        ] {
            assert_eq!(google.judge(project, error), expected, "{project}");
        }
    }
}
