//! From text to the typed syntax tree and back to canonical text.

pub(crate) mod advice;
pub mod ast;
mod error_text;
pub(crate) mod lexer;
mod number;
mod parser;
mod pretty;
mod print;
mod simplify;

pub use error_text::error_text;
pub use parser::parse;
pub(crate) use parser::parse_broad;
pub use pretty::format;
#[cfg(test)]
pub(crate) use pretty::with_line_max as format_narrow;
