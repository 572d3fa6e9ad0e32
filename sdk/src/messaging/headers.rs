//! [`Headers`] and [`HeadersMut`]: the headers or attributes of a message.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

/// The headers or attributes of a received message.
///
/// Maps with texts or bytes as values implement it, and lists of pairs. Of several pairs with the same name, the last
/// one counts, as in Kafka.
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
    /// Returns the value with this name, which is in lower case.
    fn get(&self, name: &str) -> Option<&[u8]>;
}

/// The headers or attributes of a message that is sent.
///
/// Maps and lists of pairs implement it whose names are [`String`] and whose values are texts or bytes.
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
    /// Sets the value with this name. An earlier one is replaced.
    fn set(&mut self, name: &str, value: &str);

    /// Removes all values with this name.
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
        HashMap::get(self, name).map(AsRef::as_ref)
    }
}

impl<N: Borrow<str> + Ord, V: AsRef<[u8]>> Headers for BTreeMap<N, V> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        BTreeMap::get(self, name).map(AsRef::as_ref)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for [(N, V)] {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().rev().find(|(known, _)| known.as_ref() == name).map(|(_, value)| value.as_ref())
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

// === sent ===

impl<V: for<'v> From<&'v str>, S: BuildHasher> HeadersMut for HashMap<String, V, S> {
    fn set(&mut self, name: &str, value: &str) {
        self.insert(name.to_owned(), value.into());
    }

    fn remove(&mut self, name: &str) {
        HashMap::remove(self, name);
    }
}

impl<V: for<'v> From<&'v str>> HeadersMut for BTreeMap<String, V> {
    fn set(&mut self, name: &str, value: &str) {
        self.insert(name.to_owned(), value.into());
    }

    fn remove(&mut self, name: &str) {
        BTreeMap::remove(self, name);
    }
}

impl<V: for<'v> From<&'v str>> HeadersMut for Vec<(String, V)> {
    fn set(&mut self, name: &str, value: &str) {
        HeadersMut::remove(self, name);
        self.push((name.to_owned(), value.into()));
    }

    fn remove(&mut self, name: &str) {
        self.retain(|(known, _)| known != name);
    }
}
