//! What the operating system knows of this process.

/// Resident memory in bytes; `None` where the system does not tell.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Memory that this process can have: the machine's, or less where a control group says so; `None` where the system does
/// not tell.
#[must_use]
pub fn memory_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
    // Version 2 of control groups, then version 1; "max" and absurdly large numbers mean no limit.
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group = groups.iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
    machine.into_iter().chain(group).min()
}

fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_has_memory_where_the_system_tells() {
        let told = super::resident_bytes();
        assert!(told.is_none_or(|bytes| bytes > 100_000), "{told:?}");
        assert!(super::memory_bytes().is_none_or(|all| told.is_none_or(|own| own < all)));
        assert_eq!(super::total_of("MemTotal:       24601236 kB\nMemFree: 1 kB\n"), Some(24_601_236 * 1024));
        assert_eq!(super::total_of("MemFree: 1 kB"), None);
    }
}
