//! Frames: the checksummed envelope around every record of an append-only file (write-ahead log, manifest).
//!
//! A frame says where it starts (magic), whose file it belongs to (owner), which record it is (sequence, kind, flags),
//! how long it is, and proves all of it: the header carries its own checksum, so a length is believed only after it
//! was checked, and the payload's checksum is part of the checked header. A reader that meets damage can search for
//! the next frame ([`find_header`]); the owner, drawn anew for each file, keeps bytes left behind by another file, or
//! a payload that happens to contain a frame, from being taken for a record.
//!
//! Layout, little-endian, [`HEADER_LEN`] bytes before the payload:
//!
//! ```text
//! 0      4        8          16      24     26      28            32            36
//! | magic| length | sequence | owner | kind | flags | payload crc | header crc  | payload ...
//! ```
//!
//! Both checksums are CRC-32C (RFC 3720). Promised: every single flipped bit and every cut is detected. Absent:
//! files (the store reads them in pieces), compression, encryption; a checksum does not stop a forger.

use std::fmt;
use std::ops::Range;

/// First bytes of a frame; the last of them is the version of this layout.
pub const MAGIC: [u8; 4] = [0xc4, b'K', b'F', 0x01];

/// Bytes before the payload.
pub const HEADER_LEN: usize = 36;

/// Header bytes covered by the header's checksum.
const CHECKED_LEN: usize = HEADER_LEN - 4;

/// Longest payload that any frame may carry, so that a reader can bound its buffer.
pub const MAX_PAYLOAD: usize = 256 << 20;

/// What a frame says about its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Position in the order of records; the writer gives it meaning.
    pub sequence: u64,
    /// Identity of the file that the frame was written to.
    pub owner: u64,
    /// What the payload is; the writer gives it meaning.
    pub kind: u16,
    /// Bits about the frame; the writer gives them meaning.
    pub flags: u16,
}

/// A frame read back: everything in it was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the frame says about its payload.
    pub header: Header,
    /// The record's bytes.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes that the frame takes in its file.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        HEADER_LEN + self.payload.len()
    }
}

/// A payload longer than [`MAX_PAYLOAD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadTooLong {
    /// Bytes offered.
    pub len: usize,
}

impl fmt::Display for PayloadTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "payload of {} bytes is over the frame limit of {MAX_PAYLOAD}", self.len)
    }
}

impl std::error::Error for PayloadTooLong {}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The bytes end before the frame does: `needed` bytes are required from the frame's start.
    Incomplete {
        /// Bytes from the frame's start that must be present to go on.
        needed: usize,
    },
    /// The bytes do not start with [`MAGIC`].
    Magic,
    /// The header does not match its checksum.
    HeaderChecksum,
    /// The checked header names a payload over [`MAX_PAYLOAD`].
    TooLong {
        /// Length named by the header.
        len: usize,
    },
    /// The header holds, the payload does not match its checksum. `encoded_len` may be trusted for skipping.
    PayloadChecksum {
        /// Length of the whole frame.
        encoded_len: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete { needed } => write!(f, "frame is cut: {needed} bytes needed"),
            Self::Magic => f.write_str("no frame starts here"),
            Self::HeaderChecksum => f.write_str("frame header does not match its checksum"),
            Self::TooLong { len } => write!(f, "frame length {len} is over the limit of {MAX_PAYLOAD}"),
            Self::PayloadChecksum { .. } => f.write_str("frame payload does not match its checksum"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Appends a frame to `out`.
pub fn encode(header: Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), PayloadTooLong> {
    let len = u32::try_from(payload.len()).ok().filter(|len| *len as usize <= MAX_PAYLOAD);
    let len = len.ok_or(PayloadTooLong { len: payload.len() })?;
    let start = out.len();
    out.reserve(HEADER_LEN + payload.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&header.sequence.to_le_bytes());
    out.extend_from_slice(&header.owner.to_le_bytes());
    out.extend_from_slice(&header.kind.to_le_bytes());
    out.extend_from_slice(&header.flags.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    let checksum = crc32c::crc32c(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(payload);
    Ok(())
}

/// Reads the frame that starts at the first of `bytes`; what follows it is not looked at.
pub fn decode(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let checked = decode_header(bytes)?;
    let encoded_len = HEADER_LEN + checked.payload_len;
    let payload = bytes.get(HEADER_LEN..encoded_len).ok_or(FrameError::Incomplete { needed: encoded_len })?;
    if crc32c::crc32c(payload) != checked.payload_checksum {
        return Err(FrameError::PayloadChecksum { encoded_len });
    }
    Ok(Frame { header: checked.header, payload })
}

/// The offset, at or after `from`, of the next frame header that matches its checksum and belongs to `owner`.
///
/// The payload is not looked at. Headers that the end of `bytes` cuts are not found: a caller that reads a file in
/// pieces keeps the last [`HEADER_LEN`]` - 1` bytes for the next piece.
#[must_use]
pub fn find_header(bytes: &[u8], from: usize, owner: u64) -> Option<usize> {
    let finder = memchr::memmem::Finder::new(&MAGIC);
    let searched = bytes.get(from..)?;
    finder.find_iter(searched).map(|at| from + at).find(|at| {
        let header = decode_header(bytes.get(*at..).unwrap_or_default());
        header.is_ok_and(|checked| checked.header.owner == owner)
    })
}

/// A header that matched its checksum.
struct CheckedHeader {
    header: Header,
    payload_len: usize,
    payload_checksum: u32,
}

fn decode_header(bytes: &[u8]) -> Result<CheckedHeader, FrameError> {
    let Some((head, _)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        let present = bytes.len().min(MAGIC.len());
        let starts_well = bytes.get(..present) == MAGIC.get(..present);
        return Err(if starts_well {
            FrameError::Incomplete { needed: HEADER_LEN }
        } else {
            FrameError::Magic
        });
    };
    if head.first_chunk() != Some(&MAGIC) {
        return Err(FrameError::Magic);
    }
    let mut fields = Fields(head);
    let (_magic, len) = (fields.u32(), fields.u32());
    let (sequence, owner) = (fields.u64(), fields.u64());
    let (kind, flags) = (fields.u16(), fields.u16());
    let (payload_checksum, header_checksum) = (fields.u32(), fields.u32());
    if crc32c::crc32c(head.get(..CHECKED_LEN).unwrap_or_default()) != header_checksum {
        return Err(FrameError::HeaderChecksum);
    }
    let payload_len = len as usize;
    if payload_len > MAX_PAYLOAD {
        return Err(FrameError::TooLong { len: payload_len });
    }
    Ok(CheckedHeader { header: Header { sequence, owner, kind, flags }, payload_len, payload_checksum })
}

/// Reads little-endian integers from the front; the caller has checked that they are there.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((value, rest)) = self.0.split_first_chunk::<N>() else { return [0; N] };
        self.0 = rest;
        *value
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

/// What lies at a place of a byte string that should hold frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A frame and the offset of its first byte.
    Frame {
        /// Offset of the frame's first byte.
        offset: usize,
        /// The frame.
        frame: Frame<'a>,
    },
    /// Bytes that are not frames of the owner asked for.
    Damage {
        /// Where they lie.
        range: Range<usize>,
        /// What was wrong at the first of them; `None` when an intact frame of another owner stands there.
        reason: Option<FrameError>,
    },
}

/// Walks over `bytes` frame by frame, passing over damage to the next frame of the same owner.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    offset: usize,
    owner: u64,
}

impl<'a> Frames<'a> {
    /// Walks over the frames of `owner` in `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8], owner: u64) -> Self {
        Self { bytes, offset: 0, owner }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let start = self.offset;
        let rest = self.bytes.get(start..).filter(|rest| !rest.is_empty())?;
        let (search_from, reason) = match decode(rest) {
            Ok(frame) if frame.header.owner == self.owner => {
                self.offset = start + frame.encoded_len();
                return Some(Piece::Frame { offset: start, frame });
            }
            Ok(frame) => (start + frame.encoded_len(), None),
            Err(error @ FrameError::PayloadChecksum { encoded_len }) => (start + encoded_len, Some(error)),
            Err(error) => (start + 1, Some(error)),
        };
        let end = find_header(self.bytes, search_from, self.owner).unwrap_or(self.bytes.len());
        self.offset = end;
        Some(Piece::Damage { range: start..end, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWNER: u64 = 0x1122_3344_5566_7788;

    fn header(sequence: u64) -> Header {
        Header { sequence, owner: OWNER, kind: 3, flags: 1 }
    }

    fn file(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for (sequence, payload) in payloads.iter().enumerate() {
            encode(header(sequence as u64), payload, &mut out).unwrap();
        }
        out
    }

    fn records(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        Frames::new(bytes, OWNER)
            .filter_map(|piece| match piece {
                Piece::Frame { frame, .. } => Some((frame.header.sequence, frame.payload.to_vec())),
                Piece::Damage { .. } => None,
            })
            .collect()
    }

    #[test]
    fn the_layout_is_fixed() {
        let mut out = Vec::new();
        encode(Header { sequence: 1, owner: 2, kind: 3, flags: 4 }, b"123456789", &mut out).unwrap();
        let mut expect =
            vec![0xc4, b'K', b'F', 1, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 4, 0];
        // The check value of CRC-32C for these nine digits is published as e3069283.
        expect.extend_from_slice(&0xe306_9283_u32.to_le_bytes());
        let checksum = crc32c::crc32c(&expect);
        expect.extend_from_slice(&checksum.to_le_bytes());
        expect.extend_from_slice(b"123456789");
        assert_eq!(out, expect);
    }

    #[test]
    fn a_cut_at_every_byte_loses_only_the_cut_frames() {
        let payloads = [b"one".to_vec(), vec![], b"three, a longer one".to_vec(), MAGIC.to_vec()];
        let bytes = file(&payloads);
        let ends: Vec<usize> = (1..=payloads.len()).map(|count| file(&payloads[..count]).len()).collect();
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let expect: Vec<_> =
                payloads.iter().take(whole).cloned().enumerate().map(|(s, p)| (s as u64, p)).collect();
            assert_eq!(records(&bytes[..cut]), expect, "cut at {cut}");
        }
    }

    #[test]
    fn every_flipped_bit_is_detected_and_costs_one_frame() {
        let payloads = [b"one".to_vec(), vec![], b"three".to_vec(), vec![7; 40]];
        let bytes = file(&payloads);
        let intact = records(&bytes);
        let ends: Vec<usize> = (1..=payloads.len()).map(|count| file(&payloads[..count]).len()).collect();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let hit = ends.iter().filter(|end| **end <= bit / 8).count();
            let mut expect = intact.clone();
            expect.remove(hit);
            assert_eq!(records(&flipped), expect, "bit {bit}");
        }
    }

    #[test]
    fn frames_of_another_owner_are_passed_over_whole() {
        let mut inner = Vec::new();
        encode(header(9), b"planted", &mut inner).unwrap();
        let mut bytes = Vec::new();
        // The foreign frame carries one of ours inside: it must not come out.
        encode(Header { owner: 5, ..header(1) }, &inner, &mut bytes).unwrap();
        let foreign_len = bytes.len();
        encode(header(2), b"ours", &mut bytes).unwrap();
        let pieces: Vec<_> = Frames::new(&bytes, OWNER).collect();
        assert_eq!(pieces[0], Piece::Damage { range: 0..foreign_len, reason: None });
        assert_eq!(records(&bytes), [(2, b"ours".to_vec())]);
    }

    #[test]
    fn a_checked_length_over_the_limit_is_refused() {
        let mut bytes = Vec::new();
        encode(header(1), b"", &mut bytes).unwrap();
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..CHECKED_LEN]);
        bytes[CHECKED_LEN..HEADER_LEN].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(decode(&bytes), Err(FrameError::TooLong { len: u32::MAX as usize }));
    }

    proptest! {
        #[test]
        fn frames_come_back_and_damage_never_invents(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..12),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            garbage in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let bytes = file(&payloads);
            let intact = records(&bytes);
            prop_assert_eq!(intact.len(), payloads.len());
            let mut damaged = bytes.clone();
            damaged.extend_from_slice(&garbage);
            for (place, value) in &damage {
                if !damaged.is_empty() {
                    let at = place.index(damaged.len());
                    damaged[at] = *value;
                }
            }
            let found = records(&damaged);
            prop_assert!(found.iter().all(|record| intact.contains(record)));
            prop_assert!(found.len() + damage.len() >= intact.len());
            // Pieces tile the bytes without gap or overlap.
            let mut at = 0;
            for piece in Frames::new(&damaged, OWNER) {
                let range = match piece {
                    Piece::Frame { offset, frame } => offset..offset + frame.encoded_len(),
                    Piece::Damage { range, .. } => range,
                };
                prop_assert_eq!(range.start, at);
                prop_assert!(range.end > range.start);
                at = range.end;
            }
            prop_assert_eq!(at, damaged.len());
        }

        #[test]
        fn decoding_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = Frames::new(&bytes, OWNER).count();
        }
    }
}
