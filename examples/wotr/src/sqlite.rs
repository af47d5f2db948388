//! Opening SQLite files that several processes open at the same moment.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

/// Longest wait for other processes that lay out the same file.
const LAY_OUT_WAIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// Opens `path`, lays it out with `schema` (which must be repeatable) and sets how long statements wait for a lock.
///
/// Switching to write-ahead logging needs the file alone and does not wait for it, so whoever comes second tries again.
pub fn open(path: &Path, schema: &str, busy_wait: Duration) -> rusqlite::Result<Connection> {
    let deadline = Instant::now() + LAY_OUT_WAIT;
    let connection = Connection::open(path)?;
    loop {
        match lay_out(&connection, schema) {
            Err(error) if is_busy(&error) && Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    connection.busy_timeout(busy_wait)?;
    Ok(connection)
}

fn lay_out(connection: &Connection, schema: &str) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.execute_batch(schema)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_may_open_the_same_new_file_at_once() {
        let dir = tempfile::tempdir().ok();
        let path = dir.as_ref().map(|dir| dir.path().join("one.db")).unwrap_or_default();
        let schema = "CREATE TABLE IF NOT EXISTS t (a INTEGER)";
        let opened = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| open(&path, schema, PAUSE).is_ok())).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|ok| *ok).count()
        });
        assert_eq!(opened, 8);
    }
}
