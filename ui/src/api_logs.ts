/**
 * Loki's requests that only the Logs page makes: lines, fields, patterns, the live tail. Shapes are those of Loki's HTTP
 * API; a server that lacks an endpoint answers 404, and callers say so instead of showing an empty list.
 */
import { data, get, isRecord, list, matrix, strings, warnings, type MatrixSeries } from "./api.ts";
import type { Labels } from "./palette.ts";
import { tenant } from "./state.ts";

/** One log line with everything known about it. `ns` is the exact stamp as text: it does not fit a double. */
export interface LogLine {
  ns: string;
  ms: number;
  line: string;
  stream: Labels;
  meta: Labels;
  parsed: Labels;
}

/** What a query cost, as the server says; null where it does not say. */
export interface Cost {
  bytes: number | null;
  lines: number | null;
  /** From asking to having the answer, as the browser sees it. */
  ms: number;
}

/** Answer to a LogQL range query: lines or, for metric queries, a matrix. */
export type LokiResult = { warnings: string[]; cost: Cost } & ({ kind: "lines"; lines: LogLine[] } | { kind: "matrix"; series: MatrixSeries[] });

/** What a LogQL range query needs; times in nanoseconds as text. */
export interface LokiQuery {
  query: string;
  start: string;
  end: string;
  limit?: number;
  direction?: "backward" | "forward";
  step?: number;
}

const CATEGORIZE = { "X-Loki-Response-Encoding-Flags": "categorize-labels" };

/** LogQL over a range. Lines come newest first unless asked otherwise. */
export async function lokiRange(q: LokiQuery, signal?: AbortSignal): Promise<LokiResult> {
  const began = performance.now();
  const body = await get("loki/api/v1/query_range", { ...q }, { signal, headers: CATEGORIZE, postable: true });
  const d = data(body);
  const rest = { warnings: warnings(body), cost: costOf(d, performance.now() - began) };
  if (!isRecord(d) || d["resultType"] !== "streams") return { kind: "matrix", series: matrix(d), ...rest };
  const lines = list(d["result"]).filter(isRecord).flatMap((s) => streamLines(s));
  const sign = q.direction === "forward" ? 1 : -1;
  lines.sort((a, b) => sign * compareNanos(a.ns, b.ns));
  return { kind: "lines", lines, ...rest };
}

function costOf(d: unknown, ms: number): Cost {
  const stats = isRecord(d) ? d["stats"] : undefined;
  const summary = isRecord(stats) ? stats["summary"] : undefined;
  const number = (name: string): number | null => (isRecord(summary) && typeof summary[name] === "number" ? (summary[name] as number) : null);
  return { bytes: number("totalBytesProcessed"), lines: number("totalLinesProcessed"), ms };
}

/** Compares two non-negative integers written in decimal. */
export function compareNanos(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** `streamLabels` tells labels of the stream from the rest where the server sent them merged. */
function streamLines(s: Record<string, unknown>, streamLabels?: ReadonlySet<string>): LogLine[] {
  const all = (isRecord(s["stream"]) ? s["stream"] : {}) as Labels;
  const [stream, merged] = streamLabels ? split(all, streamLabels) : [all, {}];
  return list(s["values"])
    .filter((v): v is [string, string, unknown] => Array.isArray(v))
    .map(([ns, line, extra]) => {
      const categories = isRecord(extra) ? extra : {};
      return {
        ns: String(ns),
        ms: Number(String(ns).slice(0, -6)),
        line: String(line),
        stream,
        meta: { ...merged, ...labelsOf(categories["structuredMetadata"]) },
        parsed: labelsOf(categories["parsed"]),
      };
    });
}

function split(labels: Labels, mine: ReadonlySet<string>): [Labels, Labels] {
  const [stream, rest]: [Labels, Labels] = [{}, {}];
  for (const [name, value] of Object.entries(labels)) (mine.has(name) ? stream : rest)[name] = value;
  return [stream, rest];
}

/** Both spellings occur: an object, and the list of [name, value] pairs of some encoders. */
function labelsOf(v: unknown): Labels {
  if (isRecord(v)) return v as Labels;
  return Object.fromEntries(list(v).filter((p): p is [string, string] => Array.isArray(p)));
}

/** Values of a metric query at one moment, in nanoseconds as text, largest first. */
export async function lokiInstant(query: string, time: string, signal?: AbortSignal): Promise<{ labels: Labels; value: number }[]> {
  const d = data(await get("loki/api/v1/query", { query, time }, { signal, postable: true }));
  const samples = (isRecord(d) ? list(d["result"]) : []).filter(isRecord).map((s) => ({
    labels: labelsOf(s["metric"]),
    value: Number(list(s["value"])[1]),
  }));
  return samples.sort((a, b) => b.value - a.value);
}

// ----------------------------------------------------------------------------------------------- fields

/** A field the server found in the lines of a range. */
export interface DetectedField {
  name: string;
  /** `string`, `int`, `float`, `boolean`, `duration`, `bytes`. */
  type: string;
  /** Distinct values. */
  cardinality: number;
  /** Parsers that find it in the line; empty for structured metadata. */
  parsers: string[];
}

/** Fields of the lines that a query selects. */
export async function detectedFields(query: string, start: string, end: string, signal?: AbortSignal): Promise<DetectedField[]> {
  const body = await get("loki/api/v1/detected_fields", { query, start, end, limit: 1000 }, { signal, postable: true });
  const found = isRecord(body) ? list(body["fields"] ?? (isRecord(body["data"]) ? body["data"]["fields"] : undefined)) : [];
  return found.filter(isRecord).map((f) => ({
    name: String(f["label"] ?? ""),
    type: String(f["type"] ?? "string"),
    cardinality: Number(f["cardinality"] ?? 0),
    parsers: strings(f["parsers"]),
  }));
}

/** Stream labels of the streams that a selector selects, with their numbers of values. */
export async function detectedLabels(query: string, start: string, end: string, signal?: AbortSignal): Promise<{ name: string; cardinality: number }[]> {
  const body = await get("loki/api/v1/detected_labels", { query, start, end }, { signal, postable: true });
  return (isRecord(body) ? list(body["detectedLabels"]) : [])
    .filter(isRecord)
    .map((l) => ({ name: String(l["label"] ?? ""), cardinality: Number(l["cardinality"] ?? 0) }));
}

// --------------------------------------------------------------------------------------------- patterns

/** A template that lines share, `<_>` where they differ, and how often it came when. */
export interface Pattern {
  pattern: string;
  level: string;
  /** Unix seconds and number of lines. */
  samples: [number, number][];
}

/** Patterns of the streams that a selector selects; times in nanoseconds as text, step in seconds. */
export async function lokiPatterns(query: string, start: string, end: string, step: number, signal?: AbortSignal): Promise<Pattern[]> {
  const found = list(data(await get("loki/api/v1/patterns", { query, start, end, step: `${step}s` }, { signal, postable: true })));
  return found.filter(isRecord).map((p) => ({
    pattern: String(p["pattern"] ?? ""),
    level: String(p["level"] ?? ""),
    samples: list(p["samples"]).filter((s): s is [number, number] => Array.isArray(s) && typeof s[0] === "number"),
  }));
}

// ------------------------------------------------------------------------------------------- live

/** One message of the live tail: new lines, newest first, and how many the server left out for us. */
export interface TailMessage {
  lines: LogLine[];
  dropped: number;
}

/** Address of the live tail of the tenant that is looked at. */
export function tailUrl(query: string, startNs: string, limit: number): URL {
  const url = new URL("../loki/api/v1/tail", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const params = new URLSearchParams({ query, start: startNs, limit: String(limit) });
  // A WebSocket has no headers to name the tenant in.
  if (tenant.peek() !== "") params.set("tenant", tenant.peek());
  url.search = params.toString();
  return url;
}

/** Reads a message of the tail; null when it is none. */
export function tailMessage(text: string, streamLabels: ReadonlySet<string>): TailMessage | null {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(body)) return null;
  const lines = list(body["streams"]).filter(isRecord).flatMap((s) => streamLines(s, streamLabels));
  lines.sort((a, b) => compareNanos(b.ns, a.ns));
  return { lines, dropped: list(body["dropped_entries"]).length };
}
