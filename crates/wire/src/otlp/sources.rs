//! What resources and scopes of log records come to, across requests: a sender repeats both with every request, byte for
//! byte, so their attributes need not be read again, and records that differ in nothing but time and line share one set
//! of structured metadata however many requests they came in.
//!
//! Promises: a hit gives what reading would have given: the bytes are compared, not only their hash, and so are the
//! limits and the names of stream labels. Memory is bounded; sources that are silent for a while are forgotten
//! generation by generation. Absent: sources that were refused, which are read and refused anew each time.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, RwLockReadGuard};

use kenning_model::keyed::{Prehashed, keyed_hash};
use kenning_model::{LabelSet, Severity};

use super::OtlpOptions;
use crate::generations::{self, Generations, Remembered};
use crate::limits::DecodeLimits;

/// Bytes of an entry beside its texts: the entry, its place in the table, the sets of its severities.
const ENTRY_BYTES: usize = 1024;

/// Most sources of one request that are remembered.
const FRESH_MAX: usize = 4096;

/// Severity numbers of OpenTelemetry, and zero for none.
const SEVERITIES: usize = 25;

/// Known sources. Shared by all requests.
#[derive(Debug, Default)]
pub struct LogSources(Remembered<Generation>);

#[derive(Debug, Default)]
struct Generation {
    by_hash: HashMap<u64, Entry, Prehashed>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    sent: Arc<[u8]>,
    /// Under which it was read.
    limits: Arc<DecodeLimits>,
    stream_attributes: Arc<[String]>,
    source: Arc<Source>,
}

/// What a resource and a scope give to all records under them.
#[derive(Debug)]
pub(super) struct Source {
    /// The stream's.
    pub labels: LabelSet,
    /// Structured metadata.
    pub metadata: LabelSet,
    /// Entries of structured metadata before those of one name became one: the limit counts them all.
    pub entries: usize,
    finished: [OnceLock<Box<Finished>>; SEVERITIES],
}

/// What records have that add nothing but a severity, and that one told.
#[derive(Debug)]
pub(super) struct Finished {
    severity_text: Box<str>,
    pub severity: Severity,
    pub metadata: LabelSet,
}

/// What a request is read with and brings.
pub(super) struct Reading<'a> {
    sources: &'a LogSources,
    known: RwLockReadGuard<'a, Generations<Generation>>,
    limits: &'a DecodeLimits,
    options: &'a OtlpOptions,
    fresh: Vec<(u64, Entry)>,
    sent: Vec<u8>,
}

/// Where a source will stand that was not found.
pub(super) struct Vacant(u64);

impl LogSources {
    /// Nothing known yet, and never more than about so many bytes; 0 remembers nothing.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self(Remembered::new(bytes_max))
    }

    pub(super) fn read<'a>(&'a self, limits: &'a DecodeLimits, options: &'a OtlpOptions) -> Reading<'a> {
        Reading { sources: self, known: self.0.read(), limits, options, fresh: Vec::new(), sent: Vec::new() }
    }
}

impl Generation {
    fn find(&self, hash: u64, is: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        self.by_hash.get(&hash).filter(|entry| is(entry))
    }
}

impl generations::Generation for Generation {
    type Fresh = (u64, Entry);

    fn bytes_of((_, entry): &Self::Fresh) -> usize {
        entry.bytes()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    /// Of two sources with one hash the later is found; two requests may bring one at once.
    fn add(&mut self, (hash, entry): Self::Fresh) {
        let bytes = entry.bytes();
        let before = self.by_hash.insert(hash, entry).map_or(0, |before| before.bytes());
        self.bytes = (self.bytes + bytes).saturating_sub(before);
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        let Source { labels, metadata, .. } = &*self.source;
        // Each severity may come to have a set of its own.
        ENTRY_BYTES + self.sent.len() + labels.heap_bytes() + 6 * metadata.heap_bytes()
    }

    fn is(&self, sent: &[u8], reading: &Reading<'_>) -> bool {
        *self.sent == *sent
            && Arc::ptr_eq(&self.stream_attributes, &reading.options.stream_attributes)
            && *self.limits == *reading.limits
    }
}

impl Reading<'_> {
    /// What the bytes of a resource and of a scope come to, if it is known.
    pub fn find(&mut self, resource: &[u8], scope: &[u8]) -> Result<Arc<Source>, Vacant> {
        self.sent.clear();
        self.sent.extend_from_slice(&(resource.len() as u64).to_le_bytes());
        self.sent.extend_from_slice(resource);
        self.sent.extend_from_slice(scope);
        let hash = keyed_hash(&self.sent);
        let of = |generation| Generation::find(generation, hash, |entry| entry.is(&self.sent, self));
        if let Some(entry) = of(&self.known.current) {
            return Ok(Arc::clone(&entry.source));
        }
        let entry = of(&self.known.previous).cloned().ok_or(Vacant(hash))?;
        let source = Arc::clone(&entry.source);
        self.push(hash, entry);
        Ok(source)
    }

    /// Takes a source whose bytes were looked for last.
    pub fn add(&mut self, Vacant(hash): Vacant, source: &Arc<Source>) {
        let entry = Entry {
            sent: self.sent.as_slice().into(),
            limits: Arc::new(self.limits.clone()),
            stream_attributes: Arc::clone(&self.options.stream_attributes),
            source: Arc::clone(source),
        };
        self.push(hash, entry);
    }

    fn push(&mut self, hash: u64, entry: Entry) {
        if self.fresh.len() < FRESH_MAX {
            self.fresh.push((hash, entry));
        }
    }

    /// Remembers what the request brought.
    pub fn finish(self) {
        let Self { sources, known, fresh, .. } = self;
        drop(known);
        sources.0.remember(fresh);
    }
}

impl Source {
    pub fn new(labels: LabelSet, metadata: LabelSet, entries: usize) -> Self {
        Self { labels, metadata, entries, finished: [const { OnceLock::new() }; SEVERITIES] }
    }

    /// What a record has that adds nothing but this severity, made when it is asked for first. `None` where another text
    /// has the place of its number.
    pub fn finished(
        &self,
        (number, text): (u8, &str),
        make: impl FnOnce() -> (LabelSet, Severity),
    ) -> Option<&Finished> {
        let made = self.finished.get(usize::from(number))?.get_or_init(|| {
            let (metadata, severity) = make();
            Box::new(Finished { severity_text: text.into(), severity, metadata })
        });
        (*made.severity_text == *text).then_some(&**made)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, decode_logs};
    use super::*;
    use crate::protobuf::Writer;
    use proptest::collection::vec;
    use proptest::prelude::*;

    type Pairs = Vec<(String, String)>;

    /// A resource, a scope, and severity and attributes of the records under them.
    #[derive(Clone, Debug)]
    struct Group {
        /// Several stand for one resource in pieces.
        resources: Vec<Pairs>,
        scope: (String, Pairs),
        records: Vec<(u8, String, Pairs)>,
        schema_url: Vec<u8>,
    }

    fn attributes(out: &mut Writer, number: u32, pairs: &Pairs) {
        for (key, value) in pairs {
            out.message(number, |pair| {
                pair.text(1, key);
                pair.message(2, |out| out.bytes(1, value.as_bytes()));
            });
        }
    }

    fn request(groups: &[Group]) -> Vec<u8> {
        let mut writer = Writer::default();
        for group in groups {
            writer.message(1, |out| {
                for resource in &group.resources {
                    out.message(1, |out| attributes(out, 1, resource));
                }
                out.message(2, |out| {
                    out.message(1, |out| {
                        out.text(1, &group.scope.0);
                        attributes(out, 3, &group.scope.1);
                    });
                    out.bytes(3, &group.schema_url);
                    for (severity, text, own) in &group.records {
                        out.message(2, |out| {
                            out.varint(2, u64::from(*severity));
                            out.text(3, text);
                            out.message(5, |out| out.bytes(1, b"level=warn a line"));
                            attributes(out, 6, own);
                        });
                    }
                });
            });
        }
        writer.finish()
    }

    fn pairs() -> impl Strategy<Value = Pairs> {
        let name = prop_oneof![Just("service.name"), Just("host.name"), Just("a"), Just("detected_level")];
        vec((name.prop_map(str::to_owned), "[xy]{0,3}"), 0..4)
    }

    fn group() -> impl Strategy<Value = Group> {
        let record = (0u8..27, "(INFO|error)?", prop_oneof![3 => Just(Pairs::new()), 1 => pairs()]);
        let url = prop_oneof![9 => Just(b"u".to_vec()), 1 => Just(vec![0xff])];
        (vec(pairs(), 0..3), ("s?", pairs()), vec(record, 0..4), url).prop_map(
            |(resources, scope, records, schema_url)| Group { resources, scope, records, schema_url },
        )
    }

    proptest! {
        #[test]
        fn what_is_remembered_is_what_reading_gives(
            requests in vec(vec(group(), 0..4), 1..5),
            order in vec(0usize..5, 1..8),
            bytes_max in prop_oneof![Just(0usize), Just(12_000), Just(1 << 20)],
            labels_max in 1usize..4,
        ) {
            let plain = OtlpOptions::new(kenning_model::Nanos(7));
            let known = OtlpOptions { known_sources: Arc::new(LogSources::new(bytes_max)), ..plain.clone() };
            let other = OtlpOptions { stream_attributes: Arc::new(["a".to_owned()]), ..known.clone() };
            for (at, number) in order.iter().enumerate() {
                let Some(groups) = requests.get(*number) else { continue };
                let limits = match at % 3 {
                    0 => DecodeLimits { labels: labels_max, ..DecodeLimits::default() },
                    _ => DecodeLimits::default(),
                };
                let options = if at % 4 == 3 { &other } else { &known };
                let plain =
                    OtlpOptions { stream_attributes: Arc::clone(&options.stream_attributes), ..plain.clone() };
                let body = request(groups);
                let expect = decode_logs(&body, Format::Protobuf, &limits, &plain).unwrap();
                let got = decode_logs(&body, Format::Protobuf, &limits, options).unwrap();
                prop_assert_eq!(expect.batch, got.batch);
                prop_assert_eq!(format!("{:?}", expect.rejected), format!("{:?}", got.rejected));
            }
        }
    }

    #[test]
    fn records_of_many_requests_share_their_metadata_and_memory_is_bounded() {
        let options = OtlpOptions {
            known_sources: Arc::new(LogSources::new(64 << 10)),
            ..OtlpOptions::new(kenning_model::Nanos(7))
        };
        let body = |name: &str| {
            request(&[Group {
                resources: vec![vec![("host.arch".to_owned(), name.to_owned())]],
                scope: ("s".to_owned(), Pairs::new()),
                records: vec![(9, String::new(), Pairs::new())],
                schema_url: Vec::new(),
            }])
        };
        let metadata = |name: &str| {
            let read = decode_logs(&body(name), Format::Protobuf, &DecodeLimits::default(), &options);
            read.unwrap().batch.metadata.remove(0)
        };
        let first = metadata("arm64");
        assert!(first.is_same(&metadata("arm64")));
        assert_eq!(first.get("host_arch"), "arm64");
        for number in 0..1000 {
            metadata(&number.to_string());
            let known = options.known_sources.0.read();
            assert!(known.current.bytes.max(known.previous.bytes) <= 32 << 10);
            let held: usize = known.current.by_hash.values().map(Entry::bytes).sum();
            assert_eq!(held, known.current.bytes);
        }
        let again = metadata("arm64");
        assert!(!first.is_same(&again) && first == again);
    }
}
