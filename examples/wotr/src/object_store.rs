//! The object store: a directory of files, one an object. Stands where the original system has MinIO.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use tracing::info_span;

/// A directory of objects.
#[derive(Clone, Debug)]
pub struct ObjectStore {
    dir: PathBuf,
}

impl ObjectStore {
    /// Opens the directory, making it when needed.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Stores an object under a key of letters, digits, `-` and `_`.
    pub fn put(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        let span = info_span!(
            "minio_upload",
            "otel.kind" = "client",
            "object.key" = key,
            "object.size" = bytes.len()
        );
        let _entered = span.enter();
        let stored = self.write(key, bytes);
        if let Err(error) = &stored {
            tracing::error!(error = error as &dyn std::error::Error, key, "object could not be stored");
        }
        stored
    }

    fn write(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        if !key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("object key {key:?} is not allowed"),
            ));
        }
        // Two levels of folders keep each of them small.
        let folder = self.dir.join(key.get(..2).unwrap_or("__"));
        fs::create_dir_all(&folder)?;
        File::create(folder.join(key))?.write_all(bytes)
    }

    /// True when the directory can be written.
    pub fn is_healthy(&self) -> Result<(), String> {
        let probe = self.dir.join(".probe");
        fs::write(&probe, b"ok").map_err(|error| error.to_string())
    }
}
