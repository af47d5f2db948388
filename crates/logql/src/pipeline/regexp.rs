//! `regexp`: named groups become labels.

use std::borrow::Cow;

use kenning_regex::{Limits, compile};
use regex::Regex;

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
        let limits = Limits { program: COMPILED_BYTES_MAX, ..Limits::default() };
        let regex = compile(text, limits).map_err(|error| error.to_string())?;
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
