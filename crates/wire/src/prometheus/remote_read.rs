//! Remote read: `prometheus.ReadRequest` to questions, series to `ReadResponse` and to the frames of
//! `ChunkedReadResponse`. Definition: `prompb/remote.proto`, `prompb/types.proto`, Prometheus "Remote Read API".
//!
//! Hints are read over: they may narrow what a server hands out, and a server that ignores them is right too.

use kenning_model::{LabelSet, Millis, SeriesRows};

use super::prompb_histogram;
use super::xor_chunk::{self, ChunkBytes};
use crate::error::DecodeError;
use crate::protobuf::{Field, Reader, Writer};

/// Questions of one request, at most.
const QUERIES_MAX: usize = 100;
/// Conditions of one question, at most.
const MATCHERS_MAX: usize = 1_000;
/// Bytes of a frame after which the next one begins, as Prometheus has it.
pub const FRAME_LEN_MAX: usize = 1 << 20;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadRequest {
    /// One question after the other; answers name them by place.
    pub queries: Vec<ReadQuery>,
    /// Numbers of the forms of answer that the client takes, best first; empty: samples.
    pub accepted: Vec<u64>,
}

/// Series in a range.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadQuery {
    /// First instant.
    pub start: Millis,
    /// Last instant.
    pub end: Millis,
    /// Which series: all conditions hold.
    pub matchers: Vec<ReadMatcher>,
}

/// A condition on one label.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadMatcher {
    /// How it compares.
    pub op: ReadMatch,
    /// The label.
    pub name: String,
    /// The text or regular expression.
    pub value: String,
}

/// Comparisons of a label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMatch {
    /// `=`
    #[default]
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Matches,
    /// `!~`
    MatchesNot,
}

/// The forms of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadForm {
    /// `SAMPLES`: one message, compressed.
    Samples,
    /// `STREAMED_XOR_CHUNKS`: frames of chunks.
    Chunks,
}

impl ReadRequest {
    /// The first form that the client takes and we give.
    pub fn form(&self) -> Result<ReadForm, DecodeError> {
        if self.accepted.is_empty() {
            return Ok(ReadForm::Samples);
        }
        let known = self.accepted.iter().find_map(|number| match number {
            0 => Some(ReadForm::Samples),
            1 => Some(ReadForm::Chunks),
            _ => None,
        });
        known.ok_or_else(|| DecodeError::Unsupported {
            what: format!(
                "server does not support any of the requested response types: {:?}; supported: SAMPLES (0), \
                 STREAMED_XOR_CHUNKS (1)",
                self.accepted
            ),
        })
    }
}

/// Reads a decompressed `ReadRequest`.
pub fn decode_read_request(body: &[u8]) -> Result<ReadRequest, DecodeError> {
    let mut request = ReadRequest::default();
    let mut reader = Reader::new(body);
    while let Some(field) = reader.next()? {
        match field.number {
            1 if request.queries.len() == QUERIES_MAX => {
                let what = "the read request holds too many queries; send them one by one";
                return Err(DecodeError::TooLarge { what, limit: QUERIES_MAX });
            }
            1 => request.queries.push(query(&field)?),
            2 => field.varints("accepted_response_types", QUERIES_MAX, &mut request.accepted)?,
            _ => {}
        }
    }
    Ok(request)
}

fn query(field: &Field<'_>) -> Result<ReadQuery, DecodeError> {
    let mut message = field.message("query")?;
    let mut query = ReadQuery::default();
    while let Some(field) = message.next()? {
        match field.number {
            1 => query.start = Millis(field.varint("query.start_timestamp_ms")? as i64),
            2 => query.end = Millis(field.varint("query.end_timestamp_ms")? as i64),
            3 if query.matchers.len() == MATCHERS_MAX => {
                let what = "a query of the read request holds too many matchers";
                return Err(DecodeError::TooLarge { what, limit: MATCHERS_MAX });
            }
            3 => query.matchers.push(matcher(&field)?),
            _ => {}
        }
    }
    Ok(query)
}

fn matcher(field: &Field<'_>) -> Result<ReadMatcher, DecodeError> {
    let at = field.at;
    let mut message = field.message("matcher")?;
    let mut matcher = ReadMatcher::default();
    while let Some(field) = message.next()? {
        match field.number {
            1 => {
                matcher.op = match field.varint("matcher.type")? {
                    0 => ReadMatch::Equal,
                    1 => ReadMatch::NotEqual,
                    2 => ReadMatch::Matches,
                    3 => ReadMatch::MatchesNot,
                    other => {
                        let what = format!("invalid matcher type {other}; there are 0 to 3");
                        return Err(DecodeError::Malformed { at, what });
                    }
                }
            }
            2 => matcher.name = field.text("matcher.name")?.to_owned(),
            3 => matcher.value = field.text("matcher.value")?.to_owned(),
            _ => {}
        }
    }
    Ok(matcher)
}

/// Labels of a series together with labels of the server, which give way; in order of names.
fn write_labels(out: &mut Writer, labels: &LabelSet, external: &[(String, String)]) {
    let added = external.iter().filter(|(name, _)| labels.get(name).is_empty());
    let added = added.map(|(name, value)| (name.as_str(), value.as_str()));
    let mut pairs: Vec<_> = labels.iter().chain(added).collect();
    pairs.sort_unstable();
    for (name, value) in pairs {
        out.message(1, |out| {
            out.text(1, name);
            out.text(2, value);
        });
    }
}

/// A `ReadResponse` in the making: the answers in the order of the questions.
#[derive(Debug, Default)]
pub struct ReadResponse(Writer);

impl ReadResponse {
    /// Adds the answer to the next question.
    pub fn push(&mut self, series: &[SeriesRows], external: &[(String, String)]) {
        self.0.message(1, |out| series.iter().for_each(|rows| write_series(out, rows, external)));
    }

    /// The message, compressed as its definition demands.
    pub fn finish(self) -> Vec<u8> {
        // Fails only beyond 4 GiB, which limits of memory keep away.
        snap::raw::Encoder::new().compress_vec(&self.0.finish()).unwrap_or_default()
    }
}

fn write_series(out: &mut Writer, rows: &SeriesRows, external: &[(String, String)]) {
    out.message(1, |out| {
        write_labels(out, &rows.labels, external);
        for sample in &rows.samples {
            out.message(2, |out| {
                out.fixed64(1, sample.value.to_bits());
                out.varint(2, sample.time.0 as u64);
            });
        }
        for sample in &rows.histograms {
            out.message(4, |out| prompb_histogram::write(out, sample));
        }
    });
}

/// The frames of a series in answer to the question at place `query`: each a varint length, the CRC-32C of the message
/// with the highest byte first, and a `ChunkedReadResponse`.
pub fn write_frames(rows: &SeriesRows, query: usize, external: &[(String, String)], out: &mut Vec<u8>) {
    let floats: Vec<_> = rows.samples.iter().map(|sample| (sample.time, sample.value)).collect();
    let histograms: Vec<_> =
        rows.histograms.iter().map(|sample| (sample.time, sample.histogram.clone())).collect();
    let mut chunks = xor_chunk::float_chunks(&floats);
    chunks.extend(xor_chunk::histogram_chunks(&histograms));
    chunks.sort_by_key(|chunk| chunk.min);
    let mut rest = chunks.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let taken = rest.iter().take_while(|chunk| {
            let fits = bytes < FRAME_LEN_MAX;
            bytes += chunk.data.len();
            fits
        });
        let (now, later) = rest.split_at(taken.count().max(1));
        frame(&message(&rows.labels, now, query, external), out);
        rest = later;
    }
}

fn message(labels: &LabelSet, chunks: &[ChunkBytes], query: usize, external: &[(String, String)]) -> Vec<u8> {
    let mut out = Writer::default();
    out.message(1, |out| {
        write_labels(out, labels, external);
        for chunk in chunks {
            out.message(2, |out| {
                out.varint(1, chunk.min.0 as u64);
                out.varint(2, chunk.max.0 as u64);
                out.varint(3, chunk.encoding as u64);
                out.bytes(4, &chunk.data);
            });
        }
    });
    if query > 0 {
        out.varint(2, query as u64);
    }
    out.finish()
}

fn frame(message: &[u8], out: &mut Vec<u8>) {
    let mut head = Writer::default();
    head.raw_varint(message.len() as u64);
    out.extend(head.finish());
    out.extend_from_slice(&crc32c::crc32c(message).to_be_bytes());
    out.extend_from_slice(message);
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_model::Sample;

    fn request() -> Vec<u8> {
        let mut out = Writer::default();
        out.message(1, |out| {
            out.varint(1, 1_000);
            out.varint(2, 2_000);
            for (op, name, value) in [(0, "__name__", "up"), (2, "job", "a.*")] {
                out.message(3, |out| {
                    out.varint(1, op);
                    out.text(2, name);
                    out.text(3, value);
                });
            }
            out.message(4, |out| out.text(2, "rate"));
        });
        out.message(2, |out| [1, 0].into_iter().for_each(|number| out.raw_varint(number)));
        out.finish()
    }

    #[test]
    fn requests_are_read() {
        let request = decode_read_request(&request()).unwrap();
        let matcher =
            |op, name: &str, value: &str| ReadMatcher { op, name: name.into(), value: value.into() };
        let matchers =
            vec![matcher(ReadMatch::Equal, "__name__", "up"), matcher(ReadMatch::Matches, "job", "a.*")];
        assert_eq!(request.queries, [ReadQuery { start: Millis(1_000), end: Millis(2_000), matchers }]);
        assert_eq!(request.form().unwrap(), ReadForm::Chunks);
        let form = |accepted: &[u64]| ReadRequest { accepted: accepted.to_vec(), ..request.clone() }.form();
        assert_eq!(form(&[]).unwrap(), ReadForm::Samples);
        assert_eq!(form(&[7, 0]).unwrap(), ReadForm::Samples);
        assert!(form(&[7]).is_err());
    }

    #[test]
    fn hostile_requests_are_refused_or_read() {
        let whole = request();
        for end in 0..whole.len() {
            let _ = decode_read_request(&whole[..end]);
        }
        let mut out = Writer::default();
        (0..=QUERIES_MAX).for_each(|_| out.message(1, |_| ()));
        assert!(matches!(decode_read_request(&out.finish()), Err(DecodeError::TooLarge { .. })));
        let mut out = Writer::default();
        out.message(1, |out| out.message(3, |out| out.varint(1, 9)));
        assert!(matches!(decode_read_request(&out.finish()), Err(DecodeError::Malformed { .. })));
    }

    fn rows(count: i64) -> SeriesRows {
        let sample = |n: i64| Sample { series: 0, time: Millis(n * 1_000), value: n as f64 / 3.0 };
        let labels = LabelSet::from_pairs([("__name__", "up"), ("zone", "own")]);
        SeriesRows { labels, samples: (0..count).map(sample).collect(), ..SeriesRows::default() }
    }

    #[test]
    fn frames_are_cut_and_checked() {
        let mut out = Vec::new();
        let external = [("region".to_owned(), "r".to_owned()), ("zone".to_owned(), "server".to_owned())];
        write_frames(&rows(200_000), 1, &external, &mut out);
        let (mut at, mut frames, mut chunks) = (0, 0, 0);
        while at < out.len() {
            let (mut len, mut shift) = (0usize, 0);
            loop {
                let byte = out[at];
                at += 1;
                len |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            let sum = u32::from_be_bytes(out[at..at + 4].try_into().unwrap());
            let message = &out[at + 4..at + 4 + len];
            assert_eq!(crc32c::crc32c(message), sum);
            at += 4 + len;
            frames += 1;
            let mut fields = Reader::new(message);
            let mut series = fields.next().unwrap().unwrap().message("series").unwrap();
            assert_eq!(fields.next().unwrap().unwrap().varint("query").unwrap(), 1);
            let mut labels = Vec::new();
            while let Some(field) = series.next().unwrap() {
                match field.number {
                    1 => labels.push(field.bytes("label").unwrap().to_vec()),
                    _ => chunks += 1,
                }
            }
            assert_eq!(labels.len(), 3, "name, region of the server, zone of the series");
        }
        assert!(frames > 1);
        assert_eq!(chunks, 200_000usize.div_ceil(xor_chunk::CHUNK_SAMPLES_MAX));
    }

    #[test]
    fn samples_are_one_compressed_message() {
        let mut response = ReadResponse::default();
        response.push(&[rows(2)], &[]);
        response.push(&[], &[]);
        let plain = snap::raw::Decoder::new().decompress_vec(&response.finish()).unwrap();
        let mut results = Reader::new(&plain);
        let mut first = results.next().unwrap().unwrap().message("result").unwrap();
        let mut series = first.next().unwrap().unwrap().message("series").unwrap();
        let numbers = std::iter::from_fn(|| series.next().unwrap()).map(|field| field.number);
        assert_eq!(numbers.collect::<Vec<_>>(), [1, 1, 2, 2]);
        assert_eq!(results.next().unwrap().unwrap().message("result").unwrap().len(), 0);
    }
}
