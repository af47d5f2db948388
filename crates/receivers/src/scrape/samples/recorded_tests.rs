//! What a real Prometheus stored of hundreds of documents, against what a scrape stores here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::body::Received;
use kenning_promconfig::ScrapeConfig;
use kenning_promconfig::targets::{TargetGroup, discovered, relabelled};
use kenning_wire::prometheus::Exposition;
use std::sync::Arc;

/// A stamp that no document carries.
const STAMP: Millis = Millis(77_777_777_777);

/// A file of the recordings; `None`, loudly, where they are missing.
fn json(name: &str) -> Option<Value> {
    let root = std::env::var_os("KENNING_CORPUS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"),
        PathBuf::from,
    );
    let path = root.join("exposition/scrape-suite").join(name);
    match std::fs::read(&path) {
        Ok(text) => Some(serde_json::from_slice(&text).expect("a corpus file in JSON")),
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a skipped test must be heard of")]
            {
                eprintln!("SKIPPED: corpus {}: {error}; set KENNING_CORPUS", path.display());
            }
            None
        }
    }
}

fn target() -> Target {
    let config = ScrapeConfig::of_targets("j", vec!["i".to_owned()]);
    let kenning_promconfig::Discovery::Static(groups) = &config.discovery[0] else { panic!() };
    let group = TargetGroup::from(&groups[0]);
    let found = discovered(&config, &group.targets[0], &group.labels);
    let labels = relabelled(&config, &found).expect("labels").expect("a target");
    Target::new(Arc::new(config), &found, &labels).expect("a target")
}

fn body(document: &Value) -> Vec<u8> {
    match (&document["body"], &document["hex"]) {
        (Value::String(body), _) => body.clone().into_bytes(),
        (_, Value::String(digits)) => (0..digits.len() / 2)
            .map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).expect("hexadecimal digits"))
            .collect(),
        _ => panic!("neither body nor hex: {document}"),
    }
}

/// What was stored with the scrape's own stamp, by labels without the target's: the document's series, the report's.
fn stored(batch: &MetricBatch) -> (BTreeMap<LabelSet, f64>, BTreeMap<String, f64>) {
    let (mut series, mut report) = (BTreeMap::new(), BTreeMap::new());
    for sample in batch.samples.iter().filter(|sample| sample.time == STAMP) {
        let mut labels = batch.series[sample.series as usize].to_builder();
        labels.remove("instance").remove("job");
        let labels = labels.build();
        if labels.len() == 1 && NAMES.contains(&labels.metric_name()) {
            report.insert(labels.metric_name().to_owned(), sample.value);
        } else {
            series.insert(labels, sample.value);
        }
    }
    (series, report)
}

fn difference(document: &Value, golden: &Value) -> Option<String> {
    let format = Exposition::from_content_type(document["content_type"].as_str().expect("a content type"));
    let fetched = Fetched { received: Received::of(body(document)), encoding: Encoding::Identity, format };
    let target = target();
    let report = Report { stamp: STAMP, took: Duration::from_millis(5) };
    let parsed = batch_of(Box::new(State::new(&target, false)), &target, Ok(fetched), report);
    let (series, report) = stored(&parsed.batch);
    for (name, told) in [("up", "up"), ("scrape_samples_scraped", "scraped")] {
        let theirs: f64 = golden[told].as_str().expect("a number").parse().expect("a number");
        if report[name] != theirs {
            return Some(format!("{name} is {} instead of {theirs}: {:?}", report[name], parsed.outcome));
        }
    }
    for entry in golden["series"].as_array().expect("series") {
        let pairs = entry[0].as_array().expect("labels");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let labels = LabelSet::from_pairs(pairs.iter().map(|pair| (text(&pair[0]), text(&pair[1]))));
        let value: f64 = text(&entry[1]).parse().expect("a number");
        let same = |found: &f64| *found == value || (found.is_nan() && value.is_nan());
        if !series.get(&labels).is_some_and(same) {
            return Some(format!("{labels:?}: {:?} instead of {value}", series.get(&labels)));
        }
    }
    let count = golden["series_count"].as_u64().expect("a count") as usize;
    (series.len() != count).then(|| format!("{} series instead of {count}", series.len()))
}

#[test]
fn scrapes_store_what_prometheus_stored() {
    let (Some(documents), Some(golden)) = (json("docs.json"), json("golden_main.json")) else { return };
    let documents = documents.as_array().expect("documents");
    let differences: Vec<String> = documents
        .iter()
        .filter_map(|document| {
            let id = document["id"].as_str().expect("a name");
            Some(format!("{id}: {}", difference(document, &golden[id])?))
        })
        .collect();
    let all = documents.len();
    assert!(differences.is_empty(), "{} of {all} differ:\n{}", differences.len(), differences.join("\n"));
}
