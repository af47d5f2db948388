//! Turning an error value into `exception.type`, `exception.message` and `exception.stacktrace`.

use std::backtrace::Backtrace;
use std::error::Error;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// Causes followed; chains can be circular by mistake.
const CAUSES_MAX: usize = 32;
/// Longest stack trace kept.
pub(crate) const STACK_BYTES_MAX: usize = 32 * 1024;
/// Symbolising a stack takes around a millisecond, so an error storm keeps only this many per second; the others
/// carry their chain of causes without frames.
const BACKTRACES_PER_SECOND: u64 = 20;

/// What OpenTelemetry calls an exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exception {
    /// Absent when only text was recorded.
    pub(crate) kind: Option<String>,
    pub(crate) message: String,
    pub(crate) stack: String,
}

impl Exception {
    pub(crate) fn from_error(error: &(dyn Error + 'static), frames: Option<String>) -> Self {
        let kind = type_name(error);
        let message = error.to_string();
        let mut stack = format!("{}: {message}", kind.as_deref().unwrap_or("Error"));
        let mut cause = error.source();
        for _ in 0..CAUSES_MAX {
            let Some(error) = cause else { break };
            let kind = type_name(error);
            let _ = write!(stack, "\nCaused by: {}: {error}", kind.as_deref().unwrap_or("Error"));
            cause = error.source();
        }
        Self { kind, message, stack: with_frames(stack, frames) }
    }

    pub(crate) fn from_text(message: &str, frames: Option<String>) -> Self {
        Self { kind: None, message: message.to_owned(), stack: with_frames(message.to_owned(), frames) }
    }
}

fn with_frames(mut stack: String, frames: Option<String>) -> String {
    if let Some(frames) = frames {
        stack.push('\n');
        stack.push_str(&frames);
    }
    truncate(&mut stack, STACK_BYTES_MAX);
    stack
}

/// Cuts at a character boundary.
pub(crate) fn truncate(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let end = text.floor_char_boundary(bytes_max);
        text.truncate(end);
    }
}

/// The type's name, read off the head of its `Debug` form: `dyn Error` does not know its own type.
/// `None` when that head does not look like one, as with types whose `Debug` is their message.
fn type_name(error: &(dyn Error + 'static)) -> Option<String> {
    let mut head = Head::default();
    // The writer refuses when it has enough, which ends the formatting early.
    let _ = write!(head, "{error:?}");
    let text = head.0;
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let ends_like_a_type = rest.is_empty() || rest.starts_with(['(', '{']) || rest.starts_with(" {");
    let starts_like_a_type = name.chars().next().is_some_and(char::is_uppercase);
    (starts_like_a_type && ends_like_a_type && !name.ends_with(':')).then(|| name.to_owned())
}

/// The first bytes written to it.
#[derive(Default)]
struct Head(String);

impl Write for Head {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.push_str(text);
        if self.0.len() > 96 { Err(std::fmt::Error) } else { Ok(()) }
    }
}

/// Allows a bounded number of stack captures per second.
#[derive(Debug, Default)]
pub(crate) struct BacktraceBudget {
    /// Second in the upper half, captures in it in the lower.
    state: AtomicU64,
    disabled: bool,
}

impl BacktraceBudget {
    pub(crate) fn new(disabled: bool) -> Self {
        Self { state: AtomicU64::new(0), disabled }
    }

    /// The calling thread's frames, without the logging machinery above and the runtime's start below.
    pub(crate) fn capture(&self, mono_nanos: u64) -> Option<String> {
        if self.disabled || !self.take(mono_nanos / 1_000_000_000) {
            return None;
        }
        Some(capture_frames())
    }

    fn take(&self, second: u64) -> bool {
        let next = |state: u64| match (state >> 32 == second & 0xffff_ffff, state & 0xffff_ffff) {
            (true, used) if used >= BACKTRACES_PER_SECOND => None,
            (true, _) => Some(state + 1),
            (false, _) => Some(second << 32 | 1),
        };
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// The calling thread's frames, trimmed to the application's.
pub(crate) fn capture_frames() -> String {
    trim_frames(&Backtrace::force_capture().to_string())
}

/// The application's frames lie below the first of these: whatever inlining makes of our own functions above.
const ENTRANCES: [&str; 2] = ["tracing_core::event::Event::dispatch", "kenning::init::install_panic_hook"];

/// Names of the crates whose frames are left out at the top of a stack.
const MACHINERY: [&str; 11] = [
    "kenning::",
    "<kenning::",
    "tracing::",
    "tracing_core::",
    "std::",
    "<std::",
    "core::",
    "<core::",
    "alloc::",
    "<alloc::",
    "__rustc::",
];

/// Sources of the same crates, for inlined functions, which have no crate in their names.
const MACHINERY_SOURCES: [&str; 3] = ["/rustc/", "/tracing-0", "/tracing-core-0"];

/// Keeps the application's frames of a backtrace in the standard library's format: without the logging or panicking
/// machinery above them and the thread's start below. When that leaves nothing, everything is kept.
fn trim_frames(text: &str) -> String {
    let mut frames: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        match frames.last_mut() {
            Some(frame) if frame_name(line).is_none() => frame.push(line),
            _ => frames.push(vec![line]),
        }
    }
    let name =
        |frame: &[&str]| frame.first().and_then(|line| frame_name(line)).unwrap_or_default().to_owned();
    let is_entrance = |frame: &Vec<&str>| ENTRANCES.iter().any(|entrance| name(frame).starts_with(entrance));
    let is_machinery = |frame: &Vec<&str>| {
        let by_name = MACHINERY.iter().any(|prefix| name(frame).starts_with(prefix));
        by_name
            || frame.iter().skip(1).any(|line| MACHINERY_SOURCES.iter().any(|source| line.contains(source)))
    };
    let below_entrance = frames.iter().position(is_entrance).map_or(0, |at| at + 1);
    let machinery = frames.iter().skip(below_entrance).take_while(|frame| is_machinery(frame)).count();
    let is_start = |frame: &Vec<&str>| frame.iter().any(|line| line.contains("__rust_begin_short_backtrace"));
    let last = frames.iter().position(is_start).unwrap_or(frames.len());
    let kept = frames.get(below_entrance + machinery..last).filter(|kept| !kept.is_empty());
    let lines = kept.unwrap_or(&frames).concat();
    lines.into_iter().map(short_place).collect::<Vec<_>>().join("\n")
}

/// A place in a dependency or in the standard library without the folders of the machine that built it: where it lies
/// there says nothing about the failure, and who reads the trace need not learn it.
fn short_place(line: &str) -> String {
    const ROOTS: [&str; 2] = ["/registry/src/", "/rustc/"];
    let place_of = |root: &&str| {
        let (_, below) = line.split_once(root)?;
        below.split_once('/').map(|(_index_or_hash, place)| place)
    };
    match (line.trim_start().strip_prefix("at "), ROOTS.iter().find_map(place_of)) {
        (Some(_), Some(place)) => {
            let indent = line.len() - line.trim_start().len();
            format!("{:indent$}at {place}", "")
        }
        _ => line.to_owned(),
    }
}

/// What follows the number on the first line of a frame; `None` on a line with a frame's place.
fn frame_name(line: &str) -> Option<&str> {
    let (number, name) = line.trim_start().split_once(": ")?;
    number.parse::<u32>().ok().map(|_| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    #[derive(Debug)]
    struct Outer(#[allow(dead_code)] u8, Inner);
    #[derive(Debug)]
    enum Inner {
        Refused { _port: u16 },
    }
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("insert failed")
        }
    }
    impl fmt::Display for Inner {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("connection refused")
        }
    }
    impl Error for Inner {}
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn chain_and_type() {
        let exception = Exception::from_error(&Outer(1, Inner::Refused { _port: 1 }), None);
        assert_eq!(exception.kind.as_deref(), Some("Outer"));
        assert_eq!(exception.message, "insert failed");
        assert_eq!(exception.stack, "Outer: insert failed\nCaused by: Refused: connection refused");
    }

    #[test]
    fn a_message_is_no_type() {
        let check =
            |error: Box<dyn Error>, expect: Option<&str>| assert_eq!(type_name(&*error).as_deref(), expect);
        check("Plain text of a Box".into(), None);
        check("x".parse::<u8>().unwrap_err().into(), Some("ParseIntError"));
        check(std::io::Error::from(std::io::ErrorKind::NotFound).into(), Some("Kind"));
        check(fmt::Error.into(), Some("Error"));
    }

    #[test]
    fn backtraces_are_rationed() {
        let budget = BacktraceBudget::new(false);
        let taken = (0..100).filter(|_| budget.take(5)).count();
        assert_eq!(taken as u64, BACKTRACES_PER_SECOND);
        assert!(budget.take(6));
    }

    #[test]
    fn places_of_dependencies_lose_the_machine() {
        let check = |line: &str, expect: &str| assert_eq!(short_place(line), expect);
        check(
            "      at /home/me/.cargo/registry/src/index-1/dep-1.0/src/a.rs:1:2",
            "      at dep-1.0/src/a.rs:1:2",
        );
        check("  at /rustc/abc/library/std/src/a.rs:1", "  at library/std/src/a.rs:1");
        check("  at ./src/app.rs:1", "  at ./src/app.rs:1");
        check("   3: app::registry", "   3: app::registry");
    }

    #[test]
    fn frames_are_trimmed() {
        let check = |text: &str, expect: &str| assert_eq!(trim_frames(text), expect);
        let start = "   8: std::sys::backtrace::__rust_begin_short_backtrace::<f>\n   9: main";
        let app = "   5: app::work\n             at src/app.rs:1\n   6: tracing::span::Span::in_scope::<f>\n   7: app::main";
        check(
            &format!(
                "   0: create\n             at /rustc/x/std.rs\n   1: inlined\n   2: \
                 tracing_core::event::Event::dispatch\n   3: f\n             at /x/tracing-core-0.1.36/e.rs\n{app}\n{start}"
            ),
            app,
        );
        check(&format!("   0: kenning::a\n   1: std::panicking::b\n{app}\n{start}"), app);
        check("   0: std::a\n   1: core::b", "   0: std::a\n   1: core::b");
        assert_eq!(trim_frames("odd"), "odd");
    }
}
