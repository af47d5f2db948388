//! How far files were read, kept in the store beside the records themselves.
//!
//! Positions are log records of a tenant of their own, [`TENANT`], in one stream per source. The record that says how far
//! a batch reached is committed as one unit with the batch ([`kenning_pipeline::Intake::offer_beside`]), so there is
//! no state in which one is there without the other: not after `kill -9`, not after a power cut, not after a backup was
//! restored. A record holds what changed; a *full* record holds everything, so that reading back ends there. Stamps
//! grow strictly, whatever the wall clock does, so the newest record is the last one.

use kenning_model::{
    Block, Field, Filter, Flow, LabelSet, LogBatch, LogRow, Nanos, Order, Scan, ScanError, Severity, SpanId,
    Store, Table, TenantId, TimeRange, TraceId,
};
use kenning_stdx::watched::FileId;
use serde_json::{Map, Value, json};

use super::join::{Key, Starts};

/// The tenant that positions belong to. Nobody else's: receivers write to it only through this module.
const TENANT: &str = "_positions";
const SOURCE: &str = "source";
const FULL: &str = "full";
const LOOKED_AT: &str = "looked_at";

/// Most bytes of positions that are read back.
const LOAD_BYTES_MAX: usize = 256 << 20;

/// What a piece of a file looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print {
    pub len: u64,
    hash: u64,
}

impl Print {
    /// 64 bits of FNV-1a: tells files apart, resists nobody.
    pub fn of(bytes: &[u8]) -> Self {
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self { len: bytes.len() as u64, hash: bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix) }
    }
}

/// How far a file was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub id: FileId,
    /// Where the file was seen last.
    pub path: String,
    /// Where it was seen first, which is what its streams are named after.
    pub origin: String,
    /// Every line that began before was taken in.
    pub offset: u64,
    /// True inside the rest of an endless line.
    pub is_skipping: bool,
    /// The file's first bytes.
    pub head: Print,
    /// The bytes before `offset`.
    pub tail: Print,
    /// Lines taken in that are part of no record yet, by where they begin.
    pub starts: Starts,
}

impl Position {
    fn to_json(&self) -> Value {
        let print = |print: Print| json!([print.len, format!("{:016x}", print.hash)]);
        let waiting: Map<String, Value> = Key::ALL
            .iter()
            .filter_map(|key| {
                let start = self.starts.get(key.place()).copied().flatten()?;
                Some((key.as_str().to_owned(), start.into()))
            })
            .collect();
        json!({
            "device": self.id.device, "inode": self.id.inode, "path": self.path, "origin": self.origin,
            "offset": self.offset, "skipping": self.is_skipping,
            "head": print(self.head), "tail": print(self.tail), "waiting": waiting,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let number = |name: &str| value.get(name)?.as_u64();
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let print = |name: &str| {
            let parts = value.get(name)?;
            let hash = u64::from_str_radix(parts.get(1)?.as_str()?, 16).ok()?;
            Some(Print { len: parts.get(0)?.as_u64()?, hash })
        };
        let start = |key: Key| value.get("waiting")?.get(key.as_str())?.as_u64();
        Some(Self {
            id: FileId { device: number("device")?, inode: number("inode")? },
            path: text("path")?,
            origin: text("origin")?,
            offset: number("offset")?,
            is_skipping: value.get("skipping")?.as_bool()?,
            head: print("head")?,
            tail: print("tail")?,
            starts: Key::ALL.map(start),
        })
    }
}

/// What is known of a source after a start.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub positions: Vec<Position>,
    /// The stamp of the newest record; `None` when the source was never used.
    pub newest: Option<Nanos>,
    /// When rotated files were looked for last, by the wall clock.
    pub looked_at: Option<Nanos>,
}

/// What a record says besides positions.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    /// Files that are not among the record's are forgotten.
    pub is_full: bool,
    /// Its place in the order of records.
    pub stamp: Nanos,
    /// When rotated files were looked for last, by the wall clock.
    pub looked_at: Nanos,
}

/// Where positions are committed.
pub(super) fn tenant() -> Option<TenantId> {
    TenantId::parse(TENANT).ok()
}

/// A record of positions.
pub(super) fn record<'a>(
    source: &str,
    positions: impl Iterator<Item = &'a Position>,
    about: About,
) -> LogBatch {
    let lines: Vec<_> = positions.map(|position| position.to_json().to_string()).collect();
    let looked_at = about.looked_at.0.to_string();
    let full = about.is_full.then_some((FULL, "true"));
    let metadata = LabelSet::from_pairs(full.into_iter().chain([(LOOKED_AT, looked_at.as_str())]));
    let mut batch = LogBatch::default();
    let stream = LabelSet::from_pairs([(SOURCE, source)]);
    let place = batch.add_stream(stream.clone());
    let row = LogRow {
        stream: &stream,
        time: about.stamp,
        severity: Severity::UNKNOWN,
        trace_id: TraceId::NONE,
        span_id: SpanId::NONE,
        line: &lines.join("\n"),
        metadata: &metadata,
    };
    batch.push(place, row);
    batch
}

/// Reads the positions of a source back.
pub(super) fn load(store: &dyn Store, source: &str) -> Result<Loaded, ScanError> {
    let Some(tenant) = tenant() else { return Ok(Loaded::default()) };
    let filter = Filter::eq(Field::Label(SOURCE.into()), source);
    let mut scan = Scan::rows(tenant, Table::Logs, TimeRange::ALL, filter);
    (scan.order, scan.bytes_max) = (Order::NewestFirst, LOAD_BYTES_MAX);
    let (mut loaded, mut is_done) = (Loaded::default(), false);
    store.scan(&scan, &mut |block| {
        let Block::Logs(batch) = block else { return Flow::More };
        for row in batch.rows() {
            if is_done {
                return Flow::Stop;
            }
            if loaded.newest.is_none() {
                loaded.newest = Some(row.time);
                loaded.looked_at = row.metadata.get(LOOKED_AT).parse().map(Nanos).ok();
            }
            loaded.add(row.line);
            is_done = !row.metadata.get(FULL).is_empty();
        }
        if is_done { Flow::Stop } else { Flow::More }
    })?;
    Ok(loaded)
}

impl Loaded {
    /// Takes an older record than all before.
    fn add(&mut self, line: &str) {
        let read = |line: &str| Position::from_json(&serde_json::from_str(line).ok()?);
        for position in line.lines().filter_map(read) {
            if !self.positions.iter().any(|known| known.id == position.id) {
                self.positions.push(position);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_model::{Batch, BatchId, Write};
    use kenning_query::MemoryStore;

    fn position(inode: u64, offset: u64) -> Position {
        Position {
            id: FileId { device: 7, inode },
            path: "/var/log/\"ä\n.1".into(),
            origin: "/var/log/a".into(),
            offset,
            is_skipping: inode == 2,
            head: Print::of(b"head"),
            tail: Print::of(b"tail"),
            starts: [None, Some(3), Some(u64::MAX)],
        }
    }

    #[test]
    fn the_newest_positions_are_read_back_up_to_the_last_full_record() {
        let store = MemoryStore::default();
        let records = [
            (1, vec![position(1, 10), position(9, 1)], true),
            (2, vec![position(1, 20), position(2, 1)], true),
            (3, vec![position(2, 5)], false),
            (4, vec![position(3, 6)], false),
        ];
        for (stamp, positions, is_full) in records {
            let about = About { is_full, stamp: Nanos(stamp), looked_at: Nanos(stamp * 10) };
            let batch = Batch::Logs(record("s", positions.iter(), about));
            let id = BatchId(stamp as u64);
            store.write(&[Write { id, tenant: tenant().unwrap(), batch }]).unwrap();
        }
        let mut loaded = load(&store, "s").unwrap();
        loaded.positions.sort_by_key(|position| position.id);
        assert_eq!(loaded.positions, [position(1, 20), position(2, 5), position(3, 6)]);
        assert_eq!((loaded.newest, loaded.looked_at), (Some(Nanos(4)), Some(Nanos(40))));
        assert_eq!(load(&store, "other").unwrap().newest, None);
    }

    #[test]
    fn an_empty_record_says_that_the_source_was_used() {
        let store = MemoryStore::default();
        let about = About { is_full: true, stamp: Nanos(5), looked_at: Nanos(5) };
        let batch = Batch::Logs(record("s", [].iter(), about));
        store.write(&[Write { id: BatchId(1), tenant: tenant().unwrap(), batch }]).unwrap();
        let loaded = load(&store, "s").unwrap();
        assert_eq!((loaded.positions.len(), loaded.newest), (0, Some(Nanos(5))));
    }
}
