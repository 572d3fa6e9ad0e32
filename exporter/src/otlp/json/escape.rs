//! The escape `\uXXXX`, which JSON texts of other programs contain with halves of surrogate pairs.

/// Reads the digits after `\u`, and the second half of a surrogate pair. Returns the character, and the length of what
/// was read. Half a pair alone is U+FFFD.
pub(crate) fn unicode(after: &str) -> Option<(char, usize)> {
    let unit = code_unit(after)?;
    if (0xd800..0xdc00).contains(&unit)
        && let Some(low @ 0xdc00..=0xdfff) =
            after.get(4..).and_then(|rest| code_unit(rest.strip_prefix("\\u")?))
    {
        let pair = char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
        return Some((pair.unwrap_or(char::REPLACEMENT_CHARACTER), 10));
    }
    Some((char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), 4))
}

fn code_unit(text: &str) -> Option<u32> {
    let digits = text.get(..4)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}
