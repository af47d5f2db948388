//! Small numbers at a fraction of a bit: digits of any base, some of them together in a whole number of bits.
//!
//! Numbers below 50 take 5.64 bits each; at a whole width each takes 6, three of them together 17. A group of `k`
//! digits of base `m`, which make up the number `n`, is written in `b` bits (`m^k <= 2^b`) as the fraction
//! `ceil(n * 2^b / m^k) / 2^b`, so that each digit is what multiplying by `m` carries out of the fraction: one
//! multiplication a digit, no division, and groups do not wait for each other. Groups follow each other bit by bit, low
//! bits first; the last one is filled up with zeros.

/// Most digits of a group.
pub const DIGITS_MAX: usize = 8;
/// Most bits of a group of which eight bytes hold one wherever it begins.
const NARROW_MAX: u32 = 57;
/// A group of several digits must save one bit in so many: reading single digits is cheaper.
const SAVES_MIN: u64 = 128;

/// How digits are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// Digits of a group, one to [`DIGITS_MAX`].
    digits: usize,
    /// What digits are below; not looked at where each stands alone.
    base: u64,
    /// Bits of a group, up to 64 for a single digit.
    bits: u32,
}

impl Packing {
    /// Digits that each have so many bits; `None` over 64.
    #[must_use]
    pub fn single(bits: u32) -> Option<Self> {
        (bits <= 64).then_some(Self { digits: 1, base: 0, bits })
    }

    /// Groups of `digits` digits below `base`; `None` when they do not fit.
    #[must_use]
    pub fn grouped(digits: usize, base: u64) -> Option<Self> {
        let fits = (2..=DIGITS_MAX).contains(&digits) && base >= 2;
        let all = fits.then(|| base.checked_pow(digits as u32)).flatten()?;
        let bits = width(all - 1);
        (bits <= NARROW_MAX).then_some(Self { digits, base, bits })
    }

    /// The smallest packing of digits from 0 to `most`.
    #[must_use]
    pub fn choose(most: u64) -> Self {
        let mut best = Self { digits: 1, base: 0, bits: width(most) };
        let Some(base) = most.checked_add(1).filter(|_| most > 0) else { return best };
        for digits in 2..=DIGITS_MAX {
            let Some(other) = Self::grouped(digits, base) else { break };
            // Bits of a digit, compared without dividing.
            let of = |one: Self, two: Self| u64::from(one.bits) * two.digits as u64;
            if of(other, best) * SAVES_MIN <= of(best, other) * (SAVES_MIN - 1) {
                best = other;
            }
        }
        best
    }

    /// Digits of a group.
    #[must_use]
    pub fn digits(self) -> usize {
        self.digits
    }

    /// What the digits of a group are below; zero where each stands alone.
    #[must_use]
    pub fn base(self) -> u64 {
        self.base
    }

    /// Bits of a group.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// Bytes that so many digits take.
    #[must_use]
    pub fn bytes_of(self, count: usize) -> usize {
        (count.div_ceil(self.digits) * self.bits as usize).div_ceil(8)
    }

    /// Appends digits, each of which fits.
    pub fn pack(self, digits: &[u64], out: &mut Vec<u8>) {
        // What is not yet a whole byte, low bits first.
        let (mut rest, mut held) = (0u128, 0);
        for group in digits.chunks(self.digits) {
            rest |= u128::from(self.group(group)) << held;
            held += self.bits;
            while held >= 8 {
                out.push(rest as u8);
                rest >>= 8;
                held -= 8;
            }
        }
        if held > 0 {
            out.push(rest as u8);
        }
    }

    fn group(self, digits: &[u64]) -> u64 {
        if let ([digit], 1) = (digits, self.digits) {
            return *digit;
        }
        let missing = (self.digits - digits.len()) as u32;
        let number =
            digits.iter().fold(0, |number, digit| number * self.base + digit) * self.base.pow(missing);
        let all = u128::from(self.base.pow(self.digits as u32));
        (u128::from(number) << self.bits).div_ceil(all) as u64
    }

    /// Appends `count` digits, and as many more as fill the last group; `None` when there are fewer bytes.
    #[must_use]
    pub fn unpack(self, packed: &[u8], count: usize, out: &mut Vec<u64>) -> Option<()> {
        let packed = packed.get(..self.bytes_of(count))?;
        let groups = count.div_ceil(self.digits);
        match self.digits {
            1 => self.unpack_single(packed, groups, out),
            2 => self.unpack_groups::<2>(packed, groups, out),
            3 => self.unpack_groups::<3>(packed, groups, out),
            4 => self.unpack_groups::<4>(packed, groups, out),
            5 => self.unpack_groups::<5>(packed, groups, out),
            6 => self.unpack_groups::<6>(packed, groups, out),
            7 => self.unpack_groups::<7>(packed, groups, out),
            _ => self.unpack_groups::<DIGITS_MAX>(packed, groups, out),
        }
        Some(())
    }

    fn unpack_single(self, packed: &[u8], count: usize, out: &mut Vec<u64>) {
        let bits = self.bits as usize;
        match self.bits {
            0 => out.resize(out.len() + count, 0),
            1..=NARROW_MAX => {
                let mask = u64::MAX >> (64 - self.bits);
                out.extend((0..count).map(|at| window(packed, at * bits) & mask));
            }
            _ => {
                let mask = u64::MAX >> (64 - self.bits);
                out.extend((0..count).map(|at| wide_window(packed, at * bits) & mask));
            }
        }
    }

    fn unpack_groups<const K: usize>(self, packed: &[u8], groups: usize, out: &mut Vec<u64>) {
        let (bits, left, base) = (self.bits as usize, 64 - self.bits, u128::from(self.base));
        out.reserve(groups * K);
        for group in 0..groups {
            // The fraction in the highest bits: what is above these falls out.
            let mut fraction = window(packed, group * bits) << left;
            let digits: [u64; K] = std::array::from_fn(|_| {
                let product = u128::from(fraction) * base;
                fraction = product as u64;
                (product >> 64) as u64
            });
            out.extend_from_slice(&digits);
        }
    }
}

/// Bits that a number has.
fn width(number: u64) -> u32 {
    64 - number.leading_zeros()
}

/// At least 57 bits from a bit on; zeros behind the end.
#[inline(always)]
fn window(bytes: &[u8], bit: usize) -> u64 {
    let from = bytes.get(bit / 8..).unwrap_or_default();
    let word = match from.first_chunk::<8>() {
        Some(word) => *word,
        None => {
            let mut word = [0; 8];
            word.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            word
        }
    };
    u64::from_le_bytes(word) >> (bit % 8)
}

/// 64 bits from a bit on; zeros behind the end.
fn wide_window(bytes: &[u8], bit: usize) -> u64 {
    let mut word = [0; 16];
    word.iter_mut().zip(bytes.get(bit / 8..).unwrap_or_default()).for_each(|(to, from)| *to = *from);
    (u128::from_le_bytes(word) >> (bit % 8)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(most: u64, digits: &[u64]) {
        let packing = Packing::choose(most);
        let (mut packed, mut read) = (Vec::new(), Vec::new());
        packing.pack(digits, &mut packed);
        assert_eq!(packed.len(), packing.bytes_of(digits.len()), "{packing:?}");
        packing.unpack(&packed, digits.len(), &mut read).unwrap();
        assert!(read.len() - digits.len() < packing.digits(), "{packing:?}");
        read.truncate(digits.len());
        assert_eq!(read, digits, "{packing:?}");
    }

    #[test]
    fn every_number_of_every_small_group_comes_back() {
        for base in 2..=12u64 {
            for digits in 2..=3u32 {
                let packing = Packing::grouped(digits as usize, base).unwrap();
                let all: Vec<u64> = (0..base.pow(digits))
                    .flat_map(|number| (0..digits).rev().map(move |place| number / base.pow(place) % base))
                    .collect();
                let (mut packed, mut read) = (Vec::new(), Vec::new());
                packing.pack(&all, &mut packed);
                packing.unpack(&packed, all.len(), &mut read).unwrap();
                assert_eq!(read, all, "{packing:?}");
            }
        }
    }

    #[test]
    fn a_number_takes_little_more_than_its_share() {
        let bits = |most| {
            let packing = Packing::choose(most);
            (packing.digits(), packing.bits())
        };
        assert_eq!(bits(0), (1, 0));
        assert_eq!(bits(1), (1, 1));
        assert_eq!(bits(2), (5, 8));
        assert_eq!(bits(49), (3, 17));
        assert_eq!(bits(63), (1, 6));
        assert_eq!(bits(u64::MAX), (1, 64));
        for most in 2..100_000u64 {
            let (digits, bits) = bits(most);
            let ideal = ((most + 1) as f64).log2();
            assert!(f64::from(bits) / digits as f64 <= ideal + 0.5, "{most}: {bits} bits for {digits}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(Packing::single(65), None);
        assert_eq!(Packing::grouped(1, 5), None);
        assert_eq!(Packing::grouped(9, 5), None);
        assert_eq!(Packing::grouped(3, 1), None);
        assert_eq!(Packing::grouped(2, 1 << 29), None);
        assert_eq!(Packing::grouped(8, u64::MAX), None);
        assert_eq!(Packing::choose(49).unpack(&[0; 2], 3, &mut Vec::new()), None);
    }

    proptest! {
        #[test]
        fn digits_come_back(bits in 0u32..=64, seed: u64, raw in proptest::collection::vec(any::<u64>(), 0..200)) {
            let most = if bits == 0 { 0 } else { seed >> (64 - bits) };
            let digits: Vec<u64> =
                raw.iter().map(|digit| most.checked_add(1).map_or(*digit, |base| digit % base)).collect();
            check(most, &digits);
            check(most, &vec![most; raw.len()]);
        }

        #[test]
        fn any_bytes_are_an_answer(bytes: Vec<u8>, count in 0usize..500, digits in 0usize..10, base: u64) {
            if let Some(packing) = Packing::grouped(digits, base >> (base % 64)) {
                let _ = packing.unpack(&bytes, count, &mut Vec::new());
            }
        }
    }
}
