//! The database: SQLite files that stand where the original has PostgreSQL (events as received) and ClickHouse (events
//! as analysed).

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};

use crate::event::Event;
use crate::sqlite;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS events (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, bytes INTEGER NOT NULL, received INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS facts (
        event_id TEXT NOT NULL, kind TEXT NOT NULL, value REAL NOT NULL);";
/// Longest wait for somebody else's lock. Short: a caller waits for the answer.
const BUSY_WAIT: Duration = Duration::from_millis(250);

/// A connection. Each thread has its own.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
}

impl Database {
    /// Opens the file, making it when needed.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = sqlite::open(path, SCHEMA, BUSY_WAIT)?;
        Ok(Self { connection })
    }

    /// Notes that an event was received. Receiving it twice is one row.
    pub fn insert_event(&self, event: &Event, bytes: usize, received_ms: i64) -> rusqlite::Result<()> {
        let insert = "INSERT OR REPLACE INTO events (id, kind, bytes, received) VALUES (?1, ?2, ?3, ?4)";
        self.connection.execute(insert, params![event.id, event.kind, bytes as i64, received_ms]).map(|_| ())
    }

    /// Writes the facts of a batch of events in one transaction.
    pub fn insert_facts(&mut self, events: &[Event]) -> rusqlite::Result<usize> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for event in events {
            let insert = "INSERT INTO facts (event_id, kind, value) VALUES (?1, ?2, ?3)";
            transaction.execute(insert, params![event.id, event.kind, event.value])?;
        }
        transaction.commit()?;
        Ok(events.len())
    }

    /// Keeps everyone else from writing until the guard is dropped: what a long migration does to a live system.
    pub fn lock_out_writers(&mut self) -> rusqlite::Result<rusqlite::Transaction<'_>> {
        self.connection.transaction_with_behavior(TransactionBehavior::Exclusive)
    }

    /// True when the database can be read.
    pub fn is_healthy(&self) -> Result<(), String> {
        self.connection.query_row("SELECT 1", [], |_| Ok(())).map_err(|error| error.to_string())
    }
}
