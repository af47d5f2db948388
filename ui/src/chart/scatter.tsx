/** Traces as points: when they began, how long they took (logarithmic). Failed ones are crosses, not only red. */
import { useEffect, useRef, useState } from "preact/hooks";
import { px, useWidth } from "../load.ts";
import { cssColor } from "../palette.ts";
import { scheme, setRange, zone } from "../state.ts";
import { clock, type Range } from "../time.ts";
import { seconds } from "../units.ts";
import { drawAxes, prepare, xTicks, type Box, type Tick } from "./canvas.ts";
import type { TraceSummary } from "../trace.ts";

interface Props {
  traces: readonly TraceSummary[];
  view: Range;
  height: number;
  selected: string;
  onOpen: (id: string) => void;
}

const REACH_PX = 14;
const CLICK_PX = 5;

const boxOf = (width: number, height: number): Box => ({ left: 54, top: 10, width: Math.max(1, width - 70), height: height - 34 });

interface Dot {
  t: TraceSummary;
  x: number;
  y: number;
}

/** Decades that enclose all durations, in seconds. */
function decades(traces: readonly TraceSummary[]): [number, number] {
  const all = traces.map((t) => Math.max(1e-6, t.duration / 1e6));
  const low = Math.floor(Math.log10(Math.min(...all)));
  const high = Math.ceil(Math.log10(Math.max(...all) * 1.001));
  return [low, Math.max(high, low + 1)];
}

function layout(props: Props, box: Box): { dots: Dot[]; ticks: Tick[] } {
  if (props.traces.length === 0) return { dots: [], ticks: [] };
  const [low, high] = decades(props.traces);
  const yAt = (s: number): number => box.top + box.height * (1 - (Math.log10(s) - low) / (high - low));
  const xAt = (us: number): number => box.left + ((us / 1000 - props.view.from) / (props.view.to - props.view.from)) * box.width;
  const dots = props.traces.map((t) => ({ t, x: xAt(t.start), y: yAt(Math.max(1e-6, t.duration / 1e6)) }));
  const steps = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  const fine = high - low === 1 ? [10 ** low * 2, 10 ** low * 5] : [];
  return { dots, ticks: [...steps, ...fine].map((s) => ({ at: yAt(s), text: seconds(s, 2) })) };
}

function draw(canvas: HTMLCanvasElement, props: Props, box: Box, width: number): void {
  const ctx = prepare(canvas, width, props.height);
  if (!ctx) return;
  const { dots, ticks } = layout(props, box);
  drawAxes(ctx, box, xTicks(box, props.view, zone.value), ticks);
  for (const d of [...dots].sort((a, b) => a.t.errors - b.t.errors)) mark(ctx, d, d.t.id === props.selected);
}

function mark(ctx: CanvasRenderingContext2D, d: Dot, selected: boolean): void {
  const r = Math.min(7, 2.5 + Math.log2(d.t.spans + 1) / 2);
  ctx.lineWidth = 1.75;
  ctx.beginPath();
  if (d.t.errors > 0) {
    ctx.strokeStyle = cssColor("--error");
    ctx.moveTo(d.x - r, d.y - r);
    ctx.lineTo(d.x + r, d.y + r);
    ctx.moveTo(d.x + r, d.y - r);
    ctx.lineTo(d.x - r, d.y + r);
    ctx.stroke();
  } else {
    ctx.fillStyle = cssColor("--accent");
    ctx.globalAlpha = 0.75;
    ctx.arc(d.x, d.y, r, 0, 2 * Math.PI);
    ctx.fill();
    ctx.globalAlpha = 1;
  }
  if (!selected) return;
  ctx.beginPath();
  ctx.strokeStyle = cssColor("--text-1");
  ctx.arc(d.x, d.y, r + 4, 0, 2 * Math.PI);
  ctx.stroke();
}

/** The chart; a click opens the nearest trace, a drag zooms. */
export function Scatter(props: Props) {
  const [root, width] = useWidth<HTMLDivElement>();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [near, setNear] = useState<Dot | null>(null);
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
  const box = boxOf(width, props.height);
  useEffect(() => {
    if (canvas.current && width > 0) draw(canvas.current, { ...props, selected: near?.t.id ?? props.selected }, box, width);
  }, [props.traces, props.view.from, props.view.to, props.selected, near?.t.id, width, scheme.value, zone.value]);
  const point = (e: PointerEvent): { x: number; y: number } => {
    const r = (e.currentTarget as Element).getBoundingClientRect();
    return { x: e.clientX - r.left, y: e.clientY - r.top };
  };
  const nearest = (p: { x: number; y: number }): Dot | null => {
    let best: Dot | null = null;
    let least = REACH_PX;
    for (const d of layout(props, box).dots) {
      const distance = Math.hypot(d.x - p.x, d.y - p.y);
      if (distance < least) [best, least] = [d, distance];
    }
    return best;
  };
  const dragged = drag !== null && Math.abs(drag.to - drag.from) >= CLICK_PX;
  const timeAt = (x: number): number => props.view.from + ((x - box.left) / box.width) * (props.view.to - props.view.from);
  return (
    <div class="chart scatter" ref={root} style={{ height: px(props.height) }}>
      <canvas
        ref={canvas}
        role="img"
        aria-label={`Durations of ${props.traces.length} traces over time, ${props.traces.filter((t) => t.errors > 0).length} with errors. The table below lists them.`}
        style={{ cursor: near ? "pointer" : "crosshair" }}
        onPointerDown={(e) => {
          e.currentTarget.setPointerCapture(e.pointerId);
          setDrag({ from: point(e).x, to: point(e).x });
        }}
        onPointerMove={(e) => {
          const p = point(e);
          setNear(nearest(p));
          if (drag) setDrag({ ...drag, to: p.x });
        }}
        onPointerUp={(e) => {
          const hit = nearest(point(e));
          if (dragged && drag) setRange({ from: timeAt(Math.min(drag.from, drag.to)), to: timeAt(Math.max(drag.from, drag.to)) });
          else if (hit) props.onOpen(hit.t.id);
          setDrag(null);
        }}
        onPointerLeave={() => setNear(null)}
      />
      {dragged && drag && <div class="drag" style={{ left: px(Math.min(drag.from, drag.to)), width: px(Math.abs(drag.to - drag.from)), top: px(box.top), height: px(box.height) }} />}
      {near && !dragged && (
        <div class="tip" style={{ ...(near.x > width / 2 ? { right: px(width - near.x + 12) } : { left: px(near.x + 12) }), top: px(Math.max(0, near.y - 30)) }}>
          <div class="when">
            <span>{clock(near.t.start / 1000, zone.value, true)}</span>
            <span>{near.t.errors > 0 ? `${near.t.errors} failed` : ""}</span>
          </div>
          <div>
            {near.t.service}: {near.t.operation}
          </div>
          <strong>{seconds(near.t.duration / 1e6)}</strong> <span class="faint">{near.t.spans} spans</span>
        </div>
      )}
    </div>
  );
}
