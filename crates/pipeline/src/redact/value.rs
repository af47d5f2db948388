//! How far a value reaches, and whether it is one that may stay.

use super::key::{Care, Rule};
use super::text::{after_escape, at, before, between, from, skip, skip_some, starts_at};

/// A quotation mark and the backslashes before it: JSON inside of JSON has one, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quote {
    pub(super) slashes: usize,
    pub(super) mark: u8,
}

/// Most backslashes before a quotation mark: JSON four times inside of JSON.
const SLASHES_MAX: usize = 15;

/// The quotation mark at a place, and the place after it.
pub(super) fn quote_at(text: &[u8], place: usize) -> Option<(Quote, usize)> {
    let end = skip_some(text, place, SLASHES_MAX, |byte| byte == b'\\');
    let (mark, slashes) = (at(text, end), end - place);
    // Any other number of backslashes stands for backslashes of the text, and what follows them belongs to what is around.
    let is_own = (slashes + 1).is_power_of_two();
    (is_own && matches!(mark, b'"' | b'\'' | b'`')).then_some((Quote { slashes, mark }, end + 1))
}

/// Where the content that was opened by `quote` ends: before the closing mark, or at the end of the text.
pub(super) fn content_end(text: &[u8], start: usize, quote: Quote) -> usize {
    let mut place = start;
    while let Some(found) = memchr::memchr(quote.mark, from(text, place)).map(|found| place + found) {
        let run = found - super::text::back(text, found, found - start, |byte| byte == b'\\');
        if let Some(own) = closes(run, quote.slashes) {
            return found - own;
        }
        place = found + 1;
    }
    text.len()
}

/// Levels of strings inside of strings that are told apart.
const LEVELS: usize = 4;

/// Which strings a place is in, by level: those of JSON, those of JSON inside of them, and so on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strings {
    place: usize,
    is_in: [bool; LEVELS],
}

impl Strings {
    /// Reads on to a place; a place that was passed changes nothing.
    pub(super) fn read_to(&mut self, text: &[u8], place: usize) {
        while let Some(found) = memchr::memchr(b'"', between(text, self.place, place)) {
            let mark = self.place + found;
            let slashes = mark - super::text::back(text, mark, mark, |byte| byte == b'\\');
            self.toggle(slashes);
            self.place = mark + 1;
        }
        self.place = self.place.max(place);
    }

    fn toggle(&mut self, mut slashes: usize) {
        for level in 0..LEVELS {
            if slashes.is_multiple_of(2) {
                if let Some(is_in) = self.is_in.get_mut(level) {
                    *is_in = !*is_in;
                }
                self.is_in.iter_mut().skip(level + 1).for_each(|inner| *inner = false);
                return;
            }
            slashes = (slashes - 1) / 2;
        }
    }

    /// True when `quote`, which stands where was read to, ends a string instead of beginning one.
    pub(super) fn closes(&self, quote: Quote) -> bool {
        let level = (0..LEVELS).find(|level| (1 << level) - 1 == quote.slashes);
        quote.mark == b'"' && level.and_then(|level| self.is_in.get(level)) == Some(&true)
    }

    /// The part of a range that begins where was read to and does not leave the innermost string around it.
    pub(super) fn clip(&self, text: &[u8], start: usize, end: usize) -> usize {
        let level = self.is_in.iter().rposition(|is_in| *is_in);
        let inside = text.get(..end).unwrap_or(text);
        level.map_or(end, |level| content_end(inside, start, Quote { slashes: (1 << level) - 1, mark: b'"' }))
    }
}

/// Whether a mark after `run` backslashes ends what a mark after `opened` of them began, and how many of them are its own.
fn closes(mut run: usize, mut opened: usize) -> Option<usize> {
    let all = (run, opened);
    while opened > 0 {
        if run.is_multiple_of(2) {
            // The string around it ends here.
            return Some(0);
        }
        (run, opened) = ((run - 1) / 2, (opened - 1) / 2);
    }
    run.is_multiple_of(2).then_some(all.0.min(all.1))
}

/// Where a value without quotation marks stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// Its name is in quotation marks, so it is a number or a word of JSON.
    pub(super) is_json: bool,
    /// In the query of a URL.
    pub(super) is_query: bool,
    /// The separator was percent-encoded.
    pub(super) is_encoded: bool,
}

/// Where a value without quotation marks ends.
pub(super) fn bare_end(text: &[u8], start: usize, place: Place) -> usize {
    let mut end = start;
    while end < text.len() && !ends_bare(text, start, end, place) {
        end += 1;
    }
    while end > start && matches!(before(text, end), b',' | b';') {
        end -= 1;
    }
    end
}

fn ends_bare(text: &[u8], start: usize, end: usize, place: Place) -> bool {
    let next = at(text, end + 1);
    match at(text, end) {
        0..=b' ' | b'"' | b'`' | 0x7f => true,
        b'\'' => !next.is_ascii_alphanumeric(),
        b'\\' => matches!(next, b'n' | b'r' | b't' | b'"' | b'\\' | b'\'') || is_unicode_escape(text, end),
        b',' | b'}' | b']' if place.is_json => true,
        b'&' => place.is_query || starts_at(text, end, b"&amp;") || soft_end(text, end),
        b'#' => place.is_query,
        b',' | b';' => soft_end(text, end),
        b'%' => place.is_encoded && starts_at(text, end, b"%26"),
        b'<' => end > start,
        b')' | b']' | b'}' => {
            let is_last = end + 1 >= text.len()
                || matches!(
                    next,
                    0..=b' ' | b',' | b';' | b')' | b']' | b'}' | b'"' | b'\'' | b'.' | b'\\' | b'<' | b'>'
                );
            let opening = match at(text, end) {
                b')' => b'(',
                closing => closing - 2,
            };
            is_last && end > start && !between(text, start, end).contains(&opening)
        }
        _ => false,
    }
}

fn is_unicode_escape(text: &[u8], place: usize) -> bool {
    [b"\\u0026".as_slice(), b"\\u003c", b"\\u003e", b"\\u0022", b"\\u0027"]
        .iter()
        .any(|one| starts_at(text, place, one))
}

/// A separator that ends a value if another pair, or nothing, follows.
fn soft_end(text: &[u8], place: usize) -> bool {
    let next = place + 1;
    if next >= text.len() || at(text, next) <= b' ' {
        return true;
    }
    let word = skip_some(text, next, 64, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'[' | b']')
    });
    word > next && matches!(at(text, word), b'=' | b':')
}

/// Words that say something of a secret and are none.
const STATES: &[&str] = &[
    "true",
    "false",
    "null",
    "none",
    "nil",
    "undefined",
    "yes",
    "no",
    "on",
    "off",
    "ok",
    "empty",
    "unset",
    "set",
    "missing",
    "required",
    "invalid",
    "valid",
    "expired",
    "denied",
    "incorrect",
    "wrong",
    "changed",
    "reset",
    "not",
    "is",
    "was",
    "has",
    "unknown",
    "default",
    "failed",
    "failure",
    "success",
    "error",
    "redacted",
    "filtered",
    "hidden",
    "masked",
    "removed",
    "omitted",
    "secret",
    "password",
    "token",
    "n/a",
    "na",
    "nan",
    "enabled",
    "disabled",
    "created",
    "updated",
    "deleted",
    "rejected",
    "accepted",
    "granted",
    "revoked",
    "refreshed",
    "optional",
    "string",
    "bool",
    "int",
    "object",
    "array",
    "basic",
    "bearer",
    "digest",
    "oauth",
    "oauth2",
    "ldap",
    "kerberos",
    "ntlm",
    "opened",
    "closed",
    "started",
    "ended",
    "found",
    "verified",
    "unauthorized",
    "forbidden",
    "expected",
    "must",
    "should",
    "cannot",
    "<nil>",
    "[]",
    "{}",
    "()",
    "-",
    "--",
    "...",
    "?",
    "mismatch",
    "too",
    "for",
    "from",
    "with",
    "user",
    "and",
    "or",
    "the",
    "a",
];

/// True for values that are no secret whatever their name: empty ones, states, what was masked before, placeholders.
pub(super) fn is_harmless(value: &[u8]) -> bool {
    let first = at(value, 0);
    let is_state = value.len() <= 16 && STATES.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()));
    let is_mask = || {
        matches!(first, b'*' | b'x' | b'X' | b'.' | b'-' | b'#' | b'_')
            && value.iter().all(|byte| *byte == first)
    };
    let is_bullets = || value.chunks(3).all(|c| c == "•".as_bytes());
    is_state || is_mask() || is_bullets() || is_placeholder(value)
}

/// What stands for a value: what was redacted, `${VARIABLE}`, `{{ template }}`, `%s`.
pub(super) fn is_placeholder(value: &[u8]) -> bool {
    let ends = |start: &str, end: &str| {
        value.len() >= start.len() + end.len()
            && value.starts_with(start.as_bytes())
            && value.ends_with(end.as_bytes())
    };
    let lower = |word: &[u8]| {
        value.get(1..value.len().saturating_sub(1)).is_some_and(|inner| inner.eq_ignore_ascii_case(word))
    };
    ends("<redacted:", ">")
        || ends("${", "}")
        || ends("$(", ")")
        || ends("{{", "}}")
        || matches!(value, b"%s" | b"%v" | b"%d" | b"%q" | b"{}" | b"***")
        || (ends("[", "]") || ends("<", ">") || ends("(", ")") || ends("{", "}"))
            && ["redacted", "filtered", "hidden", "masked", "secret", "removed", "password", "token"]
                .iter()
                .any(|word| lower(word.as_bytes()))
}

/// How a pair was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// The value stood in quotation marks, or the name did.
    pub(super) is_quoted: bool,
    /// `name: value` or a space, as prose has it.
    pub(super) is_prose: bool,
    /// What follows is an ordinary word.
    pub(super) goes_on: bool,
}

/// True when a value under a name with this rule is a secret.
pub(super) fn is_secret(value: &[u8], rule: Rule, manner: Manner) -> bool {
    if value.len() < rule.len_min || is_harmless(value) {
        return false;
    }
    let is_word = value.iter().all(u8::is_ascii_alphabetic);
    let in_prose = manner.is_prose && !manner.is_quoted;
    if in_prose && (is_word && manner.goes_on || value.ends_with(b":")) {
        return false;
    }
    match rule.care {
        Care::None => !in_prose || !is_path(value),
        Care::NoPath => !is_path(value),
        Care::Some => {
            let is_short_number =
                value.len() < 6 && value.iter().all(u8::is_ascii_digit) && rule.kind != super::Kind::Password;
            let is_plain = in_prose && !looks_random(value);
            !is_short_number && !is_plain && !is_resource_name(value) && !is_path(value)
        }
        Care::Random => looks_random(value) && !is_plain_number(value),
        Care::Digits => {
            let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
            let others = value.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b' '));
            others && digits >= rule.len_min && digits <= 12
        }
        Care::Header | Care::Cookie => true,
    }
}

/// A number that counts or names something, not a long random one.
fn is_plain_number(value: &[u8]) -> bool {
    value.len() < 16 && value.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

/// True for what speaks of a file. Base64 may begin so too, but with capitals and digits all over.
fn is_path(value: &[u8]) -> bool {
    let has = |test: fn(&u8) -> bool| value.iter().any(test);
    value.starts_with(b"/") && !(value.len() >= 16 && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit))
}

/// `namespace/name`, as Kubernetes names its objects.
fn is_resource_name(value: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'.' | b'/');
    value.contains(&b'/') && value.iter().all(is_name)
}

/// True for what nobody writes as a word: digits among letters, changing case, signs, or great length.
pub(super) fn looks_random(value: &[u8]) -> bool {
    let count = |test: fn(&u8) -> bool| value.iter().filter(|byte| test(byte)).count();
    let digits = count(u8::is_ascii_digit);
    let (lower, upper) = (count(u8::is_ascii_lowercase), count(u8::is_ascii_uppercase));
    let signs = count(|byte| {
        matches!(byte, b'!' | b'@' | b'#' | b'$' | b'%' | b'^' | b'&' | b'*' | b'+' | b'=' | b'~' | b'?')
    });
    let is_capitalized = upper == 1 && at(value, 0).is_ascii_uppercase();
    let mixes = digits > 0 && lower + upper > 0
        || lower > 0 && upper > 1
        || lower > 0 && upper > 0 && !is_capitalized
        || signs > 0 && digits + lower + upper > 0;
    (value.len() >= 6 && mixes) || value.len() >= 24 || value.len() >= 8 && digits == value.len()
}

/// Where a list of parameters (`name=value, name="value"`) that begins at `start` ends.
pub(super) fn parameters_end(text: &[u8], start: usize) -> usize {
    let mut end = start;
    loop {
        let name = skip_some(text, end, 64, |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
        });
        if name == end {
            return end.max(start);
        }
        end = name;
        if at(text, end) == b'=' {
            end = match quote_at(text, end + 1) {
                Some((quote, inner)) => {
                    let close = content_end(text, inner, quote);
                    (close + quote.slashes + 1).min(text.len())
                }
                None => {
                    skip(text, end + 1, |byte| byte > b' ' && !matches!(byte, b',' | b'"' | b'\'' | b'\\'))
                }
            };
        }
        let comma = skip_some(text, end, 2, |byte| matches!(byte, b',' | b' '));
        if comma == end || !between(text, end, comma).contains(&b',') {
            return end;
        }
        end = comma;
    }
}

/// Where the pairs of a cookie header without quotation marks end.
pub(super) fn cookies_end(text: &[u8], start: usize) -> usize {
    let mut end = start;
    loop {
        end = skip(text, end, |byte| {
            byte > b' ' && !matches!(byte, b';' | b'"' | b'\'' | b'\\' | b'`' | b'}' | b']')
        });
        let next = skip_some(text, end + 1, 2, |byte| byte == b' ');
        let name_end = skip_some(text, next, 64, |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
        });
        if at(text, end) != b';' || name_end == next {
            return end;
        }
        end = next;
        // The date of an Expires has spaces.
        if starts_at(text, next, b"expires=") {
            end = skip(text, next, |byte| byte >= b' ' && !matches!(byte, b';' | b'"' | b'\'' | b'\\'));
        }
    }
}

/// The name that stands before a place, behind separators and quotation marks; empty when there is none.
pub(super) fn name_before(text: &[u8], place: usize) -> &[u8] {
    let end = super::text::back(text, place, 8, |byte| {
        matches!(byte, b' ' | b'"' | b'\'' | b'\\' | b'=' | b':' | b'#' | b'[' | b'(')
    });
    let start = super::text::back(text, end, 48, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
    });
    between(text, after_escape(text, start, end), end)
}
