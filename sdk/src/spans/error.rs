//! [`SpanExportError`].

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

/// An error when installing the export.
///
/// No error shows the value of a header or a token.
///
/// ```
/// use logtracer_sdk::spans::{SpanExport, SpanExportError};
///
/// let export = |endpoint| SpanExport::new("shop", endpoint);
/// let error = export("127.0.0.1:4318").install().unwrap_err();
/// assert!(matches!(error, SpanExportError::Endpoint));
/// assert_eq!(error.to_string(), "expected an endpoint like http://127.0.0.1:4318");
/// let error = export("http://127.0.0.1:4318").sampling_rate(1.5).install().unwrap_err();
/// assert_eq!(error.to_string(), "expected a sampling rate from 0 to 1");
/// let error = export("http://127.0.0.1:4318").header("x key", "7").install().unwrap_err();
/// assert_eq!(error.to_string(), "the name or the value of the header \"x\" is invalid");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SpanExportError {
    /// The endpoint is not an `http` or `https` URL, or it contains a user name. For credentials, use
    /// [`header`](super::SpanExport::header).
    Endpoint,
    /// The endpoint is an `https` URL, and neither of the features `spans-tls` and `spans-tls-aws-lc` is enabled.
    TlsFeature,
    /// The sampling rate is not from 0 to 1.
    Rate,
    /// The name or the value of a header is invalid.
    Header {
        /// The name, up to the first character that no name has: what follows can be a secret.
        name: String,
    },
    /// The file with the token cannot be read, or its first line is not a token.
    TokenFile {
        /// The path of the file.
        path: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// A certificate or its key cannot be read.
    Certificates {
        /// The path of the file, `None` for the certificates of the system.
        path: Option<PathBuf>,
        /// Why it cannot be read.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An environment variable has a value that this crate does not support.
    Environment {
        /// The name of the variable.
        variable: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// The process has an export already.
    AlreadyInstalled,
    /// The system cannot start the thread.
    Thread(std::io::Error),
}

impl fmt::Display for SpanExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint => f.write_str("expected an endpoint like http://127.0.0.1:4318"),
            Self::TlsFeature => f.write_str("an https endpoint needs the feature spans-tls of logtracer-sdk"),
            Self::Rate => f.write_str("expected a sampling rate from 0 to 1"),
            Self::Header { name } => write!(f, "the name or the value of the header {name:?} is invalid"),
            Self::TokenFile { path, source } => {
                write!(f, "cannot read the token file {}: {source}", path.display())
            }
            Self::Certificates { path: Some(path), source } => {
                write!(f, "cannot read certificates from {}: {source}", path.display())
            }
            Self::Certificates { path: None, source } => {
                write!(f, "cannot read the certificates of the system: {source}")
            }
            Self::Environment { variable, problem } => write!(f, "{variable}: {problem}"),
            Self::AlreadyInstalled => f.write_str("the spans of this process are exported already"),
            Self::Thread(source) => write!(f, "cannot start the thread that sends spans: {source}"),
        }
    }
}

impl Error for SpanExportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::TokenFile { source, .. } | Self::Thread(source) => Some(source),
            Self::Certificates { source, .. } => Some(&**source),
            _ => None,
        }
    }
}
