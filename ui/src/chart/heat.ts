/**
 * Histograms over time as a grid of cells: from native histograms, whose buckets differ from point to point, and from
 * classic ones, which come as cumulative series per `le`. Pure: numbers in, cells out.
 *
 * Native buckets are finer than pixels, so their counts are shared out over rows of even width on a logarithmic scale,
 * each bucket in proportion to how much of it lies in the row.
 */
import type { MatrixSeries } from "../api.ts";
import type { Bucket, HistogramSeries } from "../api_metrics.ts";
import { parseValue } from "./data.ts";

/** Rows of a picture at most. */
export const ROWS_MAX = 44;

/** Cells over time: `counts[row][column]`, rows from the lowest values to the highest. */
export interface Heat {
  /** Unix seconds of the columns. */
  times: number[];
  rows: { lower: number; upper: number }[];
  counts: number[][];
  /** Largest count of a cell. */
  max: number;
}

const gridOf = (start: number, end: number, step: number): number[] => Array.from({ length: Math.floor((end - start) / step + 1e-9) + 1 }, (_, i) => start + i * step);

/** From cumulative series with an `le` each: a row per bucket, the count of each without those below. */
export function classicHeat(series: readonly MatrixSeries[], start: number, end: number, step: number): Heat {
  const times = gridOf(start, end, step);
  const bounds = series
    .map((s) => ({ s, le: parseValue(s.metric["le"] ?? "") }))
    .filter((b): b is { s: MatrixSeries; le: number } => b.le !== null)
    .sort((a, b) => a.le - b.le);
  const cumulative = bounds.map(({ s }) => onGrid(s, start, step, times.length));
  const rows = bounds.map(({ le }, i) => ({ lower: bounds[i - 1]?.le ?? (le > 0 ? 0 : -Infinity), upper: le }));
  const counts = cumulative.map((column, i) => column.map((v, t) => above(v, i > 0 ? (cumulative[i - 1]?.[t] ?? 0) : 0)));
  return finish(times, rows, counts);
}

/** Differences of rates that are equal but for rounding are no observations. */
const ROUNDING = 1e-9;

const above = (v: number, below: number): number => (v - below > v * ROUNDING ? v - below : 0);

function onGrid(s: MatrixSeries, start: number, step: number, n: number): number[] {
  const out = new Array<number>(n).fill(0);
  for (const [t, text] of s.values) {
    const i = Math.round((t - start) / step);
    const v = parseValue(text) ?? 0;
    if (i >= 0 && i < n && Number.isFinite(v)) out[i] = v;
  }
  return out;
}

/** From native histograms; several series are added up. */
export function nativeHeat(series: readonly HistogramSeries[], start: number, end: number, step: number): Heat {
  const times = gridOf(start, end, step);
  const points = series.flatMap((s) => s.points);
  const rows = rowsFor(points.flatMap(([, buckets]) => buckets.filter((b) => b.count > 0)));
  const counts = rows.map(() => new Array<number>(times.length).fill(0));
  for (const [t, buckets] of points) {
    const column = Math.round((t - start) / step);
    if (column >= 0 && column < times.length) for (const b of buckets) share(b, rows, counts, column);
  }
  return finish(times, rows, counts);
}

interface Row {
  lower: number;
  upper: number;
}

/** Rows that hold all buckets: logarithmic when all are above zero (with one row for about zero), else linear. */
function rowsFor(buckets: readonly Bucket[]): Row[] {
  const finite = buckets.filter((b) => Number.isFinite(b.lower) && Number.isFinite(b.upper));
  const low = Math.min(...finite.map((b) => b.lower));
  const high = Math.max(...finite.map((b) => b.upper));
  if (finite.length === 0 || !(high > low)) return [];
  const positive = finite.filter((b) => b.lower > 0);
  const zero = finite.some((b) => b.lower <= 0);
  if (finite.some((b) => b.upper <= 0) || positive.length === 0) return linear(low, high);
  const floor = Math.min(...positive.map((b) => b.lower));
  const rows = logarithmic(floor, high, zero ? ROWS_MAX - 1 : ROWS_MAX, finest(positive));
  return zero ? [{ lower: Math.min(0, low), upper: floor }, ...rows] : rows;
}

/** Ratio of the narrowest bucket: no row need be narrower. */
const finest = (buckets: readonly Bucket[]): number => Math.min(...buckets.map((b) => Math.log2(b.upper / b.lower)));

function logarithmic(low: number, high: number, rowsMax: number, width: number): Row[] {
  const from = Math.log2(low);
  const span = Math.log2(high) - from;
  const n = Math.max(1, Math.min(rowsMax, Math.round(span / Math.max(width, 1e-6))));
  return Array.from({ length: n }, (_, i) => ({ lower: 2 ** (from + (span * i) / n), upper: 2 ** (from + (span * (i + 1)) / n) }));
}

function linear(low: number, high: number): Row[] {
  const n = ROWS_MAX / 2;
  return Array.from({ length: n }, (_, i) => ({ lower: low + ((high - low) * i) / n, upper: low + ((high - low) * (i + 1)) / n }));
}

/** Adds a bucket's count to the rows it overlaps. */
function share(b: Bucket, rows: readonly Row[], counts: number[][], column: number): void {
  if (!(b.count > 0)) return;
  const scale = b.lower > 0 ? Math.log2 : (v: number): number => v;
  const whole = scale(b.upper) - scale(b.lower);
  rows.forEach((row, i) => {
    const [lower, upper] = [Math.max(b.lower, row.lower), Math.min(b.upper, row.upper)];
    if (!(upper > lower)) return;
    const part = Number.isFinite(whole) && whole > 0 ? (scale(upper) - scale(lower)) / whole : 1;
    const line = counts[i];
    if (line && Number.isFinite(part)) line[column] = (line[column] ?? 0) + b.count * part;
  });
}

/** Leaves out rows at both ends that are empty all the time, and finds the largest cell. */
function finish(times: number[], rows: Row[], counts: number[][]): Heat {
  const used = counts.map((line) => line.some((c) => c > 0));
  const first = used.indexOf(true);
  const last = used.lastIndexOf(true);
  if (first < 0) return { times, rows: [], counts: [], max: 0 };
  const kept = counts.slice(first, last + 1);
  return { times, rows: rows.slice(first, last + 1), counts: kept, max: Math.max(...kept.map((line) => Math.max(...line))) };
}

/** Row a value falls into; -1 when it is outside of all. */
export function rowOf(heat: Heat, value: number): number {
  return heat.rows.findIndex((r, i) => value <= r.upper && (value > r.lower || (i === 0 && value >= r.lower)));
}

/** Fraction of a row's height at which a value lies, by the row's own scale. */
export function withinRow(row: { lower: number; upper: number }, value: number): number {
  if (!Number.isFinite(row.upper) || !Number.isFinite(row.lower)) return 0.5;
  const f = row.lower > 0 ? Math.log(value / row.lower) / Math.log(row.upper / row.lower) : (value - row.lower) / (row.upper - row.lower);
  return Math.min(1, Math.max(0, f));
}
