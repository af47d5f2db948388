//! Scraping: pages like those of a node exporter, with Debian's Prometheus beside us where it is installed.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::process::{Kenning, Watched};
use crate::{Failure, Row};

const TARGETS: usize = 200;
const SAMPLES_PER_PAGE: usize = 507;
const MEASURED: Duration = Duration::from_secs(20);
/// Time for connections to open and series to be made.
const WARM_UP: Duration = Duration::from_secs(5);

pub fn measure(binary: &Path) -> Result<Vec<Row>, Failure> {
    let ours = {
        let exporter = Exporter::start()?;
        let server = Kenning::start(binary, Some(&exporter.config()))?;
        per_million(&exporter, &server.process)?
    };
    let work =
        |who: &str| format!("scrape {TARGETS} targets x {SAMPLES_PER_PAGE} samples every second: {who}");
    let mut rows = vec![Row { work: work("Kenning"), result: ours.to_string() }];
    match prometheus()? {
        Some(theirs) => {
            let ratio = ours.cpu / theirs.cpu;
            rows.push(Row { work: work("Debian's Prometheus"), result: theirs.to_string() });
            rows.push(Row {
                work: "ratio of CPU, Kenning to Prometheus".into(),
                result: format!("{ratio:.2}"),
            });
        }
        None => eprintln!("SKIPPED: prometheus is not installed, so nothing is compared with it"),
    }
    Ok(rows)
}

struct Cost {
    cpu: f64,
    rss: f64,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} CPU s per million samples, {:.0} MiB resident", self.cpu, self.rss)
    }
}

fn per_million(exporter: &Exporter, process: &Watched) -> Result<Cost, Failure> {
    std::thread::sleep(WARM_UP);
    let (cpu, pages) = (process.cpu_seconds()?, exporter.pages());
    std::thread::sleep(MEASURED);
    let (cpu, pages) = (process.cpu_seconds()? - cpu, exporter.pages() - pages);
    let samples = pages as f64 * SAMPLES_PER_PAGE as f64;
    Ok(Cost { cpu: cpu / samples * 1e6, rss: process.memory_mib("VmRSS")? })
}

fn prometheus() -> Result<Option<Cost>, Failure> {
    if Command::new("prometheus").arg("--version").output().is_err() {
        return Ok(None);
    }
    let exporter = Exporter::start()?;
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("prometheus.yml");
    std::fs::write(&config, exporter.config())?;
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
    command.arg(format!("--web.listen-address={free}"));
    let process = Watched::start(&mut command)?;
    per_million(&exporter, &process).map(Some)
}

/// Serves a page to whoever asks; one thread a connection, which is kept.
struct Exporter {
    address: SocketAddr,
    pages: Arc<AtomicU64>,
}

impl Exporter {
    fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let pages = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&pages);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || serve(&stream, &counted));
            }
        });
        Ok(Self { address, pages })
    }

    fn pages(&self) -> u64 {
        self.pages.load(Ordering::Relaxed)
    }

    /// A file that both Kenning and Prometheus read. Targets share a page and differ by a label.
    fn config(&self) -> String {
        let mut text =
            "scrape_configs:\n  - job_name: nodes\n    scrape_interval: 1s\n    static_configs:\n".to_owned();
        for number in 0..TARGETS {
            let _ = writeln!(
                text,
                "      - targets: ['{}']\n        labels: {{node: 'node-{number}'}}",
                self.address
            );
        }
        text
    }
}

fn serve(stream: &TcpStream, pages: &AtomicU64) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            let page = page(pages.fetch_add(1, Ordering::Relaxed));
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\n\r\n",
                page.len()
            );
            writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(page.as_bytes())).ok()?;
        }
    }
}

/// Counters, gauges and constants in the proportions of a node exporter.
fn page(turn: u64) -> String {
    let mut text = String::with_capacity(64 << 10);
    for family in 0..SAMPLES_PER_PAGE.div_ceil(13) {
        let kind = if family % 3 == 0 { "gauge" } else { "counter" };
        let _ = writeln!(
            text,
            "# HELP node_family_{family}_total Something of a machine.\n# TYPE node_family_{family}_total {kind}"
        );
        for place in 0..13.min(SAMPLES_PER_PAGE - family * 13) {
            let value = match family % 3 {
                0 => (turn.wrapping_mul(7919) + place as u64) % 10_000,
                1 => turn * 3 + place as u64,
                _ => 17,
            };
            let _ = writeln!(
                text,
                "node_family_{family}_total{{cpu=\"{place}\",mode=\"user\",device=\"sda{place}\"}} {value}"
            );
        }
    }
    text
}
