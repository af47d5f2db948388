//! One rule: checked when it is made, applied any number of times.

use std::fmt;

use md5::{Digest, Md5};

use super::labels::Labels;
use super::pattern::{Pattern, expand};

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Writes the replacement to the target label when the source matches.
    #[default]
    Replace,
    /// Drops what does not match.
    Keep,
    /// Drops what matches.
    Drop,
    /// Drops what differs from the target label.
    KeepEqual,
    /// Drops what equals the target label.
    DropEqual,
    /// Writes a bucket number of the source's hash.
    HashMod,
    /// Copies labels whose name matches.
    LabelMap,
    /// Removes labels whose name matches.
    LabelDrop,
    /// Removes labels whose name does not match.
    LabelKeep,
    /// Writes the source in lower case.
    Lowercase,
    /// Writes the source in upper case.
    Uppercase,
}

impl Action {
    const WORDS: [(&'static str, Self); 11] = [
        ("replace", Self::Replace),
        ("keep", Self::Keep),
        ("drop", Self::Drop),
        ("keepequal", Self::KeepEqual),
        ("dropequal", Self::DropEqual),
        ("hashmod", Self::HashMod),
        ("labelmap", Self::LabelMap),
        ("labeldrop", Self::LabelDrop),
        ("labelkeep", Self::LabelKeep),
        ("lowercase", Self::Lowercase),
        ("uppercase", Self::Uppercase),
    ];

    /// The action of a word, in any case.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let word = word.to_lowercase();
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, action)| *action)
    }

    /// The word of the action.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, action)| *action == self).map_or("", |(word, _)| word)
    }
}

/// Which label names are valid. Definition: Prometheus `metric_name_validation_scheme`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameScheme {
    /// Any text that is not empty.
    #[default]
    Utf8,
    /// `[a-zA-Z_][a-zA-Z0-9_]*`, and colons in metric names.
    Legacy,
}

impl NameScheme {
    /// True when labels may have this name.
    #[must_use]
    pub fn allows_label(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => is_legacy(name, |byte| byte == b'_'),
        }
    }

    /// True when metrics may have this name.
    #[must_use]
    pub fn allows_metric(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => is_legacy(name, |byte| byte == b'_' || byte == b':'),
        }
    }
}

fn is_legacy(name: &str, also: impl Fn(u8) -> bool) -> bool {
    let starts = |byte: u8| byte.is_ascii_alphabetic() || also(byte);
    name.bytes().next().is_some_and(&starts) && name.bytes().all(|byte| starts(byte) || byte.is_ascii_digit())
}

/// A rule as somebody wrote it; what was not written is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    /// Labels whose values are joined.
    pub source_labels: Option<Vec<String>>,
    /// What joins them; `;` by default.
    pub separator: Option<String>,
    /// What the joined values, or names of labels, must match; anything by default.
    pub regex: Option<Pattern>,
    /// Number of buckets of `hashmod`.
    pub modulus: u64,
    /// The label that is written or compared with.
    pub target_label: String,
    /// What is written; `$1` by default.
    pub replacement: Option<String>,
    /// What is done; `replace` by default.
    pub action: Option<Action>,
}

const SEPARATOR: &str = ";";
const REPLACEMENT: &str = "$1";

/// A valid rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    source_labels: Vec<String>,
    separator: String,
    /// `None` is the default, which matches everything as its first group.
    regex: Option<Pattern>,
    modulus: u64,
    target_label: String,
    replacement: String,
    action: Action,
    names: NameScheme,
}

/// Why a rule is not one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError(String);

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RuleError {}

impl Rule {
    /// Checks what was written, by the names that are valid here.
    pub fn new(written: Written, names: NameScheme) -> Result<Self, RuleError> {
        check(&written, names).map_err(RuleError)?;
        Ok(Self {
            source_labels: written.source_labels.unwrap_or_default(),
            separator: written.separator.unwrap_or_else(|| SEPARATOR.to_owned()),
            regex: written.regex,
            modulus: written.modulus,
            target_label: written.target_label,
            replacement: written.replacement.unwrap_or_else(|| REPLACEMENT.to_owned()),
            action: written.action.unwrap_or_default(),
            names,
        })
    }

    /// Applies the rule; false when it drops the labels.
    #[must_use]
    pub fn apply(&self, labels: &mut Labels) -> bool {
        match self.action {
            Action::Keep => return self.matches(&self.source(labels)),
            Action::Drop => return !self.matches(&self.source(labels)),
            Action::KeepEqual => return labels.get(&self.target_label) == self.source(labels),
            Action::DropEqual => return labels.get(&self.target_label) != self.source(labels),
            Action::Replace => self.replace(labels),
            Action::Lowercase => labels.set(&self.target_label, &self.source(labels).to_lowercase()),
            Action::Uppercase => labels.set(&self.target_label, &self.source(labels).to_uppercase()),
            Action::HashMod => {
                labels.set(&self.target_label, &bucket(&self.source(labels), self.modulus).to_string());
            }
            Action::LabelMap => self.map(labels),
            Action::LabelDrop => labels.retain(|name| !self.matches(name)),
            Action::LabelKeep => labels.retain(|name| self.matches(name)),
        }
        true
    }

    fn source(&self, labels: &Labels) -> String {
        let values: Vec<_> = self.source_labels.iter().map(|name| labels.get(name)).collect();
        values.join(&self.separator)
    }

    fn matches(&self, text: &str) -> bool {
        self.regex.as_ref().is_none_or(|regex| regex.is_match(text))
    }

    /// `template` with the groups of `text`; `None` when that does not match.
    fn expanded(&self, templates: [&str; 2], text: &str) -> Option<[String; 2]> {
        match &self.regex {
            Some(regex) => {
                let groups = regex.captures(text)?;
                Some(templates.map(|template| expand(template, &groups)))
            }
            None => {
                let groups = whole().captures(text)?;
                Some(templates.map(|template| expand(template, &groups)))
            }
        }
    }

    fn replace(&self, labels: &mut Labels) {
        let source = self.source(labels);
        let Some([target, value]) = self.expanded([&self.target_label, &self.replacement], &source) else {
            return;
        };
        if self.names.allows_label(&target) {
            labels.set(&target, &value);
        }
    }

    fn map(&self, labels: &mut Labels) {
        let mapped: Vec<_> = labels
            .iter()
            .filter_map(|(name, value)| {
                let [target, _] = self.expanded([&self.replacement, ""], name)?;
                Some((target, value.to_owned()))
            })
            .collect();
        for (target, value) in mapped {
            labels.set(&target, &value);
        }
    }
}

/// The default expression.
fn whole() -> &'static regex::Regex {
    static WHOLE: std::sync::OnceLock<regex::Regex> = std::sync::OnceLock::new();
    #[expect(clippy::expect_used, reason = "a constant expression")]
    WHOLE.get_or_init(|| regex::Regex::new("^(?s:(.*))$").expect("a valid expression"))
}

/// The last eight bytes of the MD5 sum, big-endian, modulo the number of buckets.
fn bucket(text: &str, modulus: u64) -> u64 {
    let digest: [u8; 16] = Md5::digest(text.as_bytes()).into();
    let tail = u128::from_be_bytes(digest) as u64;
    tail.checked_rem(modulus).unwrap_or(0)
}

fn has_variable(template: &str) -> bool {
    template.contains('$')
}

/// A legacy label name in which `$1` and `${1}` may stand for parts.
fn is_legacy_template(text: &str) -> bool {
    static TEMPLATE: std::sync::OnceLock<regex::Regex> = std::sync::OnceLock::new();
    #[expect(clippy::expect_used, reason = "a constant expression")]
    let template = TEMPLATE.get_or_init(|| {
        regex::Regex::new(r"^(?:(?:[a-zA-Z_]|\$(?:\{(?-u:\w)+\}|(?-u:\w)+))+(?-u:\w)*)+$")
            .expect("a valid expression")
    });
    template.is_match(text)
}

fn check(written: &Written, names: NameScheme) -> Result<(), String> {
    let action = written.action.unwrap_or_default();
    let (word, target) = (action.as_str(), written.target_label.as_str());
    let replacement = written.replacement.as_deref().unwrap_or(REPLACEMENT);
    let valid_template = |text: &str| match names {
        NameScheme::Utf8 => names.allows_label(text),
        NameScheme::Legacy => is_legacy_template(text),
    };
    let one_label = matches!(
        action,
        Action::HashMod | Action::Lowercase | Action::Uppercase | Action::KeepEqual | Action::DropEqual
    );
    if action == Action::HashMod && written.modulus == 0 {
        return Err("relabel configuration for hashmod requires non-zero modulus".to_owned());
    }
    if (one_label || action == Action::Replace) && target.is_empty() {
        return Err(format!("relabel configuration for {word} action requires 'target_label' value"));
    }
    let valid_target = match action {
        Action::Replace if has_variable(target) => valid_template(target),
        Action::Replace => names.allows_label(target),
        _ => !one_label || names.allows_label(target),
    };
    if !valid_target {
        return Err(format!("{target:?} is invalid 'target_label' for {word} action"));
    }
    if one_label && action != Action::HashMod && replacement != REPLACEMENT {
        return Err(format!("'replacement' can not be set for {word} action"));
    }
    if action == Action::LabelMap && !valid_template(replacement) {
        return Err(format!("{replacement:?} is invalid 'replacement' for {word} action"));
    }
    check_no_others(written, action, replacement)
}

/// Actions that look at few fields take no others.
fn check_no_others(written: &Written, action: Action, replacement: &str) -> Result<(), String> {
    let separator_set = written.separator.as_deref().is_some_and(|separator| separator != SEPARATOR);
    let others = written.modulus != 0 || separator_set || replacement != REPLACEMENT;
    let word = action.as_str();
    match action {
        Action::DropEqual | Action::KeepEqual if others || written.regex.is_some() => Err(format!(
            "{word} action requires only 'source_labels' and `target_label`, and no other fields"
        )),
        Action::LabelDrop | Action::LabelKeep
            if others || written.source_labels.is_some() || !written.target_label.is_empty() =>
        {
            Err(format!("{word} action requires only 'regex', and no other fields"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(action: &str, regex: &str, change: impl FnOnce(&mut Written)) -> Result<Rule, RuleError> {
        let regex = (!regex.is_empty()).then(|| Pattern::new(regex).unwrap());
        let mut written = Written { regex, action: Action::from_word(action), ..Written::default() };
        change(&mut written);
        Rule::new(written, NameScheme::Utf8)
    }

    #[track_caller]
    fn check(rule: Result<Rule, RuleError>, before: &[(&str, &str)], after: Option<&[(&str, &str)]>) {
        let mut labels = Labels::of(&kenning_model::LabelSet::from_pairs(before.iter().copied()));
        let kept = rule.unwrap().apply(&mut labels);
        let after = after.map(|pairs| kenning_model::LabelSet::from_pairs(pairs.iter().copied()));
        assert_eq!(kept.then(|| labels.build()), after);
    }

    #[test]
    fn replacement_removes_writes_and_leaves_alone() {
        let from_a = |w: &mut Written| {
            w.source_labels = Some(vec!["a".into()]);
            w.target_label = "b".into();
        };
        check(rule("replace", "x(.*)", from_a), &[("a", "xy")], Some(&[("a", "xy"), ("b", "y")]));
        check(rule("replace", "x(.*)", from_a), &[("a", "x"), ("b", "1")], Some(&[("a", "x")]));
        check(rule("replace", "z", from_a), &[("a", "x"), ("b", "1")], Some(&[("a", "x"), ("b", "1")]));
        check(rule("Replace", "", from_a), &[("a", "é")], Some(&[("a", "é"), ("b", "é")]));
    }

    #[test]
    fn equality_drops_and_keeps() {
        let with = |w: &mut Written| {
            w.source_labels = Some(vec!["a".into()]);
            w.target_label = "b".into();
        };
        check(rule("dropequal", "", with), &[("a", "1"), ("b", "1")], None);
        check(rule("keepequal", "", with), &[("a", "1"), ("b", "2")], None);
    }

    #[test]
    fn labels_are_mapped_dropped_and_kept_by_name() {
        check(rule("labelmap", "m_(.+)", |_| ()), &[("m_a", "1")], Some(&[("a", "1"), ("m_a", "1")]));
        check(rule("labeldrop", "a|b", |_| ()), &[("a", "1"), ("c", "2")], Some(&[("c", "2")]));
        check(rule("labelkeep", "a|b", |_| ()), &[("a", "1"), ("c", "2")], Some(&[("a", "1")]));
    }

    #[test]
    fn what_is_not_a_rule_is_told() {
        let told = |action, change: fn(&mut Written)| rule(action, "", change).unwrap_err().to_string();
        assert!(told("hashmod", |w| w.target_label = "a".into()).contains("non-zero modulus"));
        assert!(told("replace", |_| ()).contains("requires 'target_label' value"));
        assert!(told("labeldrop", |w| w.modulus = 1).contains("requires only 'regex'"));
        assert!(Pattern::new("a)").is_err());
    }
}
