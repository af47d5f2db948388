/** The line chart of the page with exemplars over it. */
import "../core.ts";
import { useEffect, useState } from "preact/hooks";
import type { Exemplar } from "../api_metrics.ts";
import { chosen } from "../chart/chosen.ts";
import type { ChartData } from "../chart/data.ts";
import type { Diamond } from "../chart/exemplars.ts";
import { LineChart, type Layer } from "../chart/line.tsx";
import { useWidth } from "../load.ts";
import { momentLinks, traceLink } from "../links.ts";
import { go } from "../router.ts";
import { range } from "../state.ts";
import type { Unit } from "../units.ts";
import { lazy } from "../widgets/lazy.tsx";

const CHART_HEIGHT = 320;

const ExemplarTip = lazy(() => import("../chart/heatmap.tsx").then((m) => m.ExemplarTip));

interface Props {
  data: ChartData;
  unit: Unit;
  step: number;
  stacked: boolean;
  log: boolean;
  label: string;
  /** Service of the series when they do not say it. */
  known: string;
  exemplars: readonly Exemplar[];
  /** Whether the chart shows values of the exemplars' kind. */
  byValue: boolean;
}

/** The chart. */
export function Graph(p: Props) {
  const [hovered, setHovered] = useState<Diamond | null>(null);
  const [host, width] = useWidth<HTMLDivElement>();
  const [layer, setLayer] = useState<Layer>();
  useEffect(() => {
    let dropped = false;
    setHovered(null);
    if (p.exemplars.length === 0) return setLayer(undefined);
    const { exemplars, byValue } = p;
    void import("../chart/exemplars.ts").then(({ exemplarLayer }) => {
      if (!dropped) setLayer(exemplarLayer({ exemplars, byValue, onHover: setHovered, onOpen: (e) => go(traceLink(e.trace, e.span)) }));
    });
    return () => void (dropped = true);
  }, [p.exemplars, p.byValue]);
  return (
    <div class={`graph ${hovered ? "on-exemplar" : ""}`} ref={host}>
      <LineChart
        data={p.data}
        view={range.value}
        unit={p.unit}
        height={CHART_HEIGHT}
        only={chosen(p.data)}
        label={p.label}
        stacked={p.stacked}
        log={p.log}
        layer={layer}
        links={(point) => momentLinks(point.at, p.step, point.series?.labels ?? {}, p.known)}
      />
      {/* The plot begins right of its axis; the tip only has to be near. */}
      {hovered && <ExemplarTip diamond={{ ...hovered, x: hovered.x + 44 }} width={width} unit={p.unit} />}
    </div>
  );
}
