//! Keys and values of logfmt text. Definition: go-logfmt's decoder.

use std::borrow::Cow;

use kenning_gotext::quote::unescape_json;

/// Hands out every key with its value (empty for one that has none) up to the first mistake.
pub(crate) fn each_pair(text: &str, mut found: impl FnMut(&str, Cow<'_, str>)) {
    text.lines().for_each(|line| each_of_line(line, &mut found));
}

fn each_of_line(line: &str, found: &mut impl FnMut(&str, Cow<'_, str>)) {
    let mut rest = line.trim_start_matches(is_gap);
    while !rest.is_empty() {
        let key_len = rest.find(|c| is_gap(c) || c == '=' || c == '"').unwrap_or(rest.len());
        let Some((key, after)) = rest.split_at_checked(key_len) else { return };
        if key.is_empty() || after.starts_with('"') {
            return;
        }
        let Some((value, after)) = value_at(after) else { return };
        found(key, value);
        rest = after.trim_start_matches(is_gap);
    }
}

const fn is_gap(c: char) -> bool {
    c <= ' '
}

/// The value behind a key, and what follows it.
fn value_at(after: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(value) = after.strip_prefix('=') else { return Some((Cow::Borrowed(""), after)) };
    let Some(quoted) = value.strip_prefix('"') else {
        let len = value.find(is_gap).unwrap_or(value.len());
        let (value, after) = value.split_at_checked(len)?;
        return (!value.contains(['"', '='])).then_some((Cow::Borrowed(value), after));
    };
    let mut escaped = false;
    let end = quoted.char_indices().find(|(_, c)| {
        let is_end = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        is_end
    })?;
    let (body, after) = (quoted.get(..end.0)?, quoted.get(end.0 + 1..)?);
    Some((unescape_json(body)?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[(&str, &str)]) {
        let mut found = Vec::new();
        each_pair(text, |key, value| found.push((key.to_owned(), value.into_owned())));
        let expect: Vec<_> = expect.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(found, expect, "{text}");
    }

    #[test]
    fn pairs() {
        check("a=1 b=\"x \\\"y\\\"\" c", &[("a", "1"), ("b", "x \"y\""), ("c", "")]);
        check("  a=  b=2", &[("a", ""), ("b", "2")]);
        check("a=1\nb=2", &[("a", "1"), ("b", "2")]);
        check("a=1 =x b=2", &[("a", "1")]);
        check("a=\"open", &[]);
        check("a=b=c d=1", &[]);
        check("", &[]);
    }
}
