//! Exporters to scrape, a scraper of them, and what came of it.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use kenning_model::TenantId;
use kenning_promconfig::ScrapeConfig;
use kenning_receivers::body::Budget;
use kenning_receivers::scrape::{
    Control, Health, ProxyVariables, ScrapeContext, Scraper, TargetStatus, Targets,
};
use kenning_receivers::serve::{ConnectionLimits, Connections, Serving, Stopper, Versions, serve, stop_pair};
use kenning_stdx::files::MemFiles;
use kenning_stdx::net::{Net, TcpNet};

use crate::common::Node;

const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Serves what `answer` makes of the number of the request.
pub async fn exporter(
    node: &Node,
    answer: impl Fn(usize, &Request<Incoming>) -> Response<Full<Bytes>> + Send + Sync + 'static,
) -> (SocketAddr, Stopper) {
    let listener = TcpNet.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, (stopper, stop)) = (listener.local_addr().unwrap(), stop_pair());
    let serving = Serving {
        name: "exporter",
        versions: Versions::Both,
        limits: ConnectionLimits::default(),
        connections: Connections::default(),
        clock: node.clock.clone(),
        stats: node.stats.clone(),
    };
    let (answer, count) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    let handler = move |request: Request<Incoming>, _| {
        let (answer, number) = (answer.clone(), count.fetch_add(1, Ordering::SeqCst));
        async move { answer(number, &request) }
    };
    tokio::spawn(serve(listener, serving, stop, handler));
    (address, stopper)
}

pub fn page(content_type: &str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder().header("content-type", content_type).body(Full::new(body.into())).unwrap()
}

pub fn job(address: impl ToString) -> ScrapeConfig {
    let interval = Duration::from_millis(100);
    ScrapeConfig {
        scrape_interval: interval,
        scrape_timeout: interval,
        ..ScrapeConfig::of_targets("j", vec![address.to_string()])
    }
}

pub fn start_with(node: &Node, jobs: Vec<ScrapeConfig>, files: Arc<MemFiles>) -> (Control, Stopper) {
    let context = ScrapeContext {
        net: Arc::new(TcpNet),
        files,
        intake: node.pipeline.intake(),
        tenant: TenantId::default_tenant(),
        proxies: ProxyVariables::default(),
        start_zeros: false,
        budget: Budget::default(),
        stats: node.stats.clone(),
    };
    let scraper = Scraper::new(jobs, context).unwrap();
    let (control, (stopper, stop)) = (scraper.control(), stop_pair());
    tokio::spawn(scraper.run(stop));
    (control, stopper)
}

pub fn start(node: &Node, job: ScrapeConfig) -> (Targets, Stopper) {
    let (control, stopper) = start_with(node, vec![job], Arc::default());
    (control.targets().clone(), stopper)
}

pub async fn until(targets: &Targets, health: Health) -> TargetStatus {
    loop {
        if let Some(status) = targets.statuses().into_iter().find(|status| status.health == health) {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Values of a series, oldest first; stale markers as `None`.
pub fn values(node: &Node, name: &str) -> Vec<Option<f64>> {
    let rows = node.store.series();
    let samples = rows.iter().filter(|rows| rows.labels.metric_name() == name).flat_map(|rows| &rows.samples);
    samples.map(|sample| Some(sample.value).filter(|value| value.to_bits() != STALE)).collect()
}
