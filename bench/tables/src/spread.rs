//! [`Spread`]: a value that was measured in many rounds.

/// The median and the quartiles of a value over the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// A quarter of the rounds is below.
    pub low: f64,
    /// Half of the rounds are below.
    pub median: f64,
    /// A quarter of the rounds is above.
    pub high: f64,
}

impl Spread {
    /// Returns the spread of values; not a number without values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = sorted.len().saturating_sub(1) as f64;
            sorted.get((share * last).round() as usize).copied().unwrap_or(f64::NAN)
        };
        Self { low: at(0.25), median: at(0.5), high: at(0.75) }
    }

    /// A value without a spread.
    pub const fn exact(value: f64) -> Self {
        Self { low: value, median: value, high: value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_quartiles() {
        let spread = Spread::of([5., 1., 4., 2., 3.]);
        assert_eq!(spread, Spread { low: 2., median: 3., high: 4. });
        assert_eq!(Spread::of([7.]), Spread::exact(7.));
        assert!(Spread::of([]).median.is_nan());
    }
}
