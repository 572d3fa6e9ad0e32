//! [`shard_of`]: which of several receivers gets the spans of a trace.

use crate::TraceId;

/// Returns which of `shards` receivers gets the spans of a trace, from 0; 0 if there is only one, or none.
///
/// Every sender that has the same list of receivers sends all spans of a trace to the same one, without asking anybody.
///
/// - All 128 bits of the id are mixed, because tracers have a random part in different places, and a 64-bit id has none
///   in its high half. So each receiver gets the same number of traces, also of those that a
///   [`Ratio`](crate::sampling::Ratio) keeps, which decides by the low 56 bits.
/// - A receiver that is added at the end of the list takes an equal part of the traces of each other one, and all other
///   traces stay where they are. The same applies when the last one is removed.
///
/// The effort grows with `shards`, so the list should be short.
///
/// ```
/// use logtracer_core::{TraceId, shard_of};
///
/// let id: TraceId = "4bf92f3577b34da6a3ce929d0e0e4736".parse()?;
/// assert_eq!([1, 2, 7, 8].map(|shards| shard_of(id, shards)), [0, 1, 1, 7]);
/// # Ok::<(), logtracer_core::HexError>(())
/// ```
pub const fn shard_of(trace_id: TraceId, shards: usize) -> usize {
    let id = trace_id.get();
    // An odd factor keeps all bits of the high half.
    let mut state = ((id >> 64) as u64).wrapping_mul(0xd6e8_feb8_6659_fd93) ^ id as u64;
    let (mut shard, mut next) = (0, 1);
    // The trace moves to each further receiver with the probability that makes all parts equal.
    while next < shards {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        if mix(state) % (next as u64 + 1) == 0 {
            shard = next;
        }
        next += 1;
    }
    shard
}

/// Returns a number each bit of which depends on each bit of `state`: the output function of SplitMix64.
const fn mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Ratio;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// The shards of an id in lists of 1 to 16 receivers. Another implementation must have the same.
    #[test]
    fn the_shards_of_some_ids() {
        for (id, expected) in [
            (0x1, [0, 0, 0, 0, 4, 4, 4, 4, 4, 9, 9, 9, 9, 13, 13, 13]),
            (0x48485a3953bb6124, [0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 8, 8, 8, 8]),
            (0x0af7651916cd43dd8448eb211c80319c, [0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 8, 13, 13, 15]),
            (0x4bf92f3577b34da6a3ce929d0e0e4736, [0, 1, 1, 1, 1, 1, 1, 7, 7, 7, 7, 7, 7, 7, 7, 15]),
            (u128::MAX, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            let mut found = [0; 16];
            for (index, shard) in found.iter_mut().enumerate() {
                *shard = shard_of(TraceId::new(id).unwrap(), index + 1);
            }
            assert_eq!(found, expected, "{id:x}");
        }
        assert_eq!(shard_of(TraceId::new(7).unwrap(), 0), 0);
    }

    /// Ids as tracers make them, of the same random numbers.
    fn ids(kind: &str) -> Vec<TraceId> {
        let random = |n: u64| mix(n.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let id = |n: u64| {
            let (high, low) = (u128::from(random(2 * n)), u128::from(random(2 * n + 1)));
            match kind {
                "random" => high << 64 | low,
                "of 64 bits" => low,
                "with a time first" => {
                    u128::from(0x6500_0000 + n / 100) << 96 | (high & 0xffff_ffff) << 64 | low
                }
                "of a counter" => u128::from(n),
                "of a counter in the high half" => u128::from(n) << 64 | 1,
                _ => unreachable!("{kind}"),
            }
        };
        (1..=20_000).filter_map(|n| TraceId::new(id(n))).collect()
    }

    /// Each receiver gets its part of all traces, and of those that a share keeps.
    #[test]
    fn each_receiver_gets_its_part_of_the_kept_traces() {
        let kinds =
            ["random", "of 64 bits", "with a time first", "of a counter", "of a counter in the high half"];
        for (kind, ratio, shards) in kinds.into_iter().flat_map(|kind| {
            let ratios = if kind.contains("counter") { &[1.0][..] } else { &[1.0, 0.25, 0.05] };
            ratios.iter().flat_map(move |ratio| [2, 3, 5, 16].map(|shards| (kind, *ratio, shards)))
        }) {
            let ratio = Ratio::new(ratio).unwrap();
            let mut parts = vec![0_u32; shards];
            for id in ids(kind).into_iter().filter(|id| ratio.keeps(*id)) {
                parts[shard_of(id, shards)] += 1;
            }
            let kept = f64::from(parts.iter().sum::<u32>());
            let mean = kept / shards as f64;
            // Five standard deviations of a binomial distribution.
            let most = 5.0 * (mean * (1.0 - 1.0 / shards as f64)).sqrt();
            for part in &parts {
                assert!((f64::from(*part) - mean).abs() <= most, "{kind} {ratio} {shards}: {parts:?}");
            }
        }
    }

    proptest! {
        /// A further receiver takes traces over, and no trace moves between the others.
        #[test]
        fn a_trace_stays_or_moves_to_the_new_receiver(id in 1u128.., shards in 1usize..40) {
            let id = TraceId::new(id).unwrap();
            let (before, after) = (shard_of(id, shards), shard_of(id, shards + 1));
            prop_assert!(before < shards);
            prop_assert!(after == before || after == shards);
        }
    }
}
