//! The tree.

/// A place in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Line, from 1; 0 for something that is not written.
    pub line: usize,
    /// Column in characters, from 1; 0 for something that is not written.
    pub column: usize,
}

/// What kind of value a node is, by its tag or by how it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `null`, `~` or nothing.
    Null,
    /// `true`, `false`.
    Bool,
    /// An integer.
    Int,
    /// A number with a fraction or an exponent.
    Float,
    /// A text.
    Str,
    /// A date.
    Timestamp,
    /// Base64.
    Binary,
    /// `<<`.
    Merge,
    /// A sequence.
    Seq,
    /// A mapping.
    Map,
    /// A tag that YAML does not define, as written.
    Other(String),
}

impl Tag {
    /// Its short name: `!!int`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Null => "!!null",
            Self::Bool => "!!bool",
            Self::Int => "!!int",
            Self::Float => "!!float",
            Self::Str => "!!str",
            Self::Timestamp => "!!timestamp",
            Self::Binary => "!!binary",
            Self::Merge => "!!merge",
            Self::Seq => "!!seq",
            Self::Map => "!!map",
            Self::Other(name) => name,
        }
    }
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it starts; for an alias the place of what it stands for.
    pub mark: Mark,
    /// What it is.
    pub tag: Tag,
    /// True for a scalar without quotes and without a tag: readers older than go-yaml v3 take some of these for others.
    pub plain: bool,
    /// What is in it.
    pub content: Content,
}

/// What is in a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A text, escapes and folding done.
    Scalar(String),
    /// Items in order.
    Sequence(Vec<Node>),
    /// Keys and values in order, repeated ones included.
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    /// The text of a scalar; empty for anything else.
    #[must_use]
    pub fn text(&self) -> &str {
        match &self.content {
            Content::Scalar(text) => text,
            _ => "",
        }
    }

    /// The value of a key of a mapping.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.content {
            Content::Mapping(pairs) => {
                pairs.iter().find(|(name, _)| name.text() == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// True for a scalar that stands for no value.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.tag == Tag::Null
    }
}
