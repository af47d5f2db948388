//! Configuration, wiring and life cycle of the whole server.
//!
//! Promises: every mistake in the settings is told at once and before anything is opened; parts start from the store
//! outward to the sockets and stop the other way round; the process ends with success only after a clean drain.
//! Absent: protocols, query languages, file formats; they are wired here, not known here.

mod log_files;
mod log_ports;
mod memory;
pub mod offline;
mod own;
mod processors;
mod promtail_targets;
mod push;
mod scrapes;
mod server;
mod settings;
mod tails;
mod upkeep;

pub use log_ports::LogAddresses;
pub use server::{Addresses, Server, StartError};
pub use settings::{Layer, Mistake, Mistakes, Setting, Settings, TABLE};
