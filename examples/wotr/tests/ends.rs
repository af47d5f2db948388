//! Each process of the service ends when told to, and when its parent is gone.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for an end; far beyond what it takes.
const WAIT_MAX: Duration = Duration::from_secs(20);

fn start(role: &str, dir: &std::path::Path, with_parent: bool) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wotr"));
    command
        .arg(role)
        .env("WOTR_DIR", dir)
        .env("WOTR_LISTEN", "127.0.0.1:0")
        .env("OTEL_TRACES_EXPORTER", "none");
    command
        .env("OTEL_LOGS_EXPORTER", "none")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .stdin(Stdio::piped());
    if with_parent {
        command.env("WOTR_PARENT", "1");
    }
    command.spawn().expect("the binary starts")
}

fn ends(mut child: Child) -> bool {
    let deadline = Instant::now() + WAIT_MAX;
    while Instant::now() < deadline {
        if child.try_wait().expect("a child of ours").is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    false
}

#[test]
fn on_sigterm_and_when_the_parent_is_gone() {
    for role in ["api", "consumer", "load"] {
        let dir = tempfile::tempdir().expect("a directory");
        let told = start(role, dir.path(), false);
        // Long enough for the signal handler to stand; before it the signal's default ends the process too.
        std::thread::sleep(Duration::from_millis(300));
        let sent = Command::new("kill").args(["-TERM", &told.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
        assert!(ends(told), "{role} goes on after SIGTERM");

        let mut orphan = start(role, dir.path(), true);
        drop(orphan.stdin.take());
        assert!(ends(orphan), "{role} goes on without its parent");
    }
}
