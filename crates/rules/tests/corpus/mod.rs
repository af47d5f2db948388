//! Where test material lies that is not part of the repository.

use std::path::{Path, PathBuf};

/// A folder of the corpus; `None`, loudly, when it is not there.
pub fn folder(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("KENNING_CORPUS").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"));
    let folder = root.join(name);
    if !folder.exists() {
        eprintln!("SKIPPED: no corpus at {}; set KENNING_CORPUS to run these tests", folder.display());
        return None;
    }
    Some(folder)
}

/// A JSON document of the corpus.
pub fn json(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).expect("corpus file is readable");
    serde_json::from_str(&text).expect("corpus file is JSON")
}
