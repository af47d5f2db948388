//! Parts of log records: row groups that follow each other in time, inside sorted by service, stream and time. What is
//! newest lies close together, however many streams there are, and so does what is of one service.

use std::collections::HashMap;
use std::iter::once_with;
use std::ops::Range;

use kenning_model::keyed::Prehashed;
use kenning_model::{Field, LabelSet, LogBatch, LogRow, Nanos, Severity, SpanId, TimeRange, TraceId};
use parquet::basic::Encoding;
use parquet::data_type::{ByteArray, FixedLenByteArray};

use super::group::{LogGroup, Parts};
use super::index::{Form, GroupIndex, INDEX_KEY, INDEX_KEY_2, LogIndex, PAGE_ROWS, Run};
use super::kind::Kind;
use super::plan::{Filled, Filler, Plan, PlannedColumn, Unwritten};
use super::stream_list::StreamList;
use super::streams::{Passing, StreamFacts};
use crate::delete::Hidden;
use crate::parts::columns::{
    Column, GroupReader, Layout, Leaf, TableReader, TableWriter, VERSION_LOGS, Values, spread, text_of,
};
use crate::parts::labels::{MapColumn, MapLeaf, SeriesRun, map_columns, on_first_rows, read_map, read_runs};
use crate::parts::part::Draft;
use crate::parts::{PartError, PartTable, damaged};

/// Rows of a row group.
const GROUP_ROWS: usize = 64 << 10;
/// Streams with the same value of this label, which every receiver sees to, lie side by side: most questions are about one
/// service, and need not read the pages of others then.
const SERVICE: &str = "service_name";
/// Bytes of lines in a row group after which it is closed.
const GROUP_LINE_BYTES: usize = 16 << 20;
/// Rows whose structured metadata are made columns at once.
const METADATA_PIECE_ROWS: usize = 4096;

/// The columns that every part has; those of fields follow.
const SCHEMA: &str = "required int32 stream;
    required group labels (MAP) { repeated group key_value {
        required binary key (STRING); required binary value (STRING); } }
    required int64 time (TIMESTAMP(UNIT,true));
    required int64 arrival;
    required int32 severity;
    optional fixed_len_byte_array(16) trace_id;
    optional fixed_len_byte_array(8) span_id;
    optional binary line (STRING);
    required group metadata (MAP) { repeated group key_value {
        required binary key (STRING); required binary value (STRING); } }
    optional int32 template;
";
const ENCODINGS: &[(&str, Encoding)] = &[
    ("time", Encoding::DELTA_BINARY_PACKED),
    ("arrival", Encoding::DELTA_BINARY_PACKED),
    ("trace_id", Encoding::PLAIN),
    ("span_id", Encoding::PLAIN),
    ("line", Encoding::DELTA_LENGTH_BYTE_ARRAY),
];

pub(super) const TIME: usize = 3;
pub(super) const ARRIVAL: usize = 4;
pub(super) const SEVERITY: usize = 5;
pub(super) const TRACE_ID: usize = 6;
pub(super) const SPAN_ID: usize = 7;
pub(super) const LINE: usize = 8;
pub(super) const METADATA: usize = 9;
pub(super) const TEMPLATE: usize = 11;

/// Names of structured metadata that an index lists at most.
const METADATA_NAMES_MAX: usize = 256;

/// Records on their way into a part.
pub(crate) struct Source<'a> {
    pub(crate) batch: &'a LogBatch,
    pub(crate) arrivals: Arrivals<'a>,
}

/// Places in the order of arrival; no two records of a part have the same.
pub(crate) enum Arrivals<'a> {
    /// That of the first record; the others follow.
    From(u64),
    /// Of each record.
    Each(&'a [u64]),
}

impl Source<'_> {
    fn arrival(&self, row: usize) -> u64 {
        match self.arrivals {
            Arrivals::From(first) => first + row as u64,
            Arrivals::Each(each) => each.get(row).copied().unwrap_or(0),
        }
    }
}

/// A record and its place among those of its time.
type Arrived<'a> = (LogRow<'a>, u64);

/// Where a record is. Compares by time, then by arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    time: Nanos,
    arrival: u64,
    source: u32,
    row: u32,
}

/// Writes the records of a range as one part. Row groups follow each other in time; inside, records are sorted by service,
/// stream and time.
pub(crate) fn write(sources: &[Source<'_>], range: TimeRange) -> Result<Option<Draft>, PartError> {
    let mut places = places_in(sources, range);
    let (Some(first), Some(last)) = (places.first(), places.last()) else { return Ok(None) };
    let time = TimeRange { start: first.time, end: last.time };
    rank_arrivals(&mut places);
    let streams = Streams::of(sources, &places)?;
    let batch = |place: &Place| sources.get(place.source as usize).map(|source| source.batch);
    let row = |place: &Place| batch(place)?.row(place.row as usize);
    let line = |place: &Place| batch(place).map_or("", |batch| batch.line.get(place.row as usize));
    let line_bytes = |place: &Place| batch(place).map_or(0, |batch| batch.line.bytes_of(place.row as usize));
    let plan = Plan::new(places.iter(), line);
    let (tick, unit) = tick_of(places.iter().map(|place| place.time));
    let mut table = new_table(&plan, tick, unit)?;
    let mut index = LogIndex {
        tick,
        streams: StreamList::of(streams.sets.iter().copied()),
        columns: plan.columns.iter().map(|column| column.kind.clone()).collect(),
        templates: plan.templates.clone(),
        metadata_names: metadata_names(
            places.iter().filter_map(|place| batch(place)?.metadata.get(place.row as usize)),
        ),
        groups: Vec::new(),
    };
    let mut text_bytes = Vec::new();
    for range in group_ranges(places.iter().map(line_bytes)) {
        let mut order: Vec<(u32, &Place)> = places
            .get(range)
            .into_iter()
            .flatten()
            .map(|place| (streams.rank(sources, place), place))
            .collect();
        // Stable: times and arrivals are in order already.
        order.sort_by_key(|(rank, _)| *rank);
        let mut rows: Vec<Arrived<'_>> = Vec::with_capacity(order.len());
        rows.extend(order.iter().filter_map(|(_, place)| Some((row(place)?, place.arrival))));
        let numbers: Vec<i32> = order.iter().map(|(rank, _)| rank.cast_signed()).collect();
        index.groups.push(write_group(
            &mut table,
            (&rows, &numbers),
            &streams.sets,
            (&plan, tick),
            &mut text_bytes,
        )?);
    }
    table.append(INDEX_KEY, &index.encode())?;
    Ok(Some(Draft { table: PartTable::Logs, written: table.finish()?, rows: places.len() as u64, time }))
}

/// The records of a range in the order of time and arrival.
fn places_in(sources: &[Source<'_>], range: TimeRange) -> Vec<Place> {
    let mut places = Vec::with_capacity(sources.iter().map(|source| source.batch.len()).sum());
    for (source, number) in sources.iter().zip(0u32..) {
        for (at, time) in source.batch.time.iter().enumerate().filter(|(_, time)| range.contains(**time)) {
            // A record of a stream that its batch does not hold is kept out here as everywhere.
            if source.batch.row(at).is_some() {
                places.push(Place {
                    time: *time,
                    arrival: source.arrival(at),
                    source: number,
                    row: at as u32,
                });
            }
        }
    }
    places.sort_unstable();
    places
}

/// Replaces places in the order of arrival, which matter only between rows of one time, by the places among those: they
/// are nearly all zero.
fn rank_arrivals(places: &mut [Place]) {
    let (mut before, mut rank) = (None, 0);
    for place in places {
        rank = if before == Some(place.time) { rank + 1 } else { 0 };
        before = Some(place.time);
        place.arrival = rank;
    }
}

/// The streams of a part.
struct Streams<'a> {
    /// Each once, in the order of services, then of labels.
    sets: Vec<&'a LabelSet>,
    /// Per source and stream of its batch the place in `sets`.
    ranks: Vec<Vec<u32>>,
}

impl<'a> Streams<'a> {
    /// The streams that records are of. Equal label sets are found by their hashes and compared only once.
    fn of(sources: &[Source<'a>], places: &[Place]) -> Result<Self, PartError> {
        let mut used: Vec<Vec<bool>> =
            sources.iter().map(|source| vec![false; source.batch.streams.len()]).collect();
        for place in places {
            let stream =
                sources.get(place.source as usize).and_then(|s| s.batch.stream.get(place.row as usize));
            let used = used.get_mut(place.source as usize);
            if let Some(used) = used.zip(stream).and_then(|(used, stream)| used.get_mut(*stream as usize)) {
                *used = true;
            }
        }
        let mut known: HashMap<&LabelSet, u32, Prehashed> = HashMap::default();
        let mut ranks: Vec<Vec<u32>> = Vec::with_capacity(sources.len());
        for (source, used) in sources.iter().zip(&used) {
            let number = |(set, used): (&'a LabelSet, &bool)| {
                let next = known.len() as u32;
                if *used { *known.entry(set).or_insert(next) } else { 0 }
            };
            ranks.push(source.batch.streams.iter().zip(used).map(number).collect());
        }
        let by_service = |(set, number): (&'a LabelSet, u32)| (set.get(SERVICE), set, number);
        let mut order: Vec<(&str, &LabelSet, u32)> = known.into_iter().map(by_service).collect();
        order.sort_unstable();
        i32::try_from(order.len()).map_err(|_| damaged("a part has too many streams"))?;
        let mut moved = vec![0u32; order.len()];
        for ((_, _, number), rank) in order.iter().zip(0u32..) {
            moved.get_mut(*number as usize).into_iter().for_each(|slot| *slot = rank);
        }
        for rank in ranks.iter_mut().flatten() {
            *rank = moved.get(*rank as usize).copied().unwrap_or(0);
        }
        Ok(Self { sets: order.into_iter().map(|(_, set, _)| set).collect(), ranks })
    }

    fn rank(&self, sources: &[Source<'_>], place: &Place) -> u32 {
        let source = place.source as usize;
        let stream = sources.get(source).and_then(|source| source.batch.stream.get(place.row as usize));
        let rank = stream.and_then(|stream| self.ranks.get(source)?.get(*stream as usize));
        rank.copied().unwrap_or(0)
    }
}

fn new_table(plan: &Plan, tick: i64, unit: &str) -> Result<TableWriter, PartError> {
    let fields: String = plan.columns.iter().map(PlannedColumn::schema).collect();
    let schema = format!("message logs {{ {}{fields} }}", SCHEMA.replace("UNIT", unit));
    let mut encodings = ENCODINGS.to_vec();
    encodings.extend(plan.columns.iter().flat_map(PlannedColumn::encodings));
    let is_hash = |column: &&PlannedColumn| matches!(column.kind, Kind::Hex { .. }) && !column.is_dictionary;
    let hashes = plan.columns.iter().filter(is_hash).map(|column| column.name.as_str());
    // Nanoseconds are noise: a twentieth less was all that compression made of them, for a third of the time of queries
    // that count by time.
    let plain: Vec<&str> = (tick == 1).then_some("time").into_iter().chain(hashes).collect();
    let layout = Layout {
        schema: &schema,
        encodings: &encodings,
        plain: &plain,
        bounded: &["time"],
        blooms: &[("trace_id", GROUP_ROWS)],
    };
    TableWriter::with_pages(&layout, PAGE_ROWS, VERSION_LOGS)
}

/// Nanoseconds of the longest unit that all times are whole numbers of, and its name in a schema.
fn tick_of(times: impl Iterator<Item = Nanos> + Clone) -> (i64, &'static str) {
    let units = [(1_000_000, "MILLIS"), (1000, "MICROS")];
    let fits = |tick: &i64| times.clone().all(|time| time.0 % tick == 0);
    units.into_iter().find(|(tick, _)| fits(tick)).unwrap_or((1, "NANOS"))
}

fn metadata_names<'a>(sets: impl Iterator<Item = &'a LabelSet>) -> Option<Vec<Box<str>>> {
    let mut names = std::collections::BTreeSet::new();
    let mut before: Option<&LabelSet> = None;
    for set in sets.filter(|set| !set.is_empty()) {
        // Sets that differ have the same names more often than not.
        let own = || set.iter().map(|(name, _)| name);
        if before.is_none_or(|before| before != set && !before.iter().map(|(name, _)| name).eq(own())) {
            names.extend(own());
        }
        before = Some(set);
        if names.len() > METADATA_NAMES_MAX {
            return None;
        }
    }
    Some(names.into_iter().map(Box::from).collect())
}

/// The runs of streams in a row group.
fn runs_of(rows: &[Arrived<'_>], numbers: &[i32]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, ((row, _), number)) in rows.iter().zip(numbers).enumerate() {
        match runs.last_mut() {
            Some(run) if run.stream == *number as u32 => {
                run.rows += 1;
                run.time.end = row.time;
                run.line_bytes += row.line.len() as u64;
            }
            _ => runs.push(Run {
                stream: *number as u32,
                start: at,
                rows: 1,
                time: TimeRange { start: row.time, end: row.time },
                line_bytes: row.line.len() as u64,
            }),
        }
    }
    runs
}

/// Cuts rows into row groups, by number and by the lengths of their lines.
fn group_ranges(lines: impl ExactSizeIterator<Item = usize>) -> Vec<Range<usize>> {
    let (mut ranges, mut start, mut bytes, rows) = (Vec::new(), 0, 0, lines.len());
    for (at, line) in lines.enumerate() {
        if at - start == GROUP_ROWS || (bytes >= GROUP_LINE_BYTES && at > start) {
            ranges.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += line;
    }
    ranges.push(start..rows);
    ranges
}

/// A column of structured metadata, piece by piece: records of OpenTelemetry have a handful of pairs each, and all at once
/// they would be the largest column by far.
fn metadata_leaf<'r>(rows: &'r [Arrived<'r>], leaf: MapLeaf) -> Leaf<'r> {
    let mut column = MapColumn::new(leaf);
    let pieces = rows.chunks(METADATA_PIECE_ROWS);
    let sets = |rows: &'r [Arrived<'r>]| rows.iter().map(|(row, _)| Some(row.metadata));
    Leaf::Pieces(Box::new(pieces.map(move |rows| column.of(sets(rows)))))
}

/// Writes rows, which are sorted by the numbers of their streams. Each column is made when it is its turn, so that a
/// group takes little more memory than the texts of its lines. `text_bytes` says how much room those of the group before
/// took, column by column.
fn write_group(
    table: &mut TableWriter,
    (rows, numbers): (&[Arrived<'_>], &[i32]),
    streams: &[&LabelSet],
    (plan, tick): (&Plan, i64),
    text_bytes: &mut Vec<usize>,
) -> Result<GroupIndex, PartError> {
    let set_of = |number: i32| streams.get(number as usize).copied();
    let trace = |id: TraceId| (!id.is_none()).then(|| FixedLenByteArray::from(id.0.to_vec()));
    let span = |id: SpanId| (!id.is_none()).then(|| FixedLenByteArray::from(id.0.to_vec()));
    let mut filler = Filler::new(plan, rows.len(), text_bytes);
    rows.iter().for_each(|(row, _)| filler.add(row.line));
    let Filled { lines, templates, fields, grams, values } = filler.finish(text_bytes);
    let time = || Values::I64(rows.iter().map(|(row, _)| row.time.0 / tick).collect());
    let arrival = || Values::I64(rows.iter().map(|(_, arrival)| arrival.cast_signed()).collect());
    let severity = || Values::I32(rows.iter().map(|(row, _)| i32::from(row.severity.0)).collect());
    let before = once_with(|| Column::required(Values::I32(numbers.to_vec())))
        .chain(once_with(|| map_columns(on_first_rows(numbers, &set_of))).flatten())
        .chain(once_with(|| Column::required(time())))
        .chain(once_with(|| Column::required(arrival())))
        .chain(once_with(|| Column::required(severity())))
        .chain(once_with(|| Column::optional(rows.iter().map(|(row, _)| trace(row.trace_id)), Values::Fixed)))
        .chain(once_with(|| Column::optional(rows.iter().map(|(row, _)| span(row.span_id)), Values::Fixed)))
        .chain(once_with(|| lines.columns()).flatten());
    let behind = once_with(|| templates).chain(fields.into_iter().flat_map(Unwritten::columns));
    let leaves = before
        .map(Leaf::Whole)
        .chain([MapLeaf::Keys, MapLeaf::Values].into_iter().map(|leaf| metadata_leaf(rows, leaf)))
        .chain(behind.map(Leaf::Whole));
    table.write_leaves(leaves)?;
    let has_ties = rows.iter().any(|(_, arrival)| *arrival > 0);
    Ok(GroupIndex::new(runs_of(rows, numbers), grams, values, has_ties))
}

/// The index of a part; none for parts of version 1, whose lines are whole.
pub(crate) fn index_of(reader: &TableReader) -> Result<Option<LogIndex>, PartError> {
    let index = match reader.appended(INDEX_KEY)? {
        Some(bytes) => LogIndex::decode(&bytes, Form::Third)?,
        None => match reader.appended(INDEX_KEY_2)? {
            Some(bytes) => LogIndex::decode(&bytes, Form::Second)?,
            None => return Ok(None),
        },
    };
    if index.groups.len() == reader.groups() {
        Ok(Some(index))
    } else {
        Err(damaged("the index of a part of logs has another number of row groups"))
    }
}

/// All records of a part, row group by row group, with their places in the order of arrival.
pub(crate) fn read_all(
    reader: &TableReader,
    mut see: impl FnMut(LogBatch, Vec<u64>),
) -> Result<(), PartError> {
    let index = index_of(reader)?;
    let wanted = Wanted { range: TimeRange::ALL, stream: &|_| true, traces: None, lines: true };
    for at in 0..reader.groups() {
        let group = reader.group(at)?;
        let (batch, arrivals) = match index.as_ref().and_then(|index| Some((index, index.groups.get(at)?))) {
            Some((index, of)) => read_group(LogGroup::new(group, index, of, StreamFacts::default())?)?,
            None => read(&group, &wanted)?,
        };
        see(batch, arrivals);
    }
    Ok(())
}

fn read_group(mut group: LogGroup<'_>) -> Result<(LogBatch, Vec<u64>), PartError> {
    let all = group.in_range(TimeRange::ALL, &Passing::all())?;
    group.times(&all)?;
    group.prepare(&all, Parts::ALL)?;
    group.arrivals(&all)?;
    let arrivals: Vec<u64> = all.iter().map(|row| group.arrival(row)).collect();
    let (mut batch, mut line) = (LogBatch::default(), String::new());
    let mut before = None;
    let mut stream = 0;
    group.for_each_run(&all, |run, labels, row| {
        if before != Some(run.stream) {
            before = Some(run.stream);
            stream = batch.add_stream(labels.clone());
        }
        batch.push(stream, group.row(row, labels, Parts::ALL, &mut line)?);
        Ok(())
    })?;
    Ok((batch, arrivals))
}

/// What of a row group is wanted.
pub(crate) struct Wanted<'a> {
    pub(crate) range: TimeRange,
    /// False for streams whose records are not wanted.
    pub(crate) stream: &'a dyn Fn(&LabelSet) -> bool,
    /// Records must belong to one of these traces, when given.
    pub(crate) traces: Option<&'a [TraceId]>,
    /// Whether lines are looked at; they read as empty otherwise.
    pub(crate) lines: bool,
}

/// The records of the wanted streams of a row group of version 1 and their places in the order of arrival. Holds others too: the
/// caller filters.
pub(crate) fn read(group: &GroupReader<'_>, wanted: &Wanted<'_>) -> Result<(LogBatch, Vec<u64>), PartError> {
    let nothing = (LogBatch::default(), Vec::new());
    if let Some((min, max)) = group.bounds(TIME)
        && !(TimeRange { start: Nanos(min), end: Nanos(max) }).overlaps(wanted.range)
    {
        return Ok(nothing);
    }
    if wanted.traces.is_some_and(|ids| !ids.iter().any(|id| group.may_contain(TRACE_ID, &id.0))) {
        return Ok(nothing);
    }
    let mut runs = read_runs(group.column(0)?, group.column(1)?, group.column(2)?)?;
    runs.retain(|run| (wanted.stream)(&run.labels));
    if runs.is_empty() {
        return Ok(nothing);
    }
    let hidden = group.hidden();
    let lines = wanted.lines
        || hidden.looks_at(&|field| matches!(field, Field::Line | Field::Parsed(..) | Field::Plain(_)));
    let read = read_columns(group, &runs, lines)?;
    Ok(if hidden.is_empty() { read } else { without_deleted(read, hidden) })
}

fn without_deleted((batch, arrivals): (LogBatch, Vec<u64>), hidden: &Hidden) -> (LogBatch, Vec<u64>) {
    let (mut kept, mut kept_arrivals) = (LogBatch::default(), Vec::new());
    for stream in &batch.streams {
        kept.add_stream(stream.clone());
    }
    for ((row, stream), arrival) in batch.rows().zip(&batch.stream).zip(arrivals) {
        if !hidden.hides(row.time, &row) {
            kept.push(*stream, row);
            kept_arrivals.push(arrival);
        }
    }
    (kept, kept_arrivals)
}

fn read_columns(
    group: &GroupReader<'_>,
    runs: &[SeriesRun],
    lines: bool,
) -> Result<(LogBatch, Vec<u64>), PartError> {
    let ranges: Vec<_> = runs.iter().map(|run| run.rows.clone()).collect();
    let column = |index| group.column_rows(index, &ranges);
    let rows: usize = ranges.iter().map(Range::len).sum();
    let mut batch = LogBatch::default();
    for run in runs {
        let stream = batch.add_stream(run.labels.clone());
        batch.stream.extend(std::iter::repeat_n(stream, run.rows.len()));
    }
    batch.time = column(TIME)?.into_i64()?.into_iter().map(Nanos).collect();
    let severities = column(SEVERITY)?.into_i32()?.into_iter();
    batch.severity = severities.map(|n| Severity(u8::try_from(n).unwrap_or_default())).collect();
    batch.trace_id = ids(column(TRACE_ID)?, TraceId::NONE, TraceId::from_slice)?;
    batch.span_id = ids(column(SPAN_ID)?, SpanId::NONE, SpanId::from_slice)?;
    let texts: Vec<ByteArray> = if lines { column(LINE)?.into_bytes()? } else { Vec::new() };
    for row in 0..rows {
        batch.line.push(texts.get(row).map_or(Ok(""), text_of)?);
    }
    batch.metadata = read_map(column(METADATA)?, column(METADATA + 1)?)?;
    let arrivals: Vec<u64> = column(ARRIVAL)?.into_i64()?.into_iter().map(i64::cast_unsigned).collect();
    let lengths = [batch.time.len(), batch.severity.len(), batch.trace_id.len(), batch.span_id.len()];
    let complete = lengths.iter().chain([&batch.metadata.len(), &arrivals.len()]).all(|len| *len == rows);
    if complete && (!lines || texts.len() == rows) {
        Ok((batch, arrivals))
    } else {
        Err(damaged("a log column has another number of rows"))
    }
}

/// An optional column of ids.
pub(crate) fn ids<T: Copy>(
    column: Column,
    none: T,
    of: impl Fn(&[u8]) -> Option<T>,
) -> Result<Vec<T>, PartError> {
    let definition = column.definition.clone();
    let values = spread(&definition, column.into_fixed()?);
    let id = |bytes: FixedLenByteArray| of(bytes.data()).ok_or_else(|| damaged("an id has a wrong length"));
    values.into_iter().map(|value| value.map_or(Ok(none), id)).collect()
}
