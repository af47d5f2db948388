//! What touches the whole process, in one test: `init`, the metrics port, levels at run time, panics, a second start.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

kenning::metrics! {
    /// Counted before and after the start.
    static COUNTED: Counter = "process_test_counted_total";
}

fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "SERVICE_NAME" => "process-test",
        "METRICS_PORT" => "0",
        "LOG_LEVEL" => "error",
        "OTEL_TRACES_EXPORTER" | "OTEL_LOGS_EXPORTER" => "none",
        _ => return None,
    };
    Some(value.to_owned())
}

#[test]
fn one_process() {
    let mistakes =
        kenning::builder().env(|name| (name == "LOG_FORMAT").then(|| "xml".to_owned())).init().unwrap_err();
    assert!(mistakes.is_configuration() && !mistakes.is_already_initialized());
    assert_eq!(mistakes.messages().count(), 1);

    COUNTED.inc();
    let guard = kenning::builder().env(environment).init().unwrap();
    COUNTED.inc();
    let addr = guard.metrics_addr().unwrap();
    assert!(addr.ip().is_loopback());
    let metrics = get(addr, "/metrics");
    assert!(metrics.contains("\nprocess_test_counted_total 2\n"), "{metrics}");
    assert!(metrics.contains("target_info{service_name=\"process-test\"} 1"), "{metrics}");
    assert!(get(addr, "/health/live").starts_with("HTTP/1.1 200"));

    assert!(kenning::builder().env(environment).init().unwrap_err().is_already_initialized());
    let taken = move |name: &str| match name {
        "METRICS_PORT" => Some(addr.port().to_string()),
        other => environment(other),
    };
    assert!(kenning::builder().env(taken).init().unwrap_err().is_bind());

    assert!(!tracing::enabled!(tracing::Level::DEBUG));
    kenning::set_log_level("info,process=debug").unwrap();
    assert!(tracing::enabled!(tracing::Level::DEBUG));
    assert!(kenning::set_log_level("process=loud").unwrap_err().is_configuration());

    let panicked = std::panic::catch_unwind(|| panic!("on purpose"));
    assert!(panicked.is_err());
    assert!(guard.flush(std::time::Duration::from_secs(1)));
    assert_eq!(guard.dropped(), 0);
}
