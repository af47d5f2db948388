//! A snapshot in the two shapes it leaves in: the Prometheus text format and a batch of samples.

use std::fmt::Write as _;

use kenning_model::{LabelSet, LabelSetBuilder, METRIC_NAME, MetricBatch, MetricMetadata, Millis, Sample};

use super::{Family, Point, PointValue};

/// The Prometheus text format, version 0.0.4.
#[must_use]
pub fn text(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families {
        let (name, kind) = (&family.name, family.kind.as_str());
        let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", escape(&family.help, false));
        each_sample(family, |suffix, point, le, value| {
            let _ = write!(out, "{name}{suffix}");
            write_labels(&mut out, point, le);
            let _ = writeln!(out, " {value}");
        });
    }
    out
}

/// The same values as samples at `now`, each series with the labels of `base` (`job`, `instance`) where it has none
/// of that name itself.
#[must_use]
pub fn metric_batch(families: &[Family], now: Millis, base: &LabelSet) -> MetricBatch {
    let mut batch = MetricBatch::default();
    for family in families {
        batch.metadata.push(MetricMetadata {
            metric: family.name.clone().into_owned(),
            kind: family.kind,
            help: family.help.clone().into_owned(),
            unit: family.unit.to_owned(),
        });
        each_sample(family, |suffix, point, le, value| {
            let labels = labels_of(&family.name, suffix, point, le, base);
            let series = batch.add_series(labels);
            batch.samples.push(Sample { series, time: now, value });
        });
    }
    batch
}

fn labels_of(name: &str, suffix: &str, point: &Point, le: Option<&str>, base: &LabelSet) -> LabelSet {
    let mut builder: LabelSetBuilder = base.to_builder();
    for (name, value) in &point.labels {
        builder.set(name, value);
    }
    if let Some(le) = le {
        builder.set("le", le);
    }
    builder.set(METRIC_NAME, &format!("{name}{suffix}"));
    builder.build()
}

fn each_sample(family: &Family, mut visit: impl FnMut(&str, &Point, Option<&str>, f64)) {
    for point in &family.points {
        match &point.value {
            PointValue::Number(value) => visit("", point, None, *value),
            PointValue::Histogram { bounds, cumulative, sum } => {
                let infinite = std::iter::once("+Inf".to_owned());
                let bounds = bounds.iter().map(ToString::to_string).chain(infinite);
                for (bound, count) in bounds.zip(cumulative) {
                    visit("_bucket", point, Some(&bound), *count as f64);
                }
                visit("_sum", point, None, *sum);
                visit("_count", point, None, cumulative.last().copied().unwrap_or(0) as f64);
            }
        }
    }
}

fn write_labels(out: &mut String, point: &Point, le: Option<&str>) {
    let pairs =
        point.labels.iter().map(|(name, value)| (&**name, value.as_str())).chain(le.map(|le| ("le", le)));
    for (i, (name, value)) in pairs.enumerate() {
        let open = if i == 0 { '{' } else { ',' };
        let _ = write!(out, "{open}{name}=\"{}\"", escape(value, true));
    }
    if !point.labels.is_empty() || le.is_some() {
        out.push('}');
    }
}

fn escape(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Declaration, Labels, OTHER, POINTS_MAX, Registry};
    use super::*;

    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Room(String);

    impl Labels for Room {
        const NAMES: &'static [&'static str] = &["room"];
        fn values(&self) -> Vec<String> {
            vec![self.0.clone()]
        }
    }

    const fn named(name: &'static str) -> Declaration {
        Declaration { name, help: "Doors\\opened", unit: "" }
    }

    fn registry() -> Registry {
        let registry = Registry::new();
        registry.counter::<Room>(named("doors_total")).with(&Room("a\"b".into())).add(3);
        registry.gauge::<()>(named("cats")).with(&()).set(2);
        let waits = registry.histogram::<()>(named("wait_seconds"), &[0.5, 1.0]).with(&());
        [0.25, 0.5, 4.0].into_iter().for_each(|value| waits.observe(value));
        registry
    }

    #[test]
    fn text_is_the_prometheus_format() {
        let expect = r#"# HELP cats Doors\\opened
# TYPE cats gauge
cats 2
# HELP doors_total Doors\\opened
# TYPE doors_total counter
doors_total{room="a\"b"} 3
# HELP wait_seconds Doors\\opened
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.5"} 2
wait_seconds_bucket{le="1"} 2
wait_seconds_bucket{le="+Inf"} 3
wait_seconds_sum 4.75
wait_seconds_count 3
"#;
        assert_eq!(text(&registry().snapshot()), expect);
    }

    #[test]
    fn samples_carry_the_same_values_and_the_base_labels() {
        let base = LabelSet::from_pairs([("job", "kenning"), ("room", "none")]);
        let batch = metric_batch(&registry().snapshot(), Millis(7), &base);
        let expect =
            LabelSet::from_pairs([(METRIC_NAME, "doors_total"), ("job", "kenning"), ("room", "a\"b")]);
        let at = batch.series.iter().position(|series| *series == expect).map(|at| at as u32);
        let value = batch.samples.iter().find(|sample| Some(sample.series) == at);
        assert_eq!(value, Some(&Sample { series: at.unwrap_or(0), time: Millis(7), value: 3.0 }));
        assert_eq!((batch.samples.len(), batch.metadata.len()), (7, 3));
    }

    #[test]
    fn combinations_beyond_the_bound_are_added_up() {
        let registry = Registry::new();
        let doors = registry.counter::<Room>(named("doors_total"));
        for n in 0..POINTS_MAX + 10 {
            doors.with(&Room(n.to_string())).increment();
        }
        let snapshot = registry.snapshot();
        let points = &snapshot[0].points;
        assert_eq!(points.len(), POINTS_MAX + 1);
        let other = points.iter().find(|point| point.labels == [("room".into(), OTHER.to_owned())]);
        assert_eq!(other.map(|point| point.value.clone()), Some(PointValue::Number(10.0)));
    }
}
