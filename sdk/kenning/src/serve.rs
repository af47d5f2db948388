//! A tiny HTTP server on threads, for services without one: `/metrics` and `/health*` on their own port.
//!
//! One request per connection, `GET` and `HEAD` only, at most [`CONNECTIONS_MAX`] at once, heads up to
//! [`HEAD_BYTES_MAX`], and [`REQUEST_TIME_MAX`] for everything: a slow or silent client cannot hold it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::{health, metrics};

/// Connections served at once; further ones are closed.
pub(crate) const CONNECTIONS_MAX: usize = 16;
/// Longest request line and headers.
pub(crate) const HEAD_BYTES_MAX: usize = 8 * 1024;
/// From accept to the last byte of the request.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);
/// For one write of the answer.
const WRITE_TIME_MAX: Duration = Duration::from_secs(5);

/// A running server; stops accepting when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
}

/// Binds `addr` and serves on background threads.
pub(crate) fn start(addr: SocketAddr) -> std::io::Result<Server> {
    let listener = TcpListener::bind(addr)?;
    let addr = listener.local_addr()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = stop.clone();
    let accept = move || accept_loop(&listener, &stopping);
    std::thread::Builder::new().name("kenning-metrics".to_owned()).spawn(accept)?;
    Ok(Server { addr, stop })
}

impl Server {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the accepting thread; when it fails, nobody can reach the port anyway.
        let reachable = if self.addr.ip().is_unspecified() {
            SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), self.addr.port())
        } else {
            self.addr
        };
        let _ = TcpStream::connect_timeout(&reachable, Duration::from_millis(100));
    }
}

fn accept_loop(listener: &TcpListener, stop: &AtomicBool) {
    let open = Arc::new(AtomicUsize::new(0));
    while !stop.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((stream, _)) if open.load(Ordering::Acquire) < CONNECTIONS_MAX => {
                serve_on_thread(stream, &open)
            }
            Ok(_) => {}
            // Out of descriptors, most likely: waiting is all that helps.
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn serve_on_thread(stream: TcpStream, open: &Arc<AtomicUsize>) {
    open.fetch_add(1, Ordering::AcqRel);
    let place = Place(open.clone());
    let serve = move || {
        let _place = place;
        let _ = serve_connection(stream);
    };
    // When no thread can be had, the closure is dropped, and with it the stream and the place.
    let _ = std::thread::Builder::new().name("kenning-scrape".to_owned()).spawn(serve);
}

/// A connection's place among the allowed ones.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What is sent back.
struct Answer {
    status: u16,
    content_type: &'static str,
    body: String,
}

fn serve_connection(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_write_timeout(Some(WRITE_TIME_MAX))?;
    let (answer, head_only) = match read_head(&mut stream)? {
        Some(head) => (route(&head), head.method == "HEAD"),
        None => (Answer::text(400, "bad request\n"), false),
    };
    write_answer(&mut stream, &answer, head_only)?;
    stream.shutdown(Shutdown::Write)
}

/// The parts of a request that matter here.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    method: String,
    path: String,
    accept: Option<String>,
}

/// Reads up to the empty line; `None` for what is no HTTP request or too long.
fn read_head(stream: &mut TcpStream) -> std::io::Result<Option<Head>> {
    let deadline = Instant::now() + REQUEST_TIME_MAX;
    let mut received = Vec::new();
    let mut buffer = [0_u8; 1024];
    while received.len() <= HEAD_BYTES_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let length = stream.read(&mut buffer)?;
        received.extend_from_slice(buffer.get(..length).unwrap_or_default());
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            return Ok(parse_head(received.get(..end).unwrap_or_default()));
        }
        if length == 0 || left.is_zero() {
            break;
        }
    }
    Ok(None)
}

fn parse_head(bytes: &[u8]) -> Option<Head> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.split("\r\n");
    let mut request_line = lines.next()?.split(' ');
    let (method, target, version) = (request_line.next()?, request_line.next()?, request_line.next()?);
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return None;
    }
    let is_accept =
        |line: &&str| line.split_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case("accept"));
    let accepts: Vec<&str> = lines
        .filter(is_accept)
        .filter_map(|line| line.split_once(':'))
        .map(|(_, value)| value.trim())
        .collect();
    Some(Head {
        method: method.to_owned(),
        path: target.split('?').next().unwrap_or(target).to_owned(),
        accept: (!accepts.is_empty()).then(|| accepts.join(",")),
    })
}

fn route(head: &Head) -> Answer {
    if head.method != "GET" && head.method != "HEAD" {
        return Answer::text(405, "method not allowed\n");
    }
    match head.path.as_str() {
        "/metrics" => {
            let (body, content_type) = metrics::scrape(head.accept.as_deref());
            Answer { status: 200, content_type, body }
        }
        "/health" => Answer::json(health::summary()),
        "/health/ready" => Answer::json(health::ready()),
        "/health/live" => Answer::json(health::live()),
        _ => Answer::text(404, "not found; try /metrics, /health, /health/ready or /health/live\n"),
    }
}

impl Answer {
    fn text(status: u16, body: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.to_owned() }
    }

    fn json(response: health::Response) -> Self {
        Self { status: response.status, content_type: "application/json", body: response.body }
    }
}

fn write_answer(stream: &mut TcpStream, answer: &Answer, head_only: bool) -> std::io::Result<()> {
    let reason = match answer.status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Service Unavailable",
    };
    let mut out = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        answer.status,
        answer.content_type,
        answer.body.len()
    );
    if !head_only {
        out.push_str(&answer.body);
    }
    stream.write_all(out.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(addr: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply);
        reply
    }

    fn local() -> Server {
        start("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    #[test]
    fn answers() {
        let server = local();
        let check = |request: &str, parts: &[&str]| {
            let reply = ask(server.addr(), request);
            assert!(parts.iter().all(|part| reply.contains(part)), "{request:?} -> {reply}");
        };
        check(
            "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n",
            &["200 OK", "version=0.0.4", "kenning_sdk_dropped_total{"],
        );
        check(
            "GET /metrics?x=1 HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n",
            &["openmetrics-text; version=1.0.0", "\n# EOF\n"],
        );
        check("GET /health/live HTTP/1.0\r\n\r\n", &["200 OK", "application/json", "\"alive\""]);
        check("GET /health HTTP/1.1\r\n\r\n", &["200 OK", "\"timestamp\""]);
        check("POST /metrics HTTP/1.1\r\n\r\n", &["405"]);
        check("GET /nothing HTTP/1.1\r\n\r\n", &["404"]);
        check("nonsense\r\n\r\n", &["400"]);
        assert!(ask(server.addr(), "HEAD /health/live HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
    }

    #[test]
    fn endless_heads_are_cut_off() {
        let server = local();
        let request = format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(2 * HEAD_BYTES_MAX));
        let reply = ask(server.addr(), &request);
        assert!(reply.is_empty() || reply.contains("400"), "{reply}");
    }

    #[test]
    fn the_port_is_free_again() {
        let server = local();
        let addr = server.addr();
        drop(server);
        let gone = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            TcpListener::bind(addr).is_ok()
        });
        assert!(gone);
    }
}
