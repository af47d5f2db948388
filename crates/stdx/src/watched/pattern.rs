//! Patterns of paths.

use crate::files::matches;

/// Most patterns that alternatives make of one.
const ALTERNATIVES_MAX: usize = 64;

/// The patterns that `{a,b}` stands for, at most 64; braces without a partner stay as they are.
#[must_use]
pub fn expand(pattern: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut left = vec![pattern.to_owned()];
    while let Some(next) = left.pop() {
        match first_alternatives(&next) {
            Some((head, inner, tail)) if done.len() + left.len() < ALTERNATIVES_MAX => {
                let room = ALTERNATIVES_MAX.saturating_sub(done.len() + left.len());
                let made = inner.split(',').take(room).map(|one| format!("{head}{one}{tail}"));
                left.extend(made.collect::<Vec<_>>().into_iter().rev());
            }
            _ => done.push(next),
        }
    }
    done
}

/// The innermost braces that end first.
fn first_alternatives(pattern: &str) -> Option<(&str, &str, &str)> {
    let end = pattern.find('}')?;
    let start = pattern.get(..end)?.rfind('{')?;
    Some((pattern.get(..start)?, pattern.get(start + 1..end)?, pattern.get(end + 1..)?))
}

/// True when a path matches a pattern.
#[must_use]
pub fn path_matches(pattern: &str, path: &str) -> bool {
    let names: Vec<_> = path.split('/').filter(|name| !name.is_empty()).collect();
    expand(pattern).iter().any(|pattern| {
        let parts: Vec<_> = pattern.split('/').filter(|part| !part.is_empty()).collect();
        pattern.starts_with('/') == path.starts_with('/') && parts_match(&parts, &names)
    })
}

/// Goes back to the last `**` only, so the work is bounded by the product of the lengths.
fn parts_match(parts: &[&str], names: &[&str]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(name) = names.get(n) {
        match parts.get(p) {
            Some(&"**") => {
                star = Some((p, n));
                p += 1;
            }
            Some(part) if matches(part, name) => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, n) = (at + 1, from + 1);
            }
        }
    }
    // A trailing `**` stands for directories only.
    p == parts.len() && parts.last() != Some(&"**")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (pattern, path, expect) in [
            ("/var/log/*.log", "/var/log/a.log", true),
            ("/var/log/*.log", "/var/log/x/a.log", false),
            ("/var/**/*.log", "/var/a.log", true),
            ("/var/**/*.log", "/var/a/b/c.log", true),
            ("/var/**/x/*.log", "/var/a/x/b/x/c.log", true),
            ("/var/**", "/var/a", false),
            ("/var/{log,lib}/*", "/var/lib/a", true),
            ("/var/{log,lib}/*", "/var/tmp/a", false),
            ("var/a", "/var/a", false),
            ("/a/{b{c,d},e}", "/a/bd", true),
            ("/a/{b", "/a/{b", true),
        ] {
            assert_eq!(path_matches(pattern, path), expect, "{pattern} {path}");
        }
    }

    #[test]
    fn alternatives_are_bounded() {
        assert_eq!(expand("{a,b}{c,d}"), ["ac", "ad", "bc", "bd"]);
        assert!(expand(&"{a,b,c,d,e,f,g}".repeat(12)).len() <= ALTERNATIVES_MAX);
    }
}
