//! `regexp`: named groups become labels.

use std::borrow::Cow;

use kenning_model::re2;
use regex::{Regex, RegexBuilder};

use super::{Hints, LineLabels, LineParser};

/// Largest compiled expression, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A regular expression with named groups.
#[derive(Debug)]
pub(super) struct RegexpParser {
    regex: Regex,
    /// Groups by number and name.
    groups: Vec<(usize, String)>,
}

impl RegexpParser {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let text = re2::to_rust(text).map_err(|error| format!("error parsing regexp: {error}"))?;
        let regex = RegexBuilder::new(&text)
            .size_limit(COMPILED_BYTES_MAX)
            .build()
            .map_err(|error| format!("error parsing regexp: {error}"))?;
        let groups: Vec<(usize, String)> = regex
            .capture_names()
            .enumerate()
            .filter_map(|(number, name)| Some((number, name?.to_owned())))
            .collect();
        if groups.is_empty() {
            return Err("at least one named capture must be supplied".to_owned());
        }
        Ok(Self { regex, groups })
    }
}

impl LineParser for RegexpParser {
    fn parse<'l, 'a>(
        &self,
        line: &'l str,
        labels: &mut LineLabels<'a>,
        hints: &Hints,
        keep: impl Fn(&'l str) -> Cow<'a, str> + Copy,
    ) {
        let Some(captures) = self.regex.captures(line) else { return };
        for (number, name) in &self.groups {
            let value = captures.get(*number).map_or("", |group| group.as_str());
            labels.extract(Cow::Owned(name.clone()), hints, || Some(keep(value)));
        }
    }
}
