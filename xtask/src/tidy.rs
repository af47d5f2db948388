//! House rules: which crate may know which, which calls are banned where, no dead files, no dead links in documents.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which of our crates each crate may depend on (ARCHITECTURE.md draws the same arrows).
const ARROWS: &[(&str, &[&str])] = &[
    ("kenning-stdx", &[]),
    ("kenning-regex", &[]),
    ("kenning-gotext", &[]),
    ("kenning-model", &["kenning-regex"]),
    ("kenning-codec", &["kenning-model"]),
    ("kenning-wire", &["kenning-model", "kenning-gotext", "kenning-codec"]),
    ("kenning-store", &["kenning-stdx", "kenning-model", "kenning-codec"]),
    ("kenning-query", &["kenning-model"]),
    ("kenning-promql", &["kenning-model", "kenning-regex", "kenning-gotext", "kenning-query"]),
    ("kenning-template", &["kenning-model", "kenning-gotext"]),
    ("kenning-yaml", &[]),
    (
        "kenning-logql",
        &["kenning-model", "kenning-regex", "kenning-gotext", "kenning-query", "kenning-template"],
    ),
    ("kenning-traceql", &["kenning-model", "kenning-gotext", "kenning-query"]),
    (
        "kenning-rules",
        &[
            "kenning-gotext",
            "kenning-model",
            "kenning-regex",
            "kenning-promql",
            "kenning-template",
            "kenning-yaml",
        ],
    ),
    ("kenning-patterns", &["kenning-model"]),
    ("kenning-pipeline", &["kenning-stdx", "kenning-model", "kenning-regex", "kenning-patterns"]),
    (
        "kenning-stages",
        &[
            "kenning-stdx",
            "kenning-gotext",
            "kenning-model",
            "kenning-regex",
            "kenning-logql",
            "kenning-template",
            "kenning-yaml",
            "kenning-pipeline",
        ],
    ),
    ("kenning-promconfig", &["kenning-stdx", "kenning-gotext", "kenning-yaml", "kenning-pipeline"]),
    (
        "kenning-receivers",
        &[
            "kenning-stdx",
            "kenning-gotext",
            "kenning-model",
            "kenning-regex",
            "kenning-wire",
            "kenning-pipeline",
            "kenning-promconfig",
        ],
    ),
    ("kenning-ui", &[]),
    (
        "kenning-api",
        &[
            "kenning-stdx",
            "kenning-gotext",
            "kenning-model",
            "kenning-query",
            "kenning-promql",
            "kenning-logql",
            "kenning-patterns",
            "kenning-traceql",
            "kenning-ui",
            "kenning-wire",
        ],
    ),
    ("kenning", &[]),
    ("kenning-example-wotr", &["kenning"]),
];

/// Packages that must not be reachable from a crate, whatever way.
const UNKNOWN_TO: &[(&str, &[&str])] = &[
    ("kenning-store", &["tokio", "axum", "hyper", "serde_json"]),
    ("kenning-model", &["tokio", "serde", "serde_json"]),
    ("kenning-codec", &["tokio", "serde_json"]),
    ("kenning-wire", &["tokio", "axum", "hyper"]),
    ("kenning-promql", &["tokio", "axum", "hyper"]),
    ("kenning-logql", &["tokio", "axum", "hyper"]),
    ("kenning-traceql", &["tokio", "axum", "hyper"]),
    ("kenning-rules", &["tokio", "axum", "hyper"]),
    ("kenning-template", &["tokio", "serde_json"]),
    ("kenning-promconfig", &["axum", "hyper"]),
    ("kenning-receivers", &["axum"]),
    ("kenning-pipeline", &["axum", "hyper"]),
    ("kenning-stages", &["axum", "hyper"]),
];

/// Calls that read the machine's clock, disk or chance. They belong to `stdx`, and to the rim that owns a process.
const BANNED_CALLS: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "std::fs",
    "fs::read",
    "fs::write",
    "fs::File",
    "RandomState::new",
    "thread_rng",
];

/// Where banned calls may stand: the crate that wraps them, and the program that reads the user's files.
const MAY_TOUCH_THE_MACHINE: &[&str] = &["crates/stdx/", "crates/kenning-cli/"];

/// Checks every rule; the error lists each breach on a line of its own.
pub fn check(root: &Path) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    problems.extend(arrows(root));
    problems.extend(unknown_packages(root));
    let sources = rust_files(&root.join("crates"));
    for path in &sources {
        problems.extend(banned_calls(root, path));
    }
    problems.extend(dead_modules(root, &sources));
    problems.extend(dead_links(root));
    problems.extend(crates_without_a_place_in_architecture(root));
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn arrows(root: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    for (package, allowed) in ARROWS {
        match dependencies(root, package, &["--depth", "1"]) {
            Ok(found) => {
                let ours = found.iter().filter(|name| name.starts_with("kenning") && name != package);
                let broken = ours.filter(|name| !allowed.contains(&name.as_str()));
                problems.extend(broken.map(|name| format!("arrow: {package} must not depend on {name}")));
            }
            Err(error) => problems.push(error),
        }
    }
    problems
}

fn unknown_packages(root: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    for (package, unknown) in UNKNOWN_TO {
        match dependencies(root, package, &[]) {
            Ok(found) => {
                let broken = unknown.iter().filter(|name| found.contains(**name));
                problems.extend(broken.map(|name| format!("arrow: {package} must not have heard of {name}")));
            }
            Err(error) => problems.push(error),
        }
    }
    problems
}

/// The packages that `package` reaches by normal dependencies, as cargo resolves them for it alone.
fn dependencies(root: &Path, package: &str, extra: &[&str]) -> Result<BTreeSet<String>, String> {
    let base = ["tree", "--locked", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}"];
    let output = Command::new("cargo").args(base).args(extra).current_dir(root).output();
    let output = output.map_err(|error| format!("cannot run cargo tree: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo tree -p {package}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

fn banned_calls(root: &Path, path: &Path) -> Vec<String> {
    let name = relative(root, path);
    let exempt = MAY_TOUCH_THE_MACHINE.iter().any(|prefix| name.starts_with(prefix))
        || name.ends_with("tests.rs")
        || ["/tests/", "/benches/", "/examples/"].iter().any(|part| name.contains(part));
    if exempt {
        return Vec::new();
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    // Tests stand last in a file; what follows the marker may touch the machine.
    let product = text.split("#[cfg(test)]").next().unwrap_or("");
    let lines = product.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    let found = lines.flat_map(|(number, line)| {
        let banned = BANNED_CALLS.iter().filter(move |call| calls(line, call));
        banned.map(move |call| (number + 1, call))
    });
    found.map(|(line, call)| format!("{name}:{line}: {call} belongs to kenning-stdx")).collect()
}

/// True when the call stands in the line as a path of its own, not as the end of a longer word (`vfs::File`).
fn calls(line: &str, call: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(call).any(|(at, _)| !line.get(..at).is_some_and(|before| before.ends_with(is_word)))
}

/// Files that no `mod` line leads to.
fn dead_modules(root: &Path, sources: &[PathBuf]) -> Vec<String> {
    let is_module = |path: &&PathBuf| {
        let name = relative(root, path);
        name.contains("/src/") && !["lib.rs", "main.rs"].contains(&file_name(path).as_str())
    };
    let mut problems = Vec::new();
    for path in sources.iter().filter(is_module) {
        let (module, parents) = module_and_parents(path);
        let declared = parents.iter().filter_map(|parent| fs::read_to_string(parent).ok()).any(|text| {
            text.lines().any(|line| {
                let line = line.trim();
                line.starts_with(|c: char| c.is_ascii_lowercase())
                    && line.ends_with(&format!("mod {module};"))
            })
        });
        if !declared {
            problems.push(format!("{}: no `mod {module};` leads to this file", relative(root, path)));
        }
    }
    problems
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A file's module name and the files that may declare it.
fn module_and_parents(path: &Path) -> (String, Vec<PathBuf>) {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let dir = path.parent().unwrap_or(path);
    let (module, home) =
        if stem == "mod" { (file_name(dir), dir.parent().unwrap_or(dir)) } else { (stem, dir) };
    let beside = home.with_extension("rs");
    let parents =
        ["lib.rs", "main.rs", "mod.rs"].iter().map(|name| home.join(name)).chain([beside]).collect();
    (module, parents)
}

/// Relative links in documents that lead nowhere.
fn dead_links(root: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    for path in markdown_files(root) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or("");
            let is_local = !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:");
            let lands = || path.parent().is_some_and(|dir| dir.join(target).exists());
            if is_local && !lands() {
                problems.push(format!("{}: link to {target} leads nowhere", relative(root, &path)));
            }
        }
    }
    problems
}

fn markdown_files(root: &Path) -> Vec<PathBuf> {
    let output = Command::new("git").args(["ls-files", "*.md"]).current_dir(root).output();
    let listed =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    listed.lines().map(|name| root.join(name)).filter(|path| path.exists()).collect()
}

fn crates_without_a_place_in_architecture(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap_or_default();
    let Ok(entries) = fs::read_dir(root.join("crates")) else { return vec!["crates/ is missing".to_owned()] };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    let missing = names.filter(|name| !text.contains(&format!("`{name}`")));
    missing.map(|name| format!("ARCHITECTURE.md says nothing about crates/{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banned_call_is_a_path_of_its_own() {
        assert!(calls("let f = fs::File::open(p)", "fs::File"));
        assert!(calls("use std::fs;", "std::fs"));
        assert!(!calls("use kenning_stdx::vfs::File;", "fs::File"));
    }
}
