//! Names with their values, in whatever way people write the two beside each other.
//!
//! `name=value`, `name: value`, JSON and JSON inside of JSON, URL queries and forms, headers, XML elements, command-line
//! flags, maps as Go, Ruby, Python and Java print them, `{"name": "DB_PASSWORD", "value": "..."}`, SQL.

use super::Finding;
use super::Kind;
use super::key::{Care, KnownNames, NAME_LEN_MAX, Rule};
use super::text::{after_escape, at, back, before, between, from, skip, skip_some, starts_at};
use super::value::{
    Manner, Place, Quote, Strings, bare_end, content_end, cookies_end, is_harmless, is_placeholder,
    is_secret, looks_random, parameters_end, quote_at,
};

/// Most texts of a list under one name.
const LIST_LEN_MAX: usize = 256;
/// Longest list without quotation marks, in bytes.
const GO_LIST_LEN_MAX: usize = 4096;

/// A name of a secret.
#[derive(Clone, Copy, Debug)]
struct Name {
    start: usize,
    end: usize,
    rule: Rule,
}

/// How a name and its value are joined.
#[derive(Clone, Copy, Debug)]
struct Joint {
    /// Where the value begins.
    value: usize,
    /// The quotation mark that closed the name.
    quote: Option<Quote>,
    is_prose: bool,
    is_xml: bool,
    is_encoded: bool,
    /// Nothing but a space: only a value that shows what it is counts.
    is_loose: bool,
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Looks at the name around a literal of a name; adds the secrets under it. Gives where it stopped reading if something
/// was found.
pub(super) fn look(
    text: &[u8],
    stem: usize,
    len: usize,
    (own, known): (&[(Box<str>, Rule)], &mut KnownNames),
    strings: &mut Strings,
    found: &mut Vec<Finding>,
) -> Option<usize> {
    let end = skip_some(text, stem + len, NAME_LEN_MAX, is_name);
    // `password.` ends a sentence, `password-` a cut-off word.
    let end = end
        - between(text, stem + len, end).iter().rev().take_while(|byte| matches!(byte, b'.' | b'-')).count();
    let start = back(text, stem, NAME_LEN_MAX, is_name);
    let start = after_escape(text, start, stem);
    // What was put in place of a secret earlier is no name.
    (!text.get(..start)?.ends_with(b"<redacted:")).then_some(())?;
    let rule = known.rule_of(between(text, start, end), own)?;
    let name = Name { start, end, rule };
    let mut joint = joint_of(text, name)?;
    strings.read_to(text, start);
    // A text is put in place of a bare value only where texts have quotation marks: the name is one.
    joint.quote = joint.quote.filter(|quote| strings.closes(*quote) || quote.mark != b'"');
    let mut strings = *strings;
    strings.read_to(text, joint.value);
    Values { text, name, joint, strings, found }.look()
}

/// What stands between the name and its value.
fn joint_of(text: &[u8], name: Name) -> Option<Joint> {
    let mut place = name.end;
    // Forms: user[password]=x, user%5Bpassword%5D=x.
    place += usize::from(at(text, place) == b']' && matches!(at(text, place + 1), b'=' | b'['));
    place += if starts_at(text, place, b"%5d") { 3 } else { 0 };
    let quote = quote_at(text, place);
    let after = quote.map_or(place, |(_, after)| after);
    let spaced = skip_some(text, after, 8, |byte| matches!(byte, b' ' | b'\t'));
    // Prose speaks of a password, not of an smtp_password.
    let is_plain_word = between(text, name.start, name.end).iter().all(u8::is_ascii_alphabetic);
    let joint = |value: usize, is_prose: bool| Joint {
        value: skip_some(text, value, 8, |byte| matches!(byte, b' ' | b'\t')),
        quote: quote.map(|(quote, _)| quote),
        is_prose: is_prose && is_plain_word,
        is_xml: false,
        is_encoded: false,
        is_loose: false,
    };
    let rest = from(text, spaced);
    let value = |len: usize| spaced + len;
    if rest.starts_with(b"=>")
        || rest.starts_with(b":=")
        || rest.starts_with(b"==")
        || rest.starts_with(b"->")
    {
        return Some(joint(value(2), false));
    }
    if at(rest, 0) == b'=' {
        return Some(joint(value(1), false));
    }
    if at(rest, 0) == b':' && at(rest, 1) != b':' {
        return Some(joint(value(1), quote.is_none() && at(rest, 1) == b' '));
    }
    if starts_at(text, spaced, b"%3d") || starts_at(text, spaced, b"%3a") {
        return Some(Joint { is_encoded: true, ..joint(value(3), false) });
    }
    if starts_at(text, spaced, b"\\u003d") {
        return Some(joint(value(6), false));
    }
    if starts_at(text, after, b">") && opens_element(text, name.start) {
        return Some(Joint { is_xml: true, value: after + 1, ..joint(after + 1, false) });
    }
    if starts_at(text, after, b"\\u003e")
        && text.get(..name.start).is_some_and(|head| head.ends_with(b"\\u003c"))
    {
        return Some(Joint { is_xml: true, value: after + 6, ..joint(after + 6, false) });
    }
    if quote.is_some() && at(rest, 0) == b',' {
        return value_field(text, spaced + 1).map(|at| joint(at, false));
    }
    loose_joint(text, name, spaced).map(|value| Joint { is_loose: true, ..joint(value, true) })
}

/// True when the name stands in `<name>` or `<space:name>`.
fn opens_element(text: &[u8], start: usize) -> bool {
    let prefix = back(text, start, 32, |byte| byte.is_ascii_alphanumeric() || byte == b':');
    before(text, prefix) == b'<'
}

/// After `"name": "DB_PASSWORD",`: the place of the value in `"value": ...`, or in `("Authorization", "...")`.
fn value_field(text: &[u8], place: usize) -> Option<usize> {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let place = skip_some(text, place, 64, is_space);
    let (quote, inner) = quote_at(text, place)?;
    let end = content_end(text, inner, quote);
    let after = skip_some(text, end + quote.slashes + 1, 8, is_space);
    if at(text, after) == b':' {
        let word = between(text, inner, end);
        let is_value = [b"value".as_slice(), b"val", b"defaultValue", b"stringValue"]
            .iter()
            .any(|one| word.eq_ignore_ascii_case(one));
        return is_value.then(|| skip_some(text, after + 1, 8, is_space));
    }
    matches!(at(text, after), b')' | b']').then_some(place)
}

/// A value with nothing but a space before it: of a flag, in quotation marks, or behind `is`.
fn loose_joint(text: &[u8], name: Name, spaced: usize) -> Option<usize> {
    if spaced == name.end || at(text, spaced) == 0 {
        return None;
    }
    if before(text, name.start) == b'-' || at(text, name.start) == b'-' {
        return (at(text, spaced) != b'-').then_some(spaced);
    }
    for word in [b"is: ".as_slice(), b"is ", b"was ", b"of ", b"set to ", b"changed to ", b"by "] {
        if starts_at(text, spaced, word) {
            return Some(spaced + word.len());
        }
    }
    Some(spaced)
}

/// Adds what is secret of a value.
struct Values<'a> {
    text: &'a [u8],
    name: Name,
    joint: Joint,
    /// The strings that the value stands in.
    strings: Strings,
    found: &'a mut Vec<Finding>,
}

impl Values<'_> {
    fn look(&mut self) -> Option<usize> {
        let (text, place) = (self.text, self.joint.value);
        let first = at(text, place);
        if first == b'{' && at(text, place + 1) != b'{' || first == 0 {
            return None;
        }
        if first == b'[' && !self.joint.is_loose {
            return self.list();
        }
        // Python's b'...' and u'...'.
        let is_prefixed = matches!(first, b'b' | b'u' | b'r') && matches!(at(text, place + 1), b'\'' | b'"');
        let place = place + usize::from(is_prefixed);
        let Some((quote, inner)) = quote_at(text, place) else {
            self.joint.value = place;
            return self.bare();
        };
        (!self.is_closing(quote, inner)).then_some(())?;
        let end = content_end(text, inner, quote);
        let is_phrase = self.joint.is_loose && between(text, inner, end).contains(&b' ');
        (!is_phrase).then_some(())?;
        let manner = Manner { is_quoted: true, is_prose: self.joint.is_prose, goes_on: false };
        self.add(inner, end, manner, None)
    }

    /// True when a quotation mark in place of a value ends the string that the name stands in. Prose may have a mark
    /// too many, so what looks like `name="value"` there is a pair all the same.
    fn is_closing(&self, quote: Quote, inner: usize) -> bool {
        let is_json = matches!(self.text.trim_ascii_start().first(), Some(b'{' | b'['));
        let begins = before(self.text, self.joint.value) == b'=' && at(self.text, inner) > b' ';
        self.strings.closes(quote) && (is_json || quote.slashes > 0 || !begins)
    }

    fn bare(&mut self) -> Option<usize> {
        let (text, name, joint) = (self.text, self.name, self.joint);
        let start = joint.value;
        let is_json = joint.quote.is_some_and(|quote| quote.mark == b'"');
        let head = text.get(..name.start).unwrap_or_default();
        let place = Place {
            is_json,
            is_query: [b"?".as_slice(), b"&", b"\\u0026", b"&amp;"].iter().any(|end| head.ends_with(end)),
            is_encoded: joint.is_encoded,
        };
        let end = match (joint.is_xml, name.rule.care) {
            (true, _) => skip(text, start, |byte| byte != b'<' && byte != b'\\'),
            (false, Care::Header) => header_end(text, start, place),
            (false, Care::Cookie) if !is_json => cookies_end(text, start),
            _ => bare_end(text, start, place),
        };
        (end > start).then_some(())?;
        let value = between(text, start, end);
        let manner = Manner {
            is_quoted: joint.is_xml || is_json,
            is_prose: joint.is_prose,
            goes_on: at(text, end) == b' '
                && at(text, end + 1).is_ascii_alphabetic()
                && !is_pair(text, end + 1),
        };
        let shows = looks_random(value) && value.len() >= 6 && !is_pair(text, start) || is_flag(text, name);
        if joint.is_loose && !shows {
            return None;
        }
        // A bare value of JSON is replaced by a text.
        self.add(start, end, manner, joint.quote.filter(|_| is_json))
    }

    /// The texts of a list, or all of a list as Go prints it.
    fn list(&mut self) -> Option<usize> {
        let text = self.text;
        let is_filler = |byte: u8| matches!(byte, b' ' | b',' | b'\t' | b'\n' | b'\r');
        let mut place = skip_some(text, self.joint.value + 1, GO_LIST_LEN_MAX, is_filler);
        let manner = Manner { is_quoted: true, is_prose: false, goes_on: false };
        if quote_at(text, place).is_none() {
            let rest = from(text, place);
            let len = memchr::memchr2(b']', b'"', rest.get(..GO_LIST_LEN_MAX).unwrap_or(rest))?;
            let is_numbers = rest.iter().take(len).all(|byte| byte.is_ascii_digit() || is_filler(*byte));
            // Numbers of JSON would need quotation marks of their own; lists of numbers are no secrets.
            return if is_numbers { None } else { self.add(place, place + len, manner, None) };
        }
        let mut last = None;
        for _ in 0..LIST_LEN_MAX {
            let Some((quote, inner)) =
                quote_at(text, place).filter(|(quote, _)| !self.strings.closes(*quote))
            else {
                break;
            };
            let end = content_end(text, inner, quote);
            last = self.add(inner, end, manner, None).or(last);
            place = skip_some(text, end + quote.slashes + 1, GO_LIST_LEN_MAX, is_filler);
        }
        last
    }

    /// Adds a value if it is a secret.
    fn add(&mut self, mut start: usize, end: usize, manner: Manner, wrap: Option<Quote>) -> Option<usize> {
        let (text, rule) = (self.text, self.name.rule);
        let end = self.strings.clip(text, start, end);
        if rule.care == Care::Header {
            start = behind_scheme(text, start, end, manner)?;
        }
        is_secret(between(text, start, end), rule, manner).then_some(())?;
        self.found.push(Finding { start, end, kind: rule.kind.into(), wrap });
        Some(end)
    }
}

fn is_flag(text: &[u8], name: Name) -> bool {
    at(text, name.start) == b'-' && matches!(before(text, name.start), 0 | b' ' | b'\'' | b'"')
}

/// True when another pair begins at a place.
fn is_pair(text: &[u8], place: usize) -> bool {
    matches!(at(text, skip_some(text, place, 64, is_name)), b'=' | b':')
}

/// Where an authorization header's value without quotation marks ends.
fn header_end(text: &[u8], start: usize, place: Place) -> usize {
    let word = bare_end(text, start, place);
    let next = skip_some(text, word, 2, |byte| byte == b' ');
    match scheme_of(between(text, start, word)) {
        None => word,
        Some(Scheme::Parameters) => parameters_end(text, next).max(word),
        Some(Scheme::Token) if next == word => word,
        Some(Scheme::Token) => bare_end(text, next, place),
    }
}

enum Scheme {
    Token,
    Parameters,
}

/// Definition: IANA's registry of HTTP authentication schemes, and those that are common beside it.
fn scheme_of(word: &[u8]) -> Option<Scheme> {
    let is_one_of = |words: &[&str]| words.iter().any(|one| word.eq_ignore_ascii_case(one.as_bytes()));
    if is_one_of(&[
        "bearer",
        "basic",
        "token",
        "apikey",
        "api-key",
        "negotiate",
        "ntlm",
        "key",
        "ssws",
        "splunk",
        "bot",
        "jwt",
        "dpop",
        "gnap",
        "privatetoken",
        "concealed",
        "aws",
        "sharedkey",
        "client",
    ]) {
        return Some(Scheme::Token);
    }
    let parameters = is_one_of(&[
        "digest",
        "oauth",
        "hawk",
        "hoba",
        "mutual",
        "scram-sha-1",
        "scram-sha-256",
        "vapid",
        "aws4-hmac-sha256",
        "aws4-ecdsa-p256-sha256",
        "signature",
        "hmac",
        "goog4-rsa-sha256",
    ]);
    parameters.then_some(Scheme::Parameters)
}

/// Where the credentials of a header begin: the scheme may stay.
fn behind_scheme(text: &[u8], start: usize, end: usize, manner: Manner) -> Option<usize> {
    let word = skip_some(text, start, end - start, |byte| byte > b' ');
    let next = skip_some(text, word, 2, |byte| byte == b' ').min(end);
    let value = between(text, next, end);
    if scheme_of(between(text, start, word)).is_some() {
        return (next > word && !value.is_empty() && !is_harmless(value)).then_some(next);
    }
    // `auth: failed for user` and `auth=password` are no headers.
    let whole = between(text, start, end);
    let is_prose = manner.is_prose && !manner.is_quoted || whole.contains(&b' ');
    let is_named = whole.len() < 12
        && whole.iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_'));
    let is_secret = looks_random(whole) || !is_prose && !is_named;
    (is_secret && !is_placeholder(whole)).then_some(start)
}

/// The credentials behind a `Bearer ` that stands alone.
pub(super) fn bearer_at(text: &[u8], place: usize) -> Option<Finding> {
    let start = skip_some(text, place, 2, |byte| byte == b' ');
    let is_token = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
    };
    let end = skip(text, start, is_token);
    let end = end - between(text, start, end).iter().rev().take_while(|byte| **byte == b'.').count();
    let value = between(text, start, end);
    let is_secret = value.len() >= 8 && looks_random(value) && !is_harmless(value);
    is_secret.then_some(Finding { start, end, kind: Kind::Authorization.into(), wrap: None })
}

/// The credentials behind a `Basic ` that stands alone: base64 of `user:password`.
pub(super) fn basic_at(text: &[u8], place: usize) -> Option<Finding> {
    let start = skip_some(text, place, 2, |byte| byte == b' ');
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let end = skip(text, start, is_base64);
    let has_colon = || decoded(between(text, start, end.min(start + 256))).contains(&b':');
    let is_secret = end - start >= 6 && has_colon();
    let end = skip_some(text, end, 2, |byte| byte == b'=');
    is_secret.then_some(Finding { start, end, kind: Kind::Authorization.into(), wrap: None })
}

/// Base64 decoded; empty unless all of it is printable.
fn decoded(text: &[u8]) -> Vec<u8> {
    let (mut out, mut bits, mut count) = (Vec::with_capacity(text.len()), 0u32, 0);
    for byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            _ => 63,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    if out.iter().all(|byte| *byte >= b' ' && *byte != 0x7f) { out } else { Vec::new() }
}

/// The password in SQL's `IDENTIFIED BY '...'`.
pub(super) fn identified_by(text: &[u8], place: usize) -> Option<Finding> {
    let mut start = skip_some(text, place, 8, |byte| byte == b' ');
    for word in [b"password ".as_slice(), b"values "] {
        start += if starts_at(text, start, word) { word.len() } else { 0 };
    }
    let (quote, inner) = quote_at(text, start)?;
    let end = content_end(text, inner, quote);
    let is_secret = end > inner && !is_placeholder(between(text, inner, end));
    is_secret.then_some(Finding { start: inner, end, kind: Kind::Password.into(), wrap: None })
}

/// The password in `curl -u user:password`, and in the flags of other clients that are written so.
pub(super) fn user_flag(text: &[u8], place: usize) -> Option<Finding> {
    let start = skip_some(text, place, 2, |byte| matches!(byte, b' ' | b'='));
    let (start, end) = match quote_at(text, start) {
        Some((quote, inner)) => (inner, content_end(text, inner, quote)),
        None => (start, skip(text, start, |byte| byte > b' ' && !matches!(byte, b'"' | b'\'' | b'\\'))),
    };
    let value = between(text, start, end);
    let colon = memchr::memchr(b':', value).filter(|colon| *colon > 0)?;
    let (start, secret) = (start + colon + 1, value.get(colon + 1..)?);
    // `-u 1000:1000` is a user and a group of a container.
    let is_number = secret.iter().all(u8::is_ascii_digit);
    let is_secret = !secret.is_empty() && !is_number && !is_harmless(secret) && !secret.contains(&b'/');
    is_secret.then_some(Finding { start, end, kind: Kind::Password.into(), wrap: None })
}

/// All of a private key block, or what is there of it. Says too whether its end is missing.
pub(super) fn key_block(text: &[u8], begin: usize) -> Option<(Finding, bool)> {
    let start = begin;
    let head = from(text, start);
    let line = head
        .iter()
        .take(80)
        .position(|byte| matches!(byte, b'\n' | b'\r' | b'\\'))
        .unwrap_or(head.len().min(80));
    let is_private = |line: &[u8]| {
        memchr::memmem::find(line, b"PRIVATE KEY").is_some()
            || memchr::memmem::find(line, b"ENCRYPTED KEY").is_some()
    };
    is_private(head.get(..line)?).then_some(())?;
    // A block has no quotation marks, so it ends with the string that holds it at the latest.
    let quote = head.iter().position(|byte| matches!(byte, b'"' | b'\'' | b'`' | b'<'));
    let stop = quote.map_or(head.len(), |found| back(head, found, 8, |byte| byte == b'\\'));
    let block = head.get(..stop).unwrap_or_default();
    let tail = memchr::memmem::find(block, b"-----END").or_else(|| memchr::memmem::find(block, b"---- END"));
    let end = tail.map(|tail| {
        let is_label = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ';
        start + skip_some(block, skip_some(block, tail + 8, 80, is_label), 5, |byte| byte == b'-')
    });
    let is_open = end.is_none();
    let finding =
        Finding { start, end: end.unwrap_or(start + stop), kind: Kind::PrivateKey.into(), wrap: None };
    Some((finding, is_open))
}
