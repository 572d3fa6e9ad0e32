//! Tokens for Google Cloud: Application Default Credentials, by Google's own crate.
//!
//! The crate finds the credentials (<https://google.aip.dev/auth/4110>), and fetches a new token in the background some
//! minutes before the old one expires. It stops after an error that it regards as permanent. A wrong clock or a late
//! token file can cause such an error, so the credentials are reopened after it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{anyhow, bail};
use google_cloud_auth::credentials::{Builder, CacheableResource, Credentials as Adc};
use google_cloud_auth::errors::CredentialsError;
use reqwest::header::HeaderMap;
use tokio::time::{Instant, timeout};

use super::super::http::install_crypto;
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
    /// No credentials: for endpoints that need none
    None,
}

/// The source of the authorization headers.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// `None` without credentials.
    source: Option<TokenSource>,
}

#[derive(Debug)]
struct TokenSource {
    scope: &'static str,
    /// The project that is charged for the calls if the credentials do not name one.
    quota_project: ProjectId,
    opened: Mutex<Opened>,
}

#[derive(Debug)]
struct Opened {
    adc: Adc,
    at: Instant,
    /// The time for which the credentials are not reopened, even if their tokens are rejected.
    min_age: Duration,
}

/// The timeout of the first token.
const FIRST_TOKEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Credentials whose tokens are rejected are reopened after this time, because a token can be revoked. The time doubles up
/// to the maximum, because each reopening leaves a task of the crate behind.
const MIN_AGE: Duration = Duration::from_secs(10);
const MAX_MIN_AGE: Duration = Duration::from_secs(3600);

const WHAT_TO_DO: &str = "run where Google Cloud has a metadata server (GKE with Workload Identity, Cloud Run, \
     Compute Engine), or set GOOGLE_APPLICATION_CREDENTIALS to a file with credentials (a service account's key, or \
     the configuration of Workload Identity Federation), or run `gcloud auth application-default login`; \
     --auth none is for endpoints that need no credentials";

impl Credentials {
    /// Finds the credentials and fetches a first token.
    ///
    /// With a credentials file, a token that cannot be fetched at the moment is not an error: the delivery waits.
    pub(crate) async fn open(
        auth: Auth,
        scope: &'static str,
        quota_project: &ProjectId,
    ) -> anyhow::Result<Self> {
        if auth == Auth::None {
            return Ok(Self { source: None });
        }
        install_crypto();
        let quota_project = quota_project.clone();
        let missing = |error: String| anyhow!("no credentials for Google Cloud: {error}; {WHAT_TO_DO}");
        let adc = build(scope, &quota_project).map_err(missing)?;
        match timeout(FIRST_TOKEN_TIMEOUT, adc.headers(Default::default())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.is_transient() && project::has_credentials_file() => {
                warn(&error_chain(&error));
            }
            Err(_) if project::has_credentials_file() => warn("timed out"),
            Ok(Err(error)) => bail!(missing(error_chain(&error))),
            Err(_) => bail!(missing(format!("no token within {} s", FIRST_TOKEN_TIMEOUT.as_secs()))),
        }
        let opened = Mutex::new(Opened { adc, at: Instant::now(), min_age: MIN_AGE });
        Ok(Self { source: Some(TokenSource { scope, quota_project, opened }) })
    }

    /// Returns the headers for a call. They are part of the call, whose time is limited.
    pub(crate) async fn headers(&self) -> Result<HeaderMap, DeliveryError> {
        let Some(source) = &self.source else { return Ok(HeaderMap::new()) };
        let (adc, opened_at) = {
            let opened = source.opened.lock().unwrap_or_else(PoisonError::into_inner);
            (opened.adc.clone(), opened.at)
        };
        let error = match adc.headers(Default::default()).await {
            Ok(CacheableResource::New { data, .. }) => return Ok(data),
            Ok(CacheableResource::NotModified) => CredentialsError::from_msg(true, "no new token"),
            Err(error) => error,
        };
        if !error.is_transient() {
            source.reopen_if_opened_at(opened_at);
        }
        let reason = format!("no token for Google Cloud: {}", error_chain(&error));
        Err(DeliveryError::Unavailable { reason, retry_after: None })
    }

    /// Records that a token was rejected. Reopens the credentials if they are old enough, so that the next call gets a
    /// new token.
    pub(crate) fn record_rejected(&self) {
        if let Some(source) = &self.source {
            source.reopen_if_due();
        }
    }

    /// Records that a token was accepted.
    pub(crate) fn record_accepted(&self) {
        if let Some(source) = &self.source {
            source.opened.lock().unwrap_or_else(PoisonError::into_inner).min_age = MIN_AGE;
        }
    }
}

impl TokenSource {
    fn reopen_if_due(&self) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.at.elapsed() < opened.min_age {
            return;
        }
        opened.min_age = (2 * opened.min_age).min(MAX_MIN_AGE);
        opened.at = Instant::now();
        drop(opened);
        self.reopen();
    }

    /// Reopens the credentials that were opened then. Of many calls that fail with them, the first reopens them.
    fn reopen_if_opened_at(&self, at: Instant) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.at != at {
            return;
        }
        opened.at = Instant::now();
        drop(opened);
        self.reopen();
    }

    fn reopen(&self) {
        if let Ok(adc) = build(self.scope, &self.quota_project) {
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            (opened.adc, opened.at) = (adc, Instant::now());
        }
    }
}

/// Finds the credentials. Has to be called inside the runtime.
fn build(scope: &'static str, quota_project: &ProjectId) -> Result<Adc, String> {
    project::check_credentials_file().map_err(|error| format!("{error:#}"))?;
    let builder = Builder::default().with_scopes([scope]);
    // A quota project is for user credentials. With a service account it needs one more permission.
    let builder = if project::is_user_without_quota_project() {
        builder.with_quota_project_id(quota_project.as_str())
    } else {
        builder
    };
    builder.build().map_err(|error| error_chain(&error))
}

fn warn(error: &str) {
    log::line(Severity::Warning, "no token for Google Cloud yet", &[("error", Value::Str(error))]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Extensions;
    use google_cloud_auth::credentials::{CredentialsProvider, anonymous};

    /// A token endpoint that accepts the connection, and nothing more.
    #[derive(Debug)]
    struct Hanging;

    impl CredentialsProvider for Hanging {
        async fn headers(&self, _: Extensions) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
            std::future::pending().await
        }

        async fn universe_domain(&self) -> Option<String> {
            None
        }
    }

    #[tokio::test]
    async fn a_token_endpoint_that_hangs_is_a_timeout() {
        let opened = Opened { adc: Adc::from(Hanging), at: Instant::now(), min_age: MIN_AGE };
        let quota_project = "shop-1".parse().unwrap();
        let source = TokenSource { scope: "", quota_project, opened: Mutex::new(opened) };
        let credentials = Credentials { source: Some(source) };
        let call = crate::sink::http::within_timeout(credentials.headers());
        let result = timeout(Duration::from_secs(20), call).await.unwrap();
        assert!(
            matches!(&result, Err(DeliveryError::Unavailable { reason, .. }) if reason.starts_with("no complete response")),
            "{result:?}"
        );
    }

    #[tokio::test]
    async fn credentials_whose_tokens_are_rejected_are_reopened_less_and_less_often() {
        let opened = Opened { adc: anonymous::Builder::new().build(), at: Instant::now(), min_age: MIN_AGE };
        let quota_project = "shop-1".parse().unwrap();
        let source = TokenSource { scope: "", quota_project, opened: Mutex::new(opened) };
        let min_age = |source: &TokenSource| source.opened.lock().unwrap().min_age.as_secs();
        source.reopen_if_due();
        assert_eq!(min_age(&source), 10, "not at once");
        for expected in [20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600] {
            let elapsed = Duration::from_secs(min_age(&source));
            source.opened.lock().unwrap().at = Instant::now() - elapsed;
            source.reopen_if_due();
            assert_eq!(min_age(&source), expected);
        }
        let credentials = Credentials { source: Some(source) };
        credentials.record_accepted();
        let source = credentials.source.unwrap();
        assert_eq!(source.opened.lock().unwrap().min_age, MIN_AGE);
    }
}
