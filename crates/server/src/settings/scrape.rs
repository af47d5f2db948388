//! What is scraped: the sections `scrape_configs`, `scrape_config_files` and `global` of `kenning.yaml`, which are
//! Prometheus's own, and a whole `prometheus.yml` beside it.

use kenning_promconfig::{
    Config, Problem, ScrapeConfig, directory_of, load, load_sections, scrape_configs, show,
};
use kenning_receivers::scrape::unsupported;
use kenning_stdx::files::Files;

/// The sections of `kenning.yaml` that are read as Prometheus reads them.
pub(super) const SECTIONS: &[&str] = &["global", "scrape_configs", "scrape_config_files"];
/// Largest `prometheus.yml`.
const FILE_BYTES_MAX: usize = 16 << 20;

/// The sections of a `kenning.yaml`.
pub(super) fn sections(text: &str) -> Result<Config, Vec<Problem>> {
    load_sections(text.as_bytes(), SECTIONS)
}

/// The jobs of a configuration that stands in `origin`; every mistake otherwise.
pub(super) fn jobs(
    config: &Config,
    origin: &str,
    files: &dyn Files,
) -> Result<Vec<ScrapeConfig>, Vec<String>> {
    let jobs = scrape_configs(config, directory_of(origin), files);
    let jobs = jobs.map_err(|problem| vec![problem.to_string()])?;
    let problems: Vec<_> = jobs.iter().flat_map(unsupported).collect();
    if problems.is_empty() { Ok(jobs) } else { Err(problems) }
}

/// What is taken of a `prometheus.yml`.
#[derive(Debug, Default)]
pub(crate) struct Prometheus {
    /// Its jobs.
    pub jobs: Vec<ScrapeConfig>,
    /// The names of its sections that are read and not used.
    pub unused: Vec<String>,
    /// Labels for what leaves this server, variables of the environment put in.
    pub external_labels: Vec<(String, String)>,
    /// The file as it may be shown.
    pub shown: String,
}

/// Reads a `prometheus.yml`.
pub(crate) fn prometheus_yml(path: &str, files: &dyn Files) -> Result<Prometheus, Vec<String>> {
    let text = files.read(path, FILE_BYTES_MAX).map_err(|error| vec![format!("cannot be read: {error}")])?;
    let config =
        load(&text).map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    Ok(Prometheus {
        jobs: jobs(&config, path, files)?,
        external_labels: config.external_labels(&|name| std::env::var(name).ok()),
        shown: show(&text),
        unused: config.unused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_stdx::files::MemFiles;

    fn check(yaml: &str, expect: Result<usize, &str>) {
        let read = sections(yaml).map_err(|problems| problems.iter().map(ToString::to_string).collect());
        match (read.and_then(|config| jobs(&config, "/etc/k.yaml", &MemFiles::default())), expect) {
            (Ok(jobs), Ok(count)) => assert_eq!(jobs.len(), count, "{yaml}"),
            (Err(problems), Err(expect)) => assert!(problems.join("\n").contains(expect), "{problems:?}"),
            (outcome, _) => panic!("{yaml} gave {outcome:?}"),
        }
    }

    #[test]
    fn jobs_are_read_and_what_does_not_work_is_refused_by_name() {
        check(
            "scrape_configs:\n- job_name: a\n  static_configs: [{targets: ['h:1', 'h:2'], labels: {x: y}}]",
            Ok(1),
        );
        check("listen: x\nglobal: {scrape_interval: 5s}", Ok(0));
        check("scrape_configs:\n- static_configs: []", Err("job_name is empty"));
        check(
            "scrape_configs:\n- job_name: a\n  consul_sd_configs: [{server: x}]",
            Err("consul_sd_configs is not supported"),
        );
        check("scrape_configs:\n- {job_name: a, scrape_interval: soon}", Err("not a valid duration"));
    }

    #[test]
    fn a_prometheus_yml_brings_jobs_and_says_what_it_does_not_use() {
        let files = MemFiles::default();
        let text = "scrape_configs: [{job_name: a, file_sd_configs: [{files: [t/*.json]}]}]\nremote_write: [{url: 'http://u:p@x'}]\nglobal: {external_labels: {zone: eu}}";
        files.put("/etc/prometheus.yml", text);
        let Prometheus { jobs, unused, external_labels, shown } =
            prometheus_yml("/etc/prometheus.yml", &files).unwrap_or_default();
        assert_eq!((jobs.len(), unused), (1, vec!["remote_write".to_owned()]));
        assert_eq!(external_labels, [("zone".to_owned(), "eu".to_owned())]);
        assert!(shown.contains("zone: eu") && !shown.contains("u:p@"), "{shown}");
        assert!(format!("{:?}", jobs).contains("/etc/t/*.json"));
        assert!(prometheus_yml("/none", &files).is_err());
    }
}
