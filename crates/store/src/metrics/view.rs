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

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_model::{Filter, MetricBatch, Sample, Scan, Table, TenantId, TimeRange};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn add(head: &mut MetricHead, sets: &[LabelSet], times: &[i64]) {
        let mut batch = MetricBatch::default();
        for set in sets {
            let series = batch.add_series(set.clone());
            let sample = |time: &i64| Sample { series, time: Millis(*time), value: *time as f64 };
            batch.samples.extend(times.iter().map(sample));
        }
        let numbers = head.resolve(&batch.series);
        head.add(&batch, &numbers);
    }

    fn view(head: &MetricHead, scan: &Scan) -> HeadView {
        HeadView::new(head, &mut Work::new(scan)).expect("no limit is near")
    }

    fn scan_from(start: i64, end: i64) -> Scan {
        let time = TimeRange::from_millis(Millis(start), Millis(end));
        Scan::rows(TenantId::default_tenant(), Table::Samples, time, Filter::All)
    }

    fn set(pairs: &[(&str, &str)]) -> LabelSet {
        LabelSet::from_pairs(pairs.iter().copied())
    }

    proptest! {
        #[test]
        fn series_are_in_order_once_a_scan_has_looked_for_it(
            batches in vec(vec(("[a-c]", "[a-z]{1,2}"), 1..20), 1..5),
            is_odd: bool,
        ) {
            let (mut head, scan) = (MetricHead::default(), scan_from(0, 10));
            if is_odd {
                add(&mut head, &[set(&[("__name__", "b"), ("A", "x")])], &[1]);
            }
            for batch in batches {
                let sets = batch.iter().map(|(name, value)| set(&[("__name__", name), ("l", value)]));
                add(&mut head, &sets.collect::<Vec<_>>(), &[1]);
                view(&head, &scan).order_newcomers();
                let view = view(&head, &scan);
                prop_assert_eq!(view.is_sorted, !is_odd);
                prop_assert!(is_odd || view.series.is_sorted_by(|a, b| a.0 < b.0));
                prop_assert_eq!(view.series.len(), head.series());
            }
        }
    }

    #[test]
    fn what_lies_outside_of_the_range_is_not_copied() {
        let mut head = MetricHead::default();
        add(&mut head, &[set(&[("__name__", "a")])], &(0..1000).collect::<Vec<_>>());
        let check = |start: i64, end: i64, runs, is_growing: bool| {
            let view = view(&head, &scan_from(start, end));
            assert_eq!((view.rows.runs.len(), view.rows.growing.is_empty()), (runs, !is_growing));
            let mut columns = SeriesColumns::default();
            let places = view.series.iter().map(|(_, place)| place);
            places.for_each(|place| {
                view.rows.floats_in(place, (start, end), &mut columns);
            });
            assert_eq!(columns.times, (start.max(0)..=end.min(999)).collect::<Vec<_>>());
        };
        check(995, 2000, 0, true);
        check(128, 255, 1, false);
        check(127, 128, 2, false);
        check(0, 999, 7, true);
        check(1000, 2000, 0, false);
    }
}
