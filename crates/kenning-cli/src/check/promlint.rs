//! promtool's lint of metrics: names, units, types, help. Definition: client_golang `testutil/promlint`.

use kenning_model::{METRIC_NAME, MetricKind};

use super::metrics::Family;

/// Units and the base unit that is wanted instead.
const UNITS: [(&str, &str); 26] = [
    ("amperes", "amperes"),
    ("bytes", "bytes"),
    ("celsius", "celsius"),
    ("grams", "grams"),
    ("joules", "joules"),
    ("kelvin", "kelvin"),
    ("meters", "meters"),
    ("metres", "metres"),
    ("moles", "moles"),
    ("seconds", "seconds"),
    ("volts", "volts"),
    ("minutes", "seconds"),
    ("hours", "seconds"),
    ("days", "seconds"),
    ("weeks", "seconds"),
    ("kelvins", "kelvin"),
    ("fahrenheit", "celsius"),
    ("rankine", "celsius"),
    ("inches", "meters"),
    ("yards", "meters"),
    ("miles", "meters"),
    ("bits", "bytes"),
    ("calories", "joules"),
    ("pounds", "grams"),
    ("ounces", "grams"),
    ("candela", "candela"),
];

const PREFIXES: [&str; 18] = [
    "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega", "mibi",
    "giga", "gibi", "tera", "tebi", "peta", "pebi",
];

const ABBREVIATIONS: [&str; 14] =
    ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];

/// What is wrong, as metric and sentence, sorted.
pub(super) fn lint(families: &[Family]) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for family in families {
        let found = [help, unit, counter, parts, kind_in_name, colon, camel_case, abbreviation];
        let found = found.iter().flat_map(|check| check(family));
        problems.extend(found.map(|text| (family.name.clone(), text)));
    }
    problems.sort();
    problems
}

fn help(family: &Family) -> Vec<String> {
    if family.help.is_empty() { vec!["no help text".to_owned()] } else { Vec::new() }
}

fn unit(family: &Family) -> Vec<String> {
    let base = |word: &str| UNITS.iter().find(|(unit, _)| *unit == word).map(|(_, base)| *base);
    let found = family.name.split('_').find_map(|word| {
        let prefixed = || PREFIXES.iter().find_map(|prefix| word.strip_prefix(prefix).and_then(base));
        base(word).or_else(prefixed).map(|base| (word, base))
    });
    match found {
        Some((unit, base)) if unit != base => vec![format!("use base unit {base:?} instead of {unit:?}")],
        _ => Vec::new(),
    }
}

fn counter(family: &Family) -> Vec<String> {
    match (family.kind, family.name.ends_with("_total")) {
        (MetricKind::Counter, false) => vec!["counter metrics should have \"_total\" suffix".to_owned()],
        (MetricKind::Counter | MetricKind::Unknown, _) | (_, false) => Vec::new(),
        _ => vec!["non-counter metrics should not have \"_total\" suffix".to_owned()],
    }
}

/// Names and labels that belong to histograms and summaries.
fn parts(family: &Family) -> Vec<String> {
    if family.kind == MetricKind::Unknown {
        return Vec::new();
    }
    let histogram = matches!(family.kind, MetricKind::Histogram | MetricKind::GaugeHistogram);
    let summary = family.kind == MetricKind::Summary;
    let mut found = Vec::new();
    let ends = |suffix: &str| family.name.ends_with(suffix);
    if !histogram && ends("_bucket") {
        found.push("non-histogram metrics should not have \"_bucket\" suffix".to_owned());
    }
    for suffix in ["_count", "_sum"] {
        if !histogram && !summary && ends(suffix) {
            found.push(format!("non-histogram and non-summary metrics should not have {suffix:?} suffix"));
        }
    }
    for series in &family.series {
        if !histogram && !series.get("le").is_empty() {
            found.push("non-histogram metrics should not have \"le\" label".to_owned());
        }
        if !summary && !series.get("quantile").is_empty() {
            found.push("non-summary metrics should not have \"quantile\" label".to_owned());
        }
    }
    found
}

fn kind_in_name(family: &Family) -> Vec<String> {
    let kind = match family.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
        MetricKind::GaugeHistogram => "gauge_histogram",
        MetricKind::Summary => "summary",
        _ => return Vec::new(),
    };
    let name = family.name.to_lowercase();
    if name.contains(&format!("_{kind}_")) || name.ends_with(&format!("_{kind}")) {
        return vec![format!("metric name should not include type '{kind}'")];
    }
    Vec::new()
}

fn colon(family: &Family) -> Vec<String> {
    if family.name.contains(':') {
        vec!["metric names should not contain ':'".to_owned()]
    } else {
        Vec::new()
    }
}

fn camel_case(family: &Family) -> Vec<String> {
    let camel = |name: &str| {
        name.as_bytes()
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase()))
    };
    let mut found = Vec::new();
    if camel(&family.name) {
        found.push("metric names should be written in 'snake_case' not 'camelCase'".to_owned());
    }
    for series in &family.series {
        let camels = series.iter().filter(|(name, _)| *name != METRIC_NAME && camel(name));
        found.extend(
            camels.map(|_| "label names should be written in 'snake_case' not 'camelCase'".to_owned()),
        );
    }
    found
}

fn abbreviation(family: &Family) -> Vec<String> {
    let name = family.name.to_lowercase();
    let has = |unit: &&&str| name.contains(&format!("_{unit}_")) || name.ends_with(&format!("_{unit}"));
    let found = ABBREVIATIONS.iter().filter(has);
    found.map(|_| "metric names should not contain abbreviated units".to_owned()).collect()
}
