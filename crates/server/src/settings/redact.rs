//! How the settings of redaction are written.

use std::sync::Arc;

use kenning_pipeline::redact::{Kind as Secret, OwnPattern, RedactOptions, Redactor};
use serde_json::{Value, json};

use super::kind::{Kind, List};

/// The settings below `redact`.
#[derive(Clone, Debug)]
pub struct RedactSettings {
    /// Whether telemetry is redacted.
    pub enabled: bool,
    /// What is looked for.
    pub kinds: Vec<Secret>,
    /// Further names of secrets.
    pub keys: Arc<[String]>,
    /// Further forms of secrets.
    pub patterns: Vec<OwnPattern>,
    /// What may stay.
    pub allow: Arc<[String]>,
}

impl Default for RedactSettings {
    fn default() -> Self {
        let RedactOptions { kinds, .. } = RedactOptions::default();
        Self { enabled: true, kinds, keys: Arc::default(), patterns: Vec::new(), allow: Arc::default() }
    }
}

impl RedactSettings {
    /// As the redactor takes them.
    pub fn options(&self) -> RedactOptions {
        RedactOptions {
            kinds: self.kinds.clone(),
            keys: self.keys.to_vec(),
            patterns: self.patterns.clone(),
            allow: self.allow.to_vec(),
        }
    }
}

/// Kinds; `default` stands for the usual ones, `-kind` takes one away.
pub(super) struct Kinds;
/// Names of secrets.
pub(super) struct Keys;
/// Regular expressions.
pub(super) struct Allow;
/// Mappings with `name`, `regex` and `replacement`.
pub(super) struct Patterns;

/// The mistakes of options, without `redact.` and the field that is being set.
fn check(options: &RedactOptions, field: &str) -> Result<(), String> {
    let told = |mistakes: Vec<kenning_pipeline::redact::Mistake>| {
        let one = |mistake: &kenning_pipeline::redact::Mistake| {
            format!("{}: {}", mistake.field.strip_prefix(field).unwrap_or(&mistake.field), mistake.problem)
        };
        mistakes.iter().map(one).collect::<Vec<_>>().join("; ")
    };
    Redactor::new(options).map(drop).map_err(told)
}

impl Kind<Vec<Secret>> for Kinds {
    fn parse(text: &str) -> Result<Vec<Secret>, String> {
        let mut kinds: Vec<Secret> = Vec::new();
        for word in List::parse(text)?.iter() {
            match word.strip_prefix('-') {
                Some(word) => {
                    let kind: Secret = word.parse()?;
                    kinds.retain(|one| *one != kind);
                }
                None if word == "default" => kinds.extend(RedactOptions::default().kinds),
                None => kinds.push(word.parse()?),
            }
        }
        kinds.sort_unstable();
        kinds.dedup();
        Ok(kinds)
    }

    fn show(kinds: &Vec<Secret>) -> String {
        let has = |kind: &Secret| kinds.contains(kind);
        let all = Secret::ALL.iter();
        if !all.clone().any(|kind| kind.is_default() && has(kind)) {
            return kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        }
        let more = all.clone().filter(|kind| !kind.is_default() && has(kind)).map(|kind| kind.to_string());
        let less = all.filter(|kind| kind.is_default() && !has(kind)).map(|kind| format!("-{kind}"));
        std::iter::once("default".to_owned()).chain(more).chain(less).collect::<Vec<_>>().join(", ")
    }
}

impl Kind<Arc<[String]>> for Keys {
    fn parse(text: &str) -> Result<Arc<[String]>, String> {
        let keys = List::parse(text)?;
        check(&RedactOptions { keys: keys.to_vec(), ..RedactOptions::default() }, "keys")?;
        Ok(keys)
    }

    fn show(keys: &Arc<[String]>) -> String {
        List::show(keys)
    }
}

impl Kind<Arc<[String]>> for Allow {
    fn parse(text: &str) -> Result<Arc<[String]>, String> {
        let allow = List::parse(text)?;
        check(&RedactOptions { allow: allow.to_vec(), ..RedactOptions::default() }, "allow")?;
        Ok(allow)
    }

    fn show(allow: &Arc<[String]>) -> String {
        List::show(allow)
    }
}

impl Kind<Vec<OwnPattern>> for Patterns {
    fn parse(text: &str) -> Result<Vec<OwnPattern>, String> {
        let list = match text {
            "" => Vec::new(),
            text => serde_json::from_str::<Vec<Value>>(text)
                .map_err(|_| format!("cannot read {text} as a list of mappings with name and regex"))?,
        };
        let patterns: Vec<_> =
            list.iter().enumerate().map(|(place, entry)| pattern(place, entry)).collect::<Result<_, _>>()?;
        check(&RedactOptions { patterns: patterns.clone(), ..RedactOptions::default() }, "patterns")?;
        Ok(patterns)
    }

    fn show(patterns: &Vec<OwnPattern>) -> String {
        let one = |pattern: &OwnPattern| json!({"name": pattern.name, "regex": pattern.regex, "replacement": pattern.replacement});
        Value::Array(patterns.iter().map(one).collect()).to_string()
    }
}

fn pattern(place: usize, entry: &Value) -> Result<OwnPattern, String> {
    let Some(fields) = entry.as_object() else { return Err(format!("[{place}]: must be a mapping")) };
    const KNOWN: [&str; 3] = ["name", "regex", "replacement"];
    if let Some(other) = fields.keys().find(|field| !KNOWN.contains(&field.as_str())) {
        return Err(format!("[{place}].{other}: is not a field; known are {}", KNOWN.join(", ")));
    }
    let text = |field: &str| match fields.get(field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("[{place}].{field}: must be a text")),
    };
    let needed = |field: &str| text(field)?.ok_or_else(|| format!("[{place}].{field}: is missing"));
    let name = needed("name")?;
    let replacement = text("replacement")?.unwrap_or_else(|| format!("<redacted:{name}>"));
    Ok(OwnPattern { regex: needed("regex")?, replacement, name })
}
