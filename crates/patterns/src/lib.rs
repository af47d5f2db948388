//! Patterns: which templates log lines follow, how often, since when.
//!
//! Mining follows Drain (He, Zhu, Zheng, Lyu: "Drain: An Online Log Parsing Approach with Fixed Depth Tree", ICWS 2017):
//! lines of one shape (number of words and everything between them) share a node, lines whose first words are alike
//! share a leaf, and within a leaf a line joins the template it agrees with in most words; where it differs the template
//! gets a hole. Words that look like numbers, addresses or ids are holes from the start.
//!
//! Promises:
//! - A template, written with `<_>` for its holes, is a LogQL pattern that matches every line counted under it (`|>`),
//!   up to the limits on length, beyond which it ends in a hole.
//! - Equal input in equal order gives equal templates.
//! - Memory is bounded by [`Options::bytes`]; templates that were not seen for longest go first, and are counted.
//!
//! Absent: clocks, threads, storage. Whoever owns a [`Miner`] feeds it what was committed and may rebuild it from the
//! store after a start.

mod counts;
mod message;
mod miner;
mod shape;
mod tree;

pub use miner::{Asked, Fed, Miner, Options, PatternRow};
