//! The protobuf wire format: a reader over borrowed bytes and a writer. Definition: protobuf.dev "Encoding".
//!
//! Promises: nothing is allocated by a declared length, no recursion, every failure is a [`Fault`] with the offset in
//! the whole message. Absent: schemas, packed lists of mixed kinds, groups (skipped, as parsers must).

use kenning_model::Reason;

use crate::error::Fault;

/// Deepest nesting of skipped groups.
const GROUP_DEPTH_MAX: usize = 32;
/// Longest varint: 64 bits in groups of seven.
const VARINT_BYTES_MAX: usize = 10;

/// A cursor over one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Offset of `rest` in the whole body.
    at: usize,
}

/// A field's payload.
#[derive(Clone, Copy, Debug)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// No format here keeps a field of this kind; it is only passed over.
    Fixed32,
}

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    /// Its number in the schema.
    pub number: u32,
    /// Offset of its payload's end in the whole body; near enough to find it.
    pub at: usize,
    wire: Wire<'a>,
}

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// Offset of the cursor in the whole body.
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// Bytes left.
    pub const fn len(&self) -> usize {
        self.rest.len()
    }

    /// The message at the start, which its length precedes, and the bytes that both take.
    pub fn delimited(&mut self) -> Result<(Self, usize), Fault> {
        let start = self.at;
        let bytes = self.chunk()?;
        Ok((Self { rest: bytes, at: self.at - bytes.len() }, self.at - start))
    }

    /// The next field, `None` at the end.
    #[inline]
    pub fn next(&mut self) -> Result<Option<Field<'a>>, Fault> {
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            let (number, kind) = self.tag()?;
            let wire = match kind {
                0 => Wire::Varint(self.varint()?),
                1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
                2 => Wire::Bytes(self.chunk()?),
                5 => {
                    self.take(4)?;
                    Wire::Fixed32
                }
                3 => {
                    self.skip_group(number)?;
                    continue;
                }
                _ => return Err(self.malformed("has a wire type that does not exist")),
            };
            return Ok(Some(Field { number, at: self.at, wire }));
        }
    }

    /// The bytes of the fields with this number that stand at the front, all of bytes and shorter than 16 KiB, with
    /// their tags; nothing of them was looked at. `number` is at most 15.
    #[inline]
    pub fn leading(&self, number: u8) -> &'a [u8] {
        let (tag, mut rest) = (number << 3 | 2, self.rest);
        loop {
            let after = match rest {
                [first, len, after @ ..] if *first == tag && *len < 0x80 => after.get(usize::from(*len)..),
                [first, low, high, after @ ..] if *first == tag && *high < 0x80 => {
                    after.get(usize::from(*low & 0x7f) | usize::from(*high) << 7..)
                }
                _ => None,
            };
            match after {
                Some(after) => rest = after,
                None => break,
            }
        }
        self.rest.get(..self.rest.len() - rest.len()).unwrap_or_default()
    }

    /// Passes over bytes that were looked at otherwise.
    #[inline]
    pub fn pass(&mut self, len: usize) {
        self.rest = self.rest.get(len..).unwrap_or_default();
        self.at += len;
    }

    fn tag(&mut self) -> Result<(u32, u8), Fault> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|n| (1..1 << 29).contains(n));
        let number = number.ok_or_else(|| self.malformed("has a field number outside 1 to 536870911"))?;
        Ok((number, (tag & 7) as u8))
    }

    fn malformed(&self, problem: &'static str) -> Fault {
        Fault::new(Reason::Malformed, self.at, "protobuf message", problem)
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.malformed("ends inside a field"));
        };
        self.rest = rest;
        self.at += len;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.malformed("ends inside a field"));
        };
        self.rest = rest;
        self.at += N;
        Ok(*taken)
    }

    #[inline]
    fn chunk(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.varint()?;
        let len = usize::try_from(len).map_err(|_| self.malformed("declares a field longer than memory"))?;
        self.take(len)
    }

    #[inline]
    pub fn varint(&mut self) -> Result<u64, Fault> {
        match self.rest.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.rest = rest;
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0u64;
        for (i, byte) in self.rest.iter().take(VARINT_BYTES_MAX).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if *byte < 0x80 {
                // The tenth byte holds one bit; more would be lost silently.
                if i + 1 == VARINT_BYTES_MAX && *byte > 1 {
                    break;
                }
                self.take(i + 1)?;
                return Ok(value);
            }
        }
        let problem = if self.rest.len() < VARINT_BYTES_MAX {
            "ends inside a number"
        } else {
            "holds a number wider than 64 bits"
        };
        Err(self.malformed(problem))
    }

    fn skip_group(&mut self, number: u32) -> Result<(), Fault> {
        let mut open = vec![number];
        while let Some(innermost) = open.last().copied() {
            let (number, kind) = self.tag()?;
            match kind {
                0 => drop(self.varint()?),
                1 => drop(self.take(8)?),
                2 => drop(self.chunk()?),
                5 => drop(self.take(4)?),
                3 if open.len() < GROUP_DEPTH_MAX => open.push(number),
                4 if number == innermost => drop(open.pop()),
                _ => return Err(self.malformed("holds groups that do not close or nest too deep")),
            }
        }
        Ok(())
    }
}

impl<'a> Field<'a> {
    fn wrong(&self, name: &'static str) -> Fault {
        Fault::new(Reason::WrongType, self.at, name, "has the wrong wire type")
    }

    /// The payload as bytes.
    pub fn bytes(&self, name: &'static str) -> Result<&'a [u8], Fault> {
        match self.wire {
            Wire::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong(name)),
        }
    }

    /// The payload as text.
    pub fn text(&self, name: &'static str) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.bytes(name)?)
            .map_err(|_| Fault::new(Reason::NotUtf8, self.at, name, "is not UTF-8"))
    }

    /// The payload as a message of its own.
    pub fn message(&self, name: &'static str) -> Result<Reader<'a>, Fault> {
        let bytes = self.bytes(name)?;
        Ok(Reader { rest: bytes, at: self.at - bytes.len() })
    }

    /// `uint64`, `uint32`, `int64`, `int32`, `bool` and enums, before narrowing.
    pub fn varint(&self, name: &'static str) -> Result<u64, Fault> {
        match self.wire {
            Wire::Varint(value) => Ok(value),
            _ => Err(self.wrong(name)),
        }
    }

    /// `sint32`, `sint64`.
    pub fn zigzag(&self, name: &'static str) -> Result<i64, Fault> {
        self.varint(name).map(unzigzag)
    }

    /// `fixed64`, `sfixed64`.
    pub fn fixed64(&self, name: &'static str) -> Result<u64, Fault> {
        match self.wire {
            Wire::Fixed64(value) => Ok(value),
            _ => Err(self.wrong(name)),
        }
    }

    /// `double`.
    pub fn double(&self, name: &'static str) -> Result<f64, Fault> {
        self.fixed64(name).map(f64::from_bits)
    }

    /// Appends a repeated `fixed64` or `double`, packed or not; at most `max` in all.
    pub fn fixed64s(&self, name: &'static str, max: usize, out: &mut Vec<u64>) -> Result<(), Fault> {
        let too_many = Fault::over(Reason::TooLong, self.at, name, max, "entries");
        match self.wire {
            Wire::Fixed64(value) if out.len() < max => out.push(value),
            Wire::Bytes(bytes) => {
                let (words, rest) = bytes.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(Fault::new(Reason::Malformed, self.at, name, "ends inside a number"));
                }
                if words.len() > max.saturating_sub(out.len()) {
                    return Err(too_many);
                }
                out.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
            }
            Wire::Fixed64(_) => return Err(too_many),
            _ => return Err(self.wrong(name)),
        }
        Ok(())
    }

    /// Appends a repeated varint, packed or not; at most `max` in all.
    pub fn varints(&self, name: &'static str, max: usize, out: &mut Vec<u64>) -> Result<(), Fault> {
        let too_many = Fault::over(Reason::TooLong, self.at, name, max, "entries");
        match self.wire {
            Wire::Varint(value) if out.len() < max => out.push(value),
            Wire::Bytes(_) => {
                let mut packed = self.message(name)?;
                while packed.len() > 0 {
                    if out.len() >= max {
                        return Err(too_many);
                    }
                    out.push(packed.varint()?);
                }
            }
            Wire::Varint(_) => return Err(too_many),
            _ => return Err(self.wrong(name)),
        }
        Ok(())
    }
}

/// Undoes the zigzag coding of `sint32` and `sint64`.
pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Appends fields to a buffer.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Forgets what was written after `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    fn tag(&mut self, number: u32, kind: u8) {
        self.raw_varint(u64::from(number) << 3 | u64::from(kind));
    }

    pub fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    pub fn varint(&mut self, number: u32, value: u64) {
        self.tag(number, 0);
        self.raw_varint(value);
    }

    pub fn zigzag(&mut self, number: u32, value: i64) {
        self.varint(number, ((value << 1) ^ (value >> 63)) as u64);
    }

    pub fn fixed64(&mut self, number: u32, value: u64) {
        self.tag(number, 1);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub fn fixed32(&mut self, number: u32, value: u32) {
        self.tag(number, 5);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.tag(number, 2);
        self.raw_varint(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// Text, left out when empty as proto3 does.
    pub fn text(&mut self, number: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(number, text.as_bytes());
        }
    }

    /// A packed list of doubles, left out when empty.
    pub fn doubles(&mut self, number: u32, values: &[f64]) {
        if values.is_empty() {
            return;
        }
        self.message(number, |out| {
            values.iter().for_each(|value| out.out.extend_from_slice(&value.to_le_bytes()));
        });
    }

    /// A message whose fields `body` writes. The length is put in front afterwards.
    pub fn message(&mut self, number: u32, body: impl FnOnce(&mut Self)) {
        let start = self.begin(number);
        body(self);
        self.end(start);
    }

    /// Opens a message; [`Self::end`] closes it. One byte is kept for the length, which most messages fit.
    pub fn begin(&mut self, number: u32) -> usize {
        self.tag(number, 2);
        self.out.push(0);
        self.out.len()
    }

    /// Closes the message that starts at `start`.
    pub fn end(&mut self, start: usize) {
        let mut len = self.out.len().saturating_sub(start);
        let mut at = start.saturating_sub(1);
        while len >= 0x80 {
            if let Some(byte) = self.out.get_mut(at) {
                *byte = len as u8 | 0x80;
            }
            len >>= 7;
            at += 1;
            self.out.insert(at.min(self.out.len()), 0);
        }
        if let Some(byte) = self.out.get_mut(at) {
            *byte = len as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expect: Result<&[u32], &str>) {
        let mut reader = Reader::new(bytes);
        let mut numbers = Vec::new();
        let result = loop {
            match reader.next() {
                Ok(Some(field)) => numbers.push(field.number),
                Ok(None) => break Ok(numbers.as_slice()),
                Err(fault) => break Err(fault.to_string()),
            }
        };
        match (result, expect) {
            (Ok(got), Ok(want)) => assert_eq!(got, want),
            (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
            (got, want) => panic!("{bytes:x?}: {got:?} instead of {want:?}"),
        }
    }

    #[test]
    fn fields_and_faults() {
        check(&[], Ok(&[]));
        check(&[0x08, 0x01, 0x12, 0x01, 0x61], Ok(&[1, 2]));
        check(&[0x08], Err("ends inside a number"));
        check(&[0x08, 0x80], Err("ends inside a number"));
        check(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], Ok(&[1]));
        check(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], Err("wider than 64 bits"));
        check(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f], Err("ends inside a field"));
        check(&[0x12, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], Err("ends inside a field"));
        check(&[0x09, 1, 2, 3], Err("ends inside a field"));
        check(&[0x0e], Err("wire type"));
        check(&[0x00, 0x00], Err("field number"));
        check(&[0x0b, 0x10, 0x01, 0x0c, 0x08, 0x01], Ok(&[1]));
        check(&[0x0b, 0x14], Err("groups"));
        check(&[0x0b; 200], Err("groups"));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.zigzag(1, -3);
        writer.fixed64(2, 7);
        writer.fixed32(3, 9);
        writer.message(4, |m| m.text(1, &"x".repeat(300)));
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        let mut field = || reader.next().unwrap().unwrap();
        assert_eq!(field().zigzag("f"), Ok(-3));
        assert_eq!(field().fixed64("f"), Ok(7));
        assert_eq!(field().number, 3);
        let inner = field().message("f").unwrap().next().unwrap().unwrap();
        assert_eq!(inner.text("f").map(str::len), Ok(300));
        assert_eq!((inner.at, inner.varint("f").is_err()), (bytes.len(), true));
    }
}
