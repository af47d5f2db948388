//! The telemetry contract: what this program declares it emits, without running it.

use crate::json;
use crate::metrics::{self, Declaration, Kind};

/// Version of the document's shape.
const CONTRACT_VERSION: u64 = 1;

/// The declared telemetry as JSON.
///
/// Everything comes from the link-time table, so a program can print it before it does anything else:
///
/// ```no_run
/// if std::env::args().any(|argument| argument == "--telemetry-contract") {
///     println!("{}", kenning::contract());
/// }
/// ```
///
/// Shape: `{"version":1,"metrics":[{"name","type","help","labels":[...],"buckets":[...],"module"}]}`; `buckets` only
/// for histograms, names sorted.
pub fn contract() -> String {
    let mut out = b"{\"version\":".to_vec();
    json::uint(&mut out, CONTRACT_VERSION);
    out.extend_from_slice(b",\"metrics\":[");
    for (index, declaration) in metrics::declarations().into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_metric(&mut out, declaration);
    }
    out.extend_from_slice(b"]}");
    String::from_utf8(out).unwrap_or_default()
}

fn write_metric(out: &mut Vec<u8>, declaration: &Declaration) {
    let members = [
        ("{\"name\":", declaration.name),
        (",\"type\":", declaration.kind.name()),
        (",\"help\":", declaration.help.trim()),
    ];
    for (head, value) in members {
        out.extend_from_slice(head.as_bytes());
        json::string(out, value);
    }
    out.extend_from_slice(b",\"labels\":");
    list(out, declaration.labels, |out, label| json::string(out, label));
    if declaration.kind == Kind::Histogram {
        out.extend_from_slice(b",\"buckets\":");
        list(out, declaration.buckets, |out, bound| json::double(out, *bound));
    }
    out.extend_from_slice(b",\"module\":");
    json::string(out, declaration.module);
    out.push(b'}');
}

fn list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::metrics! {
        /// A "quoted" help.
        static CONTRACT_TEST: Histogram { kind: &'static str } = "contract_test_seconds", buckets: [0.5, 2.0];
    }

    #[test]
    fn declared_items_are_listed_without_use() {
        assert_eq!(CONTRACT_TEST.declaration().name, "contract_test_seconds");
        let document: serde_json::Value = serde_json::from_str(&contract()).unwrap();
        let metrics = document["metrics"].as_array().unwrap();
        let mine = metrics.iter().find(|metric| metric["name"] == "contract_test_seconds").unwrap();
        let expect = serde_json::json!({
            "name": "contract_test_seconds", "type": "histogram", "help": "A \"quoted\" help.",
            "labels": ["kind"], "buckets": [0.5, 2.0], "module": "kenning::contract::tests",
        });
        assert_eq!(*mine, expect);
    }
}
