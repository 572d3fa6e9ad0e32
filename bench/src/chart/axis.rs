//! The ticks of the vertical axis.

/// Returns ticks from zero to at least `highest`, at most eight, with round distances.
pub(super) fn ticks(highest: f64) -> Vec<f64> {
    const MOST: f64 = 7.;
    if !highest.is_finite() || highest <= 0. {
        return vec![0., 1.];
    }
    let power = 10_f64.powf((highest / MOST).log10().floor());
    let distance =
        [1., 2., 5., 10.].map(|factor| factor * power).into_iter().find(|step| highest / step <= MOST);
    let distance = distance.unwrap_or(10. * power);
    let count = (highest / distance - 1e-9).ceil() as u32;
    (0..=count).map(|tick| f64::from(tick) * distance).collect()
}

/// Formats a tick with the digits that its distance to the next one needs.
pub(super) fn label(tick: f64, distance: f64) -> String {
    let digits = (-distance.log10().floor()).max(0.) as usize;
    format!("{tick:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        for (highest, expected) in [
            (1., &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"][..]),
            (1.3, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0", "1.2", "1.4"]),
            (120., &["0", "20", "40", "60", "80", "100", "120"]),
            (450., &["0", "100", "200", "300", "400", "500"]),
        ] {
            let ticks = ticks(highest);
            let labels: Vec<_> = ticks.iter().map(|tick| label(*tick, ticks[1])).collect();
            assert_eq!(labels, expected, "{highest}");
        }
        assert_eq!(ticks(f64::NAN), [0., 1.]);
    }
}
