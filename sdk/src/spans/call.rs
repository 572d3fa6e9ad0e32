//! [`CallEnd`]: how a call ended, shared by the call and its span.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::details::Details;

/// The end of a call. A call without an end is cancelled.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallEnd(Arc<OnceLock<End>>);

#[derive(Debug)]
enum End {
    Returned,
    Panicked,
    Failed { error_type: Cow<'static, str>, text: String },
}

#[cfg_attr(not(feature = "client"), allow(dead_code))]
impl CallEnd {
    pub(crate) fn set_returned(&self) {
        self.set(End::Returned);
    }

    /// Records the error of the call: the value of `error.type`, and the text with the causes.
    pub(crate) fn set_failed(&self, error_type: Cow<'static, str>, text: &str) {
        self.set(End::Failed { error_type, text: text.to_owned() });
    }

    pub(super) fn set_panicked(&self) {
        self.set(End::Panicked);
    }

    /// The first end counts.
    fn set(&self, end: End) {
        let _ = self.0.set(end);
    }

    /// Adds the end to the details of the span.
    pub(super) fn write(&self, details: &mut Details) {
        let (error_type, text) = match self.0.get() {
            Some(End::Returned) => return,
            Some(End::Panicked) => (Cow::from("panic"), ""),
            Some(End::Failed { error_type, text }) => (error_type.clone(), text.as_str()),
            None => (Cow::from("cancelled"), ""),
        };
        details.failed = true;
        details.set_default("error.type", error_type.into());
        if !text.is_empty() {
            details.set_default("error.message", text.into());
        }
    }
}
