//! [`RequestFields`]: what the application adds to the line and the span of its request.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

#[cfg(feature = "server")]
use crate::current::{carried_beside, current_trace};
#[cfg(feature = "spans")]
use crate::spans::AttributeValue;

/// The maximum number of fields of a request. Further ones are dropped.
const MAX_FIELDS: usize = 32;
/// The maximum length of a name. A longer one is truncated.
const MAX_NAME_BYTES: usize = 128;
/// The maximum length of a text and of a route. A longer one is truncated.
const MAX_TEXT_BYTES: usize = 1024;
/// The maximum number of bytes that are kept of a text that is cut, so that the mark fits.
const MAX_CUT_TEXT_BYTES: usize = MAX_TEXT_BYTES - " [18446744073709551615 bytes cut]…".len();

/// Adds a field to the line and the span of the request that the calling code works for.
///
/// It works wherever [`current_trace()`] is that of the request: in the handler, in functions that it calls, in inner
/// layers, and in tasks that keep the trace.
/// The line is the last one of [`RequestLog`](super::RequestLog), and is written with
/// [`Logging`](crate::Logging): other subscribers do not see the field. In the span it is an attribute of the same type.
/// A later value of the same name replaces the earlier one.
/// Names like `labels.tenant` have the same meaning as in events.
///
/// A request keeps 32 fields. A name is truncated to 128 bytes. A text of more than 1,024 bytes is cut, and ends in the
/// number of bytes that are missing: `[3012 bytes cut]…`.
/// Outside of a request, after its end, or if the request has neither a line nor a span, the call does nothing.
///
/// ```
/// use logtracer_sdk::server::{self, RequestLog, TraceLayer};
/// use logtracer_sdk::testing::capture_async;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let handler = service_fn(async |_: http::Request<()>| {
///     server::record("user", "ada");
///     server::record("items", 3);
///     Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
/// });
/// let service = TraceLayer::new().requests(RequestLog::Single).layer(handler);
/// let (_, lines) = capture_async(service.oneshot(http::Request::new(()))).await;
/// assert_eq!((&lines[0]["user"], &lines[0]["items"]), (&"ada".into(), &3.into()));
/// # });
/// ```
#[cfg(feature = "server")]
pub fn record(name: impl Into<Cow<'static, str>>, value: impl Into<FieldValue>) {
    with_current(|fields| fields.set(name.into(), value.into()));
}

/// Sets the route of the request that the calling code works for, such as `/users/{id}`.
///
/// axum, Actix and tonic provide it. A service on plain hyper calls this where it selects the handler.
/// The route is the label `route` of the request line and a part of the span's name, so it must have few values: never
/// pass a path with ids in it. It is truncated to 1,024 bytes.
///
/// ```
/// use logtracer_sdk::server::{self, RequestLog, TraceLayer};
/// use logtracer_sdk::testing::capture_async;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let handler = service_fn(async |request: http::Request<()>| {
///     if request.uri().path().starts_with("/users/") {
///         server::set_route("/users/{id}");
///     }
///     Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
/// });
/// let service = TraceLayer::new().requests(RequestLog::Single).layer(handler);
/// let request = http::Request::get("http://shop/users/7").body(()).unwrap();
/// let (_, lines) = capture_async(service.oneshot(request)).await;
/// assert_eq!(lines[0]["labels"]["route"], "/users/{id}");
/// # });
/// ```
#[cfg(feature = "server")]
pub fn set_route(route: impl Into<Cow<'static, str>>) {
    with_current(|fields| fields.set_route(route.into()));
}

#[cfg(feature = "server")]
fn with_current(f: impl FnOnce(&RequestFields)) {
    let carried = current_trace().and_then(|context| carried_beside(context.trace_id));
    if let Some(fields) = carried.as_ref().and_then(|carried| carried.fields.as_ref()) {
        f(fields);
    }
}

/// The value of a field of a request, see [`record`].
///
/// ```
/// use logtracer_sdk::server::FieldValue;
///
/// assert_eq!(FieldValue::from("ada"), FieldValue::Text("ada".into()));
/// assert_eq!(FieldValue::from(3), FieldValue::I64(3));
/// assert_eq!(FieldValue::from(3u32), FieldValue::U64(3));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FieldValue {
    /// A text.
    Text(Cow<'static, str>),
    /// A signed integer.
    I64(i64),
    /// An unsigned integer.
    U64(u64),
    /// A floating-point number.
    F64(f64),
    /// A boolean.
    Bool(bool),
}

macro_rules! from {
    ($($variant:ident: $($from:ty)*;)*) => {
        $($(
            impl From<$from> for FieldValue {
                fn from(value: $from) -> Self {
                    Self::$variant(value.into())
                }
            }
        )*)*
    };
}

from! {
    Text: &'static str String Cow<'static, str>;
    I64: i8 i16 i32 i64;
    U64: u8 u16 u32 u64;
    F64: f32 f64;
    Bool: bool;
}

impl From<usize> for FieldValue {
    fn from(value: usize) -> Self {
        Self::U64(value as u64)
    }
}

impl FieldValue {
    #[cfg(feature = "spans")]
    pub(super) fn to_attribute(&self) -> AttributeValue {
        match self {
            Self::Text(text) => text.clone().into(),
            Self::I64(number) => (*number).into(),
            Self::U64(number) => (*number).into(),
            Self::F64(number) => (*number).into(),
            Self::Bool(value) => (*value).into(),
        }
    }

    #[cfg(feature = "logging")]
    pub(super) fn as_line_value(&self) -> logtracer_core::line::Value<'_> {
        use logtracer_core::line::Value;
        match self {
            Self::Text(text) => Value::Str(text),
            Self::I64(number) => Value::I64(*number),
            Self::U64(number) => Value::U64(*number),
            Self::F64(number) => Value::F64(*number),
            Self::Bool(value) => Value::Bool(*value),
        }
    }
}

/// The fields of a request that is logged or recorded, shared by all tasks that work for it.
// Allocates nothing before the first field.
#[derive(Debug, Default)]
pub(crate) struct RequestFields(Mutex<FieldsSnapshot>);

/// The fields of a request at its end.
#[derive(Debug, Clone, Default)]
pub(crate) struct FieldsSnapshot {
    pub(super) route: Cow<'static, str>,
    pub(super) fields: Vec<(Cow<'static, str>, FieldValue)>,
}

#[cfg(feature = "spans")]
impl FieldsSnapshot {
    /// Adds the fields to the current span, which is that of the request. A field replaces the attribute of its name
    /// that the application has added to the span itself.
    pub(super) fn add_to_current_span(&self) {
        if self.fields.is_empty() {
            return;
        }
        if let Some(span) = crate::spans::current_span() {
            for (name, value) in &self.fields {
                span.attribute(name.clone(), value.to_attribute());
            }
        }
    }
}

impl RequestFields {
    pub(crate) fn set_route(&self, mut route: Cow<'static, str>) {
        truncate(&mut route, MAX_TEXT_BYTES);
        self.update(|set| set.route = route);
    }

    fn set(&self, mut name: Cow<'static, str>, mut value: FieldValue) {
        truncate(&mut name, MAX_NAME_BYTES);
        if let FieldValue::Text(text) = &mut value {
            cut(text);
        }
        self.update(|FieldsSnapshot { fields, .. }| {
            if let Some((_, known)) = fields.iter_mut().find(|(known, _)| *known == name) {
                *known = value;
            } else if fields.len() < MAX_FIELDS {
                fields.push((name, value));
            }
        });
    }

    fn update(&self, f: impl FnOnce(&mut FieldsSnapshot)) {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Returns the fields, at the end of the request.
    pub(super) fn get(&self) -> FieldsSnapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Truncates a text.
fn truncate(text: &mut Cow<'static, str>, max_bytes: usize) {
    if text.len() > max_bytes {
        // A copy, so that the memory of a long text is freed.
        *text = logtracer_core::truncate(text, max_bytes).to_owned().into();
    }
}

/// Cuts a long text, with the mark that texts of lines have.
fn cut(text: &mut Cow<'static, str>) {
    if text.len() > MAX_TEXT_BYTES {
        let kept = logtracer_core::truncate(text, MAX_CUT_TEXT_BYTES);
        *text = format!("{kept} [{} bytes cut]…", text.len() - kept.len()).into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_bounded() {
        let fields = RequestFields::default();
        for number in 0..100 {
            fields.set(format!("field{number}").into(), number.into());
        }
        fields.set("field6".into(), "x".repeat(1024).into());
        fields.set("field7".into(), "\u{e9}".repeat(2000).into());
        fields.set("field8".into(), "short".into());
        fields.set_route("/x".repeat(1000).into());
        let recorded = fields.get();
        assert_eq!(recorded.fields.len(), 32);
        assert_eq!(recorded.fields[6].1, FieldValue::Text("x".repeat(1024).into()));
        let cut = format!("{} [3012 bytes cut]…", "\u{e9}".repeat(494));
        assert_eq!(recorded.fields[7].1, FieldValue::Text(cut.into()));
        assert_eq!(recorded.fields[8].1, FieldValue::Text("short".into()));
        assert_eq!(recorded.route.len(), 1024);
        let fields = RequestFields::default();
        fields.set("n".repeat(1000).into(), true.into());
        assert_eq!(fields.get().fields, [(Cow::from("n".repeat(128)), FieldValue::Bool(true))]);
    }
}
