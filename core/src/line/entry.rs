//! Further fields of Cloud Logging's
//! [`LogEntry`](https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry): [`Operation`], `insertId`,
//! [`HttpCache`]. Their keys are the same in both formats.

use super::keys::key;
use super::{HttpRequest, Line, MAX_NAME_BYTES, MAX_TEXT_BYTES, json};

/// The maximum number of texts in a list.
const MAX_LIST_ITEMS: usize = 64;

/// A long-running operation that a line belongs to.
///
/// ```
/// use logtracer_core::line::{Format, Line, Operation};
///
/// let mut out = Vec::new();
/// let mut line = Line::new(&mut out, Format::Local, None);
/// line.operation(&Operation { id: "import-7", first: true, ..Operation::default() });
/// line.finish();
/// assert_eq!(
///     String::from_utf8(out).unwrap(),
///     r#"{"logging.googleapis.com/operation":{"id":"import-7","first":true}}"#,
/// );
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Operation<'a> {
    /// The id. Lines with the same id and producer belong together.
    pub id: &'a str,
    /// What makes the id unique: `github.com/my-org/my-app`.
    pub producer: &'a str,
    /// True in the first line of the operation.
    pub first: bool,
    /// True in the last line of the operation.
    pub last: bool,
}

/// The members of `httpRequest` about a cache.
///
/// ```
/// use logtracer_core::line::{Format, HttpCache, HttpRequest, Line};
///
/// let mut out = Vec::new();
/// let mut line = Line::new(&mut out, Format::Local, None);
/// let cache = HttpCache { lookup: true, hit: true, fill_bytes: 512, ..HttpCache::default() };
/// line.cached_http_request(&HttpRequest { status: 200, ..HttpRequest::default() }, &cache);
/// line.finish();
/// assert_eq!(
///     String::from_utf8(out).unwrap(),
///     r#"{"httpRequest":{"status":200,"cacheLookup":true,"cacheHit":true,"cacheFillBytes":"512"}}"#,
/// );
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HttpCache {
    /// A cache was queried.
    pub lookup: bool,
    /// The response came from a cache.
    pub hit: bool,
    /// The response was validated with the origin server before it came from the cache.
    pub validated_with_origin_server: bool,
    /// The number of bytes that were written to the cache.
    pub fill_bytes: u64,
}

impl Line<'_> {
    /// Adds `insertId`. Of several entries with the same time and id, Cloud Logging keeps one.
    pub fn insert_id(&mut self, id: &str) -> &mut Self {
        self.text(key!("logging.googleapis.com/insertId"), MAX_NAME_BYTES, |text| text.push(id))
    }

    /// Adds `operation` without its empty members, or nothing if no member is left.
    pub fn operation(&mut self, operation: &Operation<'_>) -> &mut Self {
        self.object(key!("logging.googleapis.com/operation"), |object| {
            for (key, text) in [(key!("id"), operation.id), (key!("producer"), operation.producer)] {
                if !text.is_empty() {
                    object.text(key, MAX_TEXT_BYTES, |out| out.push(text));
                }
            }
            object.flag(key!("first"), operation.first);
            object.flag(key!("last"), operation.last);
        })
    }

    /// Adds `httpRequest` as [`http_request`](Self::http_request) does, with what is known of a cache.
    pub fn cached_http_request(&mut self, request: &HttpRequest<'_>, cache: &HttpCache) -> &mut Self {
        self.object(self.keys.http_request, |object| {
            request.write(object);
            object.flag(key!("cacheLookup"), cache.lookup);
            object.flag(key!("cacheHit"), cache.hit);
            object.flag(key!("cacheValidatedWithOriginServer"), cache.validated_with_origin_server);
            if cache.fill_bytes > 0 {
                object.key(key!("cacheFillBytes"));
                json::number_as_text(object.out, cache.fill_bytes);
            }
        })
    }

    /// Adds `serviceContext`, where Error Reporting looks for the service of a line that is not an
    /// [`error_report`](Self::error_report).
    pub fn service_context(&mut self, service: &str, version: &str) -> &mut Self {
        super::report::write_service(self, service, version);
        self
    }

    /// Adds a list of texts. Items after the first 64 are dropped.
    ///
    /// ```
    /// use logtracer_core::line::{Format, Line};
    ///
    /// let mut out = Vec::new();
    /// let mut line = Line::new(&mut out, Format::Local, None);
    /// line.text_list("spans", ["request", "query"].into_iter());
    /// line.finish();
    /// assert_eq!(out, br#"{"spans":["request","query"]}"#);
    /// ```
    pub fn text_list<'t>(&mut self, name: &str, items: impl Iterator<Item = &'t str>) -> &mut Self {
        if self.free_bytes(0).is_none() {
            return self;
        }
        self.comma();
        json::text(self.out, MAX_NAME_BYTES, |text| text.push(name));
        self.raw(":[");
        let mut separator = "";
        for item in items.take(MAX_LIST_ITEMS) {
            let Some(free_bytes) = self.free_bytes(0) else { break };
            self.raw(separator);
            separator = ",";
            json::text(self.out, MAX_NAME_BYTES.min(free_bytes), |text| text.push(item));
        }
        self.out.push(b']');
        self
    }

    fn flag(&mut self, key: super::keys::Key, is_set: bool) {
        if is_set {
            self.key(key);
            self.raw("true");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Format;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[track_caller]
    fn check(write: impl Fn(&mut Line<'_>), expected: &str) {
        for format in [Format::Stackdriver, Format::Local] {
            let mut out = Vec::new();
            let mut line = Line::new(&mut out, format, None);
            write(&mut line);
            line.finish();
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{format}");
        }
    }

    #[test]
    fn operations() {
        for (operation, expected) in [
            (Operation::default(), "{}"),
            (
                Operation { id: "import-7", first: true, ..Operation::default() },
                r#"{"logging.googleapis.com/operation":{"id":"import-7","first":true}}"#,
            ),
            (
                Operation { producer: "shop", last: true, ..Operation::default() },
                r#"{"logging.googleapis.com/operation":{"producer":"shop","last":true}}"#,
            ),
            (
                Operation { id: "a", producer: "b", first: true, last: true },
                r#"{"logging.googleapis.com/operation":{"id":"a","producer":"b","first":true,"last":true}}"#,
            ),
        ] {
            check(|line| _ = line.operation(&operation), expected);
        }
    }

    #[test]
    fn caches() {
        let request = HttpRequest { status: 200, ..HttpRequest::default() };
        for (cache, expected) in [
            (HttpCache::default(), r#"{"httpRequest":{"status":200}}"#),
            (
                HttpCache { lookup: true, ..HttpCache::default() },
                r#"{"httpRequest":{"status":200,"cacheLookup":true}}"#,
            ),
            (
                HttpCache { fill_bytes: 1, ..HttpCache::default() },
                r#"{"httpRequest":{"status":200,"cacheFillBytes":"1"}}"#,
            ),
            (
                HttpCache { lookup: true, hit: true, validated_with_origin_server: true, fill_bytes: 512 },
                concat!(
                    r#"{"httpRequest":{"status":200,"cacheLookup":true,"cacheHit":true,"#,
                    r#""cacheValidatedWithOriginServer":true,"cacheFillBytes":"512"}}"#,
                ),
            ),
        ] {
            check(|line| _ = line.cached_http_request(&request, &cache), expected);
        }
    }

    #[test]
    fn other_fields_of_an_entry() {
        check(|line| _ = line.insert_id("7"), r#"{"logging.googleapis.com/insertId":"7"}"#);
        check(
            |line| _ = line.text_list("spans", ["request", "a \"query\""].into_iter()),
            r#"{"spans":["request","a \"query\""]}"#,
        );
        for (service, version, expected) in [
            ("", "", "{}"),
            ("shop", "", r#"{"serviceContext":{"service":"shop"}}"#),
            ("shop", "1.2", r#"{"serviceContext":{"service":"shop","version":"1.2"}}"#),
        ] {
            check(|line| _ = line.service_context(service, version), expected);
        }
    }
}
