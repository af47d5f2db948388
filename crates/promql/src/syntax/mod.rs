//! The language as it is written: tokens, the tree, its checks and its canonical text.

mod ast;
mod check;
mod lexer;
mod parser;
mod print;
mod series;
mod signature;

pub use ast::{
    Aggregate, Aggregator, At, Binary, BinaryOp, Call, Cardinality, DurationExpr, DurationOp, DurationSpec,
    Expr, Extension, Grouping, MatchOp, Matcher, Matching, MatrixSelector, NumberLiteral, Paren,
    StringLiteral, Subquery, Unary, ValueType, VectorSelector,
};
pub use parser::{parse, parse_selector};
pub use print::{format, format_within};
pub use series::{SequenceValue, SeriesDescription, parse_series_description};
pub use signature::{SIGNATURES, Signature};
