//! What a good exporter writes, beyond what a scraper takes: the rules of OpenMetrics 1.0, and what promtool's parser asks of
//! the text format.
//!
//! Scrapers, Prometheus's and ours, are lenient; who writes an exposition wants to hear more. The document is read as for a
//! scrape, and every line is held against its family: types, suffixes, labels, values, order, repetition. The first flaw ends
//! it. Definitions: OpenMetrics 1.0; `prometheus/common` `expfmt` for the text format. Lacking: the canonical spelling of
//! numbers that are no powers of ten.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use kenning_model::{MetricKind, Reason};

use super::cursor::{Cursor, Pair, Series, go_float, parse_bound};
use super::{Exposition, HistogramPoint, Point, Sink, entry_of};
use crate::error::Fault;

/// Characters of an exemplar's labels. Definition: OpenMetrics 1.0 "Exemplars".
const EXEMPLAR_CHARS_MAX: usize = 128;

/// Where an exposition breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for Flaw {}

/// Holds a text exposition against the rules of its format; `Ok` for the protobuf form, which has no such rules.
///
/// ```
/// use kenning_wire::prometheus::{Exposition, check_strictly};
///
/// let flaw = check_strictly(b"# TYPE a counter\na_total -1\n# EOF\n", Exposition::OpenMetrics).unwrap_err();
/// assert_eq!(flaw.to_string(), "line 2: a counter is negative or no number");
/// ```
pub fn check_strictly(body: &[u8], format: Exposition) -> Result<(), Flaw> {
    if format == Exposition::Protobuf {
        return Ok(());
    }
    let mut rules = Rules { open: format == Exposition::OpenMetrics, ..Rules::default() };
    let mut cursor = Cursor::new(body);
    let entry = entry_of::<Rules>(format);
    loop {
        let start = cursor.offset();
        let outcome = entry(&mut cursor, &mut rules);
        let flaw = rules.flaw.take().or_else(|| outcome.as_ref().err().map(ToString::to_string));
        if let Some(problem) = flaw {
            return Err(Flaw { line: line_of(body, start), problem });
        }
        if matches!(outcome, Ok(false)) {
            break;
        }
    }
    let at_end = |problem: String| Flaw { line: line_of(body, body.len().saturating_sub(1)), problem };
    rules.end_family().map_err(at_end)?;
    if !rules.open && !body.is_empty() && !body.trim_ascii().is_empty() && !ends_line(body) {
        return Err(at_end("unexpected end of input: the last line lacks a line feed".to_owned()));
    }
    Ok(())
}

fn line_of(body: &[u8], at: usize) -> usize {
    1 + memchr::memchr_iter(b'\n', body.get(..at).unwrap_or(body)).count()
}

/// Blanks may follow the last line feed.
fn ends_line(body: &[u8]) -> bool {
    let blanks = body.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    body.get(..body.len() - blanks).is_some_and(|body| body.ends_with(b"\n"))
}

/// Labels, sorted, without the one that tells the parts of a metric apart.
type Group = Vec<(String, String)>;

/// The family whose lines come.
#[derive(Default)]
struct Family {
    name: String,
    kind: MetricKind,
    /// Which of help, type and unit were said.
    said: [bool; 3],
    has_samples: bool,
    group: Option<Group>,
    groups: HashSet<Group>,
    /// The stamp of the group's last sample.
    stamp: Option<Option<i64>>,
    histogram: Histogram,
}

/// What a group of a histogram holds so far.
#[derive(Default)]
struct Histogram {
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: Option<f64>,
}

#[derive(Default)]
struct Rules {
    open: bool,
    family: Family,
    /// Families that are over.
    closed: HashSet<String>,
    /// Text format: what was said of each metric, and metrics with samples.
    told: HashMap<String, [bool; 2]>,
    sampled: HashSet<String>,
    kinds: HashMap<String, MetricKind>,
    /// Names of samples that families took for themselves.
    taken: HashMap<String, String>,
    flaw: Option<String>,
}

type Verdict = Result<(), String>;

fn when(broken: bool, problem: &str) -> Verdict {
    if broken { Err(problem.to_owned()) } else { Ok(()) }
}

/// The suffixes of a type's samples.
const fn suffixes(kind: MetricKind) -> &'static [&'static str] {
    match kind {
        MetricKind::Counter => &["_total", "_created"],
        MetricKind::Summary => &["", "_count", "_sum", "_created"],
        MetricKind::Histogram => &["_bucket", "_count", "_sum", "_created"],
        MetricKind::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        MetricKind::Info => &["_info"],
        _ => &[""],
    }
}

impl Rules {
    fn note(&mut self, verdict: Verdict) {
        if let (None, Err(problem)) = (&self.flaw, verdict) {
            self.flaw = Some(problem);
        }
    }

    /// A comment of OpenMetrics: place 0 is help, 1 type, 2 unit.
    fn said(&mut self, metric: &str, place: usize) -> Verdict {
        if self.family.name != metric {
            self.begin_family(metric)?;
        }
        when(self.family.has_samples, "metadata stands behind samples of its metric")?;
        let said = self.family.said.get_mut(place).is_some_and(|said| std::mem::replace(said, true));
        when(said, "metadata is said twice of one metric")
    }

    fn begin_family(&mut self, name: &str) -> Verdict {
        self.end_family()?;
        let before = std::mem::take(&mut self.family);
        if !before.name.is_empty() {
            self.closed.insert(before.name);
        }
        when(self.closed.contains(name), "a metric goes on after another one began")?;
        self.family = Family { name: name.to_owned(), ..Family::default() };
        Ok(())
    }

    /// Takes the names of a family's samples, once its type is known.
    fn take_names(&mut self) -> Verdict {
        let family = self.family.name.clone();
        for suffix in suffixes(self.family.kind).iter().chain([&""]) {
            let owner = self.taken.entry(format!("{family}{suffix}")).or_insert_with(|| family.clone());
            when(*owner != family, "a metric's samples have the name of another metric's")?;
        }
        Ok(())
    }

    fn end_family(&mut self) -> Verdict {
        if self.open { self.end_group() } else { Ok(()) }
    }

    /// The whole of one metric is there.
    fn end_group(&mut self) -> Verdict {
        let seen = std::mem::take(&mut self.family.histogram);
        let gauge = self.family.kind == MetricKind::GaugeHistogram;
        if self.family.group.is_none() || !(gauge || self.family.kind == MetricKind::Histogram) {
            return Ok(());
        }
        let Some((last, total)) = seen.buckets.last().copied() else {
            return Err("a histogram has no buckets".to_owned());
        };
        when(last != f64::INFINITY, "a histogram lacks its bucket +Inf")?;
        let negative = seen.buckets.iter().any(|(bound, _)| *bound < 0.0);
        if let Some(count) = seen.count {
            when(count != total, "a histogram's count is not that of its bucket +Inf")?;
        }
        when(seen.sum.is_some() && seen.count.is_none(), "a histogram has a sum and no count")?;
        when(seen.count.is_some() && seen.sum.is_none() && !negative, "a histogram has a count and no sum")?;
        when(!gauge && negative && seen.sum.is_some(), "a histogram with negative buckets has a sum")?;
        let below_zero = seen.sum.is_some_and(|sum| sum < 0.0);
        when(gauge && below_zero && !negative, "a sum is negative and no bucket is")
    }

    fn open_sample(&mut self, series: &Series<'_>, text: &[u8], point: &Point<'_>) -> Verdict {
        let name = series.name.as_deref().unwrap_or_default();
        let is_ours = |suffix: &&&str| name.strip_suffix(**suffix) == Some(self.family.name.as_str());
        let suffix = match suffixes(self.family.kind).iter().find(is_ours) {
            Some(suffix) if !self.family.name.is_empty() => *suffix,
            _ => {
                when(
                    name == self.family.name && self.family.said[1],
                    "a sample lacks the suffix of its type",
                )?;
                self.begin_family(name)?;
                ""
            }
        };
        if !self.family.has_samples {
            self.family.has_samples = true;
            self.take_names()?;
        }
        when(text.ends_with(b",}"), "a comma stands behind the last label")?;
        let kind = self.family.kind;
        let own = match (kind, suffix) {
            (MetricKind::Histogram | MetricKind::GaugeHistogram, "_bucket") => "le",
            (MetricKind::Summary, "") => "quantile",
            (MetricKind::StateSet, _) => self.family.name.as_str(),
            _ => "",
        };
        let own_value = series.labels.iter().find(|(label, _)| label == own).map(|(_, value)| value.as_ref());
        when(
            !own.is_empty() && own_value.is_none(),
            "a sample lacks the label of its type (le, quantile, its name)",
        )?;
        let mut group: Group = series
            .labels
            .iter()
            .filter(|(label, _)| own.is_empty() || label != own)
            .map(|(label, value)| (label.to_string(), value.to_string()))
            .collect();
        group.sort();
        when(group.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0)), "a label stands twice")?;
        self.in_group(group)?;
        self.in_time(point)?;
        self.value(suffix, own_value, point.value)?;
        self.exemplar(suffix, point)
    }

    /// The samples of one metric stand together.
    fn in_group(&mut self, group: Group) -> Verdict {
        if self.family.group.as_ref() == Some(&group) {
            return Ok(());
        }
        self.end_group()?;
        when(!self.family.groups.insert(group.clone()), "the samples of a metric do not stand together")?;
        self.family.group = Some(group);
        self.family.stamp = None;
        Ok(())
    }

    fn in_time(&mut self, point: &Point<'_>) -> Verdict {
        let now = point.time.map(|time| time.0);
        match (self.family.stamp.replace(now), now) {
            (Some(None), Some(_)) | (Some(Some(_)), None) => {
                Err("some samples of a metric have a timestamp and others none".to_owned())
            }
            (Some(Some(before)), Some(now)) => when(now < before, "timestamps of a metric go back"),
            _ => Ok(()),
        }
    }

    fn value(&mut self, suffix: &str, own: Option<&str>, value: f64) -> Verdict {
        let counts = value >= 0.0;
        let whole = counts && (value.fract() == 0.0 || value.is_infinite());
        match (self.family.kind, suffix) {
            (MetricKind::Counter, "_total") => when(!counts, "a counter is negative or no number"),
            (MetricKind::Info, _) => when(value != 1.0, "an info is not 1"),
            (MetricKind::StateSet, _) => when(value != 0.0 && value != 1.0, "a state is neither 0 nor 1"),
            (MetricKind::Summary, "") => {
                let quantile = own.and_then(parse_bound);
                when(
                    !quantile.is_some_and(|q| (0.0..=1.0).contains(&q)),
                    "a quantile is not between 0 and 1",
                )?;
                when(value < 0.0, "a quantile's value is negative")
            }
            (MetricKind::Summary | MetricKind::Histogram, "_sum") => {
                self.family.histogram.sum = Some(value);
                when(!counts, "a sum is negative or no number")
            }
            (MetricKind::GaugeHistogram, "_gsum") => {
                self.family.histogram.sum = Some(value);
                when(value.is_nan(), "a sum is no number")
            }
            (
                MetricKind::Summary | MetricKind::Histogram | MetricKind::GaugeHistogram,
                "_count" | "_gcount",
            ) => {
                self.family.histogram.count = Some(value);
                when(!whole, "a count is negative or not whole")
            }
            (MetricKind::Histogram | MetricKind::GaugeHistogram, "_bucket") => {
                when(!whole, "a bucket's count is negative or not whole")?;
                let Some(bound) = own.and_then(parse_bound).filter(|bound| !bound.is_nan()) else {
                    return Err("a bucket's le is no number".to_owned());
                };
                canonical(own, Some(bound))?;
                if let Some((last, count)) = self.family.histogram.buckets.last() {
                    when(bound <= *last, "buckets are out of order")?;
                    when(value < *count, "a bucket counts less than the one before")?;
                }
                self.family.histogram.buckets.push((bound, value));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn exemplar(&self, suffix: &str, point: &Point<'_>) -> Verdict {
        let Some(exemplar) = &point.exemplar else { return Ok(()) };
        let allowed = matches!(
            (self.family.kind, suffix),
            (MetricKind::Counter, "_total") | (MetricKind::Histogram | MetricKind::GaugeHistogram, "_bucket")
        );
        when(!allowed, "an exemplar stands on a sample that may have none")?;
        let chars = |(name, value): &Pair<'_>| name.chars().count() + value.chars().count();
        let chars: usize = exemplar.labels.iter().map(chars).sum();
        when(chars > EXEMPLAR_CHARS_MAX, "an exemplar's labels have more than 128 characters")
    }

    /// The text format: place 0 is help, 1 type.
    fn text_said(&mut self, metric: &str, place: usize) -> Verdict {
        let told = self.told.entry(metric.to_owned()).or_default();
        let word = if place == 0 { "HELP" } else { "TYPE" };
        let again = told.get_mut(place).is_some_and(|told| std::mem::replace(told, true));
        when(again, &format!("second {word} line for metric name {metric:?}"))?;
        when(
            place == 1 && self.sampled.contains(metric),
            &format!("TYPE reported after samples for metric name {metric:?}"),
        )
    }

    fn text_sample(&mut self, series: &Series<'_>, text: &[u8], point: &Point<'_>) -> Verdict {
        let name = series.name.as_deref().unwrap_or_default();
        when(!escapes_are_known(text), "invalid escape sequence")?;
        when(!commas_are_there(text), "unexpected end of label value: a comma is missing")?;
        when(text.contains(&b'\n'), "label value contains unescaped new-line")?;
        let mut names: Vec<&str> = series.labels.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        let twice = names.windows(2).any(|pair| matches!(pair, [a, b] if a == b));
        when(twice, "duplicate label names for metric")?;
        when(names.contains(&"__name__"), "label name \"__name__\" is reserved")?;
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let family = base.filter(|base| self.kinds.contains_key(*base)).unwrap_or(name);
        self.sampled.insert(family.to_owned());
        let kind = self.kinds.get(family).copied().unwrap_or_default();
        let number = |label: &str| {
            let value = series.labels.iter().find(|(name, _)| name == label).map(|(_, value)| value.as_ref());
            value.is_none_or(|value| value.parse::<f64>().is_ok())
        };
        match kind {
            MetricKind::Summary => when(!number("quantile"), "expected float as value for 'quantile' label"),
            MetricKind::Histogram => {
                when(!number("le"), "expected float as value for 'le' label")?;
                let counts = name.ends_with("_bucket") || name.ends_with("_count");
                when(counts && point.value < 0.0, "a histogram's count is negative")
            }
            _ => Ok(()),
        }
    }
}

/// Bounds of buckets that are powers of ten, zero or infinite have one spelling.
fn canonical(text: Option<&str>, bound: Option<f64>) -> Verdict {
    let (Some(text), Some(bound)) = (text, bound) else { return Ok(()) };
    let power = bound == 0.0 || bound.is_infinite() || {
        let exponent = bound.abs().log10();
        (-10.0..=10.0).contains(&exponent) && exponent.fract() == 0.0
    };
    when(power && text != go_float(bound), "a bound is not in its canonical spelling")
}

/// Within quotes a backslash stands before a backslash, a quote or an n.
fn escapes_are_known(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte == b'\\' && !matches!(bytes.next(), Some(b'\\' | b'"' | b'n')) {
            return false;
        }
    }
    true
}

/// Behind every label and every quoted name stands a comma, or the end of the set.
fn commas_are_there(text: &[u8]) -> bool {
    let (mut quoted, mut after, mut escaped) = (false, false, false);
    for byte in text {
        if quoted {
            quoted = escaped || *byte != b'"';
            after |= !quoted;
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b' ' | b'\t' => {}
            b',' | b'}' | b'=' => after = false,
            _ if after => return false,
            b'"' => quoted = true,
            _ => {}
        }
    }
    true
}

impl Sink for Rules {
    fn help(&mut self, metric: Cow<'_, str>, _help: &str, _quotes: Option<bool>) {
        let verdict = if self.open { self.said(&metric, 0) } else { self.text_said(&metric, 0) };
        self.note(verdict);
    }

    fn kind(&mut self, metric: Cow<'_, str>, kind: MetricKind) {
        let verdict = if self.open {
            self.said(&metric, 1).and_then(|()| {
                self.family.kind = kind;
                self.take_names()
            })
        } else {
            self.kinds.insert(metric.to_string(), kind);
            self.text_said(&metric, 1)
        };
        self.note(verdict);
    }

    fn unit(&mut self, metric: Cow<'_, str>, unit: &str) {
        let verdict = self.said(&metric, 2).and_then(|()| {
            let none = matches!(self.family.kind, MetricKind::Info | MetricKind::StateSet);
            when(none && !unit.is_empty(), "an info or a set of states has a unit")
        });
        self.note(verdict);
    }

    fn sample(
        &mut self,
        series: Option<Series<'_>>,
        text: &[u8],
        point: Point<'_>,
        at: usize,
    ) -> Result<(), Fault> {
        let Some(series) = series else {
            return Err(Fault::new(Reason::Malformed, at, "exposition", "has a sample without a series"));
        };
        let verdict = if self.open {
            self.open_sample(&series, text, &point)
        } else {
            self.text_sample(&series, text, &point)
        };
        self.note(verdict);
        Ok(())
    }

    fn histogram(
        &mut self,
        _series: Option<Series<'_>>,
        _text: &[u8],
        _point: HistogramPoint<'_>,
        _at: usize,
    ) -> Result<(), Fault> {
        Ok(())
    }
}
