//! `--module`: the filter as a file, which proxies download from the exporter, so that no registry is needed.

use std::path::Path;

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::log::{self, Value};

/// The largest module that is served.
const MAX_BYTES: u64 = 16 << 20;
/// How every WebAssembly module begins.
const MAGIC: &[u8] = b"\0asm";
/// Proxies keep what they downloaded, by its digest.
const CACHE_CONTROL: &str = "public, max-age=3600";

/// The module, as it was when the exporter started.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    bytes: Bytes,
    /// In hexadecimal digits.
    sha256: String,
}

impl Module {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// It cannot be read, is too large, or is not a WebAssembly module.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        Self::read(path).with_context(|| format!("cannot use --module {}", path.display()))
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            bail!("it is not a file");
        }
        if metadata.len() > MAX_BYTES {
            bail!("it has {} bytes, more than {MAX_BYTES}", metadata.len());
        }
        let bytes = std::fs::read(path)?;
        if !bytes.starts_with(MAGIC) {
            bail!("it is not a WebAssembly module");
        }
        let sha256 = Sha256::digest(&bytes);
        let sha256: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        log::line(
            log::Severity::Info,
            "serving the filter at /plugin.wasm",
            &[("sha256", Value::Str(&sha256)), ("bytes", Value::U64(bytes.len() as u64))],
        );
        Ok(Self { bytes: bytes.into(), sha256 })
    }

    /// Returns the routes. They need no token, because a proxy has none when it starts, and the module is not a secret.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/plugin.wasm", get(module))
            .route("/plugin.wasm.sha256", get(digest))
            .with_state(self)
    }

    fn etag(&self) -> String {
        format!("\"{}\"", self.sha256)
    }
}

async fn module(State(module): State<Module>, headers: HeaderMap) -> Response {
    let etag = module.etag();
    let is_known = headers.get_all(header::IF_NONE_MATCH).iter().any(|known| *known == *etag);
    let caching = [(header::ETAG, etag), (header::CACHE_CONTROL, CACHE_CONTROL.to_owned())];
    if is_known {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, "application/wasm")];
    (caching, content_type, Body::from(module.bytes)).into_response()
}

/// Responds as `sha256sum` prints.
async fn digest(State(module): State<Module>) -> Response {
    let line = format!("{}  plugin.wasm\n", module.sha256);
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], line).into_response()
}
