//! `unpack`: undoes Promtail's `pack` stage. Texts of a JSON object become labels and `_entry` becomes the line; an
//! object without `_entry` was not packed and is left alone.

use std::borrow::Cow;

use super::json::{Kind, each_field};
use super::labels::{sanitized, without_replacement_char};
use super::{Category, Hints, LineLabels, fault};
use kenning_gotext::quote::unescape_json;

/// The field that holds the line.
const ENTRY: &str = "_entry";

/// The line inside a packed one, its labels set.
pub(super) fn run<'a>(line: Cow<'a, str>, labels: &mut LineLabels<'a>, hints: &Hints) -> Cow<'a, str> {
    if line.is_empty() || hints.wants_nothing(labels) {
        return line;
    }
    if !line.starts_with('{') {
        let details = "expecting json object(6), but it is not".to_owned();
        labels.set_parse_error(fault::JSON, Some(details), hints);
        return line;
    }
    let (mut entry, mut found) = (None, Vec::new());
    let result = each_field(&line, &mut |key, kind, raw| {
        if kind != Kind::String {
            return Ok(true);
        }
        if key == ENTRY {
            let text = unescape_json(raw).ok_or_else(|| "invalid escape sequence in a string".to_owned())?;
            entry = Some(text.into_owned());
            return Ok(true);
        }
        let suffix = if labels.is_taken(&key) { super::hints::EXTRACTED } else { "" };
        let name = format!("{key}{suffix}");
        if hints.wants(&name) && !labels.was_extracted(&name) {
            let text = unescape_json(raw).unwrap_or_default();
            let text = without_replacement_char(&text).unwrap_or_else(|| text.into_owned());
            found.push((sanitized(&name).into_owned(), text));
        }
        Ok(true)
    });
    match (result, entry) {
        (Err(error), _) => {
            labels.set_parse_error(fault::JSON, Some(error), hints);
            line
        }
        (Ok(_), None) => line,
        (Ok(_), Some(entry)) => {
            for (name, value) in found {
                labels.set(Category::Parsed, Cow::Owned(name), Cow::Owned(value));
            }
            Cow::Owned(entry)
        }
    }
}
