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
        Some(trim_frames(&Backtrace::force_capture().to_string()))
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

/// Frames of these crates lie between the application's call and the capture.
const MACHINERY: [&str; 5] = ["kenning::", "<kenning::", "tracing_core::", "tracing::", "std::backtrace"];

/// Keeps the application's frames of a backtrace in the standard library's format.
fn trim_frames(text: &str) -> String {
    let mut frames: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        let starts_frame =
            line.trim_start().split_once(": ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
        match frames.last_mut() {
            Some(frame) if !starts_frame => frame.push(line),
            _ => frames.push(vec![line]),
        }
    }
    let is_machinery = |frame: &Vec<&str>| {
        let name = frame.first().and_then(|line| line.split_once(": ")).map_or("", |(_, name)| name);
        // Closures of the logging macros live in the application's function, so names decide only here.
        MACHINERY.iter().any(|prefix| name.starts_with(prefix))
    };
    let first = frames.iter().rposition(is_machinery).map_or(0, |at| at + 1);
    let first = if first >= frames.len() { 0 } else { first };
    let is_start = |frame: &Vec<&str>| frame.iter().any(|line| line.contains("__rust_begin_short_backtrace"));
    let last = frames.iter().position(is_start).unwrap_or(frames.len()).max(first);
    let kept = frames.get(first..last).filter(|kept| !kept.is_empty()).unwrap_or(&frames);
    kept.concat().join("\n")
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
    fn frames_are_trimmed() {
        let text = "   0: std::backtrace::Backtrace::create\n             at x\n   1: kenning::a\n   2: tracing_core::b\n   \
                    3: app::work\n             at src/app.rs:1\n   4: std::sys::__rust_begin_short_backtrace::<f>\n   5: main";
        assert_eq!(trim_frames(text), "   3: app::work\n             at src/app.rs:1");
        assert_eq!(trim_frames("odd"), "odd");
    }
}
