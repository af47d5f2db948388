//! `kenning check rules`

use std::io::Read;

use clap::Args;
use kenning_rules::{MORE_DOCUMENTS, Reading, duplicates_message, read};

use super::Verdict;
use super::lint::Lint;
use crate::Failure;

/// Longest rule file, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Rule files.
#[derive(Args)]
pub(super) struct Rules {
    /// The files
    files: Vec<String>,
    #[command(flatten)]
    lint: Lint,
}

impl Rules {
    pub(super) fn run(&self) -> Result<Verdict, Failure> {
        self.lint.warn();
        if !self.files.is_empty() {
            return Ok(check_files(&self.files, &self.lint));
        }
        println!("Checking standard input");
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(report("", &read(&bytes, self.lint.reading()), &self.lint))
    }
}

/// Checks files one after the other.
pub(super) fn check_files(files: &[String], lint: &Lint) -> Verdict {
    let checks = files.iter().map(|file| {
        println!("Checking {file}");
        match read_file(file) {
            Ok(bytes) => report(&format!("{file}: "), &read(&bytes, lint.reading()), lint),
            Err(error) => {
                eprintln!("  FAILED:\n{file}: {error}");
                Verdict { errors: true, lint: false }
            }
        }
    });
    checks.fold(Verdict::default(), Verdict::and)
}

fn read_file(path: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Tells what reading gave, in promtool's form.
fn report(prefix: &str, reading: &Reading, lint: &Lint) -> Verdict {
    if reading.more_documents {
        eprintln!("WARNING: {MORE_DOCUMENTS}");
    }
    if !reading.problems.is_empty() {
        eprintln!("  FAILED:");
        for problem in &reading.problems {
            eprintln!("{prefix}{problem}{}", place(problem));
        }
        return Verdict { errors: true, lint: false };
    }
    let found = reading.file.as_ref().filter(|_| lint.duplicates()).and_then(duplicates_message);
    if let Some(message) = found {
        eprintln!("  FAILED:\n{message}\n");
        return Verdict { errors: false, lint: lint.is_fatal() };
    }
    let count = reading.file.as_ref().map_or(0, kenning_rules::RuleFile::rule_count);
    println!("  SUCCESS: {count} rules found\n");
    Verdict::default()
}

/// The place of a problem whose message has none, or a wrong one.
fn place(problem: &kenning_rules::Problem) -> String {
    let placed = problem.message.starts_with(|c: char| c.is_ascii_digit() && c != '0')
        || problem.message.starts_with("yaml: ");
    match problem.mark {
        Some(mark) if !placed && mark.line > 0 => format!(" (at {}:{})", mark.line, mark.column),
        _ => String::new(),
    }
}
