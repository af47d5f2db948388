/**
 * New lines as they arrive: Loki's tail over a WebSocket, and asking every two seconds where that is not to be had (a
 * proxy or server without it).
 */
import { useEffect, useRef, useState } from "preact/hooks";
import { lokiLabels, nanos } from "../api.ts";
import { compareNanos, lokiRange, tailMessage, tailUrl, type LogLine } from "../api_logs.ts";
import { cached } from "../load.ts";
import { range, tenant } from "../state.ts";
import { identity, justAfter } from "./logs_window.ts";

/** How lines come: over the socket, by asking, or not at the moment. */
export type TailState = "off" | "connecting" | "streaming" | "asking" | "waiting";

/** Lines and what the server left out of them. */
export type Deliver = (lines: LogLine[], dropped: number) => void;

const ASK_EVERY_MS = 2000;
const ASK_LINES = 500;
const TAIL_LINES = 100;

/** Messages of this long are drawn at once: a screen cannot show more. */
const GATHER_MS = 200;

/** Lines gathered at most before they are drawn; the rest counts as dropped. */
const GATHER_MAX = 5000;
const RETRY_MS_MAX = 10_000;

interface Sink {
  since: () => string;
  known: (l: LogLine) => boolean;
  deliver: Deliver;
  state: (s: TailState, error?: Error) => void;
}

/** Follows a query while `on`. `newest` is the newest line already there, `from` where to begin without one. */
export function useTail(on: boolean, query: string, newest: LogLine | undefined, from: string, deliver: Deliver): { state: TailState; error: Error | undefined } {
  const [now, setNow] = useState<{ state: TailState; error: Error | undefined }>({ state: "off", error: undefined });
  const latest = useRef({ newest, deliver, from });
  latest.current = { newest, deliver, from };
  useEffect(() => {
    if (!on) return setNow({ state: "off", error: undefined });
    const abort = new AbortController();
    let last = "";
    const since = (): string => {
      const known = latest.current.newest?.ns ?? latest.current.from;
      return last !== "" && compareNanos(last, known) > 0 ? last : known;
    };
    const sink: Sink = {
      since,
      known: (l) => latest.current.newest !== undefined && identity(l) === identity(latest.current.newest),
      deliver: (lines, dropped) => {
        const first = lines[0];
        if (first && compareNanos(first.ns, since()) > 0) last = first.ns;
        latest.current.deliver(lines, dropped);
      },
      state: (state, error) => !abort.signal.aborted && setNow({ state, error }),
    };
    stream(query, sink, abort.signal);
    return () => abort.abort();
  }, [on, query, tenant.value]);
  return now;
}

/** Keeps a socket open. A socket that never opens means there is no tail: then lines are asked for. */
function stream(query: string, sink: Sink, signal: AbortSignal): void {
  let everOpen = false;
  let wait = 500;
  const labels = cached(`log-labels ${tenant.peek()}`, () => lokiLabels(nanos(range.peek().from), nanos(range.peek().to))).catch(() => []);
  const connect = (): void => {
    if (signal.aborted) return;
    sink.state("connecting");
    const socket = new WebSocket(tailUrl(query, justAfter(sink.since()), TAIL_LINES));
    const gathered = gather(sink.deliver);
    signal.addEventListener("abort", () => socket.close(), { once: true });
    socket.onopen = () => {
      everOpen = true;
      wait = 500;
      sink.state("streaming");
    };
    socket.onmessage = (e) => void labels.then((names) => gathered.add(String(e.data), new Set(names)));
    socket.onclose = () => {
      gathered.stop();
      if (signal.aborted) return;
      if (!everOpen) return ask(query, sink, signal);
      sink.state("waiting");
      window.setTimeout(connect, wait);
      wait = Math.min(RETRY_MS_MAX, wait * 2);
    };
  };
  connect();
}

/** Collects messages and hands them on together. */
function gather(deliver: Deliver): { add: (text: string, labels: ReadonlySet<string>) => void; stop: () => void } {
  let [lines, dropped, timer]: [LogLine[], number, number] = [[], 0, 0];
  const flush = (): void => {
    timer = 0;
    const found = lines.sort((a, b) => compareNanos(b.ns, a.ns));
    if (found.length > 0 || dropped > 0) deliver(found, dropped);
    [lines, dropped] = [[], 0];
  };
  return {
    add: (text, labels) => {
      const message = tailMessage(text, labels);
      if (!message) return;
      const room = GATHER_MAX - lines.length;
      lines.push(...message.lines.slice(0, room));
      dropped += message.dropped + Math.max(0, message.lines.length - room);
      if (timer === 0) timer = window.setTimeout(flush, GATHER_MS);
    },
    stop: () => {
      window.clearTimeout(timer);
      flush();
    },
  };
}

/** Asks for lines after the newest known one. The next question comes only when the last has been answered. */
function ask(query: string, sink: Sink, signal: AbortSignal): void {
  const once = async (): Promise<void> => {
    try {
      const answer = await lokiRange({ query, start: sink.since(), end: nanos(Date.now() + 60_000), limit: ASK_LINES, direction: "backward" }, signal);
      const lines = answer.kind === "lines" ? answer.lines.filter((l) => !sink.known(l)) : [];
      if (lines.length > 0) sink.deliver(lines, 0);
      sink.state("asking");
    } catch (e) {
      if (signal.aborted) return;
      sink.state("waiting", e instanceof Error ? e : new Error(String(e)));
    }
    if (!signal.aborted) window.setTimeout(() => void once(), ASK_EVERY_MS);
  };
  void once();
}
