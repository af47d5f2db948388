//! Which lint is wanted.

use clap::Args;
use kenning_rules::Features;

/// Lint of rules and configurations.
#[derive(Args, Clone)]
pub(super) struct Lint {
    /// Lint to apply, separated by commas: all, duplicate-rules, too-long-scrape-interval (configurations), none
    #[arg(long, value_name = "NAMES", default_value = "duplicate-rules")]
    lint: String,
    /// What lint finds ends with exit code 3
    #[arg(long, alias = "fatal")]
    lint_fatal: bool,
    /// Fields of rule files that nobody knows are no mistakes
    #[arg(long)]
    ignore_unknown_fields: bool,
    /// Experimental syntax that rules may use, separated by commas: promql-experimental-functions,
    /// promql-extended-range-selectors, promql-binop-fill-modifiers; `all` is what Kenning evaluates
    #[arg(long, value_name = "NAMES")]
    enable_feature: Vec<String>,
}

impl Lint {
    fn wants(&self, name: &str) -> bool {
        self.lint.split(',').any(|item| item == name || item == "all")
    }

    pub(super) fn duplicates(&self) -> bool {
        self.wants("duplicate-rules")
    }

    pub(super) fn long_intervals(&self) -> bool {
        self.wants("too-long-scrape-interval")
    }

    pub(super) fn is_fatal(&self) -> bool {
        self.lint_fatal
    }

    /// How rule files are read.
    pub(super) fn reading(&self) -> kenning_rules::ReadOptions {
        let mut features = Features::default();
        for names in &self.enable_feature {
            if names == "all" {
                features = Features::ALL;
                continue;
            }
            for unknown in features.enable(names) {
                eprintln!("WARNING: unknown feature {unknown}");
            }
        }
        kenning_rules::ReadOptions { ignore_unknown_fields: self.ignore_unknown_fields, features }
    }

    /// Tells names that mean nothing.
    pub(super) fn warn(&self) {
        const KNOWN: [&str; 4] = ["all", "duplicate-rules", "too-long-scrape-interval", "none"];
        for name in self.lint.split(',').filter(|name| !KNOWN.contains(name)) {
            println!("WARNING: unknown lint option {name}");
        }
    }
}
