//! `timestamp`: when a record happened, as an extracted field tells.

use std::sync::{Mutex, PoisonError};

use kenning_model::{LabelSet, Nanos};
use kenning_template::layout;
use kenning_yaml::Node;

use super::{Builder, Side};
use crate::config::Fields;
use crate::entry::Entry;
use crate::recent::Recent;
use crate::zone::Zone;

/// Streams whose last stamp is remembered for the next record without one. Definition: Promtail.
const STREAMS_MAX: usize = 10_000;

/// Layouts that have names. Definition: Go's package `time`.
const NAMED: [(&str, &str); 10] = [
    ("ANSIC", "Mon Jan _2 15:04:05 2006"),
    ("UnixDate", "Mon Jan _2 15:04:05 MST 2006"),
    ("RubyDate", "Mon Jan 02 15:04:05 -0700 2006"),
    ("RFC822", "02 Jan 06 15:04 MST"),
    ("RFC822Z", "02 Jan 06 15:04 -0700"),
    ("RFC850", "Monday, 02-Jan-06 15:04:05 MST"),
    ("RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"),
    ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"),
    ("RFC3339", RFC3339),
    ("RFC3339Nano", RFC3339),
];
/// A fraction is read whether the layout has one or not.
const RFC3339: &str = "2006-01-02T15:04:05Z07:00";

/// How a stamp is written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Format {
    /// Seconds, with a fraction perhaps.
    Seconds,
    /// Whole numbers of so many nanoseconds.
    Units(i64),
    Layout(Layout),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Layout {
    text: String,
    has_year: bool,
    /// Stamps tell how far their clock stands off; else the location does.
    has_offset: bool,
}

impl Format {
    fn of(word: &str) -> Self {
        match word {
            "Unix" => Self::Seconds,
            "UnixMs" => Self::Units(1_000_000),
            "UnixUs" => Self::Units(1_000),
            "UnixNs" => Self::Units(1),
            word => {
                let named = NAMED.iter().find(|(name, _)| *name == word);
                let text = named.map_or(word, |(_, text)| text).to_owned();
                let has_offset = text.contains("-07") || text.contains("Z07");
                Self::Layout(Layout { has_year: text.contains("06"), has_offset, text })
            }
        }
    }

    fn read(&self, text: &str, zone: Option<&Zone>, now: Nanos) -> Option<Nanos> {
        match self {
            Self::Seconds => seconds(text),
            Self::Units(nanos) => text.parse::<i64>().ok()?.checked_mul(*nanos).map(Nanos),
            Self::Layout(layout) => layout.read(text, zone, now),
        }
    }
}

/// `1700000000` or `1700000000.123`. What stands behind the ninth place of the fraction is cut off.
fn seconds(text: &str) -> Option<Nanos> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.get(..fraction.len().min(9))?;
    if text.contains('.') && (digits.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let nanos: i64 = format!("{digits:0<9}").parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos).map(Nanos)
}

impl Layout {
    fn read(&self, text: &str, zone: Option<&Zone>, now: Nanos) -> Option<Nanos> {
        let read = |layout: &str, text: &str| {
            let time = layout::parse(layout, text)?;
            match zone.filter(|_| !self.has_offset) {
                Some(zone) => Some(zone.to_utc(time)),
                None => Some(time),
            }
        };
        if self.has_year {
            return read(&self.text, text);
        }
        // The year is the one in which the stamp lies close to now: December was last year when it is January.
        let number = |layout, time| layout::format(layout, time).parse::<i64>().ok();
        let (year, month_now) = (number("2006", now)?, number("1", now)?);
        let in_year = |year: i64| {
            layout::parse(&format!("2006 {}", self.text), &format!("{year:04} {text}")).map(|_| year)
        };
        let written = in_year(year).or_else(|| in_year(year - 1)).or_else(|| in_year(year + 1))?;
        let month =
            number("1", layout::parse(&format!("2006 {}", self.text), &format!("{written:04} {text}"))?)?;
        let year = match (month, month_now) {
            (12, 1) => year - 1,
            (1, 12) => year + 1,
            _ => year,
        };
        read(&format!("2006 {}", self.text), &format!("{year:04} {text}"))
    }
}

/// What happens to a record without a stamp that can be read.
#[derive(Debug)]
enum OnFailure {
    /// It keeps the one that it came with.
    Skip,
    /// It gets the one of its stream's last record and a nanosecond.
    Fudge(Mutex<Recent<LabelSet, Nanos>>),
}

/// The stage.
#[derive(Debug)]
pub(crate) struct Timestamp {
    source: String,
    formats: Vec<Format>,
    zone: Option<Zone>,
    on_failure: OnFailure,
}

impl Timestamp {
    pub fn read(at: &str, node: &Node, builder: &mut Builder<'_>) -> Option<Self> {
        let files = builder.context.files;
        let mut fields = Fields::open(at, node, builder.report);
        let source = fields.required("source", "name the extracted field that holds the stamp");
        let format = fields
            .required("format", "write a Go layout, or one of RFC3339, Unix, UnixMs, UnixUs, UnixNs ...");
        let fallbacks = fields.texts("fallback_formats").unwrap_or_default();
        let formats = std::iter::once(&format).chain(&fallbacks).map(|word| Format::of(word)).collect();
        let zone = fields.text("location").filter(|name| !name.is_empty()).and_then(|name| {
            Zone::load(&name, files).map_err(|problem| fields.wrong("location", problem)).ok()
        });
        let on_failure = match fields.text("action_on_failure").as_deref() {
            None | Some("fudge") => OnFailure::Fudge(Mutex::new(Recent::new(STREAMS_MAX))),
            Some("skip") => OnFailure::Skip,
            Some(other) => {
                fields.wrong("action_on_failure", format!("{other:?} must be skip or fudge"));
                OnFailure::Skip
            }
        };
        fields.finish();
        Some(Self { source, formats, zone, on_failure })
    }

    /// The stamps of container runtimes.
    pub fn rfc3339(source: &str) -> Self {
        let on_failure = OnFailure::Fudge(Mutex::new(Recent::new(STREAMS_MAX)));
        Self { source: source.to_owned(), formats: vec![Format::of("RFC3339")], zone: None, on_failure }
    }

    pub fn run(&self, entry: &mut Entry<'_>, side: &Side<'_>) {
        let text = entry.extracted.text(&self.source);
        let read = |format: &Format| format.read(text.as_deref()?, self.zone.as_ref(), side.now);
        let told = self.formats.iter().find_map(read);
        match (told, &self.on_failure) {
            (Some(time), OnFailure::Skip) => entry.time = time,
            (None, OnFailure::Skip) => {}
            (told, OnFailure::Fudge(last)) => {
                let stream = entry.labels.to_set();
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                let after = || last.get(&stream).map(|last| Nanos(last.0.saturating_add(1)));
                if let Some(time) = told.or_else(after) {
                    entry.time = time;
                    last.insert(&stream, time);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds from the start of 2026 to mid of January.
    const NOW: Nanos = Nanos(1_768_478_400_000_000_000);

    fn check(format: &str, text: &str, expect: Option<&str>) {
        let time = Format::of(format).read(text, None, NOW);
        let shown = time.map(|time| layout::format("2006-01-02T15:04:05.999999999", time));
        assert_eq!(shown.as_deref(), expect, "{format} {text}");
    }

    #[test]
    fn formats() {
        check("RFC3339", "2023-11-14T22:13:20Z", Some("2023-11-14T22:13:20"));
        check("RFC3339", "2023-11-14T22:13:20.5+01:00", Some("2023-11-14T21:13:20.5"));
        check("RFC3339Nano", "2023-11-14T22:13:20.123456789Z", Some("2023-11-14T22:13:20.123456789"));
        check("Unix", "1700000000", Some("2023-11-14T22:13:20"));
        check("Unix", "1700000000.25", Some("2023-11-14T22:13:20.25"));
        check("Unix", "1700000000.", None);
        check("Unix", "x", None);
        check("UnixMs", "1700000000123", Some("2023-11-14T22:13:20.123"));
        check("UnixUs", "1700000000123456", Some("2023-11-14T22:13:20.123456"));
        check("UnixNs", "1700000000123456789", Some("2023-11-14T22:13:20.123456789"));
        check("RFC1123Z", "Tue, 14 Nov 2023 22:13:20 +0100", Some("2023-11-14T21:13:20"));
        check("02/Jan/2006:15:04:05 -0700", "14/Nov/2023:22:13:20 +0000", Some("2023-11-14T22:13:20"));
        check("2006-01-02 15:04:05,000", "2023-11-14 22:13:20,042", Some("2023-11-14T22:13:20.042"));
        check("2006-01-02", "yesterday", None);
    }

    #[test]
    fn stamps_without_a_year_lie_close_to_now() {
        check("Jan _2 15:04:05", "Jan  3 01:02:03", Some("2026-01-03T01:02:03"));
        check("Jan _2 15:04:05", "Dec 31 23:59:59", Some("2025-12-31T23:59:59"));
        check("Jan _2 15:04:05", "Jun 30 00:00:00", Some("2026-06-30T00:00:00"));
        check("Jan _2 15:04:05", "Foo 30 00:00:00", None);
    }
}
