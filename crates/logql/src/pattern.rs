//! Patterns such as `<ip> - <_> "<method> <path>"`: literals with captures between them, used by the `pattern` parser
//! and by the line filters `|>` and `!>`. Matching is a chain of substring searches, so it is linear.

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Literal(String),
    /// The name; `_` captures nothing.
    Capture(String),
}

impl Node {
    fn is_capture(&self) -> bool {
        matches!(self, Self::Capture(_))
    }

    fn text(&self) -> String {
        match self {
            Self::Literal(text) => text.clone(),
            Self::Capture(name) => format!("<{name}>"),
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Capture(name) if name != "_" => Some(name),
            _ => None,
        }
    }
}

impl Pattern {
    /// A pattern for the parser: at least one named capture, each name once, no two captures without text between.
    pub(crate) fn for_parser(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            let expected = "syntax error: unexpected $end, expecting IDENTIFIER or LITERAL";
            return Err(format!("parse error at line 1, col 1: {expected}"));
        }
        let pattern = Self::read(text);
        let names: Vec<&str> = pattern.names().collect();
        if names.is_empty() {
            return Err("at least one capture is required".to_owned());
        }
        pattern.refuse_neighbours()?;
        for (index, name) in names.iter().enumerate() {
            if names.get(..index).is_some_and(|before| before.contains(name)) {
                return Err(format!("duplicate capture name ({name}): invalid expression"));
            }
        }
        Ok(pattern)
    }

    /// A pattern for a line filter: captures must be unnamed.
    pub(crate) fn for_filter(text: &str) -> Result<Self, String> {
        let pattern = Self::read(text);
        pattern.refuse_neighbours()?;
        match pattern.nodes.iter().find(|node| node.name().is_some()) {
            Some(node) => Err(format!("named captures are not allowed: found '{}'", node.text())),
            None => Ok(pattern),
        }
    }

    /// Cuts a pattern into its parts; any text is one.
    pub(crate) fn read(text: &str) -> Self {
        let (mut nodes, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(c) = rest.chars().next() {
            if let Some((name, after)) = capture(rest) {
                if !literal.is_empty() {
                    nodes.push(Node::Literal(std::mem::take(&mut literal)));
                }
                nodes.push(Node::Capture(name.to_owned()));
                rest = after;
            } else {
                literal.push(c);
                rest = rest.get(c.len_utf8()..).unwrap_or("");
            }
        }
        if !literal.is_empty() {
            nodes.push(Node::Literal(literal));
        }
        Self { nodes }
    }

    fn refuse_neighbours(&self) -> Result<(), String> {
        for (one, two) in self.nodes.iter().zip(self.nodes.iter().skip(1)) {
            if one.is_capture() && two.is_capture() {
                return Err(format!(
                    "found consecutive capture '{}{}': invalid expression",
                    one.text(),
                    two.text()
                ));
            }
        }
        Ok(())
    }

    /// Names of the captures, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter_map(Node::name)
    }

    /// The parts as written.
    #[cfg(test)]
    pub(crate) fn texts(&self) -> Vec<String> {
        self.nodes.iter().map(Node::text).collect()
    }

    /// The literal parts, in order.
    #[cfg(test)]
    pub(crate) fn literals(&self) -> Vec<&str> {
        fn literal(node: &Node) -> Option<&str> {
            match node {
                Node::Literal(text) => Some(text),
                Node::Capture(_) => None,
            }
        }
        self.nodes.iter().filter_map(literal).collect()
    }

    /// Longest literal: what every matching line contains.
    pub(crate) fn needle(&self) -> &str {
        let text = |node: &Node| if let Node::Literal(text) = node { text.len() } else { 0 };
        match self.nodes.iter().max_by_key(|node| text(node)) {
            Some(Node::Literal(text)) => text,
            _ => "",
        }
    }

    /// Hands out what the named captures hold, as far as the line goes along with the pattern: a capture whose closing
    /// literal is missing takes the rest of the line and is the last.
    pub(crate) fn captures<'p, 'l>(&'p self, line: &'l str, mut found: impl FnMut(&'p str, &'l str)) {
        let mut nodes = self.nodes.iter();
        let mut rest = line;
        if let Some(Node::Literal(start)) = self.nodes.first() {
            nodes.next();
            let Some(after) = line.strip_prefix(start.as_str()) else { return };
            rest = after;
        }
        if line.is_empty() {
            return;
        }
        while let Some(capture) = nodes.next() {
            let end = match nodes.next() {
                Some(Node::Literal(text)) => rest.find(text.as_str()).map(|at| (at, at + text.len())),
                _ => None,
            };
            let (value, after) = match end {
                Some((at, after)) => (rest.get(..at), rest.get(after..)),
                None => (Some(rest), None),
            };
            if let (Some(name), Some(value)) = (capture.name(), value) {
                found(name, value);
            }
            let Some(after) = after else { return };
            rest = after;
        }
    }

    /// True when the whole line follows the pattern and no capture is empty.
    pub(crate) fn is_match(&self, line: &str) -> bool {
        if line.is_empty() || self.nodes.is_empty() {
            return line.is_empty() && self.nodes.is_empty();
        }
        let mut rest = line;
        for (index, node) in self.nodes.iter().enumerate() {
            let Node::Literal(text) = node else { continue };
            match rest.find(text.as_str()) {
                None => return false,
                // Behind a capture there must be something in front of the literal.
                Some(0) if index > 0 => return false,
                Some(at) => rest = rest.get(at + text.len()..).unwrap_or(""),
            }
        }
        self.nodes.last().is_some_and(Node::is_capture) != rest.is_empty()
    }
}

/// `<name>` at the start of the text, and what follows it.
fn capture(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('<')?;
    let end = inner.find('>')?;
    let name = inner.get(..end)?;
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let valid = starts && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    valid.then_some((name, inner.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, line: &str, expect: &[(&str, &str)]) {
        let pattern = Pattern::for_parser(pattern).unwrap();
        let mut found = Vec::new();
        pattern.captures(line, |name, value| found.push((name, value)));
        assert_eq!(found, expect);
    }

    #[test]
    fn captures() {
        check("<a> <b>", "x y z", &[("a", "x"), ("b", "y z")]);
        check("<a> <b>", "x", &[("a", "x")]);
        check("foo <a>", "bar", &[]);
        check("<_>=<v>;", "k=1;rest", &[("v", "1")]);
        check("<a>", "", &[]);
    }

    #[test]
    fn filters() {
        let check = |pattern: &str, line: &str, expect| {
            assert_eq!(Pattern::for_filter(pattern).unwrap().is_match(line), expect, "{pattern} {line}");
        };
        check("GET <_> 200", "GET /api 200", true);
        check("GET /api", "GET /api 200", false);
        check("<_> bar <_>", " bar ", false);
        check("", "", true);
        check("", "x", false);
        check("<_>", "x", true);
    }

    #[test]
    fn refusals() {
        for bad in ["x", "<_>", "<a><b>", "<a> <a>", "<1>"] {
            assert!(Pattern::for_parser(bad).is_err(), "{bad}");
        }
        assert!(Pattern::for_filter("<a>").is_err());
    }
}
