//! Decimal digits: parsing and formatting without allocation and without the formatting machinery.

/// Parses an unsigned number of at most 64 bits: only digits, no sign.
pub(crate) fn parse(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Appends the digits of a number.
pub(crate) fn write(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(Digits::of(number).as_bytes());
}

/// The digits of a number.
pub(crate) struct Digits {
    /// They are at the end.
    bytes: [u8; 20], // the length of the largest number
    first: usize,
}

impl Digits {
    pub(crate) fn of(number: u64) -> Self {
        let mut bytes = [b'0'; 20];
        let mut rest = number;
        let mut first = bytes.len();
        for digit in bytes.iter_mut().rev() {
            *digit = b'0' | (rest % 10) as u8;
            rest /= 10;
            first -= 1;
            if rest == 0 {
                break;
            }
        }
        Self { bytes, first }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.first..).unwrap_or_default()
    }

    pub(crate) fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn only_digits_are_parsed() {
        for text in ["", "+1", "-1", "1a", " 1", "18446744073709551616"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"007"), Some(7));
    }

    proptest! {
        #[test]
        fn written_digits_parse_to_the_same_number(number: u64, shift in 0u32..64) {
            for number in [0, number >> shift, u64::MAX] {
                let mut digits = b"before ".to_vec();
                write(&mut digits, number);
                prop_assert_eq!(&digits, &format!("before {number}").into_bytes());
                prop_assert_eq!(parse(&digits[7..]), Some(number));
                let digits = Digits::of(number);
                prop_assert_eq!(digits.as_str(), number.to_string());
            }
        }
    }
}
