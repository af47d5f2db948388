//! `label_replace` and `label_join`.

use kenning_model::METRIC_NAME;
use kenning_query::QueryError;
use regex::Captures;

use super::collect::merge_same_labels;
use super::{Column, Evaluated, Evaluator, Steps};
use crate::plan::LabelReplace;

impl Evaluator<'_> {
    pub(super) fn label_replace(&mut self, call: &LabelReplace, steps: Steps) -> Evaluated<Vec<Column>> {
        let mut columns = self.vector(&call.operand, steps)?;
        for column in &mut columns {
            let Some(captures) = call.regex.captures(column.labels.get(&call.source)) else { continue };
            set_label(column, &call.target, &expand(&call.replacement, &captures));
        }
        merge_same_labels(columns)
    }
}

pub(super) fn join(
    mut columns: Vec<Column>,
    target: &str,
    separator: &str,
    sources: &[String],
) -> Result<Vec<Column>, QueryError> {
    for column in &mut columns {
        let values: Vec<_> = sources.iter().map(|source| column.labels.get(source)).collect();
        let joined = values.join(separator);
        set_label(column, target, &joined);
    }
    merge_same_labels(columns)
}

fn set_label(column: &mut Column, name: &str, value: &str) {
    column.labels = column.labels.to_builder().set(name, value).clone().build();
    if name == METRIC_NAME {
        column.drop_name = false;
    }
}

/// Go's expansion of `$1`, `${1}`, `$name` and `$$`; what does not exist is empty text.
fn expand(template: &str, captures: &Captures<'_>) -> String {
    let mut expanded = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, after) = match braced {
            Some((name, after)) if !name.is_empty() && name.chars().all(is_word) => (name, after),
            _ => after.split_at(after.find(|c| !is_word(c)).unwrap_or(after.len())),
        };
        if name.is_empty() {
            // No name follows: the sign stands for itself.
            expanded.push('$');
        } else {
            let group = name.parse().map_or_else(|_| captures.name(name), |number| captures.get(number));
            expanded.push_str(group.map_or("", |group| group.as_str()));
        }
        rest = after;
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_expand_as_in_go() {
        let Ok(regex) = regex::Regex::new("^(?P<first>a+)(b*)$") else { panic!() };
        let Some(captures) = regex.captures("aab") else { panic!() };
        let check = |template, expect: &str| assert_eq!(expand(template, &captures), expect, "{template}");
        check("$1-$2-$3", "aa-b-");
        check("${first}x $firstx $$1 $", "aax  $1 $");
        check("$1_x ${1}_x", " aa_x");
        check("ü$2ü", "ü");
    }
}
