//! What is to be scraped, as configured.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kenning_model::LabelSet;

use super::target::Target;

const MIB: usize = 1024 * 1024;

/// A group of targets scraped alike. Definition: Prometheus `scrape_config`.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeJob {
    /// Label `job`.
    pub job_name: String,
    /// What is scraped.
    pub groups: Vec<TargetGroup>,
    /// Time between scrapes of one target.
    pub interval: Duration,
    /// Time one scrape may take; at most the interval.
    pub timeout: Duration,
    /// Path and query, `/metrics` by default.
    pub path: String,
    /// Scraped labels win over the target's; by default they step aside as `exported_<name>`.
    pub honor_labels: bool,
    /// Stamps in the document are kept; otherwise all samples get the time of the scrape.
    pub honor_timestamps: bool,
    /// Bytes of one document, packed or unpacked; a larger one fails the scrape.
    pub body_size_limit: Option<usize>,
    /// Samples of one scrape; more fail it.
    pub sample_limit: Option<usize>,
    /// Format to assume when the target names none that is known; without it such a scrape fails.
    pub fallback: Option<ExpositionFormat>,
}

/// Targets with labels in common. Definition: Prometheus `static_config`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetGroup {
    /// `host:port`, or `host` for port 80. Label `instance`.
    pub targets: Vec<String>,
    /// Labels of all series of these targets.
    pub labels: LabelSet,
}

/// The formats a target may answer in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpositionFormat {
    /// Prometheus text 0.0.4 and 1.0.0.
    PrometheusText,
    /// OpenMetrics text 0.0.1 and 1.0.0.
    OpenMetrics,
}

impl ScrapeJob {
    /// A job with Prometheus' defaults: every minute, ten seconds' time.
    #[must_use]
    pub fn new(job_name: impl Into<String>, targets: Vec<String>) -> Self {
        Self {
            job_name: job_name.into(),
            groups: vec![TargetGroup { targets, labels: LabelSet::empty() }],
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            path: "/metrics".to_owned(),
            honor_labels: false,
            honor_timestamps: true,
            body_size_limit: Some(64 * MIB),
            sample_limit: None,
            fallback: None,
        }
    }
}

/// A mistake in a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// The job's name.
    pub job: String,
    /// What is wrong and how to put it right.
    pub problem: String,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scrape job {:?}: {}", self.job, self.problem)
    }
}

impl std::error::Error for JobError {}

/// The targets of all jobs, and all mistakes in them. Targets of a job with equal labels are scraped once.
pub(super) fn targets(jobs: &[ScrapeJob]) -> (Vec<Arc<Target>>, Vec<JobError>) {
    let (mut targets, mut errors, mut names) = (Vec::new(), Vec::new(), HashSet::new());
    for job in jobs {
        let mut mistake = |problem: String| errors.push(JobError { job: job.job_name.clone(), problem });
        check(job, &mut mistake);
        if !names.insert(&job.job_name) {
            mistake("there is another job of this name; names must be unique".to_owned());
        }
        let shared = Arc::new(job.clone());
        let mut seen = HashSet::new();
        for group in &job.groups {
            for address in &group.targets {
                match Target::new(shared.clone(), &group.labels, address) {
                    Ok(target) if seen.insert(target.labels.clone()) => targets.push(Arc::new(target)),
                    Ok(_) => {}
                    Err(problem) => mistake(problem),
                }
            }
        }
    }
    (targets, errors)
}

fn check(job: &ScrapeJob, mistake: &mut impl FnMut(String)) {
    if job.job_name.is_empty() {
        mistake("job_name is empty".to_owned());
    }
    if job.interval.is_zero() {
        mistake("the interval must be longer than zero".to_owned());
    }
    if job.timeout.is_zero() || job.timeout > job.interval {
        mistake(format!(
            "the timeout of {:?} must be longer than zero and at most the interval of {:?}",
            job.timeout, job.interval
        ));
    }
    if !job.path.starts_with('/') || job.path.parse::<http::uri::PathAndQuery>().is_err() {
        mistake(format!("the path {:?} must start with / and hold no spaces", job.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_errors(change: impl FnOnce(&mut ScrapeJob), expect: usize) {
        let mut job = ScrapeJob::new("a", vec!["localhost:9100".to_owned()]);
        change(&mut job);
        let (_, errors) = targets(&[job]);
        assert_eq!(errors.len(), expect, "{errors:?}");
    }

    #[test]
    fn mistakes_are_found_all_at_once() {
        check_errors(|_| (), 0);
        check_errors(|job| job.timeout = job.interval + Duration::from_secs(1), 1);
        check_errors(|job| (job.interval, job.path) = (Duration::ZERO, "metrics".to_owned()), 3);
        check_errors(
            |job| {
                job.groups[0].targets =
                    ["a:1", "a:1", "http://x/", "", "a b:1", "a:b"].map(str::to_owned).into()
            },
            4,
        );
    }

    #[test]
    fn a_target_named_twice_is_scraped_once_and_the_port_has_a_default() {
        let job = ScrapeJob::new("a", ["h", "h", "[::1]", "h:90"].map(str::to_owned).into());
        let (targets, errors) = targets(&[job.clone(), job]);
        assert_eq!(errors.len(), 1);
        let connect: Vec<_> = targets.iter().take(3).map(|target| target.connect_to.as_str()).collect();
        assert_eq!(connect, ["h:80", "[::1]:80", "h:90"]);
        assert_eq!(targets[0].labels, LabelSet::from_pairs([("instance", "h:80"), ("job", "a")]));
    }

    #[test]
    fn the_same_address_with_other_labels_is_another_target() {
        let mut job = ScrapeJob::new("a", vec!["h:1".to_owned()]);
        let other = LabelSet::from_pairs([("zone", "b")]);
        job.groups.push(TargetGroup { targets: vec!["h:1".to_owned()], labels: other });
        let (targets, errors) = targets(&[job]);
        let zones: Vec<_> = targets.iter().map(|target| target.labels.get("zone")).collect();
        assert_eq!((zones, errors), (vec!["", "b"], vec![]));
    }
}
