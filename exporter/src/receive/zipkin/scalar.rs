//! Scalars as Zipkin's own reader reads them.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::otlp::json::{self, Token};
use crate::otlp::left_out::Reason;

/// Reads a text, or the text of a number or a boolean.
pub(super) fn text(token: Token<'_>) -> Result<Cow<'_, str>, Reason> {
    match token {
        Token::Text(text) => Ok(text.text()),
        Token::Number(number) => Ok(number.into()),
        Token::Bool(boolean) => Ok(if boolean { "true" } else { "false" }.into()),
        _ => Err(Reason::WrongType),
    }
}

/// Reads an IP address. An empty text is absent.
pub(super) fn address(token: Token<'_>) -> Result<Option<Cow<'_, str>>, Reason> {
    let address = text(token)?;
    let is_valid = address.is_empty() || address.parse::<IpAddr>().is_ok();
    if is_valid { Ok(Some(address).filter(|address| !address.is_empty())) } else { Err(Reason::Malformed) }
}

/// Reads a number of microseconds. A number that is not positive is absent, and a fraction is cut off.
///
/// # Errors
///
/// The number in nanoseconds has more than 64 bits, as a number of nanoseconds instead of microseconds has.
pub(super) fn micros(token: Token<'_>) -> Result<Option<u64>, Reason> {
    let micros = match json::integer::<i128>(&token) {
        Err(_) => json::double(&token)? as i128,
        Ok(integer) => integer,
    };
    if micros <= 0 {
        return Ok(None);
    }
    let micros = u64::try_from(micros).ok().filter(|micros| micros.checked_mul(1000).is_some());
    micros.map(Some).ok_or(Reason::OutOfRange)
}

/// Reads a port. One that is not positive is absent.
pub(super) fn port(token: Token<'_>) -> Result<Option<u16>, Reason> {
    match json::integer::<i64>(&token)? {
        port if port <= 0 => Ok(None),
        port => u16::try_from(port).map(Some).map_err(|_| Reason::OutOfRange),
    }
}
