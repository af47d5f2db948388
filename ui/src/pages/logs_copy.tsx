/** Taking a line or the query away: as text, JSON, a command, a link. */
import "../core.ts";
import { useState } from "preact/hooks";
import { nanos } from "../api.ts";
import type { LogLine } from "../api_logs.ts";
import { withoutAnsi } from "../ansi.ts";
import { asCurl, asKenning, asLogcli, type Asked } from "../query/copy_as.ts";
import { streamSelector } from "../query/logql.ts";
import { here } from "../router.ts";
import { tenant } from "../state.ts";
import { iso, type Range } from "../time.ts";
import { copyText, Popover } from "../widgets/basics.tsx";
import { Icon } from "../widgets/icons.tsx";
import { lineId } from "./logs_data.ts";
import { justAfter } from "./logs_window.ts";

const COMMAND_LINES = 1000;

const server = (): string => new URL("..", document.baseURI).href.replace(/\/$/, "");

/** A line with everything known about it, as one JSON object. */
export const lineJson = (l: LogLine): string =>
  JSON.stringify({ timestamp: l.ns, stream: l.stream, ...(Object.keys(l.meta).length ? { structuredMetadata: l.meta } : {}), ...(Object.keys(l.parsed).length ? { parsed: l.parsed } : {}), line: l.line });

/** What the menu offers: a word and how the text is made. */
type Item = readonly [string, () => string];

function commands(a: () => Asked): Item[] {
  return [
    ["curl command", () => asCurl(a())],
    ["logcli command", () => asLogcli(a())],
    ["kenning command", () => asKenning(a())],
  ];
}

/** For one line: the commands ask for exactly its nanosecond in its stream. */
export function lineItems(l: LogLine, r: Range): Item[] {
  const asked = (): Asked => ({ query: streamSelector(l.stream), start: l.ns, end: justAfter(l.ns), limit: COMMAND_LINES, server: server(), tenant: tenant.peek() });
  return [
    ["Line", () => withoutAnsi(l.line)],
    ["JSON with labels", () => lineJson(l)],
    ["Link to this line", () => new URL(here({ from: iso(r.from), to: iso(r.to), at: l.ns, line: lineId(l), live: "" }), document.baseURI).href],
    ...commands(asked),
  ];
}

/** For the query and what is loaded of it. */
export function queryItems(query: string, r: Range, lines: () => LogLine[]): Item[] {
  const asked = (): Asked => ({ query, start: nanos(r.from), end: nanos(r.to), limit: COMMAND_LINES, server: server(), tenant: tenant.peek() });
  return [
    ["Link, range fixed", () => new URL(here({ from: iso(r.from), to: iso(r.to), live: "" }), document.baseURI).href],
    ...commands(asked),
    ["Loaded lines", () => lines().map((l) => withoutAnsi(l.line)).join("\n")],
    ["Loaded lines as JSON", () => lines().map(lineJson).join("\n")],
  ];
}

/** The menu. */
export function CopyMenu({ items, title, right = false }: { items: readonly Item[]; title: string; right?: boolean }) {
  const [done, setDone] = useState("");
  const take = (name: string, make: () => string, close: () => void): void => {
    void copyText(make()).then(() => {
      setDone(name);
      window.setTimeout(() => setDone(""), 1500);
    });
    close();
  };
  return (
    <Popover
      title={title}
      buttonClass="small"
      right={right}
      label={
        <>
          <Icon name={done ? "check" : "copy"} />
          {done ? "Copied" : "Copy"}
          <Icon name="down" />
        </>
      }
    >
      {(close) =>
        items.map(([name, make]) => (
          <button key={name} type="button" class="menu-item" onClick={() => take(name, make, close)}>
            {name}
          </button>
        ))
      }
    </Popover>
  );
}
