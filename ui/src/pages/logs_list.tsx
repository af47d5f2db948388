/**
 * The list of lines. Unwrapped rows are 22 px high and only those in view are in the document, in slots that are used
 * again; wrapped rows have no fixed height, so a stretch of them stands in the document and moves along.
 */
import { memo } from "../widgets/memo.ts";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { LogLine } from "../api_logs.ts";
import { px } from "../load.ts";
import { fieldOf, readLine } from "../logline.ts";
import { zone } from "../state.ts";
import { clock, dateTime, type Zone } from "../time.ts";
import { SafeText } from "../widgets/basics.tsx";
import { Icon } from "../widgets/icons.tsx";
import { cut, LineText, LongText } from "./logs_text.tsx";
import { rowAt, total, type Window } from "./logs_window.ts";

const ROW = 22;
const HEADER = 26;
const OVERSCAN = 16;

/** Rows the scroll bar spans: browsers draw nothing beyond some ten million pixels. */
const SPAN_ROWS = 400_000;

/** What a row can show of a line: the rest stands in the side panel. */
const ROW_CHARS = 600;
const WRAPPED_CHARS = 4000;
const CELL_CHARS = 200;

/** Wrapped rows in the document, and how many of them change at once. */
const WRAPPED_ROWS = 240;
const WRAPPED_STEP = 80;

/** How stamps are written. */
export type StampMode = "time" | "date" | "ns";

/** How rows look. */
export interface Look {
  columns: readonly string[];
  stamp: StampMode;
  /** The line as it came instead of its message and fields. */
  raw: boolean;
  marks: readonly string[];
}

/** A stamp in the chosen form. */
export function stampText(line: LogLine, mode: StampMode, tz: Zone): string {
  if (mode === "ns") return line.ns;
  return mode === "date" ? dateTime(line.ms, tz, true) : clock(line.ms, tz, true);
}

interface RowProps {
  line: LogLine | undefined;
  row: number;
  top: number | null;
  selected: boolean;
  look: Look;
  tz: Zone;
  onOpen: (row: number) => void;
}

const Row = memo(function Row({ line, row, top, selected, look, tz, onOpen }: RowProps) {
  const style = top === null ? {} : { top: px(top) };
  if (!line) return <div class="log-row waiting" role="row" aria-rowindex={row + 1} style={style} />;
  const r = readLine(line);
  const wrapped = top === null;
  const max = wrapped ? WRAPPED_CHARS : ROW_CHARS;
  const message = look.raw ? line.line : r.message;
  return (
    <div
      class={`log-row l-${r.level}`}
      role="row"
      aria-rowindex={row + 1}
      aria-selected={selected}
      data-row={row}
      style={style}
      onClick={() => !window.getSelection()?.toString() && onOpen(row)}
    >
      <span class="time" role="cell" title={dateTime(line.ms, tz, true)}>
        {stampText(line, look.stamp, tz)}
      </span>
      <span class="level" role="cell">
        {r.level === "other" ? "" : r.level}
      </span>
      {!look.columns.includes("service_name") && (
        <span class="svc clip" role="cell">
          <SafeText text={r.service} />
        </span>
      )}
      {look.columns.map((name) => (
        <span class="col clip" role="cell" key={name}>
          <SafeText text={cut(fieldOf(line, name), CELL_CHARS)} />
        </span>
      ))}
      <span class={`msg ${wrapped ? "" : "clip grow"}`} role="cell">
        {wrapped ? <LongText text={message} marks={look.marks} max={max} /> : <LineText text={cut(message, max)} marks={look.marks} />}
        {!look.raw && r.extra && (
          <span class="extra">
            {"  "}
            <LineText text={cut(r.extra, max)} marks={look.marks} />
          </span>
        )}
      </span>
    </div>
  );
});

interface Props {
  window: Window;
  /** Changes when the list is another one: it then stands at `anchor` or at the top. */
  origin: unknown;
  /** Row to begin at, -1 for the newest. */
  anchor: number;
  selected: number;
  /** New rows push the list instead of waiting above it. */
  follow: boolean;
  look: Look;
  onOpen: (row: number) => void;
  onView: (from: number, to: number) => void;
  /** Told whether the newest line is in view. */
  onTop: (atTop: boolean) => void;
  onDropColumn: (name: string) => void;
}

function Header({ look, onDrop }: { look: Look; onDrop: (name: string) => void }) {
  return (
    <div class="log-row head" role="row">
      <span class={`time ${look.stamp}`} role="columnheader">
        time
      </span>
      <span class="level" role="columnheader">
        level
      </span>
      {!look.columns.includes("service_name") && (
        <span class="svc" role="columnheader">
          service
        </span>
      )}
      {look.columns.map((name) => (
        <span class="col" role="columnheader" key={name}>
          <span class="clip">
            <SafeText text={name} />
          </span>
          <button type="button" title={`Take the column ${name} away`} aria-label={`Take the column ${name} away`} onClick={() => onDrop(name)}>
            <Icon name="close" />
          </button>
        </span>
      ))}
      <span class="msg grow" role="columnheader">
        line
      </span>
    </div>
  );
}

/** The list with rows of one height. The selected row is kept in view. */
export function LogList(p: Props) {
  const scroll = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600, shift: 0 });
  const rows = total(p.window);
  const shift = Math.min(view.shift, Math.max(0, rows - 1));
  const head = p.look.columns.length > 0 ? HEADER : 0;
  const first = Math.max(0, shift + Math.floor(view.top / ROW) - OVERSCAN);
  const count = Math.min(rows - first, Math.ceil(view.height / ROW) + 2 * OVERSCAN);
  // Slots are used again: a row that leaves gives its elements to one that comes.
  const slots = Math.ceil(view.height / ROW) + 2 * OVERSCAN;

  const measure = (): void => {
    const e = scroll.current;
    if (e) setView((v) => moved(v, e, rows));
  };
  useEffect(() => {
    const e = scroll.current;
    if (!e) return;
    const observer = new ResizeObserver(measure);
    observer.observe(e);
    return () => observer.disconnect();
  }, []);
  const show = (row: number): void => {
    const e = scroll.current;
    if (!e || row < 0) return;
    const base = row >= shift && row < shift + SPAN_ROWS ? shift : Math.max(0, row - SPAN_ROWS / 2);
    const y = (row - base) * ROW;
    if (base === shift && y >= e.scrollTop && y + ROW + head <= e.scrollTop + e.clientHeight) return;
    setView({ top: Math.max(0, y - e.clientHeight / 2), height: e.clientHeight, shift: base });
    requestAnimationFrame(() => (e.scrollTop = Math.max(0, y - e.clientHeight / 2)));
  };
  const before = useRef({ origin: p.origin, prepended: p.window.prepended });
  useLayoutEffect(() => {
    const e = scroll.current;
    const old = before.current;
    before.current = { origin: p.origin, prepended: p.window.prepended };
    if (!e) return;
    if (old.origin !== p.origin) {
      setView({ top: 0, height: e.clientHeight, shift: 0 });
      e.scrollTop = 0;
      if (p.anchor >= 0) requestAnimationFrame(() => show(p.anchor));
    } else if (p.window.prepended > old.prepended && !p.follow) {
      e.scrollTop += (p.window.prepended - old.prepended) * ROW;
      measure();
    }
  }, [p.origin, p.window.prepended]);
  useEffect(() => show(p.selected), [p.selected]);
  useEffect(() => {
    if (p.anchor >= 0 && p.selected < 0) show(p.anchor);
  }, []);
  useEffect(() => p.onView(first + OVERSCAN, first + count - OVERSCAN), [first, count, p.window]);

  const tz = zone.value;
  const span = Math.min(rows - shift, SPAN_ROWS);
  return (
    <div
      class={`log-scroll s-${p.look.stamp} ${head > 0 ? "cols" : ""}`}
      style={{ "--cols": p.look.columns.length }}
      ref={scroll}
      tabIndex={0}
      role="table"
      aria-label="Log lines, newest first"
      aria-rowcount={rows}
      onScroll={(e) => {
        measure();
        p.onTop(shift === 0 && e.currentTarget.scrollTop < ROW);
      }}
    >
      {head > 0 && <Header look={p.look} onDrop={p.onDropColumn} />}
      <div role="rowgroup" style={{ height: px(span * ROW), position: "relative" }}>
        {Array.from({ length: Math.max(0, count) }, (_, i) => {
          const row = first + i;
          return <Row key={row % slots} line={rowAt(p.window, row)} row={row} top={(row - shift) * ROW} selected={row === p.selected} look={p.look} tz={tz} onOpen={p.onOpen} />;
        })}
      </div>
    </div>
  );
}

interface View {
  top: number;
  height: number;
  /** Row at the upper end of what the scroll bar spans. */
  shift: number;
}

/** The view after scrolling; near an end of the span the span moves and the bar with it. */
function moved(v: View, e: HTMLElement, rows: number): View {
  const height = e.clientHeight;
  const middle = Math.floor((e.scrollTop + height / 2) / ROW);
  const by = SPAN_ROWS / 2;
  const down = middle > SPAN_ROWS * 0.9 && rows > v.shift + SPAN_ROWS;
  const up = middle < SPAN_ROWS * 0.1 && v.shift > 0;
  if (down || up) {
    const shift = down ? v.shift + by : Math.max(0, v.shift - by);
    e.scrollTop -= (shift - v.shift) * ROW;
    return { top: e.scrollTop, height, shift };
  }
  return v.top === e.scrollTop && v.height === height ? v : { top: e.scrollTop, height, shift: v.shift };
}

/** The list with wrapped lines. */
export function WrappedList(p: Props) {
  const scroll = useRef<HTMLDivElement>(null);
  const rows = total(p.window);
  const [start, setStart] = useState(() => Math.max(0, Math.max(p.anchor, p.selected) - WRAPPED_ROWS / 2));
  const from = Math.min(start, Math.max(0, rows - 1));
  const to = Math.min(rows, from + WRAPPED_ROWS);
  /** A row that stays, and where it stood: nothing may jump when rows come and go above it. */
  const kept = useRef<{ row: number; top: number } | null>(null);

  const topOf = (row: number): number | undefined => scroll.current?.querySelector(`[data-row="${row}"]`)?.getBoundingClientRect().top;
  const move = (next: number): void => {
    const at = Math.max(0, Math.min(next, rows - WRAPPED_ROWS));
    if (at === from) return;
    const row = at > from ? at + WRAPPED_STEP : from + 1;
    const top = topOf(row);
    kept.current = top === undefined ? null : { row, top };
    setStart(at);
  };
  useLayoutEffect(() => {
    const k = kept.current;
    const now = k ? topOf(k.row) : undefined;
    if (scroll.current && k && now !== undefined) scroll.current.scrollTop += now - k.top;
    kept.current = null;
  }, [from]);
  const before = useRef({ origin: p.origin, prepended: p.window.prepended });
  useLayoutEffect(() => {
    const old = before.current;
    before.current = { origin: p.origin, prepended: p.window.prepended };
    if (old.origin !== p.origin) {
      setStart(Math.max(0, p.anchor - WRAPPED_ROWS / 2));
      if (scroll.current && p.anchor < 0) scroll.current.scrollTop = 0;
    } else if (p.window.prepended > old.prepended && !p.follow) setStart(from + p.window.prepended - old.prepended);
  }, [p.origin, p.window.prepended]);
  useEffect(() => {
    const row = Math.max(p.selected, -1) >= 0 ? p.selected : p.anchor;
    if (row < 0) return;
    if (row < from || row >= to) return setStart(Math.max(0, row - WRAPPED_ROWS / 2));
    scroll.current?.querySelector(`[data-row="${row}"]`)?.scrollIntoView({ block: "nearest" });
  }, [p.selected, p.anchor, from]);
  useEffect(() => p.onView(from, to), [from, to, p.window]);

  const tz = zone.value;
  return (
    <div
      class={`log-scroll wrap s-${p.look.stamp}`}
      ref={scroll}
      tabIndex={0}
      role="table"
      aria-label="Log lines, newest first"
      aria-rowcount={rows}
      onScroll={(e) => {
        const { scrollTop, scrollHeight, clientHeight } = e.currentTarget;
        if (scrollHeight - scrollTop - clientHeight < clientHeight && to < rows) move(from + WRAPPED_STEP);
        else if (scrollTop < clientHeight && from > 0) move(from - WRAPPED_STEP);
        p.onTop(from === 0 && scrollTop < ROW);
      }}
    >
      {p.look.columns.length > 0 && <Header look={p.look} onDrop={p.onDropColumn} />}
      <div role="rowgroup">
        {Array.from({ length: Math.max(0, to - from) }, (_, i) => (
          <Row key={p.window.prepended * -1 + from + i} line={rowAt(p.window, from + i)} row={from + i} top={null} selected={from + i === p.selected} look={p.look} tz={tz} onOpen={p.onOpen} />
        ))}
      </div>
    </div>
  );
}
