//! `kenning check metrics`

use std::collections::BTreeMap;
use std::io::Read;
use std::process::ExitCode;

use clap::Args;
use kenning_model::{LabelSet, MetricKind, Millis};
use kenning_wire::DecodeLimits;
use kenning_wire::prometheus::{Exposition, ScrapeOptions, check_strictly, decode};

use super::{LINT, promlint};
use crate::Failure;

/// Longest exposition, in bytes.
const TEXT_BYTES_MAX: u64 = 256 << 20;

/// An exposition on standard input.
#[derive(Args)]
pub(super) struct Metrics {
    /// Show how many series each metric has
    #[arg(long)]
    extended: bool,
    /// The text is OpenMetrics; without, what ends with `# EOF` is
    #[arg(long)]
    openmetrics: bool,
    /// `none` leaves names, units and help alone
    #[arg(long, default_value = "all")]
    lint: String,
}

/// A metric family with its series.
pub(super) struct Family {
    pub(super) name: String,
    pub(super) kind: MetricKind,
    pub(super) help: String,
    pub(super) series: Vec<LabelSet>,
}

impl Metrics {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let mut text = Vec::new();
        std::io::stdin().lock().take(TEXT_BYTES_MAX).read_to_end(&mut text)?;
        // What scrapers let pass is looked at first, as promtool's parser does.
        if let Err(flaw) = check_strictly(&text, format_of(&text, self.openmetrics)) {
            return Err(format!("error while linting: {flaw}").into());
        }
        let (families, repeated) = match families(&text, self.openmetrics) {
            Ok(read) => read,
            Err(error) => return Err(format!("error while linting: {error}").into()),
        };
        let lints = self.lint != "none";
        let mut problems = if lints { promlint::lint(&families) } else { Vec::new() };
        if repeated > 0 {
            problems.push((String::new(), format!("{repeated} series are there more than once")));
        }
        for (metric, problem) in &problems {
            eprintln!("{metric} {problem}");
        }
        if !problems.is_empty() {
            return Ok(ExitCode::from(LINT));
        }
        if self.extended {
            cardinality(&families);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn format_of(text: &[u8], openmetrics: bool) -> Exposition {
    let open = openmetrics || text.trim_ascii_end().ends_with(b"# EOF");
    if open { Exposition::OpenMetrics } else { Exposition::Text }
}

/// The families of an exposition by name, and how many series were repeated.
pub(super) fn families(text: &[u8], openmetrics: bool) -> Result<(Vec<Family>, u64), String> {
    let format = format_of(text, openmetrics);
    // What a server would limit is looked at here.
    let limits = DecodeLimits { items: usize::MAX, ..DecodeLimits::default() };
    let options = ScrapeOptions::new(Millis(0), LabelSet::empty());
    let decoded = decode(text, format, &limits, &options).map_err(|error| error.to_string())?;
    let told = decoded.batch.metadata.into_iter();
    let mut families: BTreeMap<String, Family> = told
        .map(|told| {
            let family = Family { name: told.metric, kind: told.kind, help: told.help, series: Vec::new() };
            (family.name.clone(), family)
        })
        .collect();
    for series in decoded.batch.series {
        let name = family_of(series.metric_name(), &families);
        let unknown = || Family {
            name: name.clone(),
            kind: MetricKind::Unknown,
            help: String::new(),
            series: Vec::new(),
        };
        families.entry(name.clone()).or_insert_with(unknown).series.push(series);
    }
    // A family that is only told about has no metrics to speak of.
    let families = families.into_values().filter(|family| !family.series.is_empty()).collect();
    Ok((families, decoded.rejected.total()))
}

/// The family that a series belongs to.
fn family_of(name: &str, families: &BTreeMap<String, Family>) -> String {
    if families.contains_key(name) {
        return name.to_owned();
    }
    let base = ["_bucket", "_count", "_sum", "_total", "_created", "_info", "_gsum", "_gcount"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix).filter(|base| families.contains_key(*base)));
    base.unwrap_or(name).to_owned()
}

/// Prints promtool's table: series by metric, the most first.
fn cardinality(families: &[Family]) {
    let total: usize = families.iter().map(|family| family.series.len()).sum();
    let mut rows: Vec<(&str, usize)> =
        families.iter().map(|family| (family.name.as_str(), family.series.len())).collect();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(6);
    println!("{:<width$}    Cardinality    Percentage", "Metric");
    for (name, count) in rows {
        println!("{name:<width$}    {count:<11}    {:.2}%", count as f64 * 100.0 / total as f64);
    }
    println!("{:<width$}    {total:<11}    100%", "Total");
}
