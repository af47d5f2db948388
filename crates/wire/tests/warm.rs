//! What scrapes of one target make of documents that repeat: the same as a decoder that has seen none before.

mod corpus;

use std::collections::{BTreeMap, BTreeSet};

use kenning_model::{LabelSet, MetricBatch, MetricKind, MetricMetadata, Millis, Reason, Rejected, start_at};
use kenning_wire::DecodeLimits;
use kenning_wire::prometheus::{
    Exposition, HistogramRules, STALE_NAN, ScrapeOptions, ScrapeRules, Scraped, SeriesCache, decode,
};
use proptest::prelude::*;
use serde_json::Value;

/// A series, the bits of its value, its stamp.
type Item = (LabelSet, u64, i64);

fn rules(time: i64) -> ScrapeRules {
    ScrapeRules {
        time: Millis(time),
        honor_timestamps: true,
        track_timestamps: false,
        sample_limit: 0,
        skip_created: false,
        histograms: HistogramRules { native: true, ..HistogramRules::default() },
    }
}

/// Labels as they stand in the document.
fn finish(pairs: &[(&str, &str)]) -> Result<Option<LabelSet>, String> {
    if pairs.iter().any(|(name, _)| name.is_empty()) {
        return Err("an empty name".into());
    }
    let labels = LabelSet::from_pairs(pairs.iter().copied());
    if labels.metric_name().is_empty() { Err("no name".into()) } else { Ok(Some(labels)) }
}

fn items(batch: &MetricBatch) -> Vec<Item> {
    let item = |series: u32, bits, time: Millis| (batch.series[series as usize].clone(), bits, time.0);
    batch.samples.iter().map(|s| item(s.series, s.value.to_bits(), s.time)).collect()
}

fn exemplars(batch: &MetricBatch) -> Vec<(Item, LabelSet)> {
    let all = batch.exemplars.iter();
    all.map(|e| ((batch.series[e.series as usize].clone(), e.value.to_bits(), e.time.0), e.labels.clone()))
        .collect()
}

fn repeated(rejected: &Rejected) -> u64 {
    rejected.iter().filter(|(reason, ..)| *reason == Reason::DuplicateSample).map(|(_, count, _)| count).sum()
}

/// A target's scrapes, each held against a decoder that knows nothing.
#[derive(Default)]
struct Target {
    cache: SeriesCache,
    /// Series of the last scrape that go stale without this one.
    live: BTreeSet<LabelSet>,
    time: i64,
}

impl Target {
    fn check(&mut self, body: &[u8], format: Exposition) {
        self.time += 1_000_000;
        let warm = self.cache.scrape(body, format, &rules(self.time), &mut finish);
        let limits = DecodeLimits { labels: 1000, label_value_bytes: 1 << 20, ..DecodeLimits::default() };
        let options = ScrapeOptions::new(Millis(self.time), LabelSet::empty());
        let shown = String::from_utf8_lossy(body);
        let stale = match decode(body, format, &limits, &options) {
            Err(error) if !body.is_empty() => {
                assert!(warm.error.is_some(), "taken, but not by the decoder: {error}\n{shown}");
                std::mem::take(&mut self.live)
            }
            Err(_) => std::mem::take(&mut self.live),
            Ok(cold) => {
                assert_eq!(warm.error, None, "{shown}");
                assert_eq!(warm.repeated, repeated(&cold.rejected), "{shown}");
                assert_eq!(exemplars(&warm.batch), exemplars(&cold.batch), "{shown}");
                self.check_metadata(&cold.batch.metadata);
                let cold = items(&cold.batch);
                assert_eq!(items(&warm.batch)[..cold.len()], cold, "{shown}");
                let now = cold.iter().filter(|item| item.2 == self.time).map(|item| item.0.clone());
                let before = std::mem::replace(&mut self.live, now.collect());
                before.difference(&self.live).cloned().collect()
            }
        };
        let got = items(&warm.batch);
        let got: BTreeSet<_> =
            got.into_iter().filter(|item| item.1 == STALE_NAN.to_bits()).map(|item| item.0).collect();
        assert_eq!(got, stale, "{shown}");
    }

    /// What the document says is what is known; what it does not say may be known from earlier ones.
    fn check_metadata(&self, said: &[MetricMetadata]) {
        let known: BTreeMap<_, _> = self.cache.metadata().map(|m| (m.metric.as_str(), m)).collect();
        for one in said {
            let found = known[one.metric.as_str()];
            let same = |ours: &str, theirs: &str| theirs.is_empty() || ours == theirs;
            assert!(same(&found.help, &one.help) && same(&found.unit, &one.unit), "{found:?} {one:?}");
            assert!(one.kind == MetricKind::Unknown || found.kind == one.kind, "{found:?} {one:?}");
        }
    }
}

/// A line of a document. Few names, so that lines meet again.
fn line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b_bucket", "c:d", "\u{e4}"]);
    let label = prop::sample::select(vec![
        "",
        "x=\"1\"",
        "x=\"2\"",
        "y=\"\"",
        "le=\"1\"",
        "le=\"1.0\"",
        "quantile=\"0.50\"",
        "x=\"1\",y=\"\\\\n\"",
        "x=\"1\",x=\"2\"",
        "y=\"1\",x=\"1\"",
        "x=\"1\",y=\"1\"",
    ]);
    let value = prop::sample::select(vec!["1", "2.5", "NaN", "+Inf", "1e3", "-0", "17"]);
    let stamp = prop::sample::select(vec!["", "", "", " 5", " 7"]);
    let exemplar = prop::sample::select(vec!["", "", "", " # {t=\"1\"} 1", " # {t=\"2\"} 1 3"]);
    let sample =
        (name, label, value, stamp, exemplar).prop_map(|(name, label, value, stamp, exemplar)| {
            match (name.is_ascii(), label) {
                (true, "") => format!("{name} {value}{stamp}{exemplar}\n"),
                (true, label) => format!("{name}{{{label}}} {value}{stamp}{exemplar}\n"),
                (false, "") => format!("{{\"{name}\"}} {value}{stamp}{exemplar}\n"),
                (false, label) => format!("{{\"{name}\",{label}}} {value}{stamp}{exemplar}\n"),
            }
        });
    let comment = prop::sample::select(vec![
        "# HELP a one\n",
        "# HELP a two\n",
        "# HELP b_bucket x\\\\y\n",
        "# TYPE a histogram\n",
        "# TYPE a gauge\n",
        "# TYPE a summary\n",
        "# TYPE b_bucket counter\n",
        "# UNIT c:d d\n",
        "# note\n",
    ]);
    let bad = prop::sample::select(vec!["a{ 1\n", "a 1 x\n", "{x=\"1\"} 1\n", "9 1\n", "a{x=\"1\"}\n"]);
    prop_oneof![40 => sample, 12 => comment.prop_map(str::to_owned), 1 => bad.prop_map(str::to_owned)]
}

/// What happens to a document before it is scraped again.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Replace(usize, String),
    Insert(usize, String),
    Remove(usize),
    Swap(usize, usize),
    Whole(Vec<String>),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => Just(Change::Nothing),
        4 => (any::<usize>(), line()).prop_map(|(at, line)| Change::Replace(at, line)),
        2 => (any::<usize>(), line()).prop_map(|(at, line)| Change::Insert(at, line)),
        2 => any::<usize>().prop_map(Change::Remove),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Change::Swap(a, b)),
        1 => prop::collection::vec(line(), 0..12).prop_map(Change::Whole),
    ]
}

fn apply(change: Change, lines: &mut Vec<String>) {
    let len = lines.len();
    match change {
        Change::Replace(at, line) if len > 0 => lines[at % len] = line,
        Change::Insert(at, line) => lines.insert(at % (len + 1), line),
        Change::Remove(at) if len > 0 => drop(lines.remove(at % len)),
        Change::Swap(a, b) if len > 0 => lines.swap(a % len, b % len),
        Change::Whole(all) => *lines = all,
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn warm_and_cold_agree(
        mut lines in prop::collection::vec(line(), 0..12),
        changes in prop::collection::vec(prop::collection::vec(change(), 1..3), 1..8),
        open in any::<bool>(),
    ) {
        let mut target = Target::default();
        let format = if open { Exposition::OpenMetrics } else { Exposition::Text };
        for changes in changes {
            // Exemplars and units are OpenMetrics only: left in, every other text document would be bad.
            let fit = |line: &String| {
                if open { line.clone() } else { line.split(" # ").next().unwrap_or_default().trim_end().to_owned() + "\n" }
            };
            let body: String = lines.iter().map(fit).chain(open.then(|| "# EOF\n".to_owned())).collect();
            target.check(body.as_bytes(), format);
            changes.into_iter().for_each(|change| apply(change, &mut lines));
        }
    }
}

fn body_of(doc: &Value) -> Vec<u8> {
    match (&doc["body"], &doc["hex"]) {
        (Value::String(body), _) => body.clone().into_bytes(),
        (_, Value::String(hex)) => {
            (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
        }
        _ => panic!("neither body nor hex"),
    }
}

/// Every recorded document, scraped once, again as it is, after a failure, and after a document of another target.
#[test]
fn recorded_documents_come_out_alike_again_and_again() {
    let Some(docs) = corpus::json("exposition/scrape-suite/docs.json") else { return };
    let mut before = (b"a 1\n".to_vec(), Exposition::Text);
    for doc in docs.as_array().unwrap() {
        let body = body_of(doc);
        let format = Exposition::from_content_type(doc["content_type"].as_str().unwrap());
        let mut target = Target::default();
        target.check(&body, format);
        target.check(&body, format);
        if body.len() < 100_000 {
            target.check(b"a{ 1\n", Exposition::Text);
            target.check(&body, format);
            target.check(&before.0, before.1);
            target.check(&body, format);
            before = (body, format);
        }
    }
}

fn scrape(cache: &mut SeriesCache, body: &str, histograms: HistogramRules) -> Scraped {
    cache.scrape(body.as_bytes(), Exposition::Text, &ScrapeRules { histograms, ..rules(9) }, &mut finish)
}

#[test]
fn what_another_comment_overruled_is_read_again() {
    let mut cache = SeriesCache::default();
    let mut help_after = |body: &str| {
        drop(scrape(&mut cache, body, HistogramRules::default()));
        cache.metadata().map(|metadata| metadata.help.clone()).collect::<Vec<_>>()
    };
    assert_eq!(help_after("# HELP a x\n# HELP a y\na 1\n"), ["y"]);
    assert_eq!(help_after("# HELP a x\na 1\n"), ["x"]);
    assert_eq!(help_after("# HELP a z\na{ 1\n"), ["z"]);
    assert_eq!(help_after("# HELP a x\na 1\n"), ["x"]);
    assert_eq!(help_after("# HELP b x\nb 1\n"), ["x"], "one metric is forgotten");
}

#[test]
fn a_known_comment_tells_no_type_but_its_own() {
    let mut cache = SeriesCache::default();
    for before in ["# UNIT c d\n", "# TYPE c gauge\n# UNIT c d\n", "# HELP a x\n"] {
        drop(scrape(&mut cache, before, HistogramRules::default()));
        let body =
            format!("# TYPE a summary\n{}\na{{quantile=\"0.50\"}} 1\n", before.lines().last().unwrap());
        let scraped = scrape(&mut cache, &body, HistogramRules::default());
        assert_eq!(scraped.batch.series[0].get("quantile"), "0.5", "{before}");
    }
}

#[test]
fn classic_histograms_become_native_ones() {
    let body = "# TYPE h histogram\nh_bucket{a=\"1\",le=\"1\"} 1\nh_bucket{a=\"1\",le=\"+Inf\"} 3\nh_sum{a=\"1\"} 5\n\
        h_count{a=\"1\"} 3\nh_bucket{a=\"2\",le=\"+Inf\"} 4\nh_count{a=\"2\"} 4\nh_other 1\n# TYPE g gauge\ng_count 2\n";
    let rules = HistogramRules { to_custom_buckets: true, ..HistogramRules::default() };
    let mut cache = SeriesCache::default();
    for round in 0..3 {
        let scraped = scrape(&mut cache, body, rules);
        let batch = &scraped.batch;
        let shown: Vec<_> = batch
            .histograms
            .iter()
            .map(|h| {
                let (labels, h) = (&batch.series[h.series as usize], &h.histogram);
                format!("{labels:?} {} {} {:?} {:?}", h.count, h.sum, h.custom_bounds, h.positive)
            })
            .collect();
        let expect = [
            r#"{"__name__": "h", "a": "1"} 3 5 [1.0] [1.0, 2.0]"#,
            r#"{"__name__": "h", "a": "2"} 4 0 [] [4.0]"#,
        ];
        assert_eq!(shown, expect, "round {round}");
        assert_eq!((batch.samples.len(), scraped.total, scraped.added), (2, 4, 4));
    }
    let kept = scrape(&mut cache, body, HistogramRules { classic_too: true, ..rules });
    assert_eq!((kept.batch.samples.len(), kept.batch.histograms.len()), (8, 2));
}

/// Samples of two scrapes of one document: `name{labels} value start`, stale markers apart.
fn with_starts(body: &str, skip_created: bool, to_custom_buckets: bool) -> (Vec<String>, u64) {
    let histograms = HistogramRules { to_custom_buckets, ..HistogramRules::default() };
    let mut cache = SeriesCache::default();
    let mut last = (Vec::new(), 0);
    for time in [9_000, 19_000, 29_000] {
        let rules = ScrapeRules { skip_created, histograms, ..rules(time) };
        let scraped = cache.scrape(body.as_bytes(), Exposition::OpenMetrics, &rules, &mut finish);
        assert_eq!(scraped.error, None, "{body}");
        let batch = &scraped.batch;
        let name = |series: u32| {
            let labels = &batch.series[series as usize];
            format!("{}{}", labels.metric_name(), labels.get("x"))
        };
        let samples = batch.samples.iter().zip(0..).map(|(sample, at)| {
            format!("{} {} {}", name(sample.series), sample.value, start_at(&batch.starts, at).0)
        });
        let histograms = batch.histograms.iter().zip(0..).map(|(sample, at)| {
            format!(
                "{} {} {}",
                name(sample.series),
                sample.histogram.count,
                start_at(&batch.histogram_starts, at).0
            )
        });
        let now = (samples.chain(histograms).collect(), scraped.total);
        if time > 9_000 {
            assert_eq!(now, last, "the next scrape of the same document says the same");
        }
        last = now;
    }
    last
}

#[test]
fn created_series_tell_starts_and_need_not_be_series() {
    let counter = "# TYPE a counter\na_total{x=\"1\"} 5\na_created{x=\"1\"} 7.5\na_total{x=\"2\"} 6\n# EOF\n";
    let stored = ["a_total1 5 7500", "a_total2 6 0"].map(str::to_owned);
    assert_eq!(with_starts(counter, true, false), (stored.to_vec(), 2));
    let (all, total) = with_starts(counter, false, false);
    assert_eq!((all.len(), total), (3, 3));
    // A gauge's name may end so and mean nothing.
    let (gauge, _) = with_starts("# TYPE a_created gauge\na_created 1\n# EOF\n", true, false);
    assert_eq!(gauge, ["a_created 1 0"]);
    let classic = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 3\nh_created 4\n# EOF\n";
    let (lines, total) = with_starts(classic, true, false);
    assert_eq!((lines.len(), total), (4, 4));
    assert!(lines.iter().all(|line| line.ends_with(" 4000")), "{lines:?}");
    let (lines, _) = with_starts(classic, true, true);
    assert_eq!(lines, ["h 2 4000"]);
}
