//! A reference service: the ingest API of a small analytics system.
//!
//! `POST /ingest` stores an event's body in an object store, publishes it to a queue and notes it in a database; a
//! consumer takes it from the queue, checks it and writes its facts. It does the job of its big original (FastAPI,
//! MinIO, Kafka, PostgreSQL, ClickHouse) in miniature with files and SQLite, and emits the telemetry that the original
//! describes: the same span names, metrics and log fields. Kenning is known to it only through the SDK.
//!
//! Three processes: [`api`], [`consumer`], and [`load`], which plays the clients.

pub mod api;
pub mod consumer;
mod database;
mod event;
mod lifetime;
pub mod load;
mod migration;
mod object_store;
mod queue;
mod sqlite;

use std::fmt;
use std::path::{Path, PathBuf};

/// Where the processes of one system meet.
#[derive(Clone, Debug)]
pub struct Place {
    dir: PathBuf,
}

impl Place {
    /// A directory, made when needed.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(dir)
            .map_err(|error| Error(format!("cannot make {}: {error}", dir.display())))?;
        Ok(Self { dir: dir.to_owned() })
    }

    fn objects(&self) -> PathBuf {
        self.dir.join("objects")
    }

    fn queue(&self) -> PathBuf {
        self.dir.join("queue.db")
    }

    fn events(&self) -> PathBuf {
        self.dir.join("events.db")
    }

    fn facts(&self) -> PathBuf {
        self.dir.join("facts.db")
    }
}

/// Why a process could not go on.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<kenning::Error> for Error {
    fn from(error: kenning::Error) -> Self {
        Self(error.to_string())
    }
}
