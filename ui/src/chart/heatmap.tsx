/**
 * Heat map of a histogram over time on an own canvas: one hue, brighter (in the dark theme) or darker (in the light one)
 * the more observations a cell has. A drag zooms, diamonds are exemplars and open their traces.
 */
import "../core.ts";
import { useEffect, useRef, useState } from "preact/hooks";
import { px, useWidth } from "../load.ts";
import { cssColor } from "../palette.ts";
import { scheme, setRange, zone } from "../state.ts";
import { dateTime, type Range } from "../time.ts";
import { format, type Unit } from "../units.ts";
import type { Exemplar } from "../api_metrics.ts";
import { drawAxes, prepare, xTicks, type Box, type Tick } from "./canvas.ts";
import { diamondPath, thinned, type Diamond } from "./exemplars.ts";
import { rowOf, withinRow, type Heat } from "./heat.ts";

interface Props {
  heat: Heat;
  /** Seconds between columns. */
  step: number;
  view: Range;
  unit: Unit;
  height: number;
  label: string;
  exemplars: readonly Exemplar[];
  onOpen: (e: Exemplar) => void;
}

const TICK_ROWS_PX = 22;
const REACH_PX = 9;
const CLICK_PX = 5;
const STOPS = 64;

const boxOf = (width: number, height: number): Box => ({ left: 62, top: 8, width: Math.max(1, width - 74), height: height - 32 });

interface Cell {
  row: number;
  column: number;
}

/** The ramp of the theme: from the surface over the accent to the strongest text, as CSS colours. */
function ramp(): string[] {
  const dark = scheme.value === "dark";
  const [low, middle, high] = dark ? ["#16283a", "#3f8fcb", "#f2f9ff"] : ["#dbe9f7", "#3b7cc9", "#07234d"];
  return Array.from({ length: STOPS }, (_, i) => {
    const f = i / (STOPS - 1);
    return f < 0.5 ? mixed(low ?? "", middle ?? "", f * 2) : mixed(middle ?? "", high ?? "", f * 2 - 1);
  });
}

function mixed(a: string, b: string, f: number): string {
  const channel = (hex: string, i: number): number => parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
  return `rgb(${[0, 1, 2].map((i) => Math.round(channel(a, i) * (1 - f) + channel(b, i) * f)).join(" ")})`;
}

/** Place on the ramp: the square root keeps rare cells visible beside full ones. */
const level = (count: number, max: number): number => Math.min(STOPS - 1, Math.floor(Math.sqrt(count / max) * (STOPS - 0.001)));

function yTicks(p: Props, box: Box): Tick[] {
  const n = p.heat.rows.length;
  const row = box.height / Math.max(1, n);
  const every = Math.max(1, Math.ceil(TICK_ROWS_PX / row));
  const ticks: Tick[] = [];
  for (let i = every - 1; i < n; i += every) {
    const upper = p.heat.rows[i]?.upper ?? 0;
    ticks.push({ at: box.top + box.height - (i + 1) * row, text: Number.isFinite(upper) ? format(upper, p.unit, 3) : "+Inf" });
  }
  return ticks;
}

/** Left edge of a column: its counts are of the step before its time. */
const xOf = (p: Props, box: Box, seconds: number): number => box.left + ((seconds * 1000 - p.view.from) / (p.view.to - p.view.from)) * box.width;

function placed(p: Props, box: Box): Diamond[] {
  const row = box.height / Math.max(1, p.heat.rows.length);
  const all = p.exemplars.flatMap((exemplar): Diamond[] => {
    const x = xOf(p, box, exemplar.at);
    const i = rowOf(p.heat, exemplar.value);
    const r = p.heat.rows[i];
    if (!r || x < box.left || x > box.left + box.width) return [];
    return [{ exemplar, x, y: box.top + box.height - (i + withinRow(r, exemplar.value)) * row }];
  });
  return thinned(all);
}

function draw(canvas: HTMLCanvasElement, p: Props, box: Box, width: number): void {
  const ctx = prepare(canvas, width, p.height);
  if (!ctx) return;
  const colors = ramp();
  const row = box.height / Math.max(1, p.heat.rows.length);
  ctx.save();
  ctx.beginPath();
  ctx.rect(box.left, box.top, box.width, box.height);
  ctx.clip();
  p.heat.counts.forEach((line, i) => {
    const y = box.top + box.height - (i + 1) * row;
    line.forEach((count, c) => {
      if (!(count > 0)) return;
      const right = xOf(p, box, p.heat.times[c] ?? 0);
      const left = xOf(p, box, (p.heat.times[c] ?? 0) - p.step);
      ctx.fillStyle = colors[level(count, p.heat.max)] ?? "";
      // Gaps between cells only where cells are wide enough to have them.
      const gap = right - left > 4 ? 1 : 0;
      ctx.fillRect(left, y, right - left - gap + (gap ? 0 : 0.5), row - (row > 6 ? 1 : -0.5));
    });
  });
  ctx.restore();
  drawAxes(ctx, box, xTicks(box, p.view, zone.value), yTicks(p, box));
  for (const d of placed(p, box)) {
    diamondPath(ctx, d.x, d.y, 4.5);
    ctx.strokeStyle = cssColor("--surface");
    ctx.fillStyle = cssColor("--series-2");
    ctx.lineWidth = 1.5;
    ctx.stroke();
    ctx.fill();
  }
}

/** The picture with its key. */
export function Heatmap(p: Props) {
  const [root, width] = useWidth<HTMLDivElement>();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [cell, setCell] = useState<Cell | null>(null);
  const [near, setNear] = useState<Diamond | null>(null);
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
  const box = boxOf(width, p.height);
  useEffect(() => {
    if (canvas.current && width > 0) draw(canvas.current, p, box, width);
  }, [p.heat, p.view.from, p.view.to, p.exemplars, p.unit, width, p.height, scheme.value, zone.value]);
  const at = (e: PointerEvent): { x: number; y: number } => {
    const r = (e.currentTarget as Element).getBoundingClientRect();
    return { x: e.clientX - r.left, y: e.clientY - r.top };
  };
  const timeAt = (x: number): number => p.view.from + ((x - box.left) / box.width) * (p.view.to - p.view.from);
  const point = (e: PointerEvent): void => {
    const { x, y } = at(e);
    if (drag) setDrag({ ...drag, to: x });
    setNear(placed(p, box).find((d) => Math.hypot(d.x - x, d.y - y) < REACH_PX) ?? null);
    const row = Math.floor(((box.top + box.height - y) / box.height) * p.heat.rows.length);
    const column = Math.ceil((timeAt(x) / 1000 - (p.heat.times[0] ?? 0)) / p.step - 1e-9);
    setCell(p.heat.counts[row]?.[column] !== undefined ? { row, column } : null);
  };
  const dragged = drag !== null && Math.abs(drag.to - drag.from) >= CLICK_PX;
  const release = (): void => {
    if (dragged && drag) setRange({ from: timeAt(Math.min(drag.from, drag.to)), to: timeAt(Math.max(drag.from, drag.to)) });
    else if (near?.exemplar.trace) p.onOpen(near.exemplar);
    setDrag(null);
  };
  return (
    <div>
      <div class="chart heatmap" ref={root} style={{ height: px(p.height) }}>
        <canvas
          ref={canvas}
          role="img"
          aria-label={spoken(p)}
          style={{ cursor: near?.exemplar.trace ? "pointer" : "crosshair" }}
          onPointerDown={(e) => {
            e.currentTarget.setPointerCapture(e.pointerId);
            setDrag({ from: at(e).x, to: at(e).x });
          }}
          onPointerMove={point}
          onPointerUp={release}
          onPointerLeave={() => (setCell(null), setNear(null))}
        />
        {dragged && drag && <div class="drag" style={{ left: px(Math.min(drag.from, drag.to)), width: px(Math.abs(drag.to - drag.from)), top: px(box.top), height: px(box.height) }} />}
        {near && !dragged && <ExemplarTip diamond={near} width={width} unit={p.unit} />}
        {cell && !near && !dragged && <CellTip p={p} cell={cell} box={box} width={width} />}
      </div>
      <Key max={p.heat.max} />
    </div>
  );
}

function spoken(p: Props): string {
  const { rows, counts } = p.heat;
  const totals = counts.map((line) => line.reduce((a, b) => a + b, 0));
  const most = rows[totals.indexOf(Math.max(...totals))];
  if (!most) return `${p.label}. No observations.`;
  return `${p.label} as a heat map: ${rows.length} ranges of values over time, most observations between ${format(most.lower, p.unit)} and ${format(most.upper, p.unit)}, ${p.exemplars.length} exemplars. The table view lists the values.`;
}

function CellTip({ p, cell, box, width }: { p: Props; cell: Cell; box: Box; width: number }) {
  const r = p.heat.rows[cell.row];
  const seconds = p.heat.times[cell.column] ?? 0;
  const count = p.heat.counts[cell.row]?.[cell.column] ?? 0;
  const all = p.heat.counts.reduce((sum, line) => sum + (line[cell.column] ?? 0), 0);
  const x = xOf(p, box, seconds);
  const top = box.top + box.height * (1 - (cell.row + 1) / p.heat.rows.length);
  return (
    <div class="tip" style={{ ...(x > width / 2 ? { right: px(width - x + 14) } : { left: px(x + 14) }), top: px(Math.max(0, Math.min(top, p.height - 90))) }}>
      <div class="when">{dateTime(seconds * 1000, zone.value)}</div>
      <div>
        {format(r?.lower, p.unit)} … {format(r?.upper, p.unit)}
      </div>
      <div>
        <strong>{format(count, "rate")}</strong> <span class="dim">{all > 0 ? `${format(count / all, "ratio")} of this moment` : ""}</span>
      </div>
    </div>
  );
}

/** What an exemplar is: its value, its time, its labels. */
export function ExemplarTip({ diamond: d, width, unit }: { diamond: Diamond; width: number; unit: Unit }) {
  const e = d.exemplar;
  const labels = Object.entries({ ...e.series, ...e.labels }).filter(([k]) => k !== "__name__" && k !== "le");
  return (
    <div class="tip exemplar-tip" style={{ ...(d.x > width / 2 ? { right: px(width - d.x + 12) } : { left: px(d.x + 12) }), top: px(Math.max(0, d.y - 20)) }}>
      <div class="when">
        <strong>Exemplar</strong>
        <span>{dateTime(e.at * 1000, zone.value, true)}</span>
      </div>
      <dl>
        <dt>value</dt>
        <dd>{format(e.value, unit)}</dd>
        {labels.map(([k, v]) => (
          <>
            <dt>{k}</dt>
            <dd class="mono">{v}</dd>
          </>
        ))}
      </dl>
      <div class="more">{e.trace ? "Click opens the trace" : "Names no trace"}</div>
    </div>
  );
}

function Key({ max }: { max: number }) {
  const colors = ramp();
  return (
    <div class="heat-key">
      <span>0</span>
      <span class="bar" style={{ background: `linear-gradient(to right, ${[0, 16, 32, 48, 63].map((i) => colors[i]).join(",")})` }} />
      <span>{format(max, "rate")} in one cell</span>
      <span class="dim">square root scale</span>
    </div>
  );
}
