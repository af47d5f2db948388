//! The verdict on a file and on what it names.

use kenning_stdx::files::Files;

use crate::config::{Config, files_of, load, load_scrape_configs};
use crate::discovery::{Discovery, StaticGroup, read_group_checked};
use crate::fields::Problem;
use crate::scrape::ScrapeConfig;
use crate::targets::{self, TargetGroup};
use crate::yaml::{self, Content};
use kenning_gotext::quote::quote;

/// Most bytes of a configuration file.
const FILE_BYTES_MAX: usize = 16 << 20;

/// What [`check`] found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Every mistake; none means that Prometheus would take the file.
    pub problems: Vec<Problem>,
    /// What is odd and no mistake, such as a file of targets that is not there yet.
    pub warnings: Vec<String>,
    /// The file, when it could be read.
    pub config: Option<Config>,
    /// Paths of the rule files it names, for a check of their own.
    pub rule_files: Vec<String>,
}

/// Checks the file at `path`, and what it names unless `syntax_only`: rule files must be there, files of targets must
/// read, credentials must exist. Relative paths start at the file's directory.
#[must_use]
pub fn check(path: &str, files: &dyn Files, syntax_only: bool) -> Checked {
    let mut checked = Checked::default();
    let problem = |message: String| Problem { line: None, message };
    let text = match files.read(path, FILE_BYTES_MAX) {
        Ok(text) => text,
        Err(error) => {
            checked.problems.push(problem(format!("open {path}: {error}")));
            return checked;
        }
    };
    let config = match load(&text) {
        Ok(config) => config,
        Err(problems) => {
            checked.problems = problems;
            return checked;
        }
    };
    let directory = directory_of(path);
    let extra = match scrape_configs(&config, directory, files) {
        Ok(all) => all.into_iter().skip(config.scrape_configs.len()).collect(),
        Err(problem) => {
            checked.problems.push(problem);
            Vec::new()
        }
    };
    for one in config.scrape_configs.iter().chain(&extra) {
        check_static(one, &mut checked);
    }
    if !syntax_only {
        check_rule_files(&config, directory, files, &mut checked);
        check_credentials(&config, &extra, directory, files, &mut checked);
        check_target_files(&config, &extra, directory, files, &mut checked);
    }
    checked.config = Some(config);
    checked
}

/// The directory a file is in; empty for the present one.
#[must_use]
pub fn directory_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// A path of the configuration, relative to its directory.
pub(crate) fn joined(directory: &str, path: &str) -> String {
    if path.is_empty() || path.starts_with('/') || directory.is_empty() {
        return path.to_owned();
    }
    format!("{directory}/{path}")
}

/// The scrape sections of a configuration together with those of its `scrape_config_files`.
pub fn scrape_configs(
    config: &Config,
    directory: &str,
    files: &dyn Files,
) -> Result<Vec<ScrapeConfig>, Problem> {
    let mut all = config.scrape_configs.clone();
    all.iter_mut().for_each(|one| one.set_directory(directory));
    let mut names: Vec<(String, String)> =
        all.iter().map(|one| (one.job_name.clone(), "main config file".to_owned())).collect();
    for pattern in &config.scrape_config_files {
        for path in files.glob(&joined(directory, pattern)) {
            let wrong =
                |message: String| Problem { line: None, message: format!("{}: {message}", quote(&path)) };
            let text = files.read(&path, FILE_BYTES_MAX).map_err(|error| wrong(error.to_string()))?;
            let found = load_scrape_configs(&text, &config.global).map_err(|problems| {
                let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
                wrong(told.join("; "))
            })?;
            for one in found {
                if let Some((name, first)) = names.iter().find(|(name, _)| *name == one.job_name) {
                    let name = quote(name);
                    return Err(wrong(format!(
                        "found multiple scrape configs with job name {name}, first found in {first}"
                    )));
                }
                names.push((one.job_name.clone(), quote(&path)));
                let mut one = one;
                one.set_directory(directory_of(&path));
                all.push(one);
            }
        }
    }
    Ok(all)
}

/// What relabelling makes of the targets that are written out.
fn check_static(config: &ScrapeConfig, checked: &mut Checked) {
    let groups = config.discovery.iter().filter_map(|one| match one {
        Discovery::Static(groups) => Some(groups),
        _ => None,
    });
    for (number, group) in groups.flatten().enumerate() {
        for (place, target) in TargetGroup::from(group).targets.iter().enumerate() {
            let discovered = targets::discovered(config, target, &group.labels);
            if let Err(problem) = targets::relabelled(config, &discovered) {
                let message = format!("instance {place} in group {number}: {problem}");
                checked.problems.push(Problem { line: None, message });
                return;
            }
        }
    }
}

fn check_rule_files(config: &Config, directory: &str, files: &dyn Files, checked: &mut Checked) {
    for pattern in &config.rule_files {
        let found = files.glob(&joined(directory, pattern));
        if found.is_empty() && !pattern.contains('*') {
            let message =
                format!("{} does not point to an existing file", quote(&joined(directory, pattern)));
            checked.problems.push(Problem { line: None, message });
        }
        checked.rule_files.extend(found);
    }
}

fn check_credentials(
    config: &Config,
    extra: &[ScrapeConfig],
    directory: &str,
    files: &dyn Files,
    checked: &mut Checked,
) {
    let (more, _) = files_of(extra);
    let own = config.credential_files.iter().map(|path| joined(directory, path));
    for path in own.chain(more) {
        if !files.exists(&path) {
            let message = format!("error checking file {}: no such file or directory", quote(&path));
            checked.problems.push(Problem { line: None, message });
        }
    }
}

fn check_target_files(
    config: &Config,
    extra: &[ScrapeConfig],
    directory: &str,
    files: &dyn Files,
    checked: &mut Checked,
) {
    let (_, more) = files_of(extra);
    let own = config.target_files.iter().map(|pattern| joined(directory, pattern));
    for pattern in own.chain(more) {
        let found = files.glob(&pattern);
        if found.is_empty() {
            checked.warnings.push(format!("file {} for file_sd does not exist", quote(&pattern)));
        }
        for path in found {
            let read = files.read(&path, FILE_BYTES_MAX).map_err(|error| error.to_string());
            if let Err(message) = read.and_then(|text| target_groups(&text)) {
                let message = format!("checking SD file {}: {message}", quote(&path));
                checked.problems.push(Problem { line: None, message });
            }
        }
    }
}

/// The groups of a file of targets, JSON or YAML: JSON is YAML.
pub fn target_groups(text: &[u8]) -> Result<Vec<StaticGroup>, String> {
    let Some(root) = yaml::parse(text).map_err(|error| error.to_string())? else { return Ok(Vec::new()) };
    match &root.content {
        Content::Sequence(items) => items
            .iter()
            .map(|item| {
                if item.is_null() {
                    return Err("nil target group item found".to_owned());
                }
                read_group_checked(item)
            })
            .collect(),
        _ if root.is_null() => Ok(Vec::new()),
        _ => Err(format!(
            "line {}: cannot unmarshal {} into []*targetgroup.Group",
            root.mark.line,
            yaml::tag(&root)
        )),
    }
}
