//! Go's regular expressions, run by Rust's engine.
//!
//! Every program that Kenning replaces is written in Go, and every selector, relabelling rule, pipeline stage and
//! dashboard carries expressions of Go's `regexp` package. Rust's engine matches in the same way (leftmost first, linear
//! time), but reads another dialect: `\d` and `\w` are not ASCII there, `{` alone is an error, `[[]` nests, `&&` and `--`
//! are set operations. [`translate`] reads Go's syntax and writes Rust's; [`compile`] also builds it.
//!
//! Promises: what Go refuses is refused, in Go's words; what Go takes means the same here. Time and memory are linear in
//! the length of the source, and nothing recurses.
//! Absent: `\C`, which Go refuses too; Unicode classes are those of this engine's tables, which may be of a newer Unicode.
//!
//! Definition: Go `regexp/syntax` with the flags of `regexp.Compile` (`Perl`).

mod class;
mod escape;
mod group;
mod repeat;
mod required;
mod translate;

use std::fmt;

use regex::{Regex, RegexBuilder};

pub use required::{Required, required};
pub use translate::translate;

/// Why Go's parser refuses an expression, in its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `[z-a]`, or a class that does not exist.
    CharRange,
    /// `\y`.
    Escape,
    /// `(?P<n`.
    NamedCapture,
    /// `(?x`.
    PerlOp,
    /// `a**`.
    RepeatOp,
    /// `a{1001}`, also by nesting.
    RepeatSize,
    /// `[a`.
    MissingBracket,
    /// `(a`.
    MissingParen,
    /// `*`.
    MissingRepeatArgument,
    /// `a)`.
    UnexpectedParen,
    /// `a\`.
    TrailingBackslash,
    /// More than [`NESTING_MAX`] groups within groups.
    NestingDepth,
    /// Longer than [`LENGTH_MAX`] bytes, or larger than the caller allows once compiled.
    Large,
}

impl Fault {
    const fn text(self) -> &'static str {
        match self {
            Self::CharRange => "invalid character class range",
            Self::Escape => "invalid escape sequence",
            Self::NamedCapture => "invalid named capture",
            Self::PerlOp => "invalid or unsupported Perl syntax",
            Self::RepeatOp => "invalid nested repetition operator",
            Self::RepeatSize => "invalid repeat count",
            Self::MissingBracket => "missing closing ]",
            Self::MissingParen => "missing closing )",
            Self::MissingRepeatArgument => "missing argument to repetition operator",
            Self::UnexpectedParen => "unexpected )",
            Self::TrailingBackslash => "trailing backslash at end of expression",
            Self::NestingDepth => "expression nests too deeply",
            Self::Large => "expression too large",
        }
    }
}

/// An expression that Go does not take. Shown as Go shows it: ``error parsing regexp: missing closing ): `(a` ``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub fault: Fault,
    /// The part of the source that is.
    pub part: String,
}

impl Error {
    fn new(fault: Fault, part: &str) -> Self {
        Self { fault, part: part.to_owned() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error parsing regexp: {}: `{}`", self.fault.text(), self.part)
    }
}

impl std::error::Error for Error {}

/// Longest source, in bytes. A longer one is refused as [`Fault::Large`].
pub const LENGTH_MAX: usize = 64 << 10;

/// Most groups within groups. Go allows 1 000 levels; Rust's parser spends stack on each.
pub const NESTING_MAX: usize = 250;

/// What an expression may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest compiled program, in bytes. A larger one is refused as [`Fault::Large`].
    pub program: usize,
    /// Largest lazily built automaton, in bytes. Beyond it matching is slower, not refused.
    pub automaton: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { program: 1 << 20, automaton: 2 << 20 }
    }
}

/// Compiles an expression that may match anywhere in a text.
pub fn compile(source: &str, limits: Limits) -> Result<Regex, Error> {
    let text = translate(source)?;
    RegexBuilder::new(&text)
        .size_limit(limits.program)
        .dfa_size_limit(limits.automaton)
        .build()
        .map_err(|_| Error::new(Fault::Large, source))
}

/// Compiles an expression that must match the whole of a text, `.` matching line ends too: label matchers, relabelling.
///
/// Definition: Prometheus `model/labels`, `^(?s:` before and `)$` behind; errors show them, as there.
pub fn compile_whole(source: &str, limits: Limits) -> Result<Regex, Error> {
    compile(&format!("^(?s:{source})$"), limits)
}
