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
        CounterReset::Yes => return true,
        CounterReset::No => return false,
        CounterReset::Unknown | CounterReset::Gauge => {}
    }
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

/// Marks the histograms of one series, in order of time, that continue the count of the one before, as Prometheus's
/// storage does on the way in. Where a reset shows, the hint stays unknown: a sample in between may be missing here. A
/// stale marker or a float in between (`follows(i)` false) breaks the chain.
pub fn annotate_resets(histograms: &mut [Arc<Histogram>], follows: impl Fn(usize) -> bool) {
    annotate(histograms, follows, CounterReset::Unknown);
}

/// As [`annotate_resets`], but resets that show are marked too.
pub(crate) fn mark_resets(histograms: &mut [Arc<Histogram>], follows: impl Fn(usize) -> bool) {
    annotate(histograms, follows, CounterReset::Yes);
}

fn annotate(histograms: &mut [Arc<Histogram>], follows: impl Fn(usize) -> bool, at_reset: CounterReset) {
    for i in 1..histograms.len() {
        let (Some(previous), Some(current)) = (histograms.get(i - 1), histograms.get(i)) else { return };
        let known = current.reset != CounterReset::Unknown || previous.reset == CounterReset::Gauge;
        if known || is_stale(previous.sum) || is_stale(current.sum) || !follows(i) {
            continue;
        }
        let hint = if is_reset(current, previous) { at_reset } else { CounterReset::No };
        if let Some(current) = histograms.get_mut(i).filter(|_| hint != CounterReset::Unknown) {
            Arc::make_mut(current).reset = hint;
        }
    }
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
}
