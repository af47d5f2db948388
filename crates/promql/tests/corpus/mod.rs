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

/// Names (without extension) and texts of the files with an extension, by name.
#[allow(dead_code, reason = "not every test that shares this module reads whole folders")]
pub fn files(folder: &Path, extension: &str) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).expect("corpus folder is readable");
    let paths = entries.map(|entry| entry.expect("corpus entry is readable").path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| {
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            (name, std::fs::read_to_string(&path).expect("corpus file is text"))
        })
        .collect();
    files.sort();
    files
}

/// A JSON document of the corpus.
#[allow(dead_code, reason = "not every test that shares this module reads JSON")]
pub fn json(folder: &Path, name: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join(name)).expect("corpus file is readable");
    serde_json::from_str(&text).expect("corpus file is a JSON list")
}
