//! Tests of merging: a merged request is decoded as the original one is, and has each field once.

use super::*;
use crate::otlp::check::{CheckResult, examine};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use prost::encoding::encode_varint;

/// A field of a message.
fn field(number: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    encode_varint(body.len() as u64, &mut out);
    out.extend_from_slice(body);
    out
}

/// Numbers that are always the same.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Returns an `AnyValue` with any number of fields.
fn value(random: &mut Random, depth: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..random.below(4) {
        match random.below(if depth < 4 { 6 } else { 3 }) {
            0 => out.extend(field(1, &[b'a' + u8::try_from(random.below(3)).unwrap()])),
            1 => out.extend([0x18, u8::try_from(random.below(100)).unwrap()]),
            2 => out.extend(field(7, &[7])),
            3 => out.extend(field(6, &field(1, &attribute(random, depth + 1)))),
            // Elements of an array.
            _ => out.extend(field(5, &field(1, &value(random, depth + 1)))),
        }
    }
    out
}

/// Returns a `KeyValue`, in which the value can be there several times.
fn attribute(random: &mut Random, depth: usize) -> Vec<u8> {
    let mut out = field(1, &[b'k' + u8::try_from(random.below(3)).unwrap()]);
    for _ in 0..random.below(3) {
        out.extend(field(2, &value(random, depth + 1)));
    }
    out
}

fn span(random: &mut Random) -> Vec<u8> {
    let mut out = [field(1, &[1; 16]), field(2, &[2; 8])].concat();
    for _ in 0..random.below(8) {
        match random.below(4) {
            0 => out.extend(field(15, &[0x18, u8::try_from(random.below(3)).unwrap()])),
            1 => out.extend(field(15, &field(2, b"no"))),
            2 => out.extend(field(5, &[b'n', b'0' + u8::try_from(random.below(10)).unwrap()])),
            _ => out.extend(field(9, &attribute(random, 0))),
        }
    }
    out
}

fn request(random: &mut Random) -> Vec<u8> {
    let mut resource_spans = Vec::new();
    for _ in 0..random.below(3) {
        let resource = field(1, &attribute(random, 0));
        resource_spans.extend(field(1, &resource));
    }
    let mut scope_spans = Vec::new();
    for _ in 0..random.below(3) {
        let scope = if random.below(2) == 0 { field(1, b"name") } else { field(3, &attribute(random, 0)) };
        scope_spans.extend(field(1, &scope));
    }
    for _ in 0..random.below(3) {
        scope_spans.extend(field(2, &span(random)));
    }
    resource_spans.extend(field(2, &scope_spans));
    field(1, &resource_spans)
}

#[test]
fn a_merged_request_is_decoded_as_the_original_one() {
    let mut random = Random(7);
    let mut merged_requests = 0;
    for _ in 0..3000 {
        let body = request(&mut random);
        let (result, needs) = examine(Signal::Traces, &body);
        assert!(matches!(result, CheckResult::Valid { .. }));
        let merged = merge(Signal::Traces, &body).unwrap();
        assert!(merged.len() <= body.len());
        assert_eq!(
            ExportTraceServiceRequest::decode(&merged[..]).unwrap(),
            ExportTraceServiceRequest::decode(&body[..]).unwrap()
        );
        assert!(!examine(Signal::Traces, &merged).1.merge);
        assert_eq!(merged != body, needs.merge);
        merged_requests += u32::from(needs.merge);
    }
    assert!(merged_requests > 300, "{merged_requests}");
}

#[test]
fn the_number_of_parts_is_bounded() {
    let status = field(15, &[0x18, 2]).repeat(MAX_PARTS + 1);
    let span = [field(1, &[1; 16]), field(2, &[2; 8]), status].concat();
    let body = field(1, &field(2, &field(2, &span)));
    assert_eq!(merge(Signal::Traces, &body), Err(Reason::OutOfRange));
}
