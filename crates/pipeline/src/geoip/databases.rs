//! Databases by the path of their file, so that all who name a file share one copy of it in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kenning_stdx::files::Files;

use super::{DatabaseError, FILE_BYTES_MAX, GeoDatabase};

/// Different files of one server; each may have [`FILE_BYTES_MAX`].
pub const DATABASES_MAX: usize = 8;

/// Databases that were opened. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct GeoDatabases(Arc<Mutex<BTreeMap<String, Arc<GeoDatabase>>>>);

/// Why a file cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// It cannot be read, or is larger than [`FILE_BYTES_MAX`].
    Read(std::io::Error),
    /// It is no database, or a broken one.
    Database(DatabaseError),
    /// [`DATABASES_MAX`] others are open.
    TooMany,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "cannot be read: {error}"),
            Self::Database(error) => error.fmt(f),
            Self::TooMany => write!(f, "is one file too many; {DATABASES_MAX} different ones work"),
        }
    }
}

impl std::error::Error for OpenError {}

impl GeoDatabases {
    /// The database of a file, read when it is first asked for.
    pub fn open(&self, path: &str, files: &dyn Files) -> Result<Arc<GeoDatabase>, OpenError> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = open.get(path) {
            return Ok(Arc::clone(known));
        }
        if open.len() >= DATABASES_MAX {
            return Err(OpenError::TooMany);
        }
        let bytes = files.read(path, FILE_BYTES_MAX).map_err(OpenError::Read)?;
        let database = Arc::new(GeoDatabase::new(bytes).map_err(OpenError::Database)?);
        open.insert(path.to_owned(), Arc::clone(&database));
        Ok(database)
    }
}
