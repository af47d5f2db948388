//! Write-ahead log, heads, parts, retention: the embedded engine behind the store trait. Synchronous.
