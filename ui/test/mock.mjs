// A stand-in for the server, for developing and testing the interface alone: serves dist/ the way the server does and
// answers the APIs from mock_data.mjs. It understands only the queries the interface writes itself, by pattern.
// Usage: node test/mock.mjs [port]
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { bucketSeries, cardinality, check, complete, exemplars, familyOf, functions, nativeAt } from "./mock_metrics.mjs";
import { bulkLines, bulkVolume, checkLog, completeLog, hostileLines } from "./mock_logs.mjs";
import { inIncident, linesOf, METRICS, requestOf, requestsOf, SERVICES, traceOf } from "./mock_data.mjs";

const DIST = join(dirname(fileURLToPath(import.meta.url)), "..", "dist");
const CSP = "default-src 'self'; style-src 'self' 'unsafe-inline'; object-src 'none'; frame-ancestors 'self'";
const TYPES = { ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html" };

class Refused extends Error {
  constructor(status, body) {
    super(typeof body === "string" ? body : JSON.stringify(body));
    this.status = status;
    this.body = body;
  }
}

const bad = (error) => new Refused(400, { status: "error", errorType: "bad_data", error });

// ------------------------------------------------------------------------------------------- Prometheus

const MATCHERS = /([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"/g;

function matchersOf(text) {
  return [...text.matchAll(MATCHERS)].map(([, label, op, value]) => ({ label, op, value: JSON.parse(`"${value}"`) }));
}

function fits(labels, matchers) {
  return matchers.every(({ label, op, value }) => {
    const v = labels[label] ?? "";
    if (op === "=") return v === value;
    if (op === "!=") return v !== value;
    const hit = new RegExp(`^(?:${value})$`).test(v);
    return op === "=~" ? hit : !hit;
  });
}

/** Series of an expression: [{labels, at(t)}]. */
function evaluate(expr) {
  const quantiles = /^histogram_quantiles\((.*), "quantile", ([\d., ]+)\)$/s.exec(expr);
  if (quantiles) {
    return quantiles[2].split(", ").flatMap((phi) => evaluate(`histogram_quantile(${phi}, ${quantiles[1]})`).map((s) => ({ ...s, labels: { ...s.labels, quantile: phi } })));
  }
  const most = /^topk\((\d+), (.*)\)$/s.exec(expr);
  if (most) return evaluate(most[2]).slice(0, Number(most[1]));
  const counted = /^count\((\{.*\})\)$/s.exec(expr);
  if (counted) return [{ labels: {}, at: () => allSeries([counted[1]]).length }];
  const depthZero = splitTop(expr, "/");
  if (depthZero.length === 2) {
    const [a, b] = depthZero.map(evaluate);
    return a.map((s) => ({ labels: s.labels, at: (t) => s.at(t) / (b.find((x) => same(x.labels, s.labels)) ?? b[0])?.at(t) }));
  }
  const found = /([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?\s*(\[[^\]]*\])?\s*\)*\s*$/.exec(expr);
  const name = found?.[1] ?? "";
  const matchers = matchersOf(found?.[2] ?? "");
  const family = familyOf(name);
  if (!family) return [];
  if (/^sum by \(le\) /.test(expr)) return bucketSeries(family.series.filter((s) => fits(s.labels, matchers)));
  if (family.type === "native_histogram" && !/histogram_/.test(expr)) {
    const chosen = family.series.filter((s) => fits(s.labels, matchers));
    return [{ labels: {}, histogram: (t) => nativeAt(chosen, t), at: () => 0 }];
  }
  const by = /\bby\s*\(([^)]*)\)/.exec(expr)?.[1]?.split(",").map((l) => l.trim()).filter((l) => l && l !== "le");
  const quantile = /histogram_quantile\(\s*([\d.]+)/.exec(expr);
  const rate = /\bi?rate\(/.test(expr);
  const value = (s) => (t) => {
    if (quantile) return s.quantile?.(Number(quantile[1]), t) ?? NaN;
    if (s.value) return s.value(t);
    if (name.endsWith("_sum")) return s.rate(t) * (s.quantile?.(0.5, t) ?? 1);
    return rate ? s.rate(t) : s.rate(t) * (t % 100_000);
  };
  const series = family.series.filter((s) => fits(s.labels, matchers)).map((s) => ({ labels: s.labels, at: value(s) }));
  const grouped = /^\s*(sum|avg|max|min|count|histogram_quantile)\b/.test(expr);
  if (!grouped) return series.map((s) => ({ labels: rate ? s.labels : { __name__: name, ...s.labels }, at: s.at }));
  return group(series, by ?? [], quantile !== null);
}

function group(series, by, mean) {
  const groups = new Map();
  for (const s of series) {
    const labels = Object.fromEntries(by.map((l) => [l, s.labels[l] ?? ""]));
    const key = JSON.stringify(labels);
    groups.set(key, { labels, parts: [...(groups.get(key)?.parts ?? []), s] });
  }
  return [...groups.values()].map(({ labels, parts }) => ({
    labels,
    at: (t) => parts.reduce((sum, p) => sum + p.at(t), 0) / (mean ? parts.length : 1),
  }));
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function splitTop(expr, sep) {
  let depth = 0;
  for (let i = 0; i < expr.length; i++) {
    if ("({[".includes(expr[i])) depth++;
    if (")}]".includes(expr[i])) depth--;
    if (expr[i] === sep && depth === 0) return [expr.slice(0, i).trim(), expr.slice(i + 1).trim()];
  }
  return [expr];
}

function checked(query) {
  const open = [...query].filter((c) => c === "(").length;
  const close = [...query].filter((c) => c === ")").length;
  if (open !== close) throw bad(`1:${query.length}: parse error: unclosed left parenthesis`);
  return query;
}

function promRange(q) {
  const [start, end, step] = [Number(q.get("start")), Number(q.get("end")), Number(q.get("step"))];
  const result = evaluate(checked(q.get("query"))).map((s) => {
    const points = [];
    for (let t = start; t <= end + 1e-6; t += step) points.push([t, s.histogram ? s.histogram(t) : String(s.at(t))]);
    return s.histogram ? { metric: s.labels, histograms: points } : { metric: s.labels, values: points };
  });
  const stats = { timings: { execTotalTime: 0.0042 }, samples: { totalQueryableSamples: 480 * result.length, peakSamples: 240 } };
  return { status: "success", data: { resultType: "matrix", result, ...(q.get("stats") ? { stats } : {}) } };
}

function promInstant(q) {
  const t = Number(q.get("time"));
  const result = evaluate(checked(q.get("query"))).map((s) => ({ metric: s.labels, value: [t, String(s.at(t))] }));
  return { status: "success", data: { resultType: "vector", result } };
}

function allSeries(match) {
  const selector = match[0] ?? "";
  const name = /^[a-zA-Z_:][\w:]*/.exec(selector)?.[0];
  const matchers = matchersOf(selector);
  return METRICS.flatMap((m) =>
    m.series.flatMap((s) =>
      (m.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""]).map((suffix) => ({ __name__: m.name + suffix, ...s.labels })),
    ),
  ).filter((l) => (!name || l.__name__ === name) && fits(l, matchers));
}

const unique = (xs) => [...new Set(xs)].sort();
const ok = (data) => ({ status: "success", data });

// ------------------------------------------------------------------------------------------------- Loki

/** Strings of a stage such as `|= "a"`. */
const texts = (stages, op) => [...stages.matchAll(new RegExp(`${op}\\s*("(?:[^"\\\\]|\\\\.)*"|\`[^\`]*\`)`, "g"))].map((m) => (m[1].startsWith("`") ? m[1].slice(1, -1) : JSON.parse(m[1])));

const patternRegex = (pattern) => new RegExp(`^${pattern.split("<_>").map((t) => t.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*")}$`, "s");

function selectLines(query, startNs, endNs, tenant = "") {
  const selector = /^\{[^}]*\}/.exec(query)?.[0];
  if (!selector) throw new Refused(400, "parse error at line 1, col 1: syntax error: unexpected IDENTIFIER, expecting {");
  const matchers = matchersOf(selector);
  const stages = query.slice(selector.length);
  const contains = texts(stages, "\\|=");
  const only = texts(stages, "\\|>").map(patternRegex);
  const except = texts(stages, "!>").map(patternRegex);
  const without = [...stages.matchAll(/!=\s*"((?:[^"\\]|\\.)*)"/g)].filter((m) => !/\|\s*\w+\s*$/.test(stages.slice(0, m.index))).map((m) => m[1]);
  const labels = [...stages.matchAll(/\|\s*([a-zA-Z_]\w*)\s*(!=|=~|=)\s*"([^"]*)"/g)].map(([, label, op, value]) => ({ label, op, value }));
  const format = /line_format\s*"\{\{\s*\.(\w+)\s*\}\}"/.exec(stages)?.[1];
  const parsing = /\|\s*json\b/.test(stages);
  const keep = (l) =>
    fits(l.stream, matchers) &&
    contains.every((c) => l.line.includes(c)) &&
    !without.some((c) => l.line.includes(c)) &&
    only.every((p) => p.test(l.line)) &&
    !except.some((p) => p.test(l.line)) &&
    (labels.length === 0 || fits({ ...flat(l.line), ...l.meta, ...l.stream }, labels));
  const [fromUs, toUs] = [Math.round(startNs / 1000), Math.round(endNs / 1000)];
  const lines = tenant === "hostile" ? hostileLines(fromUs, toUs) : secondsOf(startNs, endNs).flatMap(linesOf).filter((l) => l.us >= fromUs && l.us < toUs);
  return lines.filter(keep).map((l) => ({ ...l, parsed: parsing ? flat(l.line) : {}, line: format ? (flat(l.line)[format] ?? "") : l.line }));
}

const secondsOf = (startNs, endNs) => {
  const [from, to] = [Math.floor(startNs / 1e9), Math.floor(endNs / 1e9)];
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
};

function flat(line) {
  if (!line.startsWith("{")) return {};
  try {
    return Object.fromEntries(Object.entries(JSON.parse(line)).map(([k, v]) => [k, typeof v === "object" ? JSON.stringify(v) : String(v)]));
  } catch {
    return {};
  }
}

const durationS = (text) => {
  const [, n, u] = /(\d+)(s|m|h|d)/.exec(text);
  return Number(n) * { s: 1, m: 60, h: 3600, d: 86_400 }[u];
};

/** Nanoseconds as text, rounded up to the microseconds of the mock's lines: a double does not hold the rest. */
const wholeMicros = (ns) => Number((BigInt(ns) + 999n) / 1000n) * 1000;

function lokiRange(q, _m, tenant) {
  const query = checkedLog(q.get("query"));
  const [start, end] = [wholeMicros(q.get("start")), wholeMicros(q.get("end"))];
  const forward = q.get("direction") === "forward";
  const limit = Number(q.get("limit") ?? 100);
  const volume = /^sum by \(([^)]+)\) \(count_over_time\((.*) \[(\w+)\]\)\)$/s.exec(query);
  if (volume && tenant === "million") return ok({ resultType: "matrix", result: bulkVolume(start / 1e9, end / 1e9, Number(q.get("step")), volume[1]) });
  if (volume) return lokiVolume(volume, start, end, Number(q.get("step")), tenant);
  const lines = tenant === "million" ? bulkLines(BigInt(q.get("start")), BigInt(Math.min(end, Date.now() * 1e6)), limit, forward) : selectLines(query, start, end, tenant);
  if (tenant !== "million") lines.sort((a, b) => (forward ? a.us - b.us : b.us - a.us));
  const result = streamsOf(lines.slice(0, limit), true);
  const stats = { summary: { totalBytesProcessed: lines.length * 180, totalLinesProcessed: lines.length } };
  const body = ok({ resultType: "streams", encodingFlags: ["categorize-labels"], result, stats });
  return tenant === "partial" ? { ...body, warnings: ["2 of 40 parts could not be read: lines between 10:02 and 10:05 are missing"] } : body;
}

const nsOf = (l) => (l.ns === undefined ? `${l.us}000` : String(l.ns));

function streamsOf(lines, categorized) {
  const streams = new Map();
  for (const l of lines) {
    const labels = categorized ? l.stream : { ...l.stream, ...l.meta };
    const key = JSON.stringify(labels);
    const extra = { ...(Object.keys(l.meta).length ? { structuredMetadata: l.meta } : {}), ...(Object.keys(l.parsed ?? {}).length ? { parsed: l.parsed } : {}) };
    const values = streams.get(key) ?? [];
    values.push(categorized ? [nsOf(l), l.line, extra] : [nsOf(l), l.line]);
    streams.set(key, values);
  }
  return [...streams].map(([k, values]) => ({ stream: JSON.parse(k), values }));
}

/** The mistakes the tests make. */
function checkedLog(query) {
  const open = [...query].filter((c) => c === "{").length;
  if (open !== [...query].filter((c) => c === "}").length) throw new Refused(400, `parse error at line 1, col ${query.length + 1}: syntax error: unexpected $end, expecting } or ,`);
  const stage = /\|\s*(jsn|logfmtt)\b/.exec(query);
  if (stage) throw new Refused(400, `parse error at line 1, col ${stage.index + 3}: syntax error: unexpected IDENTIFIER`);
  return query;
}

/** Sample of the lines of a range: the newest thousand. */
function sampleOf(q, tenant) {
  const [start, end] = [Number(q.get("start")), Number(q.get("end"))];
  if (tenant === "million") return bulkLines(BigInt(q.get("start")), BigInt(q.get("end")), 1000, false);
  return selectLines(q.get("query"), Math.max(start, end - 600e9), end, tenant);
}

function detectedFields(q, _m, tenant) {
  const found = new Map();
  for (const l of sampleOf(q, tenant)) {
    const put = (name, value, parsers) => {
      const f = found.get(name) ?? { parsers, values: new Set() };
      f.values.add(value);
      found.set(name, f);
    };
    for (const [k, v] of Object.entries(flat(l.line))) put(k, v, ["json"]);
    for (const [k, v] of Object.entries(l.meta)) put(k, v, null);
  }
  const type = (values) => ([...values].every((v) => /^\d+$/.test(v)) ? "int" : [...values].every((v) => /^[\d.]+(ms|s)$/.test(v)) ? "duration" : "string");
  const fields = [...found].map(([label, f]) => ({ label, type: type(f.values), cardinality: f.values.size, parsers: f.parsers }));
  return { fields, limit: 1000 };
}

function detectedLabels(q, _m, tenant) {
  const found = new Map();
  for (const l of sampleOf(q, tenant)) for (const [k, v] of Object.entries(l.stream)) found.set(k, (found.get(k) ?? new Set()).add(v));
  return { detectedLabels: [...found].map(([label, values]) => ({ label, cardinality: values.size })) };
}

function lokiInstant(q, _m, tenant) {
  const top = /^topk\((\d+), sum by \((\w+)\) \(count_over_time\((.*) \[(\w+)\]\)\)\)$/s.exec(q.get("query"));
  if (!top) throw new Refused(400, "the mock counts only top values");
  const end = Number(q.get("time"));
  const counts = new Map();
  const query = top[3].replace(/\| (\w+)!=""$/, "");
  for (const l of selectLines(query, end - durationS(top[4]) * 1e9, end, tenant)) {
    const value = { ...flat(l.line), ...l.meta, ...l.stream }[top[2]];
    if (value !== undefined) counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  const result = [...counts].sort((a, b) => b[1] - a[1]).slice(0, Number(top[1])).map(([v, n]) => ({ metric: { [top[2]]: v }, value: [end / 1e9, String(n)] }));
  return ok({ resultType: "vector", result });
}

/** Templates of the mock's lines: what differs is an id, a number or a duration. */
const templateOf = (line) => line.replaceAll(/evt_[0-9a-f]+|\b\d+(\.\d+)?(ms|s)\b|(?<=:)\d+(?=[,}])/g, "<_>");

function patterns(q, _m, tenant) {
  const [start, end, step] = [Number(q.get("start")), Number(q.get("end")), parseInt(q.get("step"), 10)];
  const found = new Map();
  for (const l of selectLines(q.get("query"), start, end, tenant)) {
    const pattern = templateOf(l.line);
    const key = `${l.meta.detected_level} ${pattern}`;
    const p = found.get(key) ?? { pattern, level: l.meta.detected_level, counts: new Map() };
    const t = Math.floor(l.us / 1e6 / step) * step;
    p.counts.set(t, (p.counts.get(t) ?? 0) + 1);
    found.set(key, p);
  }
  return ok([...found.values()].map((p) => ({ pattern: p.pattern, level: p.level, samples: [...p.counts].sort((a, b) => a[0] - b[0]) })));
}

// ------------------------------------------------------------------------------------------- live tail

/** One text frame of a WebSocket, unmasked as servers send. */
function frame(text) {
  const body = Buffer.from(text);
  if (body.length < 126) return Buffer.concat([Buffer.from([0x81, body.length]), body]);
  const long = body.length > 0xffff;
  const head = Buffer.from(long ? [0x81, 127, 0, 0, 0, 0, 0, 0, 0, 0] : [0x81, 126, 0, 0]);
  if (long) head.writeUInt32BE(body.length, 6);
  else head.writeUInt16BE(body.length, 2);
  return Buffer.concat([head, body]);
}

/** Answers `tail`: what came since, then every half second what is new. Lines with `burst` in the query come by thousands. */
function tail(request, socket) {
  const url = new URL(request.url, "http://mock");
  if (url.pathname !== "/loki/api/v1/tail") return socket.end("HTTP/1.1 404 Not Found\r\n\r\n");
  const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  const query = url.searchParams.get("query");
  let since = Number(url.searchParams.get("start"));
  const burst = query.includes("burst");
  const timer = setInterval(() => {
    const end = Date.now() * 1e6;
    const lines = burst ? burstLines(end) : selectLines(query, since, end);
    since = end;
    if (lines.length > 0) socket.write(frame(JSON.stringify({ streams: streamsOf(lines, false), dropped_entries: burst ? [{ labels: {}, timestamp: String(end) }] : [] })));
  }, 500);
  for (const event of ["close", "error", "end"]) socket.on(event, () => clearInterval(timer));
  socket.on("data", (d) => (d[0] & 0x0f) === 8 && socket.end());
}

const burstLines = (end) => Array.from({ length: 1500 }, (_, i) => ({ ns: BigInt(end) + BigInt(i), stream: { service_name: "wotr-api" }, meta: { detected_level: "info" }, line: `burst ${end} ${i}` }));

function lokiVolume([, by, inner, width], startNs, endNs, step, tenant) {
  const w = durationS(width);
  const lines = selectLines(inner, startNs - w * 1e9, endNs, tenant);
  const series = new Map();
  for (const l of lines) {
    const labels = by.split(", ").map((name) => [name, l.stream[name] ?? l.meta[name] ?? ""]);
    const key = JSON.stringify(Object.fromEntries(labels.filter(([, v]) => v)));
    const buckets = series.get(key) ?? new Map();
    const start = startNs / 1e9;
    const t = start + Math.ceil((l.us / 1e6 - start) / step) * step;
    buckets.set(t, (buckets.get(t) ?? 0) + 1);
    series.set(key, buckets);
  }
  const result = [...series].map(([key, buckets]) => ({
    metric: JSON.parse(key),
    values: [...buckets].filter(([t]) => t <= endNs / 1e9).sort((a, b) => a[0] - b[0]).map(([t, n]) => [t, String(n)]),
  }));
  return ok({ resultType: "matrix", result });
}

// ----------------------------------------------------------------------------------------------- Jaeger

const MICROS = { us: 1, ms: 1000, s: 1e6, m: 6e7 };
const micros = (text) => {
  const m = /^([\d.]+)(us|µs|ms|s|m)$/.exec(text ?? "");
  return m ? Number(m[1]) * MICROS[m[2].replace("µ", "u")] : null;
};

function spanFits(t, span, q, tags) {
  if (t.processes[span.processID].serviceName !== q.get("service")) return false;
  if (q.get("operation") && span.operationName !== q.get("operation")) return false;
  const [min, max] = [micros(q.get("minDuration")), micros(q.get("maxDuration"))];
  if ((min !== null && span.duration < min) || (max !== null && span.duration > max)) return false;
  return Object.entries(tags).every(([k, v]) => span.tags.some((x) => x.key === k && String(x.value) === v));
}

function findTraces(q) {
  const tags = JSON.parse(q.get("tags") || "{}");
  const [start, end] = [Number(q.get("start")) / 1e6, Number(q.get("end")) / 1e6];
  const out = [];
  for (let s = Math.floor(end); s >= Math.floor(start) && out.length < Number(q.get("limit") ?? 20); s--) {
    for (const r of requestsOf(s)) {
      const t = traceOf(r);
      if (t.spans.some((span) => spanFits(t, span, q, tags))) out.push(t);
    }
  }
  return { data: out.slice(0, Number(q.get("limit") ?? 20)), total: 0, limit: 0, offset: 0, errors: null };
}

function oneTrace(id) {
  const r = requestOf(id);
  if (!r) throw new Refused(404, { data: null, errors: [{ code: 404, msg: "trace not found" }] });
  return { data: [traceOf(r)], total: 0, limit: 0, offset: 0, errors: null };
}

function operations(service) {
  const now = Math.floor(Date.now() / 1000);
  const names = new Set();
  for (let s = now - 600; s < now; s++) {
    for (const t of requestsOf(s).map(traceOf)) {
      for (const span of t.spans) if (t.processes[span.processID].serviceName === service) names.add(span.operationName);
    }
  }
  return { data: [...names].sort(), errors: null };
}

// -------------------------------------------------------------------------------------------------- home

function home(q, tenant) {
  const t = Number(q.get("end"));
  if (tenant === "empty") return { version: "0.1.0", started_at: t - 20, services: [], ingest: { rejected: [] }, storage: {} };
  const wrong = inIncident(t);
  const check = (name, good = true) => ({ check: name, ok: good });
  return {
    version: "0.1.0",
    started_at: Math.floor(t) - 5400,
    services: [
      {
        name: "wotr-api",
        sources: ["metrics", "logs", "traces"],
        up: true,
        health: [check("postgres", !wrong), check("object store"), check("queue")],
        requests_per_second: 7.31,
        error_ratio: wrong ? 0.183 : 0.0021,
        p95_seconds: wrong ? 0.41 : 0.082,
        last_seen: t - 2,
      },
      {
        name: "wotr-consumer",
        sources: ["metrics", "logs", "traces"],
        up: true,
        health: [check("clickhouse")],
        requests_per_second: 4.2,
        error_ratio: 0.016,
        p95_seconds: 0.031,
        last_seen: t - 1,
      },
      { name: "edge-proxy", sources: ["metrics"], up: null, health: null, requests_per_second: null, error_ratio: null, p95_seconds: null, last_seen: t - 340 },
    ],
    ingest: {
      samples_per_second: 412,
      log_records_per_second: 18.4,
      spans_per_second: 31.7,
      rejected: [{ signal: "logs", reason: "too_old", count: 3 }],
    },
    storage: { bytes_on_disk: 48_318_382, active_series: 1284 },
  };
}

// ------------------------------------------------------------------------------------------------ server

const ROUTES = [
  [/^\/api\/v1\/query_range$/, promRange],
  [/^\/api\/v1\/query$/, promInstant],
  [/^\/api\/v1\/labels$/, (q) => ok(unique(allSeries(q.getAll("match[]")).flatMap((l) => Object.keys(l))))],
  [/^\/api\/v1\/label\/([^/]+)\/values$/, (q, m) => ok(unique(allSeries(q.getAll("match[]")).map((l) => l[m[1]]).filter(Boolean)))],
  [/^\/api\/v1\/series$/, (q) => ok(allSeries(q.getAll("match[]")))],
  [/^\/api\/v1\/metadata$/, () => ok(Object.fromEntries(METRICS.map((m) => [m.name, [{ type: m.type.replace("native_", ""), help: m.help, unit: m.unit }]])))],
  [/^\/loki\/api\/v1\/query_range$/, lokiRange],
  [/^\/loki\/api\/v1\/query$/, lokiInstant],
  [/^\/loki\/api\/v1\/detected_fields$/, detectedFields],
  [/^\/loki\/api\/v1\/detected_labels$/, detectedLabels],
  [/^\/loki\/api\/v1\/patterns$/, patterns],
  [/^\/loki\/api\/v1\/labels$/, () => ok(["environment", "level", "service_name"])],
  [/^\/loki\/api\/v1\/label\/([^/]+)\/values$/, (_q, m) => ok({ service_name: SERVICES, level: ["debug", "error", "info", "warn"] }[m[1]] ?? ["development"])],
  [/^\/ds\/jaeger\/api\/services$/, () => ({ data: SERVICES, errors: null })],
  [/^\/ds\/jaeger\/api\/services\/([^/]+)\/operations$/, (_q, m) => operations(m[1])],
  [/^\/ds\/jaeger\/api\/traces$/, findTraces],
  [/^\/ds\/jaeger\/api\/traces\/([0-9a-f]+)$/, (_q, m) => oneTrace(m[1])],
  [/^\/api\/v1\/query_exemplars$/, (q) => ok(exemplars(q))],
  [/^\/api\/ui\/v1\/cardinality$/, (q) => cardinality(allSeries(q.getAll("match[]")), q)],
  [/^\/api\/ui\/v1\/promql\/complete$/, complete],
  [/^\/api\/ui\/v1\/promql\/check$/, check],
  [/^\/api\/ui\/v1\/promql\/functions$/, functions],
  [/^\/api\/ui\/v1\/logql\/complete$/, completeLog],
  [/^\/api\/ui\/v1\/logql\/check$/, checkLog],
  [/^\/api\/ui\/v1\/home$/, (q, _m, tenant) => home(q, tenant)],
];

function asset(path) {
  const file = normalize(join(DIST, path));
  if (!file.startsWith(DIST)) return null;
  try {
    if (statSync(file).isFile() && path !== "") return { body: readFileSync(file), type: TYPES[extname(file)] ?? "text/plain" };
  } catch {
    // Not a file: a page of the interface.
  }
  if (path.startsWith("assets/")) return null;
  return { body: readFileSync(join(DIST, "index.html"), "utf8").replace("%BASE%", "/ui/"), type: "text/html" };
}

function answer(path, query, tenant) {
  for (const [pattern, handler] of ROUTES) {
    const m = pattern.exec(decodeURIComponent(path));
    if (m) return handler(query, m, tenant);
  }
  throw new Refused(404, "404 page not found");
}

function send(response, status, type, body) {
  response.writeHead(status, { "Content-Type": `${type}; charset=utf-8`, "Content-Security-Policy": CSP });
  response.end(body);
}

async function handle(request, response, failing, instead) {
  const url = new URL(request.url, "http://mock");
  if (url.pathname === "/") return response.writeHead(302, { Location: "/ui/" }).end();
  if (url.pathname.startsWith("/ui/")) {
    const file = asset(url.pathname.slice(4));
    return file ? send(response, 200, file.type, file.body) : send(response, 404, "text/plain", "404 page not found");
  }
  if (instead) return instead(request, response);
  let body = "";
  for await (const chunk of request) body += chunk;
  const query = new URLSearchParams(request.method === "POST" ? body : url.search);
  try {
    if (failing()) throw new Refused(503, "the store is not ready: replaying the write-ahead log, 62 % done");
    send(response, 200, "application/json", JSON.stringify(answer(url.pathname, query, request.headers["x-scope-orgid"] ?? "")));
  } catch (e) {
    const refused = e instanceof Refused ? e : new Refused(500, e.stack);
    send(response, refused.status, typeof refused.body === "string" ? "text/plain" : "application/json", refused.message);
  }
}

/**
 * Starts the mock; `failing()` decides per request whether the APIs fail. `instead` and `insteadUpgrade` answer the APIs
 * in its place. Resolves to { url, close }.
 */
export function startMock(port = 0, failing = () => false, instead = null, insteadUpgrade = tail) {
  const server = createServer((q, s) => void handle(q, s, failing, instead));
  server.on("upgrade", insteadUpgrade);
  return new Promise((resolve) => {
    server.listen(port, "127.0.0.1", () => {
      const url = `http://127.0.0.1:${server.address().port}`;
      resolve({ url, close: () => new Promise((done) => (server.closeAllConnections(), server.close(done))) });
    });
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await startMock(Number(process.argv[2] ?? 7071));
  console.log(`mock at ${url}/ui/`);
}
