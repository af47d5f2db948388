//! One file that is being read.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use kenning_model::{LabelSet, Nanos};
use kenning_stdx::watched::{FileId, FileState, Watched, WatchedFile};
use kenning_wire::container;

use super::describe::{self, StreamLabels};
use super::gather::Gather;
use super::join::{Joiner, Key, Piece, Record, Starts};
use super::lines::{LINE_BYTES_MAX, decode, end_of_endless, first_line};
use super::positions::{Position, Print};
use super::source::{FileSource, Format};
use super::stats::SourceStats;

/// How much of a file's beginning is remembered.
pub(super) const HEAD_BYTES: usize = 256;
/// How much before the position is remembered, and compared whenever the file is read on.
pub(super) const TAIL_BYTES: usize = 64;
/// Bytes read at a time; always room for the longest line.
const CHUNK_BYTES: usize = LINE_BYTES_MAX;
/// Bytes of one file in one turn, so that a large one does not keep others waiting.
const TURN_BYTES: u64 = 2 << 20;

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There may be more.
    More,
    /// All that there is was read.
    End,
    /// The file holds something else than what was read.
    Rewritten,
    /// It could not be opened or read this time.
    Failed,
}

/// What a turn needs.
pub(super) struct Env<'a> {
    pub source: &'a FileSource,
    pub files: &'a dyn Watched,
    pub stats: &'a SourceStats,
    pub now: Duration,
    pub wall: Nanos,
}

/// A copy of a file that was read already, which is still being made.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    /// Where its original was left.
    pub offset: u64,
    /// What stood before that.
    pub tail: Print,
    /// How it must begin, as far as it has got.
    pub head: Vec<u8>,
}

/// True when a file holds the beginning of `head`, or more.
pub(super) fn begins_like(file: &dyn WatchedFile, head: &[u8]) -> io::Result<bool> {
    let mut bytes = vec![0; head.len()];
    let got = file.read_at(&mut bytes, 0)?;
    Ok(bytes.get(..got).is_some_and(|bytes| head.starts_with(bytes)))
}

pub(super) struct Tracked {
    pub id: FileId,
    pub path: String,
    pub origin: String,
    file: Option<Box<dyn WatchedFile>>,
    format: Format,
    labels: StreamLabels,
    read: u64,
    is_skipping: bool,
    head: Vec<u8>,
    window: Vec<u8>,
    joiner: Joiner,
    /// The position that reading went back from, while it has not got there again.
    replay: Option<Position>,
    pub hold: Option<Hold>,
    /// Length when it was looked at last.
    pub len: u64,
    /// The length at which the last line was found without its end.
    unended: Option<u64>,
    /// When it grew last.
    pub changed: Duration,
    /// Since when no path of the source leads there.
    pub gone: Option<Duration>,
    /// Its position is another than the one committed.
    pub is_touched: bool,
}

impl Tracked {
    /// A file that is read from `offset` on.
    pub fn new(env: &Env<'_>, path: &str, origin: &str, state: FileState, offset: u64) -> io::Result<Self> {
        let file = env.files.open(path)?;
        if file.state()?.id != state.id {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut head = vec![0; HEAD_BYTES];
        let got = file.read_at(&mut head, 0)?;
        head.truncate(got);
        let tail_len = offset.min(TAIL_BYTES as u64);
        let mut window = vec![0; tail_len as usize];
        let got = file.read_at(&mut window, offset - tail_len)?;
        window.truncate(got);
        let format = describe::format(env.source.format, origin, &head);
        Ok(Self {
            id: state.id,
            path: path.to_owned(),
            origin: origin.to_owned(),
            file: Some(file),
            format,
            labels: describe::labels(env.source, format, origin, env.files),
            read: offset,
            is_skipping: false,
            head,
            window,
            joiner: Joiner::new(env.source.multiline.clone(), env.source.line_bytes_max),
            replay: None,
            hold: None,
            len: state.len,
            unended: None,
            changed: env.now,
            gone: None,
            is_touched: true,
        })
    }

    /// A file that goes on where it was left.
    pub fn resume(env: &Env<'_>, path: &str, state: FileState, position: &Position) -> io::Result<Self> {
        let from = position.starts.iter().flatten().min().copied().unwrap_or(position.offset);
        let mut tracked = Self::new(env, path, &position.origin, state, from.min(position.offset))?;
        tracked.is_skipping = position.is_skipping && from >= position.offset;
        tracked.is_touched = false;
        tracked.replay = (from < position.offset).then(|| position.clone());
        Ok(tracked)
    }

    /// How far it was read.
    pub fn position(&self) -> Position {
        if let Some(position) = &self.replay {
            return Position { path: self.path.clone(), ..position.clone() };
        }
        let head_len = self.head.len().min(usize::try_from(self.read).unwrap_or(usize::MAX));
        Position {
            id: self.id,
            path: self.path.clone(),
            origin: self.origin.clone(),
            offset: self.read,
            is_skipping: self.is_skipping,
            head: Print::of(self.head.get(..head_len).unwrap_or_default()),
            tail: Print::of(&self.window),
            starts: self.joiner.starts(),
        }
    }

    /// True when rules drop all that it holds.
    pub fn is_unwanted(&self) -> bool {
        self.labels.iter().all(Option::is_none)
    }

    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// True when lines wait for the rest of their record.
    pub fn waits(&self) -> bool {
        self.joiner.starts() != Starts::default()
    }

    pub fn close(&mut self) {
        self.file = None;
    }

    /// What the file begins with, as far as it is remembered.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    pub fn behind(&self) -> u64 {
        self.len.saturating_sub(self.read)
    }

    /// True when nobody holds the file any more and it has no name.
    pub fn is_deleted(&self) -> bool {
        self.file.as_ref().and_then(|file| file.state().ok()).is_none_or(|state| state.links == 0)
    }

    /// Begins anew, after the file was rewritten. What waited for its end had no more to come.
    pub fn reset(&mut self, env: &Env<'_>, gather: &mut Gather) {
        self.flush(env, gather);
        env.stats.event("truncated", 1);
        env.stats.event("truncated_unread_bytes", self.behind());
        (self.read, self.len, self.is_skipping, self.replay) = (0, 0, false, None);
        (self.unended, self.changed) = (None, env.now);
        if self.gone.is_none() && !self.path.starts_with(&self.origin) {
            // The number was given to another file.
            self.origin = self.path.clone();
            self.labels = describe::labels(env.source, self.format, &self.origin, env.files);
        }
        self.head.clear();
        self.window.clear();
        self.hold = None;
        self.is_touched = true;
    }

    /// Reads on. `is_last`: what has no newline at the end is a line too.
    pub fn turn(&mut self, env: &Env<'_>, gather: &mut Gather, is_last: bool) -> Turn {
        match self.try_turn(env, gather, is_last) {
            Ok(turn) => turn,
            Err(_) => {
                self.file = None;
                env.stats.event("unreadable", 1);
                Turn::Failed
            }
        }
    }

    fn try_turn(&mut self, env: &Env<'_>, gather: &mut Gather, is_last: bool) -> io::Result<Turn> {
        let Some(state) = self.look(env)? else { return Ok(Turn::End) };
        if state.len != self.len {
            (self.len, self.changed) = (state.len, env.now);
        }
        if state.len < self.read {
            return Ok(Turn::Rewritten);
        }
        if let Some(turn) = self.held(env)? {
            return Ok(turn);
        }
        let turn_end = self.read.saturating_add(TURN_BYTES);
        while self.read < self.len {
            if gather.is_full() || self.read >= turn_end {
                return Ok(Turn::More);
            }
            if self.unended == Some(self.len) && !is_last {
                break;
            }
            let before = self.read;
            if !self.chunk(env, gather, is_last)? {
                return Ok(Turn::Rewritten);
            }
            if self.read == before {
                self.unended = Some(self.len);
                break;
            }
        }
        if self.replay.is_none() {
            let source = Emit { labels: &self.labels };
            self.joiner.due(env.now, &mut |record| source.emit(record, env, gather));
        }
        Ok(Turn::End)
    }

    /// Looks at the file, and opens it when it has something new; `None` when there is nothing to do.
    fn look(&mut self, env: &Env<'_>) -> io::Result<Option<FileState>> {
        if let Some(file) = &self.file {
            return file.state().map(Some);
        }
        let state = match env.files.state(&self.path) {
            Ok(state) => state,
            // The next listing tells where it went.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if state.id != self.id || (state.len == self.len && self.read == self.len) {
            return Ok(None);
        }
        let file = env.files.open(&self.path)?;
        let state = file.state()?;
        if state.id != self.id {
            return Ok(None);
        }
        self.file = Some(file);
        Ok(Some(state))
    }

    /// A copy is not read before it has got to where its original was left.
    fn held(&mut self, env: &Env<'_>) -> io::Result<Option<Turn>> {
        const COPYING_MAX: Duration = Duration::from_secs(10);
        let (Some(hold), Some(file)) = (&self.hold, &self.file) else { return Ok(None) };
        let is_quiet = env.now.saturating_sub(self.changed) >= COPYING_MAX;
        let go_on = if !begins_like(&**file, &hold.head)? {
            0
        } else if self.len >= hold.offset {
            let is_copy = print_before(&**file, hold.offset, hold.tail.len)? == Some(hold.tail);
            if is_copy { hold.offset } else { 0 }
        } else if is_quiet {
            // The original was read beyond what was copied of it.
            self.len
        } else {
            return Ok(Some(Turn::End));
        };
        self.go_on_at(go_on).map(|()| None)
    }

    fn go_on_at(&mut self, offset: u64) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let kept = offset.min(TAIL_BYTES as u64);
        let mut window = vec![0; kept as usize];
        let got = file.read_at(&mut window, offset - kept)?;
        window.truncate(got);
        (self.read, self.window, self.hold, self.is_touched) = (offset, window, None, true);
        Ok(())
    }

    /// Takes in what is behind the position, as far as lines have ended; false when what was read before it is gone.
    fn chunk(&mut self, env: &Env<'_>, gather: &mut Gather, is_last: bool) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(true) };
        if self.head.len() < HEAD_BYTES {
            self.head.resize(HEAD_BYTES, 0);
            let got = file.read_at(&mut self.head, 0)?;
            self.head.truncate(got);
            let format = describe::format(env.source.format, &self.origin, &self.head);
            if format != self.format {
                self.format = format;
                self.labels = describe::labels(env.source, format, &self.origin, env.files);
            }
        }
        let kept = self.window.len();
        let want = usize::try_from(self.len.saturating_sub(self.read)).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let mut buffer = gather.take_buffer();
        buffer.resize(kept + want, 0);
        let got = file.read_at(&mut buffer, self.read - kept as u64)?;
        buffer.truncate(got);
        let unchanged = buffer.get(..kept) == Some(&self.window[..]);
        if unchanged {
            let is_last = is_last && self.read + (got - kept) as u64 >= self.len;
            let used = self.lines(buffer.get(kept..).unwrap_or_default(), env, gather, is_last);
            env.stats.bytes.add(used as u64);
            self.move_on(&buffer, kept + used, used);
        }
        gather.give_buffer(buffer);
        Ok(unchanged)
    }

    fn move_on(&mut self, buffer: &[u8], end: usize, used: usize) {
        if used == 0 {
            return;
        }
        self.window.clear();
        self.window.extend_from_slice(buffer.get(end.saturating_sub(TAIL_BYTES)..end).unwrap_or_default());
        self.read += used as u64;
        self.is_touched = true;
        if self.replay.as_ref().is_some_and(|position| self.read >= position.offset) {
            self.replay = None;
        }
    }

    /// Takes in the lines of `bytes`, which stand at the position; gives the bytes that they take.
    fn lines(&mut self, bytes: &[u8], env: &Env<'_>, gather: &mut Gather, is_last: bool) -> usize {
        let encoding = env.source.encoding;
        let mut used = 0;
        while used < bytes.len() && !gather.is_full() {
            if self.is_skipping {
                let (skipped, is_over) = end_of_endless(encoding, bytes.get(used..).unwrap_or_default());
                used += skipped;
                self.is_skipping = !is_over;
                if skipped == 0 {
                    break;
                }
                continue;
            }
            let Some(found) = first_line(encoding, bytes, used, is_last) else { break };
            let start = self.read + found.start as u64;
            self.line(start, bytes.get(found.start..found.end).unwrap_or_default(), env, gather);
            env.stats.event("cut", u64::from(found.is_endless));
            self.is_skipping = found.is_endless;
            used = found.next;
        }
        used
    }

    fn line(&mut self, start: u64, bytes: &[u8], env: &Env<'_>, gather: &mut Gather) {
        let (text, is_valid) = decode(env.source.encoding, bytes);
        let piece = self.piece(start, text, env, gather);
        if self.was_taken(&piece) {
            return;
        }
        env.stats.event("invalid_text", u64::from(!is_valid));
        let emit = Emit { labels: &self.labels };
        self.joiner.add(piece, env.now, &mut |record| emit.emit(record, env, gather));
    }

    fn piece<'a>(&self, start: u64, text: Cow<'a, str>, env: &Env<'_>, gather: &mut Gather) -> Piece<'a> {
        let read = match self.format {
            Format::Docker => Some(container::docker(&text)),
            Format::Cri => Some(container::cri(&text)),
            Format::Plain | Format::Auto => None,
        };
        let unwrapped = read.and_then(|read| match read {
            Ok(piece) => Some(Piece {
                key: Key::Of(piece.stream),
                start,
                time: piece.time,
                text: Cow::Owned(piece.text.into_owned()),
                is_partial: piece.is_partial,
                metadata: LabelSet::from_pairs(piece.attributes),
            }),
            Err(_) => {
                // Kept as it is: a line that was torn by a full disk still tells something.
                env.stats.event("malformed", 1);
                None
            }
        });
        unwrapped.unwrap_or_else(|| {
            let (key, time) = (Key::Whole, gather.stamp(env.wall));
            Piece { key, start, time, text, is_partial: false, metadata: LabelSet::empty() }
        })
    }

    /// True for lines that are read again on the way back to the position and belong to records committed before.
    fn was_taken(&self, piece: &Piece<'_>) -> bool {
        let Some(position) = &self.replay else { return false };
        let waiting = position.starts.get(piece.key.place()).copied().flatten();
        piece.start < position.offset && waiting.is_none_or(|from| piece.start < from)
    }

    /// Gives out what waits for its end.
    pub fn flush(&mut self, env: &Env<'_>, gather: &mut Gather) {
        let emit = Emit { labels: &self.labels };
        self.is_touched |= self.waits();
        self.joiner.flush(&mut |record| emit.emit(record, env, gather));
    }
}

struct Emit<'a> {
    labels: &'a StreamLabels,
}

impl Emit<'_> {
    fn emit(&self, record: Record, env: &Env<'_>, gather: &mut Gather) {
        env.stats.event("cut", u64::from(record.is_cut));
        env.stats.records.increment();
        match self.labels.get(record.key.place()) {
            Some(Some(labels)) => gather.push(labels, &record),
            _ => env.stats.event("relabelled_away", 1),
        }
    }
}

/// What the `len` bytes before `offset` look like; `None` when the file is shorter.
pub(super) fn print_before(file: &dyn WatchedFile, offset: u64, len: u64) -> io::Result<Option<Print>> {
    let len = len.min(offset);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0).min(HEAD_BYTES)];
    let got = file.read_at(&mut bytes, offset - len)?;
    Ok((got == bytes.len()).then(|| Print::of(&bytes)))
}
