//! What to do about a mistake: hints for people beside Loki's texts, which programs read and which stay as they are.
//!
//! A hint is guessed from the words around the place of the mistake. It is left out where nothing better than the message
//! can be said. Absent: looking at data; that a label or a value exists is not known here.

use kenning_query::Diagnostic;

use super::lexer::{FUNCTIONS, Tok, Token, tokens};

/// Words that may stand behind `|`.
pub(crate) const STAGES: &[&str] = &[
    "json",
    "logfmt",
    "pattern",
    "regexp",
    "unpack",
    "line_format",
    "label_format",
    "decolorize",
    "drop",
    "keep",
    "unwrap",
];
const LINE_OPERATORS: [&str; 6] = ["|=", "!=", "|~", "!~", "|>", "!>"];
const COMPARISONS: [&str; 8] = ["=", "!=", "=~", "!~", "==", ">", ">=", "<"];
/// So many letters may be wrong in a word that is taken for another.
const LETTERS_OFF_MAX: usize = 2;
/// Longer words are not looked at: the work is the product of the lengths.
const WORD_BYTES_MAX: usize = 40;

/// Adds hints to the mistakes of a query.
pub(super) fn advise(text: &str, mut errors: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let read = tokens(text).tokens;
    for error in errors.iter_mut().filter(|error| error.hint.is_empty()) {
        let at = read.iter().position(|token| token.span.start >= error.span.start);
        let place = Place { text, read: &read, at: at.unwrap_or(read.len()) };
        if let Some(hint) = place.hint(&error.message) {
            error.hint = hint;
        }
    }
    errors
}

/// The tokens of a query, and which of them is wrong.
struct Place<'t> {
    text: &'t str,
    read: &'t [Token],
    at: usize,
}

impl Place<'_> {
    fn hint(&self, message: &str) -> Option<String> {
        if message.contains("error parsing regexp") {
            return Some("regular expressions are Go's; = and |= compare plain text".to_owned());
        }
        if !message.starts_with("syntax error") {
            return None;
        }
        if message.starts_with("syntax error: unexpected unwrap") {
            let example = "sum_over_time({app=\"x\"} | logfmt | unwrap bytes(size) [5m])";
            return Some(format!("unwrap stands within a function over a range, as in {example}"));
        }
        self.stage()
            .or_else(|| self.text_without_quotes())
            .or_else(|| self.beginning())
            .or_else(|| self.end())
    }

    fn tok(&self, back: usize) -> &Tok {
        self.at.checked_sub(back).and_then(|at| self.read.get(at)).map_or(&Tok::End, |token| &token.tok)
    }

    fn is(&self, back: usize, symbols: &[&str]) -> bool {
        self.at >= back && matches!(self.tok(back), Tok::Sym(text) if symbols.contains(text))
    }

    /// A word, as it stands in the query.
    fn word(&self, back: usize) -> Option<&str> {
        let at = self.at.checked_sub(back)?;
        let token = self.read.get(at).filter(|token| matches!(token.tok, Tok::Ident(_)))?;
        Some(token.span.text(self.text))
    }

    /// `| jsn`: behind a bar stands a stage, or a label with an operator.
    fn stage(&self) -> Option<String> {
        let word = self.word(1).filter(|_| self.is(2, &["|"]))?;
        Some(match near(word, STAGES) {
            Some(stage) => format!("did you mean | {stage}?"),
            None => format!("\"{word}\" is no stage; a label is compared, as in | {word}=\"...\""),
        })
    }

    /// `|= timeout`, `level=error`.
    fn text_without_quotes(&self) -> Option<String> {
        let word = self.word(0)?;
        if self.is(1, &LINE_OPERATORS) && !self.is(2, &["|", ","]) {
            return Some(format!("write the text in quotes: \"{word}\""));
        }
        self.is(1, &COMPARISONS).then(|| format!("write the value in quotes: \"{word}\""))
    }

    /// `rat({...})`, `sum by level (...)`, `up`: where an expression should begin.
    fn beginning(&self) -> Option<String> {
        let word = self.word(0)?;
        let begins =
            self.at == 0 || self.is(1, &["(", ",", "+", "-", "*", "/", "%", "^", "and", "or", "unless"]);
        if !begins {
            return None;
        }
        let next = self.read.get(self.at + 1).map_or(&Tok::End, |token| &token.tok);
        if FUNCTIONS.contains(&word) {
            return Some(match next {
                Tok::Sym(group @ ("by" | "without")) => {
                    format!("labels stand in parentheses: {word} {group} (level) (...)")
                }
                _ => format!("what it works on stands in parentheses: {word}(...)"),
            });
        }
        match near(word, &FUNCTIONS) {
            Some(function) if matches!(next, Tok::Sym("(" | "by" | "without")) => {
                Some(format!("did you mean {function}?"))
            }
            _ => Some(format!(
                "a query begins with a selector such as {{app=\"x\"}} or a function over one; \"{word}\" is neither"
            )),
        }
    }

    /// What is not closed, or lacks its range.
    fn end(&self) -> Option<String> {
        if self.is(0, &[")"]) && self.lacks_range() {
            return Some(
                "the function works on a range; write its length before the parenthesis: [5m]".to_owned(),
            );
        }
        if self.at < self.read.len() && *self.tok(0) != Tok::End {
            return None;
        }
        if self.read.iter().all(|token| token.tok == Tok::End) {
            return Some("write a selector, such as {app=\"x\"}".to_owned());
        }
        let open = self.open()?;
        Some(match open {
            "{" => "close the selector with }".to_owned(),
            _ => "close the parenthesis with )".to_owned(),
        })
    }

    /// The innermost bracket that is open at the place.
    fn open(&self) -> Option<&'static str> {
        self.read.get(self.open_at()?).and_then(|token| match token.tok {
            Tok::Sym(text) => Some(text),
            _ => None,
        })
    }

    fn open_at(&self) -> Option<usize> {
        let mut closed = 0usize;
        let before = self.read.get(..self.at.min(self.read.len()))?;
        before.iter().rposition(|token| match token.tok {
            Tok::Sym(")" | "}") => {
                closed += 1;
                false
            }
            Tok::Sym("(" | "{") if closed == 0 => true,
            Tok::Sym("(" | "{") => {
                closed -= 1;
                false
            }
            _ => false,
        })
    }

    /// Whether the parenthesis that is closed here is of a function over a range, and there is none.
    fn lacks_range(&self) -> bool {
        let Some(open) = self.open_at() else { return false };
        let function = open.checked_sub(1).and_then(|at| self.read.get(at)).map(|token| &token.tok);
        let is_over_range = matches!(function, Some(Tok::Func(name)) if is_over_range(name));
        let inside = self.read.get(open..self.at).unwrap_or_default();
        is_over_range && !inside.iter().any(|token| matches!(token.tok, Tok::Range(_)))
    }
}

fn is_over_range(function: &str) -> bool {
    function.ends_with("_over_time") || matches!(function, "rate" | "rate_counter" | "bytes_rate")
}

/// The word of a list that was probably meant; none for a word of the list.
fn near(word: &str, words: &[&'static str]) -> Option<&'static str> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let far = |known: &&str| letters_off(word, known);
    let nearest = words.iter().copied().min_by_key(far)?;
    // In short words two letters are another word.
    let most = if word.len() <= 3 { 1 } else { LETTERS_OFF_MAX };
    (1..=most).contains(&letters_off(word, nearest)).then_some(nearest)
}

/// Letters to put in, take out or change (Levenshtein's distance).
fn letters_off(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (j, y) in b.chars().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or_default();
            let here = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            if let Some(cell) = row.get_mut(j) {
                *cell = left;
            }
            (diagonal, left) = (above, here);
        }
        if let Some(last) = row.last_mut() {
            *last = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::parse;

    #[track_caller]
    fn check(query: &str, expect: &str) {
        let errors = parse(query).expect_err("a mistake");
        assert_eq!(errors[0].hint, expect, "{query}");
    }

    #[test]
    fn stages_and_texts() {
        check("{a=\"b\"} | jsn", "did you mean | json?");
        check("{a=\"b\"} | decolorise", "did you mean | decolorize?");
        check("{a=\"b\"} | jsn | level=\"x\"", "did you mean | json?");
        check("{a=\"b\"} | zzz", "\"zzz\" is no stage; a label is compared, as in | zzz=\"...\"");
        check("{a=\"b\"} |= timeout", "write the text in quotes: \"timeout\"");
        check("{a=\"b\"} | level=error", "write the value in quotes: \"error\"");
        check("{a=b}", "write the value in quotes: \"b\"");
        check(
            "{a=\"b\"} | unwrap x",
            "unwrap stands within a function over a range, as in sum_over_time({app=\"x\"} | logfmt | unwrap bytes(size) [5m])",
        );
    }

    #[test]
    fn functions_and_ranges() {
        check("rat({a=\"b\"}[5m])", "did you mean rate?");
        check("sum(rat({a=\"b\"}[5m]))", "did you mean rate?");
        check("sum by level (rate({a=\"b\"}[5m]))", "labels stand in parentheses: sum by (level) (...)");
        check(
            "up",
            "a query begins with a selector such as {app=\"x\"} or a function over one; \"up\" is neither",
        );
        check(
            "rate({a=\"b\"})",
            "the function works on a range; write its length before the parenthesis: [5m]",
        );
        check("rate({a=\"b\"}[5])", "write a duration such as 5m or 1h30m");
    }

    #[test]
    fn what_is_not_closed() {
        check("{a=\"b\"", "close the selector with }");
        check("sum(rate({a=\"b\"}[5m])", "close the parenthesis with )");
        check("", "write a selector, such as {app=\"x\"}");
        check("{a=~\"(\"}", "regular expressions are Go's; = and |= compare plain text");
        check("{}", "");
        check("{a=\"b\"} | json x=", "");
    }

    #[test]
    fn distances() {
        for (a, b, expect) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("jsn", "json", 1),
            ("rtae", "rate", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(letters_off(a, b), expect, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn hints_need_no_sense(query in "[{}()\\[\\]|=~!\"a-z0-9 ,.]{0,60}") {
            let _ = parse(&query);
        }
    }
}
