//! YAML files written for Prometheus and its relatives, read as those programs read them.
//!
//! A document becomes a tree whose nodes know their place ([`Node`]); a [`Decoder`] then takes typed values out of it
//! the way go-yaml v3 does: unknown fields, repeated keys and wrong types are collected, all of them, with go-yaml's
//! texts (`line 7: field namespace not found in type rulefmt.RuleGroup`), so that a verdict reads like the original's.
//! serde cannot give this: it stops at the first mistake and knows no Go type names.
//!
//! Promises: never panics; nesting ([`DEPTH_MAX`]), nodes with aliases expanded ([`NODES_MAX`]) and text
//! ([`TEXT_BYTES_MAX`]) are bounded.
//!
//! Absent on purpose: writing YAML, files, any knowledge of a particular format.

mod decode;
mod node;
mod read;
mod resolve;

pub use decode::{Decoder, binary};
pub use node::{Content, Mark, Node, Tag};
pub use read::{DEPTH_MAX, Document, NODES_MAX, SyntaxError, TEXT_BYTES_MAX, read};
pub use resolve::integer;
