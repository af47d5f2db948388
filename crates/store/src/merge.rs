//! Small parts become large ones, window of time by window of time. Choosing is a pure function of the catalogue;
//! executing goes through samples and histograms row group by row group, and reads parts of other tables whole, so what
//! is merged at once is bounded in bytes.
//!
//! Windows grow: parts of two hours first, and once rows come behind a window, everything in it; for metrics then of
//! eight hours and of a day, since a series' labels and the borders between series cost the less the more of its samples
//! stand together. A merge must make something clearly larger than the largest part in it ([`GROWTH_TENTHS`]), so that a row is
//! written a few times in its life and late rows do not have a day written again for each of them.
//!
//! Rows keep their order of arrival: only parts are chosen between whose orders no part with overlapping time stands,
//! and the merged part takes the least order.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;

use kenning_model::{Exemplar, LabelSet, LogBatch, Millis, Nanos, SpanBatch, SpanRow, TimeRange};
use kenning_stdx::vfs::Vfs;

use crate::catalog::Catalog;
use crate::logs::part::{Arrivals, Source};
use crate::metrics::histograms::{self, HistogramWriter};
use crate::metrics::runs::SampleWriter;
use crate::metrics::samples;
use crate::metrics::scan::{sort_exemplars, sort_floats, sort_histograms};
use crate::metrics::{SeriesList, exemplars};
use crate::options::Options;
use crate::parts::columns::{GroupReader, TableReader};
use crate::parts::part::{Draft, Part, Place, write_part};
use crate::parts::partition::{WIDTH, window_of};
use crate::parts::{PartError, PartTable, damaged};
use crate::{logs, traces};

/// What comes of a merge is at least so many tenths of the largest part in it.
const GROWTH_TENTHS: u64 = 17;

/// The same while more rows are expected: parts of like size are merged, so that what is there when the window is over
/// is of like size, too.
const GROWTH_TENTHS_OPEN: u64 = 30;

/// Lines take so many times the memory of other rows beside what they take on disk: eight bytes for one, and they are
/// there with their columns. Parts of full heads (five MiB) are as large as what comes of merges, and are not written again.
const LOGS_EXPAND: u64 = 6;

/// Widths of the windows that parts of metrics are merged in, narrow to wide, in nanoseconds.
const WINDOWS: [i64; 3] = [WIDTH, 4 * WIDTH, 12 * WIDTH];

/// The first group of parts that is worth merging, but for those of tables that shall wait.
pub(crate) fn choose(
    catalog: &Catalog,
    options: &Options,
    waits: impl Fn(PartTable) -> bool,
) -> Option<Vec<Arc<Part>>> {
    let is_due = |parts: &&[Arc<Part>]| parts.first().is_some_and(|part| !waits(part.info.name.table));
    catalog.lists().into_iter().filter(is_due).find_map(|parts| choose_in(parts, options))
}

/// Chooses among the parts of one table.
fn choose_in(parts: &[Arc<Part>], options: &Options) -> Option<Vec<Arc<Part>>> {
    let (windows, bytes_max) = match parts.first()?.info.name.table {
        PartTable::Samples | PartTable::Histograms => (&WINDOWS[..], options.merge_sample_bytes_max),
        PartTable::Exemplars => (&WINDOWS[..], options.merge_bytes_max),
        PartTable::Logs => (&[WIDTH][..], options.merge_bytes_max / LOGS_EXPAND),
        PartTable::Spans => (&[WIDTH][..], options.merge_bytes_max),
        // Metadata reach over all time and are written anew whenever they change.
        PartTable::Metadata => return None,
    };
    let span_max = i64::try_from(options.merge_span_max.as_nanos()).unwrap_or(i64::MAX).max(WIDTH);
    let newest = parts.iter().map(|part| part.info.time.end).max()?;
    let limits = Limits { newest, bytes_max, parts_min: options.merge_parts_min.max(2) };
    windows.iter().filter(|width| **width <= span_max).find_map(|width| choose_within(parts, *width, &limits))
}

/// What makes a group worth merging.
struct Limits {
    /// The latest row of the table: no more rows are expected in windows that end before, but for late ones.
    newest: Nanos,
    bytes_max: u64,
    /// In windows that more rows are expected in.
    parts_min: usize,
}

fn choose_within(parts: &[Arc<Part>], width: i64, limits: &Limits) -> Option<Vec<Arc<Part>>> {
    let mut groups: BTreeMap<Nanos, Vec<Arc<Part>>> = BTreeMap::new();
    for part in parts {
        let window = window_of(part.info.time.start, width);
        let fits = window.contains(part.info.time.end) && part.damage().is_none();
        // A part that joins no group ends those that it would be merged across.
        let joins = |start: &Nanos| fits && *start == window.start;
        let overlaps = |group: &[Arc<Part>]| group.iter().any(|one| one.info.time.overlaps(part.info.time));
        let ended = groups.iter().filter(|(start, group)| !joins(start) && overlaps(group));
        let ended: Vec<Nanos> = ended.map(|(start, _)| *start).collect();
        let ended = ended.into_iter().filter_map(|start| Some((start, groups.remove(&start)?)));
        if let Some(run) = ended.into_iter().find_map(|(start, group)| worth(&group, start, width, limits)) {
            return Some(run);
        }
        if fits {
            groups.entry(window.start).or_default().push(Arc::clone(part));
        }
    }
    groups.into_iter().find_map(|(start, group)| worth(&group, start, width, limits))
}

/// The longest run of a group that is worth merging.
fn worth(group: &[Arc<Part>], start: Nanos, width: i64, limits: &Limits) -> Option<Vec<Arc<Part>>> {
    let is_over = window_of(start, width).end < limits.newest;
    let (parts_min, growth_tenths) = match (is_over, width) {
        (true, _) => (2, GROWTH_TENTHS),
        // Two parts cannot be three times the larger of them.
        (false, WIDTH) if limits.parts_min > 2 => (limits.parts_min, GROWTH_TENTHS_OPEN),
        (false, WIDTH) => (limits.parts_min, GROWTH_TENTHS),
        (false, _) => return None,
    };
    let mut best: &[Arc<Part>] = &[];
    for from in 0..group.len() {
        let (mut sum, mut largest) = (0u64, 0);
        for (at, part) in group.iter().enumerate().skip(from) {
            sum += part.info.bytes;
            largest = largest.max(part.info.bytes);
            if sum > limits.bytes_max {
                break;
            }
            let run = group.get(from..=at).unwrap_or_default();
            let grows = sum * 10 >= largest * growth_tenths;
            if grows && run.len() >= parts_min.max(best.len() + 1) {
                best = run;
            }
        }
    }
    (!best.is_empty()).then(|| best.to_vec())
}

/// Writes the rows of the parts, which stand in order of arrival, as one part of a level. `None` when all of them were
/// deleted.
pub(crate) fn execute(
    vfs: &Arc<dyn Vfs>,
    parts: &[Arc<Part>],
    id: u64,
    level: u8,
) -> Result<Option<Part>, PartError> {
    let first = parts.first().ok_or_else(|| damaged("nothing to merge"))?;
    let name = &first.info.name;
    let draft = match name.table {
        PartTable::Samples => merge_samples(parts)?,
        PartTable::Histograms => merge_histograms(parts)?,
        PartTable::Exemplars => merge_exemplars(parts)?,
        PartTable::Logs => merge_logs(parts)?,
        PartTable::Spans => merge_spans(parts)?,
        PartTable::Metadata => None,
    };
    let place = Place { tenant: &name.tenant, id, order: name.order, level };
    Ok(draft.map(|draft| write_part(vfs, &place, draft)).transpose()?)
}

/// Reads a part; damage sets it aside, so that the next choice passes over it.
fn read<T>(
    part: &Arc<Part>,
    read: impl FnOnce(&TableReader) -> Result<T, PartError>,
) -> Result<T, PartError> {
    noticing(part, part.open().and_then(|reader| read(&reader)))
}

fn noticing<T>(part: &Arc<Part>, done: Result<T, PartError>) -> Result<T, PartError> {
    if let Err(PartError::Damaged(reason)) = &done {
        part.quarantine(reason);
    }
    done
}

/// Series with what was gathered for them, in label order.
type BySeries<T> = BTreeMap<LabelSet, Vec<T>>;

/// The series of one part, of which one row group is in memory at a time.
struct Cursor<'a, T> {
    part: &'a Arc<Part>,
    reader: TableReader,
    next_group: usize,
    read: ReadGroup<T>,
    series: Peekable<<SeriesList<T> as IntoIterator>::IntoIter>,
}

type ReadGroup<T> = fn(&GroupReader<'_>) -> Result<SeriesList<T>, PartError>;

impl<'a, T> Cursor<'a, T> {
    fn open(part: &'a Arc<Part>, read: ReadGroup<T>) -> Result<Self, PartError> {
        let reader = noticing(part, part.open())?;
        let mut cursor =
            Self { part, reader, next_group: 0, read, series: Vec::new().into_iter().peekable() };
        cursor.load()?;
        Ok(cursor)
    }

    /// Reads on until there is a series, or the part ends.
    fn load(&mut self) -> Result<(), PartError> {
        while self.series.peek().is_none() && self.next_group < self.reader.groups() {
            let list = self.reader.group(self.next_group).and_then(|group| (self.read)(&group));
            self.series = noticing(self.part, list)?.into_iter().peekable();
            self.next_group += 1;
        }
        Ok(())
    }

    fn labels(&mut self) -> Option<&LabelSet> {
        self.series.peek().map(|(labels, _)| labels)
    }

    /// Appends what the part has of its next series, if it is this one. A series may reach over row groups.
    fn take(&mut self, labels: &LabelSet, rows: &mut Vec<(Millis, T)>) -> Result<(), PartError> {
        while let Some((_, list)) = self.series.next_if(|(next, _)| next == labels) {
            if rows.is_empty() {
                *rows = list;
            } else {
                rows.extend(list);
            }
            self.load()?;
        }
        // Writers put series in order; out of it, one would come twice.
        if self.labels().is_some_and(|next| next < labels) {
            return noticing(self.part, Err(damaged("series are out of order")));
        }
        Ok(())
    }
}

/// Goes through the series of all parts in label order, each with its rows part by part.
fn merge_series<T>(
    parts: &[Arc<Part>],
    read: ReadGroup<T>,
    mut put: impl FnMut(&LabelSet, Vec<(Millis, T)>) -> Result<(), PartError>,
) -> Result<(), PartError> {
    let cursors = parts.iter().map(|part| Cursor::open(part, read));
    let mut cursors = cursors.collect::<Result<Vec<_>, _>>()?;
    while let Some(labels) = cursors.iter_mut().filter_map(Cursor::labels).min().cloned() {
        let mut rows = Vec::new();
        cursors.iter_mut().try_for_each(|cursor| cursor.take(&labels, &mut rows))?;
        put(&labels, rows)?;
    }
    Ok(())
}

fn merge_samples(parts: &[Arc<Part>]) -> Result<Option<Draft>, PartError> {
    let mut writer = SampleWriter::new()?;
    merge_series(parts, samples::read_group, |labels, mut rows| {
        sort_floats(&mut rows);
        writer.push(labels, &rows)
    })?;
    writer.finish()
}

fn merge_histograms(parts: &[Arc<Part>]) -> Result<Option<Draft>, PartError> {
    let mut writer = HistogramWriter::new()?;
    merge_series(parts, histograms::read_group, |labels, mut rows| {
        sort_histograms(&mut rows);
        writer.push(labels, rows)
    })?;
    writer.finish()
}

fn merge_exemplars(parts: &[Arc<Part>]) -> Result<Option<Draft>, PartError> {
    let mut series = BySeries::<Exemplar>::new();
    for part in parts {
        read(part, |reader| {
            for index in 0..reader.groups() {
                for (run, list) in exemplars::read(&reader.group(index)?, TimeRange::ALL)? {
                    series.entry(run.labels).or_default().extend(list);
                }
            }
            Ok(())
        })?;
    }
    series.values_mut().for_each(sort_exemplars);
    let rows: Vec<_> =
        series.iter().flat_map(|(labels, list)| list.iter().map(move |e| (labels, e))).collect();
    exemplars::write(&rows)
}

/// Bits of a record's place in its part: far more than records of one part.
const ARRIVAL_BITS: u32 = 44;

/// Numbers rows anew: part by part, within a part by their old number.
fn renumber<T>(batches: &[(usize, T, Vec<u64>)]) -> Vec<Vec<u64>> {
    let mut places: Vec<(usize, u64, usize, usize)> = Vec::new();
    for (batch, (part, _, arrivals)) in batches.iter().enumerate() {
        places.extend(arrivals.iter().enumerate().map(|(row, arrival)| (*part, *arrival, batch, row)));
    }
    places.sort_unstable();
    let mut numbers: Vec<Vec<u64>> = batches.iter().map(|(_, _, arrivals)| vec![0; arrivals.len()]).collect();
    for ((_, _, batch, row), number) in places.into_iter().zip(0..) {
        if let Some(slot) = numbers.get_mut(batch).and_then(|rows| rows.get_mut(row)) {
            *slot = number;
        }
    }
    numbers
}

fn merge_logs(parts: &[Arc<Part>]) -> Result<Option<Draft>, PartError> {
    let mut batches: Vec<(LogBatch, Vec<u64>)> = Vec::new();
    for (part, number) in parts.iter().zip(0u64..) {
        read(part, |reader| {
            logs::part::read_all(reader, |batch, mut arrivals| {
                // Part by part, within a part by their old place.
                arrivals.iter_mut().for_each(|place| *place |= number << ARRIVAL_BITS);
                batches.push((batch, arrivals));
            })
        })?;
    }
    let sources = batches.iter();
    let sources = sources.map(|(batch, places)| Source { batch, arrivals: Arrivals::Each(places) });
    logs::part::write(&sources.collect::<Vec<_>>(), TimeRange::ALL)
}

fn merge_spans(parts: &[Arc<Part>]) -> Result<Option<Draft>, PartError> {
    let mut batches: Vec<(usize, SpanBatch, Vec<u64>)> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        read(part, |reader| {
            for index in 0..reader.groups() {
                let (batch, arrivals) = traces::part::read(&reader.group(index)?, TimeRange::ALL, None)?;
                batches.push((at, batch, arrivals));
            }
            Ok(())
        })?;
    }
    let numbers = renumber(&batches);
    let rows = batches.iter().zip(&numbers).flat_map(|((_, batch, _), numbers)| {
        let spans = batch.spans.iter().zip(numbers.iter().copied());
        spans.filter_map(|(span, number)| Some((SpanRow { span, source: batch.source_of(span)? }, number)))
    });
    traces::part::write(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_model::TenantId;
    use kenning_stdx::vfs::sim::SimVfs;

    use crate::parts::name::PartName;
    use crate::parts::part::PartInfo;

    const MINUTE: i64 = 60_000_000_000;

    /// A catalogue of one table that parts come into and are merged in, by sizes alone.
    struct World {
        table: PartTable,
        vfs: Arc<dyn Vfs>,
        catalog: Catalog,
        next: u64,
        written: u64,
        options: Options,
    }

    impl World {
        fn new(table: PartTable, options: Options) -> Self {
            let vfs = Arc::new(SimVfs::new(1));
            Self { table, vfs, catalog: Catalog::default(), next: 1, written: 0, options }
        }

        fn add(&mut self, order: Option<u64>, time: TimeRange, bytes: u64, removed: &[u64]) {
            let id = self.next;
            self.next += 1;
            self.written += bytes;
            let (tenant, table) = (TenantId::default_tenant(), self.table);
            let order = order.unwrap_or(id);
            let name = PartName { tenant, table, order, id, tail_len: 0, tail_crc: 0 };
            let info = PartInfo { name, rows: bytes, bytes, time, level: 0 };
            let part = Arc::new(Part::new(Arc::clone(&self.vfs), info));
            self.catalog = self.catalog.changed(removed, &[part]);
        }

        /// Rows of some minutes come, in a part of their own.
        fn flush(&mut self, from: i64, to: i64, bytes: u64) {
            let time = TimeRange { start: Nanos(from * MINUTE), end: Nanos(to * MINUTE - 1) };
            self.add(None, time, bytes, &[]);
        }

        fn merge_all(&mut self) {
            while let Some(parts) = choose(&self.catalog, &self.options, |_| false) {
                let bytes = parts.iter().map(|part| part.info.bytes).sum();
                assert!(parts.len() >= 2 && bytes <= self.options.merge_sample_bytes_max);
                let start = parts.iter().map(|part| part.info.time.start).min().unwrap();
                let end = parts.iter().map(|part| part.info.time.end).max().unwrap();
                assert!(end.0 - start.0 < 24 * 60 * MINUTE);
                let ids: Vec<u64> = parts.iter().map(|part| part.info.name.id).collect();
                self.add(
                    parts.first().map(|part| part.info.name.order),
                    TimeRange { start, end },
                    bytes,
                    &ids,
                );
            }
        }

        fn parts(&self) -> usize {
            self.catalog.all().count()
        }
    }

    /// Days of flushes every ten minutes: (parts at the end, bytes written per byte that came).
    fn days(table: PartTable, options: Options, days: i64, bytes: u64, late: bool) -> (usize, f64) {
        let mut world = World::new(table, options);
        for step in 0..days * 144 {
            world.flush(step * 10, step * 10 + 10, bytes);
            if late && step > 20 {
                world.flush(step * 10 - 200, step * 10 - 190, 1 + bytes / 100);
            }
            world.merge_all();
        }
        let came = (days * 144) as f64 * bytes as f64;
        (world.parts(), world.written as f64 / came)
    }

    #[test]
    fn days_of_metrics_are_few_parts_and_are_written_a_few_times() {
        let (parts, amplification) = days(PartTable::Samples, Options::default(), 5, 1000, false);
        assert!(parts <= 5 + 3 + 4 + 6 && amplification < 6.0, "{parts} {amplification}");
        let (parts, amplification) = days(PartTable::Samples, Options::default(), 5, 1000, true);
        assert!(parts <= 60 && amplification < 7.0, "{parts} {amplification}");
    }

    #[test]
    fn bounds_hold_for_large_parts_and_short_retention() {
        let (_, amplification) = days(PartTable::Samples, Options::default(), 2, 50 << 20, false);
        assert!(amplification < 3.0, "{amplification}");
        let options =
            Options { merge_span_max: std::time::Duration::from_secs(8 * 3600), ..Options::default() };
        let (parts, _) = days(PartTable::Samples, options, 3, 1000, false);
        assert!((9..=9 + 4 + 6).contains(&parts), "{parts}");
        let (parts, _) = days(PartTable::Logs, Options::default(), 1, 1000, false);
        assert!((12..=12 + 6).contains(&parts), "{parts}");
    }

    #[test]
    fn nothing_is_merged_across_a_part_that_overlaps() {
        let mut world = World::new(PartTable::Samples, Options { merge_parts_min: 2, ..Options::default() });
        world.flush(0, 10, 100);
        world.flush(0, 400, 100);
        world.flush(10, 20, 100);
        world.flush(500, 510, 1);
        world.merge_all();
        // The wide part stands between the two of the first window, and goes with them into the wider one.
        assert_eq!(world.parts(), 2);
        assert_eq!(world.written, 301 + 300);
    }

    #[test]
    fn parts_of_full_heads_of_logs_are_not_merged() {
        let options = Options { merge_parts_min: 2, ..Options::default() };
        let full = 5 << 20;
        let mut world = World::new(PartTable::Logs, options);
        [(0, full), (10, full), (20, full / 4), (30, full / 4), (500, 1)]
            .into_iter()
            .for_each(|(start, bytes)| world.flush(start, start + 10, bytes));
        assert!(choose(&world.catalog, &options, |table| table == PartTable::Logs).is_none());
        world.merge_all();
        assert_eq!((world.parts(), world.written), (4, 2 * full + 2 * (full / 4) + 1 + 2 * (full / 4)));
    }
}
