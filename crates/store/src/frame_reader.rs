//! Reads frames from a file in bounded memory, passing over damage to the next frame of the same file.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use kenning_codec::frame::{self, FrameError, HEADER_LEN, Header};
use kenning_stdx::vfs::File;

/// Bytes read at a time; a frame that is longer is read whole.
const WINDOW_LEN: usize = 256 << 10;

/// What stands at a place of the file.
#[derive(Debug)]
pub(crate) enum Piece {
    /// A frame that matched all its checks.
    Frame {
        /// Where its first byte stands.
        offset: u64,
        /// What it says about itself.
        header: Header,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// Bytes that are no frame of this file.
    Damage(Damage),
}

/// A range of bytes that is no frame of the file it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Where it stands.
    pub range: Range<u64>,
    /// What was wrong at its first byte.
    pub reason: String,
    /// It reaches to the end of the file and holds nothing but zeros: space that was never written.
    pub blank: bool,
}

/// Walks over the frames of `owner` between two offsets of a file.
pub(crate) struct FrameReader {
    file: Arc<dyn File>,
    owner: u64,
    offset: u64,
    end: u64,
    window: Vec<u8>,
    window_start: u64,
}

/// Why no frame could be read, and how many bytes cannot hold the start of the next.
struct NoFrame {
    skip: u64,
    reason: String,
}

impl FrameReader {
    pub(crate) fn new(file: Arc<dyn File>, owner: u64, range: Range<u64>) -> Self {
        Self {
            file,
            owner,
            offset: range.start,
            end: range.end,
            window: Vec::new(),
            window_start: range.start,
        }
    }

    /// The next frame or damage; `None` at the end.
    pub(crate) fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        let start = self.offset;
        if start >= self.end {
            return Ok(None);
        }
        match self.frame_at(start)? {
            Ok((header, payload)) => {
                self.offset = start + (HEADER_LEN + payload.len()) as u64;
                Ok(Some(Piece::Frame { offset: start, header, payload }))
            }
            Err(no_frame) => Ok(Some(Piece::Damage(self.pass_damage(start, no_frame)?))),
        }
    }

    fn frame_at(&mut self, start: u64) -> io::Result<Result<(Header, Vec<u8>), NoFrame>> {
        let mut wanted = HEADER_LEN;
        loop {
            let owner = self.owner;
            let bytes = self.view(start, wanted)?;
            let all_there = bytes.len() >= wanted;
            let (skip, reason) = match frame::decode(bytes) {
                Ok(frame) if frame.header.owner == owner => {
                    return Ok(Ok((frame.header, frame.payload.to_vec())));
                }
                Ok(frame) => (frame.encoded_len(), "a frame of another file stands here".to_owned()),
                Err(FrameError::Incomplete { needed }) if all_there => {
                    // Believed because the header that names it was checked; `view` ends at the file's end anyway.
                    wanted = needed;
                    continue;
                }
                Err(error @ FrameError::PayloadChecksum { encoded_len }) => (encoded_len, error.to_string()),
                Err(error) => (1, error.to_string()),
            };
            return Ok(Err(NoFrame { skip: skip as u64, reason }));
        }
    }

    /// Searches the next frame after damage at `start`.
    fn pass_damage(&mut self, start: u64, no_frame: NoFrame) -> io::Result<Damage> {
        let mut blank = self.view(start, 1)?.first() == Some(&0);
        let owner = self.owner;
        let mut from = start + no_frame.skip;
        let found = loop {
            let bytes = self.view(from, HEADER_LEN)?;
            if let Some(at) = frame::find_header(bytes, 0, owner) {
                blank = false;
                break from + at as u64;
            }
            blank &= is_blank(bytes);
            if bytes.len() < HEADER_LEN {
                break self.end;
            }
            from += (bytes.len() - (HEADER_LEN - 1)) as u64;
        };
        self.offset = found;
        Ok(Damage { range: start..found, reason: no_frame.reason, blank })
    }

    /// The bytes from `from` on: at least `wanted`, unless the end comes before.
    fn view(&mut self, from: u64, wanted: usize) -> io::Result<&[u8]> {
        let left = self.end.saturating_sub(from);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(wanted);
        let window_end = self.window_start + self.window.len() as u64;
        if from < self.window_start || from + wanted as u64 > window_end {
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(wanted.max(WINDOW_LEN));
            self.window.resize(len, 0);
            self.window_start = from;
            self.file.read_exact_at(&mut self.window, from)?;
        }
        let start = usize::try_from(from - self.window_start).unwrap_or(usize::MAX);
        Ok(self.window.get(start..).unwrap_or_default())
    }
}

/// True when all bytes are zero.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| ZEROS.starts_with(chunk))
}
