//! Log levels: `info,hyper=warn,my_app::db=debug` (what `LOG_LEVEL` and `RUST_LOG` hold).
//!
//! A directive is `level`, `target` (everything of it) or `target=level`; the longest matching target wins.
//! Targets match whole path segments. Span and field filters (`[span{field}]`) are refused by name.
//!
//! Levels govern *events*. Spans are traces, and quieter logs must not tear holes into traces: a span is kept if
//! it is `INFO` or more severe, or if its directive lets its level through; only `off` removes a target's spans.

use tracing_core::{LevelFilter, Metadata};

/// Parsed directives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Filter {
    default: LevelFilter,
    /// Longest target first, so that the first match is the most specific.
    targets: Vec<(String, LevelFilter)>,
}

/// Directives in one filter, so that a mangled variable cannot make every event slow.
const DIRECTIVES_MAX: usize = 256;

impl Filter {
    pub(crate) fn at(default: LevelFilter) -> Self {
        Self { default, targets: Vec::new() }
    }

    /// Parses directives; every mistake is told with the piece it is in.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut filter = Self::at(LevelFilter::INFO);
        let mut problems = Vec::new();
        for piece in text.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
            if let Err(problem) = filter.add(piece) {
                problems.push(problem);
            }
        }
        if filter.targets.len() > DIRECTIVES_MAX {
            problems
                .push(format!("{} directives, at most {DIRECTIVES_MAX} are allowed", filter.targets.len()));
        }
        filter.targets.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.0.cmp(&b.0)));
        if problems.is_empty() { Ok(filter) } else { Err(problems) }
    }

    fn add(&mut self, piece: &str) -> Result<(), String> {
        if piece.contains(['[', '{']) {
            return Err(format!(
                "`{piece}`: filters on spans and fields are not supported; use `target=level`"
            ));
        }
        match piece.split_once('=') {
            Some((target, level)) => {
                let level = parse_level(level.trim()).ok_or_else(|| unknown_level(level.trim()))?;
                self.set(target.trim(), level);
            }
            None => match parse_level(piece) {
                Some(level) => self.default = level,
                // `RUST_LOG=verbose` is far more often a mistyped level than a crate's name.
                None if LOOKS_LIKE_LEVEL.contains(&piece.to_ascii_lowercase().as_str()) => {
                    return Err(unknown_level(piece));
                }
                None => self.set(piece, LevelFilter::TRACE),
            },
        }
        Ok(())
    }

    /// The last directive for a target wins, as in a shell's variables.
    fn set(&mut self, target: &str, level: LevelFilter) {
        self.targets.retain(|(known, _)| known != target);
        self.targets.push((target.to_owned(), level));
    }

    fn level_for(&self, target: &str) -> LevelFilter {
        let matching = self.targets.iter().find(|(prefix, _)| matches_segments(target, prefix));
        matching.map_or(self.default, |(_, level)| *level)
    }

    /// Whether what this metadata describes is wanted.
    pub(crate) fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = self.level_for(metadata.target());
        if metadata.is_span() && level != LevelFilter::OFF {
            return *metadata.level() <= level.max(LevelFilter::INFO);
        }
        *metadata.level() <= level
    }

    /// The most verbose level any directive lets through.
    pub(crate) fn max_level(&self) -> LevelFilter {
        let widest = self.targets.iter().map(|(_, level)| *level).fold(self.default, LevelFilter::max);
        if widest == LevelFilter::OFF { widest } else { widest.max(LevelFilter::INFO) }
    }
}

const LOOKS_LIKE_LEVEL: [&str; 6] = ["verbose", "all", "none", "notice", "silent", "quiet"];

fn unknown_level(level: &str) -> String {
    format!("unknown level `{level}`; use off, error, warn, info, debug or trace")
}

/// Levels by the names people use: those of `tracing`, Python's and syslog's.
fn parse_level(text: &str) -> Option<LevelFilter> {
    Some(match text.to_ascii_lowercase().as_str() {
        "off" => LevelFilter::OFF,
        "error" | "fatal" | "critical" => LevelFilter::ERROR,
        "warn" | "warning" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return None,
    })
}

/// Whether `target` is `prefix` or lies below it: `hyper` matches `hyper::proto`, not `hyper_util`.
fn matches_segments(target: &str, prefix: &str) -> bool {
    target.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_target_wins() {
        let check = |directives: &str, target: &str, expect: LevelFilter| {
            assert_eq!(Filter::parse(directives).unwrap().level_for(target), expect, "{directives} {target}");
        };
        check("", "app", LevelFilter::INFO);
        check("WARNING", "app", LevelFilter::WARN);
        check("info,hyper=warn", "hyper::proto", LevelFilter::WARN);
        check("info,hyper=warn", "hyper_util", LevelFilter::INFO);
        check("info, app::db=debug ,app=error", "app::db::pool", LevelFilter::DEBUG);
        check("info,app::db=debug,app=error", "app::web", LevelFilter::ERROR);
        check("off,app", "app", LevelFilter::TRACE);
        check("app=debug,app=warn", "app", LevelFilter::WARN);
    }

    #[test]
    fn mistakes_are_told_together() {
        let check = |directives: &str, expect: &[&str]| {
            let problems = Filter::parse(directives).unwrap_err();
            assert_eq!(problems.len(), expect.len(), "{problems:?}");
            assert!(
                problems.iter().zip(expect).all(|(problem, part)| problem.contains(part)),
                "{problems:?}"
            );
        };
        check("verbose", &["unknown level `verbose`"]);
        check("app=loud,info,[span]=debug", &["unknown level `loud`", "spans and fields"]);
    }
}
