//! Fields in log lines: where the values of a JSON object or of logfmt pairs stand in the bytes of a line.
//!
//! Stores cut lines along these places into columns, and languages push tests of fields down to them. Both need one
//! definition of what a field of a line is, so it stands here. It is deliberately narrow: a line that is not *plain*
//! (see [`Tokens::is_plain`]) has no fields here, and whoever wants its fields parses it with the rules of their
//! language. On plain lines the parsers of LogQL (`json`, `logfmt`) and this one agree.
//!
//! Absent: unescaping, numbers as numbers, arrays.

use std::ops::Range;

use memchr::memchr2;

/// How a line is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LineSyntax {
    /// One JSON object. The names of nested objects are joined by underscores.
    Json,
    /// `key=value key="quoted value"`.
    Logfmt,
}

/// Deepest nesting of objects whose fields are looked at.
const DEPTH_MAX: usize = 8;
/// Most fields of a line.
const FIELDS_MAX: usize = 128;

/// One field of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Where the key stands, without quotes.
    pub key: Range<usize>,
    /// The object around it, as an index into [`Tokens::parents`].
    pub parent: Option<u32>,
    /// Where the value stands; the inside of its quotes, escapes as they are.
    pub value: Range<usize>,
    /// False for what parsers pass over: `null` and arrays.
    pub is_visible: bool,
}

/// The fields of one line. Made to be used again for many lines.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// The fields in the order of the line, values ascending and apart.
    pub fields: Vec<Token>,
    /// Keys of nested objects, and the objects around them.
    pub parents: Vec<(Range<usize>, Option<u32>)>,
    /// False when a value has escapes, is empty, or the line holds replacement characters: what the line says is then
    /// not what stands in its bytes.
    pub is_clean: bool,
}

impl Tokens {
    /// Finds the fields of a line; false when the line is not of this syntax all through.
    pub fn read(&mut self, syntax: LineSyntax, line: &str) -> bool {
        self.fields.clear();
        self.parents.clear();
        self.is_clean = !line.contains(char::REPLACEMENT_CHARACTER);
        let found = match syntax {
            LineSyntax::Json => self.read_json(line.as_bytes()),
            LineSyntax::Logfmt => self.read_logfmt(line.as_bytes()),
        };
        found.is_some() && !self.fields.is_empty()
    }

    /// A field's name as a label: keys joined by underscores, other characters than letters, digits and underscores
    /// replaced by them. `None` for keys whose treatment differs between parsers.
    #[must_use]
    pub fn name(&self, line: &str, field: &Token) -> Option<String> {
        let mut keys = vec![line.get(field.key.clone())?];
        let mut parent = field.parent;
        while let Some((key, outer)) = parent.and_then(|at| self.parents.get(at as usize)) {
            keys.push(line.get(key.clone())?);
            parent = *outer;
        }
        let mut name = String::new();
        for key in keys.into_iter().rev() {
            let starts_well = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
            if !starts_well || !key.chars().all(known) {
                return None;
            }
            if !name.is_empty() {
                name.push('_');
            }
            name.extend(key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
        }
        (!name.starts_with("__") && !name.ends_with("_extracted")).then_some(name)
    }

    /// The names of all fields when the line is plain: it is clean, its keys are ordinary and no two of them give one
    /// name.
    #[must_use]
    pub fn names(&self, line: &str) -> Option<Vec<String>> {
        if !self.is_clean {
            return None;
        }
        let names: Vec<String> =
            self.fields.iter().map(|field| self.name(line, field)).collect::<Option<_>>()?;
        let repeats = |(at, name): (usize, &String)| names.iter().take(at).any(|before| before == name);
        (!names.iter().enumerate().any(repeats)).then_some(names)
    }

    /// True when the last line read is plain.
    #[must_use]
    pub fn is_plain(&self, line: &str) -> bool {
        self.names(line).is_some()
    }

    fn push(
        &mut self,
        key: Range<usize>,
        parent: Option<u32>,
        value: Range<usize>,
        is_visible: bool,
    ) -> Option<()> {
        self.is_clean &= !value.is_empty();
        self.fields.push(Token { key, parent, value, is_visible });
        (self.fields.len() <= FIELDS_MAX).then_some(())
    }

    fn read_json(&mut self, text: &[u8]) -> Option<()> {
        let mut at = 1;
        (text.first() == Some(&b'{')).then_some(())?;
        // Per open object: itself as a parent.
        let mut open: Vec<Option<u32>> = vec![None];
        let mut is_first = true;
        loop {
            at = skip_spaces(text, at);
            if is_first && text.get(at) == Some(&b'}') {
                at += 1;
            } else {
                let (key, after) = string(text, at)?;
                if text.get(key.clone())?.contains(&b'\\') {
                    return None;
                }
                at = skip_spaces(text, after);
                (text.get(at) == Some(&b':')).then_some(())?;
                at = skip_spaces(text, at + 1);
                let parent = *open.last()?;
                if text.get(at) == Some(&b'{') {
                    (open.len() < DEPTH_MAX).then_some(())?;
                    self.parents.push((key, parent));
                    open.push(Some(self.parents.len() as u32 - 1));
                    (at, is_first) = (at + 1, true);
                    continue;
                }
                at = self.read_value(text, at, key, parent)?;
                at = skip_spaces(text, at);
                match text.get(at)? {
                    b',' => {
                        (at, is_first) = (at + 1, false);
                        continue;
                    }
                    b'}' => at += 1,
                    _ => return None,
                }
            }
            // One object is closed, perhaps those around it too.
            loop {
                open.pop();
                if open.is_empty() {
                    return (at == text.len()).then_some(());
                }
                at = skip_spaces(text, at);
                match text.get(at)? {
                    b'}' => at += 1,
                    b',' => break,
                    _ => return None,
                }
            }
            (at, is_first) = (at + 1, false);
        }
    }

    /// Reads a value that is no object; gives where it ends.
    fn read_value(
        &mut self,
        text: &[u8],
        at: usize,
        key: Range<usize>,
        parent: Option<u32>,
    ) -> Option<usize> {
        match text.get(at)? {
            b'"' => {
                let (value, after) = string(text, at)?;
                self.is_clean &= memchr::memchr(b'\\', text.get(value.clone())?).is_none();
                self.push(key, parent, value, true)?;
                Some(after)
            }
            b'[' => {
                let end = array_end(text, at)?;
                self.push(key, parent, at..end, false)?;
                Some(end)
            }
            _ => {
                let rest = text.get(at..)?;
                let len = rest
                    .iter()
                    .position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'))?;
                let value = rest.get(..len)?;
                let is_null = value == b"null";
                (is_null || is_bare_value(value)).then_some(())?;
                self.push(key, parent, at..at + len, !is_null)?;
                Some(at + len)
            }
        }
    }

    fn read_logfmt(&mut self, text: &[u8]) -> Option<()> {
        let mut at = 0;
        loop {
            let rest = text.get(at..)?;
            let key_len = rest.iter().position(|b| *b <= b' ' || matches!(b, b'=' | b'"'))?;
            (key_len > 0 && rest.get(key_len) == Some(&b'=')).then_some(())?;
            let key = at..at + key_len;
            at += key_len + 1;
            if text.get(at) == Some(&b'"') {
                let (value, after) = string(text, at)?;
                self.is_clean &= memchr::memchr(b'\\', text.get(value.clone())?).is_none();
                self.push(key, None, value, true)?;
                at = after;
            } else {
                let rest = text.get(at..)?;
                let len =
                    rest.iter().position(|b| *b <= b' ' || matches!(b, b'=' | b'"')).unwrap_or(rest.len());
                self.push(key, None, at..at + len, true)?;
                at += len;
            }
            if at == text.len() {
                // One pair alone is as likely a sentence with an equals sign in it.
                return (self.fields.len() > 1).then_some(());
            }
            let spaces = text.get(at..)?.iter().take_while(|b| **b == b' ').count();
            (spaces > 0).then_some(())?;
            at += spaces;
        }
    }
}

/// The fields of plain lines that are read one after another. Neighbours mostly have the same keys; their names are
/// made once.
#[derive(Clone, Debug, Default)]
pub struct PlainFields {
    tokens: Tokens,
    /// Keys and their parents in the line before, and their names.
    shape: Vec<u8>,
    names: Option<Vec<String>>,
    work: Vec<u8>,
}

impl PlainFields {
    /// Reads a line; false when it is not plain ([`Tokens::is_plain`]).
    pub fn read(&mut self, syntax: LineSyntax, line: &str) -> bool {
        if !self.tokens.read(syntax, line) || !self.tokens.is_clean {
            return false;
        }
        self.work.clear();
        let fields = self.tokens.fields.iter().map(|field| (&field.key, field.parent));
        let parents = self.tokens.parents.iter().map(|(key, parent)| (key, *parent));
        for (key, parent) in fields.chain(parents) {
            self.work.extend_from_slice(&(key.len() as u64).to_le_bytes());
            self.work.extend_from_slice(line.as_bytes().get(key.clone()).unwrap_or_default());
            self.work.extend_from_slice(&parent.map_or(u32::MAX, |parent| parent).to_le_bytes());
        }
        let count = self.tokens.fields.len() as u64;
        self.work.extend_from_slice(&count.to_le_bytes());
        if self.work != self.shape {
            std::mem::swap(&mut self.work, &mut self.shape);
            self.names = self.tokens.names(line);
        }
        self.names.is_some()
    }

    /// The value under a name in the line just read, which was plain.
    #[must_use]
    pub fn value<'l>(&self, line: &'l str, name: &str) -> Option<&'l str> {
        line.get(self.range(name)?)
    }

    /// Where the value under a name stands in the line just read, which was plain.
    #[must_use]
    pub fn range(&self, name: &str) -> Option<Range<usize>> {
        let names = self.names.as_ref()?.iter().zip(&self.tokens.fields);
        let (_, field) = { names }.find(|(known, field)| *known == name && field.is_visible)?;
        Some(field.value.clone())
    }
}

/// A field of a line as a query sees it; `None` when the line is not plain, `Some(None)` when it has no such field.
#[must_use]
pub fn field_of_line<'l>(syntax: LineSyntax, line: &'l str, name: &str) -> Option<Option<&'l str>> {
    let mut tokens = Tokens::default();
    if !tokens.read(syntax, line) {
        return None;
    }
    let names = tokens.names(line)?;
    let found = names.iter().zip(&tokens.fields).find(|(known, field)| *known == name && field.is_visible);
    Some(found.and_then(|(_, field)| line.get(field.value.clone())))
}

/// The number that a text is, if it is written as JSON writes numbers and is finite as a double.
#[must_use]
pub fn number_of(text: &str) -> Option<f64> {
    is_number(text.as_bytes()).then(|| text.parse().ok()).flatten().filter(|n: &f64| n.is_finite())
}

fn skip_spaces(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// The inside of the string that starts at `at`, and what follows it.
fn string(text: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    (text.get(at) == Some(&b'"')).then_some(())?;
    let start = at + 1;
    let mut from = start;
    loop {
        let found = from + memchr2(b'"', b'\\', text.get(from..)?)?;
        if text.get(found) == Some(&b'"') {
            return Some((start..found, found + 1));
        }
        from = found + 2;
    }
}

/// What follows the array that starts at `at`.
fn array_end(text: &[u8], mut at: usize) -> Option<usize> {
    let mut open: Vec<u8> = Vec::new();
    loop {
        match text.get(at)? {
            b'"' => {
                at = string(text, at)?.1;
                continue;
            }
            b'[' => open.push(b']'),
            b'{' => open.push(b'}'),
            close @ (b']' | b'}') => {
                (open.pop() == Some(*close)).then_some(())?;
                if open.is_empty() {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// True for what JSON writes without quotes and parsers show: numbers, `true`, `false`.
#[must_use]
pub fn is_bare_value(text: &[u8]) -> bool {
    is_number(text) || text == b"true" || text == b"false"
}

fn is_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, rest) = digits(text);
    if whole.is_empty() || (whole.len() > 1 && whole.first() == Some(&b'0')) {
        return false;
    }
    let rest = match rest.strip_prefix(b".") {
        Some(fraction) => match digits(fraction) {
            ([], _) => return false,
            (_, rest) => rest,
        },
        None => rest,
    };
    match rest {
        [] => true,
        [b'e' | b'E', exponent @ ..] => {
            let exponent = exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent);
            matches!(digits(exponent), ([_, ..], []))
        }
        _ => false,
    }
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let len = text.iter().take_while(|b| b.is_ascii_digit()).count();
    text.split_at_checked(len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(syntax: LineSyntax, line: &str, expect: Option<&str>) {
        let mut tokens = Tokens::default();
        let plain = tokens.read(syntax, line).then(|| tokens.names(line)).flatten().map(|names| {
            let pairs = names.iter().zip(&tokens.fields);
            pairs
                .map(|(name, field)| format!("{name}={}", &line[field.value.clone()]))
                .collect::<Vec<_>>()
                .join(" ")
        });
        assert_eq!(plain.as_deref(), expect, "{line}");
    }

    #[test]
    fn plain_json_has_fields() {
        let check = |line, expect| check(LineSyntax::Json, line, expect);
        check(r#"{"a":1,"b":"x y"}"#, Some("a=1 b=x y"));
        check(
            r#"{ "a" : -1.5e3 , "b":{"c":true,"d":{"e":"z"}} ,"f":[1,"]"]}"#,
            Some("a=-1.5e3 b_c=true b_d_e=z f=[1,\"]\"]"),
        );
        check(r#"{"a":{},"http.status":null}"#, Some("http_status=null"));
        check(r#"{"a":{"b":{"c":1}},"d":2}"#, Some("a_b_c=1 d=2"));
        for not_plain in [
            "",
            "{",
            "{}",
            "[]",
            r#"{"a":1} "#,
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            r#"{"a":01}"#,
            r#"{"a":nul}"#,
            r#"{"a":"\n"}"#,
            r#"{"a":""}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a_b":1,"a":{"b":2}}"#,
            r#"{"__error__":1}"#,
            r#"{"a_extracted":1}"#,
            r#"{"":1}"#,
            r#"{"a":1"#,
            r#"{"a":"x}"#,
            r#"{"a":[1}"#,
            "{\"a\":\"\u{fffd}\"}",
            r#"{"a":{"b":1}"#,
            r#"{"a":{"b":1}}}"#,
            r#"{"1":2}"#,
            r#"{"é":2}"#,
        ] {
            check(not_plain, None);
        }
        check(&format!("{}1{}", r#"{"a":"#.repeat(9), "}".repeat(9)), None);
    }

    #[test]
    fn plain_logfmt_has_fields() {
        let check = |line, expect| check(LineSyntax::Logfmt, line, expect);
        check(r#"level=info msg="hello world" n=5"#, Some("level=info msg=hello world n=5"));
        check("a=1  b=2", Some("a=1 b=2"));
        for not_plain in [
            "",
            "a=1",
            "a b=1",
            "a=1 b",
            "a= b=1",
            "a=1 b=\"x",
            "a=1 b==2",
            " a=1 b=2",
            "a=1 b=2 ",
            "a=\"x\"b=1",
        ] {
            check(not_plain, None);
        }
    }

    #[test]
    fn lines_read_one_after_another_have_the_fields_of_each() {
        let lines = [
            r#"{"a":1,"b":2}"#,
            r#"{"a":3,"b":4}"#,
            r#"{"a":3,"b":""}"#,
            r#"{"a":{"b":5}}"#,
            r#"{"a":null,"b":6}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"a":2}"#,
            "no",
            r#"{"a_b":1,"a":{"b":2}}"#,
            r#"{"ab":1,"":{"b":2}}"#,
        ];
        let mut fields = PlainFields::default();
        for (line, name) in lines.iter().flat_map(|line| ["a", "b", "a_b"].map(|name| (*line, name))) {
            let found = fields.read(LineSyntax::Json, line).then(|| fields.value(line, name));
            assert_eq!(found, field_of_line(LineSyntax::Json, line, name), "{line} {name}");
        }
    }

    #[test]
    fn numbers_are_those_of_json() {
        for (text, expect) in
            [("0", Some(0.0)), ("-1.25", Some(-1.25)), ("1e2", Some(100.0)), ("1e999", None)]
        {
            assert_eq!(number_of(text), expect, "{text}");
        }
        for text in ["", "+1", "01", "1.", ".5", "1e", "inf", "NaN", "0x1", "1_0"] {
            assert_eq!(number_of(text), None, "{text}");
        }
    }
}
