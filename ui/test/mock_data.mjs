// The mock's world: two services and their telemetry as pure functions of time. Every half hour, for three minutes, the
// database behind the consumer fails: an error spike on the graphs, stack traces in the logs, failed spans.

export const SERVICES = ["wotr-api", "wotr-consumer"];
const PERIOD_S = 1800;
const INCIDENT = { from: 900, to: 1080 };

export const inIncident = (t) => {
  const phase = ((t % PERIOD_S) + PERIOD_S) % PERIOD_S;
  return phase >= INCIDENT.from && phase < INCIDENT.to;
};

/** Hash of numbers to [0, 1). */
export function noise(...xs) {
  let h = 0x9e3779b9;
  for (const x of xs) {
    h = Math.imul(h ^ (x | 0), 0x85ebca6b);
    h ^= h >>> 13;
    h = Math.imul(h, 0xc2b2ae35);
    h ^= h >>> 16;
  }
  return (h >>> 0) / 2 ** 32;
}

const smooth = (seed, t, every) => {
  const i = Math.floor(t / every);
  const f = t / every - i;
  const w = f * f * (3 - 2 * f);
  return noise(seed, i) * (1 - w) + noise(seed, i + 1) * w;
};

const base = (t) => 6 + 2.5 * Math.sin(t / 4000) + 1.2 * smooth(7, t, 120);

// ------------------------------------------------------------------------------------------------ metrics

const API = { job: "wotr-api", service_name: "wotr-api", instance: "127.0.0.1:8000" };
const CONSUMER = { job: "wotr-consumer", service_name: "wotr-consumer", instance: "127.0.0.1:8001" };

const ROUTES = [
  ["POST", "/events", 0.62],
  ["GET", "/events/{id}", 0.3],
  ["GET", "/health", 0.08],
];

const requests = ROUTES.flatMap(([method, route, share], i) =>
  [["200", 1], ["404", route.includes("{id}") ? 0.04 : 0], ["503", 0]].map(([status, part]) => ({
    labels: { ...API, method, route, status },
    rate: (t) => {
      const failing = inIncident(t) && method === "POST" ? 0.24 + 0.1 * smooth(5, t, 40) : 0.002 * smooth(i, t, 60);
      const own = status === "503" ? failing : status === "200" ? 1 - failing - 0.04 : part;
      return base(t) * share * own * (0.92 + 0.16 * smooth(31 + i, t, 45));
    },
  })),
).filter((s) => s.rate(0) > 0 || s.labels.status === "503");

const latency = (labels, scale) => ({
  labels,
  rate: (t) => base(t) * 0.6,
  quantile: (q, t) => scale * (0.4 + 2.2 * q ** 6) * (0.8 + 0.4 * smooth(11, t, 90)) * (inIncident(t) ? 3.4 : 1),
});

const one = (labels, fn) => [{ labels, value: fn }];

export const METRICS = [
  { name: "http_requests_total", type: "counter", unit: "", help: "Requests answered, by method, route and status", series: requests },
  {
    name: "http_request_duration_seconds",
    type: "histogram",
    unit: "seconds",
    help: "Time from the first byte of the request to the last of the answer",
    series: ROUTES.map(([method, route], i) => latency({ ...API, method, route }, 0.04 + 0.03 * i)),
  },
  {
    name: "http_response_size_bytes",
    type: "native_histogram",
    unit: "bytes",
    help: "Bytes of the answers' bodies",
    series: ROUTES.map(([method, route], i) => ({ ...latency({ ...API, method, route }, 1), quantile: (q, t) => 2 ** (7 + 2 * i + 6 * q ** 1.5 + smooth(41 + i, t, 300)) })),
  },
  { name: "http_requests_in_progress", type: "gauge", unit: "", help: "Requests being answered", series: one(API, (t) => Math.round(2 + 5 * smooth(3, t, 30))) },
  {
    name: "consumer_messages_consumed_total",
    type: "counter",
    unit: "",
    help: "Messages taken from the queue",
    series: [0, 1, 2].map((p) => ({ labels: { ...CONSUMER, partition: String(p) }, rate: (t) => base(t) * 0.2 * (0.8 + 0.5 * smooth(p + 50, t, 60)) })),
  },
  {
    name: "consumer_messages_processed_total",
    type: "counter",
    unit: "",
    help: "Messages processed, by outcome",
    series: [
      { labels: { ...CONSUMER, status: "success" }, rate: (t) => base(t) * (inIncident(t) ? 0.42 : 0.6) },
      { labels: { ...CONSUMER, status: "error" }, rate: (t) => base(t) * (inIncident(t) ? 0.18 : 0.002) },
    ],
  },
  { name: "consumer_processing_duration_seconds", type: "histogram", unit: "seconds", help: "Time to process one message", series: [latency(CONSUMER, 0.02)] },
  { name: "consumer_clickhouse_insert_duration_seconds", type: "histogram", unit: "seconds", help: "Time of one insert", series: [latency(CONSUMER, 0.008)] },
  {
    name: "consumer_errors_total",
    type: "counter",
    unit: "",
    help: "Errors while processing, by type",
    series: ["timeout", "constraint", "decode"].map((error_type, i) => ({
      labels: { ...CONSUMER, error_type },
      rate: (t) => (inIncident(t) && i === 0 ? 1.1 : 0.01) * (0.5 + smooth(70 + i, t, 60)),
    })),
  },
  { name: "consumer_lag", type: "gauge", unit: "", help: "Messages behind the end of the queue", series: one(CONSUMER, (t) => Math.round((inIncident(t) ? 420 : 12) * (0.6 + smooth(9, t, 60)))) },
  ...[API, CONSUMER].flatMap((who, i) => [
    { name: "process_resident_memory_bytes", type: "gauge", unit: "bytes", help: "Resident memory", series: one(who, (t) => (52 + 9 * i + 6 * smooth(20 + i, t, 600)) * 2 ** 20) },
    { name: "process_cpu_seconds_total", type: "counter", unit: "seconds", help: "CPU time used", series: [{ labels: who, rate: (t) => 0.08 + 0.1 * smooth(23 + i, t, 60) }] },
    { name: "process_start_time_seconds", type: "gauge", unit: "seconds", help: "Start of the process", series: one(who, () => 1790000000) },
    { name: "tokio_workers_busy_ratio", type: "gauge", unit: "ratio", help: "Share of time the workers were busy", series: one(who, (t) => 0.12 + 0.2 * smooth(25 + i, t, 60)) },
    { name: "up", type: "gauge", unit: "", help: "Whether the last scrape succeeded", series: one(who, () => 1) },
  ]),
].reduce((all, m) => {
  const same = all.find((x) => x.name === m.name);
  if (same) same.series.push(...m.series);
  else all.push(m);
  return all;
}, []);

// --------------------------------------------------------------------------------------------- requests

const hex = (n, width) => Math.floor(n).toString(16).padStart(width, "0").slice(-width);
const word = (...xs) => hex(noise(...xs) * 2 ** 32, 8);

/** Requests that began in second `s`; each becomes a trace and its log lines. */
export function requestsOf(s) {
  const n = Math.floor(0.4 + 2 * noise(1, s));
  return Array.from({ length: n }, (_, i) => request(s, i));
}

function request(s, i) {
  const pick = noise(2, s, i);
  const kind = pick < 0.7 ? "ingest_event" : pick < 0.92 ? "get_event" : "health_check";
  const failed = kind === "ingest_event" && noise(3, s, i) < (inIncident(s) ? 0.4 : 0.006);
  const slow = failed ? 6 : inIncident(s) ? 2.4 : noise(4, s, i) < 0.03 ? 5 : 1;
  const us = (s * 1000 + Math.floor(noise(5, s, i) * 1000)) * 1000;
  // The second and the index stand in the id, so that a trace can be made again from its id alone.
  const id = word(6, s, i) + hex(s, 8) + hex(i, 2) + word(7, s, i) + word(8, s, i).slice(0, 6);
  return { s, i, kind, failed, slow, us, id, eventId: `evt_${word(9, s, i)}` };
}

export function requestOf(traceId) {
  const s = parseInt(traceId.slice(8, 16), 16);
  const i = parseInt(traceId.slice(16, 18), 16);
  return requestsOf(s).find((r) => r.i === i && r.id === traceId) ?? null;
}

const STACK = `OperationalError: connection to server at "postgres" (10.0.3.7), port 5432 failed: timeout expired
   0: wotr::db::Pool::acquire
             at src/db/pool.rs:118:17
   1: wotr::ingest::insert_event::{{closure}}
             at src/ingest/insert.rs:64:22
   2: wotr::ingest::ingest_event::{{closure}}
             at src/ingest/mod.rs:41:9
   3: <axum::handler::Layered<L,H,T,S> as axum::handler::Handler<T,S>>::call
             at axum-0.8.9/src/handler/mod.rs:211:5
   4: tokio::runtime::task::core::Core<T,S>::poll
             at tokio-1.54.0/src/runtime/task/core.rs:375:9`;

const SPANS = {
  ingest_event: [
    // name, parent, service, start, duration (ms at speed 1), tags
    ["ingest_event", -1, "wotr-api", 0, 46, { "http.request.method": "POST", "http.route": "/events", "span.kind": "server" }],
    ["minio_upload", 0, "wotr-api", 2, 14, { "span.kind": "client", "rpc.system": "s3", "payload.size_bytes": 2318 }],
    ["kafka_publish", 0, "wotr-api", 17, 6, { "span.kind": "producer", "messaging.system": "kafka", "messaging.destination.name": "events" }],
    ["postgres_insert", 0, "wotr-api", 24, 20, { "span.kind": "client", "db.system": "postgresql", "db.statement": "INSERT INTO events (id, kind, payload_url) VALUES ($1, $2, $3)" }],
    ["process_message", 2, "wotr-consumer", 30, 34, { "span.kind": "consumer", "messaging.system": "kafka" }],
    ["fetch_payload", 4, "wotr-consumer", 32, 9, { "span.kind": "client", "rpc.system": "s3" }],
    ["clickhouse_insert", 4, "wotr-consumer", 43, 19, { "span.kind": "client", "db.system": "clickhouse" }],
  ],
  get_event: [
    ["get_event", -1, "wotr-api", 0, 18, { "http.request.method": "GET", "http.route": "/events/{id}", "span.kind": "server" }],
    ["postgres_select", 0, "wotr-api", 2, 6, { "span.kind": "client", "db.system": "postgresql" }],
    ["minio_download", 0, "wotr-api", 9, 8, { "span.kind": "client", "rpc.system": "s3" }],
  ],
  health_check: [
    ["health_check", -1, "wotr-api", 0, 9, { "http.request.method": "GET", "http.route": "/health", "span.kind": "server" }],
    ["postgres_check", 0, "wotr-api", 1, 3, { "span.kind": "client" }],
    ["minio_check", 0, "wotr-api", 1, 5, { "span.kind": "client" }],
    ["kafka_check", 0, "wotr-api", 1, 4, { "span.kind": "client" }],
    ["clickhouse_check", 0, "wotr-api", 2, 6, { "span.kind": "client" }],
  ],
};

const tag = ([key, value]) => ({ key, type: typeof value === "number" ? "int64" : typeof value === "boolean" ? "bool" : "string", value });
export const spanId = (r, k) => word(10, r.s, r.i, k) + word(11, r.s, r.i, k);

const FAILING = new Set(["ingest_event", "postgres_insert"]);

/** The trace of a request in Jaeger's JSON. */
export function traceOf(r) {
  const all = SPANS[r.kind].filter(([, , service]) => !(r.failed && service === "wotr-consumer"));
  const spans = all.map(([name, parent, service, start, ms, tags], k) => {
    const bad = r.failed && FAILING.has(name);
    const stretch = (bad ? r.slow : r.slow > 1 && !r.failed ? r.slow : 1) * (0.7 + 0.6 * noise(12, r.s, r.i, k));
    const root = parent < 0;
    const attributes = { ...tags, "event.id": r.eventId, ...(bad ? { error: true, "otel.status_code": "ERROR", "otel.status_description": "timeout expired" } : {}) };
    if (root) attributes["http.response.status_code"] = bad ? 503 : 200;
    return {
      traceID: r.id,
      spanID: spanId(r, k),
      operationName: name,
      references: root ? [] : [{ refType: "CHILD_OF", traceID: r.id, spanID: spanId(r, parent) }],
      startTime: r.us + Math.round(start * 1000 * (r.failed || r.slow === 1 ? 1 : r.slow)),
      duration: Math.round(ms * 1000 * (root ? Math.max(stretch, r.slow * 1.3) : stretch)),
      tags: Object.entries(attributes).map(tag),
      logs: bad && name === "postgres_insert" ? [exception(r)] : [],
      processID: service === "wotr-api" ? "p1" : "p2",
      warnings: null,
    };
  });
  const process = (name, pid) => ({
    serviceName: name,
    tags: [["deployment.environment", "development"], ["host.name", "demo"], ["process.pid", pid], ["telemetry.sdk.language", "rust"]].map(tag),
  });
  return { traceID: r.id, spans, processes: { p1: process("wotr-api", 4711), p2: process("wotr-consumer", 4712) }, warnings: null };
}

function exception(r) {
  const fields = [["event", "exception"], ["exception.type", "OperationalError"], ["exception.message", "timeout expired"], ["exception.stacktrace", STACK]];
  return { timestamp: r.us + 140_000, fields: fields.map(tag) };
}

// ------------------------------------------------------------------------------------------------- logs

/** Log lines of second `s`, oldest first: { ns, stream, line, meta }. */
export function linesOf(s) {
  const out = requestsOf(s).flatMap((r) => requestLines(r));
  if (s % 45 === 0) out.push(line("wotr-consumer", "debug", s * 1e6, { message: "poll returned no message", partition: s % 3 }));
  if (s % 300 === 0) out.push(plain("wotr-api", "warn", s * 1e6 + 5, "spoofed \u202eevil\u202c name and a bell \u0007 in the user agent"));
  return out;
}

function requestLines(r) {
  const route = r.kind === "ingest_event" ? "POST /events" : r.kind === "get_event" ? "GET /events/{id}" : "GET /health";
  const ids = (k) => ({ trace_id: r.id, span_id: spanId(r, k) });
  const latency = `${(46 * r.slow).toFixed(1)}ms`;
  const out = [line("wotr-api", "info", r.us, { message: "request started", request: route, event_id: r.eventId }, ids(0))];
  if (r.failed) {
    out.push(line("wotr-api", "error", r.us + 140_000, { message: "could not store event", event_id: r.eventId, error: "timeout expired", exception: STACK }, ids(3)));
    out.push(line("wotr-api", "warn", r.us + 141_000, { message: "request failed", request: route, status: 503, latency }, ids(0)));
    return out;
  }
  out.push(line("wotr-api", "info", r.us + 46_000 * r.slow, { message: "request completed", request: route, status: 200, latency }, ids(0)));
  if (r.kind === "ingest_event") {
    out.push(line("wotr-consumer", "info", r.us + 64_000 * r.slow, { message: "message processed", event_id: r.eventId, partition: r.s % 3 }, ids(4)));
  }
  return out;
}

// Services that send over OTLP have no level among their stream labels, only the one detected while ingesting.
const streamOf = (service, level) => ({ service_name: service, environment: "development", ...(service === "wotr-api" ? { level } : {}) });

function line(service, level, us, fields, meta = {}) {
  return { us: Math.floor(us), stream: streamOf(service, level), line: JSON.stringify(fields), meta: { detected_level: level, ...meta } };
}

const plain = (service, level, us, text) => ({ us, stream: streamOf(service, level), line: text, meta: { detected_level: level } });
