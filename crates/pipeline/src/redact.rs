//! Takes secrets and personal data out of telemetry before it is stored.
//!
//! ```text
//! text ─▶ filter (one look at each byte) ─▶ names with values, known tokens, blocks ┐
//!      ─▶ '@'                            ─▶ addresses, passwords in URLs            ├─▶ merged ─▶ <redacted:kind>
//!      ─▶ every twelfth byte             ─▶ payment cards, bank accounts            ┘
//! ```
//!
//! What is found is replaced by `<redacted:kind>`, within the quotation marks it stood in: lines of JSON stay JSON and
//! lines of logfmt stay logfmt. Redacting twice changes nothing. Time and memory are linear in the text: names, tokens
//! and addresses have a longest length, and what was found is not looked at again.
//!
//! Promises: never panics; leaves a text alone, without a copy, when nothing is found; hex ids, UUIDs, hashes and plain
//! numbers stay unless their name says that they are secrets. [`docs/redaction.md`](../../../docs/redaction.md) says how
//! much of a corpus with planted secrets it finds. Lacking: secrets without a name or a known form; values cut into
//! several records, but for private key blocks of one batch; labels of streams and series, which are identities.

mod batch;
mod filter;
mod json;
mod key;
mod kind;
mod options;
mod pairs;
mod personal;
mod processor;
#[cfg(test)]
mod tests;
mod text;
mod value;
mod vendor;

use std::fmt;

use regex::RegexSet;

pub use kind::Kind;
pub use options::{Mistake, OwnPattern, RedactOptions};
pub use processor::{Redaction, Scope};

use filter::{Filter, Trigger};
use key::{Care, KnownNames, Rule};
use options::OwnRegex;
use value::{Manner, Quote, Strings};

/// Shorter texts hold nothing that is looked for, but for the settings' own patterns: words are told by four bytes.
const FOUND_LEN_MIN: usize = 4;

/// Most times that a text with secrets is gone over again.
const ROUNDS_MAX: usize = 8;

/// The number of a kind: those of [`Kind::ALL`] first, then those of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KindNumber(u16);

impl From<Kind> for KindNumber {
    fn from(kind: Kind) -> Self {
        Self(kind as u16)
    }
}

/// A secret in a text.
#[derive(Clone, Copy, Debug)]
struct Finding {
    start: usize,
    end: usize,
    kind: KindNumber,
    /// Quotation marks that the replacement needs.
    wrap: Option<Quote>,
}

/// What to do where a literal stands.
#[derive(Clone, Copy, Debug)]
enum Action {
    Name,
    Token(u16),
    Jwt,
    Bearer,
    Basic,
    KeyBlock,
    IdentifiedBy,
    UserFlag,
    EncodedAt(u8),
    Telegram,
}

/// How often each kind was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(Vec<u64>);

impl Tally {
    /// All kinds together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    fn add(&mut self, kind: KindNumber) {
        let place = usize::from(kind.0);
        if self.0.len() <= place {
            self.0.resize(place + 1, 0);
        }
        if let Some(count) = self.0.get_mut(place) {
            *count += 1;
        }
    }
}

/// Everything that is looked for, ready for use; shared by all who redact.
pub struct Redactor {
    filter: Filter<Action>,
    is_on: Vec<bool>,
    /// By number of kind.
    words: Vec<String>,
    replacements: Vec<String>,
    own_names: Vec<(Box<str>, Rule)>,
    own: Vec<OwnRegex>,
    own_set: RegexSet,
    allow: RegexSet,
    /// What label sets bear in which this redactor found nothing.
    clean_mark: u64,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("kinds", &self.words).finish_non_exhaustive()
    }
}

/// Memory that is used again from text to text.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    found: Vec<Finding>,
    /// The last text had a private key block without its end.
    is_block_open: bool,
    known: KnownNames,
    /// The same of names of attributes, which are read otherwise.
    attributes: KnownNames,
}

impl Redactor {
    /// Makes a redactor; every mistake in the options otherwise.
    pub fn new(options: &RedactOptions) -> Result<Self, Vec<Mistake>> {
        let compiled = options.compile()?;
        let mut is_on: Vec<bool> = Kind::ALL.iter().map(|kind| options.kinds.contains(kind)).collect();
        let mut words: Vec<String> = Kind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
        let mut replacements: Vec<String> = words.iter().map(|word| format!("<redacted:{word}>")).collect();
        for pattern in &options.patterns {
            is_on.push(true);
            words.push(pattern.name.clone());
            replacements.push(pattern.replacement.clone());
        }
        let own_names = options.keys.iter().map(|name| key::flat(name));
        let own_names =
            own_names.map(|name| (name.into(), Rule { kind: Kind::Secret, care: Care::None, len_min: 1 }));
        Ok(Self {
            filter: Filter::new(triggers(&options.keys)),
            is_on,
            words,
            replacements,
            own_names: own_names.collect(),
            own: compiled.own,
            own_set: compiled.own_set,
            allow: compiled.allow,
            clean_mark: kenning_model::fresh_mark(),
        })
    }

    /// The text without its secrets; `None` when it has none.
    #[must_use]
    pub fn redact(&self, text: &str, scratch: &mut Scratch, tally: &mut Tally) -> Option<String> {
        if text.len() < FOUND_LEN_MIN && self.own.is_empty() {
            scratch.is_block_open = false;
            return None;
        }
        self.find(text, scratch);
        let mut out = self.replace(text, scratch, tally)?;
        let is_block_open = scratch.is_block_open;
        // What was taken out may have hidden what stands beside it. Each round leaves less to find.
        for _ in 0..ROUNDS_MAX {
            self.find(&out, scratch);
            match self.replace(&out, scratch, tally) {
                Some(next) => out = next,
                None => break,
            }
        }
        scratch.is_block_open = is_block_open;
        Some(out)
    }

    /// As [`Self::redact`], for the value of an attribute: its name may say that all of it is a secret.
    #[must_use]
    pub fn redact_named(
        &self,
        name: &str,
        value: &str,
        scratch: &mut Scratch,
        tally: &mut Tally,
    ) -> Option<String> {
        let rule = scratch.attributes.or_read(name.as_bytes(), &self.own_names, || self.rule_of(name));
        match rule {
            Some(rule) => self.redact_ruled(rule, value, scratch, tally),
            None => self.redact(value, scratch, tally),
        }
    }

    fn redact_ruled(
        &self,
        rule: Rule,
        value: &str,
        scratch: &mut Scratch,
        tally: &mut Tally,
    ) -> Option<String> {
        let manner = Manner { is_quoted: true, is_prose: false, goes_on: false };
        let number = KindNumber::from(rule.kind);
        if self.is_on(number) && !self.is_allowed(value) && value::is_secret(value.as_bytes(), rule, manner) {
            tally.add(number);
            return self.replacement(number).map(str::to_owned);
        }
        self.redact(value, scratch, tally)
    }

    /// What a name says of its value.
    fn rule_of(&self, name: &str) -> Option<Rule> {
        let mut is_near = false;
        self.filter.find(name.as_bytes(), |_, _, action| is_near |= matches!(action, Action::Name));
        // Literals of three bytes are found before a byte that follows only.
        let is_short = || {
            name.len() >= 3 && name.is_char_boundary(name.len() - 3) && {
                let last = name.get(name.len() - 3..).unwrap_or_default();
                key::STEMS.iter().any(|(stem, _)| stem.eq_ignore_ascii_case(last))
            }
        };
        (is_near || is_short()).then(|| key::rule_of(name.as_bytes(), &self.own_names)).flatten()
    }

    /// The words for what was counted.
    pub fn counts<'a>(&'a self, tally: &'a Tally) -> impl Iterator<Item = (&'a str, u64)> {
        let counted = self.words.iter().map(String::as_str).zip(tally.0.iter().copied());
        counted.filter(|(_, count)| *count > 0)
    }

    fn is_on(&self, kind: KindNumber) -> bool {
        self.is_on.get(usize::from(kind.0)).copied().unwrap_or(false)
    }

    fn replacement(&self, kind: KindNumber) -> Option<&str> {
        self.replacements.get(usize::from(kind.0)).map(String::as_str)
    }

    fn is_allowed(&self, found: &str) -> bool {
        !self.allow.is_empty() && self.allow.is_match(found)
    }

    /// Collects what is found, in no order.
    fn find(&self, whole: &str, scratch: &mut Scratch) {
        let text = whole.as_bytes();
        scratch.found.clear();
        scratch.is_block_open = false;
        // What was found under a name is not looked at for further names.
        let mut behind = 0;
        let mut strings = Strings::default();
        self.filter.find(text, |start, len, action| {
            let is_new = start + len > behind;
            let end = is_new.then(|| self.look(text, (start, len), action, &mut strings, scratch));
            behind = behind.max(end.flatten().unwrap_or(0));
        });
        let found = &mut scratch.found;
        if self.is_on(Kind::Email.into()) || self.is_on(Kind::UrlPassword.into()) {
            let mut signs = memchr::memchr_iter(b'@', text).peekable();
            let has_url = signs.peek().is_some() && (whole.contains("://") || whole.contains(":\\/\\/"));
            signs.for_each(|place| look_at_sign(text, place, 1, has_url, found));
        }
        if self.is_on(Kind::CreditCard.into()) || self.is_on(Kind::Iban.into()) {
            personal::numbers(text, |start, end, kind| push(found, Some((start, end)), kind));
        }
        self.find_own(whole, found);
    }

    fn look(
        &self,
        text: &[u8],
        (start, len): (usize, usize),
        action: Action,
        strings: &mut Strings,
        scratch: &mut Scratch,
    ) -> Option<usize> {
        let Scratch { found, is_block_open, known, .. } = scratch;
        let one = match action {
            Action::Name => {
                return pairs::look(text, start, len, (self.own_names.as_slice(), known), strings, found);
            }
            Action::Token(number) => {
                let form = vendor::FORMS.get(usize::from(number))?;
                let (start, end) = vendor::token_at(text, start, form)?;
                if form.kind == Kind::AwsKey {
                    push(found, vendor::aws_secret_after(text, end), Kind::AwsKey);
                }
                Finding { start, end, kind: form.kind.into(), wrap: None }
            }
            Action::Jwt => {
                let (start, end) = vendor::jwt_at(text, start)?;
                Finding { start, end, kind: Kind::Jwt.into(), wrap: None }
            }
            Action::Telegram => {
                let (start, end) = vendor::telegram_at(text, start)?;
                Finding { start, end, kind: Kind::VendorToken.into(), wrap: None }
            }
            Action::Bearer => pairs::bearer_at(text, start + len)?,
            Action::Basic => pairs::basic_at(text, start + len)?,
            Action::IdentifiedBy => pairs::identified_by(text, start + len)?,
            Action::UserFlag => pairs::user_flag(text, start + len)?,
            Action::KeyBlock => {
                let (finding, is_open) = pairs::key_block(text, start)?;
                *is_block_open |= is_open;
                finding
            }
            Action::EncodedAt(len) => {
                look_at_sign(text, start, usize::from(len), false, found);
                return None;
            }
        };
        found.push(one);
        Some(one.end)
    }

    fn find_own(&self, text: &str, found: &mut Vec<Finding>) {
        if self.own.is_empty() {
            return;
        }
        for number in self.own_set.matches(text) {
            let Some(own) = self.own.get(number) else { continue };
            for captures in own.regex.captures_iter(text) {
                let part = captures.get(1).or_else(|| captures.get(0)).filter(|part| !part.is_empty());
                found.extend(part.map(|part| Finding {
                    start: part.start(),
                    end: part.end(),
                    kind: own.kind,
                    wrap: None,
                }));
            }
        }
    }

    /// Puts replacements in place of what was found.
    fn replace(&self, text: &str, scratch: &mut Scratch, tally: &mut Tally) -> Option<String> {
        let found = &mut scratch.found;
        found.retain(|one| {
            let part = text.get(one.start..one.end);
            one.end > one.start && self.is_on(one.kind) && part.is_some_and(|part| !self.is_allowed(part))
        });
        json::keep_within_tokens(text, found);
        around_placeholders(text, found);
        if found.is_empty() {
            return None;
        }
        found.sort_by_key(|one| (one.start, std::cmp::Reverse(one.end)));
        // Overlapping ones become one, or the rest of the second would stay.
        found.dedup_by(|next, kept| {
            let overlaps = next.start < kept.end;
            if overlaps {
                kept.end = kept.end.max(next.end);
            }
            overlaps
        });
        let mut out = String::with_capacity(text.len());
        let (mut done, mut changed) = (0, false);
        for one in found.iter() {
            let replacement = self.replacement(one.kind).unwrap_or_default();
            changed |= text.get(one.start..one.end) != Some(replacement);
            out.push_str(text.get(done..one.start).unwrap_or_default());
            let quote = one.wrap.map_or(String::new(), |quote| "\\".repeat(quote.slashes) + "\"");
            out.extend([&quote, replacement, &quote]);
            tally.add(one.kind);
            done = one.end;
        }
        out.push_str(text.get(done..).unwrap_or_default());
        changed.then_some(out)
    }
}

/// Cuts what was redacted before out of what is found, so that redacting twice changes nothing.
fn around_placeholders(text: &str, found: &mut Vec<Finding>) {
    const OPEN: &str = "<redacted:";
    let part = |one: &Finding| text.get(one.start..one.end).unwrap_or_default();
    for place in 0..found.len() {
        let Some(whole) = found.get_mut(place).filter(|one| part(one).contains(OPEN)) else { continue };
        let (mut rest, end, kind) = (whole.start, whole.end, whole.kind);
        whole.end = whole.start;
        while rest < end {
            let tail = text.get(rest..end).unwrap_or_default();
            let open = tail.find(OPEN).unwrap_or(tail.len());
            let close =
                tail.get(open..).and_then(|tail| tail.find('>')).map_or(tail.len(), |len| open + len + 1);
            if tail.get(..open).is_some_and(|piece| piece.contains(char::is_alphanumeric)) {
                found.push(Finding { start: rest, end: rest + open, kind, wrap: None });
            }
            rest += close.max(1);
        }
    }
    found.retain(|one| one.end > one.start);
}

fn push(found: &mut Vec<Finding>, range: Option<(usize, usize)>, kind: Kind) {
    found.extend(range.map(|(start, end)| Finding { start, end, kind: kind.into(), wrap: None }));
}

fn look_at_sign(text: &[u8], place: usize, len: usize, has_url: bool, found: &mut Vec<Finding>) {
    let password = if len == 1 { personal::url_password_at(text, place, has_url) } else { None };
    push(found, password, Kind::UrlPassword);
    // With its password gone, what is left of user:password@host is no address.
    if password.is_none() {
        push(found, personal::email_at(text, place, len), Kind::Email);
    }
}

fn triggers(own_names: &[String]) -> Vec<Trigger<Action>> {
    let mut all: Vec<_> =
        key::STEMS.iter().map(|(stem, rare)| Trigger::new(stem, *rare, Action::Name)).collect();
    // A part of an own name that is in it however it is written.
    let part = |name: &str| {
        let parts = name.split(|c: char| !c.is_ascii_alphanumeric());
        parts.max_by_key(|part| part.len()).unwrap_or_default().to_owned()
    };
    all.extend(own_names.iter().map(|name| Trigger::new(&part(name), 0, Action::Name)));
    for (number, form) in (0u16..).zip(vendor::FORMS) {
        let rare = form.prefix.len().saturating_sub(4);
        let follows = if form.prefix.len() < 4 { ANY_WORD } else { b"" };
        all.push(Trigger { follows, ..Trigger::new(form.prefix, rare, Action::Token(number)) });
    }
    all.extend(vendor::JWT_STARTS.iter().map(|start| Trigger::new(start, 0, Action::Jwt)));
    all.push(Trigger { follows: ANY_WORD, ..Trigger::new(":AA", 0, Action::Telegram) });
    all.push(Trigger { follows: ANY_WORD, ..Trigger::new("%40", 0, Action::EncodedAt(3)) });
    all.push(Trigger::new("\\u0040", 2, Action::EncodedAt(6)));
    for (literal, rare, action) in [
        ("bearer ", 3, Action::Bearer),
        ("bearer%20", 3, Action::Bearer),
        ("basic ", 2, Action::Basic),
        ("-----begin", 6, Action::KeyBlock),
        ("---- begin", 5, Action::KeyBlock),
        ("identified by", 8, Action::IdentifiedBy),
        ("identified with", 8, Action::IdentifiedBy),
        (" -u ", 0, Action::UserFlag),
        (" --user ", 2, Action::UserFlag),
        (" --user=", 4, Action::UserFlag),
        ("--proxy-user", 8, Action::UserFlag),
    ] {
        all.push(Trigger::new(literal, rare, action));
    }
    all
}

/// What may follow a literal of three bytes that begins a token.
const ANY_WORD: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz-_ ";
