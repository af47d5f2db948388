//! Typed values out of a tree, with go-yaml v3's verdicts.

use crate::node::{Content, Node, Tag};
use crate::resolve;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// Most mistakes that are told.
const ERRORS_MAX: usize = 100;

/// Takes values and collects what is wrong with them. Go type names are those of the program whose verdict counts.
#[derive(Debug, Default)]
pub struct Decoder {
    known_fields: bool,
    errors: Vec<String>,
    fatal: Option<String>,
}

impl Decoder {
    /// A decoder. With `known_fields`, fields that nobody knows are mistakes.
    #[must_use]
    pub fn new(known_fields: bool) -> Self {
        Self { known_fields, ..Self::default() }
    }

    /// What was wrong: all of it, or the first value that a type's own reader refused.
    pub fn finish(self) -> Result<(), String> {
        match self.fatal {
            Some(fatal) => Err(fatal),
            None if self.errors.is_empty() => Ok(()),
            None => Err(format!("yaml: unmarshal errors:\n  {}", self.errors.join("\n  "))),
        }
    }

    /// Says that a value was refused by the reader of its own type; nothing behind it is told.
    pub fn refuse(&mut self, message: impl Into<String>) {
        self.fatal.get_or_insert_with(|| message.into());
    }

    fn add(&mut self, message: String) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(message);
        }
    }

    /// Says that a node cannot be a value of that type.
    pub fn mismatch(&mut self, node: &Node, go_type: &str) {
        let value = match &node.content {
            Content::Scalar(text) if text.len() > 10 => format!(" `{}...`", cut(text, 7)),
            Content::Scalar(text) => format!(" `{text}`"),
            _ => String::new(),
        };
        self.add(format!(
            "line {}: cannot unmarshal {}{value} into {go_type}",
            node.mark.line,
            node.tag.name()
        ));
    }

    /// The fields of a struct, merged ones behind its own. None for a null or a mistake.
    pub fn fields<'n>(&mut self, node: &'n Node, go_type: &str) -> Option<Vec<(&'n Node, &'n Node)>> {
        let Content::Mapping(pairs) = &node.content else {
            if !node.is_null() {
                self.mismatch(node, go_type);
            }
            return None;
        };
        if self.repeats(pairs) {
            return None;
        }
        let mut fields = Vec::with_capacity(pairs.len());
        let mut merges = Vec::new();
        for (key, value) in pairs {
            match (&key.tag, &key.content) {
                (Tag::Merge, _) => merges.push(value),
                (_, Content::Scalar(_)) => fields.push((key, value)),
                _ => self.mismatch(key, "string"),
            }
        }
        for merge in merges {
            self.merge(merge, &mut fields);
        }
        Some(fields)
    }

    /// Adds the fields that a `<<` brings and that are not there yet.
    fn merge<'n>(&mut self, node: &'n Node, fields: &mut Vec<(&'n Node, &'n Node)>) {
        let sources: Vec<&Node> = match &node.content {
            Content::Mapping(_) => vec![node],
            Content::Sequence(items) => items.iter().collect(),
            Content::Scalar(_) => {
                return self.refuse("yaml: map merge requires map or sequence of maps as the value");
            }
        };
        for source in sources {
            let Content::Mapping(pairs) = &source.content else {
                return self.refuse("yaml: map merge requires map or sequence of maps as the value");
            };
            for (key, value) in pairs {
                if !fields.iter().any(|(known, _)| known.text() == key.text()) {
                    fields.push((key, value));
                }
            }
        }
    }

    /// True when a key is there twice.
    fn repeats(&mut self, pairs: &[(Node, Node)]) -> bool {
        let mut first = std::collections::HashMap::new();
        let before = self.errors.len();
        for (key, _) in pairs {
            let Content::Scalar(text) = &key.content else { continue };
            match first.get(text.as_str()) {
                None => drop(first.insert(text.as_str(), key.mark.line)),
                Some(line) => {
                    self.add(format!(
                        "line {}: mapping key {text:?} already defined at line {line}",
                        key.mark.line
                    ));
                }
            }
        }
        self.errors.len() > before
    }

    /// Says that a type has no such field, if that is a mistake.
    pub fn unknown(&mut self, key: &Node, go_type: &str) {
        if self.known_fields {
            self.add(format!("line {}: field {} not found in type {go_type}", key.mark.line, key.text()));
        }
    }

    /// The items of a list. None for a null or a mistake.
    pub fn items<'n>(&mut self, node: &'n Node, go_type: &str) -> Option<&'n [Node]> {
        match &node.content {
            Content::Sequence(items) => Some(items),
            _ => {
                if !node.is_null() {
                    self.mismatch(node, go_type);
                }
                None
            }
        }
    }

    /// A text; any scalar is one. None for a null or a mistake.
    pub fn string(&mut self, node: &Node) -> Option<String> {
        match &node.content {
            Content::Scalar(_) if node.is_null() => None,
            Content::Scalar(text) if node.tag == Tag::Binary => match binary(text) {
                Some(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
                None => {
                    self.refuse("yaml: !!binary value contains invalid base64 data");
                    None
                }
            },
            Content::Scalar(text) => Some(text.clone()),
            _ => {
                self.mismatch(node, "string");
                None
            }
        }
    }

    /// An integer; numbers with a fraction lose it. None for a null or a mistake.
    pub fn int(&mut self, node: &Node, go_type: &str) -> Option<i64> {
        let value = match (&node.tag, &node.content) {
            (Tag::Null, _) => return None,
            (Tag::Int, Content::Scalar(text)) => {
                resolve::integer(text).and_then(|value| i64::try_from(value).ok())
            }
            (Tag::Float, Content::Scalar(text)) => {
                let value: Option<f64> = text.replace('_', "").parse().ok();
                value.filter(|value| value.abs() < 9.2e18).map(|value| value as i64)
            }
            _ => None,
        };
        if value.is_none() {
            self.mismatch(node, go_type);
        }
        value
    }

    /// A `map[string]string`, in the order written.
    pub fn string_map(&mut self, node: &Node) -> Vec<(String, String)> {
        let Some(fields) = self.fields(node, "map[string]string") else { return Vec::new() };
        let mut map = Vec::with_capacity(fields.len());
        for (key, value) in fields {
            if key.is_null() {
                continue;
            }
            let text = if value.is_null() { Some(String::new()) } else { self.string(value) };
            map.extend(text.map(|text| (key.text().to_owned(), text)));
        }
        map
    }
}

/// The first bytes of a text, whole characters only.
fn cut(text: &str, len: usize) -> &str {
    let end = (0..=len.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or("")
}

/// The bytes of a `!!binary`: standard base64 with padding, line ends skipped.
#[must_use]
pub fn binary(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    GeneralPurpose::new(&alphabet::STANDARD, config).decode(digits).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    /// Decodes `{name: string, limit: int, labels: map, list: [string]}`.
    fn check(text: &str, expect: &str) {
        let verdict = match read(text.as_bytes()) {
            Err(error) => error.to_string(),
            Ok(document) => {
                let mut decoder = Decoder::new(true);
                if let Some(root) = &document.root {
                    thing(&mut decoder, root);
                }
                let verdict = decoder.finish().err().unwrap_or_else(|| "ok".to_owned());
                if document.more { verdict + " and more" } else { verdict }
            }
        };
        assert_eq!(verdict.replace("yaml: unmarshal errors:\n  ", ""), expect, "{text}");
    }

    fn thing(decoder: &mut Decoder, root: &Node) {
        for (key, value) in decoder.fields(root, "t.Thing").unwrap_or_default() {
            match key.text() {
                "name" => drop(decoder.string(value)),
                "limit" => drop(decoder.int(value, "int")),
                "labels" => drop(decoder.string_map(value)),
                "list" => {
                    for item in decoder.items(value, "[]string").unwrap_or_default() {
                        decoder.string(item);
                    }
                }
                _ => decoder.unknown(key, "t.Thing"),
            }
        }
    }

    #[test]
    fn types_and_fields() {
        check("name: 1\nlimit: 5\nlabels: {a: 1, b: ~}\nlist: [a, 2]\n", "ok");
        check("", "ok");
        check("# nothing\n", "ok");
        check("name: [1]\n", "line 1: cannot unmarshal !!seq into string");
        check("limit: five\n", "line 1: cannot unmarshal !!str `five` into int");
        check("limit: 1.5\nnope: 1\n", "line 2: field nope not found in type t.Thing");
        check("- a\n", "line 1: cannot unmarshal !!seq into t.Thing");
        check("just a long text\n", "line 1: cannot unmarshal !!str `just a ...` into t.Thing");
        check("name: a\nlist: x\nname: b\n", "line 3: mapping key \"name\" already defined at line 1");
        check("labels:\n  a: {}\n  a: b\n", "line 3: mapping key \"a\" already defined at line 2");
        check("labels:\n  a: {}\n", "line 2: cannot unmarshal !!map into string");
        check("name: !!binary \"x\"\n", "yaml: !!binary value contains invalid base64 data");
        check("---\nname: a\n---\nname: [\n", "ok and more");
    }

    #[test]
    fn merges_and_aliases() {
        check("labels: &l {a: b}\nlist: [*u]\n", "yaml: unknown anchor 'u' referenced");
        check("<<: {name: x, nope: y}\nname: z\n", "line 1: field nope not found in type t.Thing");
        check("<<: 5\n", "yaml: map merge requires map or sequence of maps as the value");
    }

    #[test]
    fn syntax() {
        check("a: b: c\n", "yaml: mapping values are not allowed in this context");
        check("x: 1\na: b: c\n", "yaml: line 2: mapping values are not allowed in this context");
        check("name: \u{1}\n", "yaml: control characters are not allowed");
        check("name: [a\n", "yaml: line 1: did not find expected ',' or ']'");
        check("\n\nname: `a`\n", "yaml: line 3: found character that cannot start any token");
        check("labels:\n\ta: b\n", "yaml: line 2: found character that cannot start any token");
        check("x: 1\nname: \"a\n", "yaml: line 2: found unexpected end of stream");
        let deep = "[".repeat(100_000);
        assert!(read(deep.as_bytes()).is_err());
        let deep = (0..2000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>();
        assert!(read(deep.as_bytes()).is_err());
    }

    #[test]
    fn places() {
        let place = |text: &str| {
            let document = read(text.as_bytes()).unwrap();
            let mark = document.root.as_ref().and_then(|root| root.get("a")).map(|node| node.mark).unwrap();
            (mark.line, mark.column)
        };
        assert_eq!(place("b: 1\na:   x\n"), (2, 6));
        assert_eq!(place("b: |\n  x\na: >-  # why\n\n  x | y\n  z\n"), (3, 4));
        assert_eq!(place("a: |\n"), (1, 4));
        assert_eq!(place("a: \"x\n\ny\nz\"\nb: 1\n"), (1, 4));
        assert_eq!(place("b: c\na:\n"), (2, 3));
    }

    #[test]
    fn alias_bombs_are_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let items = format!("*a{}, ", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert_eq!(read(text.as_bytes()).unwrap_err().message, "document contains excessive aliasing");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-a:\\[\\]{}&*!|>'\"%@`,? \n\t#x0~<.]{0,60}") {
            let _ = read(text.as_bytes());
        }
    }
}
