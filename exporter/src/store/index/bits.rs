//! The bit sets of a block.

/// The size of the Bloom filter of terms.
pub(super) const TERM_BYTES: usize = 4096;

/// The size of the filter of text. With the one of terms, two blocks fit into a page of the database.
pub(super) const TEXT_BYTES: usize = 3968;

/// The number of bits of a term. At [`FULL`], one of some 240 absent terms is taken for a present one.
const BITS_OF_TERM: u64 = 6;

/// A filter is full when this share of its bits is set: two of five.
const FULL: (usize, usize) = (2, 5);

/// A set of bits, as bytes.
#[derive(Debug, Clone)]
pub(super) struct Bits {
    pub(super) bytes: Vec<u8>,
    ones: usize,
}

impl Bits {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let ones = bytes.iter().map(|byte| byte.count_ones() as usize).sum();
        Self { bytes, ones }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.ones * FULL.1 > self.bytes.len() * 8 * FULL.0
    }

    fn set(&mut self, position: usize) {
        let Some(byte) = self.bytes.get_mut(position / 8) else { return };
        let mask = 1 << (position % 8);
        if *byte & mask == 0 {
            *byte |= mask;
            self.ones += 1;
        }
    }

    pub(super) fn add_term(&mut self, hash: u64) {
        let bits = self.bytes.len() * 8;
        term_positions(hash, bits).for_each(|position| self.set(position));
    }

    pub(super) fn add_text(&mut self, text: &[u8]) {
        let bits = self.bytes.len() * 8;
        text_positions(text, bits).for_each(|position| self.set(position));
    }
}

fn is_set(bytes: &[u8], position: usize) -> bool {
    bytes.get(position / 8).is_some_and(|byte| byte & (1 << (position % 8)) != 0)
}

/// Returns whether a term may be in a filter.
pub(super) fn has_term(bytes: &[u8], hash: u64) -> bool {
    term_positions(hash, bytes.len() * 8).all(|position| is_set(bytes, position))
}

/// Returns whether a text may be in a filter, in upper or lower case.
pub(super) fn has_text(bytes: &[u8], text: &[u8]) -> bool {
    text_positions(text, bytes.len() * 8).all(|position| is_set(bytes, position))
}

/// Two halves of the hash give all positions (Kirsch and Mitzenmacher, "Less Hashing, Same Performance").
fn term_positions(hash: u64, bits: usize) -> impl Iterator<Item = usize> {
    let (first, step) = (hash, hash.rotate_left(32) | 1);
    (0..BITS_OF_TERM).map(move |n| scaled(first.wrapping_add(step.wrapping_mul(n)), bits))
}

/// The positions of all three bytes in a row, in lower case.
fn text_positions(text: &[u8], bits: usize) -> impl Iterator<Item = usize> {
    text.windows(3).map(move |window| {
        let number = window.iter().fold(0, |number, byte| number << 8 | u64::from(byte.to_ascii_lowercase()));
        scaled(mix(number), bits)
    })
}

/// Maps a hash to a number below `bits`.
fn scaled(hash: u64, bits: usize) -> usize {
    (((hash >> 32) * bits as u64) >> 32) as usize
}

/// Spreads a number over all bits (the finalizer of SplitMix64).
pub(super) const fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lacks_nothing_and_is_selective_until_it_is_full() {
        let mut terms = Bits::new(vec![0; TERM_BYTES]);
        let mut added = 0;
        while !terms.is_full() {
            terms.add_term(mix(added));
            added += 1;
        }
        assert!((2_500..3_200).contains(&added), "{added}");
        assert!((0..added).all(|term| has_term(&terms.bytes, mix(term))));
        let wrong = (added..added + 100_000).filter(|term| has_term(&terms.bytes, mix(*term))).count();
        assert!(wrong < 1_000, "{wrong} of 100,000");
    }

    #[test]
    fn text_is_found_in_either_case_and_in_the_middle_of_words() {
        let mut text = Bits::new(vec![0; TEXT_BYTES]);
        text.add_text(b"Card DECLINED for Zo\xc3\xab");
        for (query, expected) in [
            ("declined", true),
            ("eclin", true),
            ("RD dec", true),
            ("zo\u{eb}", true),
            ("ed", true),
            ("", true),
            ("declines", false),
            ("accepted", false),
        ] {
            assert_eq!(has_text(&text.bytes, query.as_bytes()), expected, "{query}");
        }
    }

    #[test]
    fn the_number_of_set_bits_is_that_of_the_bytes() {
        let mut bits = Bits::new(vec![0; TEXT_BYTES]);
        bits.add_text(b"GET /basket/{id}");
        bits.add_text(b"GET /basket/{id}");
        assert_eq!(bits.ones, Bits::new(bits.bytes.clone()).ones);
        assert!(bits.ones <= 14);
    }
}
