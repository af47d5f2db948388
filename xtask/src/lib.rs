//! House rules that are checked as tests.

pub mod tidy;
