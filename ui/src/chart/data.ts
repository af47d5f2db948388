/** From API answers to what a chart draws: one shared time grid, columns of numbers, names, palette slots. */
import type { MatrixSeries } from "../api.ts";
import { assignSlots, labelKey, type Labels, type Slot } from "../palette.ts";

/** A drawable series. */
export interface Series {
  /** Canonical label text, the identity of the series. */
  key: string;
  /** Short name: only what tells it from its neighbours. */
  name: string;
  labels: Labels;
  values: (number | null)[];
  slot: Slot;
}

/** Columns over a shared time axis (unix seconds). Missing points are null and stay gaps. */
export interface ChartData {
  times: number[];
  series: Series[];
  /** Series left out because of `SERIES_MAX`. */
  omitted: number;
}

/** More lines than this tell nobody anything and cost the browser dearly. */
export const SERIES_MAX = 200;

/** Nothing. */
export const NO_DATA: ChartData = { times: [], series: [], omitted: 0 };

/** Number from its text in the Prometheus formats. */
export function parseValue(text: string): number | null {
  if (text === "+Inf" || text === "Inf") return Infinity;
  if (text === "-Inf") return -Infinity;
  const v = Number(text);
  return Number.isNaN(v) ? null : v;
}

/** Puts a matrix onto the grid start, start+step .. end. */
export function gridData(matrix: readonly MatrixSeries[], start: number, end: number, step: number): ChartData {
  const n = Math.floor((end - start) / step + 1e-9) + 1;
  const times = Array.from({ length: n }, (_, i) => start + i * step);
  const shown = matrix.slice(0, SERIES_MAX);
  const names = seriesNames(shown.map((s) => s.metric));
  const keys = shown.map((s) => labelKey(s.metric));
  const slots = assignSlots(keys);
  const series = shown.map((s, i) => ({
    key: keys[i] ?? "",
    name: names[i] ?? "",
    labels: s.metric,
    values: onGrid(s.values, start, step, n),
    slot: slots[i] ?? { color: 0, dash: 0 },
  }));
  series.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return { times, series, omitted: matrix.length - shown.length };
}

function onGrid(points: readonly [number, string][], start: number, step: number, n: number): (number | null)[] {
  const out = new Array<number | null>(n).fill(null);
  for (const [t, text] of points) {
    const i = Math.round((t - start) / step);
    // Infinity cannot be placed on an axis; the table shows it, the line has a gap.
    const v = parseValue(text);
    if (i >= 0 && i < n) out[i] = v !== null && Number.isFinite(v) ? v : null;
  }
  return out;
}

/**
 * Names that tell label sets apart: labels equal in all of them are left out; a single telling label gives its value
 * alone, several give `a=x b=y`.
 */
export function seriesNames(sets: readonly Labels[]): string[] {
  const names = new Set(sets.flatMap((s) => Object.keys(s)));
  const telling = [...names].filter((n) => new Set(sets.map((s) => s[n] ?? "")).size > 1).sort();
  return sets.map((labels) => {
    if (telling.length === 0) return soleName(labels);
    const parts = telling.filter((n) => labels[n]);
    if (parts.length === 0) return "(no label)";
    const rest = parts.filter((n) => n !== "__name__");
    const metric = parts.includes("__name__") ? `${labels["__name__"]} ` : "";
    if (telling.length === 1 && !metric) return labels[parts[0] ?? ""] ?? "";
    return (metric + rest.map((n) => `${n}=${labels[n]}`).join(" ")).trim();
  });
}

function soleName(labels: Labels): string {
  const rest = Object.entries(labels).filter(([n]) => n !== "__name__");
  if (labels["__name__"]) return labels["__name__"];
  return rest.length === 0 ? "value" : rest.map(([n, v]) => `${n}=${v}`).join(" ");
}

/** Last, smallest, largest and mean value of a series; null where there is none. */
export interface Summary {
  last: number | null;
  min: number | null;
  max: number | null;
  mean: number | null;
}

/** Summary of a column. */
export function summarize(values: readonly (number | null)[]): Summary {
  let [min, max, sum, n, last] = [Infinity, -Infinity, 0, 0, null as number | null];
  for (const v of values) {
    if (v === null) continue;
    if (v < min) min = v;
    if (v > max) max = v;
    sum += v;
    n++;
    last = v;
  }
  return n === 0 ? { last: null, min: null, max: null, mean: null } : { last, min, max, mean: sum / n };
}

/** Running sums from the last series to the first, so that the tallest bar is drawn first and the rest over it. */
export function stack(series: readonly Series[]): (number | null)[][] {
  const columns: (number | null)[][] = [];
  let below: (number | null)[] = [];
  for (let s = series.length - 1; s >= 0; s--) {
    const values = series[s]?.values ?? [];
    below = values.map((v, i) => (v === null && below[i] == null ? null : (v ?? 0) + (below[i] ?? 0)));
    columns[s] = below;
  }
  return columns;
}

/** Index of the time nearest to `at`; -1 when there is none. Times ascend evenly. */
export function nearestIndex(times: readonly number[], at: number): number {
  const [first, second] = times;
  if (first === undefined) return -1;
  const step = second === undefined ? 1 : second - first;
  return Math.min(times.length - 1, Math.max(0, Math.round((at - first) / step)));
}

/** Merges series with the same labels by adding them up; each is named by its only label's value. */
export function addUp(data: ChartData): ChartData {
  const groups = new Map<string, Series>();
  for (const s of data.series) {
    const known = groups.get(s.key);
    const name = Object.values(s.labels)[0] ?? "";
    if (!known) groups.set(s.key, { ...s, name });
    else known.values = known.values.map((v, i) => (v === null && (s.values[i] ?? null) === null ? null : (v ?? 0) + (s.values[i] ?? 0)));
  }
  return { ...data, series: [...groups.values()] };
}
