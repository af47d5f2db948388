//! Text to tree. The first document counts; that there are more is told.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span};

use crate::node::{Content, Mark, Node, Tag};
use crate::resolve;

/// Deepest nesting of a document.
pub const DEPTH_MAX: usize = 200;
/// Most nodes of a document once aliases are expanded.
pub const NODES_MAX: usize = 1_000_000;
/// Longest text that is read, in bytes.
pub const TEXT_BYTES_MAX: usize = 64 << 20;

/// The first document of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its value; none for a text without any.
    pub root: Option<Node>,
    /// True when something follows the document, be it well formed or not.
    pub more: bool,
}

/// Why a text is not YAML. `Display` gives go-yaml's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The line that go-yaml names, if it names one.
    pub line: Option<usize>,
    /// Where reading stopped.
    pub mark: Mark,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "yaml: line {line}: {}", self.message),
            None => write!(f, "yaml: {}", self.message),
        }
    }
}

impl std::error::Error for SyntaxError {}

fn refused(message: impl Into<String>) -> SyntaxError {
    SyntaxError { line: None, mark: Mark::default(), message: message.into() }
}

/// Reads the first document.
pub fn read(bytes: &[u8]) -> Result<Document, SyntaxError> {
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(refused(format!("file is longer than {TEXT_BYTES_MAX} bytes; split it")));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| refused("invalid leading UTF-8 octet"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.chars().any(is_control) {
        return Err(refused("control characters are not allowed"));
    }
    let mut text = Cow::Borrowed(text);
    for _ in 0..UNDERINDENTED_LINES_MAX {
        match Reader::new(&text).document() {
            Err(Stopped::Underindented { line, columns }) => {
                text = Cow::Owned(indented(&text, line, columns))
            }
            Err(Stopped::Refused(error)) => return Err(error),
            Ok(document) => return Ok(document),
        }
    }
    Err(refused(format!(
        "more than {UNDERINDENTED_LINES_MAX} lines of quoted texts are not indented; indent them"
    )))
}

/// Most lines of quoted texts that stand further left than they should. go-yaml lets them pass, our parser does not;
/// each costs a pass.
const UNDERINDENTED_LINES_MAX: usize = 256;

/// Why reading stopped.
enum Stopped {
    Refused(SyntaxError),
    /// The line of a quoted text needs so many more columns; they do not become part of its value.
    Underindented {
        line: usize,
        columns: usize,
    },
}

impl From<SyntaxError> for Stopped {
    fn from(error: SyntaxError) -> Self {
        Self::Refused(error)
    }
}

/// The text with spaces in front of a line.
fn indented(text: &str, line: usize, columns: usize) -> String {
    let start = match line {
        0 | 1 => 0,
        line => text.match_indices('\n').nth(line - 2).map_or(text.len(), |(at, _)| at + 1),
    };
    let (before, after) = text.split_at(start);
    format!("{before}{}{after}", " ".repeat(columns))
}

fn options() -> Options {
    let mut options = Options::default();
    options.block_nesting_limit = DEPTH_MAX * 2;
    options.flow_nesting_limit = DEPTH_MAX * 2;
    options
}

/// Characters that YAML forbids.
fn is_control(c: char) -> bool {
    let allowed = matches!(c, '\t' | '\n' | '\r' | '\u{85}' | '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{d7ff}'
        | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}');
    !allowed
}

/// A collection whose end has not come.
struct Open {
    mark: Mark,
    anchor: usize,
    tag: Tag,
    children: Vec<Node>,
    mapping: bool,
}

struct Reader<'t> {
    text: &'t str,
    lines: Vec<&'t str>,
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        let parser = Parser::new_from_str_with_options(text, options());
        let lines = text.lines().collect();
        Self { text, lines, parser, open: Vec::new(), anchors: HashMap::new(), nodes: 0 }
    }

    fn document(mut self) -> Result<Document, Stopped> {
        let mut root = None;
        loop {
            let Some(event) = self.parser.next_event() else { return Ok(Document { root, more: false }) };
            let (event, span) = match event {
                Ok(event) => event,
                Err(error) => return Err(self.stop(&error)),
            };
            match event {
                Event::DocumentEnd => {
                    let more = self.more();
                    return Ok(Document { root, more });
                }
                Event::StreamEnd => return Ok(Document { root, more: false }),
                event => root = self.event(event, &span)?.or(root),
            }
        }
    }

    /// True when the stream goes on behind the first document.
    fn more(&mut self) -> bool {
        !matches!(self.parser.next_event(), None | Some(Ok((Event::StreamEnd, _))))
    }

    /// Takes an event in; gives the root when it is complete.
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<Option<Node>, SyntaxError> {
        let mark = Mark { line: span.start.line(), column: span.start.col() + 1 };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let mark = match block {
                    true => self.indicator(mark),
                    false if span.is_empty() && style == ScalarStyle::Plain => self.behind_indicator(mark),
                    false => mark,
                };
                let written = tag.as_ref().map(|tag| named(&tag.original(), tag.core_suffix(), tag.suffix()));
                let plain = style == ScalarStyle::Plain && written.is_none();
                let tag = written.unwrap_or_else(|| if plain { resolve::plain(&text) } else { Tag::Str });
                self.complete(Node { mark, tag, plain, content: Content::Scalar(text.into_owned()) }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(mark, anchor, Tag::Seq, false),
            Event::MappingStart(_, anchor, _) => self.begin(mark, anchor, Tag::Map, true),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(target) => {
                let Some(node) = self.anchors.get(&target).cloned() else {
                    return Err(refused("anchor value contains itself"));
                };
                self.nodes += size(&node);
                self.complete(node, 0)
            }
            _ => Ok(None),
        }
    }

    fn begin(
        &mut self,
        mark: Mark,
        anchor: usize,
        tag: Tag,
        mapping: bool,
    ) -> Result<Option<Node>, SyntaxError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(SyntaxError {
                line: Some(mark.line),
                mark,
                message: format!("exceeded depth of {DEPTH_MAX}"),
            });
        }
        self.open.push(Open { mark, anchor, tag, children: Vec::new(), mapping });
        Ok(None)
    }

    fn end(&mut self) -> Result<Option<Node>, SyntaxError> {
        let Some(open) = self.open.pop() else { return Ok(None) };
        let content = if open.mapping {
            Content::Mapping(pairs(open.children))
        } else {
            Content::Sequence(open.children)
        };
        self.complete(Node { mark: open.mark, tag: open.tag, plain: false, content }, open.anchor)
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<Option<Node>, SyntaxError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(refused("document contains excessive aliasing"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(parent) => {
                parent.children.push(node);
                Ok(None)
            }
            None => Ok(Some(node)),
        }
    }

    fn stop(&self, error: &ScanError) -> Stopped {
        match error.kind() {
            ErrorKind::InvalidQuotedScalarIndent => {
                let columns = self.open.last().map_or(1, |open| open.mark.column + 1);
                Stopped::Underindented { line: error.marker().line(), columns }
            }
            _ => Stopped::Refused(self.refuse(error)),
        }
    }

    /// Where the `|` or `>` of a block text stands; the parser only tells where its first line does.
    fn indicator(&self, content: Mark) -> Mark {
        for line in (1..=content.line).rev() {
            let text = self.lines.get(line - 1).copied().unwrap_or("");
            if let Some(column) = header(text) {
                return Mark { line, column };
            }
            if line < content.line && !text.trim().is_empty() {
                break;
            }
        }
        content
    }

    /// Where a value that is not written would stand: behind its `:` or `-`.
    fn behind_indicator(&self, mark: Mark) -> Mark {
        let line = self.lines.get(mark.line.saturating_sub(1)).copied().unwrap_or("");
        match line.chars().nth(mark.column.saturating_sub(1)) {
            Some(':' | '-' | '?') => Mark { column: mark.column + 1, ..mark },
            _ => mark,
        }
    }

    fn refuse(&self, error: &ScanError) -> SyntaxError {
        let at = error.marker();
        let mark = Mark { line: at.line(), column: at.col() + 1 };
        let (fault, message) = spoken(error.kind());
        // go-yaml finds out at the end of the text, where granit names the bracket.
        let unclosed = matches!(error.kind(), ErrorKind::UnclosedFlowCollection { .. });
        let stumbled = if unclosed { self.text.matches('\n').count() + 1 } else { mark.line };
        let line = match fault {
            // go-yaml names the line before the one where the collection starts or, for the first line, where it
            // stumbled.
            Fault::Grammar => [self.open.last().map_or(0, |open| open.mark.line), stumbled]
                .into_iter()
                .map(|line| line.saturating_sub(1))
                .find(|line| *line > 0),
            Fault::Scanner => (mark.line > 1).then_some(mark.line),
            Fault::Reference => {
                let message = format!("unknown anchor '{}' referenced", self.alias_at(mark));
                return SyntaxError { line: None, mark, message };
            }
        };
        SyntaxError { line, mark, message }
    }

    /// The name behind the `*` at a place.
    fn alias_at(&self, mark: Mark) -> &str {
        let line = self.text.lines().nth(mark.line.saturating_sub(1)).unwrap_or("");
        let start = line.char_indices().nth(mark.column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
        let rest = line.get(start..).unwrap_or("").trim_start_matches('*');
        rest.split(|c: char| c.is_whitespace() || ",[]{}".contains(c)).next().unwrap_or("")
    }
}

/// The column of the `|` or `>` that ends a line, comments aside.
fn header(line: &str) -> Option<usize> {
    let code = line.find(" #").and_then(|at| line.get(..at)).unwrap_or(line).trim_end();
    let start = code.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    let before = start.strip_suffix(['|', '>'])?;
    Some(before.chars().count() + 1)
}

/// Which part of go-yaml finds a fault; it decides which line is named.
enum Fault {
    Scanner,
    Grammar,
    Reference,
}

/// go-yaml's words for a fault.
fn spoken(kind: &ErrorKind) -> (Fault, String) {
    use Fault::{Grammar, Scanner};
    let (fault, text) = match kind {
        ErrorKind::UnknownAnchor => (Fault::Reference, ""),
        ErrorKind::UnclosedFlowCollection { open: '[' }
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::ExpectedFlowSequenceSeparator => (Grammar, "did not find expected ',' or ']'"),
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::ExpectedFlowMappingSeparator => (Grammar, "did not find expected ',' or '}'"),
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::UnexpectedEofBlockMapping
        | ErrorKind::InvalidIndentation
        | ErrorKind::InvalidTrailingSingleQuotedScalar
        | ErrorKind::InvalidTrailingDoubleQuotedScalar => (Grammar, "did not find expected key"),
        ErrorKind::ExpectedBlockSequenceEntry | ErrorKind::UnexpectedEofBlockSequence => {
            (Grammar, "did not find expected '-' indicator")
        }
        ErrorKind::ExpectedDocumentStart => (Grammar, "did not find expected <document start>"),
        ErrorKind::ExpectedNodeContent
        | ErrorKind::MisplacedFlowCollectionEnd
        | ErrorKind::MismatchedFlowCollectionEnd { .. } => (Grammar, "did not find expected node content"),
        ErrorKind::UnexpectedCharacter { .. }
        | ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation => (Scanner, "found character that cannot start any token"),
        ErrorKind::TabInPlainScalar => (Scanner, "found a tab character that violates indentation"),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            (Scanner, "could not find expected ':'")
        }
        ErrorKind::UnclosedQuotedScalar => (Scanner, "found unexpected end of stream"),
        other => {
            let text = other.to_string();
            let tail = text.strip_prefix("while ").and_then(|rest| rest.split_once(", "));
            return (Scanner, tail.map_or(text.as_str(), |(_, tail)| tail).to_owned());
        }
    };
    (fault, text.to_owned())
}

fn named(written: &str, core: Option<&str>, suffix: &str) -> Tag {
    match core.unwrap_or(suffix) {
        "null" => Tag::Null,
        "bool" => Tag::Bool,
        "int" => Tag::Int,
        "float" => Tag::Float,
        "str" | "" => Tag::Str,
        "timestamp" => Tag::Timestamp,
        "binary" => Tag::Binary,
        "merge" => Tag::Merge,
        _ => Tag::Other(written.to_owned()),
    }
}

fn pairs(children: Vec<Node>) -> Vec<(Node, Node)> {
    let mut pairs = Vec::with_capacity(children.len() / 2);
    let mut children = children.into_iter();
    while let (Some(key), Some(value)) = (children.next(), children.next()) {
        pairs.push((key, value));
    }
    pairs
}

/// Nodes in a tree. Depth is bounded by [`DEPTH_MAX`] per alias, and aliases nest no deeper than the text does.
fn size(node: &Node) -> usize {
    let mut count = 0;
    let mut waiting = vec![node];
    while let Some(node) = waiting.pop() {
        count += 1;
        match &node.content {
            Content::Scalar(_) => {}
            Content::Sequence(items) => waiting.extend(items),
            Content::Mapping(pairs) => waiting.extend(pairs.iter().flat_map(|(key, value)| [key, value])),
        }
    }
    count
}
