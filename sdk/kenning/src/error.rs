//! What can go wrong when telemetry starts: one opaque error that carries every mistake found.

use std::fmt;

/// Why telemetry could not be started.
///
/// All mistakes of the environment and of the declared metrics are collected, so that one restart fixes them
/// all; `Display` prints one per line. The kinds are asked for with predicates, so that this type can grow.
pub struct Error {
    problems: Vec<Problem>,
}

/// One mistake.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// A setting from the environment or the builder.
    Configuration,
    /// Two declared metrics that cannot both exist.
    Metrics,
    /// A second start in the same process, or another global subscriber.
    AlreadyInitialized,
    /// A listening address that could not be bound.
    Bind,
    /// A thread that could not be started.
    Resource,
}

impl Error {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    pub(crate) fn one(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self::new(vec![Problem { kind, message: message.into() }])
    }

    fn has(&self, kind: ProblemKind) -> bool {
        self.problems.iter().any(|problem| problem.kind == kind)
    }

    /// Whether a setting was wrong.
    pub fn is_configuration(&self) -> bool {
        self.has(ProblemKind::Configuration)
    }

    /// Whether two declared metrics collide.
    pub fn is_metric_conflict(&self) -> bool {
        self.has(ProblemKind::Metrics)
    }

    /// Whether this process has a global `tracing` subscriber already.
    pub fn is_already_initialized(&self) -> bool {
        self.has(ProblemKind::AlreadyInitialized)
    }

    /// Whether the metrics port could not be bound.
    pub fn is_bind(&self) -> bool {
        self.has(ProblemKind::Bind)
    }

    /// Every mistake as one line each.
    pub fn messages(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().map(|problem| problem.message.as_str())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "telemetry could not start")?;
        for problem in &self.problems {
            write!(f, "\n  {}", problem.message)?;
        }
        Ok(())
    }
}

/// `main` returning this error prints `Debug`, so it shows the same readable text.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}
