//! Databases by the path of their file, so that all who name a file share one copy of it in memory.
//!
//! A file that is written anew is taken up by [`GeoDatabases::refresh`]; while the new one cannot be used, the last good
//! one stays. Contents are held in memory rather than mapped, so a file that is overwritten in place harms nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use kenning_stdx::bytesize::ByteSize;
use kenning_stdx::files::Files;
use kenning_stdx::watched::FileState;

use super::{DatabaseError, FILE_BYTES_MAX, GeoDatabase};

/// Different files of one server; each may have [`FILE_BYTES_MAX`].
pub const DATABASES_MAX: usize = 8;

/// Databases that were opened. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct GeoDatabases(Arc<Mutex<BTreeMap<String, Opened>>>);

/// A file's newest contents that could be used.
#[derive(Debug)]
pub struct GeoFile(RwLock<Arc<GeoDatabase>>);

impl GeoFile {
    /// The contents now. Whoever looks up several addresses that belong together holds on to one of them.
    #[must_use]
    pub fn current(&self) -> Arc<GeoDatabase> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, database: GeoDatabase) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(database);
    }
}

#[derive(Debug)]
struct Opened {
    file: Arc<GeoFile>,
    /// The file whose contents were last read, usable or not; none when it could not be told.
    seen: Option<FileState>,
}

/// Why a file cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// It cannot be read, or is larger than [`FILE_BYTES_MAX`].
    Read(std::io::Error),
    /// It is no database, or a broken one.
    Database(DatabaseError),
    /// [`DATABASES_MAX`] others are open.
    TooMany,
    /// Written anew, it holds something else than it did.
    OtherKind {
        /// What the file was, such as `GeoLite2-City`.
        was: String,
        /// What it is.
        is: String,
    },
    /// Written anew, it has more bytes than are left for it.
    TooLarge {
        /// What it has.
        bytes: u64,
        /// What is left.
        left: u64,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "cannot be read: {error}"),
            Self::Database(error) => error.fmt(f),
            Self::TooMany => write!(f, "is one file too many; {DATABASES_MAX} different ones work"),
            Self::OtherKind { was, is } => {
                write!(f, "was a {was} and is a {is} now; start Kenning again to use it")
            }
            Self::TooLarge { bytes, left } => write!(
                f,
                "has {} now, and {} are left for it beside the one in use; start Kenning again, which shares memory out anew",
                ByteSize(*bytes),
                ByteSize(*left)
            ),
        }
    }
}

impl std::error::Error for OpenError {}

/// A file that was found written anew.
#[derive(Debug)]
pub struct Refreshed {
    /// Its path.
    pub path: String,
    /// Whether it is in use now.
    pub outcome: Result<(), OpenError>,
}

impl GeoDatabases {
    /// The database of a file, read when it is first asked for.
    pub fn open(&self, path: &str, files: &dyn Files) -> Result<Arc<GeoFile>, OpenError> {
        let mut open = self.opened();
        if let Some(known) = open.get(path) {
            return Ok(Arc::clone(&known.file));
        }
        if open.len() >= DATABASES_MAX {
            return Err(OpenError::TooMany);
        }
        // Looked at before it is read: what is written meanwhile is found by the next look.
        let seen = files.state(path).ok();
        let database = read(path, files)?;
        let file = Arc::new(GeoFile(RwLock::new(Arc::new(database))));
        open.insert(path.to_owned(), Opened { file: Arc::clone(&file), seen });
        Ok(file)
    }

    /// True when none was opened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.opened().is_empty()
    }

    /// Bytes of memory that all of them take at most while one of them is read anew.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        let sizes = self.sizes();
        sizes.iter().sum::<usize>().saturating_add(sizes.into_iter().max().unwrap_or_default())
    }

    /// Bytes of memory that all of them take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.sizes().iter().sum()
    }

    /// Reads the files that were written anew, the old contents and the new ones together in at most `bytes_max`. What
    /// cannot be used is told once for each time it is written; one that is gone or cannot be read is told at every look.
    pub fn refresh(&self, files: &dyn Files, bytes_max: usize) -> Vec<Refreshed> {
        let paths: Vec<String> = self.opened().keys().cloned().collect();
        let look = |path: String| {
            let outcome = self.look(&path, files, bytes_max).transpose()?;
            Some(Refreshed { path, outcome })
        };
        paths.into_iter().filter_map(look).collect()
    }

    /// `Some` when a file was taken up.
    fn look(&self, path: &str, files: &dyn Files, bytes_max: usize) -> Result<Option<()>, OpenError> {
        let state = files.state(path).map_err(OpenError::Read)?;
        let known = self.opened().get(path).map(|opened| (Arc::clone(&opened.file), opened.seen));
        let Some((file, _)) = known.filter(|(_, seen)| *seen != Some(state)) else { return Ok(None) };
        let read = fits(state.len, bytes_max.saturating_sub(self.bytes())).and_then(|()| read(path, files));
        let is_readable = !matches!(read, Err(OpenError::Read(_)));
        if let Some(opened) = self.opened().get_mut(path).filter(|_| is_readable) {
            opened.seen = Some(state);
        }
        let (was, database) = (file.current(), read?);
        if was.kind() != database.kind() {
            let (was, is) = (was.kind().to_owned(), database.kind().to_owned());
            return Err(OpenError::OtherKind { was, is });
        }
        file.replace(database);
        Ok(Some(()))
    }

    fn sizes(&self) -> Vec<usize> {
        self.opened().values().map(|opened| opened.file.current().bytes()).collect()
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<String, Opened>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fits(bytes: u64, left: usize) -> Result<(), OpenError> {
    let left = left as u64;
    if bytes > left { Err(OpenError::TooLarge { bytes, left }) } else { Ok(()) }
}

fn read(path: &str, files: &dyn Files) -> Result<GeoDatabase, OpenError> {
    let bytes = files.read(path, FILE_BYTES_MAX).map_err(OpenError::Read)?;
    GeoDatabase::new(bytes).map_err(OpenError::Database)
}
