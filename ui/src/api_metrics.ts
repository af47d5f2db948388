/** Requests only the Metrics page makes: range queries with their histograms and costs, exemplars, cardinality, the editor's. */
import { data, get, isRecord, list, strings, type MatrixSeries } from "./api.ts";
import type { Labels } from "./palette.ts";

/** One bucket of a histogram: observations above `lower` up to `upper`. */
export interface Bucket {
  lower: number;
  upper: number;
  count: number;
}

/** A series of native histograms, its points as [unix seconds, buckets]. */
export interface HistogramSeries {
  metric: Labels;
  points: [number, Bucket[]][];
}

/** What a query cost. */
export interface Cost {
  /** Samples looked at. */
  samples: number;
  /** Seconds the server took. */
  seconds: number;
}

/** A range query's whole answer. */
export interface RangeAnswer {
  series: MatrixSeries[];
  histograms: HistogramSeries[];
  warnings: string[];
  infos: string[];
  cost: Cost | null;
}

/**
 * Series taken from a range query at most: ten times what a chart draws, so that it can say how many it does not, and
 * few enough for any browser. The server warns when it cut there.
 */
const SERIES_MAX = 2_000;

/** PromQL over a range, with everything the server says beside the samples; times in seconds. */
export async function rangeWhole(query: string, start: number, end: number, step: number, signal?: AbortSignal): Promise<RangeAnswer> {
  const body = await get("api/v1/query_range", { query, start, end, step, stats: "all", limit: SERIES_MAX }, { signal, postable: true });
  const d = data(body);
  const result = isRecord(d) ? list(d["result"]).filter(isRecord) : [];
  return {
    series: result.map((s) => ({ metric: labelsOf(s["metric"]), values: valuesOf(s) })),
    histograms: result.filter((s) => Array.isArray(s["histograms"])).map((s) => ({ metric: labelsOf(s["metric"]), points: histogramPoints(s) })),
    warnings: isRecord(body) ? strings(body["warnings"]) : [],
    infos: isRecord(body) ? strings(body["infos"]) : [],
    cost: costOf(isRecord(d) ? d["stats"] : undefined),
  };
}

const labelsOf = (v: unknown): Labels => (isRecord(v) ? v : {}) as Labels;

/** Native histograms among the points are shown by their count, which is what a plain line can show. */
function valuesOf(s: Record<string, unknown>): [number, string][] {
  const values = list(s["values"]) as [number, string][];
  if (!Array.isArray(s["histograms"])) return values;
  const counts = list(s["histograms"]).flatMap((p): [number, string][] =>
    Array.isArray(p) && isRecord(p[1]) ? [[Number(p[0]), String(p[1]["count"] ?? "NaN")]] : [],
  );
  return [...values, ...counts].sort((a, b) => a[0] - b[0]);
}

function histogramPoints(s: Record<string, unknown>): [number, Bucket[]][] {
  return list(s["histograms"]).flatMap((p): [number, Bucket[]][] => {
    if (!Array.isArray(p) || !isRecord(p[1])) return [];
    const buckets = list(p[1]["buckets"]).filter((b): b is unknown[] => Array.isArray(b) && b.length === 4);
    return [[Number(p[0]), buckets.map((b) => ({ lower: number(b[1]), upper: number(b[2]), count: number(b[3]) }))]];
  });
}

function number(text: unknown): number {
  if (text === "+Inf") return Infinity;
  return text === "-Inf" ? -Infinity : Number(text);
}

function costOf(stats: unknown): Cost | null {
  if (!isRecord(stats)) return null;
  const [timings, samples] = [stats["timings"], stats["samples"]];
  if (!isRecord(timings) || !isRecord(samples)) return null;
  return { samples: Number(samples["totalQueryableSamples"] ?? 0), seconds: Number(timings["execTotalTime"] ?? 0) };
}

/** An exemplar: one observation with the trace it was made in. */
export interface Exemplar {
  /** Labels of its series. */
  series: Labels;
  /** Its own labels. */
  labels: Labels;
  value: number;
  /** Unix seconds. */
  at: number;
  /** "" when its labels name no trace. */
  trace: string;
  span: string;
}

/** More than these are not kept: a chart cannot show them. */
const EXEMPLARS_MAX = 5_000;

/** Exemplars of every series the query selects. */
export async function exemplars(query: string, start: number, end: number, signal?: AbortSignal): Promise<Exemplar[]> {
  const found = list(data(await get("api/v1/query_exemplars", { query, start, end }, { signal, postable: true }))).filter(isRecord);
  const all = found.flatMap((s) => list(s["exemplars"]).filter(isRecord).map((e) => exemplar(labelsOf(s["seriesLabels"]), e)));
  return all.slice(-EXEMPLARS_MAX);
}

function exemplar(series: Labels, e: Record<string, unknown>): Exemplar {
  const labels = labelsOf(e["labels"]);
  return {
    series,
    labels,
    value: number(e["value"]),
    at: Number(e["timestamp"]),
    trace: labels["trace_id"] ?? labels["traceID"] ?? labels["traceId"] ?? "",
    span: labels["span_id"] ?? labels["spanID"] ?? labels["spanId"] ?? "",
  };
}

/** A name and how many. */
export interface Count {
  name: string;
  value: number;
}

/** Where the series are, the most first. */
export interface Cardinality {
  series: number;
  metricCount: number;
  labelCount: number;
  metrics: Count[];
  /** Values of each label. */
  labels: Count[];
  /** Series of each `label=value`. */
  pairs: Count[];
  /** Most series the tenant may have, and of one metric; null when there is no limit. */
  limits: { series: number | null; seriesPerMetric: number | null };
  warnings: string[];
}

/** Series counted over a range in seconds, of those that pass the selector ("" for all). */
export async function cardinality(match: string, start: number, end: number, limit: number, signal?: AbortSignal): Promise<Cardinality> {
  const body = await get("api/ui/v1/cardinality", { "match[]": match ? [match] : [], start, end, limit }, { signal });
  const d = isRecord(body) ? body : {};
  const limits = isRecord(d["limits"]) ? d["limits"] : {};
  const limitOf = (v: unknown): number | null => (typeof v === "number" ? v : null);
  return {
    series: Number(d["series"] ?? 0),
    metricCount: Number(d["metricCount"] ?? 0),
    labelCount: Number(d["labelCount"] ?? 0),
    metrics: counts(d["metrics"]),
    labels: counts(d["labels"]),
    pairs: counts(d["pairs"]),
    limits: { series: limitOf(limits["series"]), seriesPerMetric: limitOf(limits["seriesPerMetric"]) },
    warnings: strings(d["warnings"]),
  };
}

const counts = (v: unknown): Count[] =>
  list(v)
    .filter(isRecord)
    .map((c) => ({ name: String(c["name"] ?? ""), value: Number(c["value"] ?? 0) }));

/** A function or aggregation. */
export interface FunctionHelp {
  name: string;
  aggregates: boolean;
  signature: string;
  help: string;
}

/** Every function and aggregation of the language. */
export async function functions(): Promise<FunctionHelp[]> {
  const body = await get("api/ui/v1/promql/functions", {});
  return list(isRecord(body) ? body["functions"] : []) as FunctionHelp[];
}
