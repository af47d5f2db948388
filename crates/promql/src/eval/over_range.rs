//! Functions of ranges: the window of each series at each instant, handed to the function.

use std::sync::Arc;

use kenning_model::{CounterReset, Histogram, LabelSet, Millis};
use kenning_query::{LimitKind, QueryError, SourceSpan};

use super::leaf::{Leaf, Row};
use super::over_time as over;
use super::rate;
use super::select::{Flat, Given, Loaded, within};
use super::sliding::{self, Rows, Windows};
use super::{Column, Evaluated, Evaluator, Point, Steps, is_stale};
use crate::Series;
use crate::annotation::Annotations;
use crate::plan::{OverRange, Range, RangeSource, Vector, When};
use crate::syntax::Extension;

macro_rules! range_functions {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// A function of a range.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum RangeFunction { $($variant),+ }

        impl RangeFunction {
            pub(crate) fn find(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

range_functions! {
    Rate = "rate",
    Increase = "increase",
    Delta = "delta",
    Irate = "irate",
    Idelta = "idelta",
    Avg = "avg_over_time",
    Sum = "sum_over_time",
    Count = "count_over_time",
    Min = "min_over_time",
    Max = "max_over_time",
    TimeOfMin = "ts_of_min_over_time",
    TimeOfMax = "ts_of_max_over_time",
    First = "first_over_time",
    Last = "last_over_time",
    TimeOfFirst = "ts_of_first_over_time",
    TimeOfLast = "ts_of_last_over_time",
    Present = "present_over_time",
    Stddev = "stddev_over_time",
    Stdvar = "stdvar_over_time",
    Quantile = "quantile_over_time",
    Mad = "mad_over_time",
    Changes = "changes",
    Resets = "resets",
    Deriv = "deriv",
    PredictLinear = "predict_linear",
    Smoothing = "double_exponential_smoothing",
}

impl RangeFunction {
    /// True when the values are the metric's own.
    const fn keeps_name(self) -> bool {
        matches!(self, Self::First | Self::Last)
    }

    /// True when a gauge is probably a mistake.
    const fn is_for_counters(self) -> bool {
        matches!(self, Self::Rate | Self::Increase)
    }
}

/// Room for the samples of a series that has markers of its end.
#[derive(Default)]
struct Cleaned {
    times: Vec<i64>,
    values: Vec<f64>,
}

impl Cleaned {
    /// The samples without the markers, which ranges do not see. Most series have none and are not copied.
    fn without_markers<'a>(&'a mut self, flat: Flat<'a>) -> (&'a [i64], &'a [f64]) {
        if !flat.values.iter().any(|value| is_stale(*value)) {
            return (flat.times, flat.values);
        }
        let there = flat.times.iter().zip(flat.values).filter(|(_, value)| !is_stale(**value));
        (self.times, self.values) = there.map(|(time, value)| (*time, *value)).unzip();
        (&self.times, &self.values)
    }
}

/// What a function of a range sees.
pub(super) struct Window<'a> {
    pub floats: &'a [(i64, f64)],
    pub histograms: &'a [(i64, Arc<Histogram>)],
    /// When the counters behind `floats` and `histograms` began, by position; zero and beyond the end: unknown.
    pub starts: &'a [i64],
    pub histogram_starts: &'a [i64],
    /// The range is `(start, end]`; extended selectors bring samples outside of it.
    pub start: i64,
    pub end: i64,
    /// The instant of evaluation.
    pub time: i64,
    pub extension: Option<Extension>,
    pub metric: &'a str,
    pub params: &'a [f64],
    pub span: SourceSpan,
}

impl Window<'_> {
    /// Width of the range in seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.end.saturating_sub(self.start) as f64 / 1000.0
    }

    pub(super) fn param(&self, i: usize) -> f64 {
        self.params.get(i).copied().unwrap_or(f64::NAN)
    }
}

/// Which ranges belong to the instants of an evaluation.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    when: When,
    width: i64,
    extension: Option<Extension>,
    /// How far outside of the range samples are looked at, before and after.
    margin: (i64, i64),
}

impl Frame {
    fn new(range: &Range, lookback: i64) -> Self {
        let (extension, margin) = match &range.source {
            RangeSource::Selector { extension: Some(Extension::Anchored), .. } => {
                (Some(Extension::Anchored), (lookback, 0))
            }
            RangeSource::Selector { extension: Some(Extension::Smoothed), .. } => {
                (Some(Extension::Smoothed), (lookback, lookback))
            }
            _ => (None, (0, 0)),
        };
        Self { when: range.when, width: range.width, extension, margin }
    }

    /// The range that belongs to an instant.
    #[inline]
    pub(super) fn range(&self, time: i64) -> (i64, i64) {
        let end = self.when.of(time);
        (end.saturating_sub(self.width), end)
    }

    /// True when a range's samples are those inside of it.
    pub(super) fn is_plain(&self) -> bool {
        self.extension.is_none()
    }
}

/// The samples of a window as positions in their series. Windows move forward only, so every sample is passed once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    pub from: usize,
    pub to: usize,
}

impl Bounds {
    /// The samples in `(start, end]`.
    pub(super) fn advance<'a, T>(&mut self, samples: &'a [(i64, T)], start: i64, end: i64) -> &'a [(i64, T)] {
        let passed = |at: usize, border: i64| samples.get(at).is_some_and(|(time, _)| *time <= border);
        while passed(self.from, start) {
            self.from += 1;
        }
        self.to = self.to.max(self.from);
        while passed(self.to, end) {
            self.to += 1;
        }
        samples.get(self.from..self.to).unwrap_or(&[])
    }

    /// What stands beside the samples of the window; empty when there is nothing beside them.
    fn beside<'a>(&self, list: &'a [i64]) -> &'a [i64] {
        list.get(self.from..self.to).unwrap_or(&[])
    }
}

impl Evaluator<'_> {
    /// The series of a range vector, one by one, without the markers of their ends.
    fn each_series(
        &mut self,
        range: &Range,
        steps: Steps,
        each: &mut dyn FnMut(&mut Self, &Loaded) -> Evaluated<()>,
    ) -> Evaluated<()> {
        let frame = Frame::new(range, self.options.lookback_ms);
        let (first, last) = (range.when.of(steps.start), range.when.of(steps.last()));
        let start = first.saturating_sub(range.width).saturating_sub(frame.margin.0);
        let mut take = |this: &mut Self, mut one: Loaded| {
            let bytes = one.bytes();
            one.drop_stale();
            if !this.options.start_timestamps {
                one.forget_starts();
            }
            each(this, &one)?;
            this.release(bytes);
            Ok(())
        };
        match &range.source {
            RangeSource::Selector { filter, resets, .. } => {
                let span = (start.saturating_add(1), last.saturating_add(frame.margin.1));
                self.load_each(filter, *resets, span, &mut take)
            }
            RangeSource::Subquery { operand, step } => {
                let series = self.subquery(operand, *step, start, last)?;
                series.into_iter().try_for_each(|one| take(self, one))
            }
        }
    }

    /// Evaluates an expression on a grid of its own: multiples of the step after `start` up to `end`.
    fn subquery(
        &mut self,
        operand: &Vector,
        step: Option<i64>,
        start: i64,
        end: i64,
    ) -> Evaluated<Vec<Loaded>> {
        let step = step.unwrap_or(self.options.subquery_step_ms).max(1);
        let mut first = (start / step).saturating_mul(step);
        if first <= start {
            first = first.saturating_add(step);
        }
        let steps = Steps::between(first, end, step);
        let limit = self.context.limits.samples_max;
        if steps.len as u64 > limit {
            return Err(QueryError::Limit { kind: LimitKind::Samples, limit });
        }
        let columns = self.vector(operand, steps)?;
        let mut series = Vec::with_capacity(columns.len());
        self.release_columns(&columns, steps);
        for column in columns {
            let mut loaded = Loaded {
                labels: column.labels,
                drop_name: column.drop_name,
                floats: Vec::new(),
                histograms: Vec::new(),
                starts: Vec::new(),
                histogram_starts: Vec::new(),
            };
            for (i, point) in column.points.into_iter().enumerate() {
                match point {
                    Some(Point::Float(value)) => loaded.floats.push((steps.at(i), value)),
                    Some(Point::Histogram(h)) => loaded.histograms.push((steps.at(i), without_hint(h))),
                    None => {}
                }
            }
            self.charge(loaded.bytes())?;
            series.push(loaded);
        }
        Ok(series)
    }

    /// A range vector as the answer of a query.
    pub(super) fn raw_range(&mut self, range: &Range, steps: Steps) -> Evaluated<Vec<Series>> {
        let frame = Frame::new(range, self.options.lookback_ms);
        let (start, end) = frame.range(steps.start);
        let mut answer = Vec::new();
        self.each_series(range, steps, &mut |this, one| {
            let from = start.saturating_sub(frame.margin.0);
            let to = end.saturating_add(frame.margin.1);
            let (floats, histograms) = (within(&one.floats, from, to), within(&one.histograms, from, to));
            this.stats.samples += (floats.len() + histograms.len()) as u64;
            let extended = match frame.extension {
                None => floats.to_vec(),
                Some(extension) if histograms.is_empty() => rate::extend(floats, start, end, extension),
                Some(Extension::Anchored) => {
                    return Err(super::failure(
                        range.span,
                        "anchored modifier is not supported with histograms",
                    ));
                }
                Some(Extension::Smoothed) => {
                    return Err(super::failure(
                        range.span,
                        "smoothed modifier is not supported with histograms",
                    ));
                }
            };
            let mut points: Vec<_> = extended.iter().map(|(t, v)| (Millis(*t), Point::Float(*v))).collect();
            points.extend(histograms.iter().map(|(t, h)| (Millis(*t), Point::Histogram(h.clone()))));
            points.sort_by_key(|(time, _)| *time);
            this.charge(points.len() * size_of::<(Millis, Point)>())?;
            if !points.is_empty() {
                let labels =
                    if one.drop_name { super::without_metadata(&one.labels) } else { one.labels.clone() };
                answer.push(Series { labels, points });
            }
            Ok(())
        })?;
        answer.sort_by(|a, b| a.labels.cmp(&b.labels));
        merge_neighbours(answer)
    }

    pub(super) fn over_range(&mut self, call: &OverRange, steps: Steps) -> Evaluated<Vec<Column>> {
        if !self.options.plain
            && let Some(leaf) = self.range_leaf(call)
        {
            return self.columns_of(&leaf, steps);
        }
        let params: Vec<_> =
            call.params.iter().map(|param| self.scalar(param, steps)).collect::<Result<_, _>>()?;
        let mut columns = Vec::new();
        self.each_series(&call.range, steps, &mut |this, one| {
            columns.extend(this.range_column(call, one, &params, steps)?);
            Ok(())
        })?;
        Ok(columns)
    }

    /// What a function makes of a series, charged; `None` without any value.
    fn range_column(
        &mut self,
        call: &OverRange,
        one: &Loaded,
        params: &[Vec<f64>],
        steps: Steps,
    ) -> Evaluated<Option<Column>> {
        self.charge_columns(1, steps)?;
        let frame = Frame::new(&call.range, self.options.lookback_ms);
        let points = match self.shortcut(call, frame, one, steps) {
            Some(points) => points,
            None => self.windows(call, &frame, one, params, steps)?,
        };
        let drop_name = one.drop_name || !call.function.keeps_name();
        let column = Column { labels: one.labels.clone(), drop_name, points };
        if column.is_blank() {
            self.release_columns(&[column], steps);
            return Ok(None);
        }
        if call.function.is_for_counters() && column.points.iter().flatten().any(|p| p.float().is_some()) {
            self.check_counter(&column.labels, call.span);
        }
        Ok(Some(column))
    }

    /// The points of a loaded series by [`Rows`], where that can be.
    fn shortcut(
        &mut self,
        call: &OverRange,
        frame: Frame,
        one: &Loaded,
        steps: Steps,
    ) -> Option<Vec<Option<Point>>> {
        if self.options.plain || !one.histograms.is_empty() || !one.starts.is_empty() {
            return None;
        }
        let mut rows = Rows::new(call.function, frame, steps)?;
        let (times, values): (Vec<_>, Vec<_>) = one.floats.iter().copied().unzip();
        let mut row = Vec::new();
        self.stats.samples += rows.fill(&times, &values, &mut row).samples;
        Some(sliding::points(&row))
    }

    /// The call as a leaf whose rows come without columns in between.
    pub(super) fn range_leaf<'a>(&self, call: &'a OverRange) -> Option<Leaf<'a>> {
        let frame = Frame::new(&call.range, self.options.lookback_ms);
        if !Rows::exist(call.function, frame) {
            return None;
        }
        match call.range.source {
            RangeSource::Selector { .. } => Some(Leaf::Range(call)),
            RangeSource::Subquery { .. } => None,
        }
    }

    /// The rows of a function of a selector's ranges, series by series: floats as they are, others as columns that are
    /// charged.
    pub(super) fn range_rows(
        &mut self,
        call: &OverRange,
        steps: Steps,
        each: &mut dyn FnMut(&mut Self, Row<'_>) -> Evaluated<()>,
    ) -> Evaluated<()> {
        let frame = Frame::new(&call.range, self.options.lookback_ms);
        let RangeSource::Selector { filter, resets, .. } = &call.range.source else { return Ok(()) };
        let Some(mut rows) = Rows::new(call.function, frame, steps) else { return Ok(()) };
        let (first, last) = (frame.range(steps.start).0, frame.range(steps.last()).1);
        let drop_name = !call.function.keeps_name();
        let (mut row, mut cleaned, mut checked) = (Vec::new(), Cleaned::default(), LabelSet::empty());
        let bytes = steps.len.saturating_mul(Windows::BYTES);
        self.charge(bytes)?;
        let done =
            self.load_given(
                filter,
                *resets,
                (first.saturating_add(1), last),
                &mut |this, given| match given {
                    Given::Flat(flat) => {
                        let (times, values) = cleaned.without_markers(flat);
                        let found = rows.fill(times, values, &mut row);
                        this.stats.samples += found.samples;
                        if found.values == 0 {
                            return Ok(());
                        }
                        if call.function.is_for_counters()
                            && checked.metric_name() != flat.labels.metric_name()
                        {
                            this.check_counter(flat.labels, call.span);
                            // Remarks are by metric, unless labels say what a series is.
                            if !this.options.type_and_unit_labels {
                                checked = flat.labels.clone();
                            }
                        }
                        each(this, Row::Floats { labels: flat.labels, drop_name, values: &row })
                    }
                    Given::Loaded(mut one) => {
                        let bytes = one.bytes();
                        one.drop_stale();
                        if !this.options.start_timestamps {
                            one.forget_starts();
                        }
                        let column = this.range_column(call, &one, &[], steps)?;
                        this.release(bytes);
                        column.map_or(Ok(()), |column| each(this, Row::Column(column)))
                    }
                },
            );
        self.release(bytes);
        done
    }

    fn windows(
        &mut self,
        call: &OverRange,
        frame: &Frame,
        loaded: &Loaded,
        params: &[Vec<f64>],
        steps: Steps,
    ) -> Evaluated<Vec<Option<Point>>> {
        let mut points = vec![None; steps.len];
        let mut values = vec![f64::NAN; params.len()];
        let (mut float_bounds, mut histogram_bounds) = (Bounds::default(), Bounds::default());
        for ((i, time), slot) in steps.iter().zip(&mut points) {
            let (start, end) = frame.range(time);
            let (from, to) = (start.saturating_sub(frame.margin.0), end.saturating_add(frame.margin.1));
            let floats = float_bounds.advance(&loaded.floats, from, to);
            let histograms = histogram_bounds.advance(&loaded.histograms, from, to);
            if floats.is_empty() && histograms.is_empty() {
                continue;
            }
            self.stats.samples += (floats.len() + histograms.len()) as u64;
            for (value, param) in values.iter_mut().zip(params) {
                *value = param.get(i).copied().unwrap_or(f64::NAN);
            }
            let window = Window {
                floats,
                histograms,
                starts: float_bounds.beside(&loaded.starts),
                histogram_starts: histogram_bounds.beside(&loaded.histogram_starts),
                start,
                end,
                time,
                extension: frame.extension,
                metric: loaded.labels.metric_name(),
                params: &values,
                span: call.span,
            };
            *slot = apply(call.function, &window, &mut self.notes)?;
        }
        Ok(points)
    }

    /// A rate of something that does not look like a counter deserves a remark.
    fn check_counter(&mut self, labels: &LabelSet, span: SourceSpan) {
        let metric = labels.metric_name();
        if metric.is_empty() {
            return;
        }
        if self.options.type_and_unit_labels {
            let found = labels.get("__type__");
            if !matches!(found, "counter" | "histogram") {
                self.notes.not_typed_counter(metric, found, span);
            }
        } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| metric.ends_with(suffix)) {
            self.notes.maybe_not_counter(metric, span);
        }
    }

    pub(super) fn absent_over_range(
        &mut self,
        range: &Range,
        labels: &LabelSet,
        steps: Steps,
    ) -> Evaluated<Vec<Column>> {
        let frame = Frame::new(range, self.options.lookback_ms);
        self.charge_columns(1, steps)?;
        let mut points = vec![Some(Point::Float(1.0)); steps.len];
        self.each_series(range, steps, &mut |_, one| {
            let (mut floats, mut histograms) = (Bounds::default(), Bounds::default());
            for ((_, time), point) in steps.iter().zip(&mut points) {
                let (start, end) = frame.range(time);
                let there = !floats.advance(&one.floats, start, end).is_empty()
                    || !histograms.advance(&one.histograms, start, end).is_empty();
                *point = point.take().filter(|_| !there);
            }
            Ok(())
        })?;
        let column = Column { labels: labels.clone(), drop_name: true, points };
        Ok(if column.is_blank() { Vec::new() } else { vec![column] })
    }
}

/// Joins series that have the same labels once their names are gone.
pub(super) fn merge_neighbours(sorted: Vec<Series>) -> Evaluated<Vec<Series>> {
    let mut merged: Vec<Series> = Vec::with_capacity(sorted.len());
    for series in sorted {
        match merged.last_mut().filter(|last| last.labels == series.labels) {
            None => merged.push(series),
            Some(last) => {
                last.points.extend(series.points);
                last.points.sort_by_key(|(time, _)| *time);
                if last.points.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
                    return Err(super::failure(SourceSpan::default(), super::collect::SAME_LABELS));
                }
            }
        }
    }
    Ok(merged)
}

/// Results of a subquery are not neighbours in their series, so what the samples said about resets says nothing here.
fn without_hint(mut histogram: Arc<Histogram>) -> Arc<Histogram> {
    if matches!(histogram.reset, CounterReset::Yes | CounterReset::No) {
        Arc::make_mut(&mut histogram).reset = CounterReset::Unknown;
    }
    histogram
}

fn apply(
    function: RangeFunction,
    window: &Window<'_>,
    notes: &mut Annotations,
) -> Result<Option<Point>, QueryError> {
    use RangeFunction as F;
    let float = |value: Option<f64>| value.map(Point::Float);
    Ok(match function {
        F::Rate => rate::rate(window, true, true, notes),
        F::Increase => rate::rate(window, true, false, notes),
        F::Delta => rate::rate(window, false, false, notes),
        F::Irate => rate::instant_rate(window, true, notes),
        F::Idelta => rate::instant_rate(window, false, notes),
        F::Avg => over::avg(window, notes),
        F::Sum => over::sum(window, notes),
        F::Count => float(Some((window.floats.len() + window.histograms.len()) as f64)),
        F::Min => float(over::extreme(window, notes, |new, best| new < best).map(|(_, value)| value)),
        F::Max => float(over::extreme(window, notes, |new, best| new > best).map(|(_, value)| value)),
        F::TimeOfMin => float(over::extreme(window, notes, |new, best| new <= best).map(|(t, _)| seconds(t))),
        F::TimeOfMax => float(over::extreme(window, notes, |new, best| new >= best).map(|(t, _)| seconds(t))),
        F::First => over::first(window).map(|(_, point)| point),
        F::Last => over::last(window).map(|(_, point)| point),
        F::TimeOfFirst => float(over::first(window).map(|(time, _)| seconds(time))),
        F::TimeOfLast => float(over::last(window).map(|(time, _)| seconds(time))),
        F::Present => float(Some(1.0)),
        F::Stddev => float(over::variance(window, notes).map(f64::sqrt)),
        F::Stdvar => float(over::variance(window, notes)),
        F::Quantile => float(over::quantile(window, notes)),
        F::Mad => float(over::mad(window, notes)),
        F::Changes => float(over::changes(window)),
        F::Resets => float(over::resets(window)),
        F::Deriv => float(over::deriv(window, notes)),
        F::PredictLinear => float(over::predict_linear(window, notes)),
        F::Smoothing => float(over::smoothing(window, notes)?),
    })
}

fn seconds(time: i64) -> f64 {
    time as f64 / 1000.0
}
