//! Small parts of one partition become one. Choosing is a pure function of the catalogue; executing reads the chosen
//! parts whole, so what is merged at once is bounded in bytes.
//!
//! Rows keep their order of arrival: only parts are chosen between whose orders no part with overlapping time stands,
//! and the merged part takes the least order.

use std::collections::BTreeMap;
use std::sync::Arc;

use kenning_model::{Exemplar, LabelSet, LogBatch, Nanos, SpanBatch, SpanRow, TimeRange};
use kenning_stdx::vfs::Vfs;

use crate::catalog::Catalog;
use crate::logs::part::{Arrivals, Source};
use crate::metrics::exemplars;
use crate::metrics::histograms::{self, HistogramWriter};
use crate::metrics::samples::{self, SampleWriter};
use crate::metrics::scan::{sort_exemplars, sort_floats, sort_histograms};
use crate::parts::part::{Draft, Part, Place, write_part};
use crate::parts::partition::partition_of;
use crate::parts::{PartError, PartTable, damaged};
use crate::{logs, traces};

/// What may be merged.
pub(crate) struct Limits {
    pub(crate) parts_min: usize,
    pub(crate) bytes_max: u64,
}

/// Merged parts of this level are left alone: each row is written at most so often more.
const LEVEL_MAX: u8 = 3;

/// The first group of parts that is worth merging.
pub(crate) fn choose(catalog: &Catalog, limits: &Limits) -> Option<Vec<Arc<Part>>> {
    // Metadata reach over all time, so they are in no partition and never chosen.
    catalog.lists().into_iter().find_map(|parts| choose_in(parts, limits))
}

fn choose_in(parts: &[Arc<Part>], limits: &Limits) -> Option<Vec<Arc<Part>>> {
    // Levels are kept apart, so that a large part is not written again for every small one.
    (0..LEVEL_MAX).find_map(|level| choose_level(parts, level, limits))
}

fn choose_level(parts: &[Arc<Part>], level: u8, limits: &Limits) -> Option<Vec<Arc<Part>>> {
    let parts_min = limits.parts_min.max(2);
    let mut groups: BTreeMap<Nanos, Vec<Arc<Part>>> = BTreeMap::new();
    for part in parts {
        let partition = partition_of(part.info.time.start);
        let fits =
            part.info.level == level && partition.contains(part.info.time.end) && part.damage().is_none();
        let group_bytes = |group: &[Arc<Part>]| group.iter().map(|part| part.info.bytes).sum::<u64>();
        // A part that joins no group ends those that it would be merged across.
        let ended: Vec<Nanos> = groups
            .iter()
            .filter(|(start, group)| {
                let joins = fits && **start == partition.start;
                let is_full = group_bytes(group) + part.info.bytes > limits.bytes_max;
                (joins && is_full)
                    || (!joins && group.iter().any(|one| one.info.time.overlaps(part.info.time)))
            })
            .map(|(start, _)| *start)
            .collect();
        let ended: Vec<_> = ended.iter().filter_map(|start| groups.remove(start)).collect();
        if let Some(group) = ended.into_iter().find(|group| group.len() >= parts_min) {
            return Some(group);
        }
        if fits && part.info.bytes <= limits.bytes_max {
            groups.entry(partition.start).or_default().push(Arc::clone(part));
        }
    }
    groups.into_values().find(|group| group.len() >= parts_min)
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
    read: impl FnOnce(&crate::parts::columns::TableReader) -> Result<T, PartError>,
) -> Result<T, PartError> {
    let done = part.open().and_then(|reader| read(&reader));
    if let Err(PartError::Damaged(reason)) = &done {
        part.quarantine(reason);
    }
    done
}

/// Series with what was gathered for them, in label order.
type BySeries<T> = BTreeMap<LabelSet, Vec<T>>;

fn merge_samples(parts: &[Arc<Part>]) -> Result<Option<Draft>, PartError> {
    let mut series = BySeries::new();
    for part in parts {
        for (labels, list) in read(part, samples::read_all)? {
            series.entry(labels).or_default().extend(list);
        }
    }
    let mut writer = SampleWriter::new()?;
    for (labels, mut list) in series {
        sort_floats(&mut list);
        writer.push(&labels, &list)?;
    }
    writer.finish()
}

fn merge_histograms(parts: &[Arc<Part>]) -> Result<Option<Draft>, PartError> {
    let mut series = BySeries::new();
    for part in parts {
        for (labels, list) in read(part, histograms::read_all)? {
            series.entry(labels).or_default().extend(list);
        }
    }
    let mut writer = HistogramWriter::new()?;
    for (labels, mut list) in series {
        sort_histograms(&mut list);
        writer.push(&labels, list)?;
    }
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
