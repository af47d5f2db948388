//! Labels out of lines where nobody wrote stages: JSON and logfmt lines tell their service, level and container.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use kenning_model::{Batch, LabelSet, LogBatch, Severity};
use kenning_pipeline::Refusal;
use kenning_pipeline::process::{Origin, Processed, Processor};
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use crate::logfmt;

/// Labels and the fields that tell them, the most telling first.
const FIELDS: [(&str, &[&str]); 3] = [
    ("container", &["container", "container_name"]),
    ("level", &["level", "severity", "lvl", "log.level"]),
    ("service", &["service", "service_name", "service.name"]),
];
/// Values of one label that one source may bring; records with others keep what they have.
const VALUES_MAX: usize = 64;
/// Longest value.
const VALUE_BYTES_MAX: usize = 128;

/// Takes labels out of lines. Labels that the settings give stay; those that a path tells make way.
///
/// `level` is taken as it is written, if it is a level word. Values are bounded in number and length, so that a field
/// with an id in it cannot make a stream of every line.
#[derive(Debug)]
pub struct LineLabels {
    wanted: Vec<(&'static str, &'static [&'static str])>,
    seen: Mutex<HashMap<&'static str, HashSet<String>>>,
}

impl LineLabels {
    /// The labels that can be taken out of lines.
    pub const NAMES: [&'static str; 3] = ["container", "level", "service"];

    /// Takes out those labels of `names` that `fixed` does not have.
    #[must_use]
    pub fn new(names: &[String], fixed: &LabelSet) -> Self {
        let is_wanted = |name: &str| names.iter().any(|wanted| wanted == name) && fixed.get(name).is_empty();
        let wanted = FIELDS.into_iter().filter(|(name, _)| is_wanted(name)).collect();
        Self { wanted, seen: Mutex::default() }
    }

    /// What a line tells: a value for each label that is wanted.
    fn told(&self, line: &str) -> Vec<Option<String>> {
        let mut found = vec![None; self.wanted.len()];
        let text = line.trim();
        if text.starts_with('{') && text.ends_with('}') {
            let mut json = serde_json::Deserializer::from_str(text);
            // What stood before a broken place counts.
            let _ = json.deserialize_map(Fields { of: self, found: &mut found });
        } else if memchr::memchr(b'=', text.as_bytes()).is_some() {
            logfmt::each_pair(text, |key, value| self.note(key, &value, &mut found));
        }
        found.into_iter().map(|found| found.map(|(_, value)| value)).collect()
    }

    /// Keeps a field's value when it is the most telling so far.
    fn note(&self, field: &str, value: &str, found: &mut [Option<(usize, String)>]) {
        for ((label, fields), found) in self.wanted.iter().zip(found) {
            let Some(rank) = fields.iter().position(|known| *known == field) else { continue };
            let is_better = found.as_ref().is_none_or(|(known, _)| rank < *known);
            if is_better && is_value(label, value) {
                *found = Some((rank, value.to_owned()));
            }
        }
    }

    fn wants(&self, field: &str) -> bool {
        self.wanted.iter().any(|(_, fields)| fields.contains(&field))
    }

    /// Whether a label may have this value, too.
    fn admit(&self, label: &'static str, value: &str) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry(label).or_default();
        seen.contains(value) || (seen.len() < VALUES_MAX && seen.insert(value.to_owned()))
    }

    fn apply(&self, batch: &mut LogBatch) {
        let mut known: HashMap<(u32, Vec<Option<String>>), u32> = HashMap::new();
        let mut places: HashMap<LabelSet, u32> = HashMap::new();
        for (place, labels) in batch.streams.iter().enumerate() {
            places.entry(labels.clone()).or_insert(place as u32);
        }
        let own = std::mem::take(&mut batch.stream);
        let mut moved = Vec::with_capacity(own.len());
        for (row, stream) in own.into_iter().enumerate() {
            let told = self.told(batch.line.get(row));
            if told.iter().all(Option::is_none) {
                moved.push(stream);
                continue;
            }
            let key = (stream, told);
            let place = match known.get(&key) {
                Some(place) => *place,
                None => {
                    let labels = self.labelled(batch.streams.get(stream as usize), &key.1);
                    let place = *places.entry(labels.clone()).or_insert_with(|| batch.add_stream(labels));
                    known.insert(key, place);
                    place
                }
            };
            moved.push(place);
        }
        batch.stream = moved;
        without_unused_streams(batch);
    }

    fn labelled(&self, labels: Option<&LabelSet>, told: &[Option<String>]) -> LabelSet {
        let mut builder = labels.map(LabelSet::to_builder).unwrap_or_default();
        for ((label, _), value) in self.wanted.iter().zip(told) {
            if let Some(value) = value.as_ref().filter(|value| self.admit(label, value)) {
                builder.set(label, value);
            }
        }
        builder.build()
    }
}

fn is_value(label: &str, value: &str) -> bool {
    let fits = !value.is_empty() && value.len() <= VALUE_BYTES_MAX;
    fits && (label != "level" || Severity::from_word(value) != Severity::UNKNOWN)
}

fn without_unused_streams(batch: &mut LogBatch) {
    let mut used = vec![false; batch.streams.len()];
    for stream in &batch.stream {
        used.iter_mut().skip(*stream as usize).take(1).for_each(|used| *used = true);
    }
    if used.iter().all(|used| *used) {
        return;
    }
    let (mut moved, mut kept) = (Vec::with_capacity(used.len()), Vec::new());
    for (labels, used) in std::mem::take(&mut batch.streams).into_iter().zip(used) {
        moved.push(kept.len() as u32);
        if used {
            kept.push(labels);
        }
    }
    for stream in &mut batch.stream {
        *stream = moved.get(*stream as usize).copied().unwrap_or(*stream);
    }
    batch.streams = kept;
}

impl Processor for LineLabels {
    fn process(&self, _: &Origin<'_>, mut processed: Processed) -> Result<Processed, Refusal> {
        if let Batch::Logs(batch) = &mut processed.batch
            && !self.wanted.is_empty()
        {
            self.apply(batch);
        }
        Ok(processed)
    }
}

/// Visits the top level of a JSON object.
struct Fields<'v> {
    of: &'v LineLabels,
    found: &'v mut [Option<(usize, String)>],
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if !self.of.wants(&key) {
                map.next_value::<IgnoredAny>()?;
            } else if let serde_json::Value::String(value) = map.next_value()? {
                self.of.note(&key, &value, self.found);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kenning_model::{LogRow, Nanos, SpanId, TraceId};

    use super::*;

    fn batch(lines: &[&str]) -> LogBatch {
        let (mut batch, labels) =
            (LogBatch::default(), LabelSet::from_pairs([("container", "c"), ("service", "compose")]));
        let stream = batch.add_stream(labels.clone());
        for line in lines {
            let (trace_id, span_id, metadata) = (TraceId::NONE, SpanId::NONE, &LabelSet::empty());
            let (severity, time) = (Severity::UNKNOWN, Nanos(0));
            batch.push(stream, LogRow { stream: &labels, time, severity, trace_id, span_id, line, metadata });
        }
        batch
    }

    fn check(fixed: &[(&str, &str)], line: &str, expect: &str) {
        let names = LineLabels::NAMES.map(str::to_owned);
        let labels = LineLabels::new(&names, &LabelSet::from_pairs(fixed.iter().copied()));
        let mut batch = batch(&[line]);
        labels.apply(&mut batch);
        let shown: Vec<String> =
            batch.row(0).unwrap().stream.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown.join(" "), expect, "{line}");
        assert_eq!(batch.streams.len(), 1);
    }

    #[test]
    fn lines_tell_labels() {
        check(&[], "plain", "container=c service=compose");
        check(&[], r#"{"level":"INFO","service":"api"}"#, "container=c level=INFO service=api");
        check(
            &[],
            r#"{"severity":"warn","level":"ERROR","x":{"level":"z"}}"#,
            "container=c level=ERROR service=compose",
        );
        check(&[], "level=warn service=api msg=x", "container=c level=warn service=api");
        check(&[("service", "s")], r#"{"service":"api","container":"d"}"#, "container=d service=compose");
        check(&[], r#"{"level":"order 17","service":7}"#, "container=c service=compose");
        check(&[], r#"{"level":"info","broken"#, "container=c service=compose");
        check(&[], r#"{"service":"","level":null}"#, "container=c service=compose");
    }

    #[test]
    fn values_are_bounded() {
        let names = LineLabels::NAMES.map(str::to_owned);
        let labels = LineLabels::new(&names, &LabelSet::empty());
        let lines: Vec<String> = (0..200).map(|n| format!("{{\"service\":\"s{n}\"}}")).collect();
        let mut batch = batch(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        labels.apply(&mut batch);
        assert_eq!((batch.len(), batch.streams.len()), (200, VALUES_MAX + 1));
        assert_eq!(batch.row(199).unwrap().stream.get("service"), "compose");
    }
}
