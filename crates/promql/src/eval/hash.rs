//! The hash that `limit_ratio` samples by: xxHash64 of the labels as Prometheus packs them, so that both keep the same
//! series.

use kenning_model::LabelSet;

const PRIME_1: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const PRIME_3: u64 = 0x1656_67b1_9e37_79f9;
const PRIME_4: u64 = 0x85eb_ca77_c2b2_ae63;
const PRIME_5: u64 = 0x27d4_eb2f_1656_67c5;

/// Lengths below this take one byte; greater ones this byte and three more.
const SHORT_MAX: usize = 255;

/// A number from zero up to one that belongs to a label set for ever.
pub(super) fn sampling_offset(labels: &LabelSet) -> f64 {
    let mut packed = Vec::new();
    for (name, value) in labels.iter() {
        for text in [name, value] {
            if text.len() < SHORT_MAX {
                packed.push(text.len() as u8);
            } else {
                packed.push(SHORT_MAX as u8);
                packed.extend_from_slice((text.len() as u32).to_le_bytes().get(..3).unwrap_or(&[]));
            }
            packed.extend_from_slice(text.as_bytes());
        }
    }
    xxhash64(&packed) as f64 / u64::MAX as f64
}

fn round(accumulator: u64, input: u64) -> u64 {
    accumulator.wrapping_add(input.wrapping_mul(PRIME_2)).rotate_left(31).wrapping_mul(PRIME_1)
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn xxhash64(data: &[u8]) -> u64 {
    let stripes = data.chunks_exact(32);
    let mut rest = stripes.remainder();
    let mut hash = if data.len() < 32 {
        PRIME_5
    } else {
        let mut lanes = [PRIME_1.wrapping_add(PRIME_2), PRIME_2, 0, 0u64.wrapping_sub(PRIME_1)];
        for stripe in stripes {
            for (lane, input) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
                *lane = round(*lane, word(input));
            }
        }
        let [a, b, c, d] = lanes;
        let mixed = a.rotate_left(1).wrapping_add(b.rotate_left(7));
        let mixed = mixed.wrapping_add(c.rotate_left(12)).wrapping_add(d.rotate_left(18));
        lanes
            .into_iter()
            .fold(mixed, |hash, lane| (hash ^ round(0, lane)).wrapping_mul(PRIME_1).wrapping_add(PRIME_4))
    };
    hash = hash.wrapping_add(data.len() as u64);
    while let Some((head, tail)) = rest.split_at_checked(8) {
        hash = (hash ^ round(0, word(head))).rotate_left(27).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
        rest = tail;
    }
    if let Some((head, tail)) = rest.split_at_checked(4) {
        hash = (hash ^ word(head).wrapping_mul(PRIME_1))
            .rotate_left(23)
            .wrapping_mul(PRIME_2)
            .wrapping_add(PRIME_3);
        rest = tail;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(PRIME_5)).rotate_left(11).wrapping_mul(PRIME_1);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(PRIME_2);
    hash = (hash ^ hash >> 29).wrapping_mul(PRIME_3);
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        assert_eq!(xxhash64(b""), 0xef46_db37_51d8_e999);
        assert_eq!(xxhash64(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(xxhash64(b"abc"), 0x44bc_2cf5_ad77_0999);
        assert_eq!(xxhash64(b"The quick brown fox jumps over the lazy dog"), 0x0b24_2d36_1fda_71bc);
    }
}
