//! MessagePack, read one token at a time. Definition: <https://github.com/msgpack/msgpack/blob/master/spec.md>.
//!
//! Promises: no recursion and no memory by declared lengths; a cut value is told from a wrong one, so that a stream can
//! wait for the rest; [`Framer`] finds where a value ends without looking at a byte twice. Absent: writing beyond the few
//! shapes that replies need.

use std::fmt;

/// One token. Lists and maps tell how many values (pairs, for maps) follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// Nothing.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer below zero.
    Int(i64),
    /// An integer from zero on.
    Uint(u64),
    /// A number of 32 bits.
    F32(f32),
    /// A number of 64 bits.
    F64(f64),
    /// A text, which senders do not always keep UTF-8.
    Str(&'a [u8]),
    /// Bytes.
    Bin(&'a [u8]),
    /// A value of an application's own type; type -1 is a timestamp.
    Ext(i8, &'a [u8]),
    /// A list of so many values.
    Array(u32),
    /// A map of so many pairs.
    Map(u32),
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsgpackError {
    /// The bytes end inside a value.
    Cut,
    /// The byte `0xc1`, which the format never uses.
    Reserved {
        /// Offset of the byte.
        at: usize,
    },
}

impl fmt::Display for MsgpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("the MessagePack value is cut"),
            Self::Reserved { at } => write!(f, "byte {at} starts no MessagePack value"),
        }
    }
}

impl std::error::Error for MsgpackError {}

/// A cursor over MessagePack bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the cursor.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// True when no byte is left.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], MsgpackError> {
        let end = self.at.checked_add(count).ok_or(MsgpackError::Cut)?;
        let taken = self.bytes.get(self.at..end).ok_or(MsgpackError::Cut)?;
        self.at = end;
        Ok(taken)
    }

    /// A big-endian number of `width` bytes, at most eight.
    fn uint(&mut self, width: usize) -> Result<u64, MsgpackError> {
        Ok(self.take(width)?.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    fn length(&mut self, width: usize) -> Result<usize, MsgpackError> {
        // A length beyond the address space cannot be there.
        usize::try_from(self.uint(width)?).map_err(|_| MsgpackError::Cut)
    }

    fn int(&mut self, width: usize) -> Result<Token<'a>, MsgpackError> {
        let shift = 64 - 8 * width as u32;
        let value = (self.uint(width)? << shift) as i64 >> shift;
        Ok(u64::try_from(value).map_or(Token::Int(value), Token::Uint))
    }

    fn ext(&mut self, len: usize) -> Result<Token<'a>, MsgpackError> {
        let kind = self.uint(1)? as u8 as i8;
        self.take(len).map(|data| Token::Ext(kind, data))
    }

    fn str(&mut self, len: usize) -> Result<Token<'a>, MsgpackError> {
        self.take(len).map(Token::Str)
    }

    fn bin(&mut self, width: usize) -> Result<Token<'a>, MsgpackError> {
        let len = self.length(width)?;
        self.take(len).map(Token::Bin)
    }

    /// The next token. After an error the cursor stands where the token begins.
    pub fn token(&mut self) -> Result<Token<'a>, MsgpackError> {
        let start = self.at;
        let token = self.token_from(start);
        if token.is_err() {
            self.at = start;
        }
        token
    }

    fn token_from(&mut self, start: usize) -> Result<Token<'a>, MsgpackError> {
        let first = self.uint(1)? as u8;
        Ok(match first {
            0x00..=0x7f => Token::Uint(u64::from(first)),
            0x80..=0x8f => Token::Map(u32::from(first & 0x0f)),
            0x90..=0x9f => Token::Array(u32::from(first & 0x0f)),
            0xa0..=0xbf => return self.str(usize::from(first & 0x1f)),
            0xc0 => Token::Nil,
            0xc1 => return Err(MsgpackError::Reserved { at: start }),
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xc4 => return self.bin(1),
            0xc5 => return self.bin(2),
            0xc6 => return self.bin(4),
            0xc7..=0xc9 => {
                let len = self.length(1 << (first - 0xc7))?;
                return self.ext(len);
            }
            0xca => Token::F32(f32::from_bits(self.uint(4)? as u32)),
            0xcb => Token::F64(f64::from_bits(self.uint(8)?)),
            0xcc..=0xcf => Token::Uint(self.uint(1 << (first - 0xcc))?),
            0xd0..=0xd3 => return self.int(1 << (first - 0xd0)),
            0xd4..=0xd8 => return self.ext(1 << (first - 0xd4)),
            0xd9..=0xdb => {
                let len = self.length(1 << (first - 0xd9))?;
                return self.str(len);
            }
            0xdc => Token::Array(self.uint(2)? as u32),
            0xdd => Token::Array(self.uint(4)? as u32),
            0xde => Token::Map(self.uint(2)? as u32),
            0xdf => Token::Map(self.uint(4)? as u32),
            0xe0..=0xff => Token::Int(i64::from(first as i8)),
        })
    }

    /// Passes over one whole value and gives its bytes. After an error the cursor has not moved.
    pub fn skip(&mut self) -> Result<&'a [u8], MsgpackError> {
        let start = self.at;
        let mut framer = Framer::default();
        let len = framer.advance(self.bytes.get(start..).unwrap_or_default())?.ok_or(MsgpackError::Cut)?;
        self.take(len)
    }
}

/// Finds the end of the value at the front of a growing buffer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Framer {
    at: usize,
    /// Values of open lists and maps that are still to come, one more than told, so that zero is the start.
    open: u64,
}

impl Framer {
    /// The length of the value at the front of `bytes`, or `None` when more bytes are needed. `bytes` must start with
    /// what was shown before. After an answer the framer is ready for the next value.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, MsgpackError> {
        let mut left = if self.open == 0 { 1 } else { self.open };
        let mut reader = Reader { bytes, at: self.at };
        while left > 0 {
            match reader.token() {
                // Nested counts add up; a sum beyond 64 bits would need more bytes than there are.
                Ok(Token::Array(count)) => left = left.saturating_add(u64::from(count)),
                Ok(Token::Map(count)) => left = left.saturating_add(2 * u64::from(count)),
                Ok(_) => {}
                Err(MsgpackError::Cut) => {
                    (self.at, self.open) = (reader.at, left);
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
            left -= 1;
        }
        *self = Self::default();
        Ok(Some(reader.at))
    }
}

/// Appends a text.
pub(crate) fn put_str(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        len @ 0..=31 => out.push(0xa0 | len as u8),
        len @ 32..=255 => out.extend([0xd9, len as u8]),
        len => {
            out.push(0xdb);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// Appends the head of a list or a map of fewer than 16 values.
pub(crate) fn put_small(out: &mut Vec<u8>, token: Token<'_>) {
    match token {
        Token::Array(count) => out.push(0x90 | (count as u8 & 0x0f)),
        Token::Map(count) => out.push(0x80 | (count as u8 & 0x0f)),
        Token::Bool(flag) => out.push(if flag { 0xc3 } else { 0xc2 }),
        _ => out.push(0xc0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_framed_wherever_the_bytes_are_cut() {
        let value =
            [0x93, 0xa1, b'a', 0x82, 0x01, 0x91, 0xc0, 0x02, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0, 0xc4, 2, 1, 2];
        let two = [value, value].concat();
        let mut framer = Framer::default();
        for end in 0..value.len() {
            assert_eq!(framer.advance(&two[..end]), Ok(None), "{end}");
        }
        assert_eq!(framer.advance(&two), Ok(Some(value.len())));
        assert_eq!(framer.advance(&two[value.len()..]), Ok(Some(value.len())));
        assert_eq!(Reader::new(&two).skip(), Ok(&value[..]));
    }

    #[test]
    fn bombs_cost_nothing() {
        let check = |bytes: &[u8]| assert_eq!(Framer::default().advance(bytes), Ok(None));
        check(&[0xdd, 0xff, 0xff, 0xff, 0xff]);
        check(&[0xdf, 0xff, 0xff, 0xff, 0xff].repeat(10_000));
        check(&[0x91].repeat(1_000_000));
        check(&[0xdb, 0xff, 0xff, 0xff, 0xff, b'x']);
        check(&[0xc9, 0xff, 0xff, 0xff, 0xff, 1]);
        assert_eq!(Framer::default().advance(&[0x91, 0xc1]), Err(MsgpackError::Reserved { at: 1 }));
    }
}
