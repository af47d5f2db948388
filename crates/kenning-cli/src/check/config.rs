//! `kenning check config`: Prometheus's configuration, and Kenning's own.

use clap::Args;
use kenning_promconfig::{Checked, check};
use kenning_server::{Layer, Mistakes, Settings};
use kenning_stdx::files::RealFiles;

use super::lint::Lint;
use super::{Verdict, rules};

/// Prometheus's lookback, in nanoseconds: with longer intervals series go stale between scrapes.
const LOOKBACK_NANOS: u128 = 300_000_000_000;

/// Configuration files.
#[derive(Args)]
pub(super) struct Config {
    /// The files
    #[arg(required = true)]
    files: Vec<String>,
    /// Look at the syntax only, not at the files that are named
    #[arg(long)]
    syntax_only: bool,
    #[command(flatten)]
    lint: Lint,
}

impl Config {
    pub(super) fn run(&self) -> Verdict {
        self.lint.warn();
        self.files.iter().map(|file| self.file(file)).fold(Verdict::default(), Verdict::and)
    }

    fn file(&self, file: &str) -> Verdict {
        println!("Checking {file}");
        // A file that cannot be read is told of below.
        if let Ok(text) = std::fs::read_to_string(file)
            && Layer::is_kenning_yaml(&text)
        {
            return own(file, &text);
        }
        let checked = check(file, &RealFiles, self.syntax_only);
        for warning in &checked.warnings {
            println!("  WARNING: {warning}");
        }
        let verdict = report(file, &checked);
        println!();
        if self.syntax_only {
            return verdict;
        }
        verdict.and(self.intervals(&checked)).and(rules::check_files(&checked.rule_files, &self.lint))
    }

    /// Jobs that are scraped too rarely.
    fn intervals(&self, checked: &Checked) -> Verdict {
        let Some(config) = checked.config.as_ref().filter(|_| self.lint.long_intervals()) else {
            return Verdict::default();
        };
        let rare = config.scrape_configs.iter().find(|job| job.scrape_interval.as_nanos() > LOOKBACK_NANOS);
        let Some(job) = rare else { return Verdict::default() };
        eprintln!(
            "  FAILED: too long scrape interval found, data point will be marked as stale - job: {}, interval: {:?}",
            job.job_name, job.scrape_interval
        );
        Verdict { errors: false, lint: self.lint.is_fatal() }
    }
}

/// A `kenning.yaml` by itself: what variables and flags would add is not looked at, the files that it names are.
fn own(file: &str, text: &str) -> Verdict {
    let read = Layer::from_yaml(file, text).and_then(|layer| Settings::from_layers(&[layer]));
    let errors = read.is_err();
    match read {
        Ok(_) => println!(" SUCCESS: {file} is a valid configuration of Kenning"),
        Err(Mistakes(mistakes)) => {
            for mistake in &mistakes {
                // Most come from the file; a Promtail configuration that it names has its own name.
                let origin =
                    if mistake.origin == file { String::new() } else { format!("{}: ", mistake.origin) };
                eprintln!("  FAILED: {origin}{}: {}", mistake.key, mistake.problem);
            }
        }
    }
    println!();
    Verdict { errors, lint: false }
}

fn report(file: &str, checked: &Checked) -> Verdict {
    let Some((first, rest)) = checked.problems.split_first() else {
        if !checked.rule_files.is_empty() {
            println!("  SUCCESS: {} rule files found", checked.rule_files.len());
        }
        println!(" SUCCESS: {file} is valid prometheus config file syntax");
        return Verdict::default();
    };
    // What the file itself says is told with its name; what it names is not.
    let parsing = if checked.config.is_none() && !first.message.starts_with("open ") {
        format!("parsing YAML file {file}: ")
    } else {
        String::new()
    };
    let about_fields = if first.line.is_some() { "yaml: unmarshal errors:\n  " } else { "" };
    eprintln!("  FAILED: {parsing}{about_fields}{first}");
    for problem in rest {
        eprintln!("  {problem}");
    }
    Verdict { errors: true, lint: false }
}
