//! What a rule file says.

use kenning_yaml::Mark;

/// A rule file: groups in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleFile {
    /// The groups.
    pub groups: Vec<Group>,
}

impl RuleFile {
    /// Number of rules in all groups.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.groups.iter().map(|group| group.rules.len()).sum()
    }
}

/// Rules that are evaluated one after the other. Durations are in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Its name, unique in the file.
    pub name: String,
    /// Where it starts.
    pub mark: Mark,
    /// How often it is evaluated; the server's interval without.
    pub interval: Option<i64>,
    /// How far back it looks; the server's offset without.
    pub query_offset: Option<i64>,
    /// Most series or alerts that one rule may make; 0 is without limit.
    pub limit: i64,
    /// Labels for all rules; a rule's own win.
    pub labels: Vec<(String, String)>,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// A recording or an alerting rule, as written: which one it is shows which name is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// Name of the series that it records; empty for an alert.
    pub record: Spot,
    /// Name of the alert; empty for a recording rule.
    pub alert: Spot,
    /// The expression.
    pub expr: Spot,
    /// How long an alert is pending, in nanoseconds.
    pub hold: i64,
    /// How long an alert keeps firing without its condition, in nanoseconds.
    pub keep_firing_for: i64,
    /// Labels that are added or replaced, by name.
    pub labels: Vec<(String, String)>,
    /// Annotations of an alert, by name.
    pub annotations: Vec<(String, String)>,
}

impl Rule {
    /// The alert's or else the recorded series' name.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.alert.text.is_empty() { &self.record.text } else { &self.alert.text }
    }
}

/// A text and its place; line 0 when it is not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    /// The text.
    pub text: String,
    /// Its place.
    pub mark: Mark,
}
