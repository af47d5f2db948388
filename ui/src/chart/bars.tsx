/**
 * Stacked bars over time on a canvas: the volume of log lines. Small on purpose, so that the Logs page does not wait
 * for the line chart's code. Gestures are those of the line chart: drag zooms, click pins, double click zooms out.
 */
import { useEffect, useRef, useState } from "preact/hooks";
import { px, useWidth } from "../load.ts";
import { cssColor } from "../palette.ts";
import { range, scheme, setRange, zone } from "../state.ts";
import { zoomOut, type Range } from "../time.ts";
import { format } from "../units.ts";
import { drawAxes, niceCeil, prepare, xTicks, type Box } from "./canvas.ts";
import { stack, type ChartData, type Series } from "./data.ts";
import { Tip, type Point, type PointLink } from "./tip.tsx";

interface Props {
  data: ChartData;
  /** Seconds covered by one bar, which ends at its time. */
  step: number;
  view: Range;
  height: number;
  color: (s: Series) => string;
  links: (p: Point) => PointLink[];
  label: string;
}

interface Hover {
  /** Unix seconds under the pointer. */
  at: number;
  y: number;
}

/** A press that moves less than this is a click. */
const CLICK_PX = 5;

const boxOf = (width: number, height: number): Box => ({ left: 44, top: 8, width: Math.max(1, width - 56), height: height - 30 });

/** The chart. */
export function BarChart(props: Props) {
  const [root, width] = useWidth<HTMLDivElement>();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [hover, setHover] = useState<Hover | null>(null);
  const [pin, setPin] = useState<Hover | null>(null);
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
  const box = boxOf(width, props.height);
  useEffect(() => {
    if (canvas.current && width > 0) draw(canvas.current, props, box, width);
  }, [props.data, props.view.from, props.view.to, width, scheme.value, zone.value]);

  const xOf = (s: number): number => box.left + ((s * 1000 - props.view.from) / (props.view.to - props.view.from)) * box.width;
  const timeAt = (x: number): number => props.view.from + ((x - box.left) / box.width) * (props.view.to - props.view.from);
  const at = (e: PointerEvent): Hover | null => {
    const rect = e.currentTarget instanceof Element ? e.currentTarget.getBoundingClientRect() : null;
    if (!rect) return null;
    const x = Math.min(box.left + box.width, Math.max(box.left, e.clientX - rect.left));
    return { at: timeAt(x) / 1000, y: e.clientY - rect.top };
  };
  const onMove = (e: PointerEvent): void => {
    const h = at(e);
    if (drag && h) setDrag({ ...drag, to: xOf(h.at) });
    if (!pin) setHover(h);
  };
  const onUp = (e: PointerEvent): void => {
    const h = at(e);
    if (drag && Math.abs(drag.to - drag.from) >= CLICK_PX) {
      const [a, b] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)];
      setRange({ from: timeAt(a), to: timeAt(b) });
    } else if (drag) setPin((old) => (old ? null : h));
    setDrag(null);
  };
  const tip = pin ?? hover;
  const index = tip ? Math.ceil((tip.at - (props.data.times[0] ?? 0)) / props.step) : -1;
  const time = (props.data.times[index] ?? 0) * 1000;
  return (
    <div class="chart" ref={root} style={{ height: px(props.height) }}>
      <canvas
        ref={canvas}
        role="img"
        aria-label={props.label}
        style="cursor:crosshair;touch-action:pan-y;display:block"
        onPointerDown={(e) => {
          const h = at(e);
          if (e.button === 0 && h) {
            e.currentTarget.setPointerCapture(e.pointerId);
            setDrag({ from: xOf(h.at), to: xOf(h.at) });
          }
        }}
        onPointerMove={onMove}
        onPointerUp={onUp}
        onPointerLeave={() => setHover(null)}
        onDblClick={() => setRange(zoomOut(range.value))}
      />
      {drag && (
        <div class="drag" style={{ left: px(Math.min(drag.from, drag.to)), width: px(Math.abs(drag.to - drag.from)), top: px(box.top), height: px(box.height) }} />
      )}
      {tip && time > 0 && !(drag && Math.abs(drag.to - drag.from) >= CLICK_PX) && (
        <Tip
          at={time - props.step * 1000}
          index={index}
          series={props.data.series}
          near={undefined}
          color={props.color}
          unit="count"
          x={xOf(tip.at)}
          top={tip.y}
          width={width}
          height={props.height}
          pinned={pin !== null}
          links={pin ? props.links({ at: time, series: undefined }) : []}
          close={() => setPin(null)}
        />
      )}
    </div>
  );
}

function draw(canvas: HTMLCanvasElement, props: Props, box: Box, width: number): void {
  const ctx = prepare(canvas, width, props.height);
  if (!ctx) return;
  const columns = stack(props.data.series);
  const highest = Math.max(1, ...(columns[0] ?? []).map((v) => v ?? 0));
  const top = niceCeil(highest);
  const yAt = (v: number): number => box.top + box.height * (1 - v / top);
  const ys = (top >= 2 ? [0, top / 2, top] : [0, top]).map((v) => ({ at: yAt(v), text: format(v) }));
  drawAxes(ctx, box, xTicks(box, props.view, zone.value), ys);
  const perSecond = box.width / ((props.view.to - props.view.from) / 1000);
  const xAt = (s: number): number => box.left + (s - props.view.from / 1000) * perSecond;
  const gap = perSecond * props.step > 4 ? 1 : 0;
  ctx.save();
  ctx.beginPath();
  ctx.rect(box.left, 0, box.width, props.height);
  ctx.clip();
  props.data.series.forEach((s, i) => {
    ctx.fillStyle = cssColor(props.color(s));
    columns[i]?.forEach((v, j) => {
      if (!v || !s.values[j]) return;
      const x = xAt((props.data.times[j] ?? 0) - props.step);
      const bottom = yAt(columns[i + 1]?.[j] ?? 0);
      const y = Math.min(yAt(v), bottom - 1);
      ctx.fillRect(x, y, Math.max(1, perSecond * props.step - gap), bottom - y);
    });
  });
  ctx.restore();
}
