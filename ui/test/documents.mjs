// Fills a server with two hours of the log streams that the two documents' queries name (docs/requirements.md W5, R5), for
// pictures and for looking: node test/documents.mjs URL
const [url] = process.argv.slice(2);
if (!url) throw new Error("which server? node test/documents.mjs URL");

const HOUR = 3_600_000;
const now = Date.now();
let seed = 7;
const random = () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
const hex = (n) => Array.from({ length: n }, () => Math.floor(random() * 16).toString(16)).join("");
const choose = (...all) => all[Math.floor(random() * all.length)];

const streams = new Map();
function put(labels, ms, line, metadata) {
  const key = JSON.stringify(labels);
  const values = streams.get(key) ?? [];
  values.push([`${BigInt(Math.floor(ms)) * 1_000_000n + BigInt(values.length % 1000)}`, line, ...(metadata ? [metadata] : [])]);
  streams.set(key, values);
}

/** Postgres is away for a few minutes, twice in the last hour. */
const isBad = (t) => t > now - HOUR && (t - (now - HOUR)) % (HOUR / 2) > 1_300_000 && (t - (now - HOUR)) % (HOUR / 2) < 1_500_000 && random() < 0.4;

/** An event on its way: taken in by the API (wotr-api), then stored by the consumer. */
function event(t, bad) {
  const id = `evt_${hex(8)}`;
  const metadata = { trace_id: hex(32), span_id: hex(16) };
  const line = (at, service, level, rest) => JSON.stringify({ timestamp: new Date(at).toISOString(), level, service, ...rest });
  const stored = { message: "event ingested", event_id: id, duration_ms: Math.round(random() * 80 + 10), status: 201 };
  const failed = { message: "error storing event: connection to postgres timed out", event_id: id, duration_ms: Math.round(random() * 80 + 5000), status: 503 };
  put({ service: "wotr-api", container: "fastapi", environment: "development" }, t, line(t, "wotr-api", bad ? "ERROR" : "INFO", bad ? failed : stored), metadata);
  if (bad) return;
  const message = `message processed: ${id} -> clickhouse`;
  put({ service: "wotr-consumer", container: "consumer", environment: "development" }, t + 40, line(t + 40, "wotr-consumer", "INFO", { message, partition: Math.floor(random() * 3), offset: Math.floor(t / 1000) }), metadata);
}

/** What the staging service (api) says in logfmt; thumbnails are new in the last hour. */
function staging(t, bad) {
  if (bad) return put({ service: "api", level: "error" }, t, `level=error msg="Failed to enqueue staging job" image_id=img_${hex(6)} err="redis: connection refused"`);
  const rest = `image_id=img_${hex(6)} user_id=u_${hex(4)} duration=${(random() * 90).toFixed(1)}ms status=201`;
  const message = t > now - HOUR / 2 ? choose("Image created", "Request completed", "Request completed", "Thumbnail rendered") : choose("Image created", "Request completed", "Request completed");
  put({ service: "api", level: "info" }, t, `level=info msg="${message}" ${rest}`);
}

for (let t = now - 2 * HOUR; t < now; t += 1500 + random() * 1500) {
  const bad = isBad(t);
  event(t, bad);
  if (random() < 0.5) staging(t + 7, bad);
}

const body = { streams: [...streams].map(([labels, values]) => ({ stream: JSON.parse(labels), values })) };
const answer = await fetch(`${url}/loki/api/v1/push`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
console.log(body.streams.map(({ stream, values }) => `${values.length} lines of ${JSON.stringify(stream)}`).join("\n"));
