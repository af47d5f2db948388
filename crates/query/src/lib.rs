//! What the query languages share: source spans, diagnostics, limits, errors, and the in-memory store that is the
//! oracle for every other one.
//!
//! Absent on purpose: any language, any file, any HTTP shape.

mod context;
mod diagnostic;
mod error;
mod memory;
pub mod operators;

pub use context::{Limits, QueryContext};
pub use diagnostic::{Diagnostic, Level, SourceSpan};
pub use error::{LimitKind, QueryError};
pub use memory::MemoryStore;
