//! The sampling probability of a span, in the member `ot` of its tracestate, as OpenTelemetry's
//! [consistent probability sampling](https://opentelemetry.io/docs/specs/otel/trace/tracestate-handling/) defines it.
//!
//! `ot=th:c` is the rejection threshold 0xc0000000000000 of 2^56: a quarter of the traces is kept, and each stands for four.

use std::borrow::Cow;
use std::fmt::Write;

use super::wire::read_field;

/// What a decision says about the probability with which a span was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probability {
    /// Nothing was decided about it.
    Unchanged,
    /// All spans like it were kept: the threshold is 0, unless the span has one.
    Certain,
    /// Spans whose random bits are at least this threshold were kept.
    Threshold(u64),
    /// The probability is not known.
    Unknown,
}

const DIGITS: usize = 14;
/// The field `trace_state` of `Span`.
const TRACE_STATE: u32 = 3;
/// The maximum number of members (W3C Trace Context, section 3.3.1.1).
const MAX_MEMBERS: usize = 32;
/// The maximum length of the value of `ot`.
const MAX_VALUE_CHARS: usize = 256;

/// Returns a `Span` with this probability in its tracestate.
pub(crate) fn apply(span: &[u8], probability: Probability) -> Cow<'_, [u8]> {
    if matches!(probability, Probability::Unchanged | Probability::Threshold(0)) {
        return span.into();
    }
    let mut out = Vec::with_capacity(span.len() + 32);
    let mut old: &str = "";
    let mut rest = span;
    while !rest.is_empty() {
        let before = rest;
        let Ok((number, value)) = read_field(&mut rest) else {
            // Not a span; it stays as it is.
            return span.into();
        };
        match value {
            super::wire::Value::Bytes(text) if number == TRACE_STATE => {
                old = std::str::from_utf8(text).unwrap_or_default();
            }
            _ => out.extend_from_slice(before.get(..before.len() - rest.len()).unwrap_or_default()),
        }
    }
    let Cow::Owned(new) = with_probability(old, probability) else { return span.into() };
    if !new.is_empty() {
        prost::encoding::string::encode(TRACE_STATE, &new, &mut out);
    }
    out.into()
}

/// Returns a tracestate with this probability. Of two thresholds, the higher one stays.
fn with_probability(tracestate: &str, probability: Probability) -> Cow<'_, str> {
    let members = || tracestate.split(',').map(str::trim).filter(|member| !member.is_empty());
    let old = members().find_map(|member| member.strip_prefix("ot=")).unwrap_or_default();
    // Explicit random bits decide instead of those of the id, which decided here.
    let has_random_bits = old.split(';').any(|pair| pair.starts_with("rv:"));
    let probability = match probability {
        Probability::Threshold(_) if has_random_bits => Probability::Unknown,
        other => other,
    };
    let old_threshold = old.split(';').find_map(|pair| pair.strip_prefix("th:")).and_then(read_threshold);
    let threshold = match probability {
        Probability::Unchanged => return tracestate.into(),
        Probability::Certain if old_threshold.is_some() => return tracestate.into(),
        Probability::Certain => Some(0),
        Probability::Threshold(new) if old_threshold.is_some_and(|old| old >= new) => {
            return tracestate.into();
        }
        Probability::Threshold(new) => Some(new),
        Probability::Unknown if old_threshold.is_none() => return tracestate.into(),
        Probability::Unknown => None,
    };

    let mut ot = String::new();
    if let Some(threshold) = threshold {
        write_threshold(&mut ot, threshold);
    }
    for pair in old.split(';').filter(|pair| !pair.is_empty() && !pair.starts_with("th:")) {
        if ot.len() + pair.len() >= MAX_VALUE_CHARS {
            continue;
        }
        if !ot.is_empty() {
            ot.push(';');
        }
        ot.push_str(pair);
    }
    let mut new = String::with_capacity(tracestate.len() + ot.len() + 4);
    // The changed member comes first.
    if !ot.is_empty() {
        let _ = write!(new, "ot={ot}");
    }
    let others = members().filter(|member| !member.starts_with("ot="));
    for member in others.take(MAX_MEMBERS - usize::from(!ot.is_empty())) {
        if !new.is_empty() {
            new.push(',');
        }
        new.push_str(member);
    }
    new.into()
}

/// Reads up to 14 hexadecimal digits; zeros at the end are left out.
fn read_threshold(digits: &str) -> Option<u64> {
    let is_valid = (1..=DIGITS).contains(&digits.len())
        && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let missing = DIGITS.checked_sub(digits.len()).filter(|_| is_valid)?;
    u64::from_str_radix(digits, 16).ok().map(|number| number << (4 * missing))
}

fn write_threshold(out: &mut String, threshold: u64) {
    let digits = format!("{threshold:0DIGITS$x}");
    let trimmed = digits.trim_end_matches('0');
    let _ = write!(out, "th:{}", if trimmed.is_empty() { "0" } else { trimmed });
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use prost::Message;

    const QUARTER: Probability = Probability::Threshold(0xc0_0000_0000_0000);

    #[test]
    fn thresholds_are_written_and_the_higher_one_stays() {
        for (tracestate, probability, expected) in [
            ("", QUARTER, "ot=th:c"),
            ("", Probability::Threshold(0xf3_3333_3333_3333), "ot=th:f3333333333333"),
            ("", Probability::Unknown, ""),
            ("a=1,b=2", QUARTER, "ot=th:c,a=1,b=2"),
            ("a=1,ot=th:8,b=2", QUARTER, "ot=th:c,a=1,b=2"),
            ("a=1,ot=th:e,b=2", QUARTER, "a=1,ot=th:e,b=2"),
            ("ot=rv:6e6d1a75832a2f;th:6", QUARTER, "ot=rv:6e6d1a75832a2f"),
            ("ot=rv:6e6d1a75832a2f", QUARTER, "ot=rv:6e6d1a75832a2f"),
            ("ot=p:1;th:8", QUARTER, "ot=th:c;p:1"),
            ("ot=th:0", QUARTER, "ot=th:c"),
            ("ot=th:XYZ", QUARTER, "ot=th:c"),
            ("ot=th:8;rv:6e6d1a75832a2f,a=1", Probability::Unknown, "ot=rv:6e6d1a75832a2f,a=1"),
            ("ot=th:8", Probability::Unknown, ""),
            (" a=1 , b=2 ", Probability::Unchanged, " a=1 , b=2 "),
            ("", Probability::Certain, "ot=th:0"),
            ("a=1", Probability::Certain, "ot=th:0,a=1"),
            ("ot=th:8", Probability::Certain, "ot=th:8"),
            ("ot=rv:6e6d1a75832a2f", Probability::Certain, "ot=th:0;rv:6e6d1a75832a2f"),
        ] {
            assert_eq!(with_probability(tracestate, probability), expected, "{tracestate} {probability:?}");
        }
    }

    #[test]
    fn a_tracestate_keeps_within_its_members() {
        let full: Vec<String> = (0..32).map(|n| format!("k{n}=v")).collect();
        let new = with_probability(&full.join(","), QUARTER).into_owned();
        assert_eq!(new.split(',').count(), 32);
        assert!(new.starts_with("ot=th:c,k0=v,") && new.ends_with(",k30=v"), "{new}");
    }

    #[test]
    fn the_rest_of_a_span_is_unchanged() {
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            trace_state: "a=1".to_owned(),
            name: "GET /".to_owned(),
            start_time_unix_nano: 5,
            ..Default::default()
        };
        let bytes = span.encode_to_vec();
        let changed = apply(&bytes, QUARTER);
        let expected = Span { trace_state: "ot=th:c,a=1".to_owned(), ..span };
        assert_eq!(Span::decode(&*changed).unwrap(), expected);
        assert_eq!(apply(&bytes, Probability::Unchanged), bytes);
        assert_eq!(apply(b"\xff\xff", QUARTER), &b"\xff\xff"[..]);
    }
}
