//! One message taken apart.

use std::borrow::Cow;

use kenning_model::Nanos;

use crate::instant::{Civil, Cursor, rfc3339};

/// Largest priority: facility 23, severity 7.
const PRIORITY_MAX: u8 = 191;

/// Most parameters of structured data that are kept.
const PARAMETERS_MAX: usize = 128;

/// Longest tag of RFC 3164 messages; the RFC says 32, senders do not.
const TAG_BYTES_MAX: usize = 128;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time as far as the message tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    None,
    At(Nanos),
    /// Without a zone.
    Local(Civil),
    /// Without a zone and a year.
    Yearless(Civil),
}

/// A message's parts; absent ones are empty.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub priority: Option<u8>,
    pub stamp: Stamp,
    /// The stamp as it was written; empty when there is none.
    pub stamp_text: &'a str,
    pub host: &'a str,
    pub app: &'a str,
    pub proc_id: &'a str,
    pub msg_id: &'a str,
    pub data: Vec<(String, Cow<'a, str>)>,
    pub line: &'a str,
    /// What is odd about the message, which is then its own line.
    pub oddity: Option<&'static str>,
}

impl<'a> Parsed<'a> {
    fn whole(text: &'a str, priority: Option<u8>, oddity: &'static str) -> Self {
        Self { oddity: Some(oddity), ..Self::plain(text, priority) }
    }

    fn plain(line: &'a str, priority: Option<u8>) -> Self {
        Self {
            priority,
            stamp: Stamp::None,
            stamp_text: "",
            host: "",
            app: "",
            proc_id: "",
            msg_id: "",
            data: Vec::new(),
            line,
            oddity: None,
        }
    }
}

/// Takes a message apart, by RFC 5424 when it has a version, else by RFC 3164.
pub(super) fn parse(text: &str) -> Parsed<'_> {
    let (priority, rest) = match priority(text) {
        Ok(Some(found)) => found,
        Ok(None) => return Parsed::whole(text, None, "no_priority"),
        Err(()) => return Parsed::whole(text, None, "bad_priority"),
    };
    if let Some(rest) = rest.strip_prefix("1 ") {
        return rfc5424(rest, priority).unwrap_or_else(|| Parsed::whole(text, Some(priority), "bad_rfc5424"));
    }
    rfc3164(rest, priority).unwrap_or_else(|| Parsed::whole(text, Some(priority), "no_timestamp"))
}

/// `<0>` to `<191>` and what follows.
fn priority(text: &str) -> Result<Option<(u8, &str)>, ()> {
    let Some(rest) = text.strip_prefix('<') else { return Ok(None) };
    let (digits, rest) = rest.split_once('>').ok_or(())?;
    let is_number = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let number = digits.parse().ok().filter(|number| is_number && *number <= PRIORITY_MAX).ok_or(())?;
    Ok(Some((number, rest)))
}

/// The text up to a blank, with `-` as nothing, and what follows the blank.
fn word(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once(' ')?;
    let word = if word == "-" { "" } else { word };
    Some((word, rest))
}

fn rfc5424(text: &str, priority: u8) -> Option<Parsed<'_>> {
    let (stamp_text, rest) = word(text)?;
    let stamp = if stamp_text.is_empty() { Stamp::None } else { Stamp::At(rfc3339(stamp_text)?) };
    let (host, rest) = word(rest)?;
    let (app, rest) = word(rest)?;
    let (proc_id, rest) = word(rest)?;
    // The RFC has a blank before the structured data and none needs to follow it.
    let (msg_id, rest) = word(rest)?;
    let (data, rest) = structured_data(rest)?;
    let line = match rest.strip_prefix(' ') {
        Some(message) => message.strip_prefix('\u{feff}').unwrap_or(message),
        None if rest.is_empty() => "",
        None => return None,
    };
    Some(Parsed {
        stamp,
        stamp_text,
        host,
        app,
        proc_id,
        msg_id,
        data,
        ..Parsed::plain(line, Some(priority))
    })
}

type Data<'a> = Vec<(String, Cow<'a, str>)>;

/// `-` or `[id name="value" …]…`, and what follows.
fn structured_data(text: &str) -> Option<(Data<'_>, &str)> {
    if let Some(rest) = text.strip_prefix('-') {
        return Some((Data::new(), rest));
    }
    let (mut data, mut rest) = (Data::new(), text.strip_prefix('[')?);
    loop {
        let end = rest.find([' ', ']', '=', '"'])?;
        let (id, after) = rest.split_at_checked(end)?;
        rest = after;
        if id.is_empty() {
            return None;
        }
        while let Some(parameter) = rest.strip_prefix(' ') {
            let (name, value) = parameter.split_once("=\"")?;
            let is_name = !name.is_empty() && !name.contains([' ', ']', '=', '"']);
            let (value, after) = is_name.then(|| quoted(value))??;
            if data.len() < PARAMETERS_MAX {
                data.push((label(id, name), value));
            }
            rest = after;
        }
        rest = rest.strip_prefix(']')?;
        match rest.strip_prefix('[') {
            Some(next) => rest = next,
            None => return Some((data, rest)),
        }
    }
}

/// A value up to its closing quote; `\"`, `\\` and `\]` are escapes, any other backslash is itself.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\', ']'])?;
    let (plain, mut rest) = text.split_at_checked(end)?;
    if let Some(after) = rest.strip_prefix('"') {
        return Some((Cow::Borrowed(plain), after));
    }
    let mut value = plain.to_owned();
    loop {
        let mut chars = rest.chars();
        match chars.next()? {
            '"' => return Some((Cow::Owned(value), chars.as_str())),
            '\\' => {
                let escaped = chars.clone().next()?;
                if matches!(escaped, '"' | '\\' | ']') {
                    chars.next();
                    value.push(escaped);
                } else {
                    value.push('\\');
                }
            }
            c => value.push(c),
        }
        rest = chars.as_str();
    }
}

/// `exampleSDID@32473` and `iut` are `exampleSDID_32473_iut`.
fn label(id: &str, name: &str) -> String {
    let mut label = format!("{id}_{name}").replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    if label.starts_with(|c: char| c.is_ascii_digit()) {
        label.insert(0, '_');
    }
    label
}

fn rfc3164(text: &str, priority: u8) -> Option<Parsed<'_>> {
    let (stamp, len) = old_stamp(text)?;
    let (stamp_text, rest) = text.split_at_checked(len)?;
    let rest = rest.strip_prefix(' ')?;
    let (host, rest) = match rest.split_once(' ') {
        // Without a host the tag stands first: `sshd[1]: …`.
        Some((first, _)) if first.ends_with(':') || first.contains('[') => ("", rest),
        Some((first, rest)) => (first, rest),
        None => ("", rest),
    };
    let (app, proc_id, line) = tag(rest);
    Some(Parsed { stamp, stamp_text, host, app, proc_id, ..Parsed::plain(line, Some(priority)) })
}

/// The program, its process and the message of `program[process]: message`; a text without a tag is all message.
fn tag(text: &str) -> (&str, &str, &str) {
    let none = ("", "", text);
    let Some(end) = text.find([':', '[', ' ']) else { return none };
    let Some((app, rest)) =
        text.split_at_checked(end).filter(|(app, _)| (1..=TAG_BYTES_MAX).contains(&app.len()))
    else {
        return none;
    };
    if let Some(after) = rest.strip_prefix(':') {
        return (app, "", after.strip_prefix(' ').unwrap_or(after));
    }
    let process = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match process {
        Some((process, after)) if !process.contains(' ') => {
            let after = after.strip_prefix(':').unwrap_or(after);
            (app, process, after.strip_prefix(' ').unwrap_or(after))
        }
        _ => none,
    }
}

/// A stamp at the front and its length: RFC 3339, or `Nov 21 13:14:15` with an optional year before or after the time of
/// day and an optional fraction.
fn old_stamp(text: &str) -> Option<(Stamp, usize)> {
    if let Some(word) = text.split(' ').next().filter(|word| word.len() >= 19 && word.contains('T')) {
        if let Some(time) = rfc3339(word) {
            return Some((Stamp::At(time), word.len()));
        }
        let mut cursor = Cursor(word.as_bytes());
        let civil = cursor.date_time().filter(|_| cursor.0.is_empty())?;
        return Some((Stamp::Local(civil), word.len()));
    }
    let (name, _) = text.split_at_checked(3)?;
    let month = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
    let mut cursor = Cursor(text.as_bytes().get(3..)?);
    cursor.eat(b' ')?;
    let day = if cursor.eat(b' ').is_some() { cursor.digits(1)? } else { one_or_two(&mut cursor)? };
    cursor.eat(b' ')?;
    let year = year(&mut cursor);
    let (hour, minute, second, nanos) = cursor.time_of_day()?;
    let len = text.len() - cursor.0.len();
    let civil = Civil { year: 0, month: month as i64 + 1, day, hour, minute, second, nanos };
    let stamp = match year {
        Some(year) => Stamp::Local(Civil { year, ..civil }),
        None => Stamp::Yearless(civil),
    };
    Some((stamp, len))
}

fn one_or_two(cursor: &mut Cursor<'_>) -> Option<i64> {
    let digits = if cursor.0.get(1).is_some_and(u8::is_ascii_digit) { 2 } else { 1 };
    cursor.digits(digits)
}

/// Four digits and a blank; nothing is passed when it is not there.
fn year(cursor: &mut Cursor<'_>) -> Option<i64> {
    let mut ahead = Cursor(cursor.0);
    let year = ahead.digits(4)?;
    ahead.eat(b' ')?;
    cursor.0 = ahead.0;
    Some(year)
}
