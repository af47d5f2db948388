//! Regular expressions as Go's `regexp` package reads them, for a world of queries and settings that are written for it.
//!
//! [`to_rust`] rewrites an expression so that the `regex` crate reads it the same way:
//!
//! - `\d`, `\w`, `\s`, their negations and `\b` are about ASCII;
//! - a brace that starts no repetition stands for itself, as in `{"user"`;
//! - within brackets `[`, `&&`, `--` and `~~` stand for themselves;
//! - `\Q...\E` quotes, `\123` is an octal code, `\<` and `\>` are the characters.
//!
//! Lacking: names of groups that start with a digit, `\p{^Greek}`, and Go's bound of 1000 repetitions. What Go refuses
//! and the crate takes (`(?x)`, `a**`) is not refused here.

use std::borrow::Cow;

const DIGIT: &str = "0-9";
const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = "\\t\\n\\f\\r ";

/// The same expression for the `regex` crate. It is refused only for a closing parenthesis too many, which would close a
/// group that the caller puts around it; the crate finds all other mistakes.
///
/// # Errors
///
/// Go's text about the parenthesis.
pub fn to_rust(source: &str) -> Result<Cow<'_, str>, String> {
    let plain = |b: u8| !matches!(b, b'\\' | b'{' | b'[' | b')');
    if source.bytes().all(plain) {
        return Ok(Cow::Borrowed(source));
    }
    let mut rewriter = Rewriter { rest: source, out: String::with_capacity(source.len() + 16), depth: 0 };
    while let Some(c) = rewriter.next() {
        rewriter.outside(c).map_err(|()| format!("unexpected ): `{source}`"))?;
    }
    Ok(Cow::Owned(rewriter.out))
}

struct Rewriter<'s> {
    rest: &'s str,
    out: String,
    /// Groups that are open.
    depth: usize,
}

impl<'s> Rewriter<'s> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.skip(c.len_utf8());
        Some(c)
    }

    fn skip(&mut self, bytes: usize) -> &'s str {
        let (before, after) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = after;
        before
    }

    /// One character outside of brackets.
    fn outside(&mut self, c: char) -> Result<(), ()> {
        match c {
            '\\' => self.escape_outside(),
            '[' => self.brackets(),
            '{' => match repetition_len(self.rest) {
                Some(len) => {
                    self.out.push('{');
                    let counts = self.skip(len);
                    self.out.push_str(counts);
                }
                None => self.out.push_str("\\{"),
            },
            ')' => {
                self.depth = self.depth.checked_sub(1).ok_or(())?;
                self.out.push(')');
            }
            c => {
                self.depth += usize::from(c == '(');
                self.out.push(c);
            }
        }
        Ok(())
    }

    fn escape_outside(&mut self) {
        let Some(c) = self.next() else { return self.out.push('\\') };
        match c {
            'd' => self.class("[", DIGIT),
            'D' => self.class("[^", DIGIT),
            'w' => self.class("[", WORD),
            'W' => self.class("[^", WORD),
            's' => self.class("[", SPACE),
            'S' => self.class("[^", SPACE),
            'b' => self.out.push_str("(?-u:\\b)"),
            'Q' => {
                let end = self.rest.find("\\E");
                let quoted = self.skip(end.unwrap_or(self.rest.len()));
                self.skip(if end.is_some() { 2 } else { 0 });
                self.out.push_str(&regex::escape(quoted));
            }
            'p' | 'P' | 'x' => {
                self.escape_anywhere(c);
                if self.rest.starts_with('{') {
                    let name = self.skip(self.rest.find('}').map_or(0, |end| end + 1));
                    self.out.push_str(name);
                }
            }
            c => self.escape_anywhere(c),
        }
    }

    fn class(&mut self, open: &str, members: &str) {
        self.out.push_str(open);
        self.out.push_str(members);
        self.out.push(']');
    }

    /// Escapes that mean the same inside of brackets and outside.
    fn escape_anywhere(&mut self, c: char) {
        match c {
            '<' | '>' => self.out.push(c),
            '0'..='7' => self.octal(c),
            c => {
                self.out.push('\\');
                self.out.push(c);
            }
        }
    }

    /// Up to three octal digits. One digit alone, unless zero, would be a reference back, which neither side knows.
    fn octal(&mut self, first: char) {
        let more = self.rest.bytes().take(2).take_while(|b| matches!(b, b'0'..=b'7')).count();
        if first != '0' && more == 0 {
            self.out.push('\\');
            self.out.push(first);
            return;
        }
        let digits = self.skip(more);
        let code = u32::from_str_radix(&format!("{first}{digits}"), 8).unwrap_or(0);
        self.out.push_str(&format!("\\x{{{code:x}}}"));
    }

    /// A class in brackets, the opening one already read.
    fn brackets(&mut self) {
        self.out.push('[');
        if self.rest.starts_with('^') {
            self.skip(1);
            self.out.push('^');
        }
        // True when the character before may start a range; at the start nothing may.
        let (mut range_may_start, mut first) = (false, true);
        while let Some(c) = self.next() {
            match c {
                ']' if !first => return self.out.push(']'),
                '-' if range_may_start && !self.rest.starts_with(']') => {
                    self.out.push('-');
                    range_may_start = false;
                    if let Some(end) = self.next() {
                        self.member(end);
                    }
                }
                '[' if self.rest.starts_with(':') => {
                    let len = self.rest.find(":]").map_or(0, |end| end + 2);
                    self.out.push_str(if len > 0 { "[" } else { "\\[" });
                    let name = self.skip(len);
                    self.out.push_str(name);
                    range_may_start = false;
                }
                c => range_may_start = self.member(c),
            }
            first = false;
        }
    }

    /// One member of a class; true when it is one character.
    fn member(&mut self, c: char) -> bool {
        match c {
            '\\' => return self.escape_inside(),
            '[' | ']' | '&' | '~' | '-' => {
                self.out.push('\\');
                self.out.push(c);
            }
            c => self.out.push(c),
        }
        true
    }

    fn escape_inside(&mut self) -> bool {
        let Some(c) = self.next() else {
            self.out.push('\\');
            return false;
        };
        match c {
            'd' => self.out.push_str(DIGIT),
            'w' => self.out.push_str(WORD),
            's' => self.out.push_str(SPACE),
            'D' => self.class("[^", DIGIT),
            'W' => self.class("[^", WORD),
            'S' => self.class("[^", SPACE),
            'p' | 'P' => {
                self.escape_anywhere(c);
                let braced = self.rest.starts_with('{');
                let len = if braced { self.rest.find('}').map_or(0, |end| end + 1) } else { 1 };
                let name = self.skip(len);
                self.out.push_str(name);
            }
            c => {
                self.escape_anywhere(c);
                if c == 'x' && self.rest.starts_with('{') {
                    let code = self.skip(self.rest.find('}').map_or(0, |end| end + 1));
                    self.out.push_str(code);
                } else if c == 'x' {
                    let code = self.skip(self.rest.len().min(2));
                    self.out.push_str(code);
                }
                return true;
            }
        }
        false
    }
}

/// Length of `n}`, `n,}` or `n,m}`.
fn repetition_len(text: &str) -> Option<usize> {
    let end = text.find('}')?;
    let (least, most) = text.get(..end)?.split_once(',').unwrap_or((text.get(..end)?, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    (!least.is_empty() && digits(least) && digits(most)).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expect: &str) {
        let text = to_rust(source).map(Cow::into_owned);
        assert_eq!(text.as_deref(), Ok(expect), "{source}");
        assert!(regex::Regex::new(expect).is_ok(), "{expect}");
    }

    #[test]
    fn classes_are_ascii() {
        check("a.b", "a.b");
        check(r"\d+\W*", "[0-9]+[^0-9A-Za-z_]*");
        check(r"[\d\-x]\b", r"[0-9\-x](?-u:\b)");
        check(r"[^\S]", r"[^[^\t\n\f\r ]]");
    }

    #[test]
    fn braces_that_repeat_nothing() {
        check(r#"{"a": "#, r#"\{"a": "#);
        check("a{2}b{2,}c{2,3}", "a{2}b{2,}c{2,3}");
        check("a{,3}{x}", r"a\{,3}\{x}");
        check(r"\x{41}\p{Greek}\pN", r"\x{41}\p{Greek}\pN");
    }

    #[test]
    fn brackets() {
        check("[[a]", r"[\[a]");
        check("[]a]", r"[\]a]");
        check("[^]a]", r"[^\]a]");
        check("[a&&b~~c]", r"[a\&\&b\~\~c]");
        check("[+--]", r"[+-\-]");
        check("[--/]", r"[\--/]");
        check("[a-]", r"[a\-]");
        check("[[:alpha:]_]", "[[:alpha:]_]");
        check(r"[\p{Greek}\x{41}-\x5A]", r"[\p{Greek}\x{41}-\x5A]");
    }

    #[test]
    fn escapes() {
        check(r"\Qa.b\E+", r"a\.b+");
        check(r"\Q[", r"\[");
        check(r"\101\<\>\/", r"\x{41}<>\/");
        check(r"\.\(\)", r"\.\(\)");
    }

    #[test]
    fn a_parenthesis_too_many() {
        assert_eq!(to_rust("a)(b"), Err("unexpected ): `a)(b`".to_owned()));
        check("(a)", "(a)");
    }
}
