/** Builds the PromQL of the query-less browser: from a metric's kind to the expression that shows it best. */
import { promDuration } from "../time.ts";
import { rateOf, unitOf, type Unit } from "../units.ts";
import type { Metadata } from "../api.ts";
import { quote } from "./quote.ts";

/** How a metric family is shown. */
export type Kind = "counter" | "gauge" | "histogram" | "native_histogram" | "summary";

/** A metric family as the browser lists it: `_bucket`, `_sum`, `_count` of one histogram are one family. */
export interface Family {
  name: string;
  kind: Kind;
  unit: Unit;
  help: string;
}

/** What to show of a histogram. */
export type HistogramView = "0.5" | "0.9" | "0.95" | "0.99" | "avg" | "rate";

/** The choices in the order of the quantile helper. */
export const HISTOGRAM_VIEWS: readonly [HistogramView, string][] = [
  ["0.5", "p50"],
  ["0.9", "p90"],
  ["0.95", "p95"],
  ["0.99", "p99"],
  ["avg", "average"],
  ["rate", "rate"],
];

/** Seconds a scrape is assumed to take at most; a rate needs two samples inside its window. */
const SCRAPE_S = 15;

/** Window for `rate()` at a step: at least four scrapes, at least one step plus a scrape. */
export function rateWindow(stepS: number): string {
  const want = Math.max(4 * SCRAPE_S, stepS + SCRAPE_S);
  return promDuration(Math.ceil(want / 15) * 15);
}

/** Groups metric names into families, with kinds from metadata or, where that is silent, from the names. */
export function families(names: readonly string[], metadata: ReadonlyMap<string, Metadata>): Family[] {
  const known = new Set(names);
  const out = new Map<string, Family>();
  for (const name of names) {
    const base = familyOf(name, known, metadata);
    if (out.has(base)) continue;
    const meta = metadata.get(base) ?? metadata.get(base.replace(/_total$/, ""));
    out.set(base, {
      name: base,
      kind: kindOf(base, known, meta?.type ?? ""),
      unit: unitOf(base, meta?.unit ?? ""),
      help: meta?.help ?? "",
    });
  }
  return [...out.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function familyOf(name: string, known: ReadonlySet<string>, metadata: ReadonlyMap<string, Metadata>): string {
  const m = /^(.+)_(bucket|sum|count)$/.exec(name);
  if (!m || m[1] === undefined) return name;
  const type = metadata.get(m[1])?.type;
  return known.has(`${m[1]}_bucket`) || type === "histogram" || type === "summary" ? m[1] : name;
}

function kindOf(base: string, known: ReadonlySet<string>, type: string): Kind {
  if (known.has(`${base}_bucket`)) return "histogram";
  if (type === "histogram") return "native_histogram";
  if (type === "summary") return "summary";
  if (type === "counter") return "counter";
  if (type === "gauge" || type === "info" || type === "stateset") return "gauge";
  return /_(total|count|sum|bucket)$/.test(base) ? "counter" : "gauge";
}

/** A selector of a metric with matchers; names that are no identifiers go into the braces, quoted. */
export function selector(name: string, match: readonly string[]): string {
  if (!/^[a-zA-Z_:][\w:]*$/.test(name)) return `{${[quote(name), ...match].join(",")}}`;
  return match.length ? `${name}{${match.join(",")}}` : name;
}

/** The scope's matchers with the reader's filters; a filter on the same label takes the scope's place. */
export function matchWith(scope: readonly string[], filters: readonly string[]): string[] {
  const label = (m: string): string => /^\s*("(?:[^"\\]|\\.)*"|\w+)/.exec(m)?.[1] ?? m;
  const own = new Set(filters.map(label));
  return [...scope.filter((m) => !own.has(label(m))), ...filters];
}

/** A label's name as it stands in a matcher or a grouping. */
export const labelName = (label: string): string => (/^[a-zA-Z_]\w*$/.test(label) ? label : quote(label));

/** What `familyExpr` needs to know. */
export interface Shape {
  match: readonly string[];
  /** Label to break down by, "" for one line. */
  by: string;
  /** Rate window, e.g. `$__rate_interval` or `1m`. */
  window: string;
  view: HistogramView;
}

/** The expression that shows a family. Counters are rates; histograms a quantile, average or rate; gauges as they are. */
export function familyExpr(f: Family, s: Shape): string {
  const by = s.by ? ` by (${labelName(s.by)})` : "";
  switch (f.kind) {
    case "counter":
      return `sum${by} (rate(${selector(f.name, s.match)}[${s.window}]))`;
    case "gauge":
      return s.by ? `sum${by} (${selector(f.name, s.match)})` : selector(f.name, s.match);
    case "summary":
      return summaryExpr(f.name, s, by);
    case "histogram":
      return histogramExpr(f.name, s, by);
    case "native_histogram":
      return nativeExpr(f.name, s, by);
  }
}

function summaryExpr(name: string, s: Shape, by: string): string {
  const rate = (suffix: string): string => `sum${by} (rate(${selector(name + suffix, s.match)}[${s.window}]))`;
  return s.view === "rate" ? rate("_count") : `${rate("_sum")} / ${rate("_count")}`;
}

function histogramExpr(name: string, s: Shape, by: string): string {
  if (s.view === "avg" || s.view === "rate") return summaryExpr(name, s, by);
  const labels = s.by ? `le, ${labelName(s.by)}` : "le";
  return `histogram_quantile(${s.view}, sum by (${labels}) (rate(${selector(`${name}_bucket`, s.match)}[${s.window}])))`;
}

function nativeExpr(name: string, s: Shape, by: string): string {
  const inner = `sum${by} (rate(${selector(name, s.match)}[${s.window}]))`;
  if (s.view === "rate") return `histogram_count(${inner})`;
  return s.view === "avg" ? `histogram_avg(${inner})` : `histogram_quantile(${s.view}, ${inner})`;
}

/** Quantiles of a small chart. */
const CARD_QUANTILES = "0.5, 0.95, 0.99";

/** The expression of a family's small chart: as `familyExpr`, but several quantiles of a histogram at once. */
export function cardExpr(f: Family, match: readonly string[]): string {
  const window = "$__rate_interval";
  const of = (inner: string): string => `histogram_quantiles(${inner}, "quantile", ${CARD_QUANTILES})`;
  if (f.kind === "histogram") return of(`sum by (le) (rate(${selector(`${f.name}_bucket`, match)}[${window}]))`);
  if (f.kind === "native_histogram") return of(`sum (rate(${selector(f.name, match)}[${window}]))`);
  return familyExpr(f, { match, by: "", window, view: "0.95" });
}

/** What a small chart shows, said under its name: nothing is merged silently. */
export function cardCaption(f: Family): string {
  const quantiles = f.kind === "histogram" || f.kind === "native_histogram";
  return quantiles ? `${f.kind.replace("_", " ")} · p50, p95, p99 over all series` : familyCaption(f, "0.95");
}

/** The expression whose answer is drawn as a heat map: buckets of observations per second. */
export function heatExpr(f: Family, match: readonly string[]): string {
  const window = "$__rate_interval";
  if (f.kind === "native_histogram") return `sum (rate(${selector(f.name, match)}[${window}]))`;
  return `sum by (le) (rate(${selector(`${f.name}_bucket`, match)}[${window}]))`;
}

/** Whether the parts of a breakdown add up, so that what is left out can be told as one line. */
export const adds = (f: Family, view: HistogramView): boolean => f.kind === "counter" || f.kind === "gauge" || view === "rate";

/** Unit of what `familyExpr` shows. */
export function familyUnit(f: Family, view: HistogramView): Unit {
  if (f.kind === "counter") return rateOf(f.unit);
  if (f.kind === "gauge") return f.unit;
  return view === "rate" ? "rate" : f.unit;
}

/** How the line of `familyExpr` came about. */
export function familyCaption(f: Family, view: HistogramView): string {
  if (f.kind === "counter") return "counter · rate, summed over all series";
  if (f.kind === "gauge") return "gauge · each series";
  const what = view === "avg" || f.kind === "summary" ? "average" : view === "rate" ? "events per second" : `p${Number(view) * 100}`;
  return `${f.kind === "summary" ? "summary" : "histogram"} · ${what} over all series`;
}

/** Replaces the variables a query may use: `$__rate_interval`, `$__interval`, `$__range`. */
export function expand(expr: string, stepS: number, rangeMs: number): string {
  return expr
    .replaceAll("$__rate_interval", rateWindow(stepS))
    .replaceAll("$__interval", promDuration(stepS))
    .replaceAll("$__range", promDuration(Math.max(1, Math.round(rangeMs / 1000))));
}

/** First metric name an expression selects, "" when there is none. */
export function metricIn(expr: string): string {
  const braced = /([a-zA-Z_:][\w:]*)\s*[{[]/.exec(expr);
  if (braced) return braced[1] ?? "";
  return /^\s*([a-zA-Z_:][\w:]*)\s*$/.exec(expr)?.[1] ?? "";
}
