//! From a fetched document to a batch: the document's samples, stale markers for series that went, the report series.

use std::time::Duration;

use kenning_gotext::quote::quote;
use kenning_model::{LabelSet, METRIC_NAME, MetricBatch, Millis, Sample};
use kenning_pipeline::relabel::{self, Labels};
use kenning_wire::compression::{Encoding, decompress};
use kenning_wire::prometheus::{STALE_NAN, ScrapeRules, Scraped};

use super::client::Fetched;
use super::pool::State;
use super::target::Target;

/// What is known of a scrape besides its document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    /// The stamp of samples without one of their own, and of the report series.
    pub stamp: Millis,
    /// Time it took.
    pub took: Duration,
}

/// The series about a target's scrapes, in the order of [`NAMES`].
#[derive(Debug)]
pub(super) struct ReportSeries(Vec<LabelSet>);

const NAMES: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];
const EXTRA_NAMES: [&str; 3] = ["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"];

impl ReportSeries {
    pub fn new(target: &Target) -> Self {
        let named = |name: &&str| {
            let mut labels = target.labels.to_builder();
            labels.set(METRIC_NAME, name);
            labels.build()
        };
        let extra = if target.config.extra_scrape_metrics { &EXTRA_NAMES[..] } else { &[] };
        Self(NAMES.iter().chain(extra).map(named).collect())
    }

    fn add(&self, values: impl IntoIterator<Item = f64>, time: Millis, batch: &mut MetricBatch) {
        for (labels, value) in self.0.iter().zip(values) {
            let series = batch.add_series(labels.clone());
            batch.samples.push(Sample { series, time, value });
        }
    }
}

/// A scrape turned into data.
pub(super) struct Parsed {
    pub state: Box<State>,
    pub batch: MetricBatch,
    /// The series of `batch` are those of the scrape before.
    pub same_series: bool,
    /// Why the target counts as down.
    pub outcome: Result<(), String>,
}

/// Parses a document. A failed scrape is an empty one: every series of the last goes stale, and `up` is 0.
pub(super) fn batch_of(
    mut state: Box<State>,
    target: &Target,
    fetched: Result<Fetched, String>,
    report: Report,
) -> Parsed {
    let (mut scraped, bytes) = match fetched.and_then(|fetched| unpacked(target, fetched)) {
        Ok(document) => (read(&mut state, target, &document, report.stamp), document.body.len() as f64),
        Err(error) => {
            let batch = state.cache.end(report.stamp);
            // The size of a document beyond its limit is not known.
            let bytes = if error.contains("body size limit exceeded") { -1.0 } else { 0.0 };
            (Scraped { batch, error: Some(error), ..Scraped::default() }, bytes)
        }
    };
    if !scraped.batch.metadata.is_empty() {
        target.set_metadata(state.cache.metadata().cloned().collect());
    }
    let values = [
        f64::from(u8::from(scraped.error.is_none())),
        report.took.as_secs_f64(),
        scraped.total as f64,
        scraped.added as f64,
        scraped.series_added as f64,
        target.timeout.as_secs_f64(),
        target.config.sample_limit as f64,
        bytes,
    ];
    state.report.add(values, report.stamp, &mut scraped.batch);
    let same_series = scraped.same_series;
    Parsed { state, batch: scraped.batch, same_series, outcome: scraped.error.map_or(Ok(()), Err) }
}

/// Stale markers for everything that a target had, the report series included.
pub(super) fn ending(state: &mut State, time: Millis) -> MetricBatch {
    let mut batch = state.cache.end(time);
    state.report.add([STALE_NAN; 8], time, &mut batch);
    batch
}

struct Document {
    body: bytes::Bytes,
    format: kenning_wire::prometheus::Exposition,
}

fn unpacked(target: &Target, fetched: Fetched) -> Result<Document, String> {
    let format = fetched.format;
    if fetched.encoding == Encoding::Identity {
        return Ok(Document { body: fetched.received.bytes, format });
    }
    let limit = target.body_bytes_max();
    let body =
        decompress(fetched.encoding, &fetched.received.bytes, limit).map_err(|error| error.to_string())?;
    Ok(Document { body: body.into_owned().into(), format })
}

fn read(state: &mut State, target: &Target, document: &Document, stamp: Millis) -> Scraped {
    let config = &target.config;
    let rules = ScrapeRules {
        time: stamp,
        honor_timestamps: config.honor_timestamps,
        track_timestamps: config.track_timestamps_staleness,
        sample_limit: config.sample_limit,
        histograms: target.histograms,
        skip_created: state.skip_created,
    };
    let mut finish = |pairs: &[(&str, &str)]| labels_of(target, pairs);
    state.cache.scrape(&document.body, document.format, &rules, &mut finish)
}

/// The labels a scraped series is stored with: the target's added, conflicts resolved, relabelled, checked.
fn labels_of(target: &Target, pairs: &[(&str, &str)]) -> Result<Option<LabelSet>, String> {
    let config = &target.config;
    if pairs.iter().any(|(name, _)| name.is_empty()) {
        return Err(format!("invalid metric name or label names: {}", shown(pairs.iter().copied())));
    }
    let mut labels = Labels::default();
    pairs.iter().for_each(|(name, value)| labels.set(name, value));
    add_target(target, &mut labels);
    if !config.metric_relabel.is_empty() && !relabel::apply(&config.metric_relabel, &mut labels) {
        return Ok(None);
    }
    let set = labels.build();
    if set.is_empty() {
        return Ok(None);
    }
    if set.metric_name().is_empty() {
        return Err("missing metric name (__name__ label)".to_owned());
    }
    let valid = set.iter().all(|(name, value)| match name {
        METRIC_NAME => config.names.allows_metric(value),
        _ => config.names.allows_label(name),
    });
    if !valid {
        return Err(format!("invalid metric name or label names: {}", shown(set.iter())));
    }
    check_limits(target, &set)?;
    Ok(Some(set))
}

fn add_target(target: &Target, labels: &mut Labels) {
    if target.config.honor_labels {
        for (name, value) in target.labels.iter() {
            if labels.get(name).is_empty() {
                labels.set(name, value);
            }
        }
        return;
    }
    let mut conflicts = Vec::new();
    for (name, value) in target.labels.iter() {
        let exposed = labels.get(name);
        if !exposed.is_empty() {
            conflicts.push((name, exposed.to_owned()));
        }
        labels.set(name, value);
    }
    conflicts.sort_by_key(|(name, _)| name.len());
    for (name, value) in conflicts {
        let mut renamed = format!("exported_{name}");
        // Labels are finite, and each round makes the name longer.
        while !labels.get(&renamed).is_empty() {
            renamed.insert_str(0, "exported_");
        }
        labels.set(&renamed, &value);
    }
}

fn check_limits(target: &Target, labels: &LabelSet) -> Result<(), String> {
    let config = &target.config;
    let over = |limit: u64, size: usize| limit > 0 && size as u64 > limit;
    let short = |text: &str| text.chars().take(50).collect::<String>();
    let metric = || short(labels.metric_name());
    if over(config.label_limit, labels.len()) {
        let (count, limit) = (labels.len(), config.label_limit);
        return Err(format!(
            "label_limit exceeded (metric: {}, number of labels: {count}, limit: {limit})",
            metric()
        ));
    }
    for (name, value) in labels.iter() {
        if over(config.label_name_length_limit, name.len()) {
            return Err(format!(
                "label_name_length_limit exceeded (metric: {}, label name: {}, length: {}, limit: {})",
                metric(),
                short(name),
                name.len(),
                config.label_name_length_limit
            ));
        }
        if over(config.label_value_length_limit, value.len()) {
            return Err(format!(
                "label_value_length_limit exceeded (metric: {}, label name: {}, value: {}, length: {}, limit: {})",
                metric(),
                short(name),
                quote(&short(value)),
                value.len(),
                config.label_value_length_limit
            ));
        }
    }
    Ok(())
}

fn shown<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name}={}", quote(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

#[cfg(test)]
mod recorded_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Received;
    use kenning_promconfig::ScrapeConfig;
    use kenning_promconfig::targets::{TargetGroup, discovered, relabelled};
    use kenning_wire::prometheus::Exposition;
    use std::sync::Arc;

    const STAMP: Millis = Millis(1_000);

    fn target(change: impl FnOnce(&mut ScrapeConfig)) -> Target {
        let mut config = ScrapeConfig::of_targets("j", vec!["h:1".to_owned()]);
        change(&mut config);
        let kenning_promconfig::Discovery::Static(groups) = &config.discovery[0] else { panic!() };
        let group = TargetGroup::from(&groups[0]);
        let found = discovered(&config, &group.targets[0], &group.labels);
        let labels = relabelled(&config, &found).unwrap().unwrap();
        Target::new(Arc::new(config), &found, &labels).unwrap()
    }

    fn state(target: &Target) -> Box<State> {
        Box::new(State::new(target, false))
    }

    fn scrape(state: Box<State>, target: &Target, document: Result<&str, &str>, stamp: Millis) -> Parsed {
        let format = Exposition::Text;
        let fetched = document
            .map(|text| Fetched {
                received: Received::of(text.as_bytes().to_vec()),
                encoding: Encoding::Identity,
                format,
            })
            .map_err(str::to_owned);
        batch_of(state, target, fetched, Report { stamp, took: Duration::from_millis(500) })
    }

    /// The batch as sorted lines `series value@time`, without the labels every series has.
    fn lines(batch: &MetricBatch) -> Vec<String> {
        let line = |sample: &Sample| {
            let labels = &batch.series[sample.series as usize];
            assert_eq!((labels.get("instance"), labels.get("job")), ("h:1", "j"));
            let own: Vec<_> = labels
                .iter()
                .filter(|(name, _)| !["instance", "job", METRIC_NAME].contains(name))
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let stale = sample.value.to_bits() == STALE_NAN.to_bits();
            let value = if stale { "stale".to_owned() } else { sample.value.to_string() };
            format!("{}{{{}}} {value}@{}", labels.metric_name(), own.join(","), sample.time)
        };
        let mut lines: Vec<_> = batch.samples.iter().map(line).collect();
        lines.sort();
        lines
    }

    fn report(up: u8, scraped: usize, added: usize, stamp: Millis) -> Vec<String> {
        vec![
            format!("scrape_duration_seconds{{}} 0.5@{stamp}"),
            format!("scrape_samples_post_metric_relabeling{{}} {scraped}@{stamp}"),
            format!("scrape_samples_scraped{{}} {scraped}@{stamp}"),
            format!("scrape_series_added{{}} {added}@{stamp}"),
            format!("up{{}} {up}@{stamp}"),
        ]
    }

    /// A document or a failed fetch, the samples expected besides the report, and the report: up, scraped, added.
    type Step<'a> = (Result<&'a str, &'a str>, &'a [&'a str], (u8, usize, usize));

    /// Scrapes one document after the other, a second apart; `expect` lists the samples besides the report.
    #[track_caller]
    fn check(target: &Target, steps: &[Step<'_>]) {
        let mut cache = state(target);
        for (step, (document, expect, (up, scraped, added))) in steps.iter().enumerate() {
            let stamp = Millis(STAMP.0 * (step as i64 + 1));
            let parsed = scrape(cache, target, *document, stamp);
            let mut want: Vec<String> = expect.iter().map(|line| (*line).to_owned()).collect();
            want.extend(report(*up, *scraped, *added, stamp));
            want.sort();
            assert_eq!(lines(&parsed.batch), want, "step {step}: {:?}", parsed.outcome);
            cache = parsed.state;
        }
    }

    #[test]
    fn series_that_disappear_go_stale_once() {
        check(
            &target(|_| ()),
            &[
                (Ok("a 1\nb{x=\"y\"} 2\n"), &["a{} 1@1000", "b{x=y} 2@1000"], (1, 2, 2)),
                (Ok("a 3\n"), &["a{} 3@2000", "b{x=y} stale@2000"], (1, 1, 0)),
                (Ok("a 3\n"), &["a{} 3@3000"], (1, 1, 0)),
                (Ok("a 3\nb{x=\"y\"} 2\n"), &["a{} 3@4000", "b{x=y} 2@4000"], (1, 2, 1)),
            ],
        );
    }

    #[test]
    fn a_failed_scrape_makes_everything_stale_and_the_target_down() {
        check(
            &target(|job| job.sample_limit = 1),
            &[
                (Ok("a 1\n"), &["a{} 1@1000"], (1, 1, 1)),
                (Err("refused"), &["a{} stale@2000"], (0, 0, 0)),
                (Ok("a 1\n"), &["a{} 1@3000"], (1, 1, 0)),
                (Ok("a 1\nb{ 2\n"), &["a{} stale@4000"], (0, 1, 0)),
                (Ok("a 1\nb 2\n"), &[], (0, 2, 0)),
            ],
        );
    }

    #[test]
    fn samples_with_stamps_of_their_own_never_go_stale() {
        let steps: &[Step<'_>] = &[(Ok("a 1 77\n"), &["a{} 1@77"], (1, 1, 1)), (Ok(""), &[], (1, 0, 0))];
        check(&target(|_| ()), steps);
        check(
            &target(|job| job.honor_timestamps = false),
            &[(Ok("a 1 77\n"), &["a{} 1@1000"], (1, 1, 1)), (Ok(""), &["a{} stale@2000"], (1, 0, 0))],
        );
    }

    #[test]
    fn metadata_goes_on_when_it_is_new_or_changed() {
        let target = target(|_| ());
        let mut cache = state(&target);
        for (help, expect) in [("one", 1), ("one", 0), ("two", 1)] {
            let document = format!("# HELP a {help}\n# TYPE a counter\na 1\n");
            let parsed = scrape(cache, &target, Ok(&document), STAMP);
            assert_eq!(parsed.batch.metadata.len(), expect);
            cache = parsed.state;
        }
    }

    #[test]
    fn labels_of_the_document_step_aside_or_win() {
        let document = "a{zone=\"doc\"} 1\n";
        let with = |honor: bool| {
            let target = target(|job| {
                if let kenning_promconfig::Discovery::Static(groups) = &mut job.discovery[0] {
                    groups[0].labels = vec![("zone".to_owned(), "job".to_owned())];
                }
                job.honor_labels = honor;
            });
            let parsed = scrape(state(&target), &target, Ok(document), STAMP);
            let labels =
                parsed.batch.series.iter().find(|labels| labels.metric_name() == "a").cloned().unwrap();
            (labels.get("zone").to_owned(), labels.get("exported_zone").to_owned())
        };
        assert_eq!(with(false), ("job".to_owned(), "doc".to_owned()));
        assert_eq!(with(true), ("doc".to_owned(), String::new()));
    }

    fn bytes_of(document: &serde_json::Value) -> Vec<u8> {
        if let Some(text) = document["body"].as_str() {
            return text.as_bytes().to_vec();
        }
        let digits = document["hex"].as_str().unwrap();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    /// Documents that fail on a line that Prometheus had counted already, or had not yet: the number of samples read before
    /// a failed scrape failed differs by that one.
    const COUNTED_OTHERWISE: [&str; 3] =
        ["om.bad_timestamp_6", "openmetricsparse.TestOMNullByteHandling.11", "py_om_invalid.064"];

    /// `up` and `scrape_samples_scraped` as real Prometheus recorded them.
    #[test]
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn reports_are_prometheus_own_for_the_recorded_scrapes() {
        let folder = std::env::var("KENNING_CORPUS")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpus").to_owned());
        let read = |name: &str| std::fs::read(format!("{folder}/exposition/scrape-suite/{name}"));
        let (Ok(documents), Ok(golden)) = (read("docs.json"), read("golden_main.json")) else {
            eprintln!(
                "SKIPPED: {folder}/exposition/scrape-suite is missing; recorded scrapes are not compared"
            );
            return;
        };
        let documents: Vec<serde_json::Value> = serde_json::from_slice(&documents).unwrap();
        let golden: serde_json::Value = serde_json::from_slice(&golden).unwrap();
        let target = target(|_| ());
        let mut different = Vec::new();
        for document in &documents {
            let (id, content_type) =
                (document["id"].as_str().unwrap(), document["content_type"].as_str().unwrap());
            let format =
                if content_type.starts_with("text/") { Exposition::Text } else { Exposition::OpenMetrics };
            let received = Received::of(bytes_of(document));
            let fetched = Ok(Fetched { received, encoding: Encoding::Identity, format });
            let report = Report { stamp: STAMP, took: Duration::ZERO };
            let parsed = batch_of(state(&target), &target, fetched, report);
            let value = |name: &str| {
                let at = parsed.batch.series.iter().rposition(|labels| labels.metric_name() == name).unwrap();
                parsed
                    .batch
                    .samples
                    .iter()
                    .find(|sample| sample.series as usize == at)
                    .unwrap()
                    .value
                    .to_string()
            };
            let ours = (value("up"), value("scrape_samples_scraped"));
            let theirs = |name: &str| golden[id][name].as_str().unwrap_or("").to_owned();
            let theirs = (theirs("up"), theirs("scraped"));
            let known = COUNTED_OTHERWISE.contains(&id) && ours.0 == "0" && theirs.0 == "0";
            if ours != theirs && !known {
                different.push(format!("{id}: {ours:?} instead of {theirs:?}"));
            }
        }
        let count = documents.len();
        assert!(different.is_empty(), "{} of {count}:\n{}", different.len(), different.join("\n"));
    }
}
