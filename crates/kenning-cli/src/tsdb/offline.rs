//! What `kenning tsdb` does with a data directory that no server uses: list its parts, look at its series, bring in files.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kenning_model::{LabelSet, MetricBatch, Millis, Nanos, TenantId, TimeRange};
use kenning_server::offline::Offline;
use kenning_wire::DecodeLimits;
use kenning_wire::prometheus::{Exposition, ScrapeOptions, decode};

use crate::Failure;

/// Longest file that is brought in, in bytes: it is held in memory several times over.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Samples that are stored at once.
const SAMPLES_PER_WRITE: usize = 50_000;
/// The stamp of samples without one. They are refused, so it is one that nobody measures at.
const UNSTAMPED: Millis = Millis(i64::MIN);
/// How far before the last sample a series must have one to count as alive.
const ALIVE_WITHIN_NANOS: i64 = 300 * 1_000_000_000;

/// Opens a directory that must be there.
pub(super) fn open(dir: &Path) -> Result<Offline, Failure> {
    if !dir.join("FORMAT").exists() {
        return Err(Failure(format!(
            "{} is no data directory of Kenning; it has no file FORMAT. Give the server's data_dir",
            dir.display()
        )));
    }
    Ok(Offline::open(dir)?)
}

/// Whose data.
pub(super) fn tenant(name: Option<&str>) -> Result<TenantId, Failure> {
    Ok(name.map(TenantId::parse).transpose()?.unwrap_or_else(TenantId::default_tenant))
}

/// A row of `tsdb list`. Times are milliseconds.
pub(super) struct Part {
    pub id: String,
    pub min_ms: i64,
    pub max_ms: i64,
    pub samples: u64,
    pub level: u64,
    pub bytes: u64,
}

/// The parts of a directory, recent data included.
pub(super) fn parts(dir: &Path) -> Result<Vec<Part>, Failure> {
    let offline = open(dir)?;
    offline.flush()?;
    let parts = offline.parts().into_iter().map(|part| Part {
        id: format!("{:026}", part.id),
        min_ms: part.time.start.to_millis().0,
        max_ms: part.time.end.to_millis().0,
        samples: part.rows,
        level: u64::from(part.level) + 1,
        bytes: part.bytes,
    });
    Ok(parts.collect())
}

/// All series and those that are alive at the end, of a directory; at most `limit` of each.
pub(super) fn series(
    dir: &Path,
    tenant: &TenantId,
    selector: &str,
    (start, end): (Option<i64>, Option<i64>),
    limit: usize,
) -> Result<(Vec<LabelSet>, Vec<LabelSet>), Failure> {
    let filter = kenning_promql::matchers(selector).map_err(|problems| {
        let told: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        Failure(format!("{selector}: {}", told.join("; ")))
    })?;
    let offline = open(dir)?;
    offline.flush()?;
    let last = offline.parts().iter().map(|part| part.time.end).max().unwrap_or(Nanos(0));
    let end = end.map_or(last, Nanos);
    let within = |start| TimeRange { start, end };
    let all = within(start.map_or(TimeRange::ALL.start, Nanos));
    let recent = within(Nanos(end.0.saturating_sub(ALIVE_WITHIN_NANOS)));
    let (found, missing) = offline.series(tenant, filter.clone(), all, limit)?;
    missing.iter().for_each(|problem| eprintln!("not readable: {problem}"));
    let (alive, _) = offline.series(tenant, filter, recent, limit)?;
    Ok((found, alive))
}

/// Bring files into a data directory
#[derive(Args)]
pub(super) struct CreateBlocksFrom {
    #[command(subcommand)]
    format: Format,
}

#[derive(Subcommand)]
enum Format {
    /// Samples with their times as OpenMetrics, such as `tsdb dump-openmetrics` writes
    Openmetrics(Openmetrics),
}

#[derive(Args)]
struct Openmetrics {
    /// The file; `-` for standard input
    file: PathBuf,
    /// The data directory; made when it is missing
    #[arg(default_value = "data")]
    data_dir: PathBuf,
    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
}

impl CreateBlocksFrom {
    pub(super) fn run(&self, tenant: &TenantId) -> Result<(), Failure> {
        let Format::Openmetrics(work) = &self.format;
        let batch = openmetrics(&read(&work.file)?)?;
        let offline = Offline::open(&work.data_dir)?;
        let samples = batch.samples.len();
        for some in split(batch, SAMPLES_PER_WRITE) {
            offline.import(tenant, some)?;
        }
        offline.close()?;
        if !work.quiet {
            println!("{samples} samples are in {}", work.data_dir.display());
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let len = if path == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?
    } else {
        let file = File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?
    };
    if len as u64 > FILE_BYTES_MAX {
        return Err(Failure(format!("{} is larger than {FILE_BYTES_MAX} bytes; split it", path.display())));
    }
    Ok(text)
}

/// The samples of a file, each with a time of its own.
fn openmetrics(text: &[u8]) -> Result<MetricBatch, Failure> {
    let limits = DecodeLimits { items: usize::MAX, ..DecodeLimits::default() };
    let options = ScrapeOptions::new(UNSTAMPED, LabelSet::empty());
    let decoded = decode(text, Exposition::OpenMetrics, &limits, &options)?;
    if let Some((reason, count, told)) = decoded.rejected.iter().next() {
        return Err(Failure(format!("{count} samples cannot be stored ({reason}): {told}")));
    }
    let batch = decoded.batch;
    if let Some(sample) = batch.samples.iter().find(|sample| sample.time == UNSTAMPED) {
        let series = batch.series.get(sample.series as usize).cloned().unwrap_or_default();
        return Err(Failure(format!("expected timestamp for series {series:?}, got none")));
    }
    Ok(batch)
}

/// Batches of at most `samples` each, with no series that has nothing in them. Exemplars and metadata go with the first.
fn split(mut batch: MetricBatch, samples: usize) -> Vec<MetricBatch> {
    let all = std::mem::take(&mut batch.samples);
    let starts = std::mem::take(&mut batch.starts);
    let mut parts = Vec::new();
    for (place, some) in all.chunks(samples.max(1)).enumerate() {
        let first = place * samples;
        let mut moved = vec![None; batch.series.len()];
        let mut part = MetricBatch::default();
        for (i, sample) in some.iter().enumerate() {
            let (Some(labels), Some(moved)) =
                (batch.series.get(sample.series as usize), moved.get_mut(sample.series as usize))
            else {
                continue;
            };
            let series = *moved.get_or_insert_with(|| part.add_series(labels.clone()));
            let start = kenning_model::start_at(&starts, first + i);
            part.push_sample(kenning_model::Sample { series, ..*sample }, start);
        }
        parts.push(part);
    }
    if batch.exemplars.is_empty() {
        batch.series.clear();
    }
    if !batch.exemplars.is_empty() || !batch.metadata.is_empty() {
        parts.push(batch);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<usize, &str>) {
        match (openmetrics(text.as_bytes()), expect) {
            (Ok(batch), Ok(count)) => assert_eq!(batch.samples.len(), count, "{text}"),
            (Err(Failure(problem)), Err(part)) => assert!(problem.contains(part), "{text}: {problem}"),
            (Ok(batch), Err(part)) => panic!("{text}: {} samples, not {part}", batch.samples.len()),
            (Err(Failure(problem)), Ok(_)) => panic!("{text}: {problem}"),
        }
    }

    #[test]
    fn files_have_a_time_for_every_sample() {
        check("a 1 1\na 2 2.5\n# EOF\n", Ok(2));
        check("# EOF\n", Ok(0));
        check("a 1\n# EOF\n", Err("expected timestamp for series"));
        check("a 1 1\n", Err("# EOF"));
        check("a 1 1\na{ 1 1\n# EOF\n", Err("label name"));
    }

    #[test]
    fn samples_are_split_with_their_series() {
        let batch = openmetrics(b"a 1 1\nb 2 2\na 3 3\n# EOF\n").unwrap_or_else(|_| panic!("a good file"));
        let parts = split(batch, 2);
        let names = |part: &MetricBatch| -> Vec<String> {
            part.series.iter().map(|labels| labels.metric_name().to_owned()).collect()
        };
        assert_eq!(parts.iter().map(names).collect::<Vec<_>>(), [vec!["a", "b"], vec!["a"]]);
        assert_eq!(parts.iter().map(|part| part.samples.len()).sum::<usize>(), 3);
    }

    #[test]
    fn what_is_brought_in_is_listed_and_analysed() {
        let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("a directory: {error}"));
        let text =
            b"up{job=\"a\"} 1 1700000000\nup{job=\"b\"} 0 1700000000\nup{job=\"a\"} 1 1700001000\n# EOF\n";
        let (file, data) = (dir.path().join("samples"), dir.path().join("data"));
        std::fs::write(&file, text).unwrap_or_else(|error| panic!("a file: {error}"));
        let work = Openmetrics { file, data_dir: data.clone(), quiet: true };
        let import = CreateBlocksFrom { format: Format::Openmetrics(work) };
        let tenant = TenantId::default_tenant();
        assert!(import.run(&tenant).is_ok());
        let listed = parts(&data).unwrap_or_else(|Failure(problem)| panic!("{problem}"));
        assert_eq!(listed.iter().map(|part| part.samples).sum::<u64>(), 3);
        let found = series(&data, &tenant, "up", (None, None), 10);
        let (all, alive) = found.unwrap_or_else(|Failure(problem)| panic!("{problem}"));
        assert_eq!((all.len(), alive.len()), (2, 1));
        assert!(open(dir.path()).is_err(), "a directory without data");
    }
}
