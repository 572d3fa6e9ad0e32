//! Formatting of the tables that the benches print and the documents show.

/// Formats a number with commas between the thousands.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats whether a goal is met.
pub fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "not met" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated_by_commas() {
        for (number, text) in [(0., "0"), (999.4, "999"), (1000., "1,000"), (1_234_567., "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }
}
