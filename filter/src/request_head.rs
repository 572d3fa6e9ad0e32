//! [`RequestHead`]: the parts of a request's headers that its line and span report.

use logtracer_core::request::grpc;
use logtracer_core::request::url;
use logtracer_core::sampling::RequestParts;

use crate::config::CapturedHeader;

/// The parts of a request's headers that its line and span report, while the headers are read.
/// [`KeptHead`](crate::kept_head::KeptHead) outlives them.
#[derive(Debug, Default)]
pub(crate) struct RequestHead<'h> {
    pub(crate) method: &'h [u8],
    pub(crate) scheme: &'h [u8],
    pub(crate) authority: &'h [u8],
    /// Path and query.
    pub(crate) target: &'h [u8],
    pub(crate) user_agent: &'h [u8],
    pub(crate) referer: &'h [u8],
    pub(crate) protocol: Protocol,
    /// The request has an `upgrade` header, for example to WebSocket.
    pub(crate) is_upgrade: bool,
    /// The captured headers: an index into the configuration for each header line, and its value.
    pub(crate) captured: Vec<(usize, &'h [u8])>,
}

/// The protocol of a call over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Protocol {
    #[default]
    Http,
    Grpc,
    /// Its trailers are in the body, which Envoy reads only if it translates the call to gRPC.
    GrpcWeb,
}

impl<'h> RequestHead<'h> {
    /// Reads one header line.
    pub(crate) fn read(&mut self, name: &[u8], value: &'h [u8], to_capture: &[CapturedHeader]) {
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
        match name {
            // Envoy's name of it.
            b":authority" => self.capture(b"host", self.authority, to_capture),
            _ => self.capture(name, value, to_capture),
        }
    }

    /// Captures a header line if the configuration says so.
    pub(crate) fn capture(&mut self, name: &[u8], value: &'h [u8], to_capture: &[CapturedHeader]) {
        if let Some(index) = CapturedHeader::index_of(to_capture, name) {
            self.captured.push((index, value));
        }
    }

    /// Returns what sampling rules and exclusions compare.
    pub(crate) fn parts(&self) -> RequestParts<'h> {
        let path = self.target.split(|&byte| byte == b'?').next().unwrap_or_default();
        RequestParts { path, authority: self.authority, method: self.method }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn each_header_is_read() {
        let config = Config::parse(br#"{"request_headers": ["x-tenant", "user-agent", "host"]}"#).unwrap();
        let mut head = RequestHead::default();
        for (name, value) in [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "me:secret@shop:8443"),
            (":path", "/a?x=1?y"),
            ("user-agent", "curl/8"),
            ("referer", "http://shop/"),
            ("x-tenant", "7"),
            ("x-other", "8"),
            ("x-tenant", "9"),
        ] {
            head.read(name.as_bytes(), value.as_bytes(), &config.request_headers);
        }
        assert_eq!((head.method, head.scheme), (&b"GET"[..], &b"https"[..]));
        assert_eq!((head.authority, head.target), (&b"shop:8443"[..], &b"/a?x=1?y"[..]));
        assert_eq!((head.user_agent, head.referer), (&b"curl/8"[..], &b"http://shop/"[..]));
        assert_eq!((head.protocol, head.is_upgrade), (Protocol::Http, false));
        let captured = [(2, &b"shop:8443"[..]), (1, b"curl/8"), (0, b"7"), (0, b"9")];
        assert_eq!(head.captured, captured);
        let parts = head.parts();
        assert_eq!((parts.method, parts.authority, parts.path), (&b"GET"[..], &b"shop:8443"[..], &b"/a"[..]));
    }

    /// Rules 56 and 57.
    #[test]
    fn protocols() {
        for (name, value, protocol, is_upgrade) in [
            ("content-type", "application/json", Protocol::Http, false),
            ("content-type", "application/grpc", Protocol::Grpc, false),
            ("content-type", "application/grpc+proto", Protocol::Grpc, false),
            ("content-type", "application/grpc-web", Protocol::GrpcWeb, false),
            ("accept", "application/grpc", Protocol::Http, false),
            ("upgrade", "websocket", Protocol::Http, true),
        ] {
            let mut head = RequestHead::default();
            head.read(name.as_bytes(), value.as_bytes(), &[]);
            assert_eq!((head.protocol, head.is_upgrade), (protocol, is_upgrade), "{name}: {value}");
            assert!(head.captured.is_empty());
        }
    }
}
