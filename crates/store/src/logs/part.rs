//! Parts of log records, sorted by stream and time.

use std::ops::Range;

use kenning_model::{Field, LabelSet, LogBatch, LogRow, Nanos, Severity, SpanId, TimeRange, TraceId};
use parquet::basic::Encoding;
use parquet::data_type::{ByteArray, FixedLenByteArray};

use crate::delete::Hidden;
use crate::parts::columns::{Column, GroupReader, Layout, TableWriter, Values, bytes_of, spread, text_of};
use crate::parts::labels::{SeriesRun, map_columns, on_first_rows, read_map, read_runs};
use crate::parts::part::Draft;
use crate::parts::{PartError, PartTable, damaged};

/// Rows of a row group.
const GROUP_ROWS: usize = 64 << 10;
/// Bytes of lines in a row group after which it is closed.
const GROUP_LINE_BYTES: usize = 16 << 20;

pub(crate) const LAYOUT: Layout = Layout {
    schema: "message logs {
        required int32 stream;
        required group labels (MAP) { repeated group key_value {
            required binary key (STRING); required binary value (STRING); } }
        required int64 time (TIMESTAMP(NANOS,true));
        required int64 arrival;
        required int32 severity;
        optional fixed_len_byte_array(16) trace_id;
        optional fixed_len_byte_array(8) span_id;
        required binary line (STRING);
        required group metadata (MAP) { repeated group key_value {
            required binary key (STRING); required binary value (STRING); } }
    }",
    encodings: &[
        ("time", Encoding::DELTA_BINARY_PACKED),
        ("arrival", Encoding::DELTA_BINARY_PACKED),
        ("trace_id", Encoding::PLAIN),
        ("span_id", Encoding::PLAIN),
        ("line", Encoding::DELTA_LENGTH_BYTE_ARRAY),
    ],
    bounded: &["time"],
    blooms: &[("trace_id", GROUP_ROWS)],
};

const TIME: usize = 3;
const ARRIVAL: usize = 4;
const SEVERITY: usize = 5;
const TRACE_ID: usize = 6;
const SPAN_ID: usize = 7;
const LINE: usize = 8;

/// A record and its place in the order of arrival.
pub(crate) type Arrived<'a> = (LogRow<'a>, u64);

/// Writes records in any order as one part.
pub(crate) fn write(mut rows: Vec<Arrived<'_>>) -> Result<Option<Draft>, PartError> {
    let start = rows.iter().map(|(row, _)| row.time).min();
    let end = rows.iter().map(|(row, _)| row.time).max();
    let (Some(start), Some(end)) = (start, end) else { return Ok(None) };
    rows.sort_unstable_by(|(a, a_arrival), (b, b_arrival)| {
        a.stream.cmp(b.stream).then(a.time.cmp(&b.time)).then(a_arrival.cmp(b_arrival))
    });
    let (streams, numbers) = number_streams(&rows)?;
    let mut table = TableWriter::new(&LAYOUT)?;
    for range in group_ranges(&rows) {
        if let (Some(rows), Some(numbers)) = (rows.get(range.clone()), numbers.get(range)) {
            write_group(&mut table, rows, numbers, &streams)?;
        }
    }
    let (rows, time) = (rows.len() as u64, TimeRange { start, end });
    Ok(Some(Draft { table: PartTable::Logs, written: table.finish()?, rows, time }))
}

fn number_streams<'a>(rows: &[Arrived<'a>]) -> Result<(Vec<&'a LabelSet>, Vec<i32>), PartError> {
    let (mut streams, mut numbers) = (Vec::new(), Vec::with_capacity(rows.len()));
    for (row, _) in rows {
        if streams.last() != Some(&row.stream) {
            streams.push(row.stream);
        }
        numbers.push(i32::try_from(streams.len() - 1).map_err(|_| damaged("a part has too many streams"))?);
    }
    Ok((streams, numbers))
}

/// Cuts rows into row groups, by number and by bytes of lines.
fn group_ranges(rows: &[Arrived<'_>]) -> Vec<Range<usize>> {
    let (mut ranges, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, (row, _)) in rows.iter().enumerate() {
        if at - start == GROUP_ROWS || (bytes >= GROUP_LINE_BYTES && at > start) {
            ranges.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += row.line.len();
    }
    ranges.push(start..rows.len());
    ranges
}

fn write_group(
    table: &mut TableWriter,
    rows: &[Arrived<'_>],
    numbers: &[i32],
    streams: &[&LabelSet],
) -> Result<(), PartError> {
    let set_of = |number: i32| streams.get(number as usize).copied();
    let [keys, texts] = map_columns(on_first_rows(numbers, &set_of));
    let [own_keys, own_texts] = map_columns(rows.iter().map(|(row, _)| Some(row.metadata)));
    let trace = |id: TraceId| (!id.is_none()).then(|| FixedLenByteArray::from(id.0.to_vec()));
    let span = |id: SpanId| (!id.is_none()).then(|| FixedLenByteArray::from(id.0.to_vec()));
    table.write_group(&[
        Column::required(Values::I32(numbers.to_vec())),
        keys,
        texts,
        Column::required(Values::I64(rows.iter().map(|(row, _)| row.time.0).collect())),
        Column::required(Values::I64(rows.iter().map(|(_, arrival)| arrival.cast_signed()).collect())),
        Column::required(Values::I32(rows.iter().map(|(row, _)| i32::from(row.severity.0)).collect())),
        Column::optional(rows.iter().map(|(row, _)| trace(row.trace_id)), Values::Fixed),
        Column::optional(rows.iter().map(|(row, _)| span(row.span_id)), Values::Fixed),
        Column::required(Values::Bytes(rows.iter().map(|(row, _)| bytes_of(row.line.as_bytes())).collect())),
        own_keys,
        own_texts,
    ])
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

/// The records of the wanted streams of a row group and their places in the order of arrival. Holds others too: the
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
    let lines = wanted.lines || hidden.looks_at(&|field| *field == Field::Line);
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
    batch.metadata = read_map(column(LINE + 1)?, column(LINE + 2)?)?;
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
