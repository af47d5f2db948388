//! Syslog messages to log records. Definitions: RFC 5424, RFC 3164 as it is spoken (with RFC 3339 stamps, years and
//! fractions where senders write them), framing of RFC 6587.
//!
//! The message's text is the line. `service_name` (the app's name, or the tag), `host_name` and `facility` are stream
//! labels; `severity`, `proc_id`, `msg_id` and structured data (`<id>_<name>`) are structured metadata.
//!
//! Nothing is lost for its form: a message that follows neither RFC is kept whole as a line and counted
//! ([`SyslogDecoder::finish`]). A stamp without a year gets the year that brings it nearest to the time of receipt, one
//! without a zone the configured offset; a stamp outside the accepted window is replaced by the time of receipt and kept as
//! `syslog_timestamp`. Absent: rewriting of vendors' dialects (Cisco's counters and stars), CEE.

mod frame;
mod parse;

use std::time::Duration;

use kenning_model::{LogBatch, Nanos, Severity};

use crate::error::{DecodeError, Decoded};
use crate::instant::{self, Civil};
use crate::limits::DecodeLimits;
use crate::logs::DETECTED_LEVEL;
use crate::records::{Entry, Records, UNKNOWN_SERVICE};

pub use frame::{FrameError, Framed, next_message};
use parse::{Parsed, Stamp};

/// Levels of syslog's severities, in the words of `detected_level`.
pub(crate) const SEVERITY_LEVELS: [&str; 8] =
    ["fatal", "fatal", "critical", "error", "warn", "info", "info", "debug"];

/// Names of severities, at their number. Definition: RFC 5424 table 2, in the spelling of syslog(3).
pub const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Names of facilities, at their number. Definition: RFC 5424 table 1, in the spelling of syslog(3).
pub const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

/// How stamps are understood.
#[derive(Clone, Copy, Debug, Default)]
pub struct SyslogOptions {
    /// Time of receipt.
    pub now: Nanos,
    /// Seconds that the clocks of senders stand east of UTC, for stamps without a zone.
    pub utc_offset: i32,
    /// How far back a stamp may lie; any when `None`.
    pub past: Option<Duration>,
    /// How far ahead a stamp may lie; any when `None`.
    pub future: Option<Duration>,
}

/// Where a message came from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// The peer's address, which names the host of messages that name none.
    pub peer: &'a str,
    /// True when anyone could have written that address, as with datagrams; kept as metadata `unverified`.
    pub is_spoofable: bool,
}

/// Collects messages into one batch.
pub struct SyslogDecoder<'l> {
    records: Records<'l>,
    options: SyslogOptions,
    oddities: Vec<(&'static str, u64)>,
}

/// Messages that were kept although something about them was odd, by what it was: `not_utf8`, `no_priority`,
/// `bad_priority`, `bad_rfc5424`, `no_timestamp`, `outside_window`, `cut`.
pub type Oddities = Vec<(&'static str, u64)>;

impl<'l> SyslogDecoder<'l> {
    /// A decoder for messages received at one time.
    #[must_use]
    pub fn new(limits: &'l DecodeLimits, options: SyslogOptions) -> Self {
        Self { records: Records::new(limits), options, oddities: Vec::new() }
    }

    /// Takes one message without its framing. Empty ones are passed over. The error is for more messages than one batch
    /// may hold.
    pub fn message(&mut self, bytes: &[u8], origin: Origin<'_>) -> Result<(), DecodeError> {
        let bytes = trimmed(bytes);
        if bytes.is_empty() {
            return Ok(());
        }
        self.records.count_entry()?;
        let text = String::from_utf8_lossy(bytes);
        if matches!(text, std::borrow::Cow::Owned(_)) {
            self.note("not_utf8");
        }
        let parsed = parse::parse(&text);
        if let Some(oddity) = parsed.oddity {
            self.note(oddity);
        }
        if let Err(fault) = self.record(&parsed, origin) {
            fault.count(&mut self.records.rejected, 1);
        }
        Ok(())
    }

    /// The records so far, and what was odd about some of them.
    #[must_use]
    pub fn finish(self) -> (Decoded<LogBatch>, Oddities) {
        (self.records.finish(), self.oddities)
    }

    fn note(&mut self, oddity: &'static str) {
        match self.oddities.iter_mut().find(|(known, _)| *known == oddity) {
            Some((_, count)) => *count += 1,
            None => self.oddities.push((oddity, 1)),
        }
    }

    fn record(&mut self, parsed: &Parsed<'_>, origin: Origin<'_>) -> Result<(), crate::error::Fault> {
        let limits = self.records.limits;
        let (facility, severity) = match parsed.priority {
            Some(priority) => (
                FACILITIES.get(usize::from(priority / 8)).copied().unwrap_or(""),
                Some(usize::from(priority % 8)),
            ),
            None => ("", None),
        };
        // A name longer than a label may be is no name.
        let label = |text: &'_ str| text.len() <= limits.label_value_bytes;
        let service = Some(parsed.app).filter(|app| !app.is_empty() && label(app)).unwrap_or(UNKNOWN_SERVICE);
        let host = Some(parsed.host).filter(|host| !host.is_empty() && label(host)).unwrap_or(origin.peer);
        let mut labels = vec![("service_name", service), ("host_name", host), ("facility", facility)];
        let stream = self.records.stream(&mut labels, 0)?;
        let labels = self.records.labels(stream);
        let mut metadata: Vec<(&str, &str)> =
            parsed.data.iter().map(|(name, value)| (name.as_str(), value.as_ref())).collect();
        metadata.truncate(limits.attributes.saturating_sub(8));
        metadata.extend([("proc_id", parsed.proc_id), ("msg_id", parsed.msg_id)]);
        if let Some(severity) = severity {
            metadata.push(("severity", SEVERITIES.get(severity).copied().unwrap_or("")));
            metadata.push((DETECTED_LEVEL, SEVERITY_LEVELS.get(severity).copied().unwrap_or("")));
        }
        if origin.is_spoofable {
            metadata.push(("unverified", "true"));
        }
        let time = self.resolve(parsed.stamp).filter(|time| self.accepts(*time));
        if time.is_none() && !parsed.stamp_text.is_empty() {
            self.note("outside_window");
            metadata.push(("syslog_timestamp", parsed.stamp_text));
        }
        metadata.retain(|(name, value)| {
            !value.is_empty()
                && name.len() <= limits.label_name_bytes
                && value.len() <= limits.attribute_bytes
        });
        let time = time.unwrap_or(self.options.now);
        let line = crate::text::cut(parsed.line, limits.line_bytes);
        if line.len() < parsed.line.len() {
            self.note("cut");
        }
        self.records.entry(stream, &labels, Entry { time, line, metadata, at: 0 })
    }

    fn resolve(&self, stamp: Stamp) -> Option<Nanos> {
        let offset = i64::from(self.options.utc_offset);
        match stamp {
            Stamp::None => None,
            Stamp::At(time) => Some(time),
            Stamp::Local(civil) => civil.at(offset),
            Stamp::Yearless(civil) => {
                let now = self.options.now;
                let year = instant::year_of(now);
                // The leap day may exist in none of the three.
                (year - 4..=year + 1)
                    .filter_map(|year| Civil { year, ..civil }.at(offset))
                    .min_by_key(|time| time.0.abs_diff(now.0))
            }
        }
    }

    fn accepts(&self, time: Nanos) -> bool {
        let age = i128::from(self.options.now.0) - i128::from(time.0);
        let within = |limit: Option<Duration>, distance: i128| {
            limit.is_none_or(|limit| distance <= i128::try_from(limit.as_nanos()).unwrap_or(i128::MAX))
        };
        within(self.options.past, age) && within(self.options.future, -age)
    }
}

/// Without line ends and zero bytes at the end, and blanks before the message.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|b| !matches!(b, b'\n' | b'\r' | 0)).map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or_default()
}

/// The severity that a syslog severity number stands for.
#[must_use]
pub fn severity_of(number: u8) -> Severity {
    SEVERITY_LEVELS.get(usize::from(number)).map_or(Severity::UNKNOWN, |word| Severity::from_word(word))
}

#[cfg(test)]
mod tests;
