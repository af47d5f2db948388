//! What promtool's lint says about rules that are valid.

use crate::file::RuleFile;

/// A rule that is there more than once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duplicate {
    /// The recorded series or the alert.
    pub name: String,
    /// The rule's own labels, by name.
    pub labels: Vec<(String, String)>,
}

/// Rules with the same name and the same labels as another one, each once.
#[must_use]
pub fn duplicates(file: &RuleFile) -> Vec<Duplicate> {
    let rules = file.groups.iter().flat_map(|group| &group.rules);
    let mut all: Vec<Duplicate> =
        rules.map(|rule| Duplicate { name: rule.name().to_owned(), labels: rule.labels.clone() }).collect();
    all.sort();
    let mut found: Vec<Duplicate> = Vec::new();
    for pair in all.windows(2) {
        if let [before, after] = pair
            && before == after
            && found.last() != Some(after)
        {
            found.push(after.clone());
        }
    }
    found
}

/// promtool's message about duplicates; none without any.
#[must_use]
pub fn duplicates_message(file: &RuleFile) -> Option<String> {
    let found = duplicates(file);
    if found.is_empty() {
        return None;
    }
    let mut message = format!("lint error {} duplicate rule(s) found.\n", found.len());
    for rule in found {
        message.push_str(&format!("Metric: {}\nLabel(s):\n", rule.name));
        for (name, value) in rule.labels {
            message.push_str(&format!("\t{name}: {value}\n"));
        }
    }
    message.push_str("Might cause inconsistency while recording expressions");
    Some(message)
}
