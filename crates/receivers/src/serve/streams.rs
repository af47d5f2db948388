//! The accept loop for protocols that are not HTTP: the same caps and counters, one task per connection.

use std::future::Future;
use std::net::SocketAddr;

use kenning_stdx::net::{BoxStream, Listener};
use tokio::task::JoinSet;

use super::{ACCEPT_BACK_OFF, OpenGauge, Serving, Stop, admit, concerns_one_peer, count_end};

/// Serves a listener until `stop`, then gives connections [`super::ConnectionLimits::drain`] to end and returns.
///
/// `handler` runs a connection to its end and tells the cause when a guard or a fault ended it. Times and sizes within a
/// connection are the handler's to bound; it hears of the stop through its own [`Stop`].
pub async fn serve_streams<H, F>(listener: Box<dyn Listener>, serving: Serving, mut stop: Stop, handler: H)
where
    H: Fn(BoxStream, SocketAddr, Stop) -> F + Send + Sync + 'static,
    F: Future<Output = Option<&'static str>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Some(slot) = admit(&serving, peer) else { continue };
                    let (run, serving) = (handler(stream, peer, stop.clone()), serving.clone());
                    connections.spawn(async move {
                        let (_slot, _open) = (slot, OpenGauge::new(&serving));
                        if let Some(cause) = run.await {
                            count_end(&serving, cause);
                        }
                    });
                }
                Err(error) => {
                    count_end(&serving, "accept_failed");
                    if !concerns_one_peer(&error) {
                        tokio::time::sleep(ACCEPT_BACK_OFF).await;
                    }
                }
            },
            Some(_) = connections.join_next() => {}
            () = stop.wait() => break,
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(serving.limits.drain, all_ended).await;
    connections.abort_all();
}
