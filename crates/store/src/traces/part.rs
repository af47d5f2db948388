//! Parts of spans, sorted by trace and start.
//!
//! Attributes, events and links stand in binary columns in the packed forms of `kenning-model` and `kenning-codec`;
//! typed attribute columns are the next step of the format.

use std::collections::HashMap;
use std::sync::Arc;

use kenning_codec::batch::{decode_events, decode_links, encode_events, encode_links};
use kenning_model::{
    Attributes, Nanos, Span, SpanBatch, SpanId, SpanKind, SpanRow, SpanSource, StatusCode, TimeRange, TraceId,
};
use parquet::basic::Encoding;
use parquet::data_type::{ByteArray, FixedLenByteArray};

use crate::logs::part::ids;
use crate::parts::columns::{Column, GroupReader, Layout, TableWriter, Values, bytes_of, text_of};
use crate::parts::part::Draft;
use crate::parts::{PartError, PartTable, damaged};

/// Rows of a row group: the unit that a lookup of one trace decodes.
const GROUP_ROWS: usize = 16 << 10;

pub(crate) const LAYOUT: Layout = Layout {
    schema: "message spans {
        required fixed_len_byte_array(16) trace_id;
        required fixed_len_byte_array(8) span_id;
        optional fixed_len_byte_array(8) parent_span_id;
        required int64 start (TIMESTAMP(NANOS,true));
        required int64 duration;
        required int64 arrival;
        required binary name (STRING);
        required int32 kind;
        required int32 status;
        required binary status_message (STRING);
        required binary trace_state (STRING);
        required binary resource;
        required binary scope_name (STRING);
        required binary scope_version (STRING);
        required binary scope;
        required binary attributes;
        required binary events;
        required binary links;
    }",
    encodings: &[
        ("trace_id", Encoding::PLAIN),
        ("span_id", Encoding::PLAIN),
        ("parent_span_id", Encoding::PLAIN),
        ("start", Encoding::DELTA_BINARY_PACKED),
        ("duration", Encoding::DELTA_BINARY_PACKED),
        ("arrival", Encoding::DELTA_BINARY_PACKED),
        ("attributes", Encoding::DELTA_LENGTH_BYTE_ARRAY),
        ("events", Encoding::DELTA_LENGTH_BYTE_ARRAY),
        ("links", Encoding::DELTA_LENGTH_BYTE_ARRAY),
    ],
    plain: &[],
    bounded: &["trace_id", "start"],
    blooms: &[("trace_id", GROUP_ROWS)],
};

const TRACE_ID: usize = 0;
const START: usize = 3;

/// A span and its place in the order of arrival.
pub(crate) type Arrived<'a> = (SpanRow<'a>, u64);

/// Writes spans in any order as one part.
pub(crate) fn write(mut rows: Vec<Arrived<'_>>) -> Result<Option<Draft>, PartError> {
    let start = rows.iter().map(|(row, _)| row.span.start).min();
    let end = rows.iter().map(|(row, _)| row.span.start).max();
    let (Some(start), Some(end)) = (start, end) else { return Ok(None) };
    rows.sort_unstable_by_key(|(row, arrival)| (row.span.trace_id, row.span.start, *arrival));
    let mut table = TableWriter::new(&LAYOUT)?;
    for rows in rows.chunks(GROUP_ROWS) {
        write_group(&mut table, rows)?;
    }
    let (rows, time) = (rows.len() as u64, TimeRange { start, end });
    Ok(Some(Draft { table: PartTable::Spans, written: table.finish()?, rows, time }))
}

fn write_group(table: &mut TableWriter, rows: &[Arrived<'_>]) -> Result<(), PartError> {
    let spans = || rows.iter().map(|(row, _)| row.span);
    let bytes = |of: &dyn Fn(&SpanRow<'_>) -> ByteArray| {
        Column::required(Values::Bytes(rows.iter().map(|(row, _)| of(row)).collect()))
    };
    let text = |of: fn(&Span) -> &str| bytes(&|row| bytes_of(of(row.span).as_bytes()));
    let integers =
        |of: &dyn Fn(&Arrived<'_>) -> i64| Column::required(Values::I64(rows.iter().map(of).collect()));
    let small = |of: fn(&Span) -> u8| {
        Column::required(Values::I32(spans().map(|span| i32::from(of(span))).collect()))
    };
    let fixed = |of: fn(&Span) -> Vec<u8>| {
        Column::required(Values::Fixed(spans().map(|span| FixedLenByteArray::from(of(span))).collect()))
    };
    let parent = |id: SpanId| (!id.is_none()).then(|| FixedLenByteArray::from(id.0.to_vec()));
    table.write_group(&[
        fixed(|span| span.trace_id.0.to_vec()),
        fixed(|span| span.span_id.0.to_vec()),
        Column::optional(spans().map(|span| parent(span.parent_span_id)), Values::Fixed),
        integers(&|(row, _)| row.span.start.0),
        integers(&|(row, _)| row.span.end.0.wrapping_sub(row.span.start.0)),
        integers(&|(_, arrival)| arrival.cast_signed()),
        text(|span| &span.name),
        small(|span| span.kind as u8),
        small(|span| span.status as u8),
        text(|span| &span.status_message),
        text(|span| &span.trace_state),
        bytes(&|row| bytes_of(row.source.resource.as_bytes())),
        bytes(&|row| bytes_of(row.source.scope_name.as_bytes())),
        bytes(&|row| bytes_of(row.source.scope_version.as_bytes())),
        bytes(&|row| bytes_of(row.source.scope.as_bytes())),
        bytes(&|row| bytes_of(row.span.attributes.as_bytes())),
        bytes(&|row| ByteArray::from(encode_events(&row.span.events))),
        bytes(&|row| ByteArray::from(encode_links(&row.span.links))),
    ])
}

/// The spans of a row group and their places in the order of arrival; nothing when the group cannot hold a span that
/// starts in the range, or of one of these traces when they are given.
pub(crate) fn read(
    group: &GroupReader<'_>,
    range: TimeRange,
    traces: Option<&[TraceId]>,
) -> Result<(SpanBatch, Vec<u64>), PartError> {
    let nothing = (SpanBatch::default(), Vec::new());
    if let Some((min, max)) = group.bounds(START)
        && !(TimeRange { start: Nanos(min), end: Nanos(max) }).overlaps(range)
    {
        return Ok(nothing);
    }
    if traces.is_some_and(|ids| !ids.iter().any(|id| group.may_contain(TRACE_ID, &id.0))) {
        return Ok(nothing);
    }
    let mut columns = Columns::read(group)?;
    let (mut batch, mut arrivals) = nothing;
    let mut sources = HashMap::new();
    for _ in 0..group.rows() {
        let (span, source, arrival) = columns.next().ok_or_else(|| damaged("a span column is short"))??;
        let source = intern(&mut batch, &mut sources, source)?;
        let span = Span { source, ..span };
        let is_deleted = |source| group.hidden().hides(span.start, &SpanRow { span: &span, source });
        if !batch.source_of(&span).is_some_and(|source| is_deleted(source)) {
            batch.spans.push(span);
            arrivals.push(arrival);
        }
    }
    Ok((batch, arrivals))
}

/// The four columns of a source as they were read.
type SourceBytes = [ByteArray; 4];

fn intern(
    batch: &mut SpanBatch,
    sources: &mut HashMap<[Vec<u8>; 4], u32>,
    bytes: SourceBytes,
) -> Result<u32, PartError> {
    let key = bytes.map(|bytes| bytes.data().to_vec());
    if let Some(number) = sources.get(&key) {
        return Ok(*number);
    }
    let [resource, scope_name, scope_version, scope] = &key;
    let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).map_err(|_| damaged("a text is not UTF-8"));
    let source = SpanSource {
        resource: attributes(resource)?,
        scope_name: text(scope_name)?,
        scope_version: text(scope_version)?,
        scope: attributes(scope)?,
    };
    let number = batch.add_source(Arc::new(source));
    sources.insert(key, number);
    Ok(number)
}

fn attributes(bytes: &[u8]) -> Result<Attributes, PartError> {
    Attributes::from_bytes(bytes).ok_or_else(|| damaged("attributes do not parse"))
}

type Bytes = std::vec::IntoIter<ByteArray>;

/// Decoded columns, taken row by row.
struct Columns {
    trace_id: std::vec::IntoIter<TraceId>,
    span_id: std::vec::IntoIter<SpanId>,
    parent: std::vec::IntoIter<SpanId>,
    integers: [std::vec::IntoIter<i64>; 3],
    small: [std::vec::IntoIter<i32>; 2],
    texts: [Bytes; 3],
    source: [Bytes; 4],
    packed: [Bytes; 3],
}

impl Columns {
    fn read(group: &GroupReader<'_>) -> Result<Self, PartError> {
        let fixed = |index: usize| group.column(index)?.into_fixed();
        let trace = |id: FixedLenByteArray| TraceId::from_slice(id.data()).unwrap_or_default();
        let span = |id: FixedLenByteArray| SpanId::from_slice(id.data()).unwrap_or_default();
        let integers = |index| Ok::<_, PartError>(group.column(index)?.into_i64()?.into_iter());
        let small = |index| Ok::<_, PartError>(group.column(index)?.into_i32()?.into_iter());
        let bytes = |index| Ok::<_, PartError>(group.column(index)?.into_bytes()?.into_iter());
        Ok(Self {
            trace_id: fixed(TRACE_ID)?.into_iter().map(trace).collect::<Vec<_>>().into_iter(),
            span_id: fixed(1)?.into_iter().map(span).collect::<Vec<_>>().into_iter(),
            parent: ids(group.column(2)?, SpanId::NONE, SpanId::from_slice)?.into_iter(),
            integers: [integers(START)?, integers(4)?, integers(5)?],
            texts: [bytes(6)?, bytes(9)?, bytes(10)?],
            small: [small(7)?, small(8)?],
            source: [bytes(11)?, bytes(12)?, bytes(13)?, bytes(14)?],
            packed: [bytes(15)?, bytes(16)?, bytes(17)?],
        })
    }

    fn next(&mut self) -> Option<Result<(Span, SourceBytes, u64), PartError>> {
        let [start, duration, arrival] = &mut self.integers;
        let [kind, status] = &mut self.small;
        let [name, status_message, trace_state] = &mut self.texts;
        let [resource, scope_name, scope_version, scope] = &mut self.source;
        let [attributes, events, links] = &mut self.packed;
        let start = start.next()?;
        let span = Span {
            trace_id: self.trace_id.next()?,
            span_id: self.span_id.next()?,
            parent_span_id: self.parent.next()?,
            start: Nanos(start),
            end: Nanos(start.wrapping_add(duration.next()?)),
            kind: SpanKind::from_number(u64::try_from(kind.next()?).unwrap_or_default()),
            status: StatusCode::from_number(u64::try_from(status.next()?).unwrap_or_default()),
            ..Span::default()
        };
        let arrival = arrival.next()?.cast_unsigned();
        let source = [resource.next()?, scope_name.next()?, scope_version.next()?, scope.next()?];
        let texts = [name.next()?, status_message.next()?, trace_state.next()?];
        let packed = [attributes.next()?, events.next()?, links.next()?];
        Some(fill(span, &texts, &packed).map(|span| (span, source, arrival)))
    }
}

fn fill(span: Span, texts: &[ByteArray; 3], packed: &[ByteArray; 3]) -> Result<Span, PartError> {
    let ([name, status_message, trace_state], [packed_attributes, events, links]) = (texts, packed);
    Ok(Span {
        name: text_of(name)?.to_owned(),
        status_message: text_of(status_message)?.to_owned(),
        trace_state: text_of(trace_state)?.to_owned(),
        attributes: attributes(packed_attributes.data())?,
        events: decode_events(events.data()).ok_or_else(|| damaged("span events do not parse"))?,
        links: decode_links(links.data()).ok_or_else(|| damaged("span links do not parse"))?,
        ..span
    })
}
