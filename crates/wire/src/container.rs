//! Lines as container runtimes write them to files: Docker's `json-file` driver and CRI (containerd, CRI-O).
//!
//! Docker: one object per line with `log` (what the program wrote, with its newline), `stream`, `time` and, when the
//! driver is told to, `attrs`. Docker cuts long output into pieces; all but the last lack the newline. CRI:
//! `<time> <stream> <tags> <text>`, where the first of the tags, divided by `:`, is `P` for a piece and `F` for the
//! (last piece of a) line. Putting pieces together is the reader's, who knows the file.

use std::borrow::Cow;
use std::fmt;

use crate::error::Fault;
use crate::instant::rfc3339;
use crate::json::{Json, Kind};
use kenning_model::Nanos;

/// Deepest nesting in what is passed over.
const DEPTH_MAX: usize = 16;

/// Where a program wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The word that runtimes use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "stdout" => Some(Self::Stdout),
            "stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// A line, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// When the runtime read it.
    pub time: Nanos,
    /// Where from.
    pub stream: Stream,
    /// The text without its newline.
    pub text: Cow<'a, str>,
    /// True when the line goes on with the stream's next piece.
    pub is_partial: bool,
    /// What Docker was told to add (`--log-opt labels=…,tag=…`).
    pub attributes: Vec<(String, String)>,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFromRuntime(&'static str);

impl fmt::Display for NotFromRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotFromRuntime {}

/// What is read of a line of Docker's.
#[derive(Default)]
struct DockerLine<'a> {
    log: Option<Cow<'a, str>>,
    stream: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    attributes: Vec<(String, String)>,
}

/// Reads a line of Docker's `json-file`.
pub fn docker(line: &str) -> Result<Piece<'_>, NotFromRuntime> {
    let other = NotFromRuntime("not an object with log, stream and time");
    let DockerLine { log, stream, time, attributes } = docker_line(line).map_err(|_| other)?;
    let (Some(log), Some(stream), Some(time)) = (log, stream, time) else { return Err(other) };
    let stream = Stream::from_word(&stream).ok_or(NotFromRuntime("stream is not stdout or stderr"))?;
    let time = rfc3339(&time).ok_or(NotFromRuntime("time is not of RFC 3339"))?;
    let is_partial = !log.ends_with('\n');
    Ok(Piece { time, stream, text: without_newline(log), is_partial, attributes })
}

fn docker_line(line: &str) -> Result<DockerLine<'_>, Fault> {
    let mut json = Json::new(line, DEPTH_MAX);
    let (mut read, mut first) = (DockerLine::default(), true);
    json.open(b'{')?;
    while let Some(key) = json.key(&mut first)? {
        match &*key {
            "log" => read.log = Some(json.text()?),
            "stream" => read.stream = Some(json.text()?),
            "time" => read.time = Some(json.text()?),
            "attrs" if json.peek()? == Kind::Object => read.attributes = attributes(&mut json)?,
            _ => json.skip()?,
        }
    }
    json.end()?;
    Ok(read)
}

fn attributes(json: &mut Json<'_>) -> Result<Vec<(String, String)>, Fault> {
    let (mut read, mut first) = (Vec::new(), true);
    json.open(b'{')?;
    while let Some(key) = json.key(&mut first)? {
        match json.peek()? {
            Kind::Text => read.push((key.into_owned(), json.text()?.into_owned())),
            _ => json.skip()?,
        }
    }
    Ok(read)
}

/// Reads a line of CRI.
pub fn cri(line: &str) -> Result<Piece<'_>, NotFromRuntime> {
    let missing = NotFromRuntime("not of the form <time> <stream> <P|F> <text>");
    let (time, rest) = line.split_once(' ').ok_or(missing)?;
    let (stream, rest) = rest.split_once(' ').ok_or(missing)?;
    // An empty line may come without the blank behind its tags.
    let (tags, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let stream = Stream::from_word(stream).ok_or(NotFromRuntime("stream is not stdout or stderr"))?;
    let time = rfc3339(time).ok_or(NotFromRuntime("time is not of RFC 3339"))?;
    let is_partial = match tags.split(':').next() {
        Some("P") => true,
        Some("F") => false,
        _ => return Err(NotFromRuntime("the tag is not P or F")),
    };
    Ok(Piece { time, stream, text: Cow::Borrowed(text), is_partial, attributes: Vec::new() })
}

fn without_newline(text: Cow<'_, str>) -> Cow<'_, str> {
    let kept =
        text.strip_suffix('\n').map_or(text.len(), |kept| kept.strip_suffix('\r').unwrap_or(kept).len());
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(..kept).unwrap_or(text)),
        Cow::Owned(mut text) => {
            text.truncate(kept);
            Cow::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(read: Result<Piece<'_>, NotFromRuntime>, expect: Result<(i64, Stream, &str, bool), &str>) {
        let read = read.map(|p| (p.time.0, p.stream, p.text.into_owned(), p.is_partial));
        let expect = expect.map(|(time, stream, text, partial)| (time, stream, text.to_owned(), partial));
        match (read, expect) {
            (Ok(read), Ok(expect)) => assert_eq!(read, expect),
            (Err(problem), Err(part)) => assert!(problem.to_string().contains(part), "{problem}"),
            (read, expect) => panic!("{read:?} is not {expect:?}"),
        }
    }

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn docker_lines() {
        use Stream::{Stderr, Stdout};
        let time = r#""time":"1970-01-01T00:00:01.5Z""#;
        let of = |log: &str, stream: &str| format!(r#"{{"log":"{log}","stream":"{stream}",{time}}}"#);
        let at = SECOND * 3 / 2;
        check(docker(&of("a\\n", "stdout")), Ok((at, Stdout, "a", false)));
        check(docker(&of("a", "stderr")), Ok((at, Stderr, "a", true)));
        check(docker(&of("a\\r\\n", "stderr")), Ok((at, Stderr, "a", false)));
        check(docker(&of("\\u00e9\\\"\\t\\n", "stdout")), Ok((at, Stdout, "é\"\t", false)));
        check(docker(&of("\\n", "stdout")), Ok((at, Stdout, "", false)));
        check(docker(&of("a\\n", "journal")), Err("stdout or stderr"));
        check(docker(r#"{"log":"a\n","stream":"stdout","time":"now"}"#), Err("RFC 3339"));
        check(docker(r#"{"log":"a\n"}"#), Err("log, stream and time"));
        check(docker("plain"), Err("log, stream and time"));
        let with = format!(r#"{{"log":"a\n","stream":"stdout","attrs":{{"tag":"web"}},{time}}}"#);
        let attributes = docker(&with).map(|piece| piece.attributes);
        assert_eq!(attributes, Ok(vec![("tag".to_owned(), "web".to_owned())]));
    }

    #[test]
    fn cri_lines() {
        use Stream::{Stderr, Stdout};
        check(cri("1970-01-01T00:00:01Z stdout F a b"), Ok((SECOND, Stdout, "a b", false)));
        check(cri("1970-01-01T01:00:01+01:00 stderr P a"), Ok((SECOND, Stderr, "a", true)));
        check(cri("1970-01-01T00:00:01.000000001Z stdout P:x  a"), Ok((SECOND + 1, Stdout, " a", true)));
        check(cri("1970-01-01T00:00:01Z stdout F"), Ok((SECOND, Stdout, "", false)));
        check(cri("1970-01-01T00:00:01Z stdout F "), Ok((SECOND, Stdout, "", false)));
        check(cri("1970-01-01T00:00:01Z stdout X a"), Err("tag"));
        check(cri("1970-01-01T00:00:01Z out F a"), Err("stream"));
        check(cri("soon stdout F a"), Err("RFC 3339"));
        check(cri("a b"), Err("form"));
    }
}
