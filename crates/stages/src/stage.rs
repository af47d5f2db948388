//! The stages, one module for each family of them. Definition: Promtail's stages of the same names.

mod extract;
mod filter;
mod geoip;
mod label;
mod metrics;
mod rewrite;
mod timestamp;

use std::sync::Arc;
use std::time::Duration;

use kenning_model::Nanos;
use kenning_pipeline::process::Processed;
use kenning_yaml::{Content, Node};

use crate::Context;
use crate::config::{Fields, Report, pairs};
use crate::entry::Entry;
use crate::log_metrics::Update;

pub(crate) use filter::Waits;

/// Stages that work, as they are told to whoever names another.
pub(crate) const KNOWN: &[&str] = &[
    "cri",
    "decolorize",
    "docker",
    "drop",
    "geoip",
    "json",
    "labelallow",
    "labeldrop",
    "labels",
    "limit",
    "logfmt",
    "match",
    "metrics",
    "multiline",
    "output",
    "pack",
    "regex",
    "replace",
    "sampling",
    "static_labels",
    "structured_metadata",
    "template",
    "timestamp",
];

/// Stages of Promtail's that do not work here, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("eventlogmessage", "Windows' event log is not read"),
    ("pipeline", "write its stages into this list"),
    ("tenant", "records belong to the tenant of their receiver"),
];

/// Deepest nesting of `match` stages.
const DEPTH_MAX: usize = 8;
/// Most stages of one list.
const STAGES_MAX: usize = 256;

/// What stages need while they are read.
pub(crate) struct Builder<'a> {
    pub context: Context<'a>,
    pub report: &'a mut Report,
}

/// What happens beside the records.
pub(crate) struct Side<'a> {
    /// Wall clock.
    pub now: Nanos,
    /// Steady clock.
    pub steady: Duration,
    /// Counts what is dropped.
    pub processed: &'a mut Processed,
    /// Changes of metrics, made when the batch is durable.
    pub updates: Vec<Update>,
    /// Records that have to wait for a rate.
    pub waits: Waits,
}

/// Whether a record goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'s> {
    Keep,
    Drop(&'s str),
}

/// One stage.
#[derive(Debug)]
pub(crate) enum Stage {
    Json(extract::Json),
    Logfmt(extract::Logfmt),
    Regex(extract::RegexStage),
    Replace(rewrite::Replace),
    Template(rewrite::TemplateStage),
    Output(rewrite::Output),
    Pack(rewrite::Pack),
    Decolorize,
    Labels(label::Labels),
    LabelDrop(Vec<String>),
    LabelAllow(Vec<String>),
    StaticLabels(Vec<(String, String)>),
    Metadata(label::Labels),
    Timestamp(timestamp::Timestamp),
    Drop(filter::Drop),
    Limit(Arc<filter::Limit>),
    Sampling(filter::Sampling),
    Match(filter::Match),
    Metrics(metrics::Metrics),
    GeoIp(geoip::GeoIp),
    /// Takes the newline off that Docker keeps in the text.
    TrimEnd,
    /// Takes a container runtime's wrapping apart.
    Cri,
    /// Stages that stand for one: `docker`, `cri`.
    Group(Vec<Stage>),
}

/// Reads a list of stages, but for those in front that are done elsewhere.
pub(crate) fn read_list(
    at: &str,
    node: &Node,
    skip: usize,
    builder: &mut Builder<'_>,
    depth: usize,
) -> Vec<Stage> {
    let Content::Sequence(items) = &node.content else {
        if !node.is_null() {
            builder.report.wrong(
                at,
                node,
                "must be a list of stages, each a mapping of one name to its fields",
            );
        }
        return Vec::new();
    };
    if items.len() > STAGES_MAX {
        builder.report.wrong(at, node, format!("has {} stages; at most {STAGES_MAX} work", items.len()));
    }
    let items = items.iter().enumerate().take(STAGES_MAX).skip(skip);
    items.filter_map(|(index, item)| read_one(&format!("{at}[{index}]"), item, builder, depth)).collect()
}

/// The name of a stage and its fields.
pub(crate) fn named(item: &Node) -> Option<(&str, &Node)> {
    match pairs(item).as_slice() {
        [(name, node)] => Some((name, node)),
        _ => None,
    }
}

fn read_one(at: &str, item: &Node, builder: &mut Builder<'_>, depth: usize) -> Option<Stage> {
    let Some((name, node)) = named(item) else {
        builder.report.wrong(at, item, "must be a mapping of one stage's name to its fields");
        return None;
    };
    let at = format!("{at}.{name}");
    if depth > DEPTH_MAX {
        builder.report.wrong(&at, item, format!("is nested more than {DEPTH_MAX} stages deep"));
        return None;
    }
    match name {
        "json" => Some(Stage::Json(with(&at, node, builder, extract::Json::read))),
        "logfmt" => Some(Stage::Logfmt(with(&at, node, builder, extract::Logfmt::read))),
        "regex" => with(&at, node, builder, extract::RegexStage::read).map(Stage::Regex),
        "replace" => with(&at, node, builder, rewrite::Replace::read).map(Stage::Replace),
        "template" => with(&at, node, builder, rewrite::TemplateStage::read).map(Stage::Template),
        "output" => Some(Stage::Output(with(&at, node, builder, rewrite::Output::read))),
        "pack" => Some(Stage::Pack(with(&at, node, builder, rewrite::Pack::read))),
        "decolorize" => Some(Stage::Decolorize),
        "labels" => Some(Stage::Labels(label::Labels::read(&at, node, builder.report))),
        "structured_metadata" | "non_indexed_labels" => {
            Some(Stage::Metadata(label::Labels::read(&at, node, builder.report)))
        }
        "labeldrop" => Some(Stage::LabelDrop(label::read_names(&at, node, builder.report))),
        "labelallow" => Some(Stage::LabelAllow(label::read_names(&at, node, builder.report))),
        "static_labels" => Some(Stage::StaticLabels(label::read_static(&at, node, builder.report))),
        "timestamp" => timestamp::Timestamp::read(&at, node, builder).map(Stage::Timestamp),
        "drop" => Some(Stage::Drop(with(&at, node, builder, filter::Drop::read))),
        "limit" => with(&at, node, builder, filter::Limit::read).map(|limit| Stage::Limit(Arc::new(limit))),
        "sampling" => Some(Stage::Sampling(with(&at, node, builder, filter::Sampling::read))),
        "match" => filter::Match::read(&at, node, builder, depth).map(Stage::Match),
        "metrics" => Some(Stage::Metrics(metrics::Metrics::read(&at, node, builder))),
        "geoip" => geoip::GeoIp::read(&at, node, builder).map(Stage::GeoIp),
        "docker" => Some(docker()),
        "cri" => Some(cri()),
        "multiline" => {
            let first = "works only as the first stage (or right behind docker or cri): lines are joined before anything else";
            builder.report.wrong(&at, item, first);
            None
        }
        _ => {
            let why = REFUSED.iter().find(|(known, _)| *known == name);
            let why = why.map_or("is not a stage", |(_, why)| why);
            builder.report.wrong(
                &at,
                item,
                format!("does not work: {why}; stages that work are {}", KNOWN.join(", ")),
            );
            None
        }
    }
}

/// Reads a stage's fields, all of them.
fn with<T>(at: &str, node: &Node, builder: &mut Builder<'_>, read: impl Fn(&mut Fields<'_, '_>) -> T) -> T {
    let mut fields = Fields::open(at, node, builder.report);
    let stage = read(&mut fields);
    fields.finish();
    stage
}

/// What Docker's `json-file` driver wraps around a line.
fn docker() -> Stage {
    Stage::Group(vec![
        Stage::Json(extract::Json::fields(&[("output", "log"), ("stream", "stream"), ("timestamp", "time")])),
        Stage::Labels(label::Labels::of(&["stream"])),
        Stage::Timestamp(timestamp::Timestamp::rfc3339("timestamp")),
        Stage::Output(rewrite::Output::of("output")),
        Stage::TrimEnd,
    ])
}

/// What a container runtime wraps around a line. Pieces of a line stay apart: the tailer joins them, nobody else can.
fn cri() -> Stage {
    Stage::Group(vec![
        Stage::Cri,
        Stage::Labels(label::Labels::of(&["stream"])),
        Stage::Timestamp(timestamp::Timestamp::rfc3339("time")),
        Stage::Output(rewrite::Output::of("content")),
    ])
}

/// Runs stages on a record.
pub(crate) fn run<'s>(stages: &'s [Stage], entry: &mut Entry<'_>, side: &mut Side<'_>) -> Verdict<'s> {
    entry.extract_labels();
    for stage in stages {
        let verdict = stage.run(entry, side);
        if verdict != Verdict::Keep {
            return verdict;
        }
    }
    Verdict::Keep
}

impl Stage {
    fn run(&self, entry: &mut Entry<'_>, side: &mut Side<'_>) -> Verdict<'_> {
        match self {
            Self::Json(stage) => return stage.run(entry),
            Self::Drop(stage) => return stage.run(entry, side),
            Self::Limit(stage) => return filter::Limit::run(stage, entry, side),
            Self::Sampling(stage) => return stage.run(),
            Self::Match(stage) => return stage.run(entry, side),
            Self::Group(stages) => return run(stages, entry, side),
            Self::Logfmt(stage) => stage.run(entry),
            Self::Regex(stage) => stage.run(entry),
            Self::Replace(stage) => stage.run(entry, side),
            Self::Template(stage) => stage.run(entry, side),
            Self::Output(stage) => stage.run(entry),
            Self::Pack(stage) => stage.run(entry, side),
            Self::Cri => extract::cri(entry),
            Self::TrimEnd => rewrite::trim_end(entry),
            Self::Decolorize => rewrite::decolorize(entry),
            Self::Labels(stage) => stage.run(&entry.extracted, &mut entry.labels),
            Self::Metadata(stage) => stage.run(&entry.extracted, &mut entry.metadata),
            Self::LabelDrop(names) => entry.labels.retain(|name| !names.iter().any(|known| known == name)),
            Self::LabelAllow(names) => entry.labels.retain(|name| names.iter().any(|known| known == name)),
            Self::StaticLabels(pairs) => {
                pairs.iter().for_each(|(name, value)| entry.labels.set(name, value));
            }
            Self::Timestamp(stage) => stage.run(entry, side),
            Self::Metrics(stage) => stage.run(entry, side),
            Self::GeoIp(stage) => stage.run(entry),
        }
        Verdict::Keep
    }
}
