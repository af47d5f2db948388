//! Scans of samples, exemplars and metadata over heads and parts.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kenning_model::{
    Block, DistinctOf, Exemplar, Flow, Histogram, HistogramSample, LabelSet, Millis, Nanos, Sample,
    ScanError, SeriesColumns, SeriesRows, Shape,
};

use super::metadata::MetadataKey;
use super::samples::{Flat, SampleColumns};
use super::view::{HeadRows, HeadView, Place};
use super::{exemplars, histograms, metadata, samples};
use crate::parts::PartError;
use crate::parts::cache::{GroupSeries, Opened, PartCache};
use crate::parts::columns::GroupReader;
use crate::parts::labels::SeriesRun;
use crate::parts::part::Part;
use crate::scan::distinct::{Sets, Texts};
use crate::scan::prune::SeriesFilter;
use crate::scan::work::Work;
use crate::scan::{BLOCK_LEN_MAX, ENTRY_BYTES};

/// Most samples of one block, unless a single series has more: few enough to stay in the processor's cache while they
/// are looked at.
const BLOCK_SAMPLES_MAX: usize = 16 << 10;

type Sink<'a> = &'a mut dyn FnMut(Block) -> Flow;

/// What a scan of samples looks at: parts in their order, then what the heads have of the matching series, oldest head
/// first.
pub(crate) struct SampleView<'a> {
    pub(crate) samples: Vec<Arc<Part>>,
    pub(crate) histograms: Vec<Arc<Part>>,
    pub(crate) heads: Vec<HeadView>,
    pub(crate) open: &'a PartCache,
}

/// What one part or head has of a series.
enum Piece {
    /// A run of the source's row groups: the group, and the position among those of its runs that are wanted.
    Run {
        group: usize,
        at: usize,
    },
    Histograms(Vec<(Millis, Histogram)>),
    Head(Place),
}

/// What one part or head has.
struct Source {
    /// In label order once [`Source::sort`] was called.
    pieces: Vec<(LabelSet, Piece)>,
    is_sorted: bool,
    rows: SourceRows,
}

/// Where the rows of pieces are that do not hold them.
enum SourceRows {
    InPieces,
    Part(Runs),
    Head(HeadRows),
}

impl Source {
    fn new(pieces: Vec<(LabelSet, Piece)>, is_sorted: bool) -> Self {
        Self { pieces, is_sorted, rows: SourceRows::InPieces }
    }

    fn of_head(view: HeadView) -> Self {
        let pieces = view.series.into_iter().map(|(labels, place)| (labels, Piece::Head(place)));
        Self { pieces: pieces.collect(), is_sorted: view.is_sorted, rows: SourceRows::Head(view.rows) }
    }

    fn sort(&mut self) {
        if !self.is_sorted {
            self.pieces.sort_by(|a, b| a.0.cmp(&b.0));
        }
    }
}

/// Answers a scan of samples.
pub(crate) fn scan_samples(
    view: SampleView<'_>,
    work: &mut Work<'_>,
    sink: Sink<'_>,
) -> Result<(), ScanError> {
    match work.scan.shape.clone() {
        Shape::Distinct(of) => {
            let sets = distinct_series(&view, work)?;
            emit_distinct(&of, sets, work, sink)
        }
        Shape::Rows | Shape::Columns | Shape::Group(_) | Shape::Grid { .. } | Shape::Numbers { .. } => {
            let mut sources: Vec<Source> = Vec::new();
            for part in &view.samples {
                sources.push(choose_runs(part, view.open, work)?);
            }
            for part in &view.histograms {
                sources.push(gather_histograms_of(part, view.open, work)?);
            }
            sources.extend(view.heads.into_iter().map(Source::of_head));
            sources.iter_mut().for_each(Source::sort);
            emit_series(sources, work, sink)
        }
    }
}

/// The series of a part of samples that a scan asks for. Their rows are read when the scan gets to them.
fn choose_runs(part: &Arc<Part>, cache: &PartCache, work: &mut Work<'_>) -> Result<Source, ScanError> {
    let mut source = Source::new(Vec::new(), true);
    let mut groups = Vec::new();
    let Some(open) = work.open(part, cache)? else { return Ok(source) };
    let is_whole = work.read_opened(part, &open, |work, open| {
        for_series(open, work, |index, series, work| {
            let wanted = choose(series, work);
            work.charge(wanted.len() * ENTRY_BYTES)?;
            source.is_sorted &= series.is_sorted;
            for (at, run) in wanted.iter().filter_map(|at| series.runs.get(*at)).enumerate() {
                if at == 0 {
                    source.is_sorted &= source.pieces.last().is_none_or(|(last, _)| *last <= run.labels);
                }
                source.pieces.push((run.labels.clone(), Piece::Run { group: groups.len(), at }));
            }
            groups.push(WantedGroup { index, series: Arc::clone(series), wanted, loaded: None });
            Ok(())
        })
    })?;
    cache.trim();
    if !is_whole {
        // The file was set aside: nothing more can be read of it.
        return Ok(Source::new(Vec::new(), true));
    }
    source.rows =
        SourceRows::Part(Runs { part: Arc::clone(part), open, groups, is_sorted: source.is_sorted });
    Ok(source)
}

/// What a part of histograms has for a scan. What was read before damage was met stays.
fn gather_histograms_of(
    part: &Arc<Part>,
    cache: &PartCache,
    work: &mut Work<'_>,
) -> Result<Source, ScanError> {
    let mut source = Source::new(Vec::new(), true);
    work.read_open(part, cache, |work, open| {
        for_series(open, work, |index, series, work| {
            let chosen: Vec<_> =
                choose(series, work).into_iter().filter_map(|at| series.runs.get(at)).collect();
            if let Some(first) = chosen.first() {
                let follows = source.pieces.last().is_none_or(|(last, _)| *last <= first.labels);
                source.is_sorted &= series.is_sorted && follows;
                gather_histograms(&open.group(index)?, &chosen, &mut source, work)?;
            }
            Ok(())
        })
    })?;
    Ok(source)
}

/// Hands the series of every row group that can have rows in the range to `see`.
fn for_series(
    open: &Opened,
    work: &mut Work<'_>,
    mut see: impl FnMut(usize, &Arc<GroupSeries>, &mut Work<'_>) -> Result<(), PartError>,
) -> Result<(), PartError> {
    for index in 0..open.groups() {
        let group = open.group(index)?;
        if samples::may_overlap(&group, work.scan.time) {
            let series = series_of(open, index, &group, work)?;
            see(index, &series, work)?;
        }
    }
    Ok(())
}

/// Rows that are decoded at once: few enough to stay in the processor's cache until they are looked at.
const BATCH_ROWS_MAX: usize = 4 << 10;

/// The runs of a part that a scan asks for. They are decoded as the scan gets to them, a few at a time, and let go when
/// it gets to the next: a scan holds little however many rows it looks at.
struct Runs {
    part: Arc<Part>,
    /// As it was when the scan began: what is deleted meanwhile is still seen, all of it.
    open: Opened,
    groups: Vec<WantedGroup>,
    /// The scan gets to the runs in their order and never back.
    is_sorted: bool,
}

struct WantedGroup {
    /// Among the part's groups.
    index: usize,
    series: Arc<GroupSeries>,
    /// Positions among the series.
    wanted: Vec<usize>,
    /// None until the scan gets there, and once it is past.
    loaded: Option<LoadedRuns>,
}

/// Decoded runs of a row group.
struct LoadedRuns {
    columns: SampleColumns,
    flat: Flat,
    /// Position of the first of them among those that are wanted.
    first: usize,
    /// Where the samples of each end.
    ends: Vec<usize>,
    charged: usize,
}

/// The samples of a run.
#[derive(Clone, Copy, Default)]
struct RunSamples<'a> {
    times: &'a [i64],
    values: &'a [f64],
    /// The times are known to ascend.
    is_ascending: bool,
}

impl Runs {
    /// The samples of a run in the range of the scan.
    fn samples(
        &mut self,
        (group, at): (usize, usize),
        work: &mut Work<'_>,
    ) -> Result<RunSamples<'_>, ScanError> {
        let is_loaded = |wanted: &WantedGroup| {
            wanted.loaded.as_ref().is_some_and(|loaded| at < loaded.first + loaded.ends.len())
        };
        if !self.groups.get(group).is_some_and(is_loaded) {
            self.load(group, work)?;
        }
        Ok(self.groups.get(group).and_then(|wanted| wanted.samples(at)).unwrap_or_default())
    }

    /// Decodes the next runs of a group, or all of them where the scan may come back.
    fn load(&mut self, group: usize, work: &mut Work<'_>) -> Result<(), ScanError> {
        let rows_max = if self.is_sorted { BATCH_ROWS_MAX } else { usize::MAX };
        let before = group.checked_sub(1).filter(|_| self.is_sorted);
        let before = before.and_then(|before| self.groups.get_mut(before)?.loaded.take());
        if let Some(before) = &before {
            work.refund(before.charged);
        }
        let Some(wanted) = self.groups.get_mut(group) else { return Ok(()) };
        let is_whole = work.read_opened(&self.part, &self.open, |work, open| {
            wanted.load(&open.group(wanted.index)?, before, rows_max, work)
        })?;
        if !is_whole {
            // What was handed out before damage was met stays: every row of it was verified.
            self.groups.clear();
        }
        Ok(())
    }
}

impl WantedGroup {
    fn samples(&self, at: usize) -> Option<RunSamples<'_>> {
        let LoadedRuns { flat, first, ends, .. } = self.loaded.as_ref()?;
        let run = self.series.runs.get(*self.wanted.get(at)?)?;
        let at = at.checked_sub(*first)?;
        let start = at.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
        let rows = start..*ends.get(at)?;
        Some(RunSamples {
            times: flat.times.get(rows.clone())?,
            values: flat.values.get(rows)?,
            is_ascending: run.regular().is_some(),
        })
    }

    fn load(
        &mut self,
        group: &GroupReader<'_>,
        before: Option<LoadedRuns>,
        rows_max: usize,
        work: &mut Work<'_>,
    ) -> Result<(), PartError> {
        let mut loaded = match self.loaded.take() {
            Some(loaded) => loaded.emptied(work),
            None => LoadedRuns::begin(group, before),
        };
        let left = self.wanted.get(loaded.first..).unwrap_or_default();
        let (mut rows, mut runs) = (0, Vec::new());
        for run in left.iter().filter_map(|at| self.series.runs.get(*at)) {
            if rows >= rows_max {
                break;
            }
            rows += run.rows.len();
            runs.push(run);
        }
        let space = rows.saturating_mul(samples::ROW_BYTES);
        work.check()?;
        work.charge(space)?;
        work.summary.rows += rows as u64;
        let LoadedRuns { columns, flat, .. } = &mut loaded;
        loaded.ends = samples::samples_in(group, columns, &runs, work.scan.time, flat)?;
        work.refund(space);
        loaded.charged = loaded.flat.times.len() * samples::FLAT_BYTES;
        work.charge(loaded.charged)?;
        self.loaded = Some(loaded);
        Ok(())
    }
}

impl LoadedRuns {
    /// None yet of a group, with the room of those of the group before.
    fn begin(group: &GroupReader<'_>, before: Option<Self>) -> Self {
        let mut flat = before.map_or_else(Flat::default, |before| before.flat);
        flat.clear();
        Self { columns: SampleColumns::open(group), flat, first: 0, ends: Vec::new(), charged: 0 }
    }

    /// The room for the runs that follow.
    fn emptied(mut self, work: &mut Work<'_>) -> Self {
        work.refund(self.charged);
        self.flat.clear();
        Self { charged: 0, first: self.first + self.ends.len(), ends: Vec::new(), ..self }
    }
}

/// The series of a row group; reading them the first time takes space for their columns.
fn series_of(
    open: &Opened,
    index: usize,
    group: &GroupReader<'_>,
    work: &mut Work<'_>,
) -> Result<Arc<GroupSeries>, PartError> {
    open.series(index, || {
        let space = open_group(group, work)?;
        let runs = samples::all_runs(group)?;
        work.refund(space);
        Ok(runs)
    })
}

/// The positions of the series that pass the filter.
fn choose(series: &GroupSeries, work: &Work<'_>) -> Vec<usize> {
    let filter = SeriesFilter::new(&work.scan.filter);
    let mut chosen = Vec::new();
    for metric in &series.metrics {
        let runs = series.runs.get(metric.clone()).unwrap_or_default();
        if runs.first().is_some_and(|run| filter.passes_name(&run.labels)) {
            let passing = runs.iter().enumerate().filter(|(_, run)| filter.passes_rest(&run.labels));
            chosen.extend(passing.map(|(at, _)| metric.start + at));
        }
    }
    chosen
}

fn gather_histograms(
    group: &GroupReader<'_>,
    runs: &[&SeriesRun],
    source: &mut Source,
    work: &mut Work<'_>,
) -> Result<(), PartError> {
    let space = open_group(group, work)?;
    for (run, list) in runs.iter().zip(histograms::histograms(group, runs)?) {
        work.summary.rows += list.len() as u64;
        let inside: Vec<_> =
            list.into_iter().filter(|(time, _)| work.scan.time.contains(time.to_nanos())).collect();
        if inside.is_empty() {
            continue;
        }
        let bytes: usize = inside.iter().map(|(_, histogram)| histogram.heap_bytes()).sum();
        work.charge(ENTRY_BYTES + bytes)?;
        source.pieces.push((run.labels.clone(), Piece::Histograms(inside)));
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

/// Joins the pieces of each series and hands the series out in label order.
fn emit_series(sources: Vec<Source>, work: &mut Work<'_>, sink: Sink<'_>) -> Result<(), ScanError> {
    let mut left = work.scan.limit.unwrap_or(usize::MAX);
    let mut sources: Vec<_> =
        sources.into_iter().map(|source| (source.pieces.into_iter().peekable(), source.rows)).collect();
    let mut out = Out { in_columns: work.scan.shape == Shape::Columns, is_ascending: true, ..Out::default() };
    while left > 0 {
        let first =
            sources.iter_mut().filter_map(|(pieces, _)| pieces.peek().map(|(labels, _)| labels)).min();
        let Some(labels) = first.cloned() else { break };
        let mut histograms = Vec::new();
        for (pieces, rows) in &mut sources {
            while let Some((_, piece)) = pieces.next_if(|(of, _)| *of == labels) {
                match (piece, &mut *rows) {
                    (Piece::Run { group, at }, SourceRows::Part(runs)) => {
                        out.add_floats(runs.samples((group, at), work)?);
                    }
                    (Piece::Head(place), SourceRows::Head(rows)) => {
                        out.add_head(rows, &place, &mut histograms, work);
                    }
                    (Piece::Histograms(list), _) => histograms.extend(list),
                    // No source has both.
                    (Piece::Run { .. } | Piece::Head(_), _) => {}
                }
            }
        }
        if !out.finish(labels, histograms) {
            continue;
        }
        left -= 1;
        if out.is_full() {
            work.check()?;
            if out.hand_over(sink) == Flow::Stop {
                return Ok(());
            }
        }
    }
    work.check()?;
    out.hand_over(sink);
    Ok(())
}

/// Finished series that are not handed over yet.
#[derive(Default)]
struct Out {
    in_columns: bool,
    /// The times of the series that is being put together are known to ascend.
    is_ascending: bool,
    /// Finished blocks, the latest of which grows, unless the columns below are the latest.
    blocks: Vec<Block>,
    columns: SeriesColumns,
    /// Samples and series in all of them.
    samples: usize,
    series: usize,
}

impl Out {
    /// Adds floats to the series that is being put together, whose floats are the tail of the columns.
    fn add_floats(&mut self, run: RunSamples<'_>) {
        let SeriesColumns { times, values, ends, .. } = &mut self.columns;
        let start = ends.last().copied().unwrap_or(0);
        let last = times.get(start..).and_then(<[i64]>::last);
        let follows = last.is_none_or(|last| run.times.first().is_none_or(|first| last < first));
        self.is_ascending &= follows && (run.is_ascending || run.times.is_sorted_by(|a, b| a < b));
        times.extend_from_slice(run.times);
        values.extend_from_slice(run.values);
    }

    /// As [`Self::add_floats`], from a series of a head.
    fn add_head(
        &mut self,
        rows: &HeadRows,
        place: &Place,
        histograms: &mut Vec<(Millis, Histogram)>,
        work: &mut Work<'_>,
    ) {
        let columns = &mut self.columns;
        let (start, before) = (columns.ends.last().copied().unwrap_or(0), columns.times.len());
        let seen = rows.floats_in(place, samples::millis_in(work.scan.time), columns);
        // What came before ends with a time that the new ones must follow.
        let added = columns.times.get(before.saturating_sub(1).max(start)..).unwrap_or_default();
        self.is_ascending &= added.is_sorted_by(|a, b| a < b);
        let more = rows.histograms(place);
        work.summary.rows += (seen + more.len()) as u64;
        histograms.extend_from_slice(more);
    }

    /// Ends the series; false when it has no samples. A float and a histogram at one time are one sample too many: the
    /// float stays.
    fn finish(&mut self, labels: LabelSet, mut histograms: Vec<(Millis, Histogram)>) -> bool {
        let columns = &mut self.columns;
        let start = columns.ends.last().copied().unwrap_or(0);
        if !std::mem::replace(&mut self.is_ascending, true) {
            sort_tail(columns, start);
        }
        let floats = columns.times.get(start..).unwrap_or_default();
        if floats.is_empty() && histograms.is_empty() {
            return false;
        }
        self.series += 1;
        self.samples += floats.len() + histograms.len();
        if histograms.is_empty() {
            columns.labels.push(labels);
            columns.ends.push(columns.times.len());
            return true;
        }
        sort_histograms(&mut histograms);
        histograms.retain(|(time, _)| floats.binary_search(&time.0).is_err());
        let (times, values) = (columns.times.split_off(start), columns.values.split_off(start));
        let samples = times.into_iter().zip(values);
        let samples = samples.map(|(time, value)| Sample { series: 0, time: Millis(time), value }).collect();
        let histograms = histograms.into_iter();
        let histograms =
            histograms.map(|(time, histogram)| HistogramSample { series: 0, time, histogram }).collect();
        self.push_row(SeriesRows { labels, samples, histograms, ..SeriesRows::default() });
        true
    }

    fn push_row(&mut self, row: SeriesRows) {
        self.end_columns();
        match self.blocks.last_mut() {
            Some(Block::Series(rows)) => rows.push(row),
            _ => self.blocks.push(Block::Series(vec![row])),
        }
    }

    /// Makes a block of the columns.
    fn end_columns(&mut self) {
        if self.columns.labels.is_empty() {
            return;
        }
        // The next block will be about as long.
        let (series, samples) = (self.columns.labels.len(), self.columns.times.len());
        let room = SeriesColumns {
            labels: Vec::with_capacity(series),
            ends: Vec::with_capacity(series),
            times: Vec::with_capacity(samples),
            values: Vec::with_capacity(samples),
        };
        let columns = std::mem::replace(&mut self.columns, room);
        match (self.in_columns, self.blocks.last_mut()) {
            (true, _) => self.blocks.push(Block::Columns(columns)),
            (false, Some(Block::Series(rows))) => rows.extend(columns.into_rows()),
            (false, _) => self.blocks.push(Block::Series(columns.into_rows())),
        }
    }

    fn is_full(&self) -> bool {
        self.samples >= BLOCK_SAMPLES_MAX || self.series >= BLOCK_LEN_MAX
    }

    fn hand_over(&mut self, sink: Sink<'_>) -> Flow {
        self.end_columns();
        (self.samples, self.series) = (0, 0);
        let mut blocks = std::mem::take(&mut self.blocks).into_iter();
        if blocks.all(|block| sink(block) == Flow::More) { Flow::More } else { Flow::Stop }
    }
}

/// As [`sort_floats`], for the samples from `start` on.
fn sort_tail(columns: &mut SeriesColumns, start: usize) {
    let times = columns.times.get(start..).unwrap_or_default();
    if times.is_sorted_by(|a, b| a < b) {
        return;
    }
    let (times, values) = (columns.times.split_off(start), columns.values.split_off(start));
    let mut samples: Vec<_> = times.into_iter().map(Millis).zip(values).collect();
    sort_floats(&mut samples);
    columns.times.extend(samples.iter().map(|(time, _)| time.0));
    columns.values.extend(samples.iter().map(|(_, value)| *value));
}

/// The label sets that have rows in the range.
fn distinct_series(view: &SampleView<'_>, work: &mut Work<'_>) -> Result<Sets, ScanError> {
    let mut sets = Sets::default();
    for part in view.samples.iter().chain(&view.histograms) {
        work.read_open(part, view.open, |work, open| {
            for index in 0..open.groups() {
                let group = open.group(index)?;
                if !samples::may_overlap(&group, work.scan.time) {
                    continue;
                }
                let series = series_of(open, index, &group, work)?;
                let mut chosen: Vec<_> =
                    choose(&series, work).into_iter().filter_map(|at| series.runs.get(at)).collect();
                chosen.retain(|run| !sets.contains(&run.labels));
                retain_in_range(&group, &mut chosen, work)?;
                chosen.iter().try_for_each(|run| sets.add(&run.labels, work))?;
            }
            Ok(())
        })?;
    }
    for (labels, _) in view.heads.iter().flat_map(|head| &head.series) {
        sets.add(labels, work)?;
    }
    Ok(sets)
}

/// Looks at times only when the range cuts through the row group, or rows of it were deleted.
fn retain_in_range(
    group: &GroupReader<'_>,
    runs: &mut Vec<&SeriesRun>,
    work: &mut Work<'_>,
) -> Result<(), PartError> {
    let (range, hidden) = (work.scan.time, group.hidden());
    if (samples::is_inside(group, range) && hidden.is_empty()) || runs.is_empty() {
        return Ok(());
    }
    let rows: usize = runs.iter().map(|run| run.rows.len()).sum();
    let space = open_group(group, work)?.saturating_add(rows.saturating_mul(size_of::<Millis>()));
    work.charge(rows.saturating_mul(size_of::<Millis>()))?;
    let mut times = samples::times(group, runs)?.into_iter();
    runs.retain(|run| {
        let is_seen = |time: Nanos| range.contains(time) && !hidden.hides(time, &run.labels);
        times.next().is_some_and(|list| list.iter().any(|time| is_seen(time.to_nanos())))
    });
    work.refund(space);
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
