//! `kenning tail`: log lines as they are committed, over Loki's WebSocket.

use std::io::{self, Write};
use std::net::TcpStream;

use clap::Args;
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{HandshakeError, Message, WebSocket};

use crate::Failure;
use crate::http::with_scheme;
use crate::query::lines::{Labels, Printer, of_streams};

/// Follow log lines.
#[derive(Args)]
pub(crate) struct Tail {
    /// The query, such as '{service="api"} |= "error"'
    query: String,
    /// Lines of the past that are shown first
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=5000), allow_negative_numbers = true)]
    limit: u32,
    /// Where that past begins: nanoseconds or seconds since 1970, or RFC 3339 [default: an hour ago]
    #[arg(long, alias = "from")]
    start: Option<String>,
    /// Seconds that lines are held back so that late ones come in order, up to 5
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=5))]
    delay_for: u32,
    /// Where the server is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7070")]
    url: String,
    /// Whose data; `self` is Kenning's own
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Print the API's messages as they are
    #[arg(long)]
    json: bool,
    /// Print lines without their labels
    #[arg(long)]
    no_labels: bool,
}

impl Tail {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let mut socket = self.connect()?;
        loop {
            match socket.read()? {
                // Whoever reads the output may have had enough, as `head` does.
                Message::Text(text) if self.print(&text).is_err() => return Ok(()),
                Message::Close(frame) => {
                    let reason = frame.map(|frame| format!("{} ({})", frame.reason, frame.code));
                    let reason = reason.unwrap_or_else(|| "no reason given".to_owned());
                    return Err(Failure(format!("the server ended the stream: {reason}")));
                }
                _ => {}
            }
        }
    }

    fn connect(&self) -> Result<WebSocket<TcpStream>, Failure> {
        let base = with_scheme(&self.url);
        let rest = base.strip_prefix("http://").ok_or_else(|| {
            Failure(format!("--url {base}: only http:// can be followed; put a local proxy in front of TLS"))
        })?;
        let (authority, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let address = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        let mut parameters = form_urlencoded::Serializer::new(String::new());
        parameters.append_pair("query", &self.query);
        parameters.append_pair("limit", &self.limit.to_string());
        parameters.append_pair("delay_for", &self.delay_for.to_string());
        if let Some(start) = &self.start {
            parameters.append_pair("start", start);
        }
        let url = format!("ws://{authority}{prefix}/loki/api/v1/tail?{}", parameters.finish());
        let mut request = url.into_client_request()?;
        if let Some(tenant) = &self.tenant {
            request.headers_mut().insert("x-scope-orgid", tenant.parse()?);
        }
        let stream = TcpStream::connect(&address).map_err(|error| {
            format!("cannot reach {base}: {error}. Is `kenning serve` running there? Point --url at it")
        })?;
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(socket),
            Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err(Failure(format!("{}: {}", response.status(), String::from_utf8_lossy(body).trim())))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn print(&self, text: &str) -> io::Result<()> {
        if self.json {
            let mut out = io::stdout().lock();
            writeln!(out, "{text}")?;
            return out.flush();
        }
        let message: Value = serde_json::from_str(text).unwrap_or_default();
        let printer = Printer { common: Labels::new(), no_labels: self.no_labels };
        printer.print(&of_streams(message.get("streams")))?;
        let dropped = message["dropped_entries"].as_array().map_or(0, Vec::len);
        if dropped > 0 {
            eprintln!("kenning: at least {dropped} lines were left out because this reader is slow");
        }
        Ok(())
    }
}
