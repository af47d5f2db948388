/**
 * Lines over time on uPlot. Drag zooms, hover shows one sorted tooltip and a crosshair on every chart
 * of the page, a click pins the tooltip so that its text can be copied and its links followed.
 */
import "../core.ts";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { px, useWidth } from "../load.ts";
import { cssColor, DASHES, seriesVar } from "../palette.ts";
import { range, scheme, setRange, zone } from "../state.ts";
import { axisTick, zoomOut, type Range, type Zone } from "../time.ts";
import { format, type Unit } from "../units.ts";
import { nearestIndex, stack, summarize, type ChartData, type Series } from "./data.ts";
import { lazy } from "../widgets/lazy.tsx";
import type { Point, PointLink } from "./tip.tsx";

const Tip = lazy(() => import("./tip.tsx").then((m) => m.Tip));

interface Props {
  data: ChartData;
  /** Visible range; the axis shows all of it, data or not. */
  view: Range;
  unit: Unit;
  height: number;
  links?: (p: Point) => PointLink[];
  /** Keys of the series to draw; all when undefined. */
  only?: ReadonlySet<string> | undefined;
  /** Said to those who cannot see the picture. */
  label: string;
  small?: boolean;
  /** Lines upon each other, filled. */
  stacked?: boolean;
  /** Logarithmic values; what is not above zero is a gap. */
  log?: boolean;
  /** Something drawn over the lines that takes part in pointing. */
  layer?: Layer | undefined;
}

/** Marks over the lines, such as exemplars. */
export interface Layer {
  draw: (u: uPlot) => void;
  /** The pointer moved; `null` when it left. */
  hover: (u: uPlot, at: { left: number; top: number } | null) => void;
  /** True when the click was for the layer. */
  click: (u: uPlot, at: { left: number; top: number }) => boolean;
}

/** A place on the chart by time and series, not by index: a refresh moves the columns under a pinned tooltip. */
interface Hover {
  /** Unix seconds. */
  at: number;
  top: number;
  near: string;
}

/** 1, 2, 4 .. 512 B, KiB, MiB ..: what bytes are counted in. */
const BINARY_INCREMENTS = Array.from({ length: 56 }, (_, i) => 2 ** i);
const sync = uPlot.sync("kenning");

/** The chart. */
export function LineChart(props: Props) {
  const [root, width] = useWidth<HTMLDivElement>();
  const [hover, setHover] = useState<Hover | null>(null);
  const [pin, setPin] = useState<Hover | null>(null);
  const plot = useRef<uPlot | null>(null);
  const pinned = useRef(false);
  pinned.current = pin !== null;
  const shown = useMemo(
    () => (props.only ? props.data.series.filter((s) => props.only?.has(s.key)) : props.data.series),
    [props.data, props.only],
  );
  const columns = useMemo(() => columnsOf(props, shown), [props.data, shown, props.stacked, props.log]);
  const shape = `${width} ${props.height} ${scheme.value} ${zone.value} ${props.unit} ${props.stacked} ${props.log} ${shown.map((s) => s.key).join("\n")}`;
  const layer = useRef(props.layer);
  layer.current = props.layer;

  useEffect(() => {
    const host = root.current;
    if (!host || width === 0) return;
    const handlers: Handlers = { hover: (h) => !pinned.current && setHover(h), click: (h) => setPin((old) => (old ? null : h)), layer: () => layer.current };
    const u = new uPlot(options(props, shown, width, zone.value, handlers), columns, host);
    plot.current = u;
    return () => {
      plot.current = null;
      u.destroy();
    };
  }, [shape]);
  useEffect(() => {
    const u = plot.current;
    if (!u) return;
    viewOf.set(u, props.view);
    u.setData(columns);
  }, [columns, props.view.from, props.view.to]);
  useEffect(() => plot.current?.redraw(false), [props.layer]);
  const tip = pin ?? hover;
  const index = tip ? nearestIndex(props.data.times, tip.at) : -1;
  const time = (props.data.times[index] ?? 0) * 1000;
  const near = shown.find((s) => s.key === tip?.near);
  const outside = tip !== null && (tip.at * 1000 < props.view.from || tip.at * 1000 > props.view.to);
  useEffect(() => {
    if (outside) setPin(null);
  }, [outside]);
  return (
    <div
      class="chart"
      ref={root}
      style={{ height: px(props.height) }}
      role="figure"
      tabIndex={props.small ? undefined : 0}
      aria-label={`${props.label}. ${spoken(shown, props.unit)}`}
      onKeyDown={(e) => keyboard(e, plot.current, () => setPin((old) => (old ? null : hover)))}
    >
      {tip && index >= 0 && plot.current && (
        <Tip
          at={time}
          index={index}
          series={shown}
          near={near}
          color={(s) => seriesVar(s.slot.color)}
          unit={props.unit}
          x={plot.current.over.offsetLeft + plot.current.valToPos(time / 1000, "x")}
          top={tip.top}
          width={width}
          height={props.height}
          pinned={pin !== null}
          links={pin ? (props.links?.({ at: time, series: near }) ?? []) : []}
          close={() => setPin(null)}
        />
      )}
    </div>
  );
}

/** Visible range per plot: uPlot asks for it whenever data is set. */
const viewOf = new WeakMap<uPlot, Range>();

interface Handlers {
  hover: (h: Hover | null) => void;
  click: (h: Hover | null) => void;
  layer: () => Layer | undefined;
}

/** What uPlot draws: times and one column per line. */
function columnsOf(props: Props, shown: readonly Series[]): uPlot.AlignedData {
  const values = props.stacked ? stack(shown) : shown.map((s) => s.values);
  const drawn = props.log ? values.map((column) => column.map((v) => (v !== null && v > 0 ? v : null))) : values;
  return [props.data.times, ...drawn] as uPlot.AlignedData;
}

function seriesOptions(s: Series, stacked: boolean): uPlot.Series {
  const color = cssColor(seriesVar(s.slot.color));
  const dash = DASHES[s.slot.dash] ?? [];
  return {
    label: s.name,
    stroke: color,
    width: 1.25 * Math.min(2, Math.max(1, devicePixelRatio)) * (1 / devicePixelRatio),
    ...(dash.length ? { dash: [...dash] } : {}),
    ...(stacked ? { fill: `color-mix(in srgb, ${color} 40%, ${cssColor("--surface")})` } : {}),
    spanGaps: false,
    points: { show: lonely(s.values), size: 4, fill: color },
  };
}

/** Points between gaps would be invisible as lines of length zero. */
function lonely(values: readonly (number | null)[]): boolean {
  return values.some((v, i) => v !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null);
}

/** From zero unless that would flatten the line: gauges far from zero keep their own floor. */
function yRange(props: Props, min: number | null, max: number | null): uPlot.Range.MinMax {
  if (min === null || max === null) return [props.log ? 0.1 : 0, 1];
  if (props.log) return uPlot.rangeLog(min, max, 10, true);
  const fromZero = props.unit === "rate" || props.unit === "ratio" || props.unit === "bytes_rate" || props.stacked === true;
  const low = min >= 0 && (fromZero || min < max * 0.6) ? 0 : min;
  const room = (max - low) * 0.08 || Math.abs(max) * 0.1 || 1;
  return [low === 0 ? 0 : low - room, max + room];
}

function options(props: Props, shown: readonly Series[], width: number, tz: Zone, on: Handlers): uPlot.Options {
  const font = "11px system-ui, sans-serif";
  const axis = { stroke: cssColor("--text-3"), font, ticks: { show: false }, grid: { stroke: cssColor("--border-soft"), width: 1 } };
  return {
    width,
    height: props.height,
    padding: [10, props.small ? 6 : 12, 0, 0],
    legend: { show: false },
    tzDate: (s) => (tz === "utc" ? uPlot.tzDate(new Date(s * 1000), "Etc/UTC") : new Date(s * 1000)),
    scales: {
      x: { time: true, range: (u) => xRange(u, props) },
      y: { ...(props.log ? { distr: 3 as const, log: 10 } : {}), range: (_u, min, max) => yRange(props, min, max) },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 22,
        gap: 4,
        space: 72,
        values: (_u, splits, _i, _space, incr) => splits.map((s) => axisTick(s * 1000, incr, tz)),
      },
      {
        ...axis,
        size: (_u, values) => Math.max(34, 10 + 6.2 * Math.max(0, ...(values ?? []).map((v) => v.length))),
        gap: 4,
        space: props.small ? 28 : 34,
        ...(props.unit.startsWith("bytes") && !props.log ? { incrs: BINARY_INCREMENTS } : {}),
        values: (_u, splits) => splits.map((v) => (v === null ? "" : format(v, props.unit, 4))),
      },
    ],
    series: [{}, ...shown.map((s) => seriesOptions(s, props.stacked === true))],
    cursor: {
      drag: { x: true, y: false, setScale: false },
      sync: { key: sync.key, setSeries: false, scales: ["x", null] },
      points: { size: 6 },
      bind: { dblclick: () => () => (setRange(zoomOut(range.value)), null) },
    },
    hooks: {
      init: [(u) => (viewOf.set(u, props.view), listen(u, shown, on))],
      draw: [(u) => on.layer()?.draw(u)],
      setCursor: [
        (u) => {
          on.hover(pointUnder(u, shown));
          on.layer()?.hover(u, placeOf(u));
        },
      ],
      setSelect: [(u) => zoomTo(u)],
    },
  };
}

function xRange(u: uPlot, props: Props): uPlot.Range.MinMax {
  const view = viewOf.get(u) ?? props.view;
  return [view.from / 1000, view.to / 1000];
}

function zoomTo(u: uPlot): void {
  const { left, width } = u.select;
  if (width < 6) return;
  setRange({ from: u.posToVal(left, "x") * 1000, to: u.posToVal(left + width, "x") * 1000 });
  u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
}

function listen(u: uPlot, shown: readonly Series[], on: Handlers): void {
  let downAt = 0;
  u.over.addEventListener("mousedown", (e) => (downAt = e.clientX));
  u.over.addEventListener("click", (e) => {
    const at = placeOf(u);
    if (Math.abs(e.clientX - downAt) < 4 && !(at && on.layer()?.click(u, at))) on.click(pointUnder(u, shown));
  });
}

/** Where the pointer is on this chart; null when it is on another. */
function placeOf(u: uPlot): { left: number; top: number } | null {
  const { left, top } = u.cursor;
  return left == null || top == null || left < 0 || u.cursor.event == null ? null : { left, top };
}

/** The point under the cursor; null when the cursor is on another chart of the page, which draws the tooltip. */
function pointUnder(u: uPlot, shown: readonly Series[]): Hover | null {
  const { idx, left, top } = u.cursor;
  const foreign = u.cursor.event == null && !u.root.parentElement?.contains(document.activeElement);
  if (idx == null || left == null || top == null || left < 0 || foreign) return null;
  let near = "";
  let best = Infinity;
  shown.forEach((s, i) => {
    const y = (u.data[i + 1] as (number | null)[] | undefined)?.[idx];
    if (y == null) return;
    const d = Math.abs(u.valToPos(y, "y") - top);
    if (d < best) [best, near] = [d, s.key];
  });
  return { at: u.data[0][idx] ?? 0, top, near };
}

function keyboard(e: KeyboardEvent, u: uPlot | null, pin: () => void): void {
  if (!u || e.target !== e.currentTarget) return;
  const step = e.key === "ArrowLeft" ? -1 : e.key === "ArrowRight" ? 1 : 0;
  if (step !== 0) {
    const times = u.data[0];
    const index = Math.min(times.length - 1, Math.max(0, (u.cursor.idx ?? (step > 0 ? -1 : times.length)) + step));
    u.setCursor({ left: u.valToPos(times[index] ?? 0, "x"), top: u.over.clientHeight / 3 });
  } else if (e.key === "Enter") pin();
  else return;
  e.preventDefault();
}

const SPOKEN_MAX = 3;

/** The picture in words. */
function spoken(series: readonly Series[], unit: Unit): string {
  if (series.length === 0) return "No data.";
  const first = series.slice(0, SPOKEN_MAX).map((s) => {
    const { max, last } = summarize(s.values);
    return `${s.name}: now ${format(last, unit)}, highest ${format(max, unit)}`;
  });
  return `${series.length} series. ${first.join("; ")}.`;
}
