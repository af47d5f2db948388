//! Go's `text/template`, for everything that lets users write such templates: LogQL's `line_format`, annotations of
//! alerts, notifications.
//!
//! There: all of the language (actions, pipelines, variables, control structures, `define`, `template`, `block`,
//! comments, trim markers), Go's built-in functions, methods of times and durations, functions of the user's own
//! ([`Functions`]), Go's error texts with their places, and an HTML mode.
//!
//! Promises: no panic on any text; nesting, loops, calls and results ([`TEXT_BYTES_MAX`]) are bounded.
//!
//! Absent: `call`, complex numbers, zones other than UTC. The HTML mode escapes every value as text between tags; it
//! does not look whether the place is an attribute, a URL or a script, as Go's `html/template` does.

mod args;
mod builtins;
mod exec;
pub mod layout;
mod lexer;
mod methods;
mod parser;
mod printf;
mod value;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

pub use args::{Args, wrong_type};
pub use builtins::print;
use parser::{Arg, Node, ParseError, Pipe, Term};
pub use printf::printf;
pub use value::{Struct, Value};

/// Longest text a template may make, in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Number of arguments: least and most.
pub type Count = (usize, usize);

/// No limit to the number of arguments.
pub const ANY: usize = usize::MAX;

/// Go's own functions. Those of the user come before them.
const BUILTINS: &[(&str, Count)] = &[
    ("and", (1, ANY)),
    ("eq", (2, ANY)),
    ("ge", (2, 2)),
    ("gt", (2, 2)),
    ("html", (0, ANY)),
    ("index", (1, ANY)),
    ("js", (0, ANY)),
    ("le", (2, 2)),
    ("len", (1, 1)),
    ("lt", (2, 2)),
    ("ne", (2, 2)),
    ("not", (1, 1)),
    ("or", (1, ANY)),
    ("print", (0, ANY)),
    ("printf", (1, ANY)),
    ("println", (0, ANY)),
    ("slice", (1, ANY)),
    ("urlquery", (0, ANY)),
];

/// The functions that templates may call beyond Go's own: names with their numbers of arguments. What they do is the
/// [`Scope`]'s matter.
#[derive(Clone, Copy, Debug)]
pub struct Functions {
    own: &'static [(&'static str, Count)],
    more: Option<&'static Self>,
    hidden: &'static [&'static str],
}

impl Functions {
    /// A set of functions.
    ///
    /// # Panics
    /// While the program is compiled, when the table is not sorted by name.
    #[must_use]
    pub const fn new(sorted: &'static [(&'static str, Count)]) -> Self {
        let mut at = 1;
        while at < sorted.len() {
            assert!(is_before(sorted[at - 1].0, sorted[at].0), "the table must be sorted by name");
            at += 1;
        }
        Self { own: sorted, more: None, hidden: &[] }
    }

    /// These, and those of another set but for the `hidden` ones.
    #[must_use]
    pub const fn with(self, more: &'static Self, hidden: &'static [&'static str]) -> Self {
        Self { more: Some(more), hidden, ..self }
    }

    /// The number of arguments of a function; none when there is no such function.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<Count> {
        self.beyond_builtins(name).or_else(|| find(BUILTINS, name))
    }

    fn beyond_builtins(&self, name: &str) -> Option<Count> {
        find(self.own, name).or_else(|| {
            let more = self.more.filter(|_| !self.hidden.contains(&name))?;
            more.beyond_builtins(name)
        })
    }

    fn call(&self, name: &str, args: Vec<Value>, scope: &dyn Scope) -> Result<Value, String> {
        match self.beyond_builtins(name) {
            Some(_) => scope.call(name, args),
            None => builtins::call(name, &args, scope),
        }
    }
}

fn find(sorted: &[(&str, Count)], name: &str) -> Option<Count> {
    let at = sorted.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
    sorted.get(at).map(|(_, count)| *count)
}

/// `left < right` where code runs while the program is compiled.
const fn is_before(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut at = 0;
    while at < left.len() && at < right.len() {
        if left[at] != right[at] {
            return left[at] < right[at];
        }
        at += 1;
    }
    left.len() < right.len()
}

fn check_count(name: &str, got: usize, (least, most): Count) -> Result<(), String> {
    if (least..=most).contains(&got) {
        return Ok(());
    }
    let want = if most == ANY { format!("at least {least}") } else { least.to_string() };
    Err(format!("wrong number of args for {name}: want {want} got {got}"))
}

/// What surrounds a run: functions, and labels that are looked up one by one.
pub trait Scope {
    /// Calls one of the functions of the user's own; the number of arguments is right.
    fn call(&self, name: &str, args: Vec<Value>) -> Result<Value, String>;

    /// A field of [`Value::Labels`]; empty when absent.
    fn label(&self, _name: &str) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    /// All of [`Value::Labels`], by name.
    fn labels(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// What a key that a map does not have is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// Nothing, shown as `<no value>`.
    #[default]
    Invalid,
    /// The zero value of the map's type.
    Zero,
    /// The run fails.
    Error,
}

/// How a template runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What missing keys are worth.
    pub missing: Missing,
    /// Values are escaped for HTML.
    pub html: bool,
}

/// Why a template does not parse, or did not run. `Display` is Go's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError(String);

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TemplateError {}

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    name: Cow<'static, str>,
    source: String,
    functions: Functions,
    nodes: Vec<Node>,
    defined: BTreeMap<String, Vec<Node>>,
}

impl Template {
    /// Reads a template. `name` appears in error texts.
    pub fn parse(
        name: impl Into<Cow<'static, str>>,
        source: &str,
        functions: Functions,
    ) -> Result<Self, TemplateError> {
        let name = name.into();
        let known = |word: &str| functions.count(word).is_some();
        match parser::parse(source, &known) {
            Ok(tree) => {
                let (nodes, defined) = (tree.nodes, tree.defined);
                Ok(Self { name, source: source.to_owned(), functions, nodes, defined })
            }
            Err(ParseError { at, message }) => {
                let line = source.get(..at).unwrap_or(source).matches('\n').count() + 1;
                let message = message.replace("{name}", &name);
                Err(TemplateError(format!("template: {name}:{line}: {message}")))
            }
        }
    }

    /// Takes over the templates that another one defines; its own win.
    pub fn define_from(&mut self, other: &Self) {
        for (name, nodes) in &other.defined {
            self.defined.entry(name.clone()).or_insert_with(|| nodes.clone());
        }
    }

    /// Runs it on `data`.
    pub fn execute(&self, data: Value, scope: &dyn Scope, options: Options) -> Result<String, TemplateError> {
        exec::run(self, data, scope, options).map_err(|error| {
            let before = self.source.get(..error.at).unwrap_or("");
            let line = before.matches('\n').count() + 1;
            let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
            let name = &self.name;
            let (text, message) = (error.text, error.message);
            TemplateError(format!(
                "template: {name}:{line}:{column}: executing {name:?} at <{text}>: {message}"
            ))
        })
    }

    /// The field when the template is nothing but `{{.field}}`.
    #[must_use]
    pub fn single_field(&self) -> Option<&str> {
        let [Node::Action(pipe)] = self.nodes.as_slice() else { return None };
        let [command] = pipe.commands.as_slice() else { return None };
        match command.args.as_slice() {
            [Arg { term: Term::Field(path), .. }] if path.len() == 1 && pipe.variables.is_empty() => {
                path.first().map(String::as_str)
            }
            _ => None,
        }
    }

    /// Names of the fields it mentions, each once.
    #[must_use]
    pub fn fields(&self) -> Vec<String> {
        let mut names = Vec::new();
        fields_of_nodes(&self.nodes, &mut names);
        let mut unique: Vec<String> = Vec::new();
        for name in names {
            if !unique.contains(&name) {
                unique.push(name);
            }
        }
        unique
    }
}

fn fields_of_nodes(nodes: &[Node], names: &mut Vec<String>) {
    for node in nodes {
        match node {
            Node::Action(pipe) => fields_of_pipe(pipe, names),
            Node::Branch { pipe, then, otherwise, .. } => {
                fields_of_pipe(pipe, names);
                fields_of_nodes(then, names);
                fields_of_nodes(otherwise, names);
            }
            Node::Template { pipe: Some(pipe), .. } => fields_of_pipe(pipe, names),
            Node::Text(_) | Node::Break | Node::Continue | Node::Template { .. } => {}
        }
    }
}

fn fields_of_pipe(pipe: &Pipe, names: &mut Vec<String>) {
    for arg in pipe.commands.iter().flat_map(|command| &command.args) {
        match &arg.term {
            Term::Field(path) => names.extend(path.iter().cloned()),
            Term::Pipe(inner) => fields_of_pipe(inner, names),
            Term::Chain(inner, _) => {
                if let Term::Pipe(inner) = &inner.term {
                    fields_of_pipe(inner, names);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
