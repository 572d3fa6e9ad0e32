//! [`Messages`]: the gRPC request messages to log, and their fields to redact.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor};

use super::message_text::RedactedText;

/// The messages of a gRPC server to log with its requests, and their fields to redact.
///
/// They are decoded with the descriptors of the service (the file that `tonic_prost_build`'s
/// `file_descriptor_set_path` writes), so that redaction does not depend on a type's `Debug`.
/// Pass it to [`TraceLayer::messages`](super::TraceLayer::messages).
///
/// | a message | is logged as |
/// |---|---|
/// | of a method with a descriptor | `request: item: "bread" card: REDACTED buyer { email: REDACTED }` |
/// | of another method | nothing |
/// | of a stream | its first message |
/// | larger than 16 KiB, compressed or invalid | a note, such as `(17004 bytes)` |
/// | with a field of bytes | the number of bytes |
/// | with fields without a descriptor | its other fields |
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
/// // An unknown field is an error: a misspelled field would be logged.
/// let wrong = messages.clone().redact(["crad"]).unwrap_err();
/// assert_eq!(wrong.to_string(), "no request message has the field \"crad\"");
/// assert!(Messages::new(b"nonsense").is_err());
/// # Ok::<(), logtracer_sdk::server::MessagesError>(())
/// ```
#[derive(Clone)]
pub struct Messages {
    /// The request message of each method, by path.
    inputs: Arc<HashMap<String, MessageDescriptor>>,
    redacted: Arc<[String]>,
}

impl Messages {
    /// Returns the messages of all services in an encoded `FileDescriptorSet`.
    ///
    /// # Errors
    ///
    /// If the bytes are not a valid `FileDescriptorSet`.
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

    /// Redacts the values of these fields, given by their path from the message: `card`, `buyer.email`.
    ///
    /// The list applies to the messages of all methods, as in bbc/logtracer.
    /// Lists and maps add nothing to a path: `buyers.email` is the field of every item.
    /// The path of a message, list or map redacts it as a whole.
    ///
    /// # Errors
    ///
    /// If no request message has such a field.
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

    /// Returns the descriptor of a method's request message.
    pub(super) fn input(&self, path: &str) -> Option<MessageDescriptor> {
        self.inputs.get(path).cloned()
    }

    /// Returns the redacted text of a message.
    pub(super) fn text_of(&self, descriptor: MessageDescriptor, bytes: &[u8]) -> String {
        match DynamicMessage::decode(descriptor, bytes) {
            Ok(message) => RedactedText::new(&message, &self.redacted).to_string(),
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
        // The entry of a map is a message of a key and a value.
        Kind::Message(entry) if field.is_map() => match entry.map_entry_value_field().kind() {
            Kind::Message(value) => has_field(&value, rest),
            _ => false,
        },
        Kind::Message(inner) => has_field(&inner, rest),
        _ => false,
    }
}

/// An error of [`Messages`]: invalid descriptors, or an unknown field.
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
