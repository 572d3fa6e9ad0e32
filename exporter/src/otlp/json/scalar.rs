//! Scalars as ProtoJSON writes them (<https://protobuf.dev/programming-guides/json/>).

use super::reader::Token;
use crate::otlp::left_out::Reason;

/// Reads an integer: a number or a text, also with an exponent or a fraction of zeros.
pub(crate) fn integer<T: TryFrom<i128>>(token: &Token<'_>) -> Result<T, Reason> {
    let text = match token {
        Token::Number(text) => text,
        Token::Text(text) => text.as_ref(),
        _ => return Err(Reason::WrongType),
    };
    let number = parse_integer(text).ok_or(Reason::WrongType)?;
    T::try_from(number).map_err(|_| Reason::OutOfRange)
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
    // The number is `digits × 10^shift`.
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let trimmed = digits.trim_end_matches('0');
    let zeros = i64::try_from(digits.len() - trimmed.len()).ok()?;
    let shift = exponent.saturating_sub(i64::try_from(fraction.len()).ok()?).saturating_add(zeros);
    let significant = trimmed.trim_start_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let shift = u32::try_from(shift.min(100)).ok()?;
    let number = significant.parse::<i128>().ok().and_then(|n| n.checked_mul(10i128.checked_pow(shift)?));
    Some(number.map_or(sign * i128::MAX, |number| sign * number))
}

/// Reads a number or a text, which can be `NaN`, `Infinity` or `-Infinity`.
pub(crate) fn double(token: &Token<'_>) -> Result<f64, Reason> {
    let text = match token {
        Token::Number(text) => text,
        Token::Text(text) => match text.as_ref() {
            "NaN" => return Ok(f64::NAN),
            "Infinity" => return Ok(f64::INFINITY),
            "-Infinity" => return Ok(f64::NEG_INFINITY),
            text => text,
        },
        _ => return Err(Reason::WrongType),
    };
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
        Token::Text(text) if text == "true" => Ok(true),
        Token::Text(text) if text == "false" => Ok(false),
        _ => Err(Reason::WrongType),
    }
}

/// Reads the number or the name of a value of an enum. An unknown name is 0, because a newer version can define it.
pub(crate) fn enum_value(token: &Token<'_>, names: &[&str]) -> Result<i32, Reason> {
    if let Token::Text(text) = token
        && !text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
    {
        let position = names.iter().position(|name| name == text).unwrap_or(0);
        return Ok(i32::try_from(position).unwrap_or(0));
    }
    integer(token)
}

/// Decodes Base64 in the standard or the URL-safe alphabet, with or without padding.
pub(crate) fn base64(text: &str) -> Result<Vec<u8>, Reason> {
    let text = text.trim_end_matches('=');
    if text.len() % 4 == 1 {
        return Err(Reason::WrongType);
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for byte in group {
            bits = bits << 6 | sextet(*byte).ok_or(Reason::WrongType)?;
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend(bits.to_be_bytes().iter().skip(1).take(group.len() * 6 / 8));
    }
    Ok(bytes)
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
        ] {
            assert_eq!(parse_integer(text), expected, "{text:?}");
        }
        assert_eq!(integer::<u32>(&Token::Number("4294967296")), Err(Reason::OutOfRange));
        assert_eq!(integer::<u32>(&Token::Text("-1".into())), Err(Reason::OutOfRange));
        assert_eq!(integer::<u32>(&Token::Bool(true)), Err(Reason::WrongType));
    }

    #[test]
    fn doubles() {
        for (text, expected) in [
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
            assert_eq!(double(&Token::Text(text.into())), expected, "{text:?}");
        }
        assert!(double(&Token::Text("NaN".into())).unwrap().is_nan());
        assert_eq!(double(&Token::Number("0.1")), Ok(0.1));
    }

    #[test]
    fn base64_in_all_its_forms() {
        for (text, expected) in [
            ("", Some(&b""[..])),
            ("+/8=", Some(b"\xfb\xff")),
            ("-_8", Some(b"\xfb\xff")),
            ("AAEC", Some(b"\0\x01\x02")),
            ("AA==", Some(b"\0")),
            ("AA", Some(b"\0")),
            ("A", None),
            ("A A=", None),
            ("é===", None),
        ] {
            assert_eq!(base64(text).ok().as_deref(), expected, "{text:?}");
        }
    }
}
