//! Scans of samples, exemplars and metadata over heads and parts.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kenning_model::{
    Block, DistinctOf, Exemplar, Flow, Histogram, HistogramSample, LabelSet, Millis, Nanos, Sample,
    ScanError, SeriesRows, Shape,
};

use super::head::Series;
use super::metadata::MetadataKey;
use super::{exemplars, histograms, metadata, samples};
use crate::parts::columns::GroupReader;
use crate::parts::labels::SeriesRun;
use crate::parts::part::Part;
use crate::parts::{PartError, PartTable};
use crate::scan::distinct::{Sets, Texts};
use crate::scan::work::Work;
use crate::scan::{BLOCK_LEN_MAX, ENTRY_BYTES};

/// Most samples of one block, unless a single series has more.
const BLOCK_SAMPLES_MAX: usize = 64 << 10;

type Sink<'a> = &'a mut dyn FnMut(Block) -> Flow;

/// What a scan of samples looks at: parts in their order, then copies of the matching series of the heads, oldest head
/// first.
pub(crate) struct SampleView {
    pub(crate) samples: Vec<Arc<Part>>,
    pub(crate) histograms: Vec<Arc<Part>>,
    pub(crate) heads: Vec<Vec<Series>>,
}

/// A series as it is gathered, in order of arrival.
#[derive(Default)]
struct Points {
    floats: Vec<(Millis, f64)>,
    histograms: Vec<(Millis, Histogram)>,
}

/// Answers a scan of samples.
pub(crate) fn scan_samples(view: &SampleView, work: &mut Work<'_>, sink: Sink<'_>) -> Result<(), ScanError> {
    match work.scan.shape.clone() {
        Shape::Distinct(of) => {
            let sets = distinct_series(view, work)?;
            emit_distinct(&of, sets, work, sink)
        }
        Shape::Rows | Shape::Group(_) | Shape::Grid { .. } => {
            let mut series = HashMap::new();
            for part in &view.samples {
                work.read_part(part, |work, reader| {
                    for index in 0..reader.groups() {
                        gather_samples(&reader.group(index)?, &mut series, work)?;
                    }
                    Ok(())
                })?;
            }
            for part in &view.histograms {
                work.read_part(part, |work, reader| {
                    for index in 0..reader.groups() {
                        gather_histograms(&reader.group(index)?, &mut series, work)?;
                    }
                    Ok(())
                })?;
            }
            for head in view.heads.iter().flatten() {
                gather_head(head, &mut series, work)?;
            }
            emit_series(series, work, sink)
        }
    }
}

fn gather_samples(
    group: &GroupReader<'_>,
    series: &mut HashMap<LabelSet, Points>,
    work: &mut Work<'_>,
) -> Result<(), PartError> {
    let space = open_group(group, work)?;
    let mut runs = samples::runs(group, work.scan.time)?;
    runs.retain(|run| work.scan.filter.matches(&run.labels));
    for (run, list) in runs.iter().zip(samples::samples(group, &runs)?) {
        work.summary.rows += list.len() as u64;
        let inside: Vec<_> =
            list.into_iter().filter(|(time, _)| work.scan.time.contains(time.to_nanos())).collect();
        if !inside.is_empty() {
            work.charge(inside.len() * size_of::<Sample>())?;
            points_of(series, &run.labels, work)?.floats.extend(inside);
        }
    }
    work.refund(space);
    Ok(())
}

fn gather_histograms(
    group: &GroupReader<'_>,
    series: &mut HashMap<LabelSet, Points>,
    work: &mut Work<'_>,
) -> Result<(), PartError> {
    let space = open_group(group, work)?;
    let mut runs = histograms::runs(group, work.scan.time)?;
    runs.retain(|run| work.scan.filter.matches(&run.labels));
    for (run, list) in runs.iter().zip(histograms::histograms(group, &runs)?) {
        work.summary.rows += list.len() as u64;
        let inside: Vec<_> =
            list.into_iter().filter(|(time, _)| work.scan.time.contains(time.to_nanos())).collect();
        if !inside.is_empty() {
            work.charge(inside.iter().map(|(_, histogram)| histogram.heap_bytes()).sum())?;
            points_of(series, &run.labels, work)?.histograms.extend(inside);
        }
    }
    work.refund(space);
    Ok(())
}

/// Charges the decoded size of a row group, which is given back when its rows were looked through.
fn open_group(group: &GroupReader<'_>, work: &mut Work<'_>) -> Result<usize, ScanError> {
    work.check()?;
    let space = group.decompressed_bytes();
    work.charge(space)?;
    Ok(space)
}

fn gather_head(
    head: &Series,
    series: &mut HashMap<LabelSet, Points>,
    work: &mut Work<'_>,
) -> Result<(), ScanError> {
    work.summary.rows += head.floats.len() as u64;
    let range = work.scan.time;
    work.charge(head.floats.len() * size_of::<Sample>())?;
    if head.has_rows(range) {
        let points = points_of(series, &head.labels, work)?;
        points.floats.extend(head.floats_in(range));
        points.histograms.extend(head.histograms_in(range).cloned());
    }
    Ok(())
}

fn points_of<'a>(
    series: &'a mut HashMap<LabelSet, Points>,
    labels: &LabelSet,
    work: &mut Work<'_>,
) -> Result<&'a mut Points, ScanError> {
    if !series.contains_key(labels) {
        work.charge(ENTRY_BYTES + labels.heap_bytes())?;
    }
    Ok(series.entry(labels.clone()).or_default())
}

/// Sorts by time and keeps the first of each time in order of arrival; gives the number of those that had another value.
pub(crate) fn sort_floats(samples: &mut Vec<(Millis, f64)>) -> u64 {
    let mut conflicts = 0;
    if !samples.is_sorted_by(|a, b| a.0 < b.0) {
        samples.sort_by_key(|(time, _)| *time);
        samples.dedup_by(|next, kept| {
            let repeated = next.0 == kept.0;
            conflicts += u64::from(repeated && next.1.to_bits() != kept.1.to_bits());
            repeated
        });
    }
    conflicts
}

/// As [`sort_floats`], for histograms.
pub(crate) fn sort_histograms(histograms: &mut Vec<(Millis, Histogram)>) -> u64 {
    let mut conflicts = 0;
    histograms.sort_by_key(|(time, _)| *time);
    histograms.dedup_by(|next, kept| {
        let repeated = next.0 == kept.0;
        conflicts += u64::from(repeated && next.1 != kept.1);
        repeated
    });
    conflicts
}

fn emit_series(series: HashMap<LabelSet, Points>, work: &Work<'_>, sink: Sink<'_>) -> Result<(), ScanError> {
    let mut series: Vec<_> = series.into_iter().collect();
    series.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    series.truncate(work.scan.limit.unwrap_or(usize::MAX));
    let mut block = Vec::new();
    let mut block_samples = 0;
    for (labels, points) in series {
        let rows = finish_series(labels, points);
        block_samples += rows.samples.len() + rows.histograms.len();
        block.push(rows);
        if block_samples >= BLOCK_SAMPLES_MAX || block.len() >= BLOCK_LEN_MAX {
            work.check()?;
            block_samples = 0;
            if sink(Block::Series(std::mem::take(&mut block))) == Flow::Stop {
                return Ok(());
            }
        }
    }
    work.emit(block, None, Block::Series, sink)
}

/// A float and a histogram at one time are one sample too many: the float stays.
fn finish_series(labels: LabelSet, mut points: Points) -> SeriesRows {
    sort_floats(&mut points.floats);
    sort_histograms(&mut points.histograms);
    let floats = &points.floats;
    let taken = |time: &Millis| floats.binary_search_by_key(time, |(at, _)| *at).is_ok();
    points.histograms.retain(|(time, _)| !taken(time));
    let samples = points.floats.into_iter().map(|(time, value)| Sample { series: 0, time, value });
    let histograms = points.histograms.into_iter();
    SeriesRows {
        labels,
        samples: samples.collect(),
        histograms: histograms
            .map(|(time, histogram)| HistogramSample { series: 0, time, histogram })
            .collect(),
        starts: Vec::new(),
        histogram_starts: Vec::new(),
    }
}

/// The label sets that have rows in the range.
fn distinct_series(view: &SampleView, work: &mut Work<'_>) -> Result<Sets, ScanError> {
    let mut sets = Sets::default();
    for part in view.samples.iter().chain(&view.histograms) {
        let is_float = part.info.name.table == PartTable::Samples;
        work.read_part(part, |work, reader| {
            for index in 0..reader.groups() {
                let group = reader.group(index)?;
                let space = open_group(&group, work)?;
                let runs = if is_float { samples::runs } else { histograms::runs };
                let mut runs = runs(&group, work.scan.time)?;
                runs.retain(|run| !sets.contains(&run.labels) && work.scan.filter.matches(&run.labels));
                retain_in_range(&group, part, &mut runs, work)?;
                runs.iter().try_for_each(|run| sets.add(&run.labels, work))?;
                work.refund(space);
            }
            Ok(())
        })?;
    }
    let range = work.scan.time;
    for series in view.heads.iter().flatten().filter(|series| series.has_rows(range)) {
        sets.add(&series.labels, work)?;
    }
    Ok(sets)
}

/// Looks at times only when the range cuts through the part, or rows of it were deleted.
fn retain_in_range(
    group: &GroupReader<'_>,
    part: &Part,
    runs: &mut Vec<SeriesRun>,
    work: &mut Work<'_>,
) -> Result<(), PartError> {
    let (range, hidden) = (work.scan.time, group.hidden());
    if range.contains(part.info.time.start) && range.contains(part.info.time.end) && hidden.is_empty() {
        return Ok(());
    }
    let mut times = samples::times(group, runs)?.into_iter();
    runs.retain(|run| {
        let is_seen = |time: Nanos| range.contains(time) && !hidden.hides(time, &run.labels);
        times.next().is_some_and(|list| list.iter().any(|time| is_seen(time.to_nanos())))
    });
    Ok(())
}

/// Hands out distinct label sets, or what is asked of them.
fn emit_distinct(of: &DistinctOf, sets: Sets, work: &mut Work<'_>, sink: Sink<'_>) -> Result<(), ScanError> {
    let (sets, limit) = (sets.finish(), work.scan.limit);
    let mut texts = Texts::default();
    match of {
        DistinctOf::LabelSets => return work.emit(sets, limit, Block::LabelSets, sink),
        DistinctOf::Names => {
            sets.iter().flat_map(LabelSet::iter).try_for_each(|(name, _)| texts.add(name, work))?;
        }
        DistinctOf::Values(field) => sets.iter().try_for_each(|set| texts.add_values(set, field, work))?,
    }
    work.emit(texts.finish(), limit, Block::Texts, sink)
}

/// What a scan of exemplars looks at.
pub(crate) struct ExemplarView {
    pub(crate) parts: Vec<Arc<Part>>,
    pub(crate) heads: Vec<Vec<(LabelSet, Exemplar)>>,
}

/// Answers a scan of exemplars.
pub(crate) fn scan_exemplars(
    view: ExemplarView,
    work: &mut Work<'_>,
    sink: Sink<'_>,
) -> Result<(), ScanError> {
    let mut found: HashMap<LabelSet, Vec<Exemplar>> = HashMap::new();
    for part in &view.parts {
        work.read_part(part, |work, reader| {
            for index in 0..reader.groups() {
                let group = reader.group(index)?;
                let space = open_group(&group, work)?;
                for (run, list) in exemplars::read(&group, work.scan.time)? {
                    gather_exemplars(&run.labels, list, &mut found, work)?;
                }
                work.refund(space);
            }
            Ok(())
        })?;
    }
    for (labels, exemplar) in view.heads.into_iter().flatten() {
        gather_exemplars(&labels, vec![exemplar], &mut found, work)?;
    }
    if let Shape::Distinct(of) = work.scan.shape.clone() {
        let mut sets = Sets::default();
        found.keys().try_for_each(|labels| sets.add(labels, work))?;
        return emit_distinct(&of, sets, work, sink);
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    found.iter_mut().for_each(|(_, list)| sort_exemplars(list));
    let limit = work.scan.limit;
    work.emit(found, limit, Block::Exemplars, sink)
}

fn gather_exemplars(
    labels: &LabelSet,
    list: Vec<Exemplar>,
    found: &mut HashMap<LabelSet, Vec<Exemplar>>,
    work: &mut Work<'_>,
) -> Result<(), ScanError> {
    if !work.scan.filter.matches(labels) {
        return Ok(());
    }
    work.summary.rows += list.len() as u64;
    for exemplar in list.into_iter().filter(|exemplar| work.scan.time.contains(exemplar.time.to_nanos())) {
        work.charge(ENTRY_BYTES + exemplar.labels.heap_bytes())?;
        found.entry(labels.clone()).or_default().push(exemplar);
    }
    Ok(())
}

/// By time, value and labels; equal ones are one.
pub(crate) fn sort_exemplars(list: &mut Vec<Exemplar>) {
    list.sort_by(|a, b| {
        a.time.cmp(&b.time).then(a.value.total_cmp(&b.value)).then_with(|| a.labels.cmp(&b.labels))
    });
    list.dedup_by(|a, b| a.time == b.time && a.value.to_bits() == b.value.to_bits() && a.labels == b.labels);
}

/// Answers a scan of metadata.
pub(crate) fn scan_metadata(
    parts: &[Arc<Part>],
    heads: BTreeSet<MetadataKey>,
    work: &mut Work<'_>,
    sink: Sink<'_>,
) -> Result<(), ScanError> {
    let mut all = heads;
    for part in parts {
        work.read_part(part, |work, reader| {
            let read = metadata::read(reader)?;
            work.charge(read.iter().map(MetadataKey::heap_bytes).sum())?;
            all.extend(read);
            Ok(())
        })?;
    }
    work.summary.rows += all.len() as u64;
    all.retain(|key| work.scan.filter.matches(&key.labels()));
    if let Shape::Distinct(of) = work.scan.shape.clone() {
        let mut sets = Sets::default();
        all.iter().try_for_each(|key| sets.add(&key.labels(), work))?;
        return emit_distinct(&of, sets, work, sink);
    }
    let limit = work.scan.limit;
    work.emit(all.iter().map(MetadataKey::to_metadata).collect(), limit, Block::Metadata, sink)
}
