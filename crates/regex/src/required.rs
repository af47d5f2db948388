//! Texts that every match of an expression holds, so that a search can look for them, which is cheap and can be answered by
//! an index, before it runs the expression.

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::translate;

/// Most texts of which one is required.
const TEXTS_MAX: usize = 8;
/// Shorter texts are in nearly every line.
const LEN_MIN: usize = 2;
/// Deepest nesting that is looked into.
const DEPTH_MAX: usize = 64;

/// What every match of an expression holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Required {
    /// Of each list one text at least.
    pub all: Vec<Vec<String>>,
    /// True when a text that holds one of each matches: there is nothing else to the expression.
    pub is_exact: bool,
}

/// What every match of an expression in Go's syntax holds. Nothing is known of an expression that Go refuses.
#[must_use]
pub fn required(source: &str) -> Required {
    let hir = translate(source).ok().and_then(|text| regex_syntax::parse(&text).ok());
    let Some(hir) = hir else { return Required::default() };
    let known = walk(&hir, DEPTH_MAX);
    let is_exact = known.is_free && known.exact.is_some();
    let mut all = known.lists;
    all.retain(|texts| is_telling(texts));
    let found = all.len();
    all.extend(known.exact.filter(|texts| is_telling(texts)));
    Required { is_exact: is_exact && all.len() > found, all }
}

/// What is known of a part of an expression.
struct Known {
    /// It matches these texts and no others.
    exact: Option<Vec<String>>,
    /// False when it also asks where it stands.
    is_free: bool,
    /// Of each of these its matches hold one.
    lists: Vec<Vec<String>>,
}

impl Known {
    fn exactly(texts: Vec<String>) -> Self {
        Self { exact: Some(texts), is_free: true, lists: Vec::new() }
    }

    fn nothing() -> Self {
        Self { exact: None, is_free: false, lists: Vec::new() }
    }

    /// The list that tells most.
    fn best(self) -> Option<Vec<String>> {
        let lists = self.lists.into_iter().chain(self.exact);
        lists.filter(|texts| is_telling(texts)).max_by_key(|texts| shortest(texts))
    }
}

fn shortest(texts: &[String]) -> usize {
    texts.iter().map(String::len).min().unwrap_or(0)
}

fn is_telling(texts: &[String]) -> bool {
    shortest(texts) >= LEN_MIN
}

fn walk(hir: &Hir, depth: usize) -> Known {
    let Some(depth) = depth.checked_sub(1) else { return Known::nothing() };
    match hir.kind() {
        HirKind::Empty => Known::exactly(vec![String::new()]),
        HirKind::Look(_) => Known { is_free: false, ..Known::exactly(vec![String::new()]) },
        HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
            Ok(text) => Known::exactly(vec![text.to_owned()]),
            Err(_) => Known::nothing(),
        },
        HirKind::Class(class) => chars_of(class).map_or_else(Known::nothing, Known::exactly),
        HirKind::Capture(capture) => walk(&capture.sub, depth),
        HirKind::Repetition(repetition) => match (repetition.min, repetition.max) {
            (0, _) => Known::nothing(),
            (1, Some(1)) => walk(&repetition.sub, depth),
            _ => {
                let mut known = walk(&repetition.sub, depth);
                known.lists.extend(known.exact.take());
                Known { is_free: false, ..known }
            }
        },
        HirKind::Concat(parts) => concatenation(parts, depth),
        HirKind::Alternation(parts) => alternation(parts, depth),
    }
}

/// The characters of a small class.
fn chars_of(class: &Class) -> Option<Vec<String>> {
    let Class::Unicode(class) = class else { return None };
    let count: usize = class.ranges().iter().map(|range| range.len()).sum();
    let chars = class.ranges().iter().flat_map(|range| range.start()..=range.end());
    (count <= TEXTS_MAX).then(|| chars.map(String::from).collect())
}

fn concatenation(parts: &[Hir], depth: usize) -> Known {
    let (mut lists, mut run, mut is_whole, mut is_free) = (Vec::new(), vec![String::new()], true, true);
    for part in parts {
        let known = walk(part, depth);
        is_free &= known.is_free;
        lists.extend(known.lists);
        match known.exact {
            Some(texts) if run.len() * texts.len() <= TEXTS_MAX => {
                run = run.iter().flat_map(|a| texts.iter().map(move |b| format!("{a}{b}"))).collect();
            }
            other => {
                is_whole = false;
                lists.push(std::mem::replace(&mut run, other.unwrap_or_else(|| vec![String::new()])));
            }
        }
    }
    if is_whole {
        return Known { exact: Some(run), is_free, lists };
    }
    lists.push(run);
    lists.retain(|texts| is_telling(texts));
    Known { exact: None, is_free: false, lists }
}

fn alternation(parts: &[Hir], depth: usize) -> Known {
    let known: Vec<Known> = parts.iter().map(|part| walk(part, depth)).collect();
    let count: usize = known.iter().filter_map(|known| known.exact.as_ref().map(Vec::len)).sum();
    if known.iter().all(|known| known.exact.is_some()) && count <= TEXTS_MAX {
        let is_free = known.iter().all(|known| known.is_free);
        let texts = known.into_iter().filter_map(|known| known.exact).flatten().collect();
        return Known { is_free, ..Known::exactly(texts) };
    }
    let best: Option<Vec<Vec<String>>> = known.into_iter().map(Known::best).collect();
    let texts: Vec<String> = best.into_iter().flatten().flatten().collect();
    let lists = if texts.is_empty() || texts.len() > TEXTS_MAX { Vec::new() } else { vec![texts] };
    Known { exact: None, is_free: false, lists }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(source: &str, expect: &[&[&str]], is_exact: bool) {
        let found = required(source);
        assert_eq!(found.all, expect, "{source}");
        assert_eq!(found.is_exact, is_exact, "{source}");
    }

    #[test]
    fn texts_that_matches_hold() {
        check("timeout", &[&["timeout"]], true);
        check("timeout|refused", &[&["timeout", "refused"]], true);
        check("^timeout", &[&["timeout"]], false);
        check("time(out|r) after", &[&["timeout after", "timer after"]], true);
        check("order [0-9]+ of .*items", &[&["order "], &[" of "], &["items"]], false);
        check("(?i)ab", &[&["AB", "Ab", "aB", "ab"]], true);
        check("(foo)+bar", &[&["foo"], &["bar"]], false);
        check("(foo)*", &[], false);
        check(".*", &[], false);
        check("x", &[], false);
        check("a|.*timeout", &[], false);
        check("refused.*|.*timeout", &[&["refused", "timeout"]], false);
        check("(", &[], false);
        check("", &[], false);
        check("ab{2}c", &[], false);
    }

    fn source() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[a-c]{1,3}".prop_map(|text| text),
            Just(".".to_owned()),
            Just("[ab]".to_owned()),
            Just("^".to_owned()),
            Just("$".to_owned()),
            Just("(?i)a".to_owned()),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                proptest::collection::vec(inner.clone(), 1..4)
                    .prop_map(|parts| format!("({})", parts.join("|"))),
                inner.clone().prop_map(|part| format!("({part})*")),
                inner.clone().prop_map(|part| format!("({part})+")),
                inner.clone().prop_map(|part| format!("({part})?")),
                inner.prop_map(|part| format!("({part}){{1,2}}")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_match_is_without_them(source in source(), text in "[a-cA]{0,8}") {
            let regex = crate::compile(&source, crate::Limits::default()).unwrap();
            let known = required(&source);
            let holds = known.all.iter().all(|list| list.iter().any(|part| text.contains(part)));
            prop_assert!(holds || !regex.is_match(&text), "{} {:?}", source, known);
            prop_assert!(!known.is_exact || holds == regex.is_match(&text), "{} {:?}", source, known);
        }
    }
}
