//! Scalars as ProtoJSON writes them (<https://protobuf.dev/programming-guides/json/>).

use std::borrow::Cow;

use super::reader::{Raw, Token};
use crate::otlp::left_out::Reason;

/// Reads an integer: a number or a text, also with an exponent or a fraction of zeros.
pub(crate) fn integer<T: TryFrom<i128>>(token: &Token<'_>) -> Result<T, Reason> {
    let number = parse_integer(&word(token)?).ok_or(Reason::WrongType)?;
    T::try_from(number).map_err(|_| Reason::OutOfRange)
}

/// Returns a number, or a text that can contain one.
fn word<'a>(token: &Token<'a>) -> Result<Cow<'a, str>, Reason> {
    match token {
        Token::Number(text) => Ok(Cow::Borrowed(text)),
        Token::Text(text) => Ok(text.word()),
        _ => Err(Reason::WrongType),
    }
}

/// Parses a decimal number that is an integer. A number outside of `i128` is its nearest bound.
fn parse_integer(text: &str) -> Option<i128> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    if [whole, fraction].iter().any(|part| part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    // The number is `significant × 10^shift`. Zeros at the end of the digits are counted, and not multiplied.
    let (mut significant, mut zeros) = (Some(0i128), 0u32);
    for digit in whole.bytes().chain(fraction.bytes()).map(|byte| i128::from(byte - b'0')) {
        if digit == 0 {
            zeros = if significant == Some(0) { 0 } else { zeros.saturating_add(1) };
        } else {
            significant =
                times_power_of_ten(significant, i64::from(zeros) + 1).and_then(|n| n.checked_add(digit));
            zeros = 0;
        }
    }
    if significant == Some(0) {
        return Some(0);
    }
    let shift = exponent.saturating_sub(i64::try_from(fraction.len()).ok()?).saturating_add(zeros.into());
    if shift < 0 {
        return None;
    }
    Some(times_power_of_ten(significant, shift).map_or(sign * i128::MAX, |number| sign * number))
}

/// Returns `None` if the result is larger than an `i128`.
fn times_power_of_ten(number: Option<i128>, exponent: i64) -> Option<i128> {
    match number? {
        0 => Some(0),
        number => number.checked_mul(10i128.checked_pow(u32::try_from(exponent).ok()?)?),
    }
}

/// Reads a number or a text, which can be `NaN`, `Infinity` or `-Infinity`.
pub(crate) fn double(token: &Token<'_>) -> Result<f64, Reason> {
    let text = &*word(token)?;
    match text {
        "NaN" => return Ok(f64::NAN),
        "Infinity" => return Ok(f64::INFINITY),
        "-Infinity" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    // The parser of Rust accepts more than JSON, such as `inf` and `+1`.
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
        && !text.ends_with('.');
    match text.parse::<f64>() {
        Ok(number) if is_decimal && number.is_finite() => Ok(number),
        Ok(_) if is_decimal => Err(Reason::OutOfRange),
        _ => Err(Reason::WrongType),
    }
}

/// Reads a boolean. Some writers quote it.
pub(crate) fn boolean(token: &Token<'_>) -> Result<bool, Reason> {
    match token {
        Token::Bool(boolean) => Ok(*boolean),
        Token::Text(text) if text.word() == "true" => Ok(true),
        Token::Text(text) if text.word() == "false" => Ok(false),
        _ => Err(Reason::WrongType),
    }
}

/// Reads the number or the name of a value of an enum, also without the prefix that all its names have: `ERROR` is
/// `STATUS_CODE_ERROR`. An unknown name is 0, because a newer version can define it.
pub(crate) fn enum_value(token: &Token<'_>, names: &[&str]) -> Result<i32, Reason> {
    if let Token::Text(text) = token
        && let text = text.word()
        && !text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
    {
        let prefix = names.first().and_then(|first| first.rfind('_').and_then(|at| first.get(..=at)));
        let is_named =
            |name: &&str| *name == text || prefix.and_then(|prefix| name.strip_prefix(prefix)) == Some(&text);
        let position = names.iter().position(is_named).unwrap_or(0);
        return Ok(i32::try_from(position).unwrap_or(0));
    }
    integer(token)
}

/// Appends Base64 in the standard or the URL-safe alphabet, with or without padding. After an error, the bytes before
/// it have been appended.
pub(super) fn base64(text: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reason> {
    let (mut group, mut sextets, mut padding, mut is_valid) = (0u32, 0, 0usize, true);
    let mut take = |byte| match sextet(byte) {
        Some(bits) if padding == 0 => {
            group = group << 6 | bits;
            sextets += 1;
            if sextets == 4 {
                out.extend_from_slice(&group.to_be_bytes()[1..]);
                (group, sextets) = (0, 0);
            }
        }
        None if byte == b'=' => padding += 1,
        _ => is_valid = false,
    };
    text.for_each_part(|part| part.bytes().for_each(&mut take));
    let rest = group << (6 * (4 - sextets));
    match sextets {
        _ if !is_valid => return Err(Reason::WrongType),
        0 => {}
        2 => out.extend_from_slice(&rest.to_be_bytes()[1..2]),
        3 => out.extend_from_slice(&rest.to_be_bytes()[1..3]),
        _ => return Err(Reason::WrongType),
    }
    Ok(())
}

/// Appends the bytes of hexadecimal digits. After an error, the bytes before it have been appended.
pub(super) fn hex(text: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reason> {
    let (mut first, mut is_valid) = (None, true);
    let mut take =
        |byte: u8| match (char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()), first) {
            (Some(digit), None) => first = Some(digit),
            (Some(digit), Some(high)) => {
                out.push(high << 4 | digit);
                first = None;
            }
            (None, _) => is_valid = false,
        };
    text.for_each_part(|part| part.bytes().for_each(&mut take));
    if is_valid && first.is_none() { Ok(()) } else { Err(Reason::IdNotHex) }
}

fn sextet(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::json::Reader;

    /// Returns the token of a text.
    fn text(text: &'static str) -> Token<'static> {
        Reader::new(Box::leak(format!("{text:?}").into_boxed_str())).unwrap().token()
    }

    #[track_caller]
    fn raw(json: &'static str) -> Raw<'static> {
        match Reader::new(json).unwrap().token() {
            Token::Text(raw) => raw,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn integers() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("007", Some(7)),
            ("1e3", Some(1000)),
            ("1E+3", Some(1000)),
            ("3.0", Some(3)),
            ("-1.50e1", Some(-15)),
            ("1.58266276796031e+15", Some(1_582_662_767_960_310)),
            ("1200e-2", Some(12)),
            ("0.000", Some(0)),
            ("0e999999999", Some(0)),
            ("-9223372036854775808", Some(i128::from(i64::MIN))),
            ("18446744073709551615", Some(i128::from(u64::MAX))),
            ("1e400", Some(i128::MAX)),
            ("-1e9223372036854775807", Some(-i128::MAX)),
            ("0.5", None),
            ("1e-1", None),
            ("", None),
            ("-", None),
            (".5", None),
            ("1.", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("0x1", None),
            ("1e", None),
            ("--1", None),
            ("NaN", None),
            ("10000000000000000000000000000000000000000e-40", Some(1)),
            ("0.00000000000000000000000000000000000000001e41", Some(1)),
            ("170141183460469231731687303715884105728", Some(i128::MAX)),
            ("1234567890123456789012345678901234567890123e-3", None),
            ("1234567890123456789012345678901234567890123", Some(i128::MAX)),
        ] {
            assert_eq!(parse_integer(text), expected, "{text:?}");
        }
        assert_eq!(integer::<u32>(&Token::Number("4294967296")), Err(Reason::OutOfRange));
        assert_eq!(integer::<u32>(&text("-1")), Err(Reason::OutOfRange));
        assert_eq!(integer::<u32>(&Token::Bool(true)), Err(Reason::WrongType));
    }

    #[test]
    fn doubles() {
        for (form, expected) in [
            ("1.5", Ok(1.5)),
            ("-Infinity", Ok(f64::NEG_INFINITY)),
            ("1e3", Ok(1000.0)),
            ("1e999", Err(Reason::OutOfRange)),
            ("inf", Err(Reason::WrongType)),
            ("nan", Err(Reason::WrongType)),
            ("+1", Err(Reason::WrongType)),
            ("1.", Err(Reason::WrongType)),
            (" 1", Err(Reason::WrongType)),
            ("", Err(Reason::WrongType)),
        ] {
            assert_eq!(double(&text(form)), expected, "{form:?}");
        }
        assert!(double(&text("NaN")).unwrap().is_nan());
        assert_eq!(double(&Token::Number("0.1")), Ok(0.1));
    }

    #[test]
    fn base64_in_all_its_forms() {
        for (text, expected) in [
            (r#""""#, Some(&b""[..])),
            (r#""+/8=""#, Some(b"\xfb\xff")),
            (r#""+\/8=""#, Some(b"\xfb\xff")),
            (r#""-_8""#, Some(b"\xfb\xff")),
            (r#""AAEC""#, Some(b"\0\x01\x02")),
            (r#""AAECAw""#, Some(b"\0\x01\x02\x03")),
            (r#""AA==""#, Some(b"\0")),
            (r#""AA""#, Some(b"\0")),
            (r#""A""#, None),
            (r#""A A=""#, None),
            (r#""AA=A""#, None),
            (r#""é===""#, None),
        ] {
            let mut out = Vec::new();
            let result = base64(raw(text), &mut out);
            assert_eq!(result.ok().map(|()| &out[..]), expected, "{text}");
        }
    }

    #[test]
    fn hexadecimal_digits() {
        for (text, expected) in [
            (r#""""#, Some(&b""[..])),
            (r#""00fF""#, Some(b"\x00\xff")),
            (r#""\u0030a""#, Some(b"\x0a")),
            (r#""0""#, None),
            (r#""0x""#, None),
            (r#""é""#, None),
        ] {
            let mut out = Vec::new();
            let result = hex(raw(text), &mut out);
            assert_eq!(result.ok().map(|()| &out[..]), expected, "{text}");
        }
    }
}
