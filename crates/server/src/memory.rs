//! The memory of the whole process, shared out by arithmetic.
//!
//! `limits.memory` is cut into shares before anything starts; each share is the bound of something that bounds itself
//! and says what happens when it is full. Nothing watches the process and sheds when it is late. The shares of a budget
//! add up to a little over it, as they are not all full at once; resident memory stays within a sixth above the budget,
//! which the benchmark `budget` measures.
//!
//! | share | of the budget | full |
//! |---|---|---|
//! | heads (of which logs 9/16 of `store.flush.bytes`) | 27/50 | flushed; then writers wait for the flush |
//! | active series and streams, within the heads | 2/5 | new ones are refused as `memory`, known ones go on |
//! | queries | 1/5 | a query gets half of what is left, and is refused when that does not suffice |
//! | queue, bodies of pushes, bodies of scrapes; patterns | 1/16 each; 1/32; if set higher | as without a budget |
//! | open parts; known series of remote write and streams of Loki's push | 1/16; 1/24, at most their own bounds | the oldest go |
//! | files that tell where addresses are, taken off before the rest is shared out | what they are and an eighth, at most 1/4 | a start is refused, a larger file that replaces one is left aside |
//! | series that tell when they began, if zeros are put there | 1/64, at most 80 MiB | new ones go without a zero, counted |
//! | merges | 1/16 of samples, 1/64 of other tables (of logs a sixth of that) at once | smaller merges |

use std::time::Duration;

use kenning_stdx::process;

use crate::settings::Settings;

const MIB: usize = 1 << 20;

/// The least budget: below it a single large request and a flush would not fit beside each other.
pub(crate) const MEMORY_MIN: u64 = 256 << 20;

/// The budget where neither the settings nor the system tell anything.
const MEMORY_UNKNOWN: u64 = 2 << 30;

/// Bodies of requests that are held at once, without a budget.
const BODIES: usize = 128 * MIB;
/// Open parts, without a budget.
const OPEN_PARTS: usize = 96 * MIB;
/// Known series of remote write and streams of Loki's push, without a budget.
const KNOWN_SERIES: usize = 128 * MIB;
/// Series that tell when they began, without a budget.
const START_ZEROS: usize = 80 * MIB;
/// Of the budget, what files that tell where addresses are may take.
const GEO_PART: usize = 4;
/// The largest merges, without a budget.
const MERGE_SAMPLES: usize = 128 * MIB;
const MERGE_ROWS: usize = 32 * MIB;
/// Retention drops whole parts, so that they span at most so much of it.
const SPANS_PER_RETENTION: u32 = 10;

/// Bytes that each may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// The whole.
    pub(crate) budget: usize,
    pub(crate) heads: usize,
    /// Within the heads.
    pub(crate) series: usize,
    pub(crate) queries: usize,
    pub(crate) queue: usize,
    /// For pushes, and as much again for scrapes.
    pub(crate) bodies: usize,
    pub(crate) patterns: usize,
    pub(crate) open_parts: usize,
    pub(crate) known_series: usize,
    pub(crate) start_zeros: usize,
    /// For files that tell where addresses are, one of them being read anew.
    pub(crate) geo: usize,
    pub(crate) merge_samples: usize,
    pub(crate) merge_rows: usize,
}

/// The budget that is set, or else half of what the machine or the control group has.
fn budget(settings: &Settings) -> usize {
    let half = || process::memory_bytes().map_or(MEMORY_UNKNOWN, |bytes| (bytes / 2).max(MEMORY_MIN));
    usize::try_from(settings.memory.unwrap_or_else(half)).unwrap_or(usize::MAX)
}

impl Shares {
    /// The shares of the budget that is set, or else of half of what the machine or the control group has.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self::of_budget(budget(settings), settings)
    }

    /// What files that tell where addresses are may take at most, one of them being read anew.
    pub(crate) fn geo_max(settings: &Settings) -> usize {
        budget(settings) / GEO_PART
    }

    fn of_budget(budget: usize, settings: &Settings) -> Self {
        // New files are a little larger than those before.
        let geo = settings.geo_databases.bytes_max() / 8 * 9;
        let geo = geo.min(budget / GEO_PART);
        let rest = budget - geo;
        let sixteenth = rest / 16;
        Self {
            budget,
            heads: rest / 50 * 27,
            series: rest / 5 * 2,
            queries: rest / 5,
            queue: settings.ingest_queue_bytes.min(sixteenth),
            bodies: BODIES.min(sixteenth),
            patterns: settings.patterns_bytes.min(rest / 32),
            open_parts: OPEN_PARTS.min(sixteenth),
            known_series: KNOWN_SERIES.min(rest / 24),
            start_zeros: if settings.start_zeros { START_ZEROS.min(rest / 64) } else { 0 },
            geo,
            merge_samples: MERGE_SAMPLES.min(sixteenth),
            merge_rows: MERGE_ROWS.min(rest / 64),
        }
    }

    /// The longest time that a part may span.
    pub(crate) fn merge_span(settings: &Settings) -> Duration {
        let longest = kenning_store::Options::default().merge_span_max;
        let shortest = settings.retention_metrics.map(|age| age / SPANS_PER_RETENTION);
        shortest.map_or(longest, |span| span.min(longest))
    }
}

#[cfg(test)]
mod tests {
    use kenning_stdx::files::MemFiles;

    use super::*;
    use crate::processors::mmdb::{self, V};

    fn check(budget: usize) {
        let shares = Shares::of_budget(budget, &Settings { start_zeros: true, ..Settings::default() });
        let Shares { heads, queries, queue, bodies, patterns, open_parts, known_series, .. } = shares;
        let rest = open_parts + known_series + shares.start_zeros;
        let fixed = heads + queries + queue + 2 * bodies + patterns + rest;
        assert!(fixed + shares.merge_samples <= budget / 100 * 115, "{shares:?}");
        assert!(shares.series < heads && shares.queue >= 8 * MIB);
    }

    #[test]
    fn shares_add_up_to_the_budget() {
        [256, 512, 1024, 4096, 65_536].into_iter().for_each(|mib| check(mib * MIB));
    }

    #[test]
    fn files_that_tell_where_addresses_are_come_first() {
        let (settings, files) = (Settings::default(), MemFiles::default());
        let names = V::M(vec![("en", V::S("United Kingdom"))]);
        let data = mmdb::encode(&V::M(vec![("country", V::M(vec![("names", names)]))]));
        files.put("/db", mmdb::file("GeoLite2-Country", 24, 6, &[(0x5102_4500, 120, 0)], &data));
        let without = Shares::of_budget(256 * MIB, &settings);
        assert!(settings.geo_databases.open("/db", &files).is_ok());
        let with = Shares::of_budget(256 * MIB, &settings);
        assert_eq!(with.geo, settings.geo_databases.bytes_max() / 8 * 9);
        assert!(with.geo > 0 && with.heads < without.heads && with.budget == without.budget);
        assert_eq!(Shares::of_budget(40, &settings).geo, 10);
    }

    #[test]
    fn large_budgets_leave_what_is_set() {
        let settings = Settings { memory: Some(64 << 30), ..Settings::default() };
        let shares = Shares::of(&settings);
        assert_eq!((shares.queue, shares.patterns), (settings.ingest_queue_bytes, settings.patterns_bytes));
    }
}
