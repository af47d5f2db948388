//! Metrics of the process itself, by the names every Prometheus client uses. Linux only; elsewhere there are none.

use super::Kind;
use super::cells::Reading;
use super::registry::FamilySnapshot;

/// Clock ticks per second in `/proc`: fixed at 100 in Linux's interface to user space on every supported machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// The process metrics that could be read.
pub(crate) fn snapshot() -> Vec<FamilySnapshot> {
    let stat = read("/proc/self/stat").and_then(|text| Stat::parse(&text));
    let boot = read("/proc/stat").and_then(|text| labelled(&text, "btime"));
    let status = read("/proc/self/status");
    let memory = |label| status.as_deref().and_then(|text| labelled(text, label)).map(|kib| kib * 1024.0);
    let start = stat.as_ref().zip(boot).map(|(stat, boot)| boot + stat.start_ticks / TICKS_PER_SECOND);
    let threads = status.as_deref().and_then(|text| labelled(text, "Threads:"));
    let limit = read("/proc/self/limits").and_then(|text| labelled(&text, "Max open files"));
    let gauges = [
        ("process_resident_memory_bytes", "Resident memory size in bytes.", memory("VmRSS:")),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", memory("VmSize:")),
        ("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", start),
        ("process_open_fds", "Number of open file descriptors.", open_fds()),
        ("process_max_fds", "Maximum number of open file descriptors.", limit),
        ("process_threads", "Number of operating system threads in the process.", threads),
    ];
    let gauges =
        gauges.into_iter().filter_map(|(name, help, value)| Some(family(name, help, Kind::Gauge, value?)));
    let cpu = stat.map(|stat| stat.cpu_ticks / TICKS_PER_SECOND).map(|seconds| {
        let help = "Total user and system CPU time spent in seconds.";
        family("process_cpu_seconds_total", help, Kind::Counter, seconds)
    });
    gauges.chain(cpu).collect()
}

fn family(name: &str, help: &str, kind: Kind, value: f64) -> FamilySnapshot {
    let mut family = FamilySnapshot::new(name, help, kind, &[]);
    // A reading of kind Gauge is just a number; the family says what it means.
    family.sample(Vec::new(), Reading::Gauge(value));
    family
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Open descriptors, without the one used to count them.
fn open_fds() -> Option<f64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    Some((entries.count() as f64 - 1.0).max(0.0))
}

/// The first number on the line that starts with `label`.
fn labelled(text: &str, label: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The fields of `/proc/self/stat` needed here (proc_pid_stat(5)).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
}

impl Stat {
    /// The second field is the program's name in parentheses and may hold anything, so counting starts after it.
    fn parse(text: &str) -> Option<Self> {
        let (_, after_name) = text.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        // Field 3 of the manual is the first here.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self { cpu_ticks: field(14)? + field(15)?, start_ticks: field(22)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_nasty_name() {
        let text = "7 (a) b (x) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 17 18 4200 20";
        assert_eq!(Stat::parse(text), Some(Stat { cpu_ticks: 200.0, start_ticks: 4200.0 }));
        assert_eq!(Stat::parse("nonsense"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_alive() {
        let names: Vec<String> = snapshot().into_iter().map(|family| family.name).collect();
        assert_eq!(names.len(), 7, "{names:?}");
    }
}
