//! The table of messages against the descriptors of the `.proto` files.

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind as Described, MessageDescriptor};

use super::*;

/// Compares a message and the messages in it with their definitions. `seen` has the names of those that were compared.
fn compare(message: &MessageType, definition: &MessageDescriptor, seen: &mut BTreeSet<String>) {
    let name = definition.full_name();
    // `AnyValue` has two entries, which share their fields.
    if !seen.insert(format!("{name} {}", message.size)) {
        return;
    }
    for defined in definition.fields() {
        let path = format!("{name}.{}", defined.name());
        let field = message.field(defined.number());
        assert_eq!(field.name, defined.name(), "{path} has the number {}", defined.number());
        assert_eq!(String::from_utf8(field.json_name().collect()).unwrap(), defined.json_name(), "{path}");
        assert_eq!(field.is_repeated, defined.is_list(), "{path}");
        assert_eq!(message.number(defined.name()), Some(defined.number()), "{path}");
        assert_eq!(message.number(defined.json_name()), Some(defined.number()), "{path}");
        let count = definition.get_field_by_name(&format!("dropped_{}_count", defined.name()));
        assert_eq!(field.dropped.map(u32::from), count.map(|count| count.number()), "{path}");
        compare_kind(field, &defined, seen);
    }
    for (number, field) in message.fields.iter().enumerate() {
        let is_defined = definition.get_field(u32::try_from(number).unwrap()).is_some();
        assert_eq!(!field.name.is_empty(), is_defined, "{name} number {number}");
    }
}

fn compare_kind(field: &Field, defined: &FieldDescriptor, seen: &mut BTreeSet<String>) {
    let name = defined.full_name();
    match (field.kind, defined.kind()) {
        (Bool, Described::Bool)
        | (Int32, Described::Int32)
        | (Int64, Described::Int64)
        | (Uint32, Described::Uint32)
        | (Fixed32, Described::Fixed32)
        | (Fixed64, Described::Fixed64)
        | (Double, Described::Double)
        | (Text, Described::String) => {}
        // OTLP/JSON writes ids as hexadecimal digits, and other bytes as Base64.
        (Id, Described::Bytes) => assert!(defined.name().ends_with("_id"), "{name}"),
        (Bytes, Described::Bytes) => assert!(!defined.name().ends_with("_id"), "{name}"),
        (Enum(names), Described::Enum(definition)) => {
            let defined: Vec<_> =
                definition.values().map(|value| (value.number(), value.name().to_owned())).collect();
            let ours: Vec<_> = (0..).zip(names.iter().map(|name| (*name).to_owned())).collect();
            assert_eq!(ours, defined, "{name}");
        }
        (Message(inner), Described::Message(definition)) => compare(inner, &definition, seen),
        (_, kind) => panic!("{name} is of the kind {kind:?}"),
    }
}

#[test]
fn the_table_is_that_of_the_definitions() {
    let pool = DescriptorPool::decode(opentelemetry_proto::DESCRIPTORS).unwrap();
    let mut seen = BTreeSet::new();
    for (message, name) in [
        (&TRACES, "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest"),
        (&LOGS, "opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest"),
    ] {
        compare(message, &pool.get_message_by_name(name).expect(name), &mut seen);
    }
    assert_eq!(seen.len(), 19, "{seen:?}");
}
