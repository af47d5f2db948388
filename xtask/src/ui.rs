//! The committed UI bundle against its sources.

use crate::shell::{has, root, run_in};

/// Rebuilds the UI with Node and compares; without Node only the hash check of `cargo test` stands, said loudly.
pub fn check() -> Result<(), String> {
    if !has("npm") {
        println!("\n== SKIPPED: npm is not installed, so the UI is neither type-checked nor rebuilt.");
        println!("   The hashes of its sources and bundle were still compared by the tests of kenning-ui.");
        return Ok(());
    }
    let ui = root().join("ui");
    run_in(&ui, "npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"])?;
    run_in(&ui, "npm", &["run", "check"])?;
    run_in(&ui, "npm", &["test"])?;
    run_in(&ui, "npm", &["run", "build"])?;
    run_in(&root(), "git", &["diff", "--exit-code", "--stat", "--", "ui/dist", "crates/ui"])
        .map_err(|_| "ui/dist does not match its sources: run `npm run build` in ui/ and commit".to_owned())
}
