//! `tail`: log lines over a WebSocket as they are committed.
//!
//! First come the newest `limit` lines since `start`, oldest first, then what is committed from then on; no line twice
//! and none left out between the two. `delay_for` holds lines back so that late ones can still come in order. Each
//! message is one JSON object with `streams` and, when lines had to be left out, `dropped_entries`. The stream ends with
//! a close frame when the server stops (1001), the query fails (1011) or the client takes nothing for
//! [`SEND_WAIT_MAX`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use kenning_logql::{self as logql, Live, Stream, Value};
use kenning_model::{BatchId, LabelSet, Nanos, Store, TenantId, Write};
use kenning_query::{QueryContext, QueryError};

use super::answer::{Encoding, Shape, write_flags, write_streams};
use super::params;
use super::tails::{Following, TAILS_MAX, TailEvent, logs_of};
use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;
use crate::routes::Call;
use crate::state::Api;
use crate::tenant;

/// Longest `delay_for`, in seconds; Loki's bound.
const DELAY_MAX: u64 = 5;
/// Lines of one message, and bytes of lines beyond which it is sent.
const MESSAGE_LINES_MAX: usize = 1_000;
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of lines that `delay_for` holds back; beyond it they go at once.
const HELD_BYTES_MAX: usize = 8 << 20;
/// Longest wait for a client to take a message.
const SEND_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often delayed lines are looked after and, every [`PING_TICKS`] times, the client is.
const TICK: Duration = Duration::from_millis(250);
const PING_TICKS: u32 = 80;
/// Largest message that a client may send; none has anything to say.
const CLIENT_BYTES_MAX: usize = 64 << 10;
/// Longest reason of a close frame, in bytes (RFC 6455, 5.5.1).
const REASON_BYTES_MAX: usize = 123;

/// What a client asked for.
struct Wanted {
    tenant: TenantId,
    query: String,
    live: Arc<Live>,
    start: Nanos,
    limit: usize,
    delay: Duration,
    encoding: Encoding,
    shape: Shape,
}

/// Answers a request for either shape of the API.
pub(super) async fn tail(call: Call, shape: Shape) -> Response {
    let Call { api, request, path } = call;
    let (mut parts, body) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let call = Call { api: api.clone(), request: Request::from_parts(parts, body), path };
    let wanted = match Asked::of(call).await.and_then(|asked| wanted_of(&asked, shape)) {
        Ok(wanted) => wanted,
        Err(error) => return error.into_loki(),
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    // The place is taken before anything is read, so that nothing is committed unseen in between.
    let live = Arc::clone(&wanted.live);
    let Some(following) = api.tails.follow(wanted.tenant.clone(), move |labels| live.wants(labels)) else {
        let message = format!("max concurrent tail requests limit exceeded, count > limit ({TAILS_MAX})");
        return ApiError::bad_request(message).into_loki();
    };
    upgrade.max_message_size(CLIENT_BYTES_MAX).max_frame_size(CLIENT_BYTES_MAX).on_upgrade(
        move |socket| async move {
            let session = Session { api, wanted, socket, held: Vec::new(), held_bytes: 0, seen: None };
            session.run(following).await;
        },
    )
}

fn wanted_of(asked: &Asked, shape: Shape) -> Result<Wanted, ApiError> {
    const SINCE_NS: i64 = 3_600_000_000_000;
    let query = params::query(asked).to_owned();
    let now = asked.api.clock.unix_nanos();
    let start = params::time(asked, "start")?.unwrap_or(Nanos(now.saturating_sub(SINCE_NS)));
    let limit = params::limit(asked)?;
    let delay = match asked.params.get("delay_for") {
        None => 0,
        Some(text) => params::atoi("delay_for", text)?,
    };
    let delay = u64::try_from(delay).ok().filter(|delay| *delay <= DELAY_MAX);
    let delay =
        delay.ok_or_else(|| ApiError::bad_request(format!("delay_for can't be greater than {DELAY_MAX}")))?;
    let tenant = tenant::of_socket(&asked.headers, asked.params.get("tenant"))?;
    let context = QueryContext { limits: asked.api.limits.clone(), ..QueryContext::new(tenant.clone()) };
    let live = Live::new(&context, &query).map_err(|error| ApiError::of_logql(&error, &query))?;
    Ok(Wanted {
        tenant,
        query,
        live: Arc::new(live),
        start,
        limit,
        delay: Duration::from_secs(delay),
        encoding: Encoding::of(&asked.headers),
        shape,
    })
}

/// Why a session ends.
enum End {
    /// The client went, or took nothing for too long.
    Gone,
    /// The client said so; it waits for the answer.
    Left,
    /// With a close frame.
    Close(u16, String),
}

/// Lines that came out of the store while others were being committed: each is sent once.
struct Seen {
    /// How often each line was sent.
    lines: HashMap<(LabelSet, Nanos, String), u32>,
    /// The last batch that the store can have answered from.
    until: BatchId,
}

struct Session {
    api: Api,
    wanted: Wanted,
    socket: WebSocket,
    /// Lines that `delay_for` holds back, each with the steady time at which it goes.
    held: Vec<(Duration, Stream)>,
    held_bytes: usize,
    seen: Option<Seen>,
}

impl Session {
    async fn run(mut self, following: Following) {
        let end = self.follow(&following).await;
        drop(following);
        if let Err(End::Left) = end {
            // The protocol's own code answers a close frame as the socket is read on.
            let answered = async { while let Some(Ok(_)) = self.socket.recv().await {} };
            let _ = tokio::time::timeout(SEND_WAIT_MAX, answered).await;
        } else if let Err(End::Close(code, reason)) = end {
            let reason = reason.get(..reason.floor_char_boundary(REASON_BYTES_MAX)).unwrap_or("");
            let frame = CloseFrame { code, reason: reason.into() };
            // The client may be gone already, which comes to the same.
            let _ = tokio::time::timeout(SEND_WAIT_MAX, self.socket.send(Message::Close(Some(frame)))).await;
        }
    }

    async fn follow(&mut self, following: &Following) -> Result<(), End> {
        self.send_history().await?;
        let mut ticks = tokio::time::interval(TICK);
        let mut until_ping = PING_TICKS;
        loop {
            tokio::select! {
                arrived = following.next() => {
                    let Some(arrived) = arrived else {
                        return Err(End::Close(close_code::AWAY, "the server stops".to_owned()));
                    };
                    self.take(arrived.groups, &arrived.dropped).await?;
                }
                message = self.socket.recv() => match message {
                    Some(Ok(Message::Close(_))) => return Err(End::Left),
                    None | Some(Err(_)) => return Err(End::Gone),
                    // Pings are answered by the protocol's own code, and clients have nothing to say.
                    Some(Ok(_)) => {}
                },
                _ = ticks.tick() => {
                    self.send_due().await?;
                    until_ping -= 1;
                    if until_ping == 0 {
                        until_ping = PING_TICKS;
                        self.send(Message::Ping(Vec::new().into())).await?;
                    }
                }
            }
        }
    }

    async fn send_history(&mut self) -> Result<(), End> {
        let now = Nanos(self.api.clock.unix_nanos());
        let params = logql::RangeParams {
            start: self.wanted.start,
            // What is stamped with this very instant, or a little ahead of it, belongs to the past that is asked for.
            end: Nanos(now.0.saturating_add(1_000_000_000)),
            step_ns: 1,
            limit: self.wanted.limit,
            forward: false,
            interval_ns: 0,
        };
        let query = self.wanted.query.clone();
        let job = move |store: &dyn Store, context: &QueryContext| -> Result<_, QueryError> {
            let answer = logql::range(store, context, &query, &params)?;
            Ok((answer, store.last_batch_id()))
        };
        let timeout = self.api.limits.timeout;
        let found = self.api.run_within(
            timeout,
            self.wanted.tenant.clone(),
            &self.wanted.query,
            ApiError::of_logql,
            job,
        );
        let found = found.await;
        let (answer, until) =
            found.map_err(|error| End::Close(close_code::ERROR, error.message().to_owned()))?;
        let Value::Streams(streams) = answer.value else { return Ok(()) };
        let mut lines = HashMap::new();
        let mut singles = Vec::new();
        for Stream { labels, entries } in streams {
            for entry in entries {
                *lines.entry((labels.clone(), entry.time, entry.line.clone())).or_insert(0) += 1;
                singles.push(Stream { labels: labels.clone(), entries: vec![entry] });
            }
        }
        singles.sort_by_key(stamp);
        self.seen = Some(Seen { lines, until });
        self.send_streams(singles, &[]).await
    }

    /// Runs the query over groups and sends or holds what passes.
    async fn take(&mut self, groups: Vec<Arc<Vec<Write>>>, dropped: &[(LabelSet, Nanos)]) -> Result<(), End> {
        let (live, tenant) = (Arc::clone(&self.wanted.live), self.wanted.tenant.clone());
        let now = Nanos(self.api.clock.unix_nanos());
        let found = tokio::task::spawn_blocking(move || {
            let mut found: Vec<(BatchId, Stream)> = Vec::new();
            for (write, batch) in groups.iter().flat_map(|group| logs_of(group, &tenant)) {
                live.lines(batch, now, |stream| found.push((write.id, stream)));
            }
            found
        });
        let found = found.await.map_err(|_| End::Close(close_code::ERROR, "the query failed".to_owned()))?;
        let fresh: Vec<Stream> = found
            .into_iter()
            .filter(|(id, stream)| self.is_new(*id, stream))
            .map(|(_, stream)| stream)
            .collect();
        if self.wanted.delay.is_zero() {
            return self.send_streams(fresh, dropped).await;
        }
        self.hold(fresh).await?;
        if dropped.is_empty() { Ok(()) } else { self.send_streams(Vec::new(), dropped).await }
    }

    /// False for a line that the store's answer already held.
    fn is_new(&mut self, id: BatchId, stream: &Stream) -> bool {
        let Some(seen) = &mut self.seen else { return true };
        if id > seen.until {
            self.seen = None;
            return true;
        }
        let Some(entry) = stream.entries.first() else { return true };
        let key = (stream.labels.clone(), entry.time, entry.line.clone());
        match seen.lines.get_mut(&key) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        }
    }

    async fn hold(&mut self, streams: Vec<Stream>) -> Result<(), End> {
        let due = self.api.clock.steady().saturating_add(self.wanted.delay);
        self.held_bytes += streams.iter().map(len_of).sum::<usize>();
        self.held.extend(streams.into_iter().map(|stream| (due, stream)));
        if self.held_bytes <= HELD_BYTES_MAX {
            return Ok(());
        }
        let all = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        self.send_streams(all.into_iter().map(|(_, stream)| stream).collect(), &[]).await
    }

    /// Sends the held lines whose time has come, and with them every older one.
    async fn send_due(&mut self) -> Result<(), End> {
        let now = self.api.clock.steady();
        let due = self.held.iter().filter(|(due, _)| *due <= now).map(|(_, stream)| stamp(stream)).max();
        let Some(latest) = due else { return Ok(()) };
        let (go, stay): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.held).into_iter().partition(|(_, stream)| stamp(stream) <= latest);
        self.held = stay;
        self.held_bytes = self.held.iter().map(|(_, stream)| len_of(stream)).sum();
        self.send_streams(go.into_iter().map(|(_, stream)| stream).collect(), &[]).await
    }

    /// Sends lines in as many messages as they need; what was dropped goes with the first.
    async fn send_streams(
        &mut self,
        mut streams: Vec<Stream>,
        mut dropped: &[(LabelSet, Nanos)],
    ) -> Result<(), End> {
        while !streams.is_empty() || !dropped.is_empty() {
            let (mut bytes, mut lines) = (0, 0);
            let over = streams.iter().position(|stream| {
                let is_over = bytes >= MESSAGE_BYTES_MAX || lines >= MESSAGE_LINES_MAX;
                bytes += len_of(stream);
                lines += stream.entries.len();
                is_over
            });
            let rest = streams.split_off(over.unwrap_or(streams.len()));
            let count: usize = streams.iter().map(|stream| stream.entries.len()).sum();
            let text = message_of(streams, dropped, self.wanted.encoding, self.wanted.shape);
            self.send(Message::Text(text.into())).await?;
            self.api.tails.tell(TailEvent::Sent(count as u64));
            (streams, dropped) = (rest, &[]);
        }
        Ok(())
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match tokio::time::timeout(SEND_WAIT_MAX, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(|_| End::Gone),
            Err(_) => {
                self.api.tails.tell(TailEvent::Shed);
                Err(End::Gone)
            }
        }
    }
}

/// When a stream of one line was written.
fn stamp(stream: &Stream) -> Nanos {
    stream.entries.first().map_or(Nanos(0), |entry| entry.time)
}

fn len_of(stream: &Stream) -> usize {
    stream.entries.iter().map(|entry| entry.line.len()).sum()
}

/// The text of a message.
pub(super) fn message_of(
    streams: Vec<Stream>,
    dropped: &[(LabelSet, Nanos)],
    encoding: Encoding,
    shape: Shape,
) -> String {
    let bytes = Json::build(|json| {
        json.key("streams");
        write_streams(json, streams, encoding, shape, true);
        if !dropped.is_empty() {
            json.key("dropped_entries").array(|json| {
                dropped.iter().for_each(|(labels, time)| write_dropped(json, labels, *time, shape))
            });
        }
        write_flags(json, encoding);
    });
    // Our own JSON is UTF-8; were it not, the replacement character would stand in the text.
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn write_dropped(json: &mut Json, labels: &LabelSet, time: Nanos, shape: Shape) {
    json.object(|json| match shape {
        Shape::V1 => {
            json.key("labels").pairs(labels.iter());
            json.key("timestamp").text(&time.0.to_string());
        }
        Shape::Legacy => {
            json.key("Timestamp").text(&super::legacy::time_text(time));
            json.key("Labels").text(&super::legacy::labels_text(labels));
        }
    });
}
