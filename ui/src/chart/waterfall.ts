/** Draws the bars of a trace: only the rows in view, so that ten thousand spans cost what fifty do. */
import { cssColor } from "../palette.ts";
import type { Node, Stretch, Tree } from "../trace.ts";
import { seconds } from "../units.ts";
import { prepare } from "./canvas.ts";

/** Part of the trace that is shown, in microseconds from its start. */
export interface Window {
  from: number;
  to: number;
}

/** Height of a row in CSS pixels. */
export const ROW = 24;

const BAR = 10;
const FONT = "11px system-ui, sans-serif";

/** Round marks for a ruler over a window, at most `max`. */
export function rulerMarks(w: Window, max: number): number[] {
  const want = (w.to - w.from) / Math.max(1, max);
  const power = 10 ** Math.floor(Math.log10(Math.max(1e-3, want)));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= want) ?? power * 10;
  const out: number[] = [];
  for (let t = Math.ceil(w.from / step) * step; t <= w.to && out.length <= max + 1; t += step) out.push(t);
  return out;
}

interface Rows {
  tree: Tree;
  /** Nodes in view, from the first drawn row on. */
  rows: readonly number[];
  /** Vertical place of the first of them. */
  top: number;
  window: Window;
  color: (service: string) => string;
  critical: ReadonlyMap<number, readonly Stretch[]>;
}

/** Draws the rows in view. */
export function drawRows(canvas: HTMLCanvasElement, width: number, height: number, p: Rows): void {
  const ctx = prepare(canvas, width, height);
  if (!ctx) return;
  const span = Math.max(1e-6, p.window.to - p.window.from);
  const xAt = (us: number): number => ((us - p.window.from) / span) * width;
  ctx.fillStyle = cssColor("--border-soft");
  for (const m of rulerMarks(p.window, Math.floor(width / 110))) ctx.fillRect(Math.round(xAt(m)), 0, 1, height);
  const ink = { text: cssColor("--text-2"), error: cssColor("--error"), strong: cssColor("--text-1") };
  p.rows.forEach((index, i) => {
    const node = p.tree.nodes[index];
    if (node) drawBar(ctx, node, p.top + i * ROW, xAt, width, p, index, ink);
  });
}

interface Ink {
  text: string;
  error: string;
  strong: string;
}

function drawBar(ctx: CanvasRenderingContext2D, n: Node, y: number, xAt: (us: number) => number, width: number, p: Rows, index: number, ink: Ink): void {
  const x0 = Math.max(-2, xAt(n.start));
  const x1 = Math.min(width + 2, xAt(n.start + n.duration));
  const w = Math.max(2, x1 - x0);
  const top = y + (ROW - BAR) / 2;
  ctx.fillStyle = p.color(n.service);
  ctx.fillRect(x0, top, w, BAR);
  if (n.error) {
    ctx.fillStyle = ink.error;
    ctx.fillRect(x0, top - 2, w, 2);
    ctx.fillRect(x0, top + BAR, w, 2);
  }
  ctx.fillStyle = ink.strong;
  for (const s of p.critical.get(index) ?? []) {
    const [a, b] = [Math.max(0, xAt(s.from)), Math.min(width, xAt(s.to))];
    // Below the bar: on it the line would vanish in dark hues.
    if (b > a) ctx.fillRect(a, top + BAR + 3, Math.max(1, b - a), 2);
  }
  for (const e of n.span.logs ?? []) {
    const x = xAt(e.timestamp - p.tree.start);
    ctx.beginPath();
    ctx.moveTo(x, top - 3);
    ctx.lineTo(x + 4, top + BAR / 2);
    ctx.lineTo(x, top + BAR + 3);
    ctx.lineTo(x - 4, top + BAR / 2);
    ctx.fillStyle = n.error ? ink.error : ink.strong;
    ctx.fill();
  }
  label(ctx, seconds(n.duration / 1e6), x0, x0 + w, y, width, ink.text);
}

/** The duration stands right of its bar, left of it when there is no room, inside as the last resort. */
function label(ctx: CanvasRenderingContext2D, text: string, x0: number, x1: number, y: number, width: number, color: string): void {
  ctx.font = FONT;
  ctx.textBaseline = "middle";
  const w = ctx.measureText(text).width;
  const middle = y + ROW / 2 + 0.5;
  ctx.fillStyle = color;
  ctx.textAlign = "left";
  if (x1 + 8 + w <= width) ctx.fillText(text, x1 + 8, middle);
  else if (x0 - 8 - w >= 0) ctx.fillText(text, x0 - 8 - w, middle);
  else {
    ctx.fillStyle = cssColor("--bg");
    ctx.fillText(text, Math.max(4, x0 + 6), middle);
  }
}

/** The whole trace in a strip: one line per span, squeezed to the height. */
export function drawMini(canvas: HTMLCanvasElement, width: number, height: number, tree: Tree, window: Window, color: (service: string) => string): void {
  const ctx = prepare(canvas, width, height);
  if (!ctx) return;
  const line = Math.min(4, (height - 4) / Math.max(1, tree.nodes.length));
  tree.nodes.forEach((n, i) => {
    ctx.fillStyle = n.error ? cssColor("--error") : color(n.service);
    ctx.fillRect((n.start / tree.duration) * width, 2 + i * line, Math.max(1, (n.duration / tree.duration) * width), Math.max(0.5, line - 0.75));
  });
  const [a, b] = [(window.from / tree.duration) * width, (window.to / tree.duration) * width];
  ctx.fillStyle = cssColor("--shade");
  ctx.fillRect(0, 0, a, height);
  ctx.fillRect(b, 0, width - b, height);
}

/** Labels of the ruler above the rows. */
export function drawRuler(canvas: HTMLCanvasElement, width: number, height: number, window: Window): void {
  const ctx = prepare(canvas, width, height);
  if (!ctx) return;
  ctx.font = FONT;
  ctx.fillStyle = cssColor("--text-3");
  ctx.textBaseline = "middle";
  const span = Math.max(1e-6, window.to - window.from);
  for (const m of rulerMarks(window, Math.floor(width / 110))) {
    const x = ((m - window.from) / span) * width;
    const text = seconds(m / 1e6);
    const w = ctx.measureText(text).width;
    if (x + w + 4 <= width) ctx.fillText(text, x + 4, height / 2);
  }
}
