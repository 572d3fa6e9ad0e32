//! Tokens for Google Cloud: Application Default Credentials, by Google's own crate.
//!
//! The crate finds them (<https://google.aip.dev/auth/4110>), and fetches a new token in the background some minutes
//! before the old one expires. It gives up for good after an error that it takes for permanent, which a wrong clock or
//! a token file that comes late can be; so after such an error the credentials are opened anew.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{anyhow, bail};
use google_cloud_auth::credentials::{Builder, CacheableResource, Credentials as Adc};
use google_cloud_auth::errors::CredentialsError;
use reqwest::header::HeaderMap;
use tokio::time::{Instant, timeout};

use super::super::http::{CALL_TIMEOUT, install_crypto};
use super::project::{self, ProjectId};
use crate::deliver::DeliveryError;
use crate::error_chain::error_chain;
use crate::log::{self, Severity, Value};

/// The value of `--auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum Auth {
    /// Application Default Credentials
    Adc,
    /// No credentials: for endpoints that want none
    None,
}

impl Auth {
    pub(crate) fn is_none(self) -> bool {
        self == Self::None
    }
}

/// Gives the headers that let a call in.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// `None` if no credentials are wanted.
    source: Option<Source>,
}

#[derive(Debug)]
struct Source {
    scope: &'static str,
    /// Whom the calls are charged to, where the credentials do not say.
    quota_project: ProjectId,
    opened: Mutex<Opened>,
}

#[derive(Debug)]
struct Opened {
    adc: Adc,
    at: Instant,
    /// How long it is used at least, whatever becomes of its tokens.
    kept: Duration,
}

/// How long the first token may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Credentials whose tokens are not accepted are opened anew after this time, for a token may have been withdrawn; then
/// after twice as long each time up to the second one, for each leaves a task of the crate behind.
const RENEWED_AFTER: Duration = Duration::from_secs(10);
const RENEWED_AFTER_AT_MOST: Duration = Duration::from_secs(3600);

const WHAT_TO_DO: &str = "run where Google Cloud has a metadata server (GKE with Workload Identity, Cloud Run, \
     Compute Engine), or set GOOGLE_APPLICATION_CREDENTIALS to a file with credentials (a service account's key, or \
     the configuration of Workload Identity Federation), or run `gcloud auth application-default login`; \
     --auth none is for endpoints that want no credentials";

impl Credentials {
    /// Finds the credentials and fetches a first token.
    ///
    /// A token that does not come at the moment is no error if there is a file with credentials: what is to be
    /// delivered waits.
    pub(crate) async fn open(
        auth: Auth,
        scope: &'static str,
        quota_project: &ProjectId,
    ) -> anyhow::Result<Self> {
        if auth.is_none() {
            return Ok(Self { source: None });
        }
        install_crypto();
        let quota_project = quota_project.clone();
        let missing = |error: String| anyhow!("no credentials for Google Cloud: {error}; {WHAT_TO_DO}");
        let adc = build(scope, &quota_project).map_err(missing)?;
        match timeout(PATIENCE, adc.headers(Default::default())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.is_transient() && project::has_credentials_file() => {
                tell(&error_chain(&error));
            }
            Err(_) if project::has_credentials_file() => tell("no token came in time"),
            Ok(Err(error)) => bail!(missing(error_chain(&error))),
            Err(_) => bail!(missing(format!("no token within {} s", PATIENCE.as_secs()))),
        }
        let opened = Mutex::new(Opened { adc, at: Instant::now(), kept: RENEWED_AFTER });
        Ok(Self { source: Some(Source { scope, quota_project, opened }) })
    }

    /// The headers for a call that is made now.
    pub(crate) async fn headers(&self) -> Result<HeaderMap, DeliveryError> {
        let Some(source) = &self.source else { return Ok(HeaderMap::new()) };
        let adc = source.opened.lock().unwrap_or_else(PoisonError::into_inner).adc.clone();
        let error = match timeout(CALL_TIMEOUT, adc.headers(Default::default())).await {
            Ok(Ok(CacheableResource::New { data, .. })) => return Ok(data),
            Ok(Ok(CacheableResource::NotModified)) => CredentialsError::from_msg(true, "no new token"),
            Ok(Err(error)) => error,
            Err(_) => CredentialsError::from_msg(true, format!("none within {} s", CALL_TIMEOUT.as_secs())),
        };
        if !error.is_transient() {
            source.open_anew();
        }
        let reason = format!("no token for Google Cloud: {}", error_chain(&error));
        Err(DeliveryError::Unavailable { reason, retry_after: None })
    }
}

impl Credentials {
    /// Takes note that a token was not accepted: the next one is a new one.
    pub(crate) fn renew(&self) {
        if let Some(source) = &self.source {
            source.renew();
        }
    }

    /// Takes note that a token was accepted.
    pub(crate) fn accepted(&self) {
        if let Some(source) = &self.source {
            source.opened.lock().unwrap_or_else(PoisonError::into_inner).kept = RENEWED_AFTER;
        }
    }
}

impl Source {
    fn renew(&self) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.at.elapsed() < opened.kept {
            return;
        }
        opened.kept = (2 * opened.kept).min(RENEWED_AFTER_AT_MOST);
        drop(opened);
        self.open_anew();
    }

    fn open_anew(&self) {
        if let Ok(adc) = build(self.scope, &self.quota_project) {
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            (opened.adc, opened.at) = (adc, Instant::now());
        }
    }
}

/// Finds the credentials; has to be called inside of the runtime.
fn build(scope: &'static str, quota_project: &ProjectId) -> Result<Adc, String> {
    let builder = Builder::default().with_scopes([scope]);
    // A quota project is for the credentials of people; for a service account it costs a permission more.
    let builder = if project::are_credentials_of_a_user() {
        builder.with_quota_project_id(quota_project.as_str())
    } else {
        builder
    };
    builder.build().map_err(|error| error_chain(&error))
}

fn tell(error: &str) {
    log::line(Severity::Warning, "no token for Google Cloud yet", &[("error", Value::Str(error))]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use google_cloud_auth::credentials::anonymous;

    #[tokio::test]
    async fn tokens_that_are_never_accepted_are_replaced_ever_more_rarely() {
        let opened =
            Opened { adc: anonymous::Builder::new().build(), at: Instant::now(), kept: RENEWED_AFTER };
        let quota_project = "shop-1".parse().unwrap();
        let source = Source { scope: "", quota_project, opened: Mutex::new(opened) };
        let kept = |source: &Source| source.opened.lock().unwrap().kept.as_secs();
        source.renew();
        assert_eq!(kept(&source), 10, "not at once");
        for expected in [20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600] {
            let passed = Duration::from_secs(kept(&source));
            source.opened.lock().unwrap().at = Instant::now() - passed;
            source.renew();
            assert_eq!(kept(&source), expected);
        }
        let credentials = Credentials { source: Some(source) };
        credentials.accepted();
        let source = credentials.source.unwrap();
        assert_eq!(source.opened.lock().unwrap().kept, RENEWED_AFTER);
    }
}
