//! From a fetched document to a batch: the document's samples, stale markers for series that went, the report series.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use kenning_model::{LabelSet, METRIC_NAME, MetricBatch, MetricMetadata, Millis, Reason, Sample};
use kenning_wire::compression::decompress;
use kenning_wire::prometheus::{self, Exposition, STALE_NAN, ScrapeOptions};
use kenning_wire::{DecodeError, DecodeLimits, Decoded};

use super::client::Fetched;
use super::job::ExpositionFormat;
use super::target::Target;

/// What is known of a scrape besides its document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    /// The stamp of samples without one of their own, and of the report series.
    pub stamp: Millis,
    /// Time it took.
    pub took: Duration,
}

/// What one target's scrapes have in common: the series of the last one, and metadata that was sent already.
///
/// Bounded by what one document may hold.
#[derive(Debug)]
pub(super) struct SeriesCache {
    /// Series of the last scrape, and whether their samples carried no stamp of their own: only those go stale.
    last: HashMap<LabelSet, bool>,
    metadata_sent: HashMap<String, u64>,
    up: LabelSet,
    duration: LabelSet,
    scraped: LabelSet,
    after_relabelling: LabelSet,
    added: LabelSet,
}

/// A scrape turned into data.
pub(super) struct Parsed {
    pub cache: SeriesCache,
    pub batch: MetricBatch,
    /// Why the target counts as down.
    pub outcome: Result<(), String>,
}

impl SeriesCache {
    pub fn new(target: &Target) -> Self {
        let named = |name: &str| {
            let mut labels = target.labels.to_builder();
            labels.set(METRIC_NAME, name);
            labels.build()
        };
        Self {
            last: HashMap::new(),
            metadata_sent: HashMap::new(),
            up: named("up"),
            duration: named("scrape_duration_seconds"),
            scraped: named("scrape_samples_scraped"),
            after_relabelling: named("scrape_samples_post_metric_relabeling"),
            added: named("scrape_series_added"),
        }
    }

    /// Marks series that are missing since the last scrape as stale, and remembers this one's. Gives the number of
    /// series that are new.
    fn advance(&mut self, batch: &mut MetricBatch, stamp: Millis) -> usize {
        let mut unstamped = vec![false; batch.series.len()];
        let floats = batch.samples.iter().map(|sample| (sample.series, sample.time));
        let histograms = batch.histograms.iter().map(|sample| (sample.series, sample.time));
        for (series, _) in floats.chain(histograms).filter(|(_, time)| *time == stamp) {
            if let Some(unstamped) = unstamped.get_mut(series as usize) {
                *unstamped = true;
            }
        }
        let current: HashMap<LabelSet, bool> = batch.series.iter().cloned().zip(unstamped).collect();
        let added = batch.series.iter().filter(|labels| !self.last.contains_key(labels)).count();
        for (gone, _) in
            self.last.iter().filter(|(labels, unstamped)| **unstamped && !current.contains_key(labels))
        {
            let series = batch.add_series(gone.clone());
            batch.samples.push(Sample { series, time: stamp, value: STALE_NAN });
        }
        self.last = current;
        added
    }

    /// Metadata rarely changes; only what is new goes on.
    fn only_new_metadata(&mut self, metadata: Vec<MetricMetadata>) -> Vec<MetricMetadata> {
        let mut now = HashMap::with_capacity(metadata.len());
        let mut fresh = Vec::new();
        for entry in metadata {
            let mut hasher = DefaultHasher::new();
            entry.hash(&mut hasher);
            let hash = hasher.finish();
            now.insert(entry.metric.clone(), hash);
            if self.metadata_sent.get(&entry.metric) != Some(&hash) {
                fresh.push(entry);
            }
        }
        self.metadata_sent = now;
        fresh
    }
}

/// Parses a document. A failed scrape is an empty one: every series of the last goes stale, and `up` is 0.
pub(super) fn batch_of(
    mut cache: SeriesCache,
    target: &Target,
    fetched: Result<Fetched, String>,
    report: Report,
) -> Parsed {
    let document = fetched.map_err(Failed::before_parsing);
    let document = document.and_then(|fetched| parse(target, &fetched, report.stamp));
    let (mut batch, scraped, outcome) = match document {
        Ok(Document { mut batch, scraped }) => {
            batch.metadata = cache.only_new_metadata(batch.metadata);
            (batch, scraped, Ok(()))
        }
        Err(Failed { error, scraped }) => (MetricBatch::default(), scraped, Err(error)),
    };
    let added = cache.advance(&mut batch, report.stamp);
    let up = if outcome.is_ok() { 1.0 } else { 0.0 };
    for (labels, value) in [
        (&cache.up, up),
        (&cache.duration, report.took.as_secs_f64()),
        (&cache.scraped, scraped as f64),
        (&cache.after_relabelling, scraped as f64),
        (&cache.added, added as f64),
    ] {
        let series = batch.add_series(labels.clone());
        batch.samples.push(Sample { series, time: report.stamp, value });
    }
    Parsed { cache, batch, outcome }
}

/// A document that was parsed.
struct Document {
    batch: MetricBatch,
    /// Samples read, the repeated ones included.
    scraped: usize,
}

/// A scrape that failed.
struct Failed {
    error: String,
    /// Samples read before it did.
    scraped: usize,
}

impl Failed {
    fn before_parsing(error: impl ToString) -> Self {
        Self { error: error.to_string(), scraped: 0 }
    }
}

fn parse(target: &Target, fetched: &Fetched, stamp: Millis) -> Result<Document, Failed> {
    let job = &target.job;
    let bytes_max = job.body_size_limit.unwrap_or(usize::MAX);
    let body =
        decompress(fetched.encoding, &fetched.received.bytes, bytes_max).map_err(Failed::before_parsing)?;
    let format = match fetched.format {
        ExpositionFormat::PrometheusText => Exposition::Text,
        ExpositionFormat::OpenMetrics => Exposition::OpenMetrics,
    };
    let options = ScrapeOptions {
        honor_timestamps: job.honor_timestamps,
        honor_labels: job.honor_labels,
        ..ScrapeOptions::new(stamp, target.labels.clone())
    };
    let document = decode(&body, format, &options).map_err(|error| Failed {
        scraped: scraped_before(&error, &body, format, &options),
        error: error.to_string(),
    })?;
    match job.sample_limit {
        Some(limit) if document.scraped > limit => {
            let error =
                format!("sample limit exceeded: {} samples and sample_limit is {limit}", document.scraped);
            Err(Failed { error, scraped: document.scraped })
        }
        _ => Ok(document),
    }
}

fn decode(body: &[u8], format: Exposition, options: &ScrapeOptions) -> Result<Document, DecodeError> {
    // Sizes of labels are the pipeline's to judge, per series and with a counted reason.
    let limits = DecodeLimits {
        labels: usize::MAX,
        label_name_bytes: usize::MAX,
        label_value_bytes: usize::MAX,
        ..DecodeLimits::default()
    };
    let Decoded { batch, rejected } = prometheus::decode(body, format, &limits, options)?;
    let repeated = rejected.iter().filter(|(reason, ..)| *reason == Reason::DuplicateSample);
    let repeated: u64 = repeated.map(|(_, count, _)| count).sum();
    let stored = batch.samples.len() + batch.histograms.len();
    let scraped = stored.saturating_add(usize::try_from(repeated).unwrap_or(usize::MAX));
    Ok(Document { batch, scraped })
}

/// Samples on the lines before the one that does not parse, which Prometheus reports too.
fn scraped_before(error: &DecodeError, body: &[u8], format: Exposition, options: &ScrapeOptions) -> usize {
    let DecodeError::Malformed { at, .. } = error else { return 0 };
    let read = body.get(..*at).unwrap_or(body);
    let lines = read.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut lines = read.get(..lines).unwrap_or_default().to_vec();
    if format == Exposition::OpenMetrics {
        lines.extend_from_slice(b"# EOF\n");
    }
    decode(&lines, format, options).map_or(0, |document| document.scraped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Received;
    use crate::scrape::ScrapeJob;
    use kenning_wire::compression::Encoding;
    use std::sync::Arc;

    const STAMP: Millis = Millis(1_000);

    fn target(change: impl FnOnce(&mut ScrapeJob)) -> Target {
        let mut job = ScrapeJob::new("j", vec![]);
        change(&mut job);
        let labels = job.groups[0].labels.clone();
        Target::new(Arc::new(job), &labels, "h:1").unwrap()
    }

    fn scrape(cache: SeriesCache, target: &Target, document: Result<&str, &str>, stamp: Millis) -> Parsed {
        let format = ExpositionFormat::PrometheusText;
        let fetched = document
            .map(|text| Fetched {
                received: Received::of(text.as_bytes().to_vec()),
                encoding: Encoding::Identity,
                format,
            })
            .map_err(str::to_owned);
        batch_of(cache, target, fetched, Report { stamp, took: Duration::from_millis(500) })
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
        let mut cache = SeriesCache::new(target);
        for (step, (document, expect, (up, scraped, added))) in steps.iter().enumerate() {
            let stamp = Millis(STAMP.0 * (step as i64 + 1));
            let parsed = scrape(cache, target, *document, stamp);
            let mut want: Vec<String> = expect.iter().map(|line| (*line).to_owned()).collect();
            want.extend(report(*up, *scraped, *added, stamp));
            want.sort();
            assert_eq!(lines(&parsed.batch), want, "step {step}: {:?}", parsed.outcome);
            cache = parsed.cache;
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
            &target(|job| job.sample_limit = Some(1)),
            &[
                (Ok("a 1\n"), &["a{} 1@1000"], (1, 1, 1)),
                (Err("refused"), &["a{} stale@2000"], (0, 0, 0)),
                (Ok("a 1\n"), &["a{} 1@3000"], (1, 1, 1)),
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
        let mut cache = SeriesCache::new(&target);
        for (help, expect) in [("one", 1), ("one", 0), ("two", 1)] {
            let document = format!("# HELP a {help}\n# TYPE a counter\na 1\n");
            let parsed = scrape(cache, &target, Ok(&document), STAMP);
            assert_eq!(parsed.batch.metadata.len(), expect);
            cache = parsed.cache;
        }
    }

    #[test]
    fn labels_of_the_document_step_aside_or_win() {
        let document = "a{zone=\"doc\"} 1\n";
        let with = |honor: bool| {
            let target = target(|job| {
                job.groups[0].labels = LabelSet::from_pairs([("zone", "job")]);
                job.honor_labels = honor;
            });
            let parsed = scrape(SeriesCache::new(&target), &target, Ok(document), STAMP);
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

    /// Documents that fail on the line of a sample which Prometheus had counted already, or had not yet: the number of
    /// samples read before a failed scrape failed differs by that one.
    const COUNTED_OTHERWISE: [&str; 8] = [
        "om.bad_invalid_labels_5",
        "om.bad_timestamp_6",
        "common_error.34",
        "openmetricsparse.TestOMNullByteHandling.11",
        "py_om_invalid.020",
        "py_om_invalid.064",
        "fuzz.from_test_parse_error_4",
        "real.services.geth.testdata.metrics_geth.txt",
    ];

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
            let format = if content_type.starts_with("text/") {
                ExpositionFormat::PrometheusText
            } else {
                ExpositionFormat::OpenMetrics
            };
            let received = Received::of(bytes_of(document));
            let fetched = Ok(Fetched { received, encoding: Encoding::Identity, format });
            let report = Report { stamp: STAMP, took: Duration::ZERO };
            let parsed = batch_of(SeriesCache::new(&target), &target, fetched, report);
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
