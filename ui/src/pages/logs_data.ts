/** Loading of log lines: a page of them, older ones on demand, new ones while live. Bounded in every direction. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { compareNanos, lokiRange, nanos, type LogLine, type MatrixSeries } from "../api.ts";
import { useLoad, type Load } from "../load.ts";
import { labelKey } from "../palette.ts";
import type { Range } from "../time.ts";

/** Lines asked for at once. */
export const PAGE_LINES = 1000;

/** Lines kept in memory; beyond it the oldest go. */
export const LINES_MAX = 20_000;

const LIVE_EVERY_MS = 2000;
const LIVE_BATCH = 500;

/** What the list shows and what can be done with it. */
export interface Lines {
  load: Load<LogLine[]>;
  /** Result of a LogQL metric query instead of lines. */
  matrix: MatrixSeries[] | undefined;
  rows: LogLine[];
  more: boolean;
  loadingOlder: boolean;
  olderError: Error | undefined;
  loadOlder: () => void;
  /** New lines held back while live is paused. */
  waiting: number;
  liveError: Error | undefined;
}

const identity = (l: LogLine): string => `${l.ns} ${labelKey(l.stream)} ${l.line}`;

/** Adds lines without doubling those already there; newest first. */
export function merge(rows: readonly LogLine[], added: readonly LogLine[]): LogLine[] {
  const have = new Set(rows.map(identity));
  const fresh = added.filter((l) => !have.has(identity(l)));
  if (fresh.length === 0) return [...rows];
  return [...fresh, ...rows].sort((a, b) => compareNanos(b.ns, a.ns)).slice(0, LINES_MAX);
}

/** One nanosecond later: ends of Loki ranges are exclusive. */
export const justAfter = (ns: string): string => String(BigInt(ns) + 1n);

/** Loads the lines of a query; null while the query is not known yet. */
export function useLines(query: string | null, r: Range, live: boolean, paused: boolean): Lines {
  const [start, end] = [nanos(r.from), nanos(r.to)];
  const key = query === null ? null : `${query} ${start} ${end}`;
  const [older, setOlder] = useState<LogLine[]>([]);
  const [newer, setNewer] = useState<LogLine[]>([]);
  const [held, setHeld] = useState<LogLine[]>([]);
  const [more, setMore] = useState(true);
  const [olderError, setOlderError] = useState<Error>();
  const [loadingOlder, setLoadingOlder] = useState(false);
  const [matrix, setMatrix] = useState<MatrixSeries[]>();
  const load = useLoad(
    key,
    async (signal) => {
      const answer = await lokiRange({ query: query ?? "", start, end, limit: PAGE_LINES, direction: "backward", step: Math.max(1, Math.ceil((r.to - r.from) / 400_000)) }, signal);
      const lines = answer.kind === "lines" ? answer.lines : [];
      setMatrix(answer.kind === "matrix" ? answer.series : undefined);
      setMore(lines.length >= PAGE_LINES);
      setOlder([]);
      setNewer([]);
      setHeld([]);
      return lines;
    },
    query ?? "",
  );
  const rows = [...newer, ...(load.data ?? []), ...older];
  const last = rows.at(-1);

  const loadOlder = useCallback(() => {
    if (!last || loadingOlder || query === null) return;
    setLoadingOlder(true);
    setOlderError(undefined);
    lokiRange({ query, start, end: justAfter(last.ns), limit: PAGE_LINES, direction: "backward" })
      .then((answer) => {
        const lines = answer.kind === "lines" ? answer.lines : [];
        setOlder((old) => {
          const have = new Set([...(load.data ?? []), ...old].map(identity));
          return [...old, ...lines.filter((l) => !have.has(identity(l)))].slice(0, LINES_MAX);
        });
        setMore(lines.length >= PAGE_LINES && rows.length < LINES_MAX);
      })
      .catch((e: unknown) => setOlderError(e instanceof Error ? e : new Error(String(e))))
      .finally(() => setLoadingOlder(false));
  }, [last, loadingOlder, query, start]);

  const newest = held[0] ?? rows[0];
  const liveError = useLive(live && query !== null && load.data !== undefined, query ?? "", newest, r, (found) => {
    if (paused) setHeld((old) => merge(old, found));
    else setNewer((old) => merge(old, found));
  });
  useEffect(() => {
    if (paused || held.length === 0) return;
    setNewer((old) => merge(old, held));
    setHeld([]);
  }, [paused, held]);

  return { load, matrix, rows, more, loadingOlder, olderError, loadOlder, waiting: held.length, liveError };
}

/** Polls for lines after the newest known one. The next poll starts only when the last has been answered. */
function useLive(on: boolean, query: string, newest: LogLine | undefined, r: Range, add: (lines: LogLine[]) => void): Error | undefined {
  const [error, setError] = useState<Error>();
  const since = useRef("");
  const known = useRef<LogLine[]>([]);
  const deliver = useRef(add);
  deliver.current = add;
  since.current = newest?.ns ?? nanos(r.to);
  if (newest) known.current = [newest];
  useEffect(() => {
    if (!on) return;
    const abort = new AbortController();
    let timer = 0;
    const poll = async (): Promise<void> => {
      try {
        const answer = await lokiRange({ query, start: since.current, end: nanos(Date.now() + 60_000), limit: LIVE_BATCH, direction: "backward" }, abort.signal);
        const seen = new Set(known.current.map(identity));
        if (answer.kind === "lines") {
          const fresh = answer.lines.filter((l) => !seen.has(identity(l)));
          if (fresh.length > 0) deliver.current(fresh);
        }
        setError(undefined);
      } catch (e) {
        if (abort.signal.aborted) return;
        setError(e instanceof Error ? e : new Error(String(e)));
      }
      if (!abort.signal.aborted) timer = window.setTimeout(() => void poll(), LIVE_EVERY_MS);
    };
    timer = window.setTimeout(() => void poll(), LIVE_EVERY_MS);
    return () => {
      abort.abort();
      window.clearTimeout(timer);
    };
  }, [on, query]);
  return error;
}
