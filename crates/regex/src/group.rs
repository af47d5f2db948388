//! What a parenthesis opens: a group, a named one, a scope of flags, or flags from here on.

use crate::translate::upto;
use crate::{Error, Fault};

/// What was opened.
pub(crate) enum Opened<'s> {
    /// `(`.
    Plain,
    /// `(?P<name>` or `(?<name>`.
    Named(&'s str),
    /// `(?flags:`, as Rust writes it.
    Scope(String),
    /// `(?flags)`, as Rust writes it; may be nothing.
    Flags(String),
}

/// Reads from a parenthesis on.
pub(crate) fn group(text: &str) -> Result<(Opened<'_>, &str), Error> {
    let Some(inside) = text.strip_prefix("(?") else {
        return Ok((Opened::Plain, text.get(1..).unwrap_or("")));
    };
    // Go asks for one character more than the brackets of a name.
    let named = inside.strip_prefix("P<").filter(|name| !name.is_empty());
    match named.or_else(|| inside.strip_prefix('<').filter(|name| !name.is_empty())) {
        Some(name) => named_group(text, name),
        None => flags(text, inside),
    }
}

fn named_group<'s>(text: &'s str, name: &'s str) -> Result<(Opened<'s>, &'s str), Error> {
    let Some((name, rest)) = name.split_once('>') else { return Err(Error::new(Fault::NamedCapture, text)) };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_word) {
        return Err(Error::new(Fault::NamedCapture, upto(text, rest)));
    }
    Ok((Opened::Named(name), rest))
}

/// Flags that are known, in the order in which they are written.
const KNOWN: [char; 4] = ['i', 'm', 's', 'U'];

fn flags<'s>(text: &'s str, mut rest: &'s str) -> Result<(Opened<'s>, &'s str), Error> {
    let mut set: [Option<bool>; 4] = [None; 4];
    let (mut on, mut seen) = (true, false);
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or("");
        match c {
            '-' if on => (on, seen) = (false, false),
            ':' | ')' if on || seen => {
                let written = written(set, c == ':');
                return Ok((if c == ':' { Opened::Scope(written) } else { Opened::Flags(written) }, rest));
            }
            _ => {
                let place = KNOWN.iter().position(|known| *known == c);
                let Some(slot) = place.and_then(|place| set.get_mut(place)) else { break };
                (*slot, seen) = (Some(on), true);
            }
        }
    }
    Err(Error::new(Fault::PerlOp, upto(text, rest)))
}

fn written(set: [Option<bool>; 4], scope: bool) -> String {
    let named = |wanted: bool| {
        let chosen = KNOWN.iter().zip(set).filter(move |(_, on)| *on == Some(wanted));
        chosen.map(|(flag, _)| *flag).collect::<String>()
    };
    let (on, off) = (named(true), named(false));
    if !scope && on.is_empty() && off.is_empty() {
        return String::new();
    }
    let dash = if off.is_empty() { "" } else { "-" };
    format!("(?{on}{dash}{off}{}", if scope { ':' } else { ')' })
}
