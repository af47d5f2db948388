//! The bytes of a file as they are made: appended only, and held in pieces. One buffer that grows would be there twice
//! whenever it is moved, and hold up to twice what is in it.

use std::io;

/// Bytes of every piece but the last: what is handed to the file system at a time, and a whole number of blocks under
/// one checksum.
pub(crate) const PIECE_LEN: usize = 1 << 20;

/// Bytes in pieces of [`PIECE_LEN`].
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// All full but the last.
    pieces: Vec<Vec<u8>>,
}

impl Pieces {
    /// Bytes of all pieces.
    pub(crate) fn len(&self) -> usize {
        let last = self.pieces.last().map_or(0, Vec::len);
        self.pieces.len().saturating_sub(1) * PIECE_LEN + last
    }

    /// The pieces in their order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.pieces.iter().map(Vec::as_slice)
    }

    /// The bytes behind the first so many, piece by piece.
    pub(crate) fn iter_from(&self, start: usize) -> impl Iterator<Item = &[u8]> {
        let pieces = self.iter().skip(start / PIECE_LEN).enumerate();
        pieces.map(move |(at, piece)| match at {
            0 => piece.get(start % PIECE_LEN..).unwrap_or_default(),
            _ => piece,
        })
    }
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let is_first = self.pieces.is_empty();
            match self.pieces.last_mut().filter(|piece| piece.len() < PIECE_LEN) {
                Some(piece) => {
                    let (now, later) = rest.split_at(rest.len().min(PIECE_LEN - piece.len()));
                    piece.extend_from_slice(now);
                    rest = later;
                }
                // The first grows as it fills, since most files are small.
                None if is_first => self.pieces.push(Vec::new()),
                None => self.pieces.push(Vec::with_capacity(PIECE_LEN)),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn check(writes: &[usize]) {
        let (mut pieces, mut whole) = (Pieces::default(), Vec::new());
        for (number, len) in writes.iter().enumerate() {
            let bytes: Vec<u8> = (0..*len).map(|at| (at * 7 + number) as u8).collect();
            pieces.write_all(&bytes).unwrap();
            whole.extend(bytes);
        }
        assert_eq!(pieces.len(), whole.len());
        assert!(pieces.iter().rev().skip(1).all(|piece| piece.len() == PIECE_LEN));
        assert_eq!(pieces.iter().collect::<Vec<_>>().concat(), whole);
        for start in [0, 1, PIECE_LEN - 1, PIECE_LEN, PIECE_LEN + 1, 2 * PIECE_LEN, whole.len()] {
            let from = pieces.iter_from(start).collect::<Vec<_>>().concat();
            assert_eq!(from, whole.get(start..).unwrap_or_default(), "{writes:?} from {start}");
        }
    }

    #[test]
    fn bytes_come_back_in_full_pieces() {
        check(&[]);
        check(&[1, 0, 5]);
        check(&[PIECE_LEN]);
        check(&[PIECE_LEN - 1, 2, 2 * PIECE_LEN]);
        check(&[3 * PIECE_LEN + 5, 1]);
    }
}
