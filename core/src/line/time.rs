//! Nanoseconds since 1970 in RFC 3339, without a calendar library.

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// Returns a time like `2018-07-25T14:06:05.499727000Z`.
pub(super) fn rfc3339(unix_nanos: u64) -> [u8; 30] {
    let seconds = unix_nanos / NANOS_PER_SECOND;
    let nanos = (unix_nanos % NANOS_PER_SECOND) as u32;
    let (year, month, day) = civil_from_days((seconds / SECONDS_PER_DAY) as u32);
    let second_of_day = (seconds % SECONDS_PER_DAY) as u32;
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);

    let [y1, y2, y3, y4, m1, m2, d1, d2] = eight_digits(year * 10_000 + month * 100 + day);
    let [h1, h2, min1, min2, s1, s2, n1, n2] =
        eight_digits(hour * 1_000_000 + minute * 10_000 + second * 100 + nanos / 10_000_000);
    let [_, n3, n4, n5, n6, n7, n8, n9] = eight_digits(nanos % 10_000_000);
    [
        y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', min1, min2, b':', s1, s2, b'.', n1,
        n2, n3, n4, n5, n6, n7, n8, n9, b'Z',
    ]
}

/// The text of a time, and of the later times in the same second: most lines of a thread follow each other so closely that
/// only the fraction differs.
///
/// ```
/// use logtracer_core::line::{Format, Line, TimeText};
///
/// let (mut out, mut time) = (Vec::new(), TimeText::new());
/// Line::new(&mut out, Format::Local, None).time_with(&mut time, 1_500_000_000).time_with(&mut time, 1_500_000_001);
/// assert_eq!(out, br#"{"time":"1970-01-01T00:00:01.500000000Z","time":"1970-01-01T00:00:01.500000001Z""#);
/// ```
#[derive(Debug, Clone)]
pub struct TimeText {
    second: u64,
    text: [u8; 30],
}

impl TimeText {
    /// Creates the text of no time.
    pub const fn new() -> Self {
        Self { second: u64::MAX, text: [b' '; 30] }
    }

    /// Changes the text to that of a time.
    pub(super) fn set(&mut self, unix_nanos: u64) -> &[u8] {
        let second = unix_nanos / NANOS_PER_SECOND;
        if self.second == second {
            let nanos = (unix_nanos % NANOS_PER_SECOND) as u32;
            let [.., n1, n2] = eight_digits(nanos / 10_000_000);
            let [_, n3, n4, n5, n6, n7, n8, n9] = eight_digits(nanos % 10_000_000);
            let [.., f1, f2, f3, f4, f5, f6, f7, f8, f9, _] = &mut self.text;
            (*f1, *f2, *f3, *f4, *f5) = (n1, n2, n3, n4, n5);
            (*f6, *f7, *f8, *f9) = (n6, n7, n8, n9);
        } else {
            (self.second, self.text) = (second, rfc3339(unix_nanos));
        }
        &self.text
    }
}

impl Default for TimeText {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the digits of a number below 10⁸. It splits the number into lanes of four, two and one digits in a word.
fn eight_digits(number: u32) -> [u8; 8] {
    // Each multiplication replaces a division by a power of ten, and is exact for the numbers of its lane.
    let (high, low) = (u64::from(number / 10_000), u64::from(number % 10_000));
    let fours = high | low << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    let ones = tens | (twos - tens * 10) << 8;
    (ones | u64::from_ne_bytes([b'0'; 8])).to_le_bytes()
}

/// Returns the year, month and day of a number of days since 1970-01-01.
///
/// Howard Hinnant's `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>): years begin in
/// March, so that the leap day is the last day of a year. 400 years form an era of 146,097 days.
fn civil_from_days(days_since_1970: u32) -> (u32, u32, u32) {
    let days = days_since_1970 + 719_468; // since 0000-03-01
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153; // 0 is March
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u32::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[track_caller]
    fn check(unix_nanos: u64, expected: &str) {
        assert_eq!(core::str::from_utf8(&rfc3339(unix_nanos)), Ok(expected));
    }

    #[test]
    fn known_times() {
        check(0, "1970-01-01T00:00:00.000000000Z");
        check(1_532_527_565_499_727_000, "2018-07-25T14:06:05.499727000Z");
        check(951_782_400 * NANOS_PER_SECOND, "2000-02-29T00:00:00.000000000Z");
        check(951_868_800 * NANOS_PER_SECOND - 1, "2000-02-29T23:59:59.999999999Z");
        check(951_868_800 * NANOS_PER_SECOND, "2000-03-01T00:00:00.000000000Z");
        check(4_107_542_400 * NANOS_PER_SECOND, "2100-03-01T00:00:00.000000000Z");
        check(u64::MAX, "2554-07-21T23:34:33.709551615Z");
    }

    #[test]
    fn the_text_of_the_same_second_is_reused() {
        let mut text = TimeText::new();
        let start = 1_532_527_565_000_000_000;
        for nanos in [0, 1, 999_999_999, 123_456_789, 1_000_000_000, 500, 10_000_000, 86_400_000_000_000] {
            assert_eq!(text.set(start + nanos), rfc3339(start + nanos), "{nanos}");
        }
        assert_eq!(TimeText::default().set(0), rfc3339(0));
    }

    /// Counts the days year by year and month by month.
    fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
        let is_leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let years: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
        let months: u64 = (1..month)
            .map(|month| match month {
                2 => 28 + u64::from(is_leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            })
            .sum();
        years + months + day - 1
    }

    #[test]
    fn every_lane_of_the_digits() {
        for number in (0..10_000).flat_map(|four| [four, four * 10_000, four * 10_000 + 9_999 - four]) {
            assert_eq!(core::str::from_utf8(&eight_digits(number)), Ok(format!("{number:08}").as_str()));
        }
    }

    proptest! {
        #[test]
        fn every_time_reads_back(unix_nanos: u64) {
            let text = rfc3339(unix_nanos);
            let number = |from: usize, to: usize| {
                core::str::from_utf8(&text[from..to]).unwrap().parse::<u64>().unwrap()
            };
            let days = days_since_1970(number(0, 4), number(5, 7), number(8, 10));
            let seconds = days * SECONDS_PER_DAY + number(11, 13) * 3600 + number(14, 16) * 60 + number(17, 19);
            prop_assert_eq!(seconds * NANOS_PER_SECOND + number(20, 29), unix_nanos);
            prop_assert!((1..=12).contains(&number(5, 7)) && (1..=31).contains(&number(8, 10)));
        }
    }
}
