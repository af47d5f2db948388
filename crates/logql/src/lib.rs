//! LogQL: syntax, analysis and evaluation over the store trait.
