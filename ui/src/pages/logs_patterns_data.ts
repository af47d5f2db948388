/** What patterns say: how often each came, and which are new or have exploded compared with an earlier range. */
import type { Pattern } from "../api_logs.ts";
import type { Range } from "../time.ts";

/** A pattern as the list shows it. */
export interface PatternRow {
  pattern: string;
  level: string;
  /** Lines in the range and in the range compared with. */
  lines: number;
  before: number;
  /** Lines per bar of the sparkline. */
  bars: number[];
  /** First moment with a line in the range, milliseconds. */
  first: number;
  news: "new" | "exploded" | "";
}

/** Bars of a sparkline. */
export const BARS = 40;

/** A pattern has exploded when it came this many times as often as before, and often enough to mean something. */
const EXPLODED_RATIO = 5;
const EXPLODED_LINES = 20;

const sum = (p: Pattern): number => p.samples.reduce((n, [, v]) => n + v, 0);

/** Rows of the list: what is new first, then what exploded, then by number of lines. */
export function patternRows(now: readonly Pattern[], before: readonly Pattern[], r: Range): PatternRow[] {
  const old = new Map<string, number>();
  for (const p of before) old.set(p.pattern, (old.get(p.pattern) ?? 0) + sum(p));
  const rows = merged(now).map((p): PatternRow => {
    const [lines, past] = [sum(p), old.get(p.pattern) ?? 0];
    const first = Math.min(...p.samples.filter(([, n]) => n > 0).map(([t]) => t)) * 1000;
    return { pattern: p.pattern, level: p.level, lines, before: past, bars: bars(p, r), first, news: newsOf(lines, past, old.size > 0) };
  });
  const rank = { new: 0, exploded: 1, "": 2 };
  return rows.filter((p) => p.lines > 0).sort((a, b) => rank[a.news] - rank[b.news] || b.lines - a.lines);
}

/** Without anything known of the time before, nothing can be called new. */
function newsOf(lines: number, before: number, comparable: boolean): PatternRow["news"] {
  if (!comparable) return "";
  if (before === 0) return "new";
  return lines >= EXPLODED_LINES && lines >= before * EXPLODED_RATIO ? "exploded" : "";
}

/** One entry per pattern: servers give one per pattern and stream or level. */
function merged(all: readonly Pattern[]): Pattern[] {
  const out = new Map<string, Pattern>();
  for (const p of all) {
    const key = `${p.level} ${p.pattern}`;
    const known = out.get(key);
    out.set(key, known ? { ...known, samples: [...known.samples, ...p.samples] } : p);
  }
  return [...out.values()];
}

function bars(p: Pattern, r: Range): number[] {
  const out = new Array<number>(BARS).fill(0);
  const width = (r.to - r.from) / BARS;
  for (const [t, n] of p.samples) {
    const i = Math.floor((t * 1000 - r.from) / width);
    const at = Math.min(BARS - 1, Math.max(0, i));
    out[at] = (out[at] ?? 0) + n;
  }
  return out;
}

/** Pattern cut at its gaps. */
export const patternParts = (pattern: string): { text: string; gap: boolean }[] =>
  pattern
    .split(/(<_>)/)
    .filter(Boolean)
    .map((text) => ({ text, gap: text === "<_>" }));
