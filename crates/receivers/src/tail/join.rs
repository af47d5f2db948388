//! Pieces and lines to records.
//!
//! What waits for its end is known by where it began in the file, so that reading can go on there after a crash.

use std::borrow::Cow;
use std::time::Duration;

use kenning_model::{LabelSet, Nanos};
use kenning_wire::container::Stream;

use super::source::Multiline;

/// How long the rest of a line is waited for that a runtime wrote in pieces.
const PIECES_WAIT: Duration = Duration::from_secs(5);

/// Which of a file's lines belong together: all, or those of one stream of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Whole,
    Of(Stream),
}

impl Key {
    pub const ALL: [Self; 3] = [Self::Whole, Self::Of(Stream::Stdout), Self::Of(Stream::Stderr)];

    pub const fn place(self) -> usize {
        match self {
            Self::Whole => 0,
            Self::Of(Stream::Stdout) => 1,
            Self::Of(Stream::Stderr) => 2,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Of(stream) => stream.as_str(),
        }
    }
}

/// Per key, by its place: where in the file what waits began.
pub(super) type Starts = [Option<u64>; 3];

/// A piece of a line.
#[derive(Clone, Debug)]
pub(super) struct Piece<'a> {
    pub key: Key,
    /// Where its line begins in the file.
    pub start: u64,
    pub time: Nanos,
    pub text: Cow<'a, str>,
    pub is_partial: bool,
    pub metadata: LabelSet,
}

/// A whole record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub key: Key,
    pub time: Nanos,
    pub text: String,
    pub metadata: LabelSet,
    /// Text is missing at its end.
    pub is_cut: bool,
}

#[derive(Debug)]
struct Pending {
    start: u64,
    record: Record,
    lines: usize,
    is_partial: bool,
    /// When its last piece came.
    since: Duration,
}

/// Makes records of one file.
#[derive(Debug)]
pub(super) struct Joiner {
    multiline: Option<Multiline>,
    bytes_max: usize,
    pending: [Option<Pending>; 3],
}

impl Joiner {
    pub fn new(multiline: Option<Multiline>, bytes_max: usize) -> Self {
        Self { multiline, bytes_max, pending: [None, None, None] }
    }

    /// Takes a piece; gives a record that is whole now. (The piece's own record and the one before it are never whole at
    /// the same time, but for a single line after one: both are given, in order.)
    pub fn add(&mut self, piece: Piece<'_>, now: Duration, out: &mut dyn FnMut(Record)) {
        let (multiline, bytes_max) = (self.multiline.as_ref(), self.bytes_max);
        let Some(slot) = self.pending.get_mut(piece.key.place()) else { return };
        let goes_on = slot.as_ref().is_some_and(|pending| continues(pending, &piece.text, multiline));
        match slot {
            Some(pending) if goes_on => pending.append(&piece, bytes_max, now),
            _ => {
                if let Some(before) = slot.take() {
                    out(before.record);
                }
                *slot = Some(Pending::begin(piece, bytes_max, now));
            }
        }
        let waits = |pending: &Pending| pending.is_partial || multiline.is_some();
        if let Some(whole) = slot.take_if(|pending| !waits(pending)) {
            out(whole.record);
        }
    }

    /// Gives what has waited long enough.
    pub fn due(&mut self, now: Duration, out: &mut dyn FnMut(Record)) {
        let wait = self.multiline.as_ref().map_or(PIECES_WAIT, |multiline| multiline.wait_max);
        let is_due = |pending: &mut Pending| {
            let wait = if pending.is_partial { wait.max(PIECES_WAIT) } else { wait };
            now.saturating_sub(pending.since) >= wait
        };
        for slot in &mut self.pending {
            if let Some(pending) = slot.take_if(is_due) {
                out(pending.record);
            }
        }
    }

    /// Gives everything that waits.
    pub fn flush(&mut self, out: &mut dyn FnMut(Record)) {
        for pending in self.pending.iter_mut().filter_map(Option::take) {
            out(pending.record);
        }
    }

    pub fn starts(&self) -> Starts {
        self.pending.each_ref().map(|pending| pending.as_ref().map(|pending| pending.start))
    }
}

fn continues(pending: &Pending, text: &str, multiline: Option<&Multiline>) -> bool {
    let another_line =
        |multiline: &Multiline| pending.lines < multiline.lines_max && !multiline.first_line.is_match(text);
    pending.is_partial || multiline.is_some_and(another_line)
}

impl Pending {
    fn begin(piece: Piece<'_>, bytes_max: usize, now: Duration) -> Self {
        let mut text = piece.text.into_owned();
        let is_cut = cut(&mut text, bytes_max);
        let record = Record { key: piece.key, time: piece.time, text, metadata: piece.metadata, is_cut };
        Self { start: piece.start, record, lines: 1, is_partial: piece.is_partial, since: now }
    }

    fn append(&mut self, piece: &Piece<'_>, bytes_max: usize, now: Duration) {
        if !self.is_partial {
            self.record.text.push('\n');
            self.lines += 1;
        }
        self.record.text.push_str(&piece.text);
        self.record.is_cut |= cut(&mut self.record.text, bytes_max);
        (self.is_partial, self.since) = (piece.is_partial, now);
    }
}

/// Cuts a text at a character; true when something went.
fn cut(text: &mut String, bytes_max: usize) -> bool {
    if text.len() <= bytes_max {
        return false;
    }
    text.truncate(text.floor_char_boundary(bytes_max));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(1);

    /// Input lines are `<o|e|-><p|f><text>`; a `~` lets ten seconds pass. Output: `<key>:<text>`.
    fn check(multiline: Option<(&str, usize)>, input: &[&str], expect: &[&str], starts: Starts) {
        let multiline = multiline.map(|(first, lines_max)| Multiline {
            lines_max,
            ..Multiline::new(regex::Regex::new(first).unwrap())
        });
        let mut joiner = Joiner::new(multiline, 12);
        let (mut records, mut now) = (Vec::new(), Duration::ZERO);
        let mut out = |record: Record| {
            let cut = if record.is_cut { "!" } else { "" };
            records.push(format!("{}:{}{cut}", record.key.as_str(), record.text));
        };
        for (place, line) in input.iter().enumerate() {
            if *line == "~" {
                now += 10 * STEP;
                joiner.due(now, &mut out);
                continue;
            }
            let key = match &line[..1] {
                "o" => Key::Of(Stream::Stdout),
                "e" => Key::Of(Stream::Stderr),
                _ => Key::Whole,
            };
            let (is_partial, text) = (&line[1..2] == "p", line[2..].into());
            let metadata = LabelSet::empty();
            let piece = Piece { key, start: place as u64, time: Nanos(0), text, is_partial, metadata };
            joiner.add(piece, now, &mut out);
        }
        assert_eq!(joiner.starts(), starts, "{input:?}");
        assert_eq!(records, expect, "{input:?}");
    }

    #[test]
    fn pieces_become_lines() {
        check(None, &["-fa", "-f", "-fb"], &["whole:a", "whole:", "whole:b"], [None; 3]);
        check(None, &["opa", "opb", "ofc"], &["stdout:abc"], [None; 3]);
        check(None, &["opa", "efx", "ofc"], &["stderr:x", "stdout:ac"], [None; 3]);
        check(None, &["opa", "epx"], &[], [None, Some(0), Some(1)]);
        check(None, &["opa", "~", "ofb"], &["stdout:a", "stdout:b"], [None; 3]);
        check(None, &["-f0123456789éx"], &["whole:0123456789é!"], [None; 3]);
        check(None, &["op01234567", "of890123"], &["stdout:012345678901!"], [None; 3]);
    }

    #[test]
    fn lines_become_records() {
        let first = Some((r"^\d", 3));
        check(first, &["-f1 a", "-f at", "-f2 b"], &["whole:1 a\n at"], [Some(2), None, None]);
        check(first, &["-f1", "-fa", "-fb", "-fc"], &["whole:1\na\nb"], [Some(3), None, None]);
        check(first, &["-f1", "~"], &["whole:1"], [None; 3]);
        check(first, &["-fa", "-f1"], &["whole:a"], [Some(1), None, None]);
        check(first, &["op1 ", "ofa", "ofb", "ef2"], &[], [None, Some(0), Some(3)]);
        check(first, &["op1", "of2", "ofb", "of3"], &["stdout:12\nb"], [None, Some(3), None]);
        check(first, &["-f1", "-f0"], &["whole:1"], [Some(1), None, None]);
    }
}
