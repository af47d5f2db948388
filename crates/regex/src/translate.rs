//! One pass over the source, writing Rust's syntax.

use crate::class::{class, perl_class, unicode_class};
use crate::escape::{escaped, literal};
use crate::group::{Opened, group};
use crate::repeat::{Counts, Repeat, braces};
use crate::{Error, Fault, LENGTH_MAX, NESTING_MAX};

/// Writes Go's expression in the syntax of the `regex` crate.
pub fn translate(source: &str) -> Result<String, Error> {
    if source.len() > LENGTH_MAX {
        return Err(Error::new(Fault::Large, source.get(..64).unwrap_or("")));
    }
    let mut walk = Walk {
        source,
        rest: source,
        out: String::with_capacity(source.len() + 16),
        waiting: String::new(),
        open: vec![Level::default()],
        names: Vec::new(),
    };
    let mut repeated = None;
    while !walk.rest.is_empty() {
        repeated = walk.step(repeated)?;
    }
    if walk.open.len() > 1 {
        return Err(Error::new(Fault::MissingParen, source));
    }
    walk.out.push_str(&walk.waiting);
    Ok(walk.out)
}

/// A group that is open, or the whole.
#[derive(Default)]
struct Level {
    /// How often the item before this place may be repeated by counts within it; none where there is no item.
    last: Option<Counts>,
    /// The most of all items of the group.
    most: Counts,
}

struct Walk<'s> {
    source: &'s str,
    rest: &'s str,
    out: String,
    /// Flags that hold from the next item on; a repetition still belongs to the item before them.
    waiting: String,
    open: Vec<Level>,
    names: Vec<&'s str>,
}

impl<'s> Walk<'s> {
    /// Reads one item. `repeated` is where the repetition began that ends here, if one does; the answer is the same for
    /// the next step.
    fn step(&mut self, repeated: Option<&'s str>) -> Result<Option<&'s str>, Error> {
        let rest = self.rest;
        let Some(first) = rest.chars().next() else { return Ok(None) };
        match first {
            '(' => self.open_group()?,
            ')' => self.close_group()?,
            '|' => {
                self.take(1);
                self.flush();
                self.out.push('|');
                self.end_item();
            }
            '^' | '$' | '.' => {
                self.take(1);
                self.item(first.encode_utf8(&mut [0; 4]));
            }
            '[' => {
                let mut written = String::new();
                self.rest = class(rest, &mut written)?;
                self.item(&written);
            }
            '*' | '+' | '?' => {
                self.take(1);
                return self.repeat(rest, Repeat::of(first), repeated).map(Some);
            }
            '{' => {
                let Some((repeat, after)) = braces(rest) else {
                    self.take(1);
                    self.literal('{');
                    return Ok(None);
                };
                self.rest = after;
                return self.repeat(rest, repeat, repeated).map(Some);
            }
            '\\' => self.backslash()?,
            _ => {
                self.take(first.len_utf8());
                self.literal(first);
            }
        }
        Ok(None)
    }

    fn take(&mut self, bytes: usize) -> &'s str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn flush(&mut self) {
        self.out.push_str(&self.waiting);
        self.waiting.clear();
    }

    /// Writes an item that can be repeated.
    fn item(&mut self, text: &str) {
        self.flush();
        self.out.push_str(text);
        self.place(Counts::ONE);
    }

    fn literal(&mut self, c: char) {
        self.flush();
        literal(c, &mut self.out);
        self.place(Counts::ONE);
    }

    /// An item stands here now.
    fn place(&mut self, counts: Counts) {
        self.end_item();
        if let Some(level) = self.open.last_mut() {
            level.last = Some(counts);
        }
    }

    /// No item stands here any more; what it counted is remembered.
    fn end_item(&mut self) {
        if let Some(level) = self.open.last_mut()
            && let Some(last) = level.last.take()
        {
            level.most = level.most.max(last);
        }
    }

    fn open_group(&mut self) -> Result<(), Error> {
        let (opened, rest) = group(self.rest)?;
        self.rest = rest;
        if let Opened::Flags(text) = opened {
            self.waiting.push_str(&text);
            return Ok(());
        }
        self.flush();
        match opened {
            Opened::Named(name) if is_name(name) && !self.names.contains(&name) => {
                self.names.push(name);
                self.out.push_str("(?P<");
                self.out.push_str(name);
                self.out.push('>');
            }
            Opened::Scope(text) => self.out.push_str(&text),
            _ => self.out.push('('),
        }
        if self.open.len() > NESTING_MAX {
            return Err(Error::new(Fault::NestingDepth, self.source));
        }
        self.open.push(Level::default());
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), Error> {
        self.take(1);
        self.end_item();
        let closed = if self.open.len() > 1 { self.open.pop() } else { None };
        let Some(closed) = closed else { return Err(Error::new(Fault::UnexpectedParen, self.source)) };
        // Flags at the end of a group hold for nothing.
        self.waiting.clear();
        self.out.push(')');
        self.place(closed.most);
        Ok(())
    }

    /// Repeats the item before. `begin` is the source from the operator on.
    fn repeat(
        &mut self,
        begin: &'s str,
        repeat: Repeat,
        repeated: Option<&'s str>,
    ) -> Result<&'s str, Error> {
        if repeat.refused() {
            return Err(Error::new(Fault::RepeatSize, upto(begin, self.rest)));
        }
        let lazy = self.rest.starts_with('?');
        if lazy {
            self.take(1);
        }
        if let Some(before) = repeated {
            return Err(Error::new(Fault::RepeatOp, upto(before, self.rest)));
        }
        let Some(last) = self.open.last_mut().and_then(|level| level.last.as_mut()) else {
            return Err(Error::new(Fault::MissingRepeatArgument, upto(begin, self.rest)));
        };
        *last = last.times(&repeat).ok_or_else(|| Error::new(Fault::RepeatSize, upto(begin, self.rest)))?;
        repeat.write(&mut self.out);
        if lazy {
            self.out.push('?');
        }
        Ok(begin)
    }

    fn backslash(&mut self) -> Result<(), Error> {
        let rest = self.rest;
        let assertion = match rest.as_bytes().get(1) {
            Some(b'A') => r"\A",
            Some(b'z') => r"\z",
            Some(b'b') => r"(?-u:\b)",
            Some(b'B') => r"(?-u:\B)",
            Some(b'C') => return Err(Error::new(Fault::Escape, r"\C")),
            Some(b'Q') => return self.quoted(),
            _ => "",
        };
        if !assertion.is_empty() {
            self.take(2);
            self.item(assertion);
            return Ok(());
        }
        let mut written = String::new();
        if let Some(after) = unicode_class(rest, &mut written)? {
            self.rest = after;
        } else if let Some(after) = perl_class(rest, &mut written) {
            self.rest = after;
        } else {
            let (c, after) = escaped(rest)?;
            self.rest = after;
            c.write(&mut written);
        }
        self.item(&written);
        Ok(())
    }

    /// `\Q...\E`: every character stands for itself.
    fn quoted(&mut self) -> Result<(), Error> {
        self.take(2);
        let (text, rest) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
        text.chars().for_each(|c| self.literal(c));
        self.rest = rest;
        Ok(())
    }
}

/// The text from `begin` to where `rest`, its end, begins.
pub(crate) fn upto<'s>(begin: &'s str, rest: &str) -> &'s str {
    begin.len().checked_sub(rest.len()).and_then(|end| begin.get(..end)).unwrap_or(begin)
}

/// Whether Rust's engine takes the name of a group; Go also lets a digit be first.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}
