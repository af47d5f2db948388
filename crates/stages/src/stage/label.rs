//! Stages that change labels and metadata.

use kenning_yaml::{Content, Node};

use crate::config::{Report, is_label_name, names, pairs, texts};
use crate::entry::{Extracted, Pairs};

/// `labels`, `structured_metadata`: names and the extracted fields that they take their values from.
#[derive(Debug)]
pub(crate) struct Labels(Vec<(String, String)>);

impl Labels {
    pub fn read(at: &str, node: &Node, report: &mut Report) -> Self {
        let names = names(at, node, report);
        if names.is_empty() {
            report.wrong(at, node, "is empty; name at least one label");
        }
        for (name, _) in names.iter().filter(|(name, _)| !is_label_name(name)) {
            report.wrong(at, node, not_a_name(name));
        }
        Self(names)
    }

    /// Labels that are named like their fields.
    pub fn of(names: &[&str]) -> Self {
        Self(names.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect())
    }

    pub fn run(&self, extracted: &Extracted, labels: &mut Pairs) {
        for (name, source) in &self.0 {
            if let Some(value) = extracted.text(source) {
                labels.set(name, &value);
            }
        }
    }
}

pub(super) fn not_a_name(name: &str) -> String {
    format!("{name:?} cannot be a label's name; use letters, digits and underscores, no digit first")
}

/// `labeldrop`, `labelallow`
pub(crate) fn read_names(at: &str, node: &Node, report: &mut Report) -> Vec<String> {
    let names = texts(node).filter(|names| !node.is_null() && !names.is_empty());
    names.unwrap_or_else(|| {
        report.wrong(at, node, "must be a list of names of labels");
        Vec::new()
    })
}

/// `static_labels`: those without a value are left out.
pub(crate) fn read_static(at: &str, node: &Node, report: &mut Report) -> Vec<(String, String)> {
    if pairs(node).is_empty() {
        report.wrong(at, node, "must be a mapping of names of labels to texts");
    }
    let mut labels = Vec::new();
    for (name, value) in pairs(node) {
        match &value.content {
            _ if !is_label_name(name) => report.wrong(at, node, not_a_name(name)),
            Content::Scalar(text) if value.is_null() || text.is_empty() => {}
            Content::Scalar(text) => labels.push((name.to_owned(), text.clone())),
            _ => report.wrong(&format!("{at}.{name}"), value, "must be a text"),
        }
    }
    labels
}
