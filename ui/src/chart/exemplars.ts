/**
 * Exemplars as diamonds over a line chart: each is one observation whose trace can be opened. Their value is their
 * height where the chart shows such values (quantiles, averages, the values themselves); over rates, which are another
 * quantity, they sit on the line of that moment.
 */
import "../core.ts";
import type uPlot from "uplot";
import { cssColor } from "../palette.ts";
import type { Exemplar } from "../api_metrics.ts";
import type { Layer } from "./line.tsx";

/** Of diamonds in one cell of this size only the largest value is drawn. */
const CELL_WIDTH_PX = 26;
const CELL_HEIGHT_PX = 16;
const REACH_PX = 9;
const RADIUS_PX = 4;

/** A diamond's place on the plot, CSS pixels. */
export interface Diamond {
  exemplar: Exemplar;
  x: number;
  y: number;
}

/** Keeps one per cell of the plot, the one with the largest value. */
export function thinned(all: readonly Diamond[]): Diamond[] {
  const cells = new Map<string, Diamond>();
  for (const d of all) {
    const key = `${Math.round(d.x / CELL_WIDTH_PX)} ${Math.round(d.y / CELL_HEIGHT_PX)}`;
    const old = cells.get(key);
    if (!old || d.exemplar.value > old.exemplar.value) cells.set(key, d);
  }
  return [...cells.values()];
}

/** What a layer of exemplars needs. */
export interface ExemplarOptions {
  exemplars: readonly Exemplar[];
  /** Whether the chart's values are of the exemplars' kind. */
  byValue: boolean;
  onHover: (d: Diamond | null) => void;
  onOpen: (e: Exemplar) => void;
}

/** The layer. */
export function exemplarLayer(o: ExemplarOptions): Layer {
  let hovered: Exemplar | null = null;
  const near = (u: uPlot, at: { left: number; top: number }): Diamond | null => {
    let [best, least]: [Diamond | null, number] = [null, REACH_PX];
    for (const d of diamonds(u, o)) {
      const distance = Math.hypot(d.x - at.left, d.y - at.top);
      if (distance < least) [best, least] = [d, distance];
    }
    return best;
  };
  return {
    draw: (u) => diamonds(u, o).forEach((d) => draw(u, d)),
    hover: (u, at) => {
      const d = at ? near(u, at) : null;
      if ((d?.exemplar ?? null) === hovered) return;
      hovered = d?.exemplar ?? null;
      u.over.style.cursor = d?.exemplar.trace ? "pointer" : "";
      o.onHover(d);
    },
    click: (u, at) => {
      const d = near(u, at);
      if (!d?.exemplar.trace) return false;
      o.onOpen(d.exemplar);
      return true;
    },
  };
}

function diamonds(u: uPlot, o: ExemplarOptions): Diamond[] {
  const { clientWidth: width, clientHeight: height } = u.over;
  const placed = o.exemplars.flatMap((exemplar): Diamond[] => {
    const x = u.valToPos(exemplar.at, "x");
    if (!(x >= 0 && x <= width)) return [];
    const y = o.byValue ? u.valToPos(exemplar.value, "y") : onLine(u, exemplar.at);
    // Above or below what the lines span is still worth a look: it sits at the edge.
    return Number.isFinite(y) ? [{ exemplar, x, y: Math.max(RADIUS_PX, Math.min(height - RADIUS_PX, y)) }] : [];
  });
  return thinned(placed);
}

/** Height of the highest line at a time; the foot of the plot where there is none. */
function onLine(u: uPlot, at: number): number {
  const index = u.valToIdx(at);
  let highest = -Infinity;
  for (const column of u.data.slice(1)) highest = Math.max(highest, (column as (number | null)[])[index] ?? -Infinity);
  return Number.isFinite(highest) ? u.valToPos(highest, "y") : u.over.clientHeight;
}

function draw(u: uPlot, d: Diamond): void {
  const ratio = devicePixelRatio;
  const { ctx } = u;
  const [x, y, r] = [u.bbox.left + d.x * ratio, u.bbox.top + d.y * ratio, RADIUS_PX * ratio];
  diamondPath(ctx, x, y, r);
  // Hollow and in the text's colour: no series looks like that.
  ctx.fillStyle = cssColor("--surface");
  ctx.strokeStyle = cssColor(d.exemplar.trace ? "--text-1" : "--text-3");
  ctx.lineWidth = 1.25 * ratio;
  ctx.fill();
  ctx.stroke();
}

/** Begins the path of a diamond. */
export function diamondPath(ctx: CanvasRenderingContext2D, x: number, y: number, r: number): void {
  ctx.beginPath();
  ctx.moveTo(x, y - r);
  ctx.lineTo(x + r, y);
  ctx.lineTo(x, y + r);
  ctx.lineTo(x - r, y);
  ctx.closePath();
}
