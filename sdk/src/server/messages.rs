//! [`Messages`]: which request messages of gRPC are logged, and which of their fields are not.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor};

use super::message_text::Redacted;

/// The request messages of a gRPC server in its request lines, without the fields that no log may have.
///
/// They are read with the descriptors of the service (the file that `tonic_prost_build`'s `file_descriptor_set_path`
/// writes), not by way of Rust types: a layer sees bytes only, and what is left out of a line does not hang on how
/// someone's `Debug` prints it.
/// For [`TraceLayer::messages`](super::TraceLayer::messages).
///
/// | a message | in the line |
/// |---|---|
/// | of a method that the descriptors know | `request: item: "bread" card: REDACTED buyer { email: REDACTED }` |
/// | of another one | nothing |
/// | of a stream | the first one |
/// | longer than 16 KiB, compressed, or no message at all | that it is so |
/// | bytes in a field | their number |
/// | fields that the descriptors do not know | nothing |
///
/// ```
/// use logtracer_sdk::server::Messages;
/// use prost_reflect::prost::Message;
/// # use prost_reflect::prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
/// # use prost_reflect::prost_types::{MethodDescriptorProto, ServiceDescriptorProto};
/// # let field = |name: &str, number| FieldDescriptorProto {
/// #     name: Some(name.into()), number: Some(number), r#type: Some(9), label: Some(1), ..Default::default()
/// # };
/// # let method = MethodDescriptorProto {
/// #     name: Some("Buy".into()), input_type: Some(".demo.BuyRequest".into()),
/// #     output_type: Some(".demo.BuyRequest".into()), ..Default::default()
/// # };
/// # let descriptors = FileDescriptorSet { file: vec![FileDescriptorProto {
/// #     name: Some("demo.proto".into()), package: Some("demo".into()), syntax: Some("proto3".into()),
/// #     message_type: vec![DescriptorProto {
/// #         name: Some("BuyRequest".into()), field: vec![field("item", 1), field("card", 2)], ..Default::default()
/// #     }],
/// #     service: vec![ServiceDescriptorProto {
/// #         name: Some("Shop".into()), method: vec![method], ..Default::default()
/// #     }],
/// #     ..Default::default()
/// # }] }.encode_to_vec();
///
/// // `descriptors` is what `include_bytes!(concat!(env!("OUT_DIR"), "/shop.bin"))` gives.
/// let messages = Messages::new(&descriptors)?.redact(["card"])?;
///
/// // A name that no message has is a mistake, and not a field that is silently logged.
/// let wrong = messages.clone().redact(["crad"]).unwrap_err();
/// assert_eq!(wrong.to_string(), "no request message has the field \"crad\"");
/// assert!(Messages::new(b"nonsense").is_err());
/// # Ok::<(), logtracer_sdk::server::MessagesError>(())
/// ```
#[derive(Clone)]
pub struct Messages {
    /// The input of each method, by its path.
    inputs: Arc<HashMap<String, MessageDescriptor>>,
    redacted: Arc<[String]>,
}

impl Messages {
    /// The messages of all services in an encoded `FileDescriptorSet`.
    ///
    /// ```
    /// use logtracer_sdk::server::Messages;
    ///
    /// assert!(Messages::new(b"").is_ok()); // of no service at all
    /// assert!(Messages::new(b"nonsense").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// When the bytes are none, or one that does not hold together.
    pub fn new(file_descriptor_set: &[u8]) -> Result<Self, MessagesError> {
        let pool = DescriptorPool::decode(file_descriptor_set)
            .map_err(|error| MessagesError(Reason::Descriptors(error.to_string())))?;
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let inputs = methods.map(|method| {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            (path, method.input())
        });
        Ok(Self { inputs: Arc::new(inputs.collect()), redacted: Arc::default() })
    }

    /// Leaves the values of these fields out, by their path from the message: `card`, `buyer.email`.
    ///
    /// One list for all methods, as in the original. Items of lists and of maps do not count in a path, and a whole
    /// message or list is left out by its own name.
    ///
    /// ```
    /// use logtracer_sdk::server::Messages;
    ///
    /// let wrong = Messages::new(b"")?.redact(["card"]).unwrap_err();
    /// assert_eq!(wrong.to_string(), "no request message has the field \"card\"");
    /// # Ok::<(), logtracer_sdk::server::MessagesError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When no request message has such a field: a misspelled one would be logged.
    pub fn redact<F>(self, fields: impl IntoIterator<Item = F>) -> Result<Self, MessagesError>
    where
        F: Into<String>,
    {
        let mut redacted = self.redacted.to_vec();
        for field in fields {
            let field = field.into();
            if !self.inputs.values().any(|message| has_field(message, &field)) {
                return Err(MessagesError(Reason::Field(field)));
            }
            redacted.push(field);
        }
        Ok(Self { redacted: redacted.into(), ..self })
    }

    /// The message of a method.
    pub(super) fn input(&self, path: &str) -> Option<MessageDescriptor> {
        self.inputs.get(path).cloned()
    }

    /// A message as it may be logged.
    pub(super) fn text_of(&self, descriptor: MessageDescriptor, bytes: &[u8]) -> String {
        match DynamicMessage::decode(descriptor, bytes) {
            Ok(message) => Redacted::new(&message, &self.redacted).to_string(),
            Err(_) => "(cannot be read)".to_owned(),
        }
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("redacted", &self.redacted).finish_non_exhaustive()
    }
}

fn has_field(message: &MessageDescriptor, path: &str) -> bool {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let Some(field) = message.get_field_by_name(name) else {
        return false;
    };
    let Some(rest) = rest else { return true };
    match field.kind() {
        // The entries of a map are messages of a key and a value.
        Kind::Message(entry) if field.is_map() => match entry.map_entry_value_field().kind() {
            Kind::Message(value) => has_field(&value, rest),
            _ => false,
        },
        Kind::Message(inner) => has_field(&inner, rest),
        _ => false,
    }
}

/// Why messages cannot be logged: descriptors that are none, or a field that no message has.
///
/// ```
/// use logtracer_sdk::server::Messages;
///
/// let error = Messages::new(&[1, 2, 3]).unwrap_err();
/// assert!(error.to_string().starts_with("not an encoded FileDescriptorSet: "));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagesError(Reason);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    Descriptors(String),
    Field(String),
}

impl fmt::Display for MessagesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Descriptors(why) => write!(f, "not an encoded FileDescriptorSet: {why}"),
            Reason::Field(field) => write!(f, "no request message has the field {field:?}"),
        }
    }
}

impl std::error::Error for MessagesError {}
