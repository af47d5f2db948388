//! When to end: on SIGTERM or Ctrl-C, and when whoever started us is gone.

use std::io::Read;

/// Resolves when the process should end. A parent that holds our standard input open and dies closes it, so children
/// never outlive it; without a pipe there (a terminal, `/dev/null`) only signals count.
pub async fn end() {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(_) => return,
    };
    let parent_gone = async {
        if !matches!(tokio::task::spawn_blocking(wait_for_parent).await, Ok(true)) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        () = parent_gone => {}
    }
}

/// True once the parent is gone; false at once when there is no parent to watch.
fn wait_for_parent() -> bool {
    if std::env::var_os("WOTR_PARENT").is_none() {
        return false;
    }
    let mut byte = [0u8; 1];
    // Nothing is ever written; the read ends when the other end of the pipe does.
    while matches!(std::io::stdin().read(&mut byte), Ok(1)) {}
    true
}
