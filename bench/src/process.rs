//! A server under measurement: started, watched through `/proc`, stopped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;

/// Clock ticks per second of `/proc/<pid>/stat` on Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// CPU below which a server counts as idle over [`SETTLE_WINDOW`], in seconds.
const IDLE_CPU: f64 = 0.02;
const SETTLE_WINDOW: Duration = Duration::from_millis(500);
/// Longest wait for a server to settle.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// Any process.
pub struct Watched {
    child: Child,
}

impl Watched {
    /// Starts a program that says nothing.
    pub fn start(command: &mut Command) -> Result<Self, Failure> {
        Ok(Self { child: command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()? })
    }

    /// CPU seconds used so far, user and system.
    pub fn cpu_seconds(&self) -> Result<f64, Failure> {
        cpu_seconds_of(&self.child.id().to_string())
    }

    /// A line of `/proc/<pid>/status` such as `VmRSS`, in MiB.
    pub fn memory_mib(&self, key: &str) -> Result<f64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap_or("");
        let kib: f64 = line.split_whitespace().next().unwrap_or("").parse().unwrap_or(0.0);
        Ok(kib / 1024.0)
    }

    /// Waits until it does nothing any more, so that work in the background is counted.
    pub fn settle(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + SETTLE_MAX;
        loop {
            let before = self.cpu_seconds()?;
            std::thread::sleep(SETTLE_WINDOW);
            if self.cpu_seconds()? - before < IDLE_CPU || Instant::now() > deadline {
                return Ok(());
            }
        }
    }

    /// Kills it as a crash would.
    pub fn kill_hard(&self) -> Result<(), Failure> {
        Command::new("kill").args(["-KILL", &self.child.id().to_string()]).status()?;
        Ok(())
    }

    /// Asks it to stop and waits for that; gives the CPU seconds of its whole life.
    pub fn stop(mut self) -> Result<f64, Failure> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let deadline = Instant::now() + SETTLE_MAX;
        // A child that has ended and was not waited for still tells its times.
        while Instant::now() < deadline && !self.has_ended()? {
            std::thread::sleep(Duration::from_millis(20));
        }
        let cpu = self.cpu_seconds()?;
        self.child.wait()?;
        Ok(cpu)
    }

    fn has_ended(&self) -> Result<bool, Failure> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        Ok(stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
    }
}

/// CPU seconds that a process (a number, or `self`) has used so far, user and system.
pub fn cpu_seconds_of(process: &str) -> Result<f64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in parentheses, may hold spaces; the fields after it do not.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / TICKS_PER_SECOND)
}

/// Bytes of all files in a folder.
pub fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The number of a child that was waited for may be another's by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
            let _ = self.child.wait();
        }
    }
}

/// A `kenning serve` with the limits on rates lifted.
pub struct Kenning {
    /// The process.
    pub process: Watched,
    /// Main port.
    pub listen: String,
    /// OTLP over HTTP.
    pub otlp_http: String,
    /// From spawn to the ready line.
    pub time_to_ready: Duration,
    /// Goes with the server when it is its own.
    _dir: Option<tempfile::TempDir>,
}

impl Kenning {
    /// Starts on a directory of its own.
    pub fn start(binary: &Path, config: Option<&str>) -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let mut server = Self::start_in(binary, dir.path(), config, &[])?;
        server._dir = Some(dir);
        Ok(server)
    }

    /// Starts on a directory that stays, with more settings (`name=value`).
    pub fn start_in(binary: &Path, dir: &Path, config: Option<&str>, sets: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--otlp-grpc-listen", "127.0.0.1:0"]);
        command.args(["--otlp-http-listen", "127.0.0.1:0", "--data-dir"]).arg(dir.join("data"));
        for limit in ["samples_per_second", "log_bytes_per_second", "spans_per_second"] {
            command.args(["--set", &format!("limits.ingest.{limit}=unlimited")]);
        }
        for set in sets {
            command.args(["--set", set]);
        }
        if let Some(text) = config {
            let path = dir.join("kenning.yaml");
            fs::write(&path, text)?;
            command.arg("--config").arg(path);
        }
        let started = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let ready = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ready ").map(str::to_owned));
        let time_to_ready = started.elapsed();
        let addresses: Value = serde_json::from_str(&ready.ok_or("the server did not become ready")?)?;
        let address = |key: &str| addresses.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        Ok(Self {
            listen: address("listen"),
            otlp_http: address("otlp_http_listen"),
            process: Watched { child },
            time_to_ready,
            _dir: None,
        })
    }
}

/// Debian's Prometheus, taking remote writes on a directory of its own.
pub struct Prometheus {
    /// The process.
    pub process: Watched,
    /// Its address.
    pub listen: String,
    /// Where it keeps its data.
    pub data: PathBuf,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    /// Longest wait for it to become ready.
    const READY_MAX: Duration = Duration::from_secs(60);

    /// True when measurements shall be made with it too: `BENCH_PROMETHEUS=1`.
    pub fn is_wanted() -> bool {
        std::env::var_os("BENCH_PROMETHEUS").is_some_and(|wanted| !wanted.is_empty())
    }

    /// Starts it without anything to scrape.
    pub fn start() -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("prometheus.yml");
        fs::write(&config, "global: {scrape_interval: 1h}\n")?;
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let data = dir.path().join("data");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", data.display()));
        command.arg(format!("--web.listen-address={listen}"));
        command.arg("--web.enable-remote-write-receiver");
        let process = Watched::start(&mut command)?;
        let started = Instant::now();
        while ureq::get(format!("http://{listen}/-/ready")).call().is_err() {
            if started.elapsed() > Self::READY_MAX {
                return Err("Prometheus did not become ready".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Self { process, listen, data, _dir: dir })
    }
}

/// The middle of the values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Posts pre-encoded bodies over two kept connections; each must be answered 2xx.
pub fn post_all(url: &str, content_type: &str, bodies: &[Vec<u8>]) -> Result<(), Failure> {
    const CONNECTIONS: usize = 2;
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|lane| {
                scope.spawn(move || {
                    let agent = ureq::Agent::new_with_defaults();
                    for body in bodies.iter().skip(lane).step_by(CONNECTIONS) {
                        let sent = agent.post(url).header("content-type", content_type).send(&body[..]);
                        sent.map_err(|error| error.to_string())?;
                    }
                    Ok::<(), String>(())
                })
            })
            .collect();
        for sender in senders {
            sender.join().map_err(|_| "a sender panicked")??;
        }
        Ok(())
    })
}
