//! Redacts what a batch holds.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use kenning_model::{
    Attributes, Batch, LabelSet, LogBatch, MetricBatch, Span, SpanBatch, SpanSource, TextColumn, Value,
    ValueRef,
};

use super::key::Rule;
use super::{Kind, KindNumber, Redactor, Scratch, Tally};

/// Most records after a private key block's begin that are looked at for the rest of it.
const BLOCK_ROWS_MAX: usize = 256;
/// Sets of metadata of which it is remembered within a batch what they became.
const KNOWN_METADATA: usize = 8;
/// Deepest nesting of lists and maps that is looked into; deeper values are dropped by decoders.
const DEPTH_MAX: usize = 32;

impl Redactor {
    /// Takes what is looked for out of a batch: lines and structured metadata of logs, attributes, names and status
    /// messages of spans, labels of exemplars.
    pub fn redact_batch(&self, batch: &mut Batch) -> Tally {
        let mut work = Work { redactor: self, scratch: Scratch::default(), tally: Tally::default() };
        match batch {
            Batch::Logs(batch) => work.logs(batch),
            Batch::Spans(batch) => work.spans(batch),
            Batch::Metrics(batch) => work.metrics(batch),
        }
        work.tally
    }
}

struct Work<'a> {
    redactor: &'a Redactor,
    scratch: Scratch,
    tally: Tally,
}

impl Work<'_> {
    fn text(&mut self, text: &str) -> Option<String> {
        self.redactor.redact(text, &mut self.scratch, &mut self.tally)
    }

    fn logs(&mut self, batch: &mut LogBatch) {
        self.lines(batch);
        // Records share few sets of metadata, some with those of earlier batches. Sets in which nothing was found bear a
        // mark; what became of the last others is known.
        let clean = self.redactor.clean_mark;
        let mut known: VecDeque<(LabelSet, LabelSet)> = VecDeque::new();
        for metadata in &mut batch.metadata {
            if metadata.is_empty() || metadata.mark() == clean {
                continue;
            }
            if let Some((_, after)) = known.iter().find(|(before, _)| before == metadata) {
                metadata.clone_from(after);
                continue;
            }
            match self.labels(metadata) {
                None => metadata.set_mark(clean),
                Some(after) => {
                    known.truncate(KNOWN_METADATA - 1);
                    known.push_front((metadata.clone(), after.clone()));
                    *metadata = after;
                }
            }
        }
    }

    fn lines(&mut self, batch: &mut LogBatch) {
        let mut column: Option<TextColumn> = None;
        // Streams within a private key block, and for how many more records.
        let mut blocks: HashMap<u32, usize> = HashMap::new();
        for row in 0..batch.line.len() {
            let line = batch.line.get(row);
            let stream = batch.stream.get(row).copied().unwrap_or_default();
            let changed = match self.rest_of_block(line, stream, &mut blocks) {
                Some(replacement) => Some(replacement),
                None => self.text(line),
            };
            if self.scratch.is_block_open {
                self.scratch.is_block_open = false;
                blocks.insert(stream, BLOCK_ROWS_MAX);
            }
            match (&mut column, changed) {
                (None, None) => {}
                (Some(column), changed) => column.push(changed.as_deref().unwrap_or(line)),
                (none, Some(changed)) => {
                    let mut fresh = TextColumn::default();
                    (0..row).for_each(|before| fresh.push(batch.line.get(before)));
                    fresh.push(&changed);
                    *none = Some(fresh);
                }
            }
        }
        if let Some(column) = column {
            batch.line = column;
        }
    }

    /// The replacement for a line of a private key block that began in an earlier record of the stream.
    fn rest_of_block(&mut self, line: &str, stream: u32, blocks: &mut HashMap<u32, usize>) -> Option<String> {
        let left = blocks.get_mut(&stream)?;
        let line = line.trim();
        let is_end = line.contains("-----END") || line.contains("---- END");
        let is_body = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b':' | b'-' | b',' | b' ')
        };
        let is_block = line.bytes().all(is_body) && (!line.contains(' ') || line.contains(": "));
        *left = left.saturating_sub(1);
        if is_end || !is_block || *left == 0 {
            blocks.remove(&stream);
        }
        (is_block && !is_end && !line.is_empty()).then(|| {
            let kind = KindNumber::from(Kind::PrivateKey);
            self.tally.add(kind);
            self.redactor.replacement(kind).unwrap_or_default().to_owned()
        })
    }

    fn labels(&mut self, labels: &LabelSet) -> Option<LabelSet> {
        let mut builder = None;
        for (name, value) in labels.iter() {
            let Self { redactor, scratch, tally } = self;
            if let Some(changed) = redactor.redact_named(name, value, scratch, tally) {
                builder.get_or_insert_with(|| labels.to_builder()).set(name, &changed);
            }
        }
        builder.map(kenning_model::LabelSetBuilder::build)
    }

    fn metrics(&mut self, batch: &mut MetricBatch) {
        for exemplar in &mut batch.exemplars {
            if let Some(labels) = self.labels(&exemplar.labels) {
                exemplar.labels = labels;
            }
        }
    }

    fn spans(&mut self, batch: &mut SpanBatch) {
        for source in &mut batch.sources {
            let (resource, scope) = (self.attributes(&source.resource), self.attributes(&source.scope));
            if resource.is_some() || scope.is_some() {
                let mut changed = SpanSource::clone(source);
                changed.resource = resource.unwrap_or(changed.resource);
                changed.scope = scope.unwrap_or(changed.scope);
                *source = Arc::new(changed);
            }
        }
        batch.spans.iter_mut().for_each(|span| self.span(span));
    }

    fn span(&mut self, span: &mut Span) {
        for text in [&mut span.name, &mut span.status_message] {
            if let Some(changed) = self.text(text) {
                *text = changed;
            }
        }
        let events = span.events.iter_mut().map(|event| &mut event.attributes);
        let links = span.links.iter_mut().map(|link| &mut link.attributes);
        for attributes in events.chain(links).chain([&mut span.attributes]) {
            if let Some(changed) = self.attributes(attributes) {
                *attributes = changed;
            }
        }
    }

    fn attributes(&mut self, attributes: &Attributes) -> Option<Attributes> {
        let changed: Vec<Option<Value>> =
            attributes.iter().map(|(name, value)| self.attribute(name, &value)).collect();
        if changed.iter().all(Option::is_none) {
            return None;
        }
        let mut builder = Attributes::builder();
        for ((name, value), changed) in attributes.iter().zip(changed) {
            match changed {
                Some(changed) => builder.push(name, &changed),
                None => builder.push_ref(name, &value),
            };
        }
        Some(builder.build())
    }

    fn attribute(&mut self, name: &str, value: &ValueRef<'_>) -> Option<Value> {
        match value {
            ValueRef::Empty | ValueRef::Bool(_) | ValueRef::Double(_) => None,
            ValueRef::Str(text) => {
                let Self { redactor, scratch, tally } = self;
                redactor.redact_named(name, text, scratch, tally).map(Value::Str)
            }
            ValueRef::Int(_) | ValueRef::Bytes(_) => {
                let rule = self.redactor.rule_of(name)?;
                self.ruled(rule, &value.to_string()).map(Value::Str)
            }
            ValueRef::Nested(tree) => {
                let rule = self.redactor.rule_of(name);
                let mut tree = Value::clone(tree);
                self.nested(rule, &mut tree, 0).then_some(tree)
            }
        }
    }

    fn ruled(&mut self, rule: Rule, text: &str) -> Option<String> {
        let Self { redactor, scratch, tally } = self;
        redactor.redact_ruled(rule, text, scratch, tally)
    }

    /// True when something in the tree was replaced.
    fn nested(&mut self, rule: Option<Rule>, value: &mut Value, depth: usize) -> bool {
        if depth > DEPTH_MAX {
            return false;
        }
        let changed = match value {
            Value::Str(text) => match rule {
                Some(rule) => self.ruled(rule, text),
                None => self.text(text),
            },
            Value::Int(number) => rule.and_then(|rule| self.ruled(rule, &number.to_string())),
            Value::Array(items) => {
                // `["--password", "..."]`: a flag and what it is set to.
                let (mut any, mut flag) = (false, None);
                for item in items {
                    let own = rule.or(flag.take());
                    flag = match item {
                        Value::Str(text) if text.starts_with('-') && !text.contains('=') => {
                            self.redactor.rule_of(text)
                        }
                        _ => None,
                    };
                    any |= self.nested(own, item, depth + 1);
                }
                return any;
            }
            Value::Map(pairs) => {
                let mut any = false;
                for (name, item) in pairs {
                    let own = self.redactor.rule_of(name).or(rule);
                    any |= self.nested(own, item, depth + 1);
                }
                return any;
            }
            Value::Empty | Value::Bool(_) | Value::Double(_) | Value::Bytes(_) => None,
        };
        match changed {
            Some(changed) => *value = Value::Str(changed),
            None => return false,
        }
        true
    }
}
