/** The list of lines: fixed rows of 22 px, only those in view are in the document. */
import { memo } from "../widgets/memo.ts";
import { useEffect, useRef, useState } from "preact/hooks";
import type { LogLine } from "../api.ts";
import { px } from "../load.ts";
import { readLine } from "../logline.ts";
import { zone } from "../state.ts";
import { clock, dateTime } from "../time.ts";
import { SafeText } from "../widgets/basics.tsx";

const ROW = 22;
const OVERSCAN = 12;

/** Wrapped rows have no fixed height, so all of them must be in the document. */
const WRAPPED_MAX = 500;

/** What a row can show of a line: the rest stands in the side panel. */
const ROW_CHARS = 600;

interface RowProps {
  line: LogLine;
  top: number | null;
  selected: boolean;
  marks: readonly string[];
  onOpen: (line: LogLine) => void;
}

const Row = memo(function Row({ line, top, selected, marks, onOpen }: RowProps) {
  const r = readLine(line);
  return (
    <div
      class={`log-row l-${r.level}`}
      role="row"
      aria-selected={selected}
      style={{ ...(top === null ? {} : { top: px(top) }), "--c": `var(--level-${r.level})` }}
      onClick={() => !window.getSelection()?.toString() && onOpen(line)}
    >
      <span class="time" role="cell" title={dateTime(line.ms, zone.value, true)}>
        {clock(line.ms, zone.value, true)}
      </span>
      <span class="level" role="cell">
        {r.level === "other" ? "" : r.level}
      </span>
      <span class="svc clip" role="cell">
        <SafeText text={r.service} />
      </span>
      <span class={`msg ${top === null ? "" : "clip grow"}`} role="cell">
        <SafeText text={r.message.slice(0, top === null ? 10_000 : ROW_CHARS)} marks={marks} />
        {r.extra && (
          <span class="extra">
            {"  "}
            <SafeText text={r.extra.slice(0, ROW_CHARS)} marks={marks} />
          </span>
        )}
      </span>
    </div>
  );
});

interface Props {
  rows: readonly LogLine[];
  selected: LogLine | undefined;
  wrap: boolean;
  marks: readonly string[];
  onOpen: (line: LogLine) => void;
  /** Told whether the newest line is in view. */
  onTop: (atTop: boolean) => void;
}

/** The list. The selected row is kept in view. */
export function LogList({ rows, selected, wrap, marks, onOpen, onTop }: Props) {
  const scroll = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const index = selected ? rows.indexOf(selected) : -1;

  useEffect(() => {
    const e = scroll.current;
    if (!e) return;
    const measure = (): void => setView({ top: e.scrollTop, height: e.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(e);
    measure();
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const e = scroll.current;
    if (!e || index < 0 || wrap) return;
    const y = index * ROW;
    if (y < e.scrollTop || y + ROW > e.scrollTop + e.clientHeight) e.scrollTop = y - e.clientHeight / 2;
  }, [index, wrap]);

  const first = Math.max(0, Math.floor(view.top / ROW) - OVERSCAN);
  const count = Math.ceil(view.height / ROW) + 2 * OVERSCAN;
  const shown = wrap ? rows.slice(0, WRAPPED_MAX) : rows.slice(first, first + count);
  return (
    <div
      class={`log-scroll ${wrap ? "wrap" : ""}`}
      ref={scroll}
      tabIndex={0}
      role="table"
      aria-label="Log lines, newest first"
      aria-rowcount={rows.length}
      onScroll={(e) => {
        const { scrollTop, clientHeight } = e.currentTarget;
        setView({ top: scrollTop, height: clientHeight });
        onTop(scrollTop < ROW);
      }}
    >
      <div role="rowgroup" style={wrap ? {} : { height: px(rows.length * ROW), position: "relative" }}>
        {shown.map((line, i) => (
          <Row
            key={`${line.ns} ${first + i}`}
            line={line}
            top={wrap ? null : (first + i) * ROW}
            selected={line === selected}
            marks={marks}
            onOpen={onOpen}
          />
        ))}
      </div>
      {wrap && rows.length > WRAPPED_MAX && <div class="state">Wrapped lines are limited to {WRAPPED_MAX}; unwrap to see all {rows.length}</div>}
    </div>
  );
}
