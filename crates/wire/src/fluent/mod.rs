//! Fluent forward, protocol version 1: message, forward, packed and compressed packed mode, and the handshake.
//! Definition: Fluentd wiki "Forward Protocol Specification v1"; the `[[time, metadata], record]` entries are Fluent Bit's.
//!
//! An event is a log record. Its line is the record's `log`, `message`, `MESSAGE` or `msg` without the line end, and the
//! other fields become labels and structured metadata by the document module's table; when there is no such field, or
//! metadata could not hold them all, the line is the whole record as JSON. The tag is the label `tag`, and the service's
//! name when the record has none.
//!
//! Differs: Fluent Bit's metrics and traces (`fluent_signal`) are counted as unsupported; its group markers carry no event
//! and are passed over. Texts that are not UTF-8 get U+FFFD where they are not. Absent: zstd, writing events.

mod handshake;
mod render;

use std::fmt;

use kenning_model::{LogBatch, Nanos, Reason};

use crate::compression::{Encoding, decompress};
use crate::document::Document;
use crate::error::{DecodeError, Decoded, Fault};
use crate::instant::{self, NANOS_PER_SECOND};
use crate::limits::DecodeLimits;
use crate::msgpack::{MsgpackError, Reader, Token, put_small, put_str};
use crate::records::{Entry, Records};

pub use handshake::{Handshake, Ping};

/// Seconds of the event times by which Fluent Bit marks the start and the end of a group of records.
const GROUP_MARKS: [u32; 2] = [u32::MAX, u32::MAX - 1];

/// Longest `chunk` that is given back; clients send 24 bytes.
const CHUNK_BYTES_MAX: usize = 1024;

/// Why a frame ends its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FluentError {
    /// The bytes are no MessagePack.
    Msgpack(MsgpackError),
    /// The value is no message of the protocol.
    Shape {
        /// What is wrong.
        what: &'static str,
    },
    /// The packed events cannot be unpacked, or there are too many.
    Decode(DecodeError),
}

impl FluentError {
    const fn shape(what: &'static str) -> Self {
        Self::Shape { what }
    }

    /// The word under which it is counted.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Msgpack(_) => "not_msgpack",
            Self::Shape { .. } => "bad_frame",
            Self::Decode(DecodeError::TooLarge { .. }) => "too_large",
            Self::Decode(_) => "bad_packed_events",
        }
    }
}

impl fmt::Display for FluentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Msgpack(error) => error.fmt(f),
            Self::Shape { what } => f.write_str(what),
            Self::Decode(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FluentError {}

impl From<MsgpackError> for FluentError {
    fn from(error: MsgpackError) -> Self {
        Self::Msgpack(error)
    }
}

impl From<DecodeError> for FluentError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

/// The word that acknowledges a chunk: `{"ack": chunk}`.
#[must_use]
pub fn encode_ack(chunk: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(chunk.len() + 8);
    put_small(&mut out, Token::Map(1));
    put_str(&mut out, "ack");
    put_str(&mut out, chunk);
    out
}

/// Collects the events of frames into one batch.
pub struct FluentDecoder<'l> {
    records: Records<'l>,
    now: Nanos,
    unpacked_max: usize,
    scratch: String,
}

/// The third (or fourth) value of a message.
#[derive(Debug, Default)]
struct Options {
    chunk: Option<String>,
    compressed: bool,
    unknown_compression: bool,
    other_signal: bool,
}

impl<'l> FluentDecoder<'l> {
    /// A decoder for events received at `now`; packed events may become `unpacked_max` bytes.
    #[must_use]
    pub fn new(limits: &'l DecodeLimits, now: Nanos, unpacked_max: usize) -> Self {
        Self { records: Records::new(limits), now, unpacked_max, scratch: String::new() }
    }

    /// Takes one frame: a whole MessagePack value. Answers with the chunk that is to be acknowledged after the commit.
    /// After an error nothing of the frame is kept, but for packed events before the one beyond the limit on items.
    pub fn message(&mut self, frame: &[u8]) -> Result<Option<String>, FluentError> {
        let mut reader = Reader::new(frame);
        let values = match reader.token()? {
            // A heartbeat.
            Token::Nil => return Ok(None),
            Token::Array(values @ 2..=4) => values,
            _ => return Err(FluentError::shape("a message must be a list of two to four values")),
        };
        let tag = match reader.token()? {
            Token::Str(tag) | Token::Bin(tag) => String::from_utf8_lossy(tag),
            _ => return Err(FluentError::shape("the tag must be a text")),
        };
        let mut second = reader;
        match reader.token()? {
            Token::Array(count) => {
                second.skip()?;
                let options = options(&mut second, values > 2)?;
                self.entries(&tag, &options, reader, count)?;
                Ok(options.chunk)
            }
            Token::Str(packed) | Token::Bin(packed) => {
                let options = options(&mut reader, values > 2)?;
                self.packed(&tag, &options, packed)?;
                Ok(options.chunk)
            }
            _ if values > 2 => {
                let time = second.skip()?;
                let record = second.skip()?;
                let options = options(&mut second, values > 3)?;
                self.event(&tag, &options, time, record)?;
                Ok(options.chunk)
            }
            _ => Err(FluentError::shape("a message holds neither events nor a record")),
        }
    }

    /// The records so far.
    #[must_use]
    pub fn finish(self) -> Decoded<LogBatch> {
        self.records.finish()
    }

    fn entries(
        &mut self,
        tag: &str,
        options: &Options,
        mut reader: Reader<'_>,
        count: u32,
    ) -> Result<(), FluentError> {
        for _ in 0..count {
            let entry = reader.skip()?;
            self.entry(tag, options, entry)?;
        }
        Ok(())
    }

    fn packed(&mut self, tag: &str, options: &Options, packed: &[u8]) -> Result<(), FluentError> {
        if options.unknown_compression {
            return Err(
                DecodeError::Unsupported { what: "packed events may be gzip or plain".to_owned() }.into()
            );
        }
        let encoding = if options.compressed { Encoding::Gzip } else { Encoding::Identity };
        let unpacked = decompress(encoding, packed, self.unpacked_max)?;
        // All of it is walked first, so that a chunk is kept whole or not at all.
        let mut walk = Reader::new(&unpacked);
        while !walk.is_at_end() {
            walk.skip()?;
        }
        let mut reader = Reader::new(&unpacked);
        while !reader.is_at_end() {
            let entry = reader.skip()?;
            self.entry(tag, options, entry)?;
        }
        Ok(())
    }

    fn entry(&mut self, tag: &str, options: &Options, entry: &[u8]) -> Result<(), FluentError> {
        let mut reader = Reader::new(entry);
        if !matches!(reader.token(), Ok(Token::Array(2))) {
            self.records.count_entry()?;
            let fault = Fault::new(Reason::WrongType, 0, "event", "should be a list of a time and a record");
            fault.count(&mut self.records.rejected, 1);
            return Ok(());
        }
        let time = reader.skip()?;
        let record = reader.skip()?;
        self.event(tag, options, time, record)
    }

    fn event(&mut self, tag: &str, options: &Options, time: &[u8], record: &[u8]) -> Result<(), FluentError> {
        self.records.count_entry()?;
        let outcome = match Stamp::read(time, self.now) {
            Ok(Stamp::GroupMark) => Ok(()),
            _ if options.other_signal => Err(Fault::new(
                Reason::Unsupported,
                0,
                "fluent_signal",
                "is of metrics or traces, not of logs",
            )),
            Ok(Stamp::At(time, metadata)) => self.record(tag, time, metadata, record),
            Err(fault) => Err(fault),
        };
        if let Err(fault) = outcome {
            fault.count(&mut self.records.rejected, 1);
        }
        Ok(())
    }

    fn record(&mut self, tag: &str, time: Nanos, metadata: &[u8], record: &[u8]) -> Result<(), Fault> {
        let limits = self.records.limits;
        let mut json = std::mem::take(&mut self.scratch);
        json.clear();
        render::json(record, &mut json, limits.depth)?;
        let mut told = String::new();
        if !metadata.is_empty() {
            render::json(metadata, &mut told, limits.depth)?;
        }
        let outcome = self.document(tag, time, &told, &json);
        self.scratch = json;
        outcome
    }

    fn document(&mut self, tag: &str, time: Nanos, metadata: &str, json: &str) -> Result<(), Fault> {
        let limits = self.records.limits;
        let document = Document::parse(json, limits)
            .map_err(|_| Fault::new(Reason::WrongType, 0, "record", "should be a map"))?;
        let told =
            if metadata.is_empty() { Ok(Document::default()) } else { Document::parse(metadata, limits) };
        let told = told.unwrap_or_default();
        let line = match document.line() {
            Some(line) if !document.is_partial() => without_line_end(line),
            _ => json,
        };
        let mut labels = document.labels(("tag", tag), Some(tag).filter(|tag| !tag.is_empty()));
        let stream = self.records.stream(&mut labels, 0)?;
        let labels = self.records.labels(stream);
        let mut pairs = told.pairs();
        pairs.extend(document.pairs());
        pairs.truncate(limits.attributes);
        self.records.entry(stream, &labels, Entry { time, line, metadata: pairs, at: 0 })
    }
}

fn without_line_end(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// An event's time.
enum Stamp<'a> {
    /// The time, and Fluent Bit's metadata of the event (a map, or nothing).
    At(Nanos, &'a [u8]),
    /// Not an event.
    GroupMark,
}

impl<'a> Stamp<'a> {
    fn read(bytes: &'a [u8], now: Nanos) -> Result<Self, Fault> {
        let mut reader = Reader::new(bytes);
        let (time, metadata) = match reader.token() {
            Ok(Token::Array(2)) => (reader.token(), reader.skip().unwrap_or_default()),
            other => (other, Default::default()),
        };
        let seconds = |seconds: i64| Nanos(seconds.saturating_mul(NANOS_PER_SECOND));
        Ok(Self::At(
            match time {
                Ok(Token::Ext(0 | -1, data)) => match event_time(data) {
                    Some((seconds, 0)) if GROUP_MARKS.contains(&seconds) => return Ok(Self::GroupMark),
                    Some((seconds, nanos)) => Nanos(i64::from(seconds) * NANOS_PER_SECOND + i64::from(nanos)),
                    None => return Err(bad_time("is an extension of the wrong size")),
                },
                Ok(Token::Uint(n)) => seconds(i64::try_from(n).unwrap_or(i64::MAX)),
                Ok(Token::Int(n)) => seconds(n),
                // Out of range saturates, and the window of accepted stamps refuses it.
                Ok(Token::F64(n)) if n.is_finite() => Nanos((n * 1e9) as i64),
                Ok(Token::F32(n)) if n.is_finite() => Nanos((f64::from(n) * 1e9) as i64),
                Ok(Token::Nil) => now,
                Ok(Token::Str(text)) => {
                    let text = std::str::from_utf8(text).ok().and_then(instant::iso8601_or_millis);
                    text.ok_or_else(|| bad_time("is a text that is no time"))?
                }
                _ => return Err(bad_time("is neither a number nor an EventTime")),
            },
            metadata,
        ))
    }
}

fn bad_time(problem: &'static str) -> Fault {
    Fault::new(Reason::WrongType, 0, "event time", problem)
}

/// Seconds and nanoseconds, both big-endian; a timestamp of four bytes has seconds alone.
fn event_time(data: &[u8]) -> Option<(u32, u32)> {
    let word = |bytes: &[u8]| Some(u32::from_be_bytes(bytes.try_into().ok()?));
    match data.len() {
        4 => Some((word(data)?, 0)),
        8 => Some((word(data.get(..4)?)?, word(data.get(4..)?)?)),
        _ => None,
    }
}

fn options(reader: &mut Reader<'_>, present: bool) -> Result<Options, FluentError> {
    let mut options = Options::default();
    if !present {
        return Ok(options);
    }
    let pairs = match reader.token()? {
        Token::Nil => 0,
        Token::Map(pairs) => pairs,
        _ => return Err(FluentError::shape("the options must be a map")),
    };
    for _ in 0..pairs {
        let key = match reader.token()? {
            Token::Str(key) | Token::Bin(key) => key,
            _ => return Err(FluentError::shape("the names of options must be texts")),
        };
        let mut value = *reader;
        reader.skip()?;
        option(&mut options, key, value.token()?)?;
    }
    Ok(options)
}

fn option(options: &mut Options, key: &[u8], value: Token<'_>) -> Result<(), FluentError> {
    match (key, value) {
        (b"chunk", Token::Str(chunk) | Token::Bin(chunk)) => {
            let chunk = std::str::from_utf8(chunk).ok().filter(|chunk| chunk.len() <= CHUNK_BYTES_MAX);
            let chunk = chunk.ok_or(FluentError::shape("the chunk must be a text of at most 1024 bytes"))?;
            options.chunk = Some(chunk.to_owned());
        }
        (b"compressed", Token::Str(b"gzip") | Token::Bin(b"gzip")) => options.compressed = true,
        (b"compressed", Token::Str(b"text" | b"") | Token::Nil) => {}
        (b"compressed", _) => options.unknown_compression = true,
        (b"fluent_signal", Token::Uint(signal)) => options.other_signal = signal != 0,
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests;
