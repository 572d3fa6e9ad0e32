//! A search for the bodies whose decoding takes the most memory, for each format: it must not take more than the permit.
//!
//! A body is a place, such as the attributes of a span, that is filled with a repeated part. Every part is tried at every
//! place. Then random mixtures are tried, and the largest size of what was found.

use std::time::{Duration, Instant};

use fastrand::Rng;
use logtracer_allocations::peak_bytes;

use super::decode::{Checked, Format, check_body, rewrite};
use super::error::RequestError;
use super::limits::MAX_BODY_BYTES;
use crate::otlp::Signal;
use crate::otlp::check::{MAX_DECODED_BYTES, MAX_ITEMS};

/// Allocations of a fixed size: the state of parsers, error messages.
const FIXED_BYTES: usize = 16 << 10;

const TRIAL_BYTES: usize = 64 << 10;

/// The time for mixtures, of each format.
const TIME: Duration = Duration::from_secs(3);

/// Puts parts between what is before and after them.
type Enclose = fn(&[u8], Vec<u8>, &[u8]) -> Vec<u8>;

/// Bodies of a format: its places, each as what is before and after the parts, and its parts.
struct Bodies {
    format: Format,
    places: Vec<(Vec<u8>, Vec<u8>)>,
    parts: Vec<Vec<u8>>,
    separator: &'static [u8],
    enclose: Enclose,
}

/// Decodes a body as a request does. Returns the share of the permit that this took.
fn share(format: Format, body: &[u8]) -> f64 {
    let mut worst = 0f64;
    let (checked, taken) = peak_bytes(|| check_body(format, body));
    assert!(taken < FIXED_BYTES, "checking {format:?} took {taken} bytes");
    let Ok(Checked::Rewrite { max_bytes }) = checked else { return 0. };
    if max_bytes > MAX_DECODED_BYTES {
        return 0.;
    }
    for max_bytes in [max_bytes, MAX_DECODED_BYTES] {
        let (result, taken) = peak_bytes(|| rewrite(format, body, max_bytes));
        worst = worst.max(taken.saturating_sub(FIXED_BYTES) as f64 / max_bytes as f64);
        if !matches!(result, Err(RequestError::TooLargeDecoded)) {
            break;
        }
    }
    worst
}

impl Bodies {
    /// Fills a place with parts, one after the other, up to a size.
    fn fill(&self, place: usize, parts: &[&[u8]], bytes: usize) -> Vec<u8> {
        let (before, after) = &self.places[place];
        let mut inner = Vec::with_capacity(bytes + 1024);
        for (n, part) in parts.iter().cycle().enumerate().take(2 * MAX_ITEMS as usize) {
            if inner.len() + part.len() + before.len() + after.len() > bytes {
                break;
            }
            if n > 0 {
                inner.extend_from_slice(self.separator);
            }
            // A `#` is a number that is different each time.
            match part.iter().position(|byte| *byte == b'#') {
                None => inner.extend_from_slice(part),
                Some(at) => {
                    inner.extend_from_slice(&part[..at]);
                    inner.extend_from_slice(format!("{n:08x}").as_bytes());
                    inner.extend_from_slice(&part[at + 1..]);
                }
            }
        }
        (self.enclose)(before, inner, after)
    }

    /// Returns the worst share, and the place and the parts with it.
    fn search(&self, seed: u64) -> (f64, String) {
        let mut found: Vec<(f64, usize, Vec<usize>)> = Vec::new();
        let try_parts = |place: usize, parts: &[usize]| {
            let filled: Vec<&[u8]> = parts.iter().map(|part| &self.parts[*part][..]).collect();
            share(self.format, &self.fill(place, &filled, TRIAL_BYTES))
        };
        for place in 0..self.places.len() {
            for part in 0..self.parts.len() {
                found.push((try_parts(place, &[part]), place, vec![part]));
            }
        }
        let (mut rng, start) = (Rng::with_seed(seed), Instant::now());
        while start.elapsed() < TIME {
            let place = rng.usize(..self.places.len());
            let parts: Vec<usize> = (0..rng.usize(2..6)).map(|_| rng.usize(..self.parts.len())).collect();
            found.push((try_parts(place, &parts), place, parts));
        }
        found.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
        let mut worst = (0., String::new());
        for (share_of_trial, place, parts) in found.into_iter().take(8) {
            let filled: Vec<&[u8]> = parts.iter().map(|part| &self.parts[*part][..]).collect();
            for bytes in [1 << 20, MAX_BODY_BYTES] {
                let share = share_of_trial.max(share(self.format, &self.fill(place, &filled, bytes)));
                if share > worst.0 {
                    let parts: Vec<_> = filled
                        .iter()
                        .map(|part| part[..part.len().min(60)].escape_ascii().to_string())
                        .collect();
                    worst = (share, format!("place {place}, parts {parts:?}, up to {bytes} bytes"));
                }
            }
        }
        worst
    }
}

fn concatenate(before: &[u8], inner: Vec<u8>, after: &[u8]) -> Vec<u8> {
    [before, &inner, after].concat()
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Elements, members and long values for JSON.
fn json_parts() -> Vec<Vec<u8>> {
    let long = |text: &str| format!("\"{}\"", text.repeat(2000));
    let mut parts = texts(&[
        "{}",
        "[]",
        "null",
        "7",
        "-1",
        "\"\"",
        "\"\\n\"",
        "\"a\"",
        "[[]]",
        "[{}]",
        "{\"a\":{}}",
        "1e9",
        "true",
        "{\"key\":\"k\"}",
        "{\"key\":\"\",\"value\":{}}",
        "{\"stringValue\":\"\"}",
        "{\"intValue\":-1}",
        "{\"name\":\"\"}",
        "{\"timestamp\":1,\"value\":\"\"}",
        "{\"attributes\":[7]}",
        "{\"attributes\":[7],\"droppedAttributesCount\":4294967295}",
        "\"kind\":-1",
        "\"kind\":\"\"",
        "\"a\":{}",
        "\"a\":1",
        "\"#\":1",
        "\"#\":\"\"",
        "\"\\u0061#\":\"\\n\"",
        "\"\":\"\"",
        "\"name\":\"\"",
        "\"name\":\"\\u0000\"",
        "\"attributes\":[7]",
        "\"links\":[{}]",
        "\"status\":{\"code\":-1}",
        "\"droppedLinksCount\":4294967295",
        "\"shared\":true",
        "\"localEndpoint\":{\"ipv4\":\"1\",\"port\":1}",
        "\"remoteEndpoint\":{\"serviceName\":\"#\",\"ipv6\":\"1\"}",
        "{\"traceId\":\"1\",\"id\":\"1\"}",
        "{\"traceId\":\"1\",\"id\":\"1\",\"kind\":\"SERVER\",\"shared\":true,\"localEndpoint\":{\"serviceName\":\"#\"}}",
        "{\"traceId\":\"1\",\"id\":\"1\",\"localEndpoint\":{\"serviceName\":\"\\u0061#\"}}",
        "{\"traceId\":\"1\",\"id\":\"1\",\"tags\":{\"otel.scope.name\":\"#\",\"a\":\"\"}}",
        "{\"traceId\":\"463ac35c9f6413ad48485a3953bb6124\",\"spanId\":\"00f067aa0ba902b7\"}",
        "{\"traceId\":\"463ac35c9f6413ad48485a3953bb6124\",\"spanId\":\"00f067aa0ba902b7\",\"kind\":-1}",
        "{\"scopeSpans\":[{\"spans\":[{\"traceId\":\"463ac35c9f6413ad48485a3953bb6124\",\"spanId\":\"00f067aa0ba902b7\"}]}]}",
        "{\"severityNumber\":-1}",
        "{\"body\":{\"intValue\":-1}}",
    ]);
    parts.push(long("a").into_bytes());
    parts.push(long("\\n").into_bytes());
    parts.push(long("\\u00e9").into_bytes());
    parts.push(format!("\"name\":{}", long("\\n")).into_bytes());
    parts.push(format!("\"tags\":{{\"a\":{}}}", long("\\u0061")).into_bytes());
    parts.push(format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes());
    parts.push(format!("\"a\":{}{}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes());
    parts.push([&b"\""[..], &[0xff; 3000], b"\""].concat());
    parts.push([&b"\"name\":\""[..], &[0xff; 3000], b"\""].concat());
    parts.push(format!("{{\"bytesValue\":{}}}", long("\\/AAA")).into_bytes());
    parts.push(format!("\"traceId\":{}", long("\\u0030")).into_bytes());
    parts
}

fn otlp_json(signal: Signal) -> Bodies {
    let (resource, scope, items, ids) = match signal {
        Signal::Traces => (
            "resourceSpans",
            "scopeSpans",
            "spans",
            r#""traceId":"463ac35c9f6413ad48485a3953bb6124","spanId":"00f067aa0ba902b7","#,
        ),
        Signal::Logs => ("resourceLogs", "scopeLogs", "logRecords", ""),
    };
    let root = format!("{{\"{resource}\":[");
    let scopes = format!("{root}{{\"{scope}\":[");
    let list = format!("{scopes}{{\"{items}\":[");
    let item = format!("{list}{{{ids}");
    let closed = ["]}", "]}]}", "]}]}]}", "}]}]}]}"];
    let mut places = vec![
        (root.clone(), closed[0]),
        (scopes, closed[1]),
        (list, closed[2]),
        (item.clone(), closed[3]),
        (format!("{root}{{\"resource\":{{\"attributes\":["), "]}}]}"),
        (format!("{root}{{\"resource\":{{"), "}}]}"),
        ("{\"unknown\":[".to_owned(), "]}"),
    ];
    let inside = |field: &str, close: &'static str| (format!("{item}{field}"), close);
    places.extend([
        inside("\"attributes\":[", "]}]}]}]}"),
        inside("\"events\":[", "]}]}]}]}"),
        inside("\"links\":[", "]}]}]}]}"),
        inside("\"status\":{", "}}]}]}]}"),
        inside("\"attributes\":[{\"key\":\"k\",\"value\":{\"arrayValue\":{\"values\":[", "]}}}]}]}]}]}"),
        inside("\"events\":[{\"attributes\":[", "]}]}]}]}]}"),
        inside("\"name\":", "}]}]}]}"),
    ]);
    let bytes = |text: &str| text.as_bytes().to_vec();
    Bodies {
        format: Format::Json(signal),
        places: places.iter().map(|(before, after)| (bytes(before), bytes(after))).collect(),
        parts: json_parts(),
        separator: b",",
        enclose: concatenate,
    }
}

fn zipkin() -> Bodies {
    let span = r#"[{"traceId":"1","id":"1","#;
    let places = [
        ("[".to_owned(), "]"),
        (span.to_owned(), "}]"),
        (format!("{span}\"tags\":{{"), "}}]"),
        (format!("{span}\"annotations\":["), "]}]"),
        (format!("{span}\"localEndpoint\":{{"), "}}]"),
        (format!("{span}\"name\":"), "}]"),
    ];
    let bytes = |text: &str| text.as_bytes().to_vec();
    Bodies {
        format: Format::Zipkin,
        places: places.iter().map(|(before, after)| (bytes(before), bytes(after))).collect(),
        parts: json_parts(),
        separator: b",",
        enclose: concatenate,
    }
}

/// Encloses the parts in messages: the path of field numbers is `before`.
fn nest(path: &[u8], inner: Vec<u8>, after: &[u8]) -> Vec<u8> {
    let message = path.iter().rev().fold(inner, |inner, field| delimited(*field, &inner));
    [&message, after].concat()
}

fn delimited(field: u8, inner: &[u8]) -> Vec<u8> {
    let mut outer = vec![field << 3 | 2];
    prost::encoding::encode_varint(inner.len() as u64, &mut outer);
    outer.extend_from_slice(inner);
    outer
}

fn otlp_protobuf(signal: Signal) -> Bodies {
    let paths: [&[u8]; 10] = [
        &[],
        &[1],
        &[1, 1],
        &[1, 2],
        &[1, 2, 2],
        &[1, 2, 2, 9],
        &[1, 2, 2, 11],
        &[1, 2, 2, 9, 2],
        &[1, 1, 1],
        &[1, 2, 2, 6],
    ];
    // An invalid resource, so that the body is written again.
    let invalid = delimited(1, &[0xff]);
    let mut parts = Vec::new();
    for field in 1..=15 {
        let text = |byte: u8, length: usize| delimited(field, &vec![byte; length]);
        parts.extend([text(0, 0), text(b'a', 1), text(0xff, 1), text(0xff, 3), text(0xff, 3000), text(8, 1)]);
        // A number, a group, and an attribute that is left out beside a large count of these.
        parts.extend([vec![field << 3, 1], vec![field << 3 | 3, field << 3 | 4]]);
        let counted = [&[9 << 3 | 2, 1, 0xff][..], &[10 << 3, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
        parts.push(delimited(field, &counted));
    }
    let ids = [delimited(1, &[7; 16]), delimited(2, &[7; 8])].concat();
    parts.push(delimited(2, &ids));
    parts.push(delimited(2, &[&ids[..], &delimited(5, &[0xff; 9])].concat()));
    parts.push((0..60).fold(vec![0xff], |inner, _| delimited(5, &inner)));
    Bodies {
        format: Format::Protobuf(signal),
        places: paths.iter().map(|path| (path.to_vec(), invalid.clone())).collect(),
        parts,
        separator: b"",
        enclose: nest,
    }
}

#[test]
fn decoding_takes_no_more_memory_than_its_permit() {
    let all = [
        ("OTLP in JSON, traces", otlp_json(Signal::Traces)),
        ("OTLP in JSON, logs", otlp_json(Signal::Logs)),
        ("OTLP in protobuf, traces", otlp_protobuf(Signal::Traces)),
        ("OTLP in protobuf, logs", otlp_protobuf(Signal::Logs)),
        ("Zipkin", zipkin()),
    ];
    std::thread::scope(|scope| {
        for (seed, (name, bodies)) in all.iter().enumerate() {
            scope.spawn(move || {
                let (share, what) = bodies.search(seed as u64);
                println!("{name}: {share:.2} of the permit: {what}");
                assert!(share > 0.2, "{name}: the search finds nothing, or the permits are far too large");
                assert!(share <= 1., "{name}: {share:.2} of the permit: {what}");
            });
        }
    });
}
