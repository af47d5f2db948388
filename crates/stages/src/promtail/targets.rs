//! Targets: what `static_configs` and the files of `file_sd_configs` name, through `relabel_configs`, as files to tail.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kenning_model::LabelSet;
use kenning_pipeline::relabel::{self, Labels, Rule};
use kenning_stdx::files::Files;
use kenning_yaml::{Content, Node};

use super::{PromtailSource, SOURCES_MAX};
use crate::config::{Fields, pairs};
use crate::{Front, Pipeline, Report};

/// The label with the pattern of paths.
const PATH: &str = "__path__";
/// The label with the pattern of paths that are left out.
const PATH_EXCLUDE: &str = "__path_exclude__";
/// The label with the file that names a target. Definition: Prometheus, `file_sd_configs`.
const META_FILE: &str = "__meta_filepath";
/// Most files that name targets, of one job.
const FILES_MAX: usize = 64;
/// Largest of them, in bytes.
const FILE_BYTES_MAX: usize = 4 << 20;
/// How such files are named.
const ENDINGS: [&str; 3] = [".json", ".yml", ".yaml"];

/// What the targets of a job have in common.
#[derive(Clone)]
pub(super) struct Job {
    pub name: String,
    pub encoding: String,
    pub rules: Arc<[Rule]>,
    pub front: Front,
    pub pipeline: Arc<Pipeline>,
}

impl Job {
    pub fn source(&self, kind: &str, target: Target) -> PromtailSource {
        PromtailSource {
            name: format!("promtail/{}/{kind}{}", self.name, target.include.join(",")),
            include: target.include,
            exclude: target.exclude,
            labels: target.labels,
            containers: None,
            encoding: self.encoding.clone(),
            front: self.front.clone(),
            pipeline: Arc::clone(&self.pipeline),
        }
    }
}

/// Files to tail with their labels.
pub(super) struct Target {
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    pub labels: LabelSet,
}

/// The targets of a list of groups. `meta` is what is known of all of them.
pub(super) fn targets(
    at: &str,
    node: &Node,
    meta: &[(&str, &str)],
    rules: &[Rule],
    report: &mut Report,
) -> Vec<Target> {
    let Content::Sequence(groups) = &node.content else {
        report.wrong(at, node, "must be a list of targets with labels");
        return Vec::new();
    };
    let mut found: Vec<Target> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let mut fields = Fields::open(at.as_str(), group, report);
        let addresses = fields.texts("targets").filter(|addresses| !addresses.is_empty());
        let addresses = addresses.unwrap_or_else(|| vec!["localhost".to_owned()]);
        let labels = fields.get("labels").map(pairs).unwrap_or_default();
        fields.finish();
        for address in addresses {
            let mut target = Labels::default();
            target.set("__address__", &address);
            meta.iter().for_each(|(name, value)| target.set(name, value));
            labels.iter().for_each(|(name, value)| target.set(name, value.text()));
            if !relabel::apply(rules, &mut target) {
                report.note(&at, group, "is dropped by relabel_configs");
                continue;
            }
            let Some(target) = of_labels(&at, group, target, report) else { continue };
            if !found.iter().any(|known| known.include == target.include && known.labels == target.labels) {
                found.push(target);
            }
        }
    }
    found
}

fn of_labels(at: &str, group: &Node, mut labels: Labels, report: &mut Report) -> Option<Target> {
    let path = labels.get(PATH).to_owned();
    if !path.starts_with('/') {
        let told = format!("{PATH} is {path:?}; it must be an absolute path or pattern");
        report.wrong(at, group, told);
        return None;
    }
    let exclude = Some(labels.get(PATH_EXCLUDE).to_owned()).filter(|path| !path.is_empty());
    labels.retain(|name| !name.starts_with("__"));
    Some(Target { include: vec![path], exclude: exclude.into_iter().collect(), labels: labels.build() })
}

/// Targets that files name (`file_sd_configs`); the files are to be looked at again and again.
///
/// Definition: Prometheus's file-based discovery. A file that is wrong keeps the targets that it had.
#[derive(Clone)]
pub struct FileTargets {
    job: Job,
    /// Patterns of the files' paths.
    patterns: Vec<String>,
}

impl fmt::Debug for FileTargets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileTargets")
            .field("job", &self.job.name)
            .field("patterns", &self.patterns)
            .finish_non_exhaustive()
    }
}

/// What the files named when they were last looked at: sources by the file that names them.
pub type NamedByFiles = BTreeMap<String, Vec<PromtailSource>>;

impl FileTargets {
    /// Reads `file_sd_configs` of a job; `None` where no file can be looked for.
    pub(super) fn read(at: &str, node: &Node, job: Job, report: &mut Report) -> Option<Self> {
        let Content::Sequence(items) = &node.content else {
            report.wrong(at, node, "must be a list of mappings with files");
            return None;
        };
        let mut patterns = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let mut fields = Fields::open(format!("{at}[{index}]"), item, report);
            let files = fields.texts("files").unwrap_or_default();
            if files.is_empty() {
                fields.wrong("files", "is missing; name at least one file or pattern");
            }
            for file in files.iter().filter(|file| !is_usable(file)) {
                fields.wrong(
                    "files",
                    format!("{file:?} must end in .json, .yml or .yaml, with * in the last name only"),
                );
            }
            // They are looked at every few seconds.
            fields.get("refresh_interval");
            fields.finish();
            patterns.extend(files);
        }
        (!patterns.is_empty()).then_some(Self { job, patterns })
    }

    /// How text is written, as an IANA name; empty when nothing is said.
    #[must_use]
    pub fn encoding(&self) -> &str {
        &self.job.encoding
    }

    /// The job's name.
    #[must_use]
    pub fn job(&self) -> &str {
        &self.job.name
    }

    /// Looks at the files and changes what they name; tells what is wrong with them. Names of sources are unique.
    pub fn look(&self, files: &dyn Files, named: &mut NamedByFiles) -> Vec<String> {
        let mut paths: Vec<String> = self.patterns.iter().flat_map(|pattern| files.glob(pattern)).collect();
        paths.sort();
        paths.dedup();
        let mut problems = Vec::new();
        if paths.len() > FILES_MAX {
            problems
                .push(format!("{} files name targets; the first {FILES_MAX} of them are read", paths.len()));
            paths.truncate(FILES_MAX);
        }
        named.retain(|path, _| paths.contains(path));
        for path in paths {
            match self.read_file(&path, files) {
                Ok(sources) => drop(named.insert(path, sources)),
                Err(wrong) => problems.extend(wrong),
            }
        }
        self.settle(named, &mut problems);
        problems
    }

    fn read_file(&self, path: &str, files: &dyn Files) -> Result<Vec<PromtailSource>, Vec<String>> {
        let told = |problem: String| vec![format!("{path}: {problem}")];
        let text =
            files.read(path, FILE_BYTES_MAX).map_err(|error| told(format!("cannot be read: {error}")))?;
        let document = kenning_yaml::read(&text).map_err(|error| told(format!("is not YAML: {error}")))?;
        let Some(root) = document.root.filter(|root| !root.is_null()) else { return Ok(Vec::new()) };
        let mut report = Report { lenient: true, ..Report::default() };
        let found = targets(path, &root, &[(META_FILE, path)], &self.job.rules, &mut report);
        match report.problems.is_empty() {
            true => Ok(found.into_iter().map(|target| self.job.source("file_sd", target)).collect()),
            false => Err(report.problems),
        }
    }

    /// Makes names unique and holds the bound on sources.
    fn settle(&self, named: &mut NamedByFiles, problems: &mut Vec<String>) {
        let total: usize = named.values().map(Vec::len).sum();
        if total > SOURCES_MAX {
            problems.push(format!("{total} targets are named; the first {SOURCES_MAX} of them are tailed"));
        }
        let mut left = SOURCES_MAX;
        let mut taken: Vec<String> = Vec::new();
        for sources in named.values_mut() {
            sources.truncate(left);
            left -= sources.len();
            for source in sources {
                let base = source.name.split('#').next().unwrap_or_default().to_owned();
                source.name = unique(&base, |name| taken.iter().any(|known| known == name));
                taken.push(source.name.clone());
            }
        }
    }
}

/// A name that is not taken: itself, or with a number behind it.
pub(super) fn unique(base: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..=SOURCES_MAX + 1).map(|number| format!("{base}#{number}"));
    let mut names = std::iter::once(base.to_owned()).chain(numbered);
    names.find(|name| !is_taken(name)).unwrap_or_else(|| base.to_owned())
}

fn is_usable(pattern: &str) -> bool {
    let (dir, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let lower = name.to_lowercase();
    !dir.contains('*') && ENDINGS.iter().any(|ending| lower.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use kenning_pipeline::geoip::GeoDatabases;
    use kenning_stdx::files::MemFiles;

    use super::*;
    use crate::promtail::read;
    use crate::{Context, LogMetrics};

    fn discovered(yaml: &str) -> Vec<FileTargets> {
        let (metrics, databases, mut report) =
            (LogMetrics::default(), GeoDatabases::default(), Report::default());
        let context = Context { metrics: &metrics, databases: &databases, files: &MemFiles::default() };
        let promtail = read(yaml.as_bytes(), context, &mut report);
        assert_eq!(report.problems, Vec::<String>::new());
        promtail.discovered
    }

    #[track_caller]
    fn check(
        targets: &FileTargets,
        files: &MemFiles,
        named: &mut NamedByFiles,
        expect: &[&str],
        told: &[&str],
    ) {
        let problems = targets.look(files, named);
        let shown = named.values().flatten().map(|source| {
            let labels: Vec<String> =
                source.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {}", source.name, labels.join(","))
        });
        assert_eq!(shown.collect::<Vec<_>>(), expect);
        assert_eq!(problems.len(), told.len(), "{problems:?}");
        problems.iter().zip(told).for_each(|(problem, part)| assert!(problem.contains(part), "{problem}"));
    }

    #[test]
    fn files_name_targets_and_change() {
        let yaml = "scrape_configs:\n- job_name: a\n  file_sd_configs: [{files: [/sd/*.yml, /sd/x.json], refresh_interval: 1m}]\n  \
                    relabel_configs:\n  - {source_labels: [__meta_filepath], regex: '/sd/(.*)\\..*', target_label: from}\n";
        let (all, files, mut named) = (discovered(yaml), MemFiles::default(), NamedByFiles::new());
        let [targets] = all.as_slice() else { panic!("one job") };
        check(targets, &files, &mut named, &[], &[]);
        files.put("/sd/a.yml", "- targets: [localhost]\n  labels: {job: j, __path__: /var/log/a.log}\n");
        files.put("/sd/x.json", r#"[{"labels": {"job": "x", "__path__": "/var/log/x/*.log"}}]"#);
        let (a, x) = (
            "promtail/a/file_sd/var/log/a.log from=a,job=j",
            "promtail/a/file_sd/var/log/x/*.log from=x,job=x",
        );
        check(targets, &files, &mut named, &[a, x], &[]);
        // What is wrong keeps what it had; what is gone goes.
        files.put("/sd/a.yml", "- labels: {job: j, __path__: log}\n");
        check(targets, &files, &mut named, &[a, x], &["/sd/a.yml[0] (line 1): __path__ is \"log\""]);
        files.put("/sd/a.yml", "[");
        check(targets, &files, &mut named, &[a, x], &["/sd/a.yml: is not YAML"]);
        files.remove("/sd/x.json");
        files.put("/sd/a.yml", "");
        check(targets, &files, &mut named, &[], &[]);
        files.put("/sd/a.yml", "- labels: {n: 1, __path__: /a}\n- labels: {n: 2, __path__: /a}\n");
        let twice = ["promtail/a/file_sd/a from=a,n=1", "promtail/a/file_sd/a#2 from=a,n=2"];
        check(targets, &files, &mut named, &twice, &[]);
        check(targets, &files, &mut named, &twice, &[]);
    }

    #[test]
    fn what_files_name_is_bounded() {
        let all = discovered("scrape_configs:\n- job_name: a\n  file_sd_configs: [{files: /sd/*.yml}]\n");
        let (files, mut named) = (MemFiles::default(), NamedByFiles::new());
        for number in 0..70 {
            files.put(
                &format!("/sd/{number:02}.yml"),
                format!("- labels: {{__path__: /{number}a}}\n- labels: {{__path__: /{number}b}}\n"),
            );
        }
        let problems = all[0].look(&files, &mut named);
        assert!(problems[0].contains("70 files") && problems[1].contains("128 targets"), "{problems:?}");
        assert_eq!(named.values().map(Vec::len).sum::<usize>(), SOURCES_MAX);
    }
}
