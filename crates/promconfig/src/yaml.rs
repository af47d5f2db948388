//! YAML documents as trees with lines, and scalars resolved as Go's `yaml.v2` resolves them: that is the reader that
//! `prometheus.yml` has always been written for (`yes` is a boolean, `1_000` a number, any plain scalar can be a text).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use std::collections::HashMap;
use std::fmt;

use granit_parser::{Event, Parser, ScalarStyle, Tag};

/// Deepest nesting of a document.
const DEPTH_MAX: usize = 64;
/// Most nodes of a document, those that aliases repeat included.
const NODES_MAX: usize = 1_000_000;

/// A value in a document.
#[derive(Clone, Debug)]
pub struct Node {
    /// Line it starts on, from 1.
    pub line: usize,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A single value.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// Keys with values, in the order of the document; keys may repeat.
    Map(Vec<(Node, Node)>),
}

/// A single value as written.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// The text, unescaped.
    pub text: String,
    /// Written without quotes, so that it may be something other than text.
    pub plain: bool,
    /// The tag's last word, such as `binary`.
    pub tag: Option<String>,
}

/// What a scalar stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Text,
    /// Bytes.
    Binary(Vec<u8>),
}

/// Why a text is not a YAML document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "yaml: line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for YamlError {}

impl Node {
    /// True for an explicit or an absent value.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.resolve() == Ok(Value::Null))
    }

    /// The short tag that Go's messages give this node.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match &self.kind {
            Kind::List(_) => "!!seq",
            Kind::Map(_) => "!!map",
            Kind::Scalar(scalar) => match scalar.resolve() {
                Ok(Value::Null) => "!!null",
                Ok(Value::Bool(_)) => "!!bool",
                Ok(Value::Int(_)) => "!!int",
                Ok(Value::Float(_)) => "!!float",
                Ok(Value::Binary(_)) => "!!binary",
                Ok(Value::Text) | Err(_) => "!!str",
            },
        }
    }
}

impl Scalar {
    /// What the scalar stands for; an error when its tag does not fit.
    pub fn resolve(&self) -> Result<Value, String> {
        match self.tag.as_deref() {
            Some("binary") => {
                let bytes = base64(&self.text);
                bytes
                    .map(Value::Binary)
                    .ok_or_else(|| "!!binary value contains invalid base64 data".to_owned())
            }
            Some("str") => Ok(Value::Text),
            Some("null") => Ok(Value::Null),
            Some("int" | "float" | "bool") => Ok(resolve_plain(&self.text)),
            _ if self.plain => Ok(resolve_plain(&self.text)),
            _ => Ok(Value::Text),
        }
    }
}

fn resolve_plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    let starts_like_a_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    if !starts_like_a_number {
        return Value::Text;
    }
    let plain = text.replace('_', "");
    integer(&plain).map(Value::Int).or_else(|| float(&plain).map(Value::Float)).unwrap_or(Value::Text)
}

/// Go's `strconv.ParseInt` with base 0, and `0b`.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, radix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (lower.get(2..)?, 16),
        [b'0', b'b', ..] => (lower.get(2..)?, 2),
        [b'0', b'o', ..] => (lower.get(2..)?, 8),
        [b'0', _, ..] => (lower.get(1..)?, 8),
        _ => (lower.as_str(), 10),
    };
    let starts_with_digit = digits.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let value = i128::from_str_radix(digits, radix).ok().filter(|_| starts_with_digit)?;
    // Larger than a u64 reads as a float there.
    let value = if negative { -value } else { value };
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+');
    let starts = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !starts || !unsigned.chars().all(numeric) || !unsigned.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Standard base64 with padding; line ends may stand anywhere.
fn base64(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    GeneralPurpose::new(&alphabet::STANDARD, config).decode(digits).ok()
}

/// The first document of a text; `None` when there is none. Bytes that are not UTF-8 are an error.
pub fn parse(bytes: &[u8]) -> Result<Option<Node>, YamlError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        YamlError { line, problem: "invalid UTF-8".to_owned() }
    })?;
    Builder::default().document(text)
}

/// A list or map that is not closed yet.
struct Open {
    anchor: usize,
    line: usize,
    children: Vec<Node>,
    is_map: bool,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder {
    fn document(mut self, text: &str) -> Result<Option<Node>, YamlError> {
        for event in Parser::new_from_str(text) {
            let (event, span) =
                event.map_err(|error| YamlError { line: error.marker().line(), problem: error.info() })?;
            let line = span.start.line();
            match event {
                Event::Scalar(text, style, anchor, tag) => {
                    let scalar = Scalar {
                        text: text.into_owned(),
                        plain: style == ScalarStyle::Plain,
                        tag: tag.as_deref().map(tag_word),
                    };
                    self.add(Node { line, kind: Kind::Scalar(scalar) }, anchor)?;
                }
                Event::SequenceStart(_, anchor, _) => self.begin(line, anchor, false)?,
                Event::MappingStart(_, anchor, _) => self.begin(line, anchor, true)?,
                Event::SequenceEnd | Event::MappingEnd => self.end()?,
                Event::Alias(anchor) => self.repeat(anchor, line)?,
                Event::DocumentEnd => break,
                _ => {}
            }
        }
        Ok(self.root)
    }

    fn begin(&mut self, line: usize, anchor: usize, is_map: bool) -> Result<(), YamlError> {
        if self.open.len() >= DEPTH_MAX {
            let problem = format!("is nested deeper than {DEPTH_MAX} levels");
            return Err(YamlError { line, problem });
        }
        self.open.push(Open { anchor, line, children: Vec::new(), is_map });
        Ok(())
    }

    fn end(&mut self) -> Result<(), YamlError> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let kind = if open.is_map {
            let mut pairs = Vec::with_capacity(open.children.len() / 2);
            let mut children = open.children.into_iter();
            while let (Some(key), Some(value)) = (children.next(), children.next()) {
                pairs.push((key, value));
            }
            Kind::Map(pairs)
        } else {
            Kind::List(open.children)
        };
        self.add(Node { line: open.line, kind }, open.anchor)
    }

    fn repeat(&mut self, anchor: usize, line: usize) -> Result<(), YamlError> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(YamlError { line, problem: "refers to an anchor that is not complete".to_owned() });
        };
        self.nodes += size(&node);
        self.add(node, 0)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            let problem = format!("document contains excessive aliasing: more than {NODES_MAX} values");
            return Err(YamlError { line: node.line, problem });
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }
}

/// Values in a node; depth is bounded by [`DEPTH_MAX`] per alias, and aliases by [`NODES_MAX`].
fn size(node: &Node) -> usize {
    let mut count = 0;
    let mut left = vec![node];
    while let Some(node) = left.pop() {
        count += 1;
        match &node.kind {
            Kind::Scalar(_) => {}
            Kind::List(items) => left.extend(items),
            Kind::Map(pairs) => left.extend(pairs.iter().flat_map(|(key, value)| [key, value])),
        }
    }
    count
}

fn tag_word(tag: &Tag) -> String {
    tag.suffix().rsplit(':').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_what_go_takes_them_for() {
        for (text, expect) in [
            ("yes", Value::Bool(true)),
            ("Off", Value::Bool(false)),
            ("~", Value::Null),
            ("", Value::Null),
            ("10", Value::Int(10)),
            ("1_000", Value::Int(1000)),
            ("0x1F", Value::Int(31)),
            ("010", Value::Int(8)),
            ("-5", Value::Int(-5)),
            ("1.5", Value::Float(1.5)),
            (".5e3", Value::Float(500.0)),
            ("1m", Value::Text),
            ("-", Value::Text),
            ("1.2.3", Value::Text),
            ("localhost", Value::Text),
        ] {
            assert_eq!(resolve_plain(text), expect, "{text}");
        }
        assert_eq!(base64("/w=="), Some(vec![0xff]));
        assert_eq!(base64("aGVs\nbG8="), Some(b"hello".to_vec()));
        assert_eq!(base64("/w==$1"), None);
    }

    #[test]
    fn documents_have_lines_anchors_and_bounds() {
        let root = parse(b"a: &x [1, 2]\nb: *x\n").unwrap().unwrap();
        let Kind::Map(pairs) = root.kind else { panic!() };
        assert_eq!(pairs.iter().map(|(key, _)| key.line).collect::<Vec<_>>(), [1, 2]);
        assert!(matches!(&pairs[1].1.kind, Kind::List(items) if items.len() == 2));
        assert!(parse(b"").unwrap().is_none());
        assert!(parse(b"a: [").is_err());
        assert!(parse(&[b'['; 1000]).is_err());
        assert!(parse(b"a: \xff").is_err());
    }
}
