//! The verdicts of tail sampling ([`crate::keep`]) on the items of a batch, for one sink.

use crate::otlp::probability::Probability;

/// Whether a sink gets an item, and what that says about the probability of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    NotKept,
    /// A rule matches the trace: every trace like it is kept.
    Kept,
    /// The trace belongs to the share that is kept.
    KeptByShare,
    /// A rule matches the trace, and not every trace like it is kept.
    KeptWithinLimit,
}

impl Verdict {
    /// Returns the verdict as two bits.
    pub(crate) const fn to_bits(self) -> u8 {
        match self {
            Self::NotKept => 0,
            Self::Kept => 1,
            Self::KeptByShare => 2,
            Self::KeptWithinLimit => 3,
        }
    }

    pub(crate) const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::NotKept,
            1 => Self::Kept,
            2 => Self::KeptByShare,
            _ => Self::KeptWithinLimit,
        }
    }
}

/// The verdict on each item of a batch, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Verdicts {
    /// The rejection threshold of the share, eight bytes, then four verdicts in each byte.
    bytes: Vec<u8>,
}

const HEADER_BYTES: usize = 8;
/// Four times [`Verdict::Kept`].
const ALL_KEPT: u8 = 0b0101_0101;

impl Verdicts {
    /// Returns an empty list. `threshold` is that of [`Verdict::KeptByShare`].
    pub(crate) fn new(threshold: u64) -> Self {
        Self { bytes: threshold.to_be_bytes().to_vec() }
    }

    /// Sets the verdict on the item with this index, which is the next one.
    pub(crate) fn push(&mut self, index: usize, verdict: Verdict) {
        let shift = 2 * (index % 4);
        if shift == 0 {
            self.bytes.push(ALL_KEPT);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last = *last & !(3 << shift) | verdict.to_bits() << shift;
        }
    }

    /// Returns the stored form.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Returns the verdict on an item. One without a verdict is kept.
    pub(crate) fn get(&self, index: usize) -> Verdict {
        match self.bytes.get(HEADER_BYTES + index / 4) {
            Some(byte) => Verdict::from_bits(byte >> (2 * (index % 4))),
            None => Verdict::Kept,
        }
    }

    /// Returns the probability of an item that is kept.
    pub(crate) fn probability(&self, verdict: Verdict) -> Probability {
        match verdict {
            Verdict::KeptByShare => {
                let threshold = self.bytes.first_chunk().copied().map_or(0, u64::from_be_bytes);
                Probability::Threshold(threshold)
            }
            Verdict::KeptWithinLimit => Probability::Unknown,
            Verdict::Kept => Probability::Certain,
            Verdict::NotKept => Probability::Unchanged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_stored_and_read() {
        use Verdict::{Kept, KeptByShare, KeptWithinLimit, NotKept};
        let all = [Kept, NotKept, KeptByShare, KeptWithinLimit, NotKept, Kept];
        let mut verdicts = Verdicts::new(7);
        all.into_iter().enumerate().for_each(|(index, verdict)| verdicts.push(index, verdict));
        assert_eq!(verdicts.as_bytes().len(), 10);
        let read = Verdicts::from_bytes(verdicts.as_bytes().to_vec());
        assert_eq!(std::array::from_fn(|index| read.get(index)), all);
        assert_eq!((read.get(6), read.get(100)), (Kept, Kept), "items without a verdict");
        assert_eq!(read.probability(KeptByShare), Probability::Threshold(7));
    }
}
