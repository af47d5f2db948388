//! What is tailed, and how its bytes are read.

use std::sync::Arc;
use std::time::Duration;

use kenning_model::LabelSet;
use kenning_pipeline::process::Processor;
use kenning_pipeline::relabel::Rule;
use kenning_regex::{Limits, compile};
use regex::Regex;

/// Files that are read alike.
#[derive(Clone, Debug)]
pub struct FileSource {
    /// Positions are filed under this name: under another one, all files are new.
    pub name: Box<str>,
    /// Patterns of paths, absolute.
    pub include: Vec<String>,
    /// Patterns of paths that are left out.
    pub exclude: Vec<String>,
    /// How lines are wrapped.
    pub format: Format,
    /// How text is written.
    pub encoding: Encoding,
    /// Labels of every stream; they win over those that the path tells.
    pub labels: LabelSet,
    /// Where files begin that were there before the source was first used.
    pub start: Start,
    /// How lines make records.
    pub multiline: Option<Multiline>,
    /// Bytes of a record; what is beyond is cut off and counted.
    pub line_bytes_max: usize,
    /// Rules that make the labels of containers' logs of what Docker says of them (`__meta_docker_container_*`), in place
    /// of the usual labels; what they drop is not read. Definition: Promtail's `docker_sd_configs`.
    pub containers: Option<Vec<Rule>>,
    /// Docker's and pods' files get the labels that their path and Docker's description of the container tell. Without,
    /// streams have `filename` and [`Self::labels`] only, as Promtail's have.
    pub described: bool,
    /// What happens to records before they are offered.
    ///
    /// Must not keep records for later: they are acknowledged with the batch that they came in.
    pub stages: Option<Arc<dyn Processor>>,
}

impl FileSource {
    /// Bytes of a record when nobody says otherwise.
    pub const LINE_BYTES_MAX: usize = 256 << 10;

    /// Plain files, read from the beginning.
    #[must_use]
    pub fn new(name: &str, include: Vec<String>) -> Self {
        Self {
            name: name.into(),
            include,
            exclude: Vec::new(),
            format: Format::Auto,
            encoding: Encoding::Utf8,
            labels: LabelSet::empty(),
            start: Start::Beginning,
            multiline: None,
            line_bytes_max: Self::LINE_BYTES_MAX,
            containers: None,
            described: true,
            stages: None,
        }
    }
}

/// Declares words of settings.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every word.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// Reads the word of the settings.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words! {
    /// How lines are wrapped.
    Format {
        /// By path and, failing that, by the first line.
        Auto = "auto",
        /// Docker's `json-file`.
        Docker = "docker",
        /// The container runtime interface's.
        Cri = "cri",
        /// Not at all.
        Plain = "plain",
    }
}

words! {
    /// Where reading begins.
    Start {
        /// At the first byte.
        Beginning = "beginning",
        /// Behind the last byte.
        End = "end",
    }
}

words! {
    /// How text is written. What is not valid becomes U+FFFD and is counted.
    Encoding {
        /// UTF-8.
        Utf8 = "utf-8",
        /// UTF-16, low byte first.
        Utf16Le = "utf-16le",
        /// UTF-16, high byte first.
        Utf16Be = "utf-16be",
        /// ISO 8859-1.
        Latin1 = "iso-8859-1",
    }
}

/// How lines make records.
#[derive(Clone, Debug)]
pub struct Multiline {
    /// A line that matches begins a record.
    pub first_line: Regex,
    /// Lines of a record; more begin another.
    pub lines_max: usize,
    /// A record is over when no line came for so long.
    pub wait_max: Duration,
}

impl Multiline {
    /// Bounds of one's own.
    #[must_use]
    pub const fn with(first_line: Regex, lines_max: usize, wait_max: Duration) -> Self {
        Self { first_line, lines_max, wait_max }
    }

    /// As [`Self::new`], from the text of a regular expression; the error tells what is wrong with it.
    pub fn starting_with(first_line: &str) -> Result<Self, String> {
        compile(first_line, Limits::default()).map(Self::new).map_err(|error| error.to_string())
    }

    /// Promtail's bounds: 128 lines, 3 s.
    #[must_use]
    pub fn new(first_line: Regex) -> Self {
        Self { first_line, lines_max: 128, wait_max: Duration::from_secs(3) }
    }
}
