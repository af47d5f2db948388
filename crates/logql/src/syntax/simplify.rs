//! Which regular expressions Loki replaces by literal searches. Only printing needs to know: those it keeps are
//! written in backquotes.

/// True for alternatives of literals, with `.*` at most at their ends, and for `.+`.
pub(super) fn is_literal(regex: &str) -> bool {
    if matches!(regex, "" | ".*" | ".+") {
        return true;
    }
    let plain = regex.strip_prefix("(?i)").unwrap_or(regex);
    let plain = plain.trim_start_matches("^(").trim_end_matches(")$");
    plain.split(['|', '(', ')']).all(|part| {
        let part = part.strip_prefix(".*").unwrap_or(part);
        let part = part.strip_suffix(".*").unwrap_or(part);
        !part.contains(['.', '+', '*', '?', '[', ']', '{', '}', '^', '$', '\\'])
    })
}
