//! Serving of protocols that are not HTTP: the same accept loop, caps and counters.

use std::future::Future;
use std::net::SocketAddr;

use kenning_stdx::net::{BoxStream, Listener};

use super::{OpenGauge, Serving, Stop, accept_all, count_end};

/// Serves a listener until `stop`, then gives connections [`super::ConnectionLimits::drain`] to end and returns.
///
/// `handler` runs a connection to its end and tells the cause when a guard or a fault ended it. Times and sizes within a
/// connection are the handler's to bound; it hears of the stop through its own [`Stop`].
pub async fn serve_streams<H, F>(listener: Box<dyn Listener>, serving: Serving, stop: Stop, handler: H)
where
    H: Fn(BoxStream, SocketAddr, Stop) -> F + Send + Sync + 'static,
    F: Future<Output = Option<&'static str>> + Send + 'static,
{
    let context = (serving.clone(), stop.clone());
    let start = move |stream, peer, slot| {
        let (serving, stop) = context.clone();
        let run = handler(stream, peer, stop);
        async move {
            let (_slot, _open) = (slot, OpenGauge::new(&serving));
            if let Some(cause) = run.await {
                count_end(&serving, cause);
            }
        }
    };
    accept_all(listener, serving, stop, start).await;
}
