//! Doubles as scaled integers, where that loses no bit.
//!
//! Most measured values are short decimals: 0.25, 17.3, 1042. Written as `integer * 10^-scale` they become integers
//! that delta encoding packs well; the doubles themselves do not. A value takes part only if the way back gives the
//! same bits, so -0.0, NaN (Prometheus' stale marker), infinities and values that are no short decimal stay doubles.

/// Largest scale tried. Powers of ten up to 10^22 are exact doubles; beyond six places values are rarely decimals.
pub const SCALE_MAX: u8 = 6;

/// Integers up to this magnitude are exact doubles.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// Of so many values ...
const SAMPLE_LEN: usize = 64;

const POWERS: [f64; SCALE_MAX as usize + 1] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];

/// The smallest scale at which at least seven of eight values are exact; `None` when there is none. Looks at up to 64
/// values spread over the run, so the answer is a good guess: [`encode`] decides value by value.
#[must_use]
pub fn choose_scale(values: impl ExactSizeIterator<Item = f64>) -> Option<u8> {
    let step = values.len().div_ceil(SAMPLE_LEN).max(1);
    let sample: Vec<f64> = values.step_by(step).collect();
    (0..=SCALE_MAX).find(|scale| {
        let exact = sample.iter().filter(|value| encode(**value, *scale).is_some()).count();
        exact > 0 && exact * 8 >= sample.len() * 7
    })
}

/// The integer that [`decode`] turns back into exactly this value.
#[must_use]
pub fn encode(value: f64, scale: u8) -> Option<i64> {
    let scaled = (value * power(scale)?).round();
    if scaled.abs() > INTEGER_MAX || scaled.is_nan() {
        return None;
    }
    let integer = scaled as i64;
    (decode(integer, scale).to_bits() == value.to_bits()).then_some(integer)
}

/// What integers of a scale are divided by; `None` for a scale over [`SCALE_MAX`].
#[must_use]
pub fn power(scale: u8) -> Option<f64> {
    POWERS.get(usize::from(scale)).copied()
}

/// `integer * 10^-scale`, computed as one exact division; NaN for a scale over [`SCALE_MAX`].
#[must_use]
pub fn decode(integer: i64, scale: u8) -> f64 {
    power(scale).map_or(f64::NAN, |power| integer as f64 / power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(values: &[f64], expect: Option<u8>) {
        assert_eq!(choose_scale(values.iter().copied()), expect, "{values:?}");
    }

    #[test]
    fn short_decimals_get_their_scale() {
        check(&[1.0, 2.0, 3e15], Some(0));
        check(&[0.5, 17.25, 3.0], Some(2));
        check(&[0.1, 0.2, 0.30000000000000004], None);
        check(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, f64::NAN], Some(1));
        check(&[f64::NAN, -0.0, f64::INFINITY], None);
        check(&[], None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back_bit_for_bit(bits: u64, scale in 0..=SCALE_MAX) {
            let value = f64::from_bits(bits);
            if let Some(integer) = encode(value, scale) {
                prop_assert_eq!(decode(integer, scale).to_bits(), bits);
            }
        }

        #[test]
        fn decimals_are_found(integer in -1_000_000_000i64..1_000_000_000, scale in 0..=SCALE_MAX) {
            let value = decode(integer, scale);
            if integer != 0 {
                prop_assert!(encode(value, scale).is_some());
            }
        }
    }
}
