/** Every request the interface makes, typed. One place knows addresses, headers and the shapes of errors. */
import type { Labels } from "./palette.ts";
import { tenant } from "./state.ts";

/** A failed request: what the server said, and where in the query if it said that too. */
export class ApiError extends Error {
  /** HTTP status, 0 when no answer came. */
  readonly status: number;
  /** Offset range in the query text the message points at. */
  readonly at: { line: number; column: number } | null;

  constructor(message: string, status: number) {
    super(message);
    this.status = status;
    this.at = positionIn(message);
  }
}

/** `1:5: parse error` and `at line 1, col 5` are the two spellings in use. */
export function positionIn(message: string): { line: number; column: number } | null {
  const m = /(?:^|\s|")(\d+):(\d+)(?::|\s)/.exec(message) ?? /line (\d+),? col(?:umn)? (\d+)/.exec(message);
  return m ? { line: Number(m[1]), column: Number(m[2]) } : null;
}

/** Parameters of a request; undefined and empty ones are left out. */
export type Query = Record<string, string | number | readonly string[] | undefined>;

/** Bodies longer than this go as POST forms: proxies cut long addresses. */
const GET_LENGTH_MAX = 4000;

function form(query: Query): URLSearchParams {
  const out = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === "") continue;
    if (typeof value === "object") for (const v of value) out.append(name, v);
    else out.append(name, String(value));
  }
  return out;
}

/** How a request is made. */
export interface Options {
  signal?: AbortSignal | undefined;
  headers?: Record<string, string>;
  postable?: boolean;
}

/** One request; the decoded answer, or an `ApiError`. */
export async function get(path: string, query: Query, options: Options = {}): Promise<unknown> {
  const params = form(query).toString();
  const post = options.postable === true && params.length > GET_LENGTH_MAX;
  const url = new URL(`../${path}${post || !params ? "" : `?${params}`}`, document.baseURI);
  const headers: Record<string, string> = { ...options.headers };
  if (tenant.value) headers["X-Scope-OrgID"] = tenant.value;
  if (post) headers["Content-Type"] = "application/x-www-form-urlencoded";
  const response = await send(url, { method: post ? "POST" : "GET", headers, signal: options.signal ?? null, body: post ? params : null });
  return decode(response);
}

async function send(url: URL, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (e) {
    if (e instanceof DOMException && e.name === "AbortError") throw e;
    throw new ApiError("Kenning did not answer. Is the server running and reachable?", 0);
  }
}

async function decode(response: Response): Promise<unknown> {
  const text = await response.text();
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  if (!response.ok) throw new ApiError(reason(body, text) || `the server answered ${response.status}`, response.status);
  if (body === undefined) throw new ApiError("the answer is not JSON", response.status);
  if (isRecord(body) && body["status"] === "error") throw new ApiError(reason(body, text), response.status);
  return body;
}

/** Whether a decoded value is an object. */
export const isRecord = (v: unknown): v is Record<string, unknown> => typeof v === "object" && v !== null && !Array.isArray(v);

function reason(body: unknown, text: string): string {
  if (isRecord(body)) {
    for (const key of ["error", "message"]) if (typeof body[key] === "string") return body[key] as string;
    const errors = body["errors"];
    if (Array.isArray(errors) && isRecord(errors[0])) return String(errors[0]["msg"] ?? "");
  }
  return text.trim().slice(0, 2000);
}

/** The `data` of an answer. */
export const data = (body: unknown): unknown => (isRecord(body) ? body["data"] : undefined);
/** A decoded list, empty when it is none. */
export const list = (v: unknown): unknown[] => (Array.isArray(v) ? v : []);
/** The texts of a decoded list. */
export const strings = (v: unknown): string[] => list(v).filter((x): x is string => typeof x === "string");

// ------------------------------------------------------------------------------------------- Prometheus

/** One series of a range query: points as [unix seconds, value text]. */
export interface MatrixSeries {
  metric: Labels;
  values: [number, string][];
}

/** Result of a PromQL range query. */
export interface PromResult {
  series: MatrixSeries[];
  warnings: string[];
}

/** PromQL over a range; times in seconds. */
export async function promRange(
  query: string,
  start: number,
  end: number,
  step: number,
  signal?: AbortSignal,
): Promise<PromResult> {
  const body = await get("api/v1/query_range", { query, start, end, step }, { signal, postable: true });
  return { series: matrix(data(body)), warnings: warnings(body) };
}

/** Warnings and infos beside a result. */
export function warnings(body: unknown): string[] {
  return isRecord(body) ? [...strings(body["warnings"]), ...strings(body["infos"])] : [];
}

/** The series of a decoded matrix. */
export function matrix(d: unknown): MatrixSeries[] {
  const result = isRecord(d) ? list(d["result"]) : [];
  return result.filter(isRecord).map((s) => ({
    metric: (isRecord(s["metric"]) ? s["metric"] : {}) as Labels,
    values: points(s),
  }));
}

/** Native histograms come as `histograms`; their count is what a plain line can show. */
function points(s: Record<string, unknown>): [number, string][] {
  if (Array.isArray(s["values"])) return s["values"] as [number, string][];
  return list(s["histograms"])
    .filter((p): p is [number, Record<string, unknown>] => Array.isArray(p) && isRecord(p[1]))
    .map(([t, h]) => [t, String(h["count"] ?? "NaN")]);
}

/** One sample of an instant query. */
export interface VectorSample {
  metric: Labels;
  time: number;
  value: string;
}

/** PromQL at one moment (seconds). Scalars come back as one sample without labels. */
export async function promInstant(query: string, time: number, signal?: AbortSignal): Promise<VectorSample[]> {
  const d = data(await get("api/v1/query", { query, time }, { signal, postable: true }));
  if (!isRecord(d)) return [];
  if (d["resultType"] === "scalar" || d["resultType"] === "string") {
    const [t, v] = d["result"] as [number, string];
    return [{ metric: {}, time: t, value: v }];
  }
  return list(d["result"])
    .filter(isRecord)
    .map((s) => sample(s));
}

function sample(s: Record<string, unknown>): VectorSample {
  const metric = (isRecord(s["metric"]) ? s["metric"] : {}) as Labels;
  if (Array.isArray(s["value"])) return { metric, time: Number(s["value"][0]), value: String(s["value"][1]) };
  const [t, h] = Array.isArray(s["histogram"]) ? s["histogram"] : [0, {}];
  return { metric, time: Number(t), value: isRecord(h) ? `histogram, count ${String(h["count"])}` : "NaN" };
}

/** Label names, optionally of the series that match. */
export async function promLabels(match: readonly string[], start: number, end: number, signal?: AbortSignal): Promise<string[]> {
  return strings(data(await get("api/v1/labels", { "match[]": match, start, end }, { signal })));
}

/** Values of one label; `__name__` lists the metrics. */
export async function promLabelValues(
  label: string,
  match: readonly string[],
  start: number,
  end: number,
  signal?: AbortSignal,
): Promise<string[]> {
  const path = `api/v1/label/${encodeURIComponent(label)}/values`;
  return strings(data(await get(path, { "match[]": match, start, end }, { signal })));
}

/** Label sets of the series that match. */
export async function promSeries(match: string, start: number, end: number, signal?: AbortSignal): Promise<Labels[]> {
  return list(data(await get("api/v1/series", { "match[]": [match], start, end, limit: 2000 }, { signal }))).filter(isRecord) as Labels[];
}

/** What is known about a metric family. */
export interface Metadata {
  type: string;
  help: string;
  unit: string;
}

/** Metadata of all metric families, the first entry of each. */
export async function promMetadata(signal?: AbortSignal): Promise<Map<string, Metadata>> {
  const d = data(await get("api/v1/metadata", { limit_per_metric: 1 }, { signal }));
  const out = new Map<string, Metadata>();
  for (const [name, entries] of Object.entries(isRecord(d) ? d : {})) {
    const first = list(entries)[0];
    if (isRecord(first)) {
      out.set(name, { type: String(first["type"] ?? ""), help: String(first["help"] ?? ""), unit: String(first["unit"] ?? "") });
    }
  }
  return out;
}

// ------------------------------------------------------------------------------------------------- Loki

/** Nanoseconds as text from milliseconds; a double cannot hold them. */
export const nanos = (ms: number): string => `${Math.floor(ms)}000000`;

/** Names of stream labels. */
export async function lokiLabels(startNs: string, endNs: string, signal?: AbortSignal, selector = ""): Promise<string[]> {
  return strings(data(await get("loki/api/v1/labels", { start: startNs, end: endNs, ...narrowed(selector) }, { signal })));
}

const narrowed = (selector: string): { query?: string } => (selector ? { query: selector } : {});

/** Values of a stream label. */
export async function lokiLabelValues(label: string, startNs: string, endNs: string, signal?: AbortSignal, selector = ""): Promise<string[]> {
  const path = `loki/api/v1/label/${encodeURIComponent(label)}/values`;
  return strings(data(await get(path, { start: startNs, end: endNs, ...narrowed(selector) }, { signal })));
}

// ---------------------------------------------------------------------------------------------- Kenning

/** State of one service on the home page. Null means "not known", never zero. */
export interface ServiceState {
  name: string;
  sources: string[];
  up: boolean | null;
  health: { check: string; ok: boolean }[] | null;
  requests_per_second: number | null;
  error_ratio: number | null;
  p95_seconds: number | null;
  last_seen: number | null;
}

/** The home page's answer. */
export interface Home {
  version: string;
  started_at: number | null;
  services: ServiceState[];
  ingest: {
    samples_per_second: number | null;
    log_records_per_second: number | null;
    spans_per_second: number | null;
    rejected: { signal: string; reason: string; count: number }[];
  };
  storage: { bytes_on_disk: number | null; active_series: number | null };
}

/** Services, ingest and storage over a range in seconds. Absent parts are filled with "not known". */
export async function home(start: number, end: number, signal?: AbortSignal): Promise<Home> {
  const body = (await get("api/ui/v1/home", { start, end }, { signal })) as Partial<Home>;
  return {
    version: body.version ?? "",
    started_at: body.started_at ?? null,
    services: body.services ?? [],
    ingest: {
      samples_per_second: body.ingest?.samples_per_second ?? null,
      log_records_per_second: body.ingest?.log_records_per_second ?? null,
      spans_per_second: body.ingest?.spans_per_second ?? null,
      rejected: body.ingest?.rejected ?? [],
    },
    storage: { bytes_on_disk: body.storage?.bytes_on_disk ?? null, active_series: body.storage?.active_series ?? null },
  };
}
