//! Series with their samples in one line, the notation of rule unit tests and of `promqltest` files:
//! `up{job="a"} 1 2+3x2 _ stale {{schema:1 count:3 buckets:[1 2]}}`.

use std::sync::Arc;

use kenning_model::{BucketSpan, CounterReset, Histogram, LabelSet, METRIC_NAME};

use super::ast::MatchOp;
use super::parser::parse_series_name;
use crate::eval::STALE;
use crate::histogram::{Wide, WideError};
use crate::text::parse_number;

/// Most values that one line may stand for.
const VALUES_MAX: usize = 1 << 20;

/// One step of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum SequenceValue {
    /// Nothing.
    Omitted,
    /// A number, or the stale marker.
    Float(f64),
    /// A native histogram.
    Histogram {
        /// The value.
        histogram: Arc<Histogram>,
        /// True when a counter reset hint was written, so that a test should look at it.
        hint_given: bool,
    },
}

/// A series and its steps.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesDescription {
    /// The series.
    pub labels: LabelSet,
    /// Its values, one a step.
    pub values: Vec<SequenceValue>,
}

/// Reads one line. A line may hold labels alone.
///
/// # Errors
/// What is wrong with it.
pub fn parse_series_description(line: &str) -> Result<SeriesDescription, String> {
    let line = line.trim();
    let (name, rest) = split_series(line);
    let labels = parse_labels(name)?;
    let mut reader = Reader { rest };
    let mut values = Vec::new();
    loop {
        reader.skip_blank();
        if reader.rest.is_empty() {
            return Ok(SeriesDescription { labels, values });
        }
        reader.item(&mut values)?;
        if values.len() > VALUES_MAX {
            return Err(format!("a series may have {VALUES_MAX} values at most"));
        }
    }
}

/// The series and what follows it. Braces and blanks inside of quotes belong to the series.
fn split_series(line: &str) -> (&str, &str) {
    let (mut quote, mut escaped, mut in_braces) = (None, false, false);
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some('`'), '`') => quote = None,
            (Some(mark), '\\') if mark != '`' => escaped = true,
            (Some(mark), c) if c == mark => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') if in_braces => quote = Some(c),
            (None, '{') => in_braces = true,
            (None, '}') => return line.split_at(at + 1),
            (None, c) if c.is_whitespace() && !in_braces => {
                // Labels may stand apart from the name; a histogram may not be taken for them.
                let after = line.get(at..).unwrap_or("").trim_start();
                if !after.starts_with('{') || after.starts_with("{{") {
                    return line.split_at(at);
                }
            }
            _ => {}
        }
    }
    (line, "")
}

fn parse_labels(text: &str) -> Result<LabelSet, String> {
    let selector = parse_series_name(text).map_err(|problems| {
        problems.first().map_or_else(|| "invalid series".to_owned(), |problem| problem.message.clone())
    })?;
    if selector.matchers.iter().any(|matcher| matcher.op != MatchOp::Eq) {
        return Err(format!("{text}: labels are set with \"=\""));
    }
    let mut labels = LabelSet::empty().to_builder();
    for matcher in &selector.matchers {
        labels.set(&matcher.name, &matcher.value);
    }
    if !selector.name.is_empty() {
        labels.set(METRIC_NAME, &selector.name);
    }
    Ok(labels.build())
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_blank(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn accept(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn unexpected<T>(&self, expected: &str) -> Result<T, String> {
        let found: String = self.rest.chars().take(20).collect();
        Err(format!("unexpected \"{found}\" in series values, expected {expected}"))
    }

    fn item(&mut self, values: &mut Vec<SequenceValue>) -> Result<(), String> {
        if self.rest.starts_with("{{") {
            self.histograms(values)?;
        } else if self.accept("_") {
            let times = self.times()?.unwrap_or(1);
            values.resize(values.len() + times, SequenceValue::Omitted);
        } else {
            self.floats(values)?;
        }
        if self.rest.is_empty() || self.rest.starts_with(char::is_whitespace) {
            Ok(())
        } else {
            self.unexpected("a blank")
        }
    }

    /// `xN`; the first value does not count, so N more follow it.
    fn times(&mut self) -> Result<Option<usize>, String> {
        if !self.accept("x") {
            return Ok(None);
        }
        let digits = self.take_while(|c| c.is_ascii_digit());
        let times = digits.parse().map_err(|_| "invalid repetition in series values".to_owned())?;
        if times > VALUES_MAX {
            return Err(format!("a series may have {VALUES_MAX} values at most"));
        }
        Ok(Some(times))
    }

    fn floats(&mut self, values: &mut Vec<SequenceValue>) -> Result<(), String> {
        let mut value = if self.accept("stale") { STALE } else { self.signed_number()? };
        let step = if self.rest.starts_with(['+', '-']) { self.signed_number()? } else { 0.0 };
        for _ in 0..=self.times()?.unwrap_or(0) {
            values.push(SequenceValue::Float(value));
            // Adding zero would turn the stale marker into an ordinary NaN on some machines.
            if step != 0.0 {
                value += step;
            }
        }
        Ok(())
    }

    fn signed_number(&mut self) -> Result<f64, String> {
        let sign = if self.accept("-") {
            -1.0
        } else {
            self.accept("+");
            1.0
        };
        Ok(sign * self.number()?)
    }

    fn number(&mut self) -> Result<f64, String> {
        let bytes = self.rest.as_bytes();
        let mut end = 0;
        while let Some(byte) = bytes.get(end) {
            let in_exponent = end > 0 && matches!(bytes.get(end - 1), Some(b'e' | b'E'));
            let part = byte.is_ascii_digit()
                || matches!(byte, b'.' | b'_')
                || (matches!(byte, b'e' | b'E') && end > 0)
                || (matches!(byte, b'+' | b'-') && in_exponent);
            if !part {
                break;
            }
            end += 1;
        }
        if end == 0 {
            end = self.rest.find(|c: char| !c.is_ascii_alphabetic() || c == 'x').unwrap_or(self.rest.len());
        }
        let (text, rest) = self.rest.split_at(end);
        let Ok(value) = parse_number(text) else { return self.unexpected("number or \"stale\"") };
        self.rest = rest;
        Ok(value)
    }

    fn histograms(&mut self, values: &mut Vec<SequenceValue>) -> Result<(), String> {
        let (base, hint) = self.histogram()?;
        let sign = if self.accept("+") {
            1.0
        } else if self.accept("-") {
            -1.0
        } else {
            for _ in 0..=self.times()?.unwrap_or(0) {
                values.push(SequenceValue::Histogram { histogram: Arc::new(base.clone()), hint_given: hint });
            }
            return Ok(());
        };
        let (step, hint_given) = self.histogram()?;
        let times = self.times()?.unwrap_or(0);
        let mut current = base;
        for i in 0..=times {
            values.push(SequenceValue::Histogram { histogram: Arc::new(current.clone()), hint_given });
            if i < times {
                current = combine(&current, &step, sign)?;
            }
        }
        Ok(())
    }

    fn histogram(&mut self) -> Result<(Histogram, bool), String> {
        if !self.accept("{{") {
            return self.unexpected("a histogram");
        }
        // Blanks may stand between descriptors and before the end, not before the first.
        let inside = self.rest.trim_start();
        if inside.len() < self.rest.len() && !inside.starts_with("}}") {
            return self.unexpected("a histogram description key, e.g. buckets:[5 10 7]");
        }
        let mut built = Description::default();
        loop {
            self.skip_blank();
            if self.accept("}}") {
                return Ok((built.finish(), built.hint_given));
            }
            let key = self.take_while(|c| c.is_ascii_alphabetic() || c == '_');
            if key.is_empty() || !self.accept(":") {
                return self.unexpected("histogram description key, e.g. buckets:[5 10 7]");
            }
            self.field(key, &mut built)?;
        }
    }

    fn field(&mut self, key: &str, built: &mut Description) -> Result<(), String> {
        if built.seen.iter().any(|seen| seen == key) {
            return Err(format!("duplicate key \"{key}\" in histogram"));
        }
        built.seen.push(key.to_owned());
        let histogram = &mut built.histogram;
        match key {
            "schema" => histogram.schema = self.signed_number()? as i32,
            "sum" => histogram.sum = self.signed_number()?,
            "count" => histogram.count = self.signed_number()?,
            "z_bucket" => histogram.zero_count = self.signed_number()?,
            "z_bucket_w" => histogram.zero_threshold = self.signed_number()?,
            "custom_values" => histogram.custom_bounds = self.numbers()?,
            "buckets" => histogram.positive = self.numbers()?,
            "n_buckets" => histogram.negative = self.numbers()?,
            "offset" => built.offset = self.signed_number()? as i32,
            "n_offset" => built.negative_offset = self.signed_number()? as i32,
            "counter_reset_hint" => {
                built.hint_given = true;
                histogram.reset = match self.take_while(|c| c.is_ascii_alphabetic() || c == '_') {
                    "unknown" => CounterReset::Unknown,
                    "reset" => CounterReset::Yes,
                    "not_reset" => CounterReset::No,
                    "gauge" => CounterReset::Gauge,
                    other => return Err(format!("unknown counter_reset_hint \"{other}\"")),
                };
            }
            other => return Err(format!("bad histogram descriptor found: \"{other}\"")),
        }
        Ok(())
    }

    fn numbers(&mut self) -> Result<Vec<f64>, String> {
        if !self.accept("[") {
            return self.unexpected("\"[\"");
        }
        let mut numbers = Vec::new();
        loop {
            self.skip_blank();
            if self.accept("]") {
                return Ok(numbers);
            }
            numbers.push(self.signed_number()?);
        }
    }
}

#[derive(Default)]
struct Description {
    histogram: Histogram,
    offset: i32,
    negative_offset: i32,
    hint_given: bool,
    seen: Vec<String>,
}

impl Description {
    fn finish(&mut self) -> Histogram {
        let spans = |offset, buckets: &[f64]| match u32::try_from(buckets.len()) {
            Ok(length @ 1..) => vec![BucketSpan { offset, length }],
            _ => Vec::new(),
        };
        let mut histogram = std::mem::take(&mut self.histogram);
        histogram.positive_spans = spans(self.offset, &histogram.positive);
        histogram.negative_spans = spans(self.negative_offset, &histogram.negative);
        histogram
    }
}

fn combine(current: &Histogram, step: &Histogram, sign: f64) -> Result<Histogram, String> {
    if current.schema > step.schema {
        return Err(format!(
            "error combining histograms: cannot merge from schema {} to {}",
            step.schema, current.schema
        ));
    }
    let mut wide = Wide::new(current);
    wide.add_scaled(step, sign)
        .map_err(|WideError::MixedSchemas| "cannot combine exponential and custom buckets".to_owned())?;
    Ok(wide.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: &[f64]) {
        let found = parse_series_description(line).map(|series| series.values);
        let number = |value: &SequenceValue| match value {
            SequenceValue::Float(value) => *value,
            _ => -99.0,
        };
        let floats: Vec<_> = found.iter().flatten().map(number).collect();
        assert_eq!(floats, expect, "{line}: {found:?}");
    }

    #[test]
    fn sequences_expand() {
        check("up", &[]);
        check("up 1 2+3x2 _x2", &[1.0, 2.0, 5.0, 8.0, -99.0, -99.0]);
        check("up{a=\"}{\"} -1-1x1 1e3 Inf", &[-1.0, -2.0, 1000.0, f64::INFINITY]);
        check("{} 0x1", &[0.0, 0.0]);
        check("up 1e+02+1x1", &[100.0, 101.0]);
    }

    #[test]
    fn histograms_expand() {
        let found =
            parse_series_description("h {{count:1 sum:2 buckets:[1]}}+{{count:1 sum:2 buckets:[1]}}x1");
        let Ok(SeriesDescription { values, .. }) = found else { panic!("{found:?}") };
        let [_, SequenceValue::Histogram { histogram, .. }] = values.as_slice() else { panic!("{values:?}") };
        assert_eq!((histogram.count, histogram.sum, histogram.positive.as_slice()), (2.0, 4.0, &[2.0][..]));
    }

    #[test]
    fn mistakes_are_named() {
        for wrong in
            ["up 1x", "up x", "up {{nope:1}}", "up{a!=\"b\"} 1", "up 1x99999999", "up {{sum:1 sum:2}}"]
        {
            assert!(parse_series_description(wrong).is_err(), "{wrong}");
        }
    }
}
