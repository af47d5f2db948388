/** Loading of log lines: a page of them around a moment, older and newer ones as the view nears an end, new ones while live. */
import { useCallback, useRef, useState } from "preact/hooks";
import { nanos, type MatrixSeries } from "../api.ts";
import { lokiRange, type Cost, type LogLine, type LokiResult } from "../api_logs.ts";
import { hash, labelKey } from "../palette.ts";
import { useLoad, type Load } from "../load.ts";
import { refresh } from "../state.ts";
import type { Range } from "../time.ts";
import { useTail, type TailState } from "./logs_tail.ts";
import { EMPTY, identity, justAfter, missing, PAGE_LINES, refilled, rowAt, total, trimmed, withNewer, withOlder, type Window } from "./logs_window.ts";

/** New lines held back while live is paused; beyond it they are counted and read again on resuming. */
export const HELD_MAX = 5000;

/** More lines of one nanosecond than this cannot be told apart by time. */
const SAME_NANO_MAX = 5000;

/** Rows from an end of what is known at which the next page is fetched. */
const PREFETCH_ROWS = 2500;

/** Name of a line in the URL: its stamp, and a hash that tells it from others of the same nanosecond. */
export const lineId = (l: LogLine): string => `${l.ns}-${hash(`${labelKey(l.stream)} ${l.line}`).toString(36)}`;

/** Whether a name from the URL means a line; a stamp alone means any line of that nanosecond. */
export const isLine = (id: string, l: LogLine): boolean => id.startsWith(l.ns) && (id.length === l.ns.length || id === lineId(l));

/** What the first answer of a query brought. */
interface First {
  window: Window;
  older: boolean;
  newer: boolean;
  matrix: MatrixSeries[] | undefined;
  warnings: string[];
  cost: Cost;
}

/** What the list shows and what can be done with it. */
export interface Lines {
  load: Load<First>;
  /** Result of a LogQL metric query instead of lines. */
  matrix: MatrixSeries[] | undefined;
  window: Window;
  /** Whether there is more beyond the oldest and the newest row. */
  older: boolean;
  newer: boolean;
  fetching: "older" | "newer" | "";
  error: Error | undefined;
  loadOlder: () => void;
  /** Told which rows are in view; fetches what is missing around them. */
  view: (from: number, to: number) => void;
  tail: { state: TailState; error: Error | undefined };
  /** New lines held back while live is paused, those beyond the bound, and those the server left out. */
  held: number;
  lost: number;
  dropped: number;
}

/** Loads the lines of a query; null while the query is not known yet. `at` is a stamp to begin at, "" for the newest. */
export function useLines(query: string | null, r: Range, at: string, live: boolean, paused: boolean): Lines {
  const [start, end] = [nanos(r.from), nanos(r.to)];
  const load = useLoad(
    query === null ? null : `${query} ${start} ${end} ${at}`,
    (signal) => loadFirst(query ?? "", r, at, signal),
    `${query ?? ""} ${at}`,
  );
  const base = load.data;
  const [grown, setGrown] = useState<Grown>({ base: undefined, ...NOTHING });
  const state = grown.base === base ? grown : { base, ...NOTHING, ...base };
  const change = useCallback(
    (f: (old: Grown) => Partial<Grown>) => setGrown((old) => {
      const mine = old.base === base ? old : { base, ...NOTHING, ...base };
      return { ...mine, ...f(mine) };
    }),
    [base],
  );
  const fetcher = useFetcher(query ?? "", start, end, state, change);
  const { held, lost, dropped, tail } = useLive(live && query !== null && base !== undefined && base.matrix === undefined, query ?? "", paused, state, end, change);
  return {
    load,
    matrix: base?.matrix,
    window: state.window,
    older: state.older,
    newer: state.newer && !live,
    fetching: state.fetching,
    error: state.error,
    loadOlder: () => fetcher.fetch("older"),
    view: fetcher.view,
    tail,
    held,
    lost,
    dropped,
  };
}

interface Grown {
  base: First | undefined;
  window: Window;
  older: boolean;
  newer: boolean;
  fetching: "older" | "newer" | "";
  error: Error | undefined;
}

const NOTHING = { window: EMPTY, older: false, newer: false, fetching: "", error: undefined } as const;

const linesOf = (answer: LokiResult): LogLine[] => (answer.kind === "lines" ? answer.lines : []);

async function loadFirst(query: string, r: Range, at: string, signal: AbortSignal): Promise<First> {
  const [start, end] = [nanos(r.from), nanos(r.to)];
  const step = Math.max(1, Math.ceil((r.to - r.from) / 400_000));
  const upTo = at ? justAfter(at) : end;
  const [older, newer] = await Promise.all([
    lokiRange({ query, start, end: upTo, limit: PAGE_LINES, direction: "backward", step }, signal),
    at ? lokiRange({ query, start: upTo, end, limit: PAGE_LINES, direction: "forward" }, signal) : null,
  ]);
  const [below, above] = [linesOf(older), newer ? linesOf(newer).reverse() : []];
  const window = withNewer(withOlder(EMPTY, below).window, above).window;
  return {
    window: { ...window, prepended: 0 },
    older: below.length >= PAGE_LINES,
    newer: above.length >= PAGE_LINES,
    matrix: older.kind === "matrix" ? older.series : undefined,
    warnings: [...new Set([...older.warnings, ...(newer?.warnings ?? [])])],
    cost: older.cost,
  };
}

type Change = (f: (old: Grown) => Partial<Grown>) => void;

function useFetcher(query: string, start: string, end: string, state: Grown, change: Change) {
  const busy = useRef(new Set<string>());
  const now = useRef(state);
  now.current = state;
  const run = (name: string, work: () => Promise<void>): void => {
    if (busy.current.has(name)) return;
    busy.current.add(name);
    const base = now.current.base;
    work()
      .catch((e: unknown) => base === now.current.base && change(() => ({ error: e instanceof Error ? e : new Error(String(e)) })))
      .finally(() => {
        busy.current.delete(name);
        if (name === "older" || name === "newer") change((old) => ({ fetching: old.fetching === name ? "" : old.fetching }));
      });
  };
  const older = async (): Promise<void> => {
    const last = now.current.window.pages.at(-1);
    if (!last) return;
    const q = { query, start, direction: "backward" as const };
    let lines = linesOf(await lokiRange({ ...q, end: justAfter(last.oldest), limit: PAGE_LINES }));
    let full = lines.length >= PAGE_LINES;
    // A whole page of one nanosecond: take all of it, then go on below.
    if (full && withOlder(now.current.window, lines).fresh === 0) {
      const same = linesOf(await lokiRange({ ...q, end: justAfter(last.oldest), limit: SAME_NANO_MAX }));
      const below = linesOf(await lokiRange({ ...q, end: last.oldest, limit: PAGE_LINES }));
      full = below.length >= PAGE_LINES;
      lines = [...same.filter((l) => l.ns === last.oldest), ...below];
    }
    change((old) => {
      const window = withOlder(old.window, lines).window;
      return { window: trimmed(window, view.current), older: full, error: undefined };
    });
  };
  const newer = async (): Promise<void> => {
    const first = now.current.window.pages[0];
    if (!first) return;
    const lines = linesOf(await lokiRange({ query, start: first.newest, end, direction: "forward", limit: PAGE_LINES })).reverse();
    change((old) => ({ window: trimmed(withNewer(old.window, lines).window, view.current), newer: lines.length >= PAGE_LINES, error: undefined }));
  };
  const refill = async (id: number): Promise<void> => {
    const p = now.current.window.pages.find((x) => x.id === id);
    if (!p || p.rows) return;
    const lines = linesOf(await lokiRange({ query, start: p.oldest, end: justAfter(p.newest), direction: "backward", limit: Math.min(SAME_NANO_MAX, p.count + p.foreign.size + 100) }));
    change((old) => ({ window: trimmed(refilled(old.window, id, lines), view.current), error: undefined }));
  };
  const view = useRef(0);
  const fetch = (which: "older" | "newer"): void => {
    if (busy.current.has(which)) return;
    change(() => ({ fetching: which, error: undefined }));
    run(which, which === "older" ? older : newer);
  };
  return {
    fetch,
    view: (from: number, to: number): void => {
      const { window, error, ...s } = now.current;
      view.current = Math.round((from + to) / 2);
      if (error) return;
      for (const p of missing(window, from - PAGE_LINES / 2, to + PAGE_LINES / 2)) run(`page ${p.id}`, () => refill(p.id));
      if (s.older && total(window) - to < PREFETCH_ROWS) fetch("older");
      if (s.newer && from < PREFETCH_ROWS) fetch("newer");
    },
  };
}

/** Follows the present; holds lines back while paused. */
function useLive(on: boolean, query: string, paused: boolean, state: Grown, end: string, change: Change) {
  const held = useRef<{ lines: LogLine[]; lost: number }>({ lines: [], lost: 0 });
  const [counts, setCounts] = useState({ held: 0, lost: 0, dropped: 0 });
  const newest = rowAt(state.window, 0);
  const put = (lines: readonly LogLine[]): void => change((old) => ({ window: trimmed(withNewer(old.window, lines).window, 0) }));
  const tail = useTail(on, query, newest, end, (lines, dropped) => {
    const h = held.current;
    if (!paused) put(lines);
    else {
      const known = new Set(h.lines.map(identity));
      const fresh = lines.filter((l) => !known.has(identity(l)));
      const room = HELD_MAX - h.lines.length;
      h.lines = [...fresh.slice(-room), ...h.lines].slice(0, HELD_MAX);
      h.lost += Math.max(0, fresh.length - room);
    }
    setCounts((c) => ({ held: h.lines.length, lost: h.lost, dropped: c.dropped + dropped }));
  });
  if (held.current.lines.length > 0 && (!paused || !on)) {
    const { lines, lost } = held.current;
    held.current = { lines: [], lost: 0 };
    queueMicrotask(() => {
      // What did not fit is read again as a whole; a list with a hole would lie.
      if (lost > 0) refresh();
      else if (on) put(lines);
      setCounts((c) => ({ held: 0, lost: 0, dropped: on ? c.dropped : 0 }));
    });
  }
  return { ...counts, tail };
}

/** Row of a line by its name in the URL; -1 when it is not in memory. */
export function rowOf(w: Window, id: string): number {
  if (id === "") return -1;
  for (let p = 0; p < w.pages.length; p++) {
    const i = w.pages[p]?.rows?.findIndex((l) => isLine(id, l)) ?? -1;
    if (i >= 0) return (w.starts[p] ?? 0) + i;
  }
  return -1;
}

