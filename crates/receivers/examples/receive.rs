//! Receives OTLP on 127.0.0.1:4317 (gRPC) and 127.0.0.1:4318 (HTTP; Loki push too), scrapes the targets given as
//! arguments every second, and prints every few seconds what is in memory. For trying clients by hand.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use kenning_model::{Block, Filter, Flow, Scan, Store, Table, TenantId, TimeRange};
use kenning_pipeline::telemetry::{Registry, text};
use kenning_pipeline::{Pipeline, PipelineOptions};
use kenning_promconfig::ScrapeConfig;
use kenning_query::MemoryStore;
use kenning_receivers::body::Budget;
use kenning_receivers::otlp_grpc::GrpcService;
use kenning_receivers::push::{PushOptions, PushService};
use kenning_receivers::scrape::{ProxyVariables, ScrapeContext, Scraper};
use kenning_receivers::serve::{ConnectionLimits, Connections, Serving, Versions, serve, stop_pair};
use kenning_receivers::stats::Stats;
use kenning_stdx::clock::SystemClock;
use kenning_stdx::files::RealFiles;
use kenning_stdx::net::{Net, TcpNet};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (store, clock, registry) =
        (Arc::new(MemoryStore::new()), Arc::new(SystemClock::new()), Registry::new());
    let stats = Stats::new(&registry);
    let pipeline = Pipeline::start(store.clone(), clock.clone(), PipelineOptions::default(), &registry)?;
    let intake = pipeline.intake();
    let options = PushOptions::default();
    let push = PushService::new(intake.clone(), options.clone(), stats.clone());
    let grpc = GrpcService::new(intake.clone(), options, stats.clone());
    let (_stopper, stop) = stop_pair();
    let connections = Connections::default();
    let serving = |name, versions| Serving {
        name,
        versions,
        limits: ConnectionLimits::default(),
        connections: connections.clone(),
        clock: clock.clone(),
        stats: stats.clone(),
    };
    let listener = TcpNet.bind("127.0.0.1:4318".parse()?).await?;
    let on_http = move |request, _| {
        let push = push.clone();
        async move { push.serve(request).await }
    };
    tokio::spawn(serve(listener, serving("otlp_http", Versions::Both), stop.clone(), on_http));
    let listener = TcpNet.bind("127.0.0.1:4317".parse()?).await?;
    let on_grpc = move |request, _| {
        let grpc = grpc.clone();
        async move { grpc.serve(request).await }
    };
    tokio::spawn(serve(listener, serving("otlp_grpc", Versions::Http2), stop.clone(), on_grpc));
    let second = Duration::from_secs(1);
    let targets = std::env::args().skip(1).collect();
    let job = ScrapeConfig {
        scrape_interval: second,
        scrape_timeout: second,
        ..ScrapeConfig::of_targets("example", targets)
    };
    let (net, tenant, budget) = (Arc::new(TcpNet), TenantId::default_tenant(), Budget::default());
    let proxies = ProxyVariables::of(&|name| std::env::var(name).ok());
    let context = ScrapeContext {
        net,
        files: Arc::new(RealFiles),
        intake,
        tenant,
        proxies,
        start_zeros: false,
        budget,
        stats,
    };
    let scraper = Scraper::new(vec![job], context).map_err(|errors| format!("{errors:?}"))?;
    let scraped = scraper.targets();
    tokio::spawn(scraper.run(stop));
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        print(&*store)?;
        scraped.statuses().iter().for_each(|target| println!("{target:?}"));
        let own = text(&registry.snapshot());
        own.lines()
            .filter(|line| line.starts_with("kenning_receive_requests"))
            .for_each(|line| println!("{line}"));
    }
}

fn print(store: &dyn Store) -> Result<(), Box<dyn Error>> {
    println!("----");
    for table in [Table::Samples, Table::Metadata, Table::Exemplars, Table::Logs, Table::Spans] {
        let scan = Scan::rows(TenantId::default_tenant(), table, TimeRange::ALL, Filter::All);
        store.scan(&scan, &mut |block| {
            print_block(&block);
            Flow::More
        })?;
    }
    Ok(())
}

fn print_block(block: &Block) {
    match block {
        Block::Series(rows) => rows.iter().for_each(|rows| {
            println!(
                "{:?} {} {:?}",
                rows.labels,
                rows.samples.len(),
                rows.samples.last().map(|sample| sample.value)
            );
        }),
        Block::Logs(batch) => batch.rows().for_each(|row| println!("{row:?}")),
        Block::Spans(batch) => batch.spans.iter().for_each(|span| println!("{span:?}")),
        other => println!("{other:?}"),
    }
}
