/** Ground for the small canvas charts: crisp pixels, a plot box, axes in the same voice as uPlot's. */
import { cssColor } from "../palette.ts";
import { axisTick, timeTicks, type Range, type Zone } from "../time.ts";

/** Inner rectangle of a chart in CSS pixels. */
export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

const FONT = "11px system-ui, sans-serif";
const TICK_SPACE = 84;

/** Sizes the canvas for the screen's density and returns a cleared context that counts in CSS pixels. */
export function prepare(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D | null {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const ctx = canvas.getContext("2d");
  if (!ctx) return null;
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  ctx.font = FONT;
  return ctx;
}

/** A label and its place on an axis, in CSS pixels. */
export interface Tick {
  at: number;
  text: string;
}

/** Ticks of a time axis over the box. */
export function xTicks(box: Box, view: Range, tz: Zone): Tick[] {
  const { at, stepS } = timeTicks(view, Math.max(1, Math.floor(box.width / TICK_SPACE)), tz);
  return at.map((t) => ({ at: box.left + ((t - view.from) / (view.to - view.from)) * box.width, text: axisTick(t, stepS, tz) }));
}

/** Draws time labels below the box and value labels with gridlines to its left. */
export function drawAxes(ctx: CanvasRenderingContext2D, box: Box, xs: readonly Tick[], ys: readonly Tick[]): void {
  ctx.fillStyle = cssColor("--text-3");
  ctx.strokeStyle = cssColor("--border-soft");
  ctx.lineWidth = 1;
  ctx.textBaseline = "middle";
  ctx.textAlign = "right";
  for (const y of ys) {
    ctx.beginPath();
    ctx.moveTo(box.left, Math.round(y.at) + 0.5);
    ctx.lineTo(box.left + box.width, Math.round(y.at) + 0.5);
    ctx.stroke();
    ctx.fillText(y.text, box.left - 6, y.at);
  }
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  for (const x of xs) {
    const half = ctx.measureText(x.text).width / 2;
    if (x.at - half >= 0 && x.at + half <= box.left + box.width + 10) ctx.fillText(x.text, x.at, box.top + box.height + 6);
  }
}

/** Smallest of 1, 2, 5 times a power of ten that is not below `v`. */
export function niceCeil(v: number): number {
  if (v <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(v));
  return [1, 2, 5, 10].map((m) => m * power).find((m) => m >= v * 0.999) ?? v;
}
