//! The house is tidy: arrows, banned calls, dead files, dead links.

use std::path::Path;

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = root.canonicalize().unwrap_or(root);
    if let Err(problems) = xtask::tidy::check(&root) {
        panic!("{} problems:\n{}", problems.len(), problems.join("\n"));
    }
}
