//! Variables of the environment in a configuration, as Promtail's flag `-config.expand-env` puts them in.
//!
//! `${NAME}` is the variable's value, nothing when there is none; `${NAME:-text}` (also `:=` and `=`) is the text when
//! there is none or it is empty, and the text may hold variables; `${NAME,,}` and `${NAME^^}` are its value in small and
//! in capital letters. `$NAME` stays as it is, `$$` is a dollar sign, and `\\` and `\/` lose their backslash.
//! Definition: `github.com/drone/envsubst`, whose other functions are refused by name.

use std::fmt;

/// Deepest nesting of texts that stand in for variables.
const DEPTH_MAX: usize = 8;
/// Longest result, in bytes.
const BYTES_MAX: usize = 4 << 20;

/// Why variables cannot be put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpandError {
    /// Line of the `${`, from 1.
    pub line: usize,
    /// What is wrong, and the fix.
    pub problem: String,
}

impl fmt::Display for ExpandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for ExpandError {}

/// The text with the values that `lookup` knows in place of its variables.
pub fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
    let mut expansion = Expansion { text, at: 0, lookup };
    let mut out = String::with_capacity(text.len());
    let ended = expansion.plain(&mut out);
    ended.map(|()| out).map_err(|(at, problem)| {
        let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        ExpandError { line, problem }
    })
}

struct Expansion<'a> {
    text: &'a str,
    at: usize,
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

/// Where it went wrong, and how.
type Fault = (usize, String);

impl Expansion<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn takes(&mut self, text: &str) -> bool {
        let is_there = self.rest().starts_with(text);
        if is_there {
            self.at += text.len();
        }
        is_there
    }

    fn plain(&mut self, out: &mut String) -> Result<(), Fault> {
        loop {
            if out.len() > BYTES_MAX {
                return Err((self.at, format!("makes more than {BYTES_MAX} bytes; use shorter values")));
            }
            if self.takes("$$") {
                out.push('$');
            } else if self.takes("\\\\") {
                out.push('\\');
            } else if self.takes("\\/") {
                out.push('/');
            } else if self.rest().starts_with("${") {
                let value = self.variable(0)?;
                out.push_str(&value);
            } else {
                match self.next() {
                    Some(c) => out.push(c),
                    None => return Ok(()),
                }
            }
        }
    }

    /// From `${` to its `}`.
    fn variable(&mut self, depth: usize) -> Result<String, Fault> {
        let begin = self.at;
        if depth > DEPTH_MAX {
            return Err((begin, format!("variables are nested more than {DEPTH_MAX} deep")));
        }
        self.takes("${");
        let len = self.rest().find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(self.rest().len());
        let name = self.rest().get(..len).unwrap_or_default().to_owned();
        self.at += len;
        if name.is_empty() {
            let told = "${ needs a variable's name behind it; write $${ for the characters themselves";
            return Err((begin, told.to_owned()));
        }
        let value = (self.lookup)(&name).unwrap_or_default();
        if self.takes("}") {
            return Ok(value);
        }
        if self.takes(":-") || self.takes(":=") || self.takes("=") {
            let fallback = self.fallback(begin, depth)?;
            return Ok(if value.is_empty() { fallback } else { value });
        }
        for (operator, change) in
            [(",,}", str::to_lowercase as fn(&str) -> String), ("^^}", str::to_uppercase)]
        {
            if self.takes(operator) {
                return Ok(change(&value));
            }
        }
        let told = format!(
            "${{{name} goes on in a way that does not work; what works is ${{{name}}}, ${{{name}:-text}}, ${{{name},,}} and ${{{name}^^}}"
        );
        Err((begin, told))
    }

    /// The text that stands in for a variable, and the `}` behind it.
    fn fallback(&mut self, begin: usize, depth: usize) -> Result<String, Fault> {
        let mut out = String::new();
        loop {
            if self.rest().starts_with("${") {
                let value = self.variable(depth + 1)?;
                out.push_str(&value);
                continue;
            }
            match self.next() {
                Some('}') => return Ok(out),
                Some(c) => out.push(c),
                None => {
                    return Err((
                        begin,
                        "${ has no } behind it; write $${ for the characters themselves".to_owned(),
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("Web-1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[track_caller]
    fn check(text: &str, expect: Result<&str, &str>) {
        match (expand(text, &lookup).map_err(|error| error.to_string()), expect) {
            (Ok(found), Ok(expect)) => assert_eq!(found, expect, "{text}"),
            (Err(told), Err(part)) => assert!(told.contains(part), "{told}"),
            (found, _) => panic!("{text} gave {found:?}"),
        }
    }

    #[test]
    fn variables() {
        check("host: ${HOST}!", Ok("host: Web-1!"));
        check("${NONE}${EMPTY}", Ok(""));
        check("${NONE:-a b} ${EMPTY:=c} ${NONE=d} ${HOST:-x}", Ok("a b c d Web-1"));
        check("${NONE:-http://${HOST}:3100/${NONE:-x}}/y", Ok("http://Web-1:3100/x/y"));
        check("${HOST,,} ${HOST^^}", Ok("web-1 WEB-1"));
        check("$HOST $1 a$ $", Ok("$HOST $1 a$ $"));
        check("$${HOST} $$1", Ok("${HOST} $1"));
        check(r"\d \\d a\/b", Ok(r"\d \d a/b"));
        check("héllo ${HOST}", Ok("héllo Web-1"));
    }

    #[test]
    fn what_does_not_work_is_told_with_its_line() {
        check("a\nb: ${HOST", Err("line 2: ${HOST goes on in a way that does not work"));
        check("a\nb: ${HOST:-x", Err("line 2: ${ has no } behind it"));
        check("${}", Err("line 1: ${ needs a variable's name"));
        check("${HOST:1:2}", Err("what works is ${HOST}, ${HOST:-text}"));
        check("${HOST/a/b}", Err("does not work"));
        check(&"${A:-".repeat(99), Err("more than 8 deep"));
    }

    proptest! {
        #[test]
        fn texts_without_dollars_and_backslashes_stay(text in r"[^$\\]{0,80}") {
            prop_assert_eq!(expand(&text, &lookup), Ok(text.clone()));
        }

        #[test]
        fn nothing_panics(text in r"[$\{\}:\-=a,^\\é\n]{0,60}") {
            let _ = expand(&text, &lookup);
        }
    }
}
