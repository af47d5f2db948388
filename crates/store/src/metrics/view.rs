//! What a scan takes out of a head: the series that pass its filter with what they have in its range, copied while the
//! head cannot change and decoded when it can again. Finished runs of samples are shared, not copied.

use std::ops::Range;
use std::sync::Arc;

use kenning_codec::chunk::{Run, samples_in};
use kenning_model::{DistinctOf, Histogram, LabelSet, Millis, ScanError, SeriesColumns, Shape};

use super::head::{LabelOrder, MetricHead, MetricSeries, Series};
use super::samples::millis_in;
use crate::scan::ENTRY_BYTES;
use crate::scan::prune::SeriesFilter;
use crate::scan::work::Work;

/// Series of a head and what they have.
#[derive(Default)]
pub(crate) struct HeadView {
    pub(crate) series: Vec<(LabelSet, Place)>,
    /// The series are in label order.
    pub(crate) is_sorted: bool,
    pub(crate) rows: HeadRows,
    newcomers: Vec<Newcomers>,
    order: Arc<LabelOrder>,
}

/// What the series of a view have, one after the other.
#[derive(Default)]
pub(crate) struct HeadRows {
    runs: Vec<Run>,
    growing: Vec<u8>,
    histograms: Vec<(Millis, Histogram)>,
}

/// Where in [`HeadRows`] lies what a series has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    runs: Range<usize>,
    growing: Range<usize>,
    histograms: Range<usize>,
}

/// All series of a metric, some of which came after their order was looked for last.
struct Newcomers {
    metric: Box<str>,
    series: Vec<(LabelSet, u32)>,
}

impl Newcomers {
    fn of(metric: &MetricSeries<'_>, head: &MetricHead, work: &mut Work<'_>) -> Result<Self, ScanError> {
        let labelled = |number: u32| Some((head.get(number)?.labels.clone(), number));
        let series: Vec<_> = metric.numbers().filter_map(labelled).collect();
        work.charge(series.len() * size_of::<(LabelSet, u32)>())?;
        Ok(Self { metric: metric.metric.into(), series })
    }
}

impl HeadView {
    /// What a scan of samples needs of a head. Called while the head cannot change: copies, and no more.
    pub(crate) fn new(head: &MetricHead, work: &mut Work<'_>) -> Result<Self, ScanError> {
        let scan = work.scan;
        let filter = SeriesFilter::new(&scan.filter);
        let order = Arc::clone(head.order());
        let mut view = Self { is_sorted: head.orders_by_metric(), order, ..Self::default() };
        // Names and values of labels come in an order of their own.
        let is_ordered = !matches!(scan.shape, Shape::Distinct(DistinctOf::Names | DistinctOf::Values(_)));
        for metric in head.metrics(&scan.filter, &filter) {
            if is_ordered && !metric.is_ordered() {
                view.is_sorted = false;
                view.newcomers.push(Newcomers::of(&metric, head, work)?);
            }
            for series in metric.numbers().filter_map(|number| head.get(number)) {
                if series.may_overlap(scan.time) && filter.passes_rest(&series.labels) {
                    view.take(series, work)?;
                }
            }
        }
        Ok(view)
    }

    fn take(&mut self, series: &Series, work: &mut Work<'_>) -> Result<(), ScanError> {
        let scan = work.scan;
        if let Shape::Distinct(_) = scan.shape {
            if series.has_rows(scan.time) {
                work.charge(ENTRY_BYTES)?;
                self.series.push((series.labels.clone(), Place::default()));
            }
            return Ok(());
        }
        let range = millis_in(scan.time);
        let growing = series.floats.growing_in(range).unwrap_or_default();
        let runs = series.floats.finished_in(range);
        let histograms = series.histograms_in(scan.time);
        let of_runs = runs.clone().count() * size_of::<Run>();
        let of_histograms: usize = histograms.map(|(_, histogram)| histogram.heap_bytes() + 16).sum();
        work.charge(ENTRY_BYTES + growing.len() + of_runs + of_histograms)?;
        let rows = &mut self.rows;
        let place = Place {
            growing: extended(&mut rows.growing, growing.iter().copied()),
            runs: extended(&mut rows.runs, runs.cloned()),
            histograms: extended(&mut rows.histograms, series.histograms_in(scan.time).cloned()),
        };
        self.series.push((series.labels.clone(), place));
        Ok(())
    }

    /// Puts series in order that came since other scans asked for their metrics, and keeps that for later ones. Takes its
    /// time: called when the head can change again.
    pub(crate) fn order_newcomers(&mut self) {
        for Newcomers { metric, mut series } in self.newcomers.drain(..) {
            // Most are in order, so that this sort merges.
            series.sort_by(|a, b| a.0.cmp(&b.0));
            self.order.keep(metric, series.into_iter().map(|(_, number)| number).collect());
        }
    }
}

/// Adds items; tells where they are.
fn extended<T>(list: &mut Vec<T>, items: impl Iterator<Item = T>) -> Range<usize> {
    let start = list.len();
    list.extend(items);
    start..list.len()
}

impl HeadRows {
    /// Appends the floats of a series that lie between two times, both included, in order of arrival; gives how many were
    /// looked at.
    pub(crate) fn floats_in(&self, place: &Place, range: (i64, i64), columns: &mut SeriesColumns) -> usize {
        let runs = self.runs.get(place.runs.clone()).unwrap_or_default().iter().map(Run::bytes);
        let growing = self.growing.get(place.growing.clone()).unwrap_or_default();
        let (times, values) = (&mut columns.times, &mut columns.values);
        runs.chain([growing]).map(|run| samples_in(run, range, times, values)).sum()
    }

    /// The histograms of a series.
    pub(crate) fn histograms(&self, place: &Place) -> &[(Millis, Histogram)] {
        self.histograms.get(place.histograms.clone()).unwrap_or_default()
    }
}
