//! [`Headers`] and [`HeadersMut`]: the headers or attributes of a message.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type of the headers or attributes of a message",
    label = "`{Self}` does not implement `logtracer_sdk::messaging::Headers`",
    note = "maps and lists of pairs do, with texts or bytes as values, and `http::HeaderMap` of `http` 1",
    note = "for the headers of another type implement `fn get(&self, name: &str) -> Option<&[u8]>`"
)]
/// The headers or attributes of a received message.
///
/// Maps with texts or bytes as values implement it, lists of pairs, and [`http::HeaderMap`]. They compare names in any
/// case. Of several pairs with the same name, the last one counts, as in Kafka.
///
/// ```
/// use logtracer_sdk::messaging::{Headers, extract};
///
/// /// The record of a broker's client.
/// struct Record {
///     traceparent: &'static [u8],
/// }
///
/// impl Headers for Record {
///     fn get(&self, name: &str) -> Option<&[u8]> {
///         (name == "traceparent").then_some(self.traceparent)
///     }
/// }
///
/// let record = Record { traceparent: b"00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01" };
/// assert_eq!(extract(&record).unwrap().span_id.to_string(), "00f067aa0ba902b7");
/// let pairs: &[(String, Vec<u8>)] = &[("traceparent".into(), record.traceparent.into())];
/// assert_eq!(extract(pairs), extract(&record));
/// ```
pub trait Headers {
    /// Returns the value with this name in any case; `name` is in lower case.
    fn get(&self, name: &str) -> Option<&[u8]>;
}

#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type of the headers or attributes of a message that is sent",
    label = "`{Self}` does not implement `logtracer_sdk::messaging::HeadersMut`",
    note = "maps and lists of pairs do whose names are `String` and whose values are texts or bytes that own their memory, such as `String` and `Vec<u8>`, and `http::HeaderMap` of `http` 1",
    note = "for the headers of another type implement `set` and `remove`"
)]
/// The headers or attributes of a message that is sent.
///
/// Maps and lists of pairs implement it whose names are [`String`] and whose values are texts or bytes, and
/// [`http::HeaderMap`]. They compare names in any case.
///
/// ```
/// use logtracer_sdk::messaging::{HeadersMut, inject};
/// use logtracer_sdk::TraceContext;
/// use logtracer_sdk::prelude::*;
///
/// let mut headers: Vec<(String, Vec<u8>)> = vec![("traceparent".into(), b"of an earlier hop".to_vec())];
/// let context = TraceContext::new_root().with_sampling(logtracer_sdk::Sampling::Accept);
/// context.run(|| inject(&mut headers));
/// assert_eq!(headers, [("traceparent".to_owned(), context.to_traceparent().into_bytes())]);
/// ```
pub trait HeadersMut {
    /// Sets the value with this name, which is in lower case. Earlier ones in any case are replaced.
    fn set(&mut self, name: &str, value: &str);

    /// Removes all values with this name in any case.
    fn remove(&mut self, name: &str);
}

// === received ===

impl<H: Headers + ?Sized> Headers for &H {
    fn get(&self, name: &str) -> Option<&[u8]> {
        (**self).get(name)
    }
}

impl<N: Borrow<str> + Eq + Hash, V: AsRef<[u8]>, S: BuildHasher> Headers for HashMap<N, V, S> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        // Most names are in lower case.
        let value = HashMap::get(self, name).or_else(|| find(self, name));
        value.map(AsRef::as_ref)
    }
}

impl<N: Borrow<str> + Ord, V: AsRef<[u8]>> Headers for BTreeMap<N, V> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        let value = BTreeMap::get(self, name).or_else(|| find(self, name));
        value.map(AsRef::as_ref)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for [(N, V)] {
    fn get(&self, name: &str) -> Option<&[u8]> {
        let mut pairs = self.iter().rev();
        pairs.find(|(known, _)| known.as_ref().eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>, const LENGTH: usize> Headers for [(N, V); LENGTH] {
    fn get(&self, name: &str) -> Option<&[u8]> {
        Headers::get(self.as_slice(), name)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for Vec<(N, V)> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        Headers::get(self.as_slice(), name)
    }
}

#[cfg(any(feature = "server", feature = "client", feature = "spans"))]
impl Headers for http::HeaderMap {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).iter().next_back().map(http::HeaderValue::as_bytes)
    }
}

/// Returns a value of a map whose name is this one in another case.
fn find<'a, N: Borrow<str> + 'a, V>(
    map: impl IntoIterator<Item = (&'a N, &'a V)>,
    name: &str,
) -> Option<&'a V> {
    map.into_iter().find(|(known, _)| (*known).borrow().eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

// === sent ===

impl<V: for<'v> From<&'v str>, S: BuildHasher> HeadersMut for HashMap<String, V, S> {
    fn set(&mut self, name: &str, value: &str) {
        HeadersMut::remove(self, name);
        self.insert(name.to_owned(), value.into());
    }

    fn remove(&mut self, name: &str) {
        self.retain(|known, _| !known.eq_ignore_ascii_case(name));
    }
}

impl<V: for<'v> From<&'v str>> HeadersMut for BTreeMap<String, V> {
    fn set(&mut self, name: &str, value: &str) {
        HeadersMut::remove(self, name);
        self.insert(name.to_owned(), value.into());
    }

    fn remove(&mut self, name: &str) {
        self.retain(|known, _| !known.eq_ignore_ascii_case(name));
    }
}

impl<V: for<'v> From<&'v str>> HeadersMut for Vec<(String, V)> {
    fn set(&mut self, name: &str, value: &str) {
        HeadersMut::remove(self, name);
        self.push((name.to_owned(), value.into()));
    }

    fn remove(&mut self, name: &str) {
        self.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }
}

#[cfg(any(feature = "server", feature = "client", feature = "spans"))]
impl HeadersMut for http::HeaderMap {
    fn set(&mut self, name: &str, value: &str) {
        // What is injected is always valid.
        if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), http::HeaderValue::try_from(value))
        {
            self.insert(name, value);
        }
    }

    fn remove(&mut self, name: &str) {
        http::HeaderMap::remove(self, name);
    }
}
