//! Personal data and money: e-mail addresses, passwords in URLs, payment cards, bank accounts.

use super::kind::Kind;
use super::text::{after_escape, at, back, before, between, from, skip_some, starts_at};
use super::value::{is_harmless, looks_random, name_before};

/// Longest local part and domain. Definition: RFC 5321, 4.5.3.1.
const LOCAL_LEN_MAX: usize = 64;
const DOMAIN_LEN_MAX: usize = 253;
/// Furthest back that the begin of a URL is looked for.
const URL_LEN_MAX: usize = 256;

/// Last parts of a "domain" that make it a file, a unit of systemd or a host inside.
const NO_DOMAINS: &[&str] = &[
    "service",
    "socket",
    "timer",
    "mount",
    "target",
    "slice",
    "scope",
    "path",
    "device",
    "swap",
    "automount",
    "png",
    "jpg",
    "jpeg",
    "gif",
    "svg",
    "webp",
    "ico",
    "css",
    "js",
    "mjs",
    "ts",
    "tsx",
    "jsx",
    "json",
    "map",
    "html",
    "htm",
    "txt",
    "log",
    "gz",
    "tgz",
    "zip",
    "tar",
    "yaml",
    "yml",
    "toml",
    "rs",
    "py",
    "go",
    "java",
    "rb",
    "php",
    "sh",
    "so",
    "exe",
    "dll",
    "conf",
    "lock",
    "internal",
    "localdomain",
    "svc",
];

/// The address around the `@` at `place`, which takes `len` bytes (`%40` takes three).
pub(super) fn email_at(text: &[u8], place: usize, len: usize) -> Option<(usize, usize)> {
    let is_local = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b'_' | b'+' | b'-' | b'\'' | 0xc3 | 0xc4 | 0xc5 | 0x80..=0xbf)
    };
    let start = back(text, place, LOCAL_LEN_MAX, is_local);
    let mut start = after_escape(text, start, place);
    start = skip_some(text, start, LOCAL_LEN_MAX, |byte| {
        matches!(byte, b'.' | b'-' | b'\'' | b'+' | 0x80..=0xbf)
    });
    let local = between(text, start, place);
    let domain = place + len;
    let end = domain_end(text, domain)?;
    let is_git = local == b"git" && matches!(at(text, end), b':' | b'/');
    (!local.is_empty() && !is_git).then_some((start, end))
}

fn domain_end(text: &[u8], start: usize) -> Option<usize> {
    let is_domain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let mut end = skip_some(text, start, DOMAIN_LEN_MAX, is_domain);
    while matches!(before(text, end), b'.' | b'-') && end > start {
        end -= 1;
    }
    let domain = between(text, start, end);
    let (last, rest) = domain
        .rsplit(|byte| *byte == b'.')
        .next()
        .map(|last| (last, domain.len().checked_sub(last.len() + 1)))?;
    let is_top = (2..=24).contains(&last.len())
        && (last.iter().all(u8::is_ascii_alphabetic) || last.starts_with(b"xn--"));
    let is_no_domain = NO_DOMAINS.iter().any(|one| last.eq_ignore_ascii_case(one.as_bytes()));
    let labels_hold = rest? > 0
        && domain
            .split(|byte| *byte == b'.')
            .all(|label| !label.is_empty() && label.len() <= 63 && at(label, 0) != b'-');
    (is_top && labels_hold && !is_no_domain).then_some(end)
}

/// The password between a URL's `://user:` and the `@` at `place`, or a data source name's `user:` and `@tcp(`.
pub(super) fn url_password_at(text: &[u8], place: usize, has_url: bool) -> Option<(usize, usize)> {
    let is_source = starts_at(text, place, b"@tcp(") || starts_at(text, place, b"@unix(");
    (has_url || is_source).then_some(())?;
    let is_part = |byte: u8| byte > b' ' && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`' | b'/' | b'\\');
    let user = back(text, place, URL_LEN_MAX, is_part);
    let is_url = between(text, user.saturating_sub(3), user) == b"://"
        || between(text, user.saturating_sub(5), user) == b":\\/\\/";
    (is_url || is_source).then_some(())?;
    let user = match is_url {
        true => user,
        false => {
            user + between(text, user, place)
                .iter()
                .rposition(|byte| matches!(byte, b'=' | b',' | b'('))
                .map_or(0, |found| found + 1)
        }
    };
    let info = between(text, user, place);
    let (start, is_alone) = match memchr::memchr(b':', info) {
        Some(colon) => (user + colon + 1, false),
        None => (user, true),
    };
    let secret = between(text, start, place);
    let is_hash = secret.iter().all(u8::is_ascii_hexdigit);
    let is_secret = match is_alone {
        true => secret.len() >= 16 && !is_hash && looks_random(secret),
        false => {
            !secret.is_empty()
                && (!is_harmless(secret) || matches!(secret, b"password" | b"secret" | b"token" | b"default"))
        }
    };
    is_secret.then_some((start, place))
}

/// Bytes between looks for digits and capitals: shorter than any number looked for.
const STRIDE: usize = 12;

/// Hands `see` every payment card and bank account.
pub(super) fn numbers(text: &[u8], mut see: impl FnMut(usize, usize, Kind)) {
    let mut place = STRIDE;
    while place < text.len() {
        if !is_near_number(text, place) {
            place += STRIDE;
            continue;
        }
        let (start, end) = run_around(text, place);
        if end - start >= STRIDE {
            in_run(text, start, end, &mut see);
        }
        place = place.max(end) + STRIDE;
    }
}

const fn is_digit_or_capital(byte: u8) -> bool {
    byte.is_ascii_digit() || byte.is_ascii_uppercase()
}

const fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'+')
}

fn is_near_number(text: &[u8], place: usize) -> bool {
    let byte = at(text, place);
    is_digit_or_capital(byte) || is_separator(byte) && is_digit_or_capital(before(text, place))
}

/// Digits and capitals around a place, with single separators among them.
fn run_around(text: &[u8], place: usize) -> (usize, usize) {
    let (mut start, mut end) = (place, place);
    loop {
        let (one, two) = (before(text, start), start.checked_sub(2).map_or(0, |i| at(text, i)));
        match (is_digit_or_capital(one), is_separator(one) && is_digit_or_capital(two)) {
            (true, _) => start -= 1,
            (false, true) => start -= 2,
            (false, false) => break,
        }
    }
    loop {
        let (one, two) = (at(text, end), at(text, end + 1));
        match (is_digit_or_capital(one), is_separator(one) && is_digit_or_capital(two)) {
            (true, _) => end += 1,
            (false, true) => end += 2,
            (false, false) => break,
        }
    }
    (start, end)
}

fn in_run(text: &[u8], start: usize, end: usize, see: &mut impl FnMut(usize, usize, Kind)) {
    let mut place = start;
    while place < end {
        if is_separator(at(text, place)) {
            place += 1;
            continue;
        }
        let group = after_percent(text, place);
        let group_end = skip_some(text, group, end - group, is_digit_or_capital);
        let found = card_at(text, group, end).map(|end| (end, Kind::CreditCard));
        match found.or_else(|| iban_at(text, group, end).map(|end| (end, Kind::Iban))) {
            Some((found, kind)) => {
                see(group, found, kind);
                place = found;
            }
            None => place = group_end.max(place + 1),
        }
    }
}

/// Behind the digits of a percent-encoded byte.
fn after_percent(text: &[u8], place: usize) -> usize {
    if before(text, place) == b'%' { after_escape(text, place, text.len()) } else { place }
}

/// How the digits of a card are grouped in writing.
const CARD_GROUPS: &[&[usize]] =
    &[&[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[4, 4, 4, 4, 3], &[16], &[15], &[14], &[19]];

fn card_at(text: &[u8], start: usize, end: usize) -> Option<usize> {
    let goes_on = |place: usize| {
        let (byte, next) = (at(text, place), at(text, place + 1));
        byte.is_ascii_alphanumeric()
            || byte == b'_'
            || matches!(byte, b'-' | b'.') && next.is_ascii_alphanumeric()
    };
    CARD_GROUPS.iter().find_map(|groups| {
        let (mut digits, mut place, mut separator) = ([0u8; 19], start, 0);
        let mut count = 0;
        for (number, group) in groups.iter().enumerate() {
            if number > 0 {
                let found = at(text, place);
                (is_separator(found) && (separator == 0 || separator == found)).then_some(())?;
                (separator, place) = (found, place + 1);
            }
            for _ in 0..*group {
                let digit = at(text, place);
                digit.is_ascii_digit().then_some(())?;
                *digits.get_mut(count)? = digit - b'0';
                (count, place) = (count + 1, place + 1);
            }
        }
        let digits = digits.get(..count)?;
        let is_card = place <= end && !goes_on(place) && has_issuer(digits) && luhn(digits);
        (is_card && begins_card(text, start) && !names_something_else(name_before(text, start)))
            .then_some(place)
    })
}

fn begins_card(text: &[u8], start: usize) -> bool {
    let last = before(text, start);
    let is_inside =
        last.is_ascii_alphanumeric() || matches!(last, b'_' | b'-' | b'.' | b'/' | b'$' | b'#' | b'+');
    !is_inside
        || super::text::is_word_start(text, start, |byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !matches!(last, b'_' | b'-' | b'.' | b'/' | b'$' | b'#' | b'+')
}

/// Numbers under such names are long and are no cards.
fn names_something_else(name: &[u8]) -> bool {
    let ends = [
        "id",
        "ids",
        "time",
        "timestamp",
        "ts",
        "ns",
        "us",
        "ms",
        "nanos",
        "micros",
        "offset",
        "seq",
        "sequence",
        "order",
        "invoice",
        "block",
        "blk",
        "hash",
        "version",
        "size",
        "bytes",
        "count",
        "lsn",
        "xid",
        "imei",
        "serial",
        "barcode",
        "ean",
        "isbn",
        "sku",
        "tracking",
        "ptr",
        "addr",
        "address",
        "pid",
        "tid",
        "uid",
        "duration",
        "nonce",
        "epoch",
        "zxid",
        "port",
        "build",
        "revision",
    ];
    let last = name.len() - name.iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let name = between(name, last, name.len());
    let is_camel = |end: &str| {
        let capital = name.len().checked_sub(end.len()).map(|at_| at(name, at_).is_ascii_uppercase());
        capital == Some(true) && name.to_ascii_lowercase().ends_with(end.as_bytes())
    };
    ends.iter().any(|end| name.eq_ignore_ascii_case(end.as_bytes()) || is_camel(end))
}

/// Prefixes and lengths of Visa, Mastercard, American Express, Discover, JCB, Diners Club and UnionPay.
fn has_issuer(digits: &[u8]) -> bool {
    let lead = |count: usize| digits.iter().take(count).fold(0u32, |sum, digit| sum * 10 + u32::from(*digit));
    match digits.len() {
        14 => matches!(lead(2), 36 | 38 | 39) || matches!(lead(3), 300..=305 | 309),
        15 => matches!(lead(2), 34 | 37),
        16 => {
            lead(1) == 4
                || matches!(lead(2), 51..=55 | 62 | 65)
                || matches!(lead(3), 644..=649)
                || matches!(lead(4), 2221..=2720 | 3528..=3589 | 6011)
        }
        19 => lead(2) == 62 || lead(4) == 6011,
        _ => false,
    }
}

/// The check digit of ISO/IEC 7812.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (1, digit) if digit > 4 => 2 * digit - 9,
            (1, digit) => 2 * digit,
            (_, digit) => digit,
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| Some(digit) != digits.first())
}

/// Lengths of account numbers by country. Definition: SWIFT IBAN registry.
const IBAN_LENS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

fn iban_at(text: &[u8], start: usize, end: usize) -> Option<usize> {
    let country = from(text, start).first_chunk::<2>()?;
    let (_, len) = IBAN_LENS.iter().find(|(one, _)| *one == country)?;
    (at(text, start + 2).is_ascii_digit() && at(text, start + 3).is_ascii_digit()).then_some(())?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    super::text::is_word_start(text, start, is_word).then_some(())?;
    let (mut place, mut count, mut rest) = (start, 0, 0u32);
    while count < *len && place < end {
        let byte = at(text, place);
        place += 1;
        match byte {
            // Written in groups of four.
            b' ' | b'-' | b'+' if count % 4 == 0 => continue,
            // The first four go to the end.
            _ if count < 4 => {}
            b'0'..=b'9' => rest = (rest * 10 + u32::from(byte - b'0')) % 97,
            b'A'..=b'Z' => rest = (rest * 100 + u32::from(byte - b'A') + 10) % 97,
            _ => return None,
        }
        count += 1;
    }
    // The first four are two letters, so two digits each, and two digits.
    let remainder = (u64::from(rest) * 1_000_000 + u64::from(iban_head(text, start)?)) % 97;
    let goes_on = is_word(at(text, place));
    (count == *len && remainder == 1 && !goes_on).then_some(place)
}

/// Country and check digits as a number of six digits.
fn iban_head(text: &[u8], start: usize) -> Option<u32> {
    let [a, b, c, d] = *from(text, start).first_chunk::<4>()?;
    let letter = |byte: u8| u32::from(byte.wrapping_sub(b'A')) + 10;
    let digit = |byte: u8| u32::from(byte.wrapping_sub(b'0'));
    Some(letter(a) * 10_000 + letter(b) * 100 + digit(c) * 10 + digit(d))
}
