//! OpenTelemetry names to Prometheus names, as Prometheus' OTLP receiver translates them.
//! Definition: OpenTelemetry specification "Prometheus and OpenMetrics Compatibility"; `translation_strategy` of
//! Prometheus' configuration. Oracle in the tests: the tables of prometheus/otlptranslator.

use std::borrow::Cow;

/// How names are translated. The words are Prometheus' own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TranslationStrategy {
    /// Characters outside `[a-zA-Z0-9_:]` become underscores; unit and `_total` are appended. Prometheus' default.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Underscores, but no suffixes.
    UnderscoreEscapingWithoutSuffixes,
    /// Names stay as they are; unit and `_total` are appended.
    NoUtf8EscapingWithSuffixes,
    /// Names stay as they are.
    NoTranslation,
}

impl TranslationStrategy {
    const fn escapes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes)
    }

    const fn appends_suffixes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::NoUtf8EscapingWithSuffixes)
    }
}

/// The words of the configuration.
impl TranslationStrategy {
    /// Every strategy.
    pub const ALL: [Self; 4] = [
        Self::UnderscoreEscapingWithSuffixes,
        Self::UnderscoreEscapingWithoutSuffixes,
        Self::NoUtf8EscapingWithSuffixes,
        Self::NoTranslation,
    ];

    /// The strategy's name, as Prometheus' configuration spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnderscoreEscapingWithSuffixes => "UnderscoreEscapingWithSuffixes",
            Self::UnderscoreEscapingWithoutSuffixes => "UnderscoreEscapingWithoutSuffixes",
            Self::NoUtf8EscapingWithSuffixes => "NoUTF8EscapingWithSuffixes",
            Self::NoTranslation => "NoTranslation",
        }
    }
}

/// What becomes of underscores in label names when names are escaped. The fields are Prometheus' settings
/// `label_name_underscore_sanitization` and `label_name_preserve_multiple_underscores`, both on by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelNaming {
    /// A name that begins with a single underscore gets `key` in front.
    pub prefix_underscore: bool,
    /// Runs of underscores stay; otherwise each becomes one, but for those around reserved names (`__x__`).
    pub preserve_multiple: bool,
}

impl Default for LabelNaming {
    fn default() -> Self {
        Self { prefix_underscore: true, preserve_multiple: true }
    }
}

/// What decides about a metric's suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameKind {
    /// A monotonic sum: `_total`.
    Counter,
    /// A gauge: `_ratio` when its unit is `1`.
    Gauge,
    /// Anything else.
    Other,
}

/// The metric's name; `None` when nothing of it is left.
pub(super) fn metric_name(
    name: &str,
    unit: &str,
    kind: NameKind,
    strategy: TranslationStrategy,
) -> Option<String> {
    let built = match (strategy.escapes(), strategy.appends_suffixes()) {
        (true, true) => normalised(name, unit, kind),
        (true, false) => {
            let parts = name.split(|c: char| !is_name_char(c) && c != '_').filter(|part| !part.is_empty());
            guard_digit(parts.collect::<Vec<_>>().join("_"))
        }
        (false, true) => suffixed(name, unit, kind),
        (false, false) => name.to_owned(),
    };
    let blank = built.is_empty() || (built != name && built.bytes().all(|b| b == b'_'));
    (!blank).then_some(built)
}

/// The unit in words, as Prometheus keeps it in metadata: `By/s` is `bytes_per_second`.
pub(super) fn unit_name(unit: &str) -> String {
    let (main, per) = unit_parts(unit);
    let words: Vec<_> = [clean_unit(&main), clean_unit(&per)].into_iter().filter(|w| !w.is_empty()).collect();
    words.join("_")
}

/// Units that instruments have, in UCUM's codes.
const UNITS: [&str; 30] = [
    "", "ms", "s", "us", "ns", "min", "h", "d", "By", "KiBy", "MiBy", "GiBy", "TiBy", "KBy", "MBy", "GBy",
    "TBy", "1", "%", "m", "V", "A", "J", "W", "g", "Cel", "Hz", "By/s", "MiBy/s", "MBy/s",
];

/// What a classic histogram's series have behind the metric's name.
const PARTS: [&str; 3] = ["_bucket", "_count", "_sum"];

/// The metric names that the translation may make of an instrument's name, whatever its kind and (usual) unit; the one
/// without suffixes first. The name may be that of one of a histogram's series.
///
/// ```
/// let names = kenning_wire::otlp::translations("queue.wait");
/// assert_eq!(names[0], "queue_wait");
/// assert!(names.contains(&"queue_wait_milliseconds".to_owned()));
/// ```
#[must_use]
pub fn translations(instrument: &str) -> Vec<String> {
    let mut names = Vec::new();
    let part = PARTS.into_iter().find(|part| instrument.ends_with(part));
    let stems = std::iter::once((instrument, ""));
    let stems = stems.chain(part.and_then(|part| Some((instrument.strip_suffix(part)?, part))));
    for (stem, part) in stems {
        for unit in UNITS {
            for kind in [NameKind::Other, NameKind::Counter, NameKind::Gauge] {
                let name = metric_name(stem, unit, kind, TranslationStrategy::UnderscoreEscapingWithSuffixes);
                names.extend(name.map(|name| format!("{name}{part}")));
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The label that an attribute becomes by default; `None` when nothing of its name is left.
///
/// ```
/// assert_eq!(kenning_wire::otlp::label_translation("http.route").as_deref(), Some("http_route"));
/// ```
#[must_use]
pub fn label_translation(attribute: &str) -> Option<String> {
    label_name(attribute, TranslationStrategy::UnderscoreEscapingWithSuffixes).map(Cow::into_owned)
}

/// The label's name with the default treatment of underscores; `None` when nothing of it is left.
pub(super) fn label_name(name: &str, strategy: TranslationStrategy) -> Option<Cow<'_, str>> {
    label_name_with(name, strategy, LabelNaming::default())
}

/// The label's name; `None` when nothing of it is left.
pub(super) fn label_name_with(
    name: &str,
    strategy: TranslationStrategy,
    underscores: LabelNaming,
) -> Option<Cow<'_, str>> {
    let blank = |name: &str| name.bytes().all(|b| b == b'_');
    if blank(name) {
        return None;
    }
    if !strategy.escapes() {
        return Some(Cow::Borrowed(name));
    }
    let escaped = if underscores.preserve_multiple { escape(name) } else { collapsed(name) };
    let first = escaped.bytes().next()?;
    if blank(&escaped) {
        None
    } else if first.is_ascii_digit() {
        Some(Cow::Owned(format!("key_{escaped}")))
    } else if underscores.prefix_underscore && first == b'_' && !escaped.starts_with("__") {
        Some(Cow::Owned(format!("key{escaped}")))
    } else {
        Some(escaped)
    }
}

fn is_label_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Every character outside `[a-zA-Z0-9_]` as an underscore.
fn escape(name: &str) -> Cow<'_, str> {
    if name.chars().all(is_label_char) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.chars().map(|c| if is_label_char(c) { c } else { '_' }).collect())
}

/// The same with each run of underscores as one; names in double underscores keep those.
fn collapsed(name: &str) -> Cow<'_, str> {
    let is_clean = |pair: &[u8]| !matches!(pair, [b'_', b'_']);
    if name.bytes().all(|b| is_label_char(char::from(b))) && name.as_bytes().windows(2).all(is_clean) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 2);
    let mut is_behind_underscore = false;
    for c in name.chars().map(|c| if is_label_char(c) { c } else { '_' }) {
        if c != '_' || !is_behind_underscore {
            out.push(c);
        }
        is_behind_underscore = c == '_';
    }
    let reserved = name.len() > 4 && name.starts_with("__") && name.ends_with("__");
    Cow::Owned(if reserved { format!("_{out}_") } else { out })
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

fn guard_digit(name: String) -> String {
    match name.bytes().next() {
        Some(b'0'..=b'9') => format!("_{name}"),
        _ => name,
    }
}

fn normalised(name: &str, unit: &str, kind: NameKind) -> String {
    let mut tokens: Vec<&str> = name.split(|c| !is_name_char(c)).filter(|token| !token.is_empty()).collect();
    let (main, per) = unit_parts(unit);
    let (mut main, mut per) = (clean_unit(&main), clean_unit(&per));
    if tokens.contains(&main.as_str()) {
        main.clear();
    }
    per.truncate(per.trim_end_matches('_').len());
    if per == "per" || tokens.contains(&per.as_str()) {
        per.clear();
    }
    if !per.is_empty() {
        main.truncate(main.trim_end_matches('_').len());
    }
    tokens.extend([main.as_str(), per.as_str()].into_iter().filter(|token| !token.is_empty()));
    let suffix = match kind {
        NameKind::Counter => "total",
        NameKind::Gauge if unit == "1" => "ratio",
        _ => "",
    };
    if !suffix.is_empty() {
        tokens.retain(|token| *token != suffix);
        tokens.push(suffix);
    }
    guard_digit(tokens.join("_"))
}

fn suffixed(name: &str, unit: &str, kind: NameKind) -> String {
    let (main, per) = unit_parts(unit);
    let mut outer = Vec::new();
    let mut stem = name;
    match kind {
        NameKind::Gauge if unit == "1" => outer.push("ratio"),
        NameKind::Counter => outer.push("total"),
        _ => {}
    }
    if !per.is_empty() {
        outer.push(&per);
    }
    for suffix in &outer {
        stem = trim_suffix(stem, suffix);
    }
    let mut built = stem.to_owned();
    if !main.is_empty() && !built.ends_with(main.as_ref()) {
        built = format!("{built}_{main}");
    }
    for suffix in outer.iter().rev() {
        built = format!("{built}_{suffix}");
    }
    built
}

/// Cuts a suffix and the separator in front of it.
fn trim_suffix<'a>(name: &'a str, suffix: &str) -> &'a str {
    let Some(stem) = name.strip_suffix(suffix) else { return name };
    let mut chars = stem.chars();
    match (chars.next_back(), chars.as_str()) {
        (Some(_), rest) if !rest.is_empty() => rest,
        _ => name,
    }
}

/// The unit's words before and behind the slash; the second with `per_` in front.
fn unit_parts(unit: &str) -> (Cow<'_, str>, Cow<'_, str>) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    // Annotations such as `{request}` are no units.
    let usable = |part: &str| !part.is_empty() && !part.contains(['{', '}']);
    let (main, per) = (main.trim(), per.trim());
    let main = if usable(main) { Cow::Borrowed(unit_word(main)) } else { Cow::Borrowed("") };
    let per = if usable(per) { Cow::Owned(format!("per_{}", per_word(per))) } else { Cow::Borrowed("") };
    (main, per)
}

/// Underscores for what a name may not hold, runs of them as one, none in front.
fn clean_unit(unit: &str) -> String {
    let mut cleaned = String::with_capacity(unit.len());
    for c in unit.chars() {
        let c = if is_name_char(c) { c } else { '_' };
        if c != '_' || !(cleaned.is_empty() || cleaned.ends_with('_')) {
            cleaned.push(c);
        }
    }
    cleaned
}

/// UCUM codes to words.
fn unit_word(unit: &str) -> &str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "",
        "%" => "percent",
        other => other,
    }
}

/// UCUM codes behind the slash, in the singular.
fn per_word(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        other => other,
    }
}
