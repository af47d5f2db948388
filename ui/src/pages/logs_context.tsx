/** What the same stream wrote before and after a line, unfiltered. */
import { useState } from "preact/hooks";
import { lokiRange, type LogLine } from "../api_logs.ts";
import { useLoad } from "../load.ts";
import { readLine } from "../logline.ts";
import { streamSelector } from "../query/logql.ts";
import { link } from "../router.ts";
import { zone } from "../state.ts";
import { around, clock, iso } from "../time.ts";
import { Loaded } from "../widgets/basics.tsx";
import { cut, LineText } from "./logs_text.tsx";
import { lineId } from "./logs_data.ts";
import { identity, justAfter } from "./logs_window.ts";

const LINES_STEP = 10;
const LINES_MAX = 500;
const CHARS = 400;

/** How far from the line is looked, to each side. */
const REACH_NS = 2n * 3600n * 1_000_000_000n;

/** Half of the range the list is opened with. */
const LIST_HALF_MS = 1_800_000;

async function load(line: LogLine, before: number, after: number, signal: AbortSignal): Promise<LogLine[]> {
  const query = streamSelector(line.stream);
  const at = BigInt(line.ns);
  const [older, newer] = await Promise.all([
    // The line itself, and others of its nanosecond, come with the older ones.
    lokiRange({ query, start: String(at - REACH_NS), end: justAfter(line.ns), limit: before + 1, direction: "backward" }, signal),
    lokiRange({ query, start: justAfter(line.ns), end: String(at + REACH_NS), limit: after, direction: "forward" }, signal),
  ]);
  return [...(older.kind === "lines" ? older.lines : []).reverse(), ...(newer.kind === "lines" ? newer.lines : [])];
}

/** Lines around a line, oldest first as they were written. */
export function LineContext({ line }: { line: LogLine }) {
  const [size, setSize] = useState({ before: LINES_STEP, after: LINES_STEP });
  const found = useLoad(`${identity(line)} ${size.before} ${size.after}`, (signal) => load(line, size.before, size.after, signal), identity(line));
  const r = around(line.ms, LIST_HALF_MS);
  const more = (side: "before" | "after"): void => setSize({ ...size, [side]: Math.min(LINES_MAX, size[side] * 2) });
  return (
    <section class="context">
      <h3 class="row">
        <span class="grow">In the same stream</span>
        <a class="btn small" href={link("logs", { from: iso(r.from), to: iso(r.to), q: streamSelector(line.stream), at: line.ns, line: lineId(line), service: "" })}>
          Open in the list
        </a>
      </h3>
      <button type="button" class="chip" disabled={found.loading || size.before >= LINES_MAX} onClick={() => more("before")}>
        More before
      </button>
      <Loaded load={found}>
        {(lines) => (
          <ol>
            {lines.map((l, i) => (
              <li key={i} class={identity(l) === identity(line) ? "here" : ""} style={{ "--c": `var(--level-${readLine(l).level})` }} aria-current={identity(l) === identity(line) ? "true" : undefined}>
                <span class="time">{clock(l.ms, zone.value, true)}</span> <LineText text={cut(readLine(l).message, CHARS)} />
                {readLine(l).extra && <span class="extra"> {<LineText text={cut(readLine(l).extra, CHARS)} />}</span>}
              </li>
            ))}
          </ol>
        )}
      </Loaded>
      <button type="button" class="chip" disabled={found.loading || size.after >= LINES_MAX} onClick={() => more("after")}>
        More after
      </button>
    </section>
  );
}
