//! What the operating system knows of this process.

/// Resident memory in bytes; `None` where the system does not tell.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_has_memory_where_the_system_tells() {
        let told = super::resident_bytes();
        assert!(told.is_none_or(|bytes| bytes > 100_000), "{told:?}");
    }
}
