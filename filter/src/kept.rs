//! [`Kept`]: what of a request's headers outlives them, for the line and the span.

use logtracer_core::request::grpc;
use logtracer_core::request::url::{self, Query};
use logtracer_core::sampling::Facts;

/// The longest part of a request that is kept while it lasts.
const MAX_KEPT: usize = 8 * 1024;

/// The parts of a request's headers that its line and span tell.
///
/// While the headers are read they are borrowed ([`Kept::see`]), then copied ([`Kept::own`]).
#[derive(Debug, Default)]
pub(crate) struct Kept<T = Vec<u8>> {
    pub(crate) method: T,
    pub(crate) scheme: T,
    pub(crate) authority: T,
    /// Path and query; once it is owned the query has been treated as configured.
    pub(crate) target: T,
    pub(crate) user_agent: T,
    pub(crate) referer: T,
    pub(crate) protocol: Protocol,
    /// The caller wants to go on in another protocol, as with a WebSocket.
    pub(crate) is_upgrade: bool,
    /// The headers to record: their place in the configuration, and one value for each line.
    pub(crate) recorded: Vec<(usize, T)>,
}

/// What is spoken over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Protocol {
    #[default]
    Http,
    Grpc,
    /// Its trailers stand in the body, where Envoy reads them only if it translates to gRPC.
    GrpcWeb,
}

impl<'h> Kept<&'h [u8]> {
    /// Takes note of one header line.
    pub(crate) fn see(&mut self, name: &[u8], value: &'h [u8], recorded: &[String]) {
        let value = value.get(..MAX_KEPT).unwrap_or(value);
        match name {
            b":method" => self.method = value,
            b":scheme" => self.scheme = value,
            b":authority" => self.authority = url::without_credentials(value),
            b":path" => self.target = value,
            b"user-agent" => self.user_agent = value,
            b"referer" => self.referer = value,
            b"upgrade" => self.is_upgrade = true,
            b"content-type" if grpc::is_web_content_type(value) => self.protocol = Protocol::GrpcWeb,
            b"content-type" if grpc::is_content_type(value) => self.protocol = Protocol::Grpc,
            _ => {}
        }
        if let Some(index) = recorded.iter().position(|wanted| wanted.as_bytes() == name) {
            self.recorded.push((index, value));
        }
    }

    /// What sampling rules and exclusions look at.
    pub(crate) fn facts(&self) -> Facts<'h> {
        let path = self.target.split(|&byte| byte == b'?').next().unwrap_or_default();
        Facts { path, authority: self.authority, method: self.method }
    }

    /// A copy that outlives the headers; values of queries and credentials do not get that far.
    pub(crate) fn own(&self, query: Query) -> Kept {
        let redacted = |write: fn(&mut Vec<u8>, &[u8], Query), text: &[u8]| {
            let mut out = Vec::with_capacity(text.len());
            write(&mut out, text, query);
            out
        };
        Kept {
            method: self.method.to_vec(),
            scheme: self.scheme.to_vec(),
            authority: self.authority.to_vec(),
            target: redacted(url::write_target, self.target),
            user_agent: self.user_agent.to_vec(),
            referer: redacted(url::write_url, self.referer),
            protocol: self.protocol,
            is_upgrade: self.is_upgrade,
            recorded: self.recorded.iter().map(|(index, value)| (*index, value.to_vec())).collect(),
        }
    }
}

impl Kept {
    /// True where the request may go on while its response does.
    pub(crate) fn may_stay_open(&self) -> bool {
        self.is_upgrade || self.protocol == Protocol::Grpc || self.method == b"CONNECT"
    }
}
