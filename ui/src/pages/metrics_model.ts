/** What the Metrics page's URL asks for, as values: queries, options of the picture, filters. Pure but for reading the URL. */
import { param, paramAll } from "../router.ts";
import { expand, familyExpr, familyUnit, type Family, type HistogramView } from "../query/promql.ts";
import { parseDuration, stepFor, type Range } from "../time.ts";
import { unitOfExpr, type Unit } from "../units.ts";

/** Most queries on one page: the letters stay readable and the server is not flooded. */
export const QUERIES_MAX = 8;

/** A, B, C ... */
export const letterOf = (i: number): string => String.fromCharCode(65 + i);

/** A query to be drawn. */
export interface Asked {
  letter: string;
  /** As written, variables and all. */
  expr: string;
  on: boolean;
}

/** How results are shown. */
export type View = "graph" | "table" | "heat";

/** What the reader chose. */
export interface Options {
  view: View;
  stacked: boolean;
  log: boolean;
  /** Table: values at the end, or over the range. */
  rows: "end" | "range";
  exemplars: boolean;
}

/** The options in the URL. */
export function options(): Options {
  const view = param("view");
  return {
    view: view === "table" || view === "heat" ? view : "graph",
    stacked: param("style") === "stacked",
    log: param("scale") === "log",
    rows: param("rows") === "range" ? "range" : "end",
    exemplars: param("exemplars") !== "off",
  };
}

/** Statistic shown of a histogram. */
export const statistic = (): HistogramView => (param("stat") || "0.95") as HistogramView;

/** The family a metric's name belongs to; unknown names are shown as plain selectors. */
export function familyNamed(name: string, families: readonly Family[]): Family {
  const base = name.replace(/_(bucket|sum|count)$/, "");
  return families.find((f) => f.name === name) ?? families.find((f) => f.name === base) ?? { name, kind: "gauge", unit: "count", help: "" };
}

/** Queries typed into the boxes, or the one that shows the picked metric. */
export function asked(family: Family | undefined, match: readonly string[]): Asked[] {
  const off = param("off");
  const typed = paramAll("q").filter((q) => q !== "").slice(0, QUERIES_MAX);
  if (typed.length > 0) return typed.map((expr, i) => ({ letter: letterOf(i), expr, on: !off.includes(letterOf(i)) }));
  if (!family) return [];
  return [{ letter: "A", expr: familyExpr(family, { match, by: param("by"), window: "$__rate_interval", view: statistic() }), on: true }];
}

/** Unit of what is drawn: chosen, or that of the metric, or guessed from the first query. */
export function unitFor(family: Family | undefined, queries: readonly Asked[], declared: (metric: string) => string): Unit {
  const chosen = param("unit") as Unit;
  if (chosen) return chosen;
  if (family) return familyUnit(family, statistic());
  const units = new Set(queries.filter((q) => q.on).map((q) => unitOfExpr(q.expr, declared)));
  // Queries of different units share one axis: bare numbers are the only true labels.
  return units.size === 1 ? ([...units][0] ?? "count") : "count";
}

/** Points a chart of a width is worth. */
const pointsOf = (width: number): number => Math.max(120, Math.min(600, Math.floor(width / 3) || 300));

/** Steps on offer beside the automatic one. */
export const STEPS = ["15s", "1m", "5m", "15m", "1h", "1d"] as const;

/** Prometheus refuses more points per series than this. */
const POINTS_MAX = 11_000;

/** Seconds between points: the chosen step, unless the range makes too many of it. */
export function stepIn(r: Range, width: number): number {
  const chosen = parseDuration(param("step"));
  const auto = stepFor(r, pointsOf(width), 1);
  if (!chosen || chosen < 1000) return auto;
  return (r.to - r.from) / chosen > POINTS_MAX ? auto : chosen / 1000;
}

/** The text that is sent: variables filled in. */
export const filled = (expr: string, step: number, r: Range): string => expand(expr, step, r.to - r.from);
