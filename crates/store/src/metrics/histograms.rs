//! Parts of native histograms: every field a column, lists as repeated columns.

use kenning_model::{BucketSpan, CounterReset, Histogram, LabelSet, Millis};
use parquet::basic::Encoding;

use super::{SeriesList, Span, samples};
use crate::parts::columns::{Column, GroupReader, Layout, TableWriter, Values, cut_rows};
use crate::parts::labels::{SeriesRun, map_columns, on_first_rows};
use crate::parts::part::Draft;
use crate::parts::{PartError, PartTable, damaged};

/// Rows of a row group: histograms are a hundred times larger than floats.
const GROUP_ROWS: usize = 16 << 10;

pub(crate) const LAYOUT: Layout = Layout {
    schema: "message histograms {
        required int32 series;
        required group labels (MAP) { repeated group key_value {
            required binary key (STRING); required binary value (STRING); } }
        required int64 time (TIMESTAMP(MILLIS,true));
        required int32 reset;
        required int32 schema;
        required double zero_threshold;
        required double zero_count;
        required double count;
        required double sum;
        repeated int32 positive_span_offset;
        repeated int32 positive_span_length;
        repeated double positive;
        repeated int32 negative_span_offset;
        repeated int32 negative_span_length;
        repeated double negative;
        repeated double custom_bound;
    }",
    encodings: &[
        ("time", Encoding::DELTA_BINARY_PACKED),
        ("count", Encoding::BYTE_STREAM_SPLIT),
        ("sum", Encoding::BYTE_STREAM_SPLIT),
        ("positive", Encoding::BYTE_STREAM_SPLIT),
        ("negative", Encoding::BYTE_STREAM_SPLIT),
    ],
    plain: &[],
    bounded: &["time"],
    blooms: &[],
};

/// Writes series in label order.
pub(crate) struct HistogramWriter {
    table: TableWriter,
    sets: Vec<LabelSet>,
    rows: Vec<(i32, Millis, Histogram)>,
    span: Span,
}

impl HistogramWriter {
    pub(crate) fn new() -> Result<Self, PartError> {
        Ok(Self {
            table: TableWriter::new(&LAYOUT)?,
            sets: Vec::new(),
            rows: Vec::new(),
            span: Span::default(),
        })
    }

    /// Adds a series with its histograms by time.
    pub(crate) fn push(
        &mut self,
        labels: &LabelSet,
        histograms: Vec<(Millis, Histogram)>,
    ) -> Result<(), PartError> {
        if histograms.is_empty() {
            return Ok(());
        }
        let number = i32::try_from(self.sets.len()).map_err(|_| damaged("a part has too many series"))?;
        self.sets.push(labels.clone());
        for (time, histogram) in histograms {
            if self.rows.len() == GROUP_ROWS {
                self.write_group()?;
            }
            self.span.add(time.to_nanos());
            self.rows.push((number, time, histogram));
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), PartError> {
        let rows = std::mem::take(&mut self.rows);
        let series: Vec<i32> = rows.iter().map(|(number, ..)| *number).collect();
        let sets = &self.sets;
        let set_of = |number: i32| sets.get(number as usize);
        let [keys, texts] = map_columns(on_first_rows(&series, &set_of));
        let all = || rows.iter().map(|(_, _, histogram)| histogram);
        let double = |of: fn(&Histogram) -> f64| Column::required(Values::F64(all().map(of).collect()));
        let integer = |of: fn(&Histogram) -> i32| Column::required(Values::I32(all().map(of).collect()));
        let doubles = |of: fn(&Histogram) -> &Vec<f64>| {
            Column::repeated(all().map(|h| of(h).iter().copied()), Values::F64)
        };
        let offsets = |of: fn(&Histogram) -> &Vec<BucketSpan>| {
            Column::repeated(all().map(|h| of(h).iter().map(|span| span.offset)), Values::I32)
        };
        let lengths = |of: fn(&Histogram) -> &Vec<BucketSpan>| {
            Column::repeated(all().map(|h| of(h).iter().map(|span| span.length.cast_signed())), Values::I32)
        };
        self.table.write_group(&[
            Column::required(Values::I32(series.clone())),
            keys,
            texts,
            Column::required(Values::I64(rows.iter().map(|(_, time, _)| time.0).collect())),
            integer(|h| reset_number(h.reset)),
            integer(|h| h.schema),
            double(|h| h.zero_threshold),
            double(|h| h.zero_count),
            double(|h| h.count),
            double(|h| h.sum),
            offsets(|h| &h.positive_spans),
            lengths(|h| &h.positive_spans),
            doubles(|h| &h.positive),
            offsets(|h| &h.negative_spans),
            lengths(|h| &h.negative_spans),
            doubles(|h| &h.negative),
            doubles(|h| &h.custom_bounds),
        ])
    }

    /// The finished part; `None` without histograms.
    pub(crate) fn finish(mut self) -> Result<Option<Draft>, PartError> {
        if !self.rows.is_empty() {
            self.write_group()?;
        }
        let Some((time, rows)) = self.span.range() else { return Ok(None) };
        Ok(Some(Draft { table: PartTable::Histograms, written: self.table.finish()?, rows, time }))
    }
}

fn reset_number(reset: CounterReset) -> i32 {
    match reset {
        CounterReset::Unknown => 0,
        CounterReset::Yes => 1,
        CounterReset::No => 2,
        CounterReset::Gauge => 3,
    }
}

fn reset_of(number: i32) -> Result<CounterReset, PartError> {
    match number {
        0 => Ok(CounterReset::Unknown),
        1 => Ok(CounterReset::Yes),
        2 => Ok(CounterReset::No),
        3 => Ok(CounterReset::Gauge),
        _ => Err(damaged("a histogram has an unknown reset")),
    }
}

/// The histograms of these runs, one list per run.
pub(crate) fn histograms(
    group: &GroupReader<'_>,
    runs: &[&SeriesRun],
) -> Result<Vec<Vec<(Millis, Histogram)>>, PartError> {
    let mut rows = Rows::read(group, &runs.iter().map(|run| run.rows.clone()).collect::<Vec<_>>())?;
    let mut lists = Vec::with_capacity(runs.len());
    for (run, times) in runs.iter().zip(samples::times(group, runs)?) {
        let mut list = Vec::with_capacity(times.len());
        for time in times {
            list.push((time, rows.next()?));
        }
        group.hidden().retain(&run.labels, &mut list);
        lists.push(list);
    }
    Ok(lists)
}

/// Decoded columns, taken row by row.
struct Rows {
    integers: [std::vec::IntoIter<i32>; 2],
    doubles: [std::vec::IntoIter<f64>; 4],
    spans: [std::vec::IntoIter<Vec<i32>>; 4],
    lists: [std::vec::IntoIter<Vec<f64>>; 3],
}

impl Rows {
    fn read(group: &GroupReader<'_>, ranges: &[std::ops::Range<usize>]) -> Result<Self, PartError> {
        let column = |index| group.column_rows(index, ranges);
        let integers = |index| Ok::<_, PartError>(column(index)?.into_i32()?.into_iter());
        let doubles = |index| Ok::<_, PartError>(column(index)?.into_f64()?.into_iter());
        let spans = |index| {
            let column = column(index)?;
            let (definition, repetition) = (column.definition.clone(), column.repetition.clone());
            Ok::<_, PartError>(cut_rows(&definition, &repetition, column.into_i32()?).into_iter())
        };
        let lists = |index| {
            let column = column(index)?;
            let (definition, repetition) = (column.definition.clone(), column.repetition.clone());
            Ok::<_, PartError>(cut_rows(&definition, &repetition, column.into_f64()?).into_iter())
        };
        Ok(Self {
            integers: [integers(4)?, integers(5)?],
            doubles: [doubles(6)?, doubles(7)?, doubles(8)?, doubles(9)?],
            spans: [spans(10)?, spans(11)?, spans(13)?, spans(14)?],
            lists: [lists(12)?, lists(15)?, lists(16)?],
        })
    }

    fn next(&mut self) -> Result<Histogram, PartError> {
        self.try_next().ok_or_else(|| damaged("a histogram column is short"))?
    }

    fn try_next(&mut self) -> Option<Result<Histogram, PartError>> {
        let [reset, schema] = &mut self.integers;
        let [zero_threshold, zero_count, count, sum] = &mut self.doubles;
        let [positive_offsets, positive_lengths, negative_offsets, negative_lengths] = &mut self.spans;
        let [positive, negative, custom_bounds] = &mut self.lists;
        let reset = reset_of(reset.next()?);
        let histogram = Histogram {
            reset: CounterReset::Unknown,
            schema: schema.next()?,
            zero_threshold: zero_threshold.next()?,
            zero_count: zero_count.next()?,
            count: count.next()?,
            sum: sum.next()?,
            positive_spans: bucket_spans(positive_offsets.next()?, positive_lengths.next()?)?,
            positive: positive.next()?,
            negative_spans: bucket_spans(negative_offsets.next()?, negative_lengths.next()?)?,
            negative: negative.next()?,
            custom_bounds: custom_bounds.next()?,
        };
        Some(reset.map(|reset| Histogram { reset, ..histogram }))
    }
}

fn bucket_spans(offsets: Vec<i32>, lengths: Vec<i32>) -> Option<Vec<BucketSpan>> {
    let spans = offsets.iter().zip(&lengths);
    let spans = spans.map(|(offset, length)| BucketSpan { offset: *offset, length: length.cast_unsigned() });
    (offsets.len() == lengths.len()).then(|| spans.collect())
}

/// Every series of a row group with its histograms, for merging.
pub(crate) fn read_group(group: &GroupReader<'_>) -> Result<SeriesList<Histogram>, PartError> {
    let runs = samples::all_runs(group)?;
    let lists = histograms(group, &runs.iter().collect::<Vec<_>>())?;
    Ok(runs.into_iter().map(|run| run.labels).zip(lists).collect())
}
