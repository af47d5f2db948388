//! Which rows share a file: time is cut into partitions, so that retention can drop whole files and scans can skip them.
//!
//! Partitions are two hours wide. Data spread over so much time that it would make very many small files (an import, a
//! sender with a broken clock) gets wider ones, up to a single one for everything.

use std::collections::BTreeSet;

use kenning_model::{Nanos, TimeRange};

/// Most files that one flush writes for one table of one tenant.
const PARTITIONS_MAX: usize = 32;

const HOUR: i64 = 3_600_000_000_000;

/// Widths tried, narrow to wide: 2 hours, 1 day, 30 days, about 10 years.
const WIDTHS: [i64; 4] = [2 * HOUR, 24 * HOUR, 30 * 24 * HOUR, 3653 * 24 * HOUR];

/// The width of partitions that are not widened, in nanoseconds.
pub(crate) const WIDTH: i64 = 2 * HOUR;

/// The ranges that together hold all times, each with at least one of them, by time.
pub(crate) fn partitions(times: impl Iterator<Item = Nanos> + Clone) -> Vec<TimeRange> {
    for width in WIDTHS {
        let mut starts = BTreeSet::new();
        for time in times.clone() {
            starts.insert(time.0.div_euclid(width));
            if starts.len() > PARTITIONS_MAX {
                break;
            }
        }
        if starts.len() <= PARTITIONS_MAX {
            return starts.into_iter().map(|index| range(index, width)).collect();
        }
    }
    vec![TimeRange::ALL]
}

/// All partitions of the default width from one time to another, if they are few enough.
pub(crate) fn spanned(extent: TimeRange) -> Option<Vec<TimeRange>> {
    let (first, last) = (extent.start.0.div_euclid(WIDTH), extent.end.0.div_euclid(WIDTH));
    ((0..PARTITIONS_MAX as i64).contains(&(last - first)))
        .then(|| (first..=last).map(|index| range(index, WIDTH)).collect())
}

/// The range of a width, in nanoseconds, that holds a time.
pub(crate) fn window_of(time: Nanos, width: i64) -> TimeRange {
    range(time.0.div_euclid(width), width)
}

fn range(index: i64, width: i64) -> TimeRange {
    let start = index.saturating_mul(width);
    TimeRange { start: Nanos(start), end: Nanos(start.saturating_add(width - 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(times: &[i64], expect: usize) {
        let ranges = partitions(times.iter().map(|time| Nanos(*time)));
        assert_eq!(ranges.len(), expect);
        for time in times {
            assert_eq!(ranges.iter().filter(|range| range.contains(Nanos(*time))).count(), 1, "{time}");
        }
    }

    #[test]
    fn every_time_has_one_partition_and_files_stay_few() {
        check(&[], 0);
        check(&[0, 1, WIDTH - 1], 1);
        check(&[-1, 0, WIDTH], 3);
        check(&(0..33).map(|i| i * WIDTH).collect::<Vec<_>>(), 3);
        check(&[i64::MIN, 0, i64::MAX], 3);
        check(&(0..1000).map(|i| i * (i64::MAX / 1000)).collect::<Vec<_>>(), 30);
    }
}
