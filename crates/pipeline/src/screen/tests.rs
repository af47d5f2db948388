use super::*;
use crate::cardinality::Caps;
use kenning_model::{LogRow, Millis, Sample, Severity, SpanEvent, SpanId, TraceId, Value};
use std::sync::Arc;

const NOW: Nanos = Nanos(1_800_000_000_000_000_000);
const SECOND: i64 = 1_000_000_000;

fn screened(limits: &Limits, caps: Caps, batch: Batch) -> (Batch, Vec<(Reason, u64)>) {
    let active = Mutex::new(Active::new(caps, 7, Duration::ZERO));
    let screen = Screen { limits, now: NOW, steady: Duration::ZERO, active: &active, on_refused: &|_, _| () };
    let mut rejected = Rejected::default();
    let batch = screen.apply(batch, &mut rejected);
    (batch, rejected.iter().map(|(reason, count, _)| (reason, count)).collect())
}

fn series(pairs: &[(&str, &str)]) -> LabelSet {
    LabelSet::from_pairs(pairs.iter().copied())
}

/// One sample per series given, at the given distance from now in seconds.
fn metrics(items: &[(LabelSet, i64)]) -> Batch {
    let mut batch = MetricBatch::default();
    for (labels, offset) in items {
        let series = batch.add_series(labels.clone());
        let time = Millis(NOW.to_millis().0.saturating_add(offset.saturating_mul(1000)));
        batch.samples.push(Sample { series, time, value: 1.0 });
    }
    Batch::Metrics(batch)
}

/// Checks which samples survive the default limits beside a good one, and the reasons for the others.
#[track_caller]
fn check_metric(labels: LabelSet, offset: i64, expect: Option<Reason>) {
    let good = series(&[(METRIC_NAME, "good")]);
    let (batch, rejected) = screened(
        &Limits::default(),
        Caps::default(),
        metrics(&[(labels.clone(), offset), (good.clone(), 0)]),
    );
    let Batch::Metrics(batch) = batch else { panic!("another signal") };
    assert_eq!(rejected, expect.map(|reason| (reason, 1)).into_iter().collect::<Vec<_>>());
    let expected = if expect.is_some() { vec![good] } else { vec![labels, good] };
    assert_eq!(batch.series, expected);
    assert_eq!(
        batch.samples.iter().map(|s| s.series).collect::<Vec<_>>(),
        (0..expected.len() as u32).collect::<Vec<_>>()
    );
}

#[test]
fn samples_against_the_default_limits() {
    let up = || series(&[(METRIC_NAME, "up")]);
    const DAY: i64 = 24 * 60 * 60;
    check_metric(up(), 0, None);
    check_metric(up(), -30 * DAY, None);
    check_metric(up(), -30 * DAY - 1, Some(Reason::TooOld));
    check_metric(up(), 600, None);
    check_metric(up(), 601, Some(Reason::TooNew));
    check_metric(up(), i64::MIN, Some(Reason::TooOld));
    check_metric(up(), i64::MAX, Some(Reason::TooNew));
    check_metric(series(&[("a", "b")]), 0, Some(Reason::Missing));
    let many = |n: usize| {
        let extra = (1..n).map(|i| (format!("l{i}"), "v".to_owned()));
        LabelSet::from_pairs(extra.chain([(METRIC_NAME.to_owned(), "up".to_owned())]))
    };
    check_metric(many(64), 0, None);
    check_metric(many(65), 0, Some(Reason::TooManyLabels));
    check_metric(series(&[(METRIC_NAME, "up"), (&"n".repeat(256), "v")]), 0, None);
    check_metric(series(&[(METRIC_NAME, "up"), (&"n".repeat(257), "v")]), 0, Some(Reason::BadLabelName));
    check_metric(series(&[(METRIC_NAME, "up"), ("n", &"é".repeat(2048))]), 0, None);
    check_metric(
        series(&[(METRIC_NAME, "up"), ("n", &"é".repeat(2049))]),
        0,
        Some(Reason::LabelValueTooLong),
    );
}

#[test]
fn lifted_limits_let_everything_named_pass() {
    let wild = series(&[(METRIC_NAME, "up"), ("n", &"x".repeat(100_000))]);
    let items = [(wild.clone(), i64::MIN), (wild, i64::MAX)];
    let (batch, rejected) = screened(&Limits::unlimited(), Caps::default(), metrics(&items));
    assert_eq!((batch.len(), rejected), (2, vec![]));
}

#[test]
fn a_series_is_judged_once_and_only_new_ones_are_refused() {
    let caps = Caps { total: Some(1), ..Caps::default() };
    let (a, b) = (series(&[(METRIC_NAME, "a")]), series(&[(METRIC_NAME, "b")]));
    let items = [(a.clone(), 0), (b.clone(), 0), (a.clone(), 1), (b, 1)];
    let (batch, rejected) = screened(&Limits::default(), caps, metrics(&items));
    let Batch::Metrics(batch) = batch else { panic!("another signal") };
    assert_eq!(rejected, [(Reason::TooManySeries, 2)]);
    assert!(batch.series.iter().all(|series| *series == a));
}

#[test]
fn a_stamp_out_of_the_window_does_not_use_up_room_for_series() {
    let caps = Caps { total: Some(1), ..Caps::default() };
    let items = [(series(&[(METRIC_NAME, "old")]), i64::MIN), (series(&[(METRIC_NAME, "new")]), 0)];
    let (batch, rejected) = screened(&Limits::default(), caps, metrics(&items));
    assert_eq!((batch.len(), rejected), (1, vec![(Reason::TooOld, 1)]));
}

#[test]
fn items_that_point_nowhere_are_malformed() {
    let Batch::Metrics(mut batch) = metrics(&[(series(&[(METRIC_NAME, "up")]), 0)]) else { panic!() };
    batch.samples.push(Sample { series: 7, time: NOW.to_millis(), value: 0.0 });
    let (batch, rejected) = screened(&Limits::default(), Caps::default(), Batch::Metrics(batch));
    assert_eq!((batch.len(), rejected), (1, vec![(Reason::Malformed, 1)]));
}

fn logs(items: &[(&str, i64, &str, &str)]) -> Batch {
    let mut batch = LogBatch::default();
    for (app, offset, line, metadata) in items {
        let labels = series(&[("app", app)]);
        let stream = batch.add_stream(labels.clone());
        let row = LogRow {
            stream: &labels,
            time: Nanos(NOW.0 + offset * SECOND),
            severity: Severity::INFO,
            trace_id: TraceId::NONE,
            span_id: SpanId::NONE,
            line,
            metadata: &series(&[("k", metadata)]),
        };
        batch.push(stream, row);
    }
    Batch::Logs(batch)
}

#[test]
fn good_records_survive_bad_ones() {
    let long_line = "x".repeat(256 * 1024 + 1);
    let long_value = "x".repeat(64 * 1024 + 1);
    let long_label = "x".repeat(4097);
    let items = [
        ("a", 0, long_line.as_str(), ""),
        ("b", 0, "one", "m"),
        ("c", 0, "two", long_value.as_str()),
        (long_label.as_str(), 0, "three", ""),
        ("d", 601, "four", ""),
        ("e", 0, "five", ""),
    ];
    let (batch, rejected) = screened(&Limits::default(), Caps::default(), logs(&items));
    let Batch::Logs(batch) = batch else { panic!("another signal") };
    assert_eq!(
        batch.rows().map(|row| (row.stream.get("app"), row.line, row.metadata.get("k"))).collect::<Vec<_>>(),
        [("b", "one", "m"), ("e", "five", "")]
    );
    assert_eq!(batch.streams.len(), 2);
    assert_eq!(rejected, [(Reason::TooLong, 2), (Reason::LabelValueTooLong, 1), (Reason::TooNew, 1)]);
}

fn span(change: impl FnOnce(&mut Span)) -> Batch {
    let mut batch = SpanBatch::default();
    let source = batch.add_source(Arc::new(SpanSource::default()));
    let mut span = Span { start: NOW, end: NOW, source, ..Span::default() };
    change(&mut span);
    batch.spans.push(span);
    Batch::Spans(batch)
}

#[track_caller]
fn check_span(batch: Batch, expect: &[(Reason, u64)]) {
    let (_, rejected) = screened(&Limits::default(), Caps::default(), batch);
    assert_eq!(rejected, expect);
}

#[test]
fn spans_against_the_default_limits() {
    let text = |len: usize| -> Attributes { [("k", Value::Str("x".repeat(len)))].into_iter().collect() };
    let too_long = &[(Reason::TooLong, 1)];
    check_span(span(|_| ()), &[]);
    check_span(span(|s| s.attributes = text(65536)), &[]);
    check_span(span(|s| s.attributes = text(65537)), too_long);
    check_span(span(|s| s.name = "n".repeat(65537)), too_long);
    check_span(
        span(|s| s.events.push(SpanEvent { attributes: text(65537), ..SpanEvent::default() })),
        too_long,
    );
    check_span(span(|s| s.start = Nanos(0)), &[(Reason::TooOld, 1)]);
    check_span(span(|s| s.source = 3), &[(Reason::Malformed, 1)]);
    let many = (0..100).map(|n| (n.to_string(), Value::Str("x".repeat(1000))));
    check_span(span(|s| s.attributes = many.collect()), &[]);
}

/// Each sample judged in a batch of its own.
fn judged_alone(batch: &MetricBatch) -> (Vec<(LabelSet, Millis)>, u64) {
    let (mut kept, mut lost) = (Vec::new(), 0);
    for sample in &batch.samples {
        let mut alone = MetricBatch::default();
        let labels = batch.series[sample.series as usize].clone();
        let series = alone.add_series(labels.clone());
        alone.samples.push(Sample { series, ..*sample });
        match screened(&Limits::default(), Caps::default(), Batch::Metrics(alone)).0.len() {
            0 => lost += 1,
            _ => kept.push((labels, sample.time)),
        }
    }
    (kept, lost)
}

proptest::proptest! {
    #[test]
    fn a_batch_keeps_what_each_sample_alone_would(
        names in proptest::collection::vec(("[a-c]{0,2}", 250usize..262), 1..6),
        samples in proptest::collection::vec((0usize..6, -40i64..2), 0..40),
    ) {
        const DAY_MILLIS: i64 = 86_400_000;
        let mut batch = MetricBatch::default();
        for (name, len) in &names {
            batch.add_series(series(&[(METRIC_NAME, name), (&"n".repeat(*len), "v")]));
        }
        for (at, days) in samples {
            let time = Millis(NOW.to_millis().0 + days * DAY_MILLIS);
            batch.samples.push(Sample { series: (at % names.len()) as u32, time, value: 0.0 });
        }
        let (kept, lost) = judged_alone(&batch);
        let (screened, rejected) = screened(&Limits::default(), Caps::default(), Batch::Metrics(batch));
        let Batch::Metrics(screened) = screened else { panic!("another signal") };
        let got: Vec<_> =
            screened.samples.iter().map(|s| (screened.series[s.series as usize].clone(), s.time)).collect();
        proptest::prop_assert_eq!(got, kept);
        proptest::prop_assert_eq!(rejected.iter().map(|(_, count)| count).sum::<u64>(), lost);
    }
}

#[test]
fn refused_series_name_the_limit_and_the_culprit() {
    let active = Mutex::new(Active::new(Caps { per_group: Some(1), ..Caps::default() }, 7, Duration::ZERO));
    let seen = Mutex::new(Vec::new());
    let on_refused = |limit: &'static str, blame: &Blame| {
        let told = (limit, blame.metric.clone(), blame.label.clone(), blame.refused);
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    };
    let limits = Limits::default();
    let screen = Screen {
        limits: &limits,
        now: NOW,
        steady: Duration::ZERO,
        active: &active,
        on_refused: &on_refused,
    };
    let users: Vec<_> =
        (0..4).map(|n| (series(&[(METRIC_NAME, "m"), ("job", "j"), ("user", &n.to_string())]), 0)).collect();
    let mut rejected = Rejected::default();
    screen.apply(metrics(&users), &mut rejected);
    screen.apply(metrics(&users[3..]), &mut rejected);
    let last = seen.lock().unwrap_or_else(PoisonError::into_inner).last().cloned();
    assert_eq!(last, Some(("series_per_metric", "m".into(), "user".into(), 4)));
    let mut again = Rejected::default();
    screen.apply(metrics(&users[3..]), &mut again);
    let told = again.to_string();
    for part in [
        "m{job=\"j\",user=\"3\"} is new",
        "label \"user\" has the most values",
        "limits.ingest.series_per_metric",
    ] {
        assert!(told.contains(part), "{told}");
    }
}
