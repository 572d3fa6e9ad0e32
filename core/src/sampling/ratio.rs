//! [`Ratio`]: the fraction of traces that are sampled, decided by trace id.

use core::fmt;

use crate::TraceId;

/// The fraction of traces to sample, from 0 to 1.
///
/// The low 56 bits of the trace id decide. Tracers fill them with random bits (W3C Trace Context level 2, section
/// 4.1). So all hops make the same decision, and a larger ratio samples all traces of a smaller one.
/// This is the consistent probability sampling of OpenTelemetry: a trace is sampled if these bits are at least the
/// [`threshold`](Self::threshold).
///
/// ```
/// use logtracer_core::TraceId;
/// use logtracer_core::sampling::Ratio;
///
/// let id = TraceId::new(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736).unwrap();
/// assert!(Ratio::ALL.keeps(id));
/// assert!(!Ratio::new(0.0).unwrap().keeps(id));
/// assert!(Ratio::new(1.5).is_none());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio {
    /// The number of values of the random bits that are sampled. They are the highest.
    sampled: u64,
}

const RANDOM_BITS: u32 = 56;

impl Ratio {
    /// All traces.
    pub const ALL: Self = Self { sampled: 1 << RANDOM_BITS };

    /// Creates a ratio from a number from 0 to 1. Returns `None` for other numbers.
    pub fn new(ratio: f64) -> Option<Self> {
        let sampled = (ratio * (1u64 << RANDOM_BITS) as f64).round();
        (0.0..=1.0).contains(&ratio).then_some(Self { sampled: sampled as u64 })
    }

    /// Returns true if the trace with this id is sampled.
    pub const fn keeps(self, id: TraceId) -> bool {
        (id.get() as u64) & ((1 << RANDOM_BITS) - 1) >= self.threshold()
    }

    /// Returns the rejection threshold of OpenTelemetry, from 0 (all traces) to 2^56 (none).
    ///
    /// ```
    /// use logtracer_core::sampling::Ratio;
    ///
    /// assert_eq!(Ratio::ALL.threshold(), 0);
    /// assert_eq!(Ratio::new(0.25).unwrap().threshold(), 0xc0_0000_0000_0000);
    /// ```
    pub const fn threshold(self) -> u64 {
        (1 << RANDOM_BITS) - self.sampled
    }
}

impl fmt::Display for Ratio {
    /// Writes the ratio as a decimal number with at most twelve digits after the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PLACES: u32 = 12;
        let scaled =
            (u128::from(self.sampled) * 10u128.pow(PLACES) + (1 << (RANDOM_BITS - 1))) >> RANDOM_BITS;
        let (mut fraction, mut places) = (scaled % 10u128.pow(PLACES), PLACES as usize);
        write!(f, "{}", scaled / 10u128.pow(PLACES))?;
        while places > 0 && fraction % 10 == 0 {
            (fraction, places) = (fraction / 10, places - 1);
        }
        if places > 0 { write!(f, ".{fraction:0places$}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// Rule 45: each hop makes the same decision, and a larger ratio samples all traces of a smaller one.
    #[test]
    fn the_fraction_is_sampled_and_nested() {
        let ids: Vec<_> = (1u64..=10_000)
            .map(|n| TraceId::new(u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).unwrap())
            .collect();
        let sampled = |ratio: f64| {
            let ratio = Ratio::new(ratio).unwrap();
            ids.iter().filter(|id| ratio.keeps(**id)).count()
        };
        assert_eq!(sampled(0.0), 0);
        assert_eq!(sampled(1.0), ids.len());
        assert!((2_300..2_700).contains(&sampled(0.25)), "{}", sampled(0.25));
        let (small, large) = (Ratio::new(0.1).unwrap(), Ratio::new(0.4).unwrap());
        assert!(ids.iter().all(|id| !small.keeps(*id) || large.keeps(*id)));
    }

    /// The low 56 bits decide, and the threshold itself is sampled.
    #[test]
    fn ids_at_the_edges() {
        let half = 1u128 << 55;
        for (ratio, id, keeps) in [
            (0.0, 1 << 64, false),
            (0.0, 1 << 56, false),
            (0.5, half, true),
            (0.5, half - 1, false),
            (0.5, (1 << 56) + half - 1, false),
            (0.5, (1 << 127) + half, true),
            (0.25, half, false),
            (0.25, half + half / 2, true),
            (1.0, (1 << 56) - 1, true),
            (1.0, u128::MAX, true),
        ] {
            assert_eq!(Ratio::new(ratio).unwrap().keeps(TraceId::new(id).unwrap()), keeps, "{ratio} {id:x}");
        }
        for (ratio, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (0.1, "0.1"),
            (0.01, "0.01"),
            (0.123_456_789, "0.123456789"),
            (0.000_001, "0.000001"),
            (0.999_999_999_999_9, "1"),
            (1.0, "1"),
        ] {
            assert_eq!(Ratio::new(ratio).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_ratio_is_from_0_to_1() {
        for bad in [-0.1, 1.000_001, f64::NAN, f64::INFINITY] {
            assert_eq!(Ratio::new(bad), None, "{bad}");
        }
    }
}
