//! Which regular expressions Loki replaces by literal searches. Only printing needs to know: those it keeps are
//! written in backquotes.

/// True for alternatives of literals, with `.*` at most at their ends, and for `.+`.
pub(super) fn is_literal(regex: &str) -> bool {
    if matches!(regex, "" | ".*" | ".+") {
        return true;
    }
    let plain = regex.strip_prefix("(?i)").unwrap_or(regex);
    plain.split(['|', '(', ')']).all(|part| {
        let part = part.strip_prefix(".*?").or(part.strip_prefix(".*")).unwrap_or(part);
        let part = part.strip_suffix(".*?").or(part.strip_suffix(".*")).unwrap_or(part);
        is_plain(part)
    })
}

/// True when every character stands for itself or is escaped punctuation.
fn is_plain(part: &str) -> bool {
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        let literal = match c {
            '\\' => chars.next().is_some_and(|escaped| escaped.is_ascii_punctuation()),
            c => !".+*?[]{}^$".contains(c),
        };
        if !literal {
            return false;
        }
    }
    true
}
