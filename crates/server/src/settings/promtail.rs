//! A Promtail configuration as sources of files: `promtail.config_file`.

use kenning_receivers::tail::source::{Encoding, FileSource, Format, Multiline, Start};
use kenning_stages::promtail::{FileTargets, PromtailSource, expand, read};
use kenning_stages::{Context, Front, Report, Wrapping};

/// Largest configuration.
const FILE_BYTES_MAX: usize = 4 << 20;

/// Where values of variables are found by name.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What was read.
pub(super) struct Read {
    pub sources: Vec<FileSource>,
    /// Sources that other files name.
    pub discovered: Vec<FileTargets>,
    /// What is left aside, and why.
    pub notes: Vec<String>,
}

/// Reads the file, with variables of the environment put in where `variables` knows them; every mistake otherwise, each
/// with its place.
pub(super) fn sources(
    path: &str,
    context: Context<'_>,
    variables: Option<Lookup<'_>>,
) -> Result<Read, Vec<String>> {
    let bytes =
        context.files.read(path, FILE_BYTES_MAX).map_err(|error| vec![format!("cannot be read: {error}")])?;
    let text = String::from_utf8(bytes).map_err(|_| vec!["is not UTF-8; save it as UTF-8".to_owned()])?;
    let text = match variables {
        Some(lookup) => expand(&text, lookup).map_err(|error| vec![error.to_string()])?,
        None => text,
    };
    let mut report = Report::default();
    let found = read(text.as_bytes(), context, &mut report);
    for targets in &found.discovered {
        check_encoding(targets.encoding(), &mut report);
    }
    let sources: Vec<FileSource> =
        found.sources.into_iter().map(|found| source(found, &mut report)).collect();
    if report.problems.is_empty() {
        return Ok(Read { sources, discovered: found.discovered, notes: report.notes });
    }
    if variables.is_none() && has_variable(&text) {
        report
            .problems
            .push("has variables such as ${HOME}; promtail.expand_env: true puts them in".to_owned());
    }
    Err(report.problems)
}

fn has_variable(text: &str) -> bool {
    let mut behind = text.split("${").skip(1);
    behind.any(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
}

fn check_encoding(name: &str, report: &mut Report) -> Encoding {
    encoding(name).unwrap_or_else(|| {
        let known = Encoding::WORDS.join(", ");
        report.problems.push(format!("encoding: {name:?} does not work; what works is {known}"));
        Encoding::Utf8
    })
}

/// A source as it is tailed. Its encoding was checked when the configuration was read, if `report` is not looked at.
pub(crate) fn source(found: PromtailSource, report: &mut Report) -> FileSource {
    let mut source = FileSource::new(&found.name, found.include);
    source.exclude = found.exclude;
    source.labels = found.labels;
    source.containers = found.containers;
    source.encoding = check_encoding(&found.encoding, report);
    // Promtail hands lines to its stages as they stand in the file.
    source.format = Format::Plain;
    // Nor does it look at paths: what it adds to the labels of a target is the file's name and what stages say.
    source.described = false;
    source.start = Start::Beginning;
    front(&mut source, &found.front);
    source.stages = (!found.pipeline.is_empty()).then_some(found.pipeline as _);
    source
}

/// What the first stages say about reading.
pub(super) fn front(source: &mut FileSource, front: &Front) {
    match front.wrapping {
        Some(Wrapping::Docker) => source.format = Format::Docker,
        Some(Wrapping::Cri) => source.format = Format::Cri,
        None => {}
    }
    if let Some(stage) = &front.multiline
        && let Some(first_line) = &stage.first_line
    {
        source.multiline = Some(Multiline::with(first_line.clone(), stage.lines_max, stage.wait_max));
    }
}

fn encoding(name: &str) -> Option<Encoding> {
    match name.to_ascii_lowercase().as_str() {
        "" | "utf8" | "utf-8" => Some(Encoding::Utf8),
        "utf-16" | "utf16" => Some(Encoding::Utf16Be),
        "latin1" | "iso-8859-1" | "iso_8859-1" => Some(Encoding::Latin1),
        other => Encoding::from_word(other),
    }
}

#[cfg(test)]
mod tests {
    use kenning_pipeline::geoip::GeoDatabases;
    use kenning_stages::LogMetrics;
    use kenning_stdx::files::MemFiles;

    use super::*;

    fn read_sources(path: &str, files: &MemFiles) -> Result<Read, Vec<String>> {
        let (metrics, databases) = (LogMetrics::default(), GeoDatabases::default());
        super::sources(path, Context { metrics: &metrics, databases: &databases, files }, None)
    }

    #[test]
    fn targets_become_sources() {
        let files = MemFiles::default();
        files.put(
            "/p.yaml",
            "clients: [{url: x}]\nscrape_configs:\n- job_name: a\n  encoding: UTF-16LE\n  pipeline_stages:\n  - cri: {}\n  - multiline: {firstline: '^x', max_lines: 3}\n  - labeldrop: [a]\n  static_configs: [{labels: {job: j, __path__: /x}}]\n- job_name: b\n  static_configs: [{labels: {__path__: /y}}]\n",
        );
        let read = read_sources("/p.yaml", &files);
        let Ok(Read { sources, notes, .. }) = read else { panic!("it is read") };
        let [a, b] = sources.as_slice() else { panic!("two sources") };
        assert_eq!((a.format, a.encoding, a.labels.get("job")), (Format::Cri, Encoding::Utf16Le, "j"));
        assert!(a.multiline.as_ref().is_some_and(|multiline| multiline.lines_max == 3) && a.stages.is_some());
        assert!(b.format == Format::Plain && b.stages.is_none() && b.multiline.is_none());
        assert!(notes.iter().any(|note| note.starts_with("clients (line 1): is left aside")), "{notes:?}");
        files.put(
            "/bad.yaml",
            "scrape_configs: [{job_name: a, encoding: ebcdic, static_configs: [{labels: {__path__: /x}}]}]",
        );
        let told = read_sources("/bad.yaml", &files).map(|_| ()).unwrap_err();
        assert!(told.join("\n").contains("\"ebcdic\" does not work"), "{told:?}");
    }

    #[test]
    fn variables_are_put_in_where_the_settings_want_them() {
        let files = MemFiles::default();
        files.put(
            "/p.yaml",
            "scrape_configs: [{job_name: a, static_configs: [{labels: {host: '${HOST:-none}', __path__: '${LOGS}/x'}}]}]",
        );
        let told = read_sources("/p.yaml", &files).map(|_| ()).unwrap_err().join("\n");
        assert!(told.contains("promtail.expand_env: true puts them in"), "{told}");
        let (metrics, databases) = (LogMetrics::default(), GeoDatabases::default());
        let context = Context { metrics: &metrics, databases: &databases, files: &files };
        let lookup = |name: &str| (name == "LOGS").then(|| "/var/log".to_owned());
        let Ok(read) = super::sources("/p.yaml", context, Some(&lookup)) else { panic!("it is read") };
        let [source] = read.sources.as_slice() else { panic!("one source") };
        assert_eq!((source.include[0].as_str(), source.labels.get("host")), ("/var/log/x", "none"));
    }

    /// The configurations of the documents that Kenning replaces the stack of, where they are at hand.
    #[test]
    #[expect(clippy::print_stderr, reason = "a skipped test must be heard of")]
    fn the_documents_configuration_loads() {
        const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/seeds");
        let pages =
            std::fs::read_dir(SEEDS).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
        let pages: Vec<std::path::PathBuf> = pages.unwrap_or_default();
        let mut loaded = 0;
        for page in &pages {
            let text = std::fs::read_to_string(page).unwrap_or_default();
            let blocks = text.split("\n```").skip(1).step_by(2);
            for block in
                blocks.filter(|block| block.contains("scrape_configs:") && block.contains("__path__"))
            {
                let (files, yaml) =
                    (MemFiles::default(), block.split_once('\n').map_or("", |(_, yaml)| yaml));
                files.put("/promtail.yaml", yaml);
                let read = read_sources("/promtail.yaml", &files);
                assert!(read.is_ok_and(|read| !read.sources.is_empty()), "{}: {yaml}", page.display());
                loaded += 1;
            }
        }
        if loaded == 0 {
            eprintln!("SKIPPED: {SEEDS} has no Promtail configuration ({} pages)", pages.len());
        }
    }
}
