//! Range aggregations: samples out of lines, collected by series, then a function of each window.
//!
//! Counts and bytes need no samples: a line adds to the windows it lies in, which are neighbours, so each series keeps
//! two differences per line and sums them up at the end. Other functions keep the samples of their series.

use std::borrow::Cow;
use std::collections::HashMap;

use kenning_model::{Block, Filter, Flow, LabelSet, LogRow, Nanos, Scan, Table, TimeRange};
use kenning_query::{Diagnostic, QueryContext, QueryError};

use super::grid::{Grid, Matrix, Series};
use super::scan::push_down;
use super::streams::line_labels;
use super::window::{self, Sample};
use super::{Evaluator, Usage, execution};
use crate::pipeline::{
    Category, Clock, CompiledFilter, ERROR, Hints, LineLabels, PRESERVE_ERROR, Pipeline, fault,
};
use crate::syntax::ast::{Conversion, Grouping, MatchOp, RangeAggregation, RangeOp, Unwrap};
use kenning_gotext::{duration, float, quote::quote, size};

/// Lines between two looks at the cancel flag.
const CANCEL_EVERY: u64 = 1024;

impl Evaluator<'_> {
    /// Evaluates a range aggregation. `outer` is the grouping of a `sum` around it, which may be applied early: that
    /// also spares parsers the labels nobody will see.
    pub(super) fn range_aggregation(
        &mut self,
        range: &RangeAggregation,
        outer: Option<&Grouping>,
    ) -> Result<Matrix, QueryError> {
        if self.grid.len == 0 {
            return Ok(Matrix::default());
        }
        if let Some(matrix) = self.numbers_from_store(range, outer)? {
            return Ok(matrix);
        }
        let series = self.collect(range, outer, push_down(&range.range.log).filter)?;
        self.finish(range, series)
    }

    /// The samples of the lines that pass a filter, which drops none that the pipeline keeps or else is meant to.
    pub(super) fn collect(
        &mut self,
        range: &RangeAggregation,
        outer: Option<&Grouping>,
        filter: Filter,
    ) -> Result<Vec<Collected>, QueryError> {
        let (ctx, grid) = (self.ctx, self.grid);
        let extractor = Extractor::new(range, outer)?;
        let offset = range.range.offset;
        let time = TimeRange {
            start: Nanos(
                grid.start.0.saturating_sub(range.range.interval).saturating_sub(offset).saturating_add(1),
            ),
            end: Nanos(grid.end().0.saturating_sub(offset)),
        };
        let mut scan = Scan::rows(ctx.tenant.clone(), Table::Logs, time, filter);
        scan.bytes_max = ctx.limits.memory_bytes_max;
        scan.cancel = ctx.cancel.clone();
        let mut collector = Collector {
            ctx,
            grid,
            extractor,
            usage: &mut self.usage,
            series: Vec::new(),
            places: HashMap::new(),
            key: Vec::new(),
        };
        let mut failure = None;
        let summary = self.store.scan(&scan, &mut |block| match collector.take(&block) {
            Ok(()) => Flow::More,
            Err(error) => {
                failure = Some(error);
                Flow::Stop
            }
        })?;
        if let Some(error) = failure {
            return Err(error);
        }
        let series = std::mem::take(&mut collector.series);
        self.usage.stats.lines += summary.rows;
        self.usage.missing.extend(summary.missing);
        Ok(series)
    }

    /// The function of every window of every series.
    pub(super) fn finish(
        &self,
        range: &RangeAggregation,
        series: Vec<Collected>,
    ) -> Result<Matrix, QueryError> {
        let mut matrix = Matrix::default();
        for collected in series {
            self.check_cancelled()?;
            let values = match collected.samples {
                Samples::Counts(counts) => counts.values(range),
                Samples::Values(samples) => self.windows(range, &samples)?,
            };
            matrix.series.push(Series { labels: collected.labels, values });
        }
        if range.op == RangeOp::AbsentOverTime {
            return Ok(absent(range, &matrix, &self.grid));
        }
        Ok(matrix.sorted())
    }

    /// The function's value at every instant, over samples ordered by time.
    fn windows(&self, range: &RangeAggregation, samples: &[Sample]) -> Result<Vec<Option<f64>>, QueryError> {
        let (width, mut from, mut to) = (range.range.interval, 0, 0);
        let mut values = Vec::with_capacity(self.grid.len);
        for step in 0..self.grid.len {
            if step % 64 == 0 {
                self.check_cancelled()?;
            }
            let end = self.grid.time(step).0;
            let start = end.saturating_sub(width);
            while samples.get(to).is_some_and(|(time, _)| *time <= end) {
                to += 1;
            }
            while from < to && samples.get(from).is_some_and(|(time, _)| *time <= start) {
                from += 1;
            }
            let window = samples.get(from..to).unwrap_or(&[]);
            let value = || window::apply(range.op, range.param, window, end, width);
            values.push((!window.is_empty()).then(value));
        }
        Ok(values)
    }
}

/// One where nothing is, with the labels that the selector's equality matchers promise.
fn absent(range: &RangeAggregation, present: &Matrix, grid: &Grid) -> Matrix {
    let matchers = &range.range.log.matchers;
    let mut builder = LabelSet::empty().to_builder();
    for (index, matcher) in matchers.iter().enumerate() {
        let mut others = matchers.iter().enumerate().filter(|(i, m)| *i != index && m.name == matcher.name);
        if matcher.op == MatchOp::Eq && others.next().is_none() {
            builder.set(&matcher.name, &matcher.value);
        }
    }
    let is_absent =
        |step: usize| present.series.iter().all(|s| s.values.get(step).copied().flatten().is_none());
    let values = (0..grid.len).map(|step| is_absent(step).then_some(1.0)).collect();
    Matrix { series: vec![Series { labels: builder.build(), values }] }
}

/// How lines become samples of series.
struct Extractor {
    pipeline: Pipeline,
    unwrap: Option<(String, Conversion, Vec<CompiledFilter>)>,
    /// Bytes rather than one per line.
    counts_bytes: bool,
    /// Windows are computed from counts.
    is_counting: bool,
    /// Labels grouped by, sorted.
    groups: Vec<String>,
    without: bool,
    single: bool,
    interval: i64,
    offset: i64,
}

impl Extractor {
    fn new(range: &RangeAggregation, outer: Option<&Grouping>) -> Result<Self, QueryError> {
        let invalid = |diagnostic| QueryError::Invalid(vec![diagnostic]);
        let grouping = outer.or(range.grouping.as_ref());
        let absent = range.op == RangeOp::AbsentOverTime;
        let single = absent || grouping.is_some_and(Grouping::is_single);
        let mut without = grouping.is_some_and(|g| g.without);
        let mut groups = grouping.map_or_else(Vec::new, |g| g.labels.clone());
        let unwrap = range.range.unwrap.as_ref();
        if let Some(unwrap) = unwrap
            && (groups.is_empty() || without)
        {
            without = true;
            groups.push(unwrap.label.clone());
        }
        groups.sort();
        let unwrap = unwrap
            .map(compile_unwrap)
            .transpose()
            .map_err(|error| invalid(Diagnostic::error(range.span, error)))?;
        let unwrapped = unwrap.as_ref().map_or("", |(label, _, _)| label.as_str());
        let pipeline = Pipeline::new(&range.range.log.stages).map_err(invalid)?.with_hints(|mut names| {
            names.extend(
                unwrap.iter().flat_map(|(_, _, filters)| filters.iter().flat_map(CompiledFilter::names)),
            );
            Hints::new(names, &groups, without, single, unwrapped)
        });
        Ok(Self {
            pipeline,
            is_counting: unwrap.is_none(),
            unwrap,
            counts_bytes: matches!(range.op, RangeOp::BytesRate | RangeOp::BytesOverTime),
            groups,
            without,
            single,
            interval: range.range.interval,
            offset: range.range.offset,
        })
    }

    /// The sample of a line; `None` when the line is dropped.
    fn extract<'a>(&self, row: &LogRow<'a>, now: Nanos) -> Option<(f64, LineLabels<'a>)> {
        let mut labels = line_labels(row, |name| self.pipeline.hints().wants_label(name));
        let clock = Clock { line: row.time, now };
        let line = self.pipeline.run(clock, Cow::Borrowed(row.line), &mut labels)?;
        let Some((label, conversion, filters)) = &self.unwrap else {
            let value = if self.counts_bytes { line.len() as f64 } else { 1.0 };
            return Some((value, labels));
        };
        let text = labels.get(label).filter(|text| !text.is_empty())?;
        let value = convert(*conversion, text).unwrap_or_else(|details| {
            labels.set_error(fault::SAMPLE, Some(details));
            0.0
        });
        let mut kept = true;
        // Every filter runs, as in a chain of "and".
        for filter in filters {
            kept &= filter.passes(&mut labels);
        }
        kept.then_some((value, labels))
    }

    /// The labels of the series that the sample belongs to, sorted.
    fn series_labels<'s>(&self, labels: &'s LineLabels<'_>) -> Vec<(&'s str, &'s str)> {
        let grouped = |name: &str| self.groups.iter().any(|group| group == name);
        if self.single && labels.error().is_empty() {
            return Vec::new();
        }
        let everything = !labels.error().is_empty() || self.groups.is_empty();
        let mut pairs = Vec::new();
        labels.for_each(|name, value, _: Category| {
            if everything || grouped(name) != self.without {
                pairs.push((name, value));
            }
        });
        pairs.sort_unstable();
        pairs
    }
}

fn compile_unwrap(unwrap: &Unwrap) -> Result<(String, Conversion, Vec<CompiledFilter>), String> {
    let filters = unwrap.filters.iter().map(CompiledFilter::new).collect::<Result<_, _>>()?;
    Ok((unwrap.label.clone(), unwrap.conversion, filters))
}

fn convert(conversion: Conversion, text: &str) -> Result<f64, String> {
    match conversion {
        Conversion::Float => float::parse(text),
        Conversion::Bytes => size::parse(text).map(|bytes| bytes as f64),
        Conversion::Duration | Conversion::DurationSeconds => {
            duration::parse_go(text).map(|nanos| nanos as f64 / 1e9)
        }
    }
}

/// The samples of one series.
pub(super) struct Collected {
    pub(super) labels: LabelSet,
    pub(super) samples: Samples,
}

pub(super) enum Samples {
    Counts(Counts),
    Values(Vec<Sample>),
}

/// Lines and their weight per window, as differences between neighbouring instants.
pub(super) struct Counts {
    lines: Vec<i64>,
    weight: Vec<i64>,
}

impl Counts {
    pub(super) fn new(grid_len: usize) -> Self {
        Self { lines: vec![0; grid_len + 1], weight: vec![0; grid_len + 1] }
    }

    /// Adds lines to windows from the first to the last number.
    pub(super) fn add(&mut self, (first, last): (usize, usize), lines: i64, weight: i64) {
        for (differences, amount) in [(&mut self.lines, lines), (&mut self.weight, weight)] {
            if let Some(slot) = differences.get_mut(first) {
                *slot += amount;
            }
            if let Some(slot) = differences.get_mut(last + 1) {
                *slot -= amount;
            }
        }
    }

    /// Adds what was counted apart.
    pub(super) fn join(&mut self, other: &Self) {
        self.lines.iter_mut().zip(&other.lines).for_each(|(own, more)| *own += more);
        self.weight.iter_mut().zip(&other.weight).for_each(|(own, more)| *own += more);
    }

    /// Bytes held for a grid of that length.
    pub(super) const fn heap_bytes(grid_len: usize) -> usize {
        2 * size_of::<i64>() * (grid_len + 1)
    }

    /// The value at every instant; none where no line is.
    pub(super) fn values(&self, range: &RangeAggregation) -> Vec<Option<f64>> {
        let per_second = matches!(range.op, RangeOp::Rate | RangeOp::BytesRate);
        let seconds = range.range.interval as f64 / 1e9;
        let (mut lines, mut weight) = (0, 0);
        let grid_len = self.lines.len() - 1;
        let differences = self.lines.iter().zip(&self.weight).take(grid_len);
        differences
            .map(|(line_difference, weight_difference)| {
                lines += line_difference;
                weight += weight_difference;
                let value = if per_second { weight as f64 / seconds } else { weight as f64 };
                (lines > 0).then_some(value)
            })
            .collect()
    }
}

struct Collector<'q, 'u> {
    ctx: &'q QueryContext,
    grid: Grid,
    extractor: Extractor,
    usage: &'u mut Usage,
    series: Vec<Collected>,
    places: HashMap<Vec<u8>, usize>,
    /// Work space for keys of `places`.
    key: Vec<u8>,
}

impl Collector<'_, '_> {
    fn take(&mut self, block: &Block) -> Result<(), QueryError> {
        let Block::Logs(batch) = block else { return Ok(()) };
        for row in batch.rows() {
            self.usage.see(row.line.len(), self.ctx)?;
            if self.usage.samples.is_multiple_of(CANCEL_EVERY) && self.ctx.cancel.is_raised() {
                return Err(QueryError::Cancelled);
            }
            self.take_row(&row)?;
        }
        Ok(())
    }

    fn take_row(&mut self, row: &LogRow<'_>) -> Result<(), QueryError> {
        let time = row.time.0.saturating_add(self.extractor.offset);
        let Some(windows) = self.grid.windows(time, self.extractor.interval) else { return Ok(()) };
        let Some((value, labels)) = self.extractor.extract(row, self.grid.end()) else { return Ok(()) };
        if !labels.error().is_empty() && labels.get(PRESERVE_ERROR) != Some("true") {
            return Err(pipeline_error(&labels));
        }
        let place = self.place(&labels)?;
        let Some(series) = self.series.get_mut(place) else { return Ok(()) };
        match &mut series.samples {
            Samples::Counts(counts) => counts.add(windows, 1, value as i64),
            Samples::Values(samples) => {
                if samples.len() == samples.capacity() {
                    let more = samples.capacity().max(4);
                    self.usage.charge(more * size_of::<Sample>(), self.ctx)?;
                    samples.reserve_exact(more);
                }
                samples.push((time, value));
            }
        }
        Ok(())
    }

    /// The series of a sample, by its encoded labels.
    fn place(&mut self, labels: &LineLabels<'_>) -> Result<usize, QueryError> {
        let pairs = self.extractor.series_labels(labels);
        self.key.clear();
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            self.key.extend_from_slice(&(text.len() as u32).to_le_bytes());
            self.key.extend_from_slice(text.as_bytes());
        }
        match self.places.get(&self.key) {
            Some(place) => Ok(*place),
            None => self.new_series(&pairs),
        }
    }

    fn new_series(&mut self, pairs: &[(&str, &str)]) -> Result<usize, QueryError> {
        let mut builder = LabelSet::empty().to_builder();
        pairs.iter().for_each(|(name, value)| {
            builder.set(name, value);
        });
        let labels = builder.build_with_empty();
        let (samples, bytes) = match self.extractor.is_counting {
            true => (Samples::Counts(Counts::new(self.grid.len)), Counts::heap_bytes(self.grid.len)),
            false => (Samples::Values(Vec::new()), 0),
        };
        self.usage.charge(labels.heap_bytes() + self.key.len() + size_of::<Collected>() + bytes, self.ctx)?;
        self.series.push(Collected { labels, samples });
        self.places.insert(self.key.clone(), self.series.len() - 1);
        Ok(self.series.len() - 1)
    }
}

/// Lines that a stage could not process fail a metric query, unless it filters them out.
fn pipeline_error(labels: &LineLabels<'_>) -> QueryError {
    let mut all = Vec::new();
    labels.for_each(|name, value, _| all.push(format!("{name}={}", quote(value))));
    all.sort();
    let error = labels.error();
    let message = format!(
        "pipeline error: '{error}' for series: '{{{}}}'.\n\
         Use a label filter to intentionally skip this error. (e.g | {ERROR}!=\"{error}\").\n\
         To skip all potential errors you can match empty errors.(e.g {ERROR}=\"\")\n\
         The label filter can also be specified after unwrap. (e.g | unwrap latency | {ERROR}=\"\" )\n",
        all.join(", ")
    );
    execution(kenning_query::SourceSpan::default(), message)
}
