//! Integers and texts as bytes: the alphabet of the other encodings of this crate.
//!
//! A varint is LEB128: seven bits a byte, low bits first, at most ten bytes. Signed integers are zigzag mapped first.

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// An encoder that goes on after `bytes`.
    #[must_use]
    pub fn after(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes written so far, those that were there before included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True when nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Makes room for so many bytes more.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Bytes without their length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// An unsigned integer as a varint.
    pub fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.bytes.push(n as u8);
    }

    /// A length or an index as a varint.
    pub fn size(&mut self, n: usize) {
        self.varint(n as u64);
    }

    /// A signed integer as a zigzag varint.
    pub fn signed(&mut self, n: i64) {
        self.varint(((n << 1) ^ (n >> 63)) as u64);
    }

    /// A double's eight bytes, low byte first; every NaN payload survives.
    pub fn double(&mut self, value: f64) {
        self.raw(&value.to_bits().to_le_bytes());
    }

    /// Length and bytes.
    pub fn chunk(&mut self, bytes: &[u8]) {
        self.size(bytes.len());
        self.raw(bytes);
    }

    /// Length and UTF-8 bytes.
    pub fn text(&mut self, text: &str) {
        self.chunk(text.as_bytes());
    }
}

/// Reads values from the front of a slice. Every method answers `None` at bytes that do not parse, and reserves memory
/// only for bytes that are there.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// A decoder at the first of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// A capacity for `count` claimed items of at least one byte each that the bytes at hand can justify.
    #[must_use]
    pub fn capacity(&self, count: usize) -> usize {
        count.min(self.bytes.len())
    }

    /// The next `len` bytes.
    pub fn raw(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*taken)
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let [byte] = self.array()?;
        Some(byte)
    }

    /// A varint.
    #[inline]
    pub fn varint(&mut self) -> Option<u64> {
        match self.bytes {
            // Most are of one byte.
            [byte, rest @ ..] if *byte < 0x80 => {
                self.bytes = rest;
                Some(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    /// A varint that fits the machine's size type.
    pub fn size(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok()
    }

    /// A varint of at most 32 bits.
    pub fn index(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }

    /// A zigzag varint.
    pub fn signed(&mut self) -> Option<i64> {
        let n = self.varint()?;
        Some((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// A double.
    pub fn double(&mut self) -> Option<f64> {
        Some(f64::from_bits(u64::from_le_bytes(self.array()?)))
    }

    /// Length and bytes.
    pub fn chunk(&mut self) -> Option<&'a [u8]> {
        let len = self.size()?;
        self.raw(len)
    }

    /// Length and UTF-8 text.
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.chunk()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_come_back(n: u64, i: i64, bits: u64, text: String) {
            let mut encoder = Encoder::default();
            encoder.varint(n);
            encoder.signed(i);
            encoder.double(f64::from_bits(bits));
            encoder.text(&text);
            let bytes = encoder.into_bytes();
            let mut decoder = Decoder::new(&bytes);
            prop_assert_eq!(decoder.varint(), Some(n));
            prop_assert_eq!(decoder.signed(), Some(i));
            prop_assert_eq!(decoder.double().map(f64::to_bits), Some(bits));
            prop_assert_eq!(decoder.text(), Some(text.as_str()));
            prop_assert_eq!(decoder.remaining(), 0);
        }
    }

    #[test]
    fn claims_beyond_the_bytes_are_refused() {
        assert_eq!(Decoder::new(&[0x80; 11]).varint(), None);
        assert_eq!(Decoder::new(&[5, b'a']).text(), None);
        assert_eq!(Decoder::new(&[2, 0xff, 0xff]).text(), None);
        assert_eq!(Decoder::new(&[1]).capacity(usize::MAX), 1);
    }
}
