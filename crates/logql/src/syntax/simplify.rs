//! Which regular expressions Loki replaces by searches for literals. Only printing needs to know: those it keeps are
//! written in backquotes. The rules are those of its simplifier on the trees that Go's `regexp/syntax` makes, common
//! beginnings of alternatives taken out and alternatives of one character made a class; what is no literal,
//! alternative, group or `.*` is one opaque thing here.

/// True when Loki searches for literals instead of matching the regular expression.
pub(super) fn is_literal(regex: &str) -> bool {
    let mut parser = Parser { rest: regex, fold: false, depth: 0 };
    let node = parser.alternatives();
    parser.rest.is_empty() && simplifies(node)
}

/// Deeper groups count as opaque.
const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Empty,
    Literal {
        text: String,
        fold: bool,
    },
    /// `.*`
    Any,
    /// `.+`
    Some,
    /// One character of several.
    Class,
    Concat(Vec<Node>),
    Either(Vec<Node>),
    Group(Box<Node>),
    Opaque,
}

impl Node {
    fn is_class(&self) -> bool {
        match self {
            Self::Class => true,
            Self::Literal { text, .. } => text.chars().nth(1).is_none(),
            _ => false,
        }
    }

    fn without_group(self) -> Self {
        match self {
            Self::Group(inner) => *inner,
            node => node,
        }
    }

    fn folds(&self) -> bool {
        matches!(self, Self::Literal { fold: true, .. })
    }

    /// The literal it starts with.
    fn start(&self) -> Option<(&str, bool)> {
        match self {
            Self::Literal { text, fold } => Some((text, *fold)),
            Self::Concat(parts) => parts.first().and_then(Self::start),
            _ => None,
        }
    }

    /// What is left when so many bytes of the literal it starts with are taken off.
    fn without_start(self, bytes: usize) -> Self {
        match self {
            Self::Literal { text, fold } => match text.get(bytes..) {
                Some("") | None => Self::Empty,
                Some(rest) => Self::Literal { text: rest.to_owned(), fold },
            },
            Self::Concat(mut parts) => {
                let first = parts.remove(0).without_start(bytes);
                if first != Self::Empty {
                    parts.insert(0, first);
                }
                concat(parts)
            }
            node => node,
        }
    }
}

fn concat(mut parts: Vec<Node>) -> Node {
    match parts.len() {
        0 => Node::Empty,
        1 => parts.remove(0),
        _ => Node::Concat(parts),
    }
}

/// Alternatives, as Go's parser arranges them.
fn either(nodes: Vec<Node>) -> Node {
    let mut out = join_classes(factor(nodes));
    out.dedup_by(|a, b| *a == Node::Empty && *b == Node::Empty);
    if out.len() == 1 { out.remove(0) } else { Node::Either(out) }
}

/// Takes out what neighbours start with.
fn factor(nodes: Vec<Node>) -> Vec<Node> {
    let mut out: Vec<Node> = Vec::new();
    let mut run: Vec<Node> = Vec::new();
    let mut shared: Option<(String, bool)> = None;
    for node in nodes {
        let start = node.start().map(|(text, fold)| (text.to_owned(), fold));
        let common = match (&shared, &start) {
            (Some((a, fold_a)), Some((b, fold_b))) if fold_a == fold_b => common_prefix(a, b),
            _ => 0,
        };
        if common > 0 {
            shared = shared.map(|(text, fold)| (text.get(..common).unwrap_or("").to_owned(), fold));
        } else {
            out.extend(taken_out(std::mem::take(&mut run), shared.take()));
            shared = start;
        }
        run.push(node);
    }
    out.extend(taken_out(run, shared));
    out
}

fn taken_out(run: Vec<Node>, shared: Option<(String, bool)>) -> Vec<Node> {
    match shared {
        Some((text, fold)) if run.len() > 1 => {
            let bytes = text.len();
            let rest = either(run.into_iter().map(|node| node.without_start(bytes)).collect());
            vec![concat(vec![Node::Literal { text, fold }, rest])]
        }
        _ => run,
    }
}

fn common_prefix(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum()
}

/// Makes one class of neighbours that are one character each.
fn join_classes(nodes: Vec<Node>) -> Vec<Node> {
    let mut out: Vec<Node> = Vec::new();
    for node in nodes {
        match out.last_mut() {
            Some(last) if last.is_class() && node.is_class() => *last = Node::Class,
            _ => out.push(node),
        }
    }
    out
}

struct Parser<'r> {
    rest: &'r str,
    fold: bool,
    depth: usize,
}

impl Parser<'_> {
    fn alternatives(&mut self) -> Node {
        let mut nodes = vec![self.sequence()];
        while let Some(rest) = self.rest.strip_prefix('|') {
            self.rest = rest;
            nodes.push(self.sequence());
        }
        if nodes.len() == 1 { nodes.remove(0) } else { either(nodes) }
    }

    fn sequence(&mut self) -> Node {
        let mut parts: Vec<Node> = Vec::new();
        while !self.rest.is_empty() && !self.rest.starts_with(['|', ')']) {
            let Some(item) = self.item() else { continue };
            match (parts.last_mut(), item) {
                (Some(Node::Literal { text, fold }), Node::Literal { text: more, fold: same })
                    if *fold == same =>
                {
                    text.push_str(&more);
                }
                (_, Node::Concat(inner)) => parts.extend(inner),
                (_, item) => parts.push(item),
            }
        }
        concat(parts)
    }

    /// One thing with its repetition; nothing for a change of flags.
    fn item(&mut self) -> Option<Node> {
        let c = self.rest.chars().next()?;
        self.skip(c.len_utf8());
        let node = match c {
            '(' => return self.group().map(|node| self.repeated(node)),
            '\\' => self.escape(),
            '.' => return Some(self.repeated_dot()),
            '[' => self.class(),
            '^' | '$' | '*' | '+' | '?' => Node::Opaque,
            c => Node::Literal { text: c.to_string(), fold: self.fold },
        };
        Some(self.repeated(node))
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or("");
    }

    fn repeated_dot(&mut self) -> Node {
        let node = match self.rest.chars().next() {
            Some('*') => Node::Any,
            Some('+') => Node::Some,
            _ => return self.repeated(Node::Class),
        };
        self.skip(1);
        if self.rest.starts_with('?') {
            self.skip(1);
        }
        self.repeated(node)
    }

    /// Whatever is repeated otherwise is opaque.
    fn repeated(&mut self, node: Node) -> Node {
        let len = match self.rest.chars().next() {
            Some('*' | '+' | '?') => 1,
            Some('{') => self.rest.find('}').map_or(1, |end| end + 1),
            _ => return node,
        };
        self.skip(len);
        if self.rest.starts_with('?') {
            self.skip(1);
        }
        Node::Opaque
    }

    fn escape(&mut self) -> Node {
        let Some(c) = self.rest.chars().next() else { return Node::Opaque };
        self.skip(c.len_utf8());
        match c {
            c if c.is_ascii_punctuation() => Node::Literal { text: c.to_string(), fold: self.fold },
            'd' | 'D' | 'w' | 'W' | 's' | 'S' => Node::Class,
            _ => Node::Opaque,
        }
    }

    fn class(&mut self) -> Node {
        // A bracket right behind the opening one, or behind the negation, is a member.
        let body = self.rest.strip_prefix('^').unwrap_or(self.rest);
        let mut escaped = false;
        let end = body.char_indices().skip(1).find(|(_, c)| {
            let found = *c == ']' && !escaped;
            escaped = *c == '\\' && !escaped;
            found
        });
        self.rest = end.and_then(|(at, _)| body.get(at + 1..)).unwrap_or("");
        Node::Class
    }

    /// What stands behind an opening parenthesis.
    fn group(&mut self) -> Option<Node> {
        if self.depth >= DEPTH_MAX {
            self.rest = "";
            return Some(Node::Opaque);
        }
        let fold = self.fold;
        let mut captures = true;
        if let Some(flags) = self.rest.strip_prefix('?') {
            let end = flags.find([':', ')', '<'])?;
            captures = flags.get(end..).is_some_and(|rest| rest.starts_with('<'));
            let close = if captures { flags.find('>')? } else { end };
            match flags.get(..end).unwrap_or("") {
                "" | "P" => {}
                "i" => self.fold = true,
                "-i" => self.fold = false,
                _ => {
                    self.rest = "";
                    return Some(Node::Opaque);
                }
            }
            self.rest = flags.get(close + 1..).unwrap_or("");
            if flags.get(end..).is_some_and(|rest| rest.starts_with(')')) {
                return None;
            }
        }
        self.depth += 1;
        let inner = self.alternatives();
        self.depth -= 1;
        self.skip(1);
        self.fold = fold;
        Some(if captures { Node::Group(Box::new(inner)) } else { inner })
    }
}

fn simplifies(node: Node) -> bool {
    match node {
        Node::Either(nodes) => nodes.into_iter().map(Node::without_group).all(simplifies),
        Node::Concat(parts) => concat_simplifies(parts, None),
        Node::Group(inner) => simplifies(*inner),
        Node::Literal { .. } | Node::Any | Node::Some | Node::Empty => true,
        Node::Class | Node::Opaque => false,
    }
}

/// One literal with `.*` around it, or with alternatives of more of the like behind it. `base` tells of the literal in
/// front of the alternatives that these are part of, whether it ignores case.
fn concat_simplifies(parts: Vec<Node>, mut base: Option<bool>) -> bool {
    let parts: Vec<Node> =
        parts.into_iter().map(Node::without_group).filter(|part| *part != Node::Empty).collect();
    if parts.len() > 3 {
        return false;
    }
    let mut literals = 0;
    for part in parts {
        let good = match part {
            Node::Literal { fold, .. } => {
                literals += 1;
                base = Some(fold);
                literals == 1
            }
            Node::Either(nodes) => {
                base.is_some_and(|fold| nodes.into_iter().all(|node| ends_literal(node, fold)))
            }
            Node::Any => true,
            _ => false,
        };
        if !good {
            return false;
        }
    }
    base.is_some()
}

fn ends_literal(node: Node, fold: bool) -> bool {
    if !fold && node.folds() {
        return false;
    }
    match node {
        Node::Empty | Node::Literal { .. } | Node::Any => true,
        Node::Concat(parts) => concat_simplifies(parts, Some(fold)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_a_search() {
        for literal in [
            "",
            ".*",
            ".+",
            "foo",
            "foo|bar",
            "(foo|bar)",
            ".*foo.*",
            "foo.*",
            "(?i)foo",
            "foo|foobar",
            "a\\.b",
            "foo(bar|qux|)",
            "(?:foo|bar)",
            "foo.*|bar",
        ] {
            assert!(is_literal(literal), "{literal}");
        }
    }

    #[test]
    fn what_stays_a_regular_expression() {
        for regex in [
            "^a$",
            "a|b",
            "500|502",
            "(a|b)c",
            "[abc]",
            "\\d+",
            "a.b",
            "foo.*bar",
            "a+",
            "f(oo)?",
            "(foo|bar).*",
            "(?s).*",
            "x{2}",
            "foo.+",
            "(?P<a>x)y+",
        ] {
            assert!(!is_literal(regex), "{regex}");
        }
    }
}
