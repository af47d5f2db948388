//! The queue: one SQLite table of messages with headers, read by offset. Stands where the original has Kafka, and like
//! it carries the trace context in the headers.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use crate::sqlite;

/// A message as the consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Place in the queue, from 1.
    pub offset: i64,
    /// Headers, the trace context among them.
    pub headers: Vec<(String, String)>,
    /// The event as JSON.
    pub payload: String,
}

/// A connection to the queue. Each thread has its own.
#[derive(Debug)]
pub struct Queue {
    connection: Connection,
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS messages (
        offset INTEGER PRIMARY KEY AUTOINCREMENT, headers TEXT NOT NULL, payload TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS consumers (name TEXT PRIMARY KEY, next INTEGER NOT NULL);";
/// Longest wait for another process's transaction.
const BUSY_WAIT: Duration = Duration::from_secs(2);
/// Messages kept behind the consumer, so that the file stays small.
const KEPT: i64 = 10_000;

impl Queue {
    /// Opens the queue's file, making it when needed.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = sqlite::open(path, SCHEMA, BUSY_WAIT)?;
        Ok(Self { connection })
    }

    /// Appends a message and gives its offset.
    pub fn publish(&self, headers: &[(String, String)], payload: &str) -> rusqlite::Result<i64> {
        let headers =
            serde_json::Value::from_iter(headers.iter().map(|(k, v)| (k.clone(), v.clone()))).to_string();
        self.connection
            .execute("INSERT INTO messages (headers, payload) VALUES (?1, ?2)", params![headers, payload])?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Up to `limit` messages that the consumer has not committed yet.
    pub fn poll(&self, consumer: &str, limit: usize) -> rusqlite::Result<Vec<Message>> {
        let next = self.next_of(consumer)?;
        let mut statement = self.connection.prepare(
            "SELECT offset, headers, payload FROM messages WHERE offset >= ?1 ORDER BY offset LIMIT ?2",
        )?;
        let rows = statement.query_map(params![next, limit as i64], |row| {
            let headers: String = row.get(1)?;
            let headers: std::collections::BTreeMap<String, String> =
                serde_json::from_str(&headers).unwrap_or_default();
            Ok(Message { offset: row.get(0)?, headers: headers.into_iter().collect(), payload: row.get(2)? })
        })?;
        rows.collect()
    }

    /// Marks everything up to and with `offset` as done.
    pub fn commit(&self, consumer: &str, offset: i64) -> rusqlite::Result<()> {
        let upsert =
            "INSERT INTO consumers (name, next) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET next = ?2";
        self.connection.execute(upsert, params![consumer, offset + 1])?;
        self.connection.execute("DELETE FROM messages WHERE offset < ?1", params![offset - KEPT])?;
        Ok(())
    }

    /// Messages that the consumer has not committed yet.
    pub fn lag(&self, consumer: &str) -> rusqlite::Result<i64> {
        let next = self.next_of(consumer)?;
        let count = "SELECT COUNT(*) FROM messages WHERE offset >= ?1";
        self.connection.query_row(count, params![next], |row| row.get(0))
    }

    fn next_of(&self, consumer: &str) -> rusqlite::Result<i64> {
        let query = "SELECT next FROM consumers WHERE name = ?1";
        Ok(self.connection.query_row(query, params![consumer], |row| row.get(0)).optional()?.unwrap_or(1))
    }

    /// True when the queue can be read.
    pub fn is_healthy(&self) -> Result<(), String> {
        self.next_of("probe").map(|_| ()).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_in_order_once_committed_never_again() -> rusqlite::Result<()> {
        let dir =
            tempfile::tempdir().map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let queue = Queue::open(&dir.path().join("queue.db"))?;
        let headers = vec![("traceparent".to_owned(), "00-x".to_owned())];
        for payload in ["a", "b", "c"] {
            queue.publish(&headers, payload)?;
        }
        let payloads = |messages: Vec<Message>| messages.into_iter().map(|m| m.payload).collect::<Vec<_>>();
        assert_eq!(payloads(queue.poll("one", 2)?), ["a", "b"]);
        assert_eq!(queue.lag("one")?, 3);
        queue.commit("one", 2)?;
        let rest = queue.poll("one", 9)?;
        assert_eq!(rest.first().map(|m| m.headers.clone()), Some(headers));
        assert_eq!((payloads(rest), queue.lag("one")?, queue.lag("two")?), (vec!["c".to_owned()], 1, 3));
        Ok(())
    }
}
