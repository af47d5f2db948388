//! The times of a row group's rows: of each page the stretch that was asked for, for streams that are asked about together
//! lie together, and what lies behind them in a page need not be unpacked.

use std::ops::Range;

use kenning_model::Nanos;
use parquet::basic::Encoding;

use super::cells::rows_of;
use super::group::Rows;
use super::index::PAGE_ROWS;
use super::part::TIME;
use crate::parts::columns::GroupReader;
use crate::parts::deltas::Deltas;
use crate::parts::pages::RawPage;
use crate::parts::{PartError, damaged};

/// Times as far as they were read.
pub(crate) struct Times {
    pages: Vec<Option<Stretch>>,
    rows: usize,
    /// Nanoseconds of what the column counts.
    tick: i64,
}

/// The times of neighbouring rows of a page.
struct Stretch {
    first: usize,
    times: Vec<Nanos>,
}

impl Stretch {
    fn rows(&self) -> Range<usize> {
        self.first..self.first + self.times.len()
    }
}

impl Times {
    pub(crate) fn new(rows: usize, tick: i64) -> Self {
        Self { pages: std::iter::repeat_with(|| None).take(rows.div_ceil(PAGE_ROWS)).collect(), rows, tick }
    }

    /// Has the times of some rows at hand.
    pub(crate) fn load(&mut self, group: &GroupReader<'_>, of: &Rows) -> Result<(), PartError> {
        for page in of.pages() {
            let Some(slot) = self.pages.get_mut(page) else { continue };
            let mut wanted = of.span_in(page);
            if let Some(known) = slot {
                let known = known.rows();
                if known.start <= wanted.start && wanted.end <= known.end {
                    continue;
                }
                wanted = known.start.min(wanted.start)..known.end.max(wanted.end);
            }
            let times = read(group, page, rows_of(page, self.rows), wanted.clone(), self.tick)?;
            *slot = Some(Stretch { first: wanted.start, times });
        }
        Ok(())
    }

    /// The time of a row, if it was read.
    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<Nanos> {
        let stretch = self.pages.get(row / PAGE_ROWS)?.as_ref()?;
        stretch.times.get(row.checked_sub(stretch.first)?).copied()
    }

    /// The times of neighbouring rows that were read, a page at a time.
    pub(crate) fn of(&self, rows: Range<usize>) -> impl Iterator<Item = &[Nanos]> {
        let pages = rows.start / PAGE_ROWS..rows.end.div_ceil(PAGE_ROWS);
        pages.filter_map(move |page| {
            let stretch = self.pages.get(page)?.as_ref()?;
            let start = rows.start.max(page * PAGE_ROWS).checked_sub(stretch.first)?;
            let end = rows.end.min((page + 1) * PAGE_ROWS).checked_sub(stretch.first)?;
            stretch.times.get(start..end)
        })
    }

    /// Bytes held, roughly.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.pages.iter().flatten().map(|stretch| size_of_val::<[Nanos]>(&stretch.times)).sum()
    }
}

/// The times of some rows of a page.
fn read(
    group: &GroupReader<'_>,
    page: usize,
    of_page: Range<usize>,
    wanted: Range<usize>,
    tick: i64,
) -> Result<Vec<Nanos>, PartError> {
    let raw = group.raw_page(TIME, page, of_page.start)?;
    let ticks = match raw.and_then(|raw| unpack(raw, &of_page, &wanted)) {
        Some(ticks) => ticks,
        // Other encodings, or damage: the plain reader knows.
        None => group.column_rows(TIME, std::slice::from_ref(&wanted))?.into_i64()?,
    };
    if ticks.len() != wanted.len() {
        return Err(damaged("a log column has another number of rows"));
    }
    Ok(ticks.into_iter().map(|n| Nanos(n.wrapping_mul(tick))).collect())
}

fn unpack(raw: RawPage, of_page: &Range<usize>, wanted: &Range<usize>) -> Option<Vec<i64>> {
    let is_known = raw.encoding == Encoding::DELTA_BINARY_PACKED && raw.values == of_page.len();
    let mut deltas = Deltas::new(is_known.then_some(raw.bytes)?)?;
    (deltas.claimed() == of_page.len() as u64).then_some(())?;
    let mut ticks = Vec::with_capacity(wanted.len());
    deltas.skip(wanted.start.checked_sub(of_page.start)?)?;
    deltas.take(wanted.len(), &mut ticks)?;
    Some(ticks)
}
