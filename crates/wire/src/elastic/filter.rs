//! `filter_path`: which members of an answer are shown. Definition: Elasticsearch "Common options", response filtering.

/// Patterns longer or more than this are cut off: shippers send three of two or three words.
const PATTERNS_MAX: usize = 32;
const SEGMENTS_MAX: usize = 16;

/// The patterns of a `filter_path` parameter. Without any, everything is shown.
#[derive(Clone, Debug, Default)]
pub struct FilterPath {
    shown: Vec<Vec<String>>,
    hidden: Vec<Vec<String>>,
}

impl FilterPath {
    /// Reads `a.b,c.*.d,-e`: names with `*` for any characters, `**` for any members, a minus to hide.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut filter = Self::default();
        let patterns = text.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
        for pattern in patterns.take(PATTERNS_MAX) {
            let (list, pattern) = match pattern.strip_prefix('-') {
                Some(rest) => (&mut filter.hidden, rest),
                None => (&mut filter.shown, pattern),
            };
            list.push(pattern.split('.').take(SEGMENTS_MAX).map(str::to_owned).collect());
        }
        filter
    }

    /// True when everything is shown.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.shown.is_empty() && self.hidden.is_empty()
    }

    /// True when the member at `path` is shown; lists do not count as steps.
    #[must_use]
    pub fn shows(&self, path: &[&str]) -> bool {
        let any = |patterns: &[Vec<String>]| patterns.iter().any(|pattern| covers(pattern, path));
        (self.shown.is_empty() || any(&self.shown)) && !any(&self.hidden)
    }
}

/// True when the pattern is used up by a beginning of the path. At most [`SEGMENTS_MAX`] calls deep.
fn covers(pattern: &[String], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, _) => true,
        (Some((word, rest)), Some((_, below))) if word == "**" => {
            covers(rest, path) || covers(pattern, below)
        }
        (Some((word, rest)), None) => word == "**" && rest.is_empty(),
        (Some((word, rest)), Some((name, below))) => matches_wildcards(word, name) && covers(rest, below),
    }
}

/// Matches a name with `*` for any characters.
#[must_use]
pub fn matches_wildcards(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |filter: &str, path: &str, expect| {
            let path: Vec<_> = path.split('.').collect();
            assert_eq!(FilterPath::parse(filter).shows(&path), expect, "{filter} {path:?}");
        };
        check("", "took", true);
        check("errors,items.*.error", "errors", true);
        check("errors,items.*.error", "items.index.error.type", true);
        check("errors,items.*.error", "items.index.status", false);
        check("items.*.status", "items.create.status", true);
        check("items.index.stat*s", "items.index.status", true);
        check("items.index.stat*x", "items.index.status", false);
        check("**.type", "items.index.error.type", true);
        check("**.type", "items.index.error.reason", false);
        check("-took", "took", false);
        check("-took", "errors", true);
        check("items,-items.*._shards", "items.index._shards.total", false);
    }
}
