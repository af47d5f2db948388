//! The real binary with the real clients of other people, and the UI in a real browser.

use std::path::PathBuf;

use crate::shell::{self, has, root, run_in};

/// Builds the binary, gathers the clients and runs `e2e/run.py`.
pub fn run() -> Result<(), String> {
    if !has("python3") {
        println!("\n== SKIPPED: python3 is not installed, so nothing was run end to end.");
        return Ok(());
    }
    shell::run("cargo", &["build", "-p", "kenning-cli"])?;
    let python = python_with_clients()?;
    let script = root().join("e2e/run.py").display().to_string();
    let kenning = target_dir().join("debug/kenning").display().to_string();
    let (js, ui) = (root().join("e2e/js"), root().join("ui"));
    let (js_text, ui_text) = (js.display().to_string(), ui.display().to_string());
    let mut arguments = vec![script.as_str(), kenning.as_str()];
    if has("npm") {
        run_in(&js, "npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"])?;
        if !ui.join("node_modules").exists() {
            run_in(&ui, "npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"])?;
        }
        arguments.extend(["--js", js_text.as_str(), "--ui", ui_text.as_str()]);
    }
    shell::run(&python, &arguments)
}

fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A virtual environment with the pinned clients; made once per target directory.
fn python_with_clients() -> Result<String, String> {
    let venv = target_dir().join("e2e-venv");
    let python = venv.join("bin/python").display().to_string();
    if !has(&python) {
        shell::run("python3", &["-m", "venv", &venv.display().to_string()])?;
    }
    let requirements = root().join("e2e/requirements.txt").display().to_string();
    shell::run(
        &python,
        &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", &requirements],
    )?;
    Ok(python)
}
