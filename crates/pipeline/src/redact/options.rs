//! What to look for, as settings say it.

use std::fmt;

use kenning_regex::{Fault, Limits};
use regex::{Regex, RegexSet, RegexSetBuilder};

use super::{Kind, KindNumber, key};

/// Most own names, own patterns and exceptions each.
const ENTRIES_MAX: usize = 256;
/// Largest compiled pattern, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;
const REGEX_LIMITS: Limits = Limits { program: REGEX_BYTES_MAX, automaton: 2 << 20 };
/// Longest replacement and name of a pattern.
const WORD_LEN_MAX: usize = 64;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedactOptions {
    /// The kinds that are looked for.
    pub kinds: Vec<Kind>,
    /// Further names whose values are secrets, in any case and with any separators.
    pub keys: Vec<String>,
    /// Further forms.
    pub patterns: Vec<OwnPattern>,
    /// Regular expressions of what may stay; each must match all of a finding.
    pub allow: Vec<String>,
}

impl Default for RedactOptions {
    fn default() -> Self {
        let kinds = Kind::ALL.iter().copied().filter(|kind| kind.is_default()).collect();
        Self { kinds, keys: Vec::new(), patterns: Vec::new(), allow: Vec::new() }
    }
}

/// A form of the settings' own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPattern {
    /// Its kind's name, for counting.
    pub name: String,
    /// What it looks like; the first group, if there is one, is what goes.
    pub regex: String,
    /// What takes its place.
    pub replacement: String,
}

/// An option that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The field below `redact`, such as `patterns[0].regex`.
    pub field: String,
    /// What is wrong, and the fix.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redact.{}: {}", self.field, self.problem)
    }
}

/// A compiled form.
pub(super) struct OwnRegex {
    pub(super) regex: Regex,
    pub(super) kind: KindNumber,
}

/// The options' regular expressions.
pub(super) struct Compiled {
    pub(super) own: Vec<OwnRegex>,
    pub(super) own_set: RegexSet,
    pub(super) allow: RegexSet,
}

/// Forms of kinds that are seldom looked for.
fn built_in(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Phone => Some(
            r"(?:^|[^\w.+-])(\+[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{2,4}(?:[ .-]?\d{2,4}){1,4}|\(\d{3}\) ?\d{3}-\d{4}|[2-9]\d{2}-[2-9]\d{2}-\d{4})\b",
        ),
        Kind::Ip => Some(
            r"\b((?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)|(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4}){1,6})\b",
        ),
        _ => None,
    }
}

impl RedactOptions {
    pub(super) fn compile(&self) -> Result<Compiled, Vec<Mistake>> {
        let mut mistakes = self.mistakes();
        let mut sources: Vec<(String, &str, KindNumber)> = Vec::new();
        for kind in &self.kinds {
            sources.extend(built_in(*kind).map(|regex| ("kinds".to_owned(), regex, (*kind).into())));
        }
        let first = Kind::ALL.len() as u16;
        for (number, (place, pattern)) in (first..).zip(self.patterns.iter().enumerate()) {
            sources.push((format!("patterns[{place}].regex"), &pattern.regex, KindNumber(number)));
        }
        let mut own = Vec::new();
        for (field, source, kind) in &sources {
            match kenning_regex::compile(source, REGEX_LIMITS) {
                Ok(regex) if regex.is_match("") => {
                    let problem = "matches the empty text; ask for at least one character".to_owned();
                    mistakes.push(Mistake { field: field.clone(), problem });
                }
                Ok(regex) => own.push(OwnRegex { regex, kind: *kind }),
                Err(error) => mistakes.push(Mistake { field: field.clone(), problem: regex_problem(&error) }),
            }
        }
        let allow: Vec<String> = self.allow.iter().map(|one| format!("^(?:{one})$")).collect();
        for (place, one) in self.allow.iter().enumerate() {
            if let Err(error) = kenning_regex::compile(one, REGEX_LIMITS) {
                mistakes.push(Mistake { field: format!("allow[{place}]"), problem: regex_problem(&error) });
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let too_large = |field: &str| {
            let problem = "all expressions together are too large; write fewer or simpler ones".to_owned();
            vec![Mistake { field: field.to_owned(), problem }]
        };
        let own_set =
            set(sources.iter().map(|(_, source, _)| *source)).ok_or_else(|| too_large("patterns"))?;
        let allow = set(allow.iter().map(String::as_str)).ok_or_else(|| too_large("allow"))?;
        Ok(Compiled { own, own_set, allow })
    }

    fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut wrong = |field: String, problem: String| mistakes.push(Mistake { field, problem });
        for (field, len) in
            [("keys", self.keys.len()), ("patterns", self.patterns.len()), ("allow", self.allow.len())]
        {
            if len > ENTRIES_MAX {
                wrong(field.to_owned(), format!("has {len} entries; at most {ENTRIES_MAX} work"));
            }
        }
        for (place, name) in self.keys.iter().enumerate() {
            let longest = name.split(|c: char| !c.is_ascii_alphanumeric()).map(str::len).max().unwrap_or(0);
            if longest < 3 || name.len() > key::NAME_LEN_MAX {
                let problem = format!(
                    "{name:?} needs three letters or digits in a row and at most {} bytes",
                    key::NAME_LEN_MAX
                );
                wrong(format!("keys[{place}]"), problem);
            }
        }
        for (place, pattern) in self.patterns.iter().enumerate() {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if pattern.name.is_empty()
                || pattern.name.len() > WORD_LEN_MAX
                || !pattern.name.chars().all(is_word)
            {
                let problem =
                    format!("{:?} must be 1 to {WORD_LEN_MAX} letters, digits and underscores", pattern.name);
                wrong(format!("patterns[{place}].name"), problem);
            }
            let is_twice = self.patterns.iter().take(place).any(|before| before.name == pattern.name);
            if is_twice || pattern.name.parse::<Kind>().is_ok() {
                wrong(
                    format!("patterns[{place}].name"),
                    format!("{:?} is taken; choose another", pattern.name),
                );
            }
            let breaks = |c: char| c.is_control() || matches!(c, '"' | '\\' | '=');
            if pattern.replacement.len() > WORD_LEN_MAX || pattern.replacement.chars().any(breaks) {
                let problem = format!(
                    "{:?} must have at most {WORD_LEN_MAX} bytes and no quotation mark, backslash, equals sign or control character, or lines of JSON and logfmt would break",
                    pattern.replacement
                );
                wrong(format!("patterns[{place}].replacement"), problem);
            }
        }
        mistakes
    }
}

/// Expressions that compile one by one, in Go's dialect too.
fn set<'a>(sources: impl Iterator<Item = &'a str>) -> Option<RegexSet> {
    let sources: Option<Vec<String>> = sources.map(|one| kenning_regex::translate(one).ok()).collect();
    RegexSetBuilder::new(sources?).size_limit(16 * REGEX_BYTES_MAX).build().ok()
}

fn regex_problem(error: &kenning_regex::Error) -> String {
    match error.fault {
        Fault::Large => {
            format!("{error}; at most {REGEX_BYTES_MAX} bytes compiled work, lower its repetitions")
        }
        _ => format!("{error}; write it as Go's regexp takes it (RE2)"),
    }
}
