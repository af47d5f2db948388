//! Counter resets between histograms.

use std::collections::BTreeMap;
use std::sync::Arc;

use kenning_model::{BucketSpan, CounterReset, Histogram};

use super::buckets::{bound, indexed, is_custom, target_index};
use crate::eval::is_stale;

/// True when `current` cannot be a continuation of `previous`: something counts less than before, or the resolution
/// became finer.
pub(crate) fn is_reset(current: &Histogram, previous: &Histogram) -> bool {
    match current.reset {
        CounterReset::Yes => true,
        CounterReset::No => false,
        CounterReset::Unknown | CounterReset::Gauge => counts_show_reset(current, previous),
    }
}

/// As [`is_reset`], whatever the hint says.
fn counts_show_reset(current: &Histogram, previous: &Histogram) -> bool {
    if current.count < previous.count {
        return true;
    }
    match (is_custom(current.schema), is_custom(previous.schema)) {
        (true, false) | (false, true) => true,
        (true, true) => is_custom_reset(current, previous),
        (false, false) => is_exponential_reset(current, previous),
    }
}

fn is_exponential_reset(current: &Histogram, previous: &Histogram) -> bool {
    if current.schema > previous.schema || current.zero_threshold < previous.zero_threshold {
        return true;
    }
    let threshold = current.zero_threshold;
    let schema = previous.schema;
    let sides = |histogram: &Histogram| {
        [(&histogram.positive_spans, &histogram.positive), (&histogram.negative_spans, &histogram.negative)]
            .map(|(spans, counts)| indexed(spans, counts).filter(|(_, n)| *n != 0.0).collect::<Vec<_>>())
    };
    let mut zero_count = previous.zero_count;
    for (before, now) in sides(previous).into_iter().zip(sides(current)) {
        let mut merged: BTreeMap<i32, f64> = BTreeMap::new();
        for (index, count) in before {
            if bound(index.wrapping_sub(1), schema, &[]) < threshold {
                if bound(index, schema, &[]) > threshold {
                    // A populated bucket reaches over the edge of the new zero bucket: only a reset explains that.
                    return true;
                }
                zero_count += count;
            } else {
                *merged.entry(target_index(index, schema, current.schema)).or_default() += count;
            }
        }
        let now: BTreeMap<i32, f64> = now.into_iter().collect();
        if merged.iter().any(|(index, count)| now.get(index).copied().unwrap_or(0.0) < *count) {
            return true;
        }
    }
    current.zero_count < zero_count
}

/// Compares at the bounds that both have.
fn is_custom_reset(current: &Histogram, previous: &Histogram) -> bool {
    let common: Vec<f64> = {
        let shared = current.custom_bounds.iter().filter(|bound| previous.custom_bounds.contains(bound));
        shared.copied().collect()
    };
    let rolled = |spans: &[BucketSpan], histogram: &Histogram| {
        let mut counts = vec![0.0; common.len() + 1];
        for (index, count) in indexed(spans, &histogram.positive) {
            let upper = bound(index, histogram.schema, &histogram.custom_bounds);
            if let Some(slot) = counts.get_mut(common.partition_point(|bound| *bound < upper)) {
                *slot += count;
            }
        }
        counts
    };
    let (now, before) =
        (rolled(&current.positive_spans, current), rolled(&previous.positive_spans, previous));
    now.iter().zip(before).any(|(now, before)| *now < before)
}

/// Gives the histograms of one series, in order of time, the hints that they would have when Prometheus's storage gave
/// them back. It keeps a run of histograms of one layout without a reset together, so those that continue one are known to;
/// the first of a run is not known to be anything, whatever its sender said, since a sample in between may be missing. A
/// stale marker or a float in between (`follows(i)` false), another layout, an explicit hint and counts that drop end a run.
/// Gauges stay gauges. The first of the list may stand amid a run, so that it stays what it is told to continue.
pub fn annotate_resets(histograms: &mut [Arc<Histogram>], follows: impl Fn(usize) -> bool) {
    annotate(histograms, follows, false);
}

/// As [`annotate_resets`], but resets that show are marked too, and a change of the layout is looked through.
pub(crate) fn mark_resets(histograms: &mut [Arc<Histogram>], follows: impl Fn(usize) -> bool) {
    annotate(histograms, follows, true);
}

fn annotate(histograms: &mut [Arc<Histogram>], follows: impl Fn(usize) -> bool, mark: bool) {
    for i in 0..histograms.len() {
        let Some(current) = histograms.get(i).filter(|one| one.reset != CounterReset::Gauge) else {
            continue;
        };
        let hint = match i.checked_sub(1).and_then(|before| histograms.get(before)) {
            None if current.reset == CounterReset::No => CounterReset::No,
            Some(previous) if follows(i) => hint_of(current, previous, mark),
            _ => CounterReset::Unknown,
        };
        if let Some(current) = histograms.get_mut(i).filter(|one| one.reset != hint) {
            Arc::make_mut(current).reset = hint;
        }
    }
}

fn hint_of(current: &Histogram, previous: &Histogram, mark: bool) -> CounterReset {
    let ended = previous.reset == CounterReset::Gauge || is_stale(previous.sum) || is_stale(current.sum);
    let told = current.reset == CounterReset::Yes;
    if ended || (!mark && (told || !same_layout(current, previous))) {
        return CounterReset::Unknown;
    }
    match (counts_show_reset(current, previous), mark) {
        (false, _) => CounterReset::No,
        (true, true) => CounterReset::Yes,
        (true, false) => CounterReset::Unknown,
    }
}

fn same_layout(current: &Histogram, previous: &Histogram) -> bool {
    current.schema == previous.schema
        && current.zero_threshold.to_bits() == previous.zero_threshold.to_bits()
        && current.custom_bounds == previous.custom_bounds
}

#[cfg(test)]
mod tests {
    use super::super::tests::histogram;
    use super::*;

    #[test]
    fn resets_show_in_any_bucket() {
        let check = |before: &str, now: &str, expect| {
            assert_eq!(is_reset(&histogram(now), &histogram(before)), expect, "{before} -> {now}");
        };
        check("count:2 buckets:[1 1]", "count:3 buckets:[1 2]", false);
        check("count:2 buckets:[1 1]", "count:3 buckets:[3 0]", true);
        check("count:2 buckets:[1 1]", "count:1 buckets:[1]", true);
        check("count:2 schema:1 buckets:[0 1 1]", "count:2 buckets:[0 2]", false);
        check("count:2 buckets:[0 2]", "count:2 schema:1 buckets:[0 1 1]", true);
        check("count:1 z_bucket_w:0.001 buckets:[1]", "count:1 z_bucket:1 z_bucket_w:1", false);
        check("count:1 z_bucket_w:0.001 buckets:[1]", "count:1 z_bucket:1 z_bucket_w:0.7", true);
        check("count:2 buckets:[1]", "count:3 counter_reset_hint:reset", true);
    }

    /// Hints of one series, as `?`, `y`, `n` and `g`, before and after.
    #[track_caller]
    fn check_hints(series: &[&str], mark: bool, expect: &str) {
        let mut histograms: Vec<_> = series.iter().map(|text| Arc::new(histogram(text))).collect();
        annotate(&mut histograms, |_| true, mark);
        let word = |one: &Arc<Histogram>| match one.reset {
            CounterReset::Unknown => '?',
            CounterReset::Yes => 'y',
            CounterReset::No => 'n',
            CounterReset::Gauge => 'g',
        };
        assert_eq!(histograms.iter().map(word).collect::<String>(), expect, "{series:?}");
    }

    #[test]
    fn hints_are_those_of_the_storage() {
        let (one, two, three) = ("count:1 buckets:[1]", "count:2 buckets:[2]", "count:3 buckets:[3]");
        check_hints(&[one, two, three], false, "?nn");
        check_hints(&[one, three, two, three], false, "?n?n");
        check_hints(&[one, three, two, three], true, "?nyn");
        // What a sender says of a reset is not believed, nor that there is none.
        check_hints(&["count:1 counter_reset_hint:reset buckets:[1]", two], false, "?n");
        check_hints(&[one, "count:2 counter_reset_hint:reset buckets:[2]", three], false, "??n");
        check_hints(&[one, "count:2 counter_reset_hint:reset buckets:[2]", three], true, "?nn");
        check_hints(&[three, "count:2 counter_reset_hint:not_reset buckets:[2]"], false, "??");
        check_hints(&["count:1 counter_reset_hint:not_reset buckets:[1]", two], false, "nn");
        // Another layout may or may not be a reset.
        check_hints(&["count:2 schema:1 buckets:[0 1 1]", "count:2 buckets:[0 2]"], false, "??");
        check_hints(&["count:2 schema:1 buckets:[0 1 1]", "count:2 buckets:[0 2]"], true, "?n");
        check_hints(&[one, "count:2 counter_reset_hint:gauge buckets:[2]", three], false, "?g?");
    }
}
