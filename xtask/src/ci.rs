//! Everything that must hold before a change lands.

use crate::shell;
use crate::shell::has;
use crate::{e2e, ui};

/// Format, lints, tests, the UI's bundle, and the whole thing end to end.
pub fn run() -> Result<(), String> {
    shell::run("cargo", &["fmt", "--all", "--check"])?;
    shell::run("cargo", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    tests()?;
    ui::check()?;
    e2e::run()
}

/// Unit, property, simulation and real-binary tests. nextest runs them side by side where it is installed.
fn tests() -> Result<(), String> {
    if has("cargo-nextest") {
        shell::run("cargo", &["nextest", "run", "--workspace", "--no-fail-fast"])?;
        shell::run("cargo", &["test", "--workspace", "--doc"])
    } else {
        shell::run("cargo", &["test", "--workspace"])
    }
}
