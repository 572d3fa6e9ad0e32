//! How the benches print what they have measured: in the tables that the documents show.

/// The most memory that the exporter may take, in MiB.
pub const GOAL_MEMORY_MIB: f64 = 100.;

/// A number with commas between the thousands.
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

/// Whether a goal is met, in words.
pub fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "not met" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_divided_by_commas() {
        for (number, text) in [(0., "0"), (999.4, "999"), (1000., "1,000"), (1_234_567., "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }
}
