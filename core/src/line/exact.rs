//! Integers that a double cannot hold exactly, as texts. Cloud Logging stores the numbers of a payload as doubles.

use super::Value;

/// The largest integer up to which a double holds all.
const MAX_EXACT: u64 = 1 << 53;

/// Writes a value; an integer beyond 2⁵³ becomes a text.
pub(super) fn write(out: &mut Vec<u8>, value: Value<'_>, max: usize) {
    let is_exact = match value {
        Value::I64(number) => number.unsigned_abs() <= MAX_EXACT,
        Value::U64(number) => number <= MAX_EXACT,
        Value::I128(number) => number.unsigned_abs() <= MAX_EXACT.into(),
        Value::U128(number) => number <= MAX_EXACT.into(),
        Value::Json(json) => return write_json(out, json),
        _ => true,
    };
    if is_exact {
        return value.write(out, max);
    }
    let start = out.len();
    value.write(out, max);
    // A number beyond 64 bits is a text already.
    if out.get(start) != Some(&b'"') {
        out.insert(start, b'"');
        out.push(b'"');
    }
}

/// Writes JSON in which integers beyond 2⁵³ become texts.
fn write_json(out: &mut Vec<u8>, json: &str) {
    let mut rest = json;
    while let Some(at) = rest.find(|first: char| matches!(first, '"' | '-' | '0'..='9')) {
        let (before, token) = rest.split_at_checked(at).unwrap_or_default();
        Value::Json(before).write(out, before.len());
        let is_text = token.starts_with('"');
        let length = if is_text { len_of_text(token) } else { len_of_number(token) };
        let (token, after) = token.split_at_checked(length).unwrap_or((token, ""));
        let quote = (!is_text && !is_exact(token)).then_some(b'"');
        out.extend(quote);
        Value::Json(token).write(out, token.len());
        out.extend(quote);
        rest = after;
    }
    Value::Json(rest).write(out, rest.len());
}

/// Returns false for an integer beyond 2⁵³, and true for every other number.
fn is_exact(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit());
    !is_integer || digits.parse().is_ok_and(|number: u64| number <= MAX_EXACT)
}

/// Returns the length of the text at the start of JSON, with its quotes.
fn len_of_text(json: &str) -> usize {
    let mut is_escaped = false;
    let end = json.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(json.len(), |end| end + 2)
}

/// Returns the length of the number at the start of JSON.
fn len_of_number(json: &str) -> usize {
    let is_part = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    json.bytes().position(|byte| !is_part(byte)).unwrap_or(json.len())
}

#[cfg(test)]
mod tests {
    use super::super::{Format, MarkedField};
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[track_caller]
    fn check(format: Format, value: Value<'_>, expected: &str) {
        let mut out = Vec::new();
        MarkedField { name: "a", value, ..MarkedField::default() }.render(&mut out, format);
        assert_eq!(String::from_utf8(out).unwrap(), format!("\"a\":{expected}"));
    }

    #[test]
    fn integers_beyond_doubles_are_texts() {
        let (exact, inexact) = (MAX_EXACT as i64, MAX_EXACT as i64 + 1);
        for (value, expected) in [
            (Value::U64(MAX_EXACT), "9007199254740992"),
            (Value::U64(MAX_EXACT + 1), r#""9007199254740993""#),
            (Value::U64(u64::MAX), r#""18446744073709551615""#),
            (Value::I64(exact), "9007199254740992"),
            (Value::I64(-exact), "-9007199254740992"),
            (Value::I64(inexact), r#""9007199254740993""#),
            (Value::I64(i64::MIN), r#""-9223372036854775808""#),
            (Value::I128(inexact.into()), r#""9007199254740993""#),
            (Value::I128(-7), "-7"),
            (Value::U128(7), "7"),
            (Value::U128(u128::from(MAX_EXACT) + 1), r#""9007199254740993""#),
            (Value::U128(u128::MAX), r#""340282366920938463463374607431768211455""#),
            (Value::F64(1e300), "1e300"),
            (Value::Str("9007199254740993"), r#""9007199254740993""#),
            (Value::Bool(true), "true"),
        ] {
            check(Format::Stackdriver, value, expected);
        }
        check(Format::Local, Value::U64(u64::MAX), "18446744073709551615");
        check(Format::Local, Value::Json("[9007199254740993]"), "[9007199254740993]");
    }

    #[test]
    fn integers_in_json() {
        for (json, expected) in [
            ("9007199254740993", r#""9007199254740993""#),
            ("[1,-9007199254740993,\n9007199254740993]", r#"[1,"-9007199254740993", "9007199254740993"]"#),
            (r#"{"a":{"b":9007199254740993}}"#, r#"{"a":{"b":"9007199254740993"}}"#),
            (r#"{"9007199254740993":1.5e300,"c":null}"#, r#"{"9007199254740993":1.5e300,"c":null}"#),
            (r#"["\"9007199254740993",9007199254740993]"#, r#"["\"9007199254740993","9007199254740993"]"#),
            (r#"["\\",9007199254740993]"#, r#"["\\","9007199254740993"]"#),
            (r#"["é",9007199254740993]"#, r#"["é","9007199254740993"]"#),
            ("123456789012345678901234567890", r#""123456789012345678901234567890""#),
            ("9007199254740993.5", "9007199254740993.5"),
            ("[]", "[]"),
        ] {
            check(Format::Stackdriver, Value::Json(json), expected);
        }
    }
}
