//! Finds the test corpora, which live outside the repository.
#![allow(clippy::print_stderr, dead_code)]

use std::path::PathBuf;

/// The path of a corpus file; `None`, loudly, where the corpora are missing.
pub fn path(relative: &str) -> Option<PathBuf> {
    let root = std::env::var_os("KENNING_CORPUS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"),
        PathBuf::from,
    );
    let path = root.join(relative);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: corpus {} is missing; set KENNING_CORPUS", path.display());
    None
}

/// A corpus file as JSON.
pub fn json(relative: &str) -> Option<serde_json::Value> {
    let text = std::fs::read(path(relative)?).expect("a readable corpus file");
    Some(serde_json::from_slice(&text).expect("a corpus file in JSON"))
}

/// Every file below a folder, sorted.
pub fn files(root: &std::path::Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a readable corpus folder") {
            let path = entry.expect("a readable corpus folder").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Files among the real expositions that are something else.
pub fn foreign(id: &str) -> bool {
    // Prometheus refuses geth's types as well.
    [".md", ".json", ".gz", "LICENSE", "non_matching_file.txt", "metrics_geth.txt"]
        .iter()
        .any(|end| id.ends_with(end))
}
