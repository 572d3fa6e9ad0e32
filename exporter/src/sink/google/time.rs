//! [`Time`]: a time as Google's APIs read it in JSON.

use serde::{Serialize, Serializer};

/// Nanoseconds since 1970, written as `google.protobuf.Timestamp`: RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) u64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Every u64 is before the year 2555, which is within the range of a timestamp.
        let time = jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or_default();
        serializer.collect_str(&format_args!("{time:.9}"))
    }
}
