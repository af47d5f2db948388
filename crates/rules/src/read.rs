//! Rule files, read strictly and checked as `promtool check rules` does, with its messages.

use std::fmt;

use kenning_gotext::{duration, quote};
use kenning_yaml::{Decoder, Mark, Node};

use crate::features::{self, Features};
use crate::file::{Group, Rule, RuleFile, Spot};
use crate::template;

/// What `Multiple document` files are answered with.
pub const MORE_DOCUMENTS: &str =
    "Multiple document yaml rules files are not supported, only the first document is processed";

/// How a file is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Fields that nobody knows are no mistakes.
    pub ignore_unknown_fields: bool,
    /// Experimental syntax that expressions may use.
    pub features: Features,
}

/// Something wrong in a file. `Display` is promtool's message without the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, when it has a place.
    pub mark: Option<Mark>,
    /// The message.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<String> for Problem {
    fn from(message: String) -> Self {
        Self { mark: None, message }
    }
}

/// What reading a file gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The file, when its structure is right. It may be used only without problems.
    pub file: Option<RuleFile>,
    /// What is wrong, in the order of the file.
    pub problems: Vec<Problem>,
    /// True when there are more documents, which do not count ([`MORE_DOCUMENTS`]).
    pub more_documents: bool,
}

/// Reads and checks a file.
#[must_use]
pub fn read(bytes: &[u8], options: ReadOptions) -> Reading {
    let document = match kenning_yaml::read(bytes) {
        Ok(document) => document,
        Err(error) => {
            // Prometheus reads a file twice, for its values and for its places, and says so twice.
            let problem = Problem { mark: Some(error.mark), message: error.to_string() };
            return Reading { file: None, problems: vec![problem.clone(), problem], more_documents: true };
        }
    };
    let (mut problems, mut file) = (Vec::new(), RuleFile::default());
    if let Some(root) = &document.root {
        for types in [&VALUES, &PLACES] {
            let mut decoder = Decoder::new(types.known_fields && !options.ignore_unknown_fields);
            let read = groups(&mut decoder, root, types);
            problems.extend(decoder.finish().err().map(Problem::from));
            if types.known_fields {
                file = read;
            }
        }
    }
    let structured = problems.is_empty();
    if structured {
        check(&file, options.features, &mut problems);
    }
    Reading { file: structured.then_some(file), problems, more_documents: document.more }
}

/// Go's names of the types that a file is decoded into.
struct Types {
    known_fields: bool,
    file: &'static str,
    group: &'static str,
    groups: &'static str,
    rule: &'static str,
    rules: &'static str,
}

const VALUES: Types = Types {
    known_fields: true,
    file: "rulefmt.RuleGroups",
    group: "rulefmt.RuleGroup",
    groups: "[]rulefmt.RuleGroup",
    rule: "rulefmt.Rule",
    rules: "[]rulefmt.Rule",
};

const PLACES: Types = Types {
    known_fields: false,
    file: "rulefmt.ruleGroups",
    group: "rulefmt.RuleGroupNode",
    groups: "[]rulefmt.RuleGroupNode",
    rule: "rulefmt.RuleNode",
    rules: "[]rulefmt.RuleNode",
};

fn groups(decoder: &mut Decoder, root: &Node, types: &Types) -> RuleFile {
    let mut file = RuleFile::default();
    for (key, value) in decoder.fields(root, types.file).unwrap_or_default() {
        match key.text() {
            "groups" => {
                let items = decoder.items(value, types.groups).unwrap_or_default();
                file.groups = items.iter().filter_map(|item| group(decoder, item, types)).collect();
            }
            _ => decoder.unknown(key, types.file),
        }
    }
    file
}

fn group(decoder: &mut Decoder, node: &Node, types: &Types) -> Option<Group> {
    let fields = decoder.fields(node, types.group)?;
    let mut group = Group { mark: node.mark, ..Group::default() };
    for (key, value) in fields {
        match key.text() {
            "name" => group.name = decoder.string(value).unwrap_or_default(),
            "interval" => group.interval = duration(decoder, value),
            "query_offset" => group.query_offset = duration(decoder, value),
            "limit" => group.limit = decoder.int(value, "int").unwrap_or_default(),
            "labels" => group.labels = map(decoder, value),
            "rules" => {
                let items = decoder.items(value, types.rules).unwrap_or_default();
                group.rules = items.iter().filter_map(|item| rule(decoder, item, types)).collect();
            }
            _ => decoder.unknown(key, types.group),
        }
    }
    Some(group)
}

fn rule(decoder: &mut Decoder, node: &Node, types: &Types) -> Option<Rule> {
    let fields = decoder.fields(node, types.rule)?;
    let mut rule = Rule::default();
    for (key, value) in fields {
        match key.text() {
            "record" => rule.record = spot(decoder, value, types),
            "alert" => rule.alert = spot(decoder, value, types),
            "expr" => rule.expr = spot(decoder, value, types),
            "for" => rule.hold = duration(decoder, value).unwrap_or_default(),
            "keep_firing_for" => rule.keep_firing_for = duration(decoder, value).unwrap_or_default(),
            "labels" => rule.labels = map(decoder, value),
            "annotations" => rule.annotations = map(decoder, value),
            _ => decoder.unknown(key, types.rule),
        }
    }
    Some(rule)
}

/// A text with its place. Where only places are read, any value will do.
fn spot(decoder: &mut Decoder, node: &Node, types: &Types) -> Spot {
    let text = if types.known_fields { decoder.string(node).unwrap_or_default() } else { String::new() };
    Spot { text, mark: node.mark }
}

fn duration(decoder: &mut Decoder, node: &Node) -> Option<i64> {
    let text = decoder.string(node)?;
    match duration::parse_prometheus(&text) {
        Ok(nanos) => Some(nanos),
        Err(message) => {
            decoder.refuse(message);
            None
        }
    }
}

fn map(decoder: &mut Decoder, node: &Node) -> Vec<(String, String)> {
    let mut map = decoder.string_map(node);
    map.sort();
    map
}

/// Everything wrong with a file whose structure is right.
fn check(file: &RuleFile, features: Features, problems: &mut Vec<Problem>) {
    for (index, group) in file.groups.iter().enumerate() {
        // Prometheus does not know where a group stands and says 0:0; the place is in the problem.
        let mark = Some(group.mark);
        if group.name.is_empty() {
            problems.push(Problem { mark, message: "0:0: Groupname must not be empty".to_owned() });
        }
        if file.groups.iter().take(index).any(|before| before.name == group.name) {
            let message = format!("0:0: groupname: \"{}\" is repeated in the same file", group.name);
            problems.push(Problem { mark, message });
        }
        for message in bad_labels(&group.labels) {
            problems.push(Problem { mark, message });
        }
        for (index, rule) in group.rules.iter().enumerate() {
            for finding in check_rule(rule, features) {
                problems.push(finding.problem(group, index + 1, rule));
            }
        }
    }
}

fn bad_labels(labels: &[(String, String)]) -> impl Iterator<Item = String> {
    let bad = labels.iter().filter(|(name, _)| name.is_empty() || name == "__name__");
    bad.map(|(name, _)| format!("invalid label name: {name}"))
}

/// Something wrong with a rule, and the texts it is about.
struct Finding<'r> {
    places: Vec<&'r Spot>,
    message: String,
}

impl<'r> Finding<'r> {
    fn new(places: &[&'r Spot], message: impl Into<String>) -> Self {
        Self { places: places.to_vec(), message: message.into() }
    }

    fn problem(self, group: &Group, number: usize, rule: &Rule) -> Problem {
        let mut message = String::new();
        for place in &self.places {
            message.push_str(&format!("{}:{}: ", place.mark.line, place.mark.column));
        }
        let (name, group) = (quote::quote(rule.name()), quote::quote(&group.name));
        message.push_str(&format!("group {group}, rule {number}, {name}: {}", self.message));
        let marks = self.places.iter().map(|place| place.mark);
        Problem { mark: marks.chain([rule.expr.mark]).find(|mark| mark.line > 0), message }
    }
}

fn check_rule(rule: &Rule, features: Features) -> Vec<Finding<'_>> {
    let (record, alert) = (&rule.record, &rule.alert);
    let mut found = Vec::new();
    if !record.text.is_empty() && !alert.text.is_empty() {
        found.push(Finding::new(&[record, alert], "only one of 'record' and 'alert' must be set"));
    }
    if record.text.is_empty() && alert.text.is_empty() {
        found.push(Finding::new(&[record, alert], "one of 'record' or 'alert' must be set"));
    }
    if rule.expr.text.is_empty() {
        found.push(Finding::new(&[&rule.expr], "field 'expr' must be set in rule"));
    } else if let Err(error) = features::parse(&rule.expr.text, features) {
        found.push(Finding::new(&[&rule.expr], format!("could not parse expression: {error}")));
    }
    if !record.text.is_empty() {
        found.extend(check_recording(rule).into_iter().map(|message| Finding::new(&[record], message)));
    }
    found.extend(bad_labels(&rule.labels).map(|message| Finding::new(&[], message)));
    let unnamed = rule.annotations.iter().filter(|(name, _)| name.is_empty());
    found.extend(unnamed.map(|(name, _)| Finding::new(&[], format!("invalid annotation name: {name}"))));
    if !alert.text.is_empty() {
        found.extend(check_templates(rule).into_iter().map(|message| Finding::new(&[], message)));
    }
    found
}

fn check_recording(rule: &Rule) -> Vec<String> {
    let mut found = Vec::new();
    let set = [
        ("annotations", !rule.annotations.is_empty()),
        ("for", rule.hold != 0),
        ("keep_firing_for", rule.keep_firing_for != 0),
    ];
    for (field, _) in set.into_iter().filter(|(_, set)| *set) {
        found.push(format!("invalid field '{field}' in recording rule"));
    }
    let name = &rule.record.text;
    if name.contains(['{', '}']) {
        found.push(format!("braces present in the recording rule name; should it be in expr?: {name}"));
    }
    found
}

fn check_templates(rule: &Rule) -> Vec<String> {
    let texts = rule.labels.iter().map(|pair| ("label", pair));
    let texts = texts.chain(rule.annotations.iter().map(|pair| ("annotation", pair)));
    texts
        .filter_map(|(kind, (name, text))| {
            let error = template::check_alert_text(&rule.alert.text, text).err()?;
            Some(format!("{kind} {}: {error}", quote::quote(name)))
        })
        .collect()
}
