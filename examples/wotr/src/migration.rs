//! What goes wrong in real systems: now and then a migration holds the database's lock for some seconds, and every
//! writer first waits and then fails.

use std::path::PathBuf;
use std::time::Duration;

use crate::database::Database;

/// The first one comes soon, so that who has just started the demo sees it.
const FIRST_AFTER: Duration = Duration::from_secs(8);
const EVERY: Duration = Duration::from_secs(60);
const LASTS: Duration = Duration::from_secs(6);

/// Runs migrations on a thread of its own for as long as the process lives.
pub fn start(path: PathBuf) -> std::io::Result<()> {
    let body = move || {
        std::thread::sleep(FIRST_AFTER);
        loop {
            if let Err(error) = migrate(&path) {
                tracing::warn!(error = &error as &dyn std::error::Error, "migration could not take the lock");
            }
            std::thread::sleep(EVERY - LASTS);
        }
    };
    std::thread::Builder::new().name("migration".to_owned()).spawn(body).map(|_| ())
}

fn migrate(path: &std::path::Path) -> rusqlite::Result<()> {
    let mut database = Database::open(path)?;
    tracing::warn!(seconds = LASTS.as_secs(), table = "events", "migration takes an exclusive lock");
    let lock = database.lock_out_writers()?;
    std::thread::sleep(LASTS);
    lock.rollback()?;
    tracing::info!(table = "events", "migration done");
    Ok(())
}
