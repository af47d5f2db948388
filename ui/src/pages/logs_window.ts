/**
 * The lines of a list as pages side by side, newest first. Row numbers of known pages never change their meaning while
 * lines of far pages are let go and fetched again, so a list of a million rows costs the memory of some ten thousand.
 */
import { compareNanos, type LogLine } from "../api_logs.ts";
import { labelKey } from "../palette.ts";

/** Lines asked for at once. */
export const PAGE_LINES = 1000;

/** Lines kept in memory; beyond it the pages farthest from the view go. */
export const LOADED_MAX = 30_000;

/** Text that tells a line from its neighbours of the same nanosecond. */
export const identity = (l: LogLine): string => `${l.ns} ${labelKey(l.stream)} ${l.line}`;

/** One nanosecond later: ends of Loki's ranges are exclusive. */
export const justAfter = (ns: string): string => String(BigInt(ns) + 1n);

/** A run of lines that was fetched once. */
export interface Page {
  /** Stable name of the page. */
  id: number;
  newest: string;
  oldest: string;
  count: number;
  /** Null while the lines are let go. */
  rows: LogLine[] | null;
  /** Lines of the neighbours at the page's first and last nanosecond: a fetch by time brings them too. */
  foreign: ReadonlySet<string>;
}

/** Pages and their row numbers. Every change gives a new window; pages are shared. */
export interface Window {
  pages: readonly Page[];
  /** Number of the first row of each page, and the number of all rows at the end. */
  starts: readonly number[];
  /** Rows put in front since the window began: what a scroll position has to move by. */
  prepended: number;
  nextId: number;
}

/** No lines. */
export const EMPTY: Window = { pages: [], starts: [0], prepended: 0, nextId: 1 };

/** Rows in all. */
export const total = (w: Window): number => w.starts.at(-1) ?? 0;

/** Number of the page that holds a row, -1 when none does. */
export function pageAt(w: Window, row: number): number {
  if (row < 0 || row >= total(w)) return -1;
  let [low, high] = [0, w.pages.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((w.starts[middle] ?? 0) <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The line of a row; undefined when it is let go or there is none. */
export function rowAt(w: Window, row: number): LogLine | undefined {
  const p = pageAt(w, row);
  return p < 0 ? undefined : w.pages[p]?.rows?.[row - (w.starts[p] ?? 0)];
}

/** Lines in memory, newest first, at most `max`. */
export function loadedRows(w: Window, max: number): LogLine[] {
  const out: LogLine[] = [];
  for (const p of w.pages) {
    if (out.length >= max) break;
    if (p.rows) out.push(...p.rows.slice(0, max - out.length));
  }
  return out;
}


function built(w: Window, pages: readonly Page[], prepended: number, nextId: number): Window {
  const starts = [0];
  for (const p of pages) starts.push((starts.at(-1) ?? 0) + p.count);
  return { ...w, pages, starts, prepended, nextId };
}

const edge = (rows: readonly LogLine[] | null, ns: string): string[] => (rows ?? []).filter((l) => l.ns === ns).map(identity);

/** Lines older than all known, newest first; those already there at the seam are left out. */
export function withOlder(w: Window, lines: readonly LogLine[]): { window: Window; fresh: number } {
  const last = w.pages.at(-1);
  const seam = new Set(last ? edge(last.rows, last.oldest) : []);
  const fresh = lines.filter((l) => !seam.has(identity(l)));
  const page = pageOf(fresh, w.nextId, seam);
  if (!page) return { window: w, fresh: 0 };
  const pages = last ? [...w.pages.slice(0, -1), knowing(last, edge(fresh, last.oldest))] : [];
  return { window: built(w, [...pages, page], w.prepended, w.nextId + 1), fresh: page.count };
}

/**
 * Lines newer than most known, newest first: a page of their own in front or, when they reach below the newest known
 * line or the first page is small, merged into the first page.
 */
export function withNewer(w: Window, lines: readonly LogLine[]): { window: Window; fresh: number } {
  const first = w.pages[0];
  const rows = first?.rows;
  const have = new Set((rows ?? []).map(identity));
  const fresh = lines.filter((l) => !have.has(identity(l)));
  const oldest = fresh.at(-1);
  if (!oldest) return { window: w, fresh: 0 };
  const overlaps = first !== undefined && compareNanos(oldest.ns, first.newest) < 0;
  if (first && rows && (overlaps || rows.length + fresh.length <= PAGE_LINES)) {
    const merged = [...fresh, ...rows].sort((a, b) => compareNanos(b.ns, a.ns));
    const page = { ...first, rows: merged, count: merged.length, newest: merged[0]?.ns ?? first.newest, oldest: merged.at(-1)?.ns ?? first.oldest };
    return { window: built(w, [page, ...w.pages.slice(1)], w.prepended + fresh.length, w.nextId), fresh: fresh.length };
  }
  const seam = new Set(first ? edge(first.rows, first.newest) : []);
  const page = pageOf(fresh, w.nextId, seam);
  if (!page) return { window: w, fresh: 0 };
  const pages = first ? [knowing(first, edge(fresh, first.newest)), ...w.pages.slice(1)] : [];
  return { window: built(w, [page, ...pages], w.prepended + page.count, w.nextId + 1), fresh: page.count };
}

const knowing = (p: Page, foreign: readonly string[]): Page => (foreign.length === 0 ? p : { ...p, foreign: new Set([...p.foreign, ...foreign]) });

function pageOf(rows: LogLine[], id: number, foreign: ReadonlySet<string>): Page | null {
  const [first, last] = [rows[0], rows.at(-1)];
  return first && last ? { id, newest: first.ns, oldest: last.ns, count: rows.length, rows, foreign } : null;
}

/** Lets go of the pages farthest from a row until at most `max` lines are in memory. The page of the row stays. */
export function trimmed(w: Window, row: number, max = LOADED_MAX): Window {
  let loaded = w.pages.reduce((n, p) => n + (p.rows ? p.count : 0), 0);
  if (loaded <= max) return w;
  const here = Math.max(0, pageAt(w, row));
  const order = w.pages.map((_, i) => i).sort((a, b) => Math.abs(b - here) - Math.abs(a - here));
  const pages = [...w.pages];
  for (const i of order) {
    const p = pages[i];
    if (loaded <= max || i === here) break;
    if (!p?.rows) continue;
    loaded -= p.count;
    pages[i] = { ...p, rows: null };
  }
  return { ...w, pages };
}

/** Pages without lines that touch the rows `from` to `to`. */
export function missing(w: Window, from: number, to: number): Page[] {
  const [a, b] = [pageAt(w, Math.max(0, from)), pageAt(w, Math.min(total(w) - 1, to))];
  return a < 0 || b < 0 ? [] : w.pages.slice(a, b + 1).filter((p) => p.rows === null);
}

/** Puts the lines of a page back. What arrived late since, or was deleted, changes the page's count. */
export function refilled(w: Window, id: number, lines: readonly LogLine[]): Window {
  const at = w.pages.findIndex((p) => p.id === id);
  const old = w.pages[at];
  if (!old) return w;
  const rows = lines.filter((l) => !old.foreign.has(identity(l)));
  const pages = [...w.pages];
  pages[at] = { ...old, rows, count: rows.length };
  return built(w, pages, w.prepended, w.nextId);
}
