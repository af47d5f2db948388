//! The first rows by time: all of them, or as many as were asked for.

use kenning_model::{Nanos, Order, ScanError, TimeRange};

use super::work::Work;

/// Where a row stands: its time, then its arrival (the part's order, and the place in it).
pub(crate) type Place = (Nanos, u64, u64);

/// Rows that may be among the first. With a limit it holds at most twice as many rows.
pub(crate) struct Top<T> {
    order: Order,
    limit: usize,
    rows: Vec<(Place, usize, T)>,
    /// Once the limit is reached: the last row that still counts.
    worst: Option<Place>,
}

impl<T> Top<T> {
    pub(crate) fn new(order: Order, limit: Option<usize>) -> Self {
        Self { order, limit: limit.unwrap_or(usize::MAX), rows: Vec::new(), worst: None }
    }

    /// True when a row at this place would not be among the first.
    pub(crate) fn excludes(&self, place: &Place) -> bool {
        self.limit == 0 || self.worst.as_ref().is_some_and(|worst| self.before(worst, place))
    }

    /// True when no row stamped in this range would be among the first.
    pub(crate) fn excludes_range(&self, range: TimeRange) -> bool {
        let best = match self.order {
            Order::OldestFirst => (range.start, 0, 0),
            Order::NewestFirst => (range.end, u64::MAX, u64::MAX),
        };
        self.excludes(&best)
    }

    /// The part of a range that rows among the first can still be in.
    pub(crate) fn narrowed(&self, range: TimeRange) -> TimeRange {
        match (&self.worst, self.order) {
            (None, _) => range,
            (Some((time, ..)), Order::OldestFirst) => TimeRange { end: range.end.min(*time), ..range },
            (Some((time, ..)), Order::NewestFirst) => TimeRange { start: range.start.max(*time), ..range },
        }
    }

    fn before(&self, a: &Place, b: &Place) -> bool {
        match self.order {
            Order::OldestFirst => a < b,
            Order::NewestFirst => a > b,
        }
    }

    /// Adds a row that holds `bytes`.
    pub(crate) fn add(
        &mut self,
        place: Place,
        bytes: usize,
        row: T,
        work: &mut Work<'_>,
    ) -> Result<(), ScanError> {
        if self.excludes(&place) {
            return Ok(());
        }
        work.charge(bytes)?;
        self.rows.push((place, bytes, row));
        if self.rows.len() >= self.limit.saturating_mul(2) {
            self.shrink(work);
        }
        Ok(())
    }

    /// Adds the rows of another worker, which were charged by it.
    pub(crate) fn join(&mut self, other: Self, work: &mut Work<'_>) {
        self.rows.extend(other.rows);
        if self.rows.len() > self.limit {
            self.shrink(work);
        }
    }

    /// The places that may be among the first, of those given.
    pub(crate) fn best<K>(&self, mut places: Vec<(Place, K)>) -> Vec<(Place, K)> {
        places.retain(|(place, _)| !self.excludes(place));
        if places.len() > self.limit && self.limit > 0 {
            let by_order = |a: &(Place, K), b: &(Place, K)| match self.order {
                Order::OldestFirst => a.0.cmp(&b.0),
                Order::NewestFirst => b.0.cmp(&a.0),
            };
            places.select_nth_unstable_by(self.limit - 1, by_order);
            places.truncate(self.limit);
        }
        places
    }

    fn shrink(&mut self, work: &mut Work<'_>) {
        self.sort();
        let dropped = self.rows.drain(self.limit.min(self.rows.len())..);
        work.refund(dropped.map(|(_, bytes, _)| bytes).sum());
        self.worst = self.rows.last().map(|(place, ..)| *place);
    }

    fn sort(&mut self) {
        match self.order {
            Order::OldestFirst => self.rows.sort_unstable_by_key(|row| row.0),
            Order::NewestFirst => self.rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.0)),
        }
    }

    /// The first rows in order.
    pub(crate) fn finish(mut self) -> Vec<T> {
        self.sort();
        self.rows.into_iter().take(self.limit).map(|(_, _, row)| row).collect()
    }
}
