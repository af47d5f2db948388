//! From what discovery finds to the labels of a target. Definition: Prometheus `scrape.PopulateLabels`.

use kenning_pipeline::relabel::{self, Labels};

use crate::discovery::StaticGroup;
use crate::scrape::ScrapeConfig;
use crate::units;
use kenning_gotext::quote::quote;

/// The label that holds where a target is.
pub const ADDRESS: &str = "__address__";
/// The label that holds how it is spoken to.
pub const SCHEME: &str = "__scheme__";
/// The label that holds the document's path.
pub const METRICS_PATH: &str = "__metrics_path__";
/// The label that holds the time between scrapes.
pub const SCRAPE_INTERVAL: &str = "__scrape_interval__";
/// The label that holds the time that one may take.
pub const SCRAPE_TIMEOUT: &str = "__scrape_timeout__";
/// What labels of query parameters begin with.
pub const PARAM_PREFIX: &str = "__param_";
/// What labels begin with that discovery gives and that do not outlive relabelling.
pub const META_PREFIX: &str = "__meta_";
/// Whether classic histograms become native ones.
pub const CONVERT_CLASSIC: &str = "__convert_classic_histograms_to_nhcb__";
/// Whether classic buckets are taken beside native histograms.
pub const ALWAYS_CLASSIC: &str = "__always_scrape_classic_histograms__";
/// Whether native histograms are taken.
pub const NATIVE: &str = "__scrape_native_histograms__";

/// Targets that were found together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetGroup {
    /// The labels of each, [`ADDRESS`] among them.
    pub targets: Vec<Vec<(String, String)>>,
    /// Labels they have in common; those of a target win.
    pub labels: Vec<(String, String)>,
}

impl From<&StaticGroup> for TargetGroup {
    fn from(group: &StaticGroup) -> Self {
        let target = |address: &String| vec![(ADDRESS.to_owned(), address.clone())];
        Self { targets: group.targets.iter().map(target).collect(), labels: group.labels.clone() }
    }
}

/// A target's labels before any rule.
#[must_use]
pub fn discovered(config: &ScrapeConfig, target: &[(String, String)], group: &[(String, String)]) -> Labels {
    let mut labels = Labels::default();
    for (name, value) in group.iter().chain(target) {
        labels.set(name, value);
    }
    let flag = |on: bool| if on { "true" } else { "false" };
    let interval = units::show_duration(config.scrape_interval);
    let timeout = units::show_duration(config.scrape_timeout);
    let defaults = [
        ("job", config.job_name.as_str()),
        (SCRAPE_INTERVAL, &interval),
        (SCRAPE_TIMEOUT, &timeout),
        (METRICS_PATH, &config.metrics_path),
        (SCHEME, &config.scheme),
        (CONVERT_CLASSIC, flag(config.convert_classic_histograms_to_nhcb)),
        (ALWAYS_CLASSIC, flag(config.always_scrape_classic_histograms)),
        (NATIVE, flag(config.scrape_native_histograms)),
    ];
    for (name, value) in defaults {
        if labels.get(name).is_empty() {
            labels.set(name, value);
        }
    }
    for (name, values) in &config.params {
        let name = format!("{PARAM_PREFIX}{name}");
        if let Some(value) = values.first().filter(|_| labels.get(&name).is_empty()) {
            labels.set(&name, value);
        }
    }
    labels
}

/// The labels after relabelling, checked, with `instance`; `None` when a rule drops the target. Labels that begin with
/// `__` are still there: they tell how to scrape and are not stored.
pub fn relabelled(config: &ScrapeConfig, discovered: &Labels) -> Result<Option<Labels>, String> {
    let mut labels = discovered.clone();
    if !relabel::apply(&config.relabel, &mut labels) {
        return Ok(None);
    }
    let address = labels.get(ADDRESS).to_owned();
    if address.is_empty() {
        return Err("no address".to_owned());
    }
    check_address(&address)?;
    let span = |name: &str, what: &str| match units::duration(labels.get(name)) {
        Ok(span) if span.is_zero() => Err(format!("scrape {what} cannot be 0")),
        Ok(span) => Ok(span),
        Err(error) => Err(format!("error parsing scrape {what}: {error}")),
    };
    let (interval, timeout) = (span(SCRAPE_INTERVAL, "interval")?, span(SCRAPE_TIMEOUT, "timeout")?);
    if timeout > interval {
        return Err(format!(
            "scrape timeout cannot be greater than scrape interval ({} > {})",
            quote(labels.get(SCRAPE_TIMEOUT)),
            quote(labels.get(SCRAPE_INTERVAL))
        ));
    }
    for (name, what) in [
        (CONVERT_CLASSIC, "convert classic histograms to nhcb"),
        (ALWAYS_CLASSIC, "always scrape classic histograms"),
        (NATIVE, "scrape native histograms"),
    ] {
        let value = labels.get(name);
        if !value.is_empty() && boolean(value).is_none() {
            let value = quote(value);
            return Err(format!("error parsing {what}: strconv.ParseBool: parsing {value}: invalid syntax"));
        }
    }
    labels.retain(|name| !name.starts_with(META_PREFIX));
    if labels.get("instance").is_empty() {
        labels.set("instance", &address);
    }
    Ok(Some(labels))
}

/// Refuses what can only be a URL.
pub(crate) fn check_address(address: &str) -> Result<(), String> {
    if address.contains('/') {
        return Err(format!("{} is not a valid hostname", quote(address)));
    }
    Ok(())
}

/// A truth value as Go's `strconv.ParseBool` reads it.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
