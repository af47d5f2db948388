/** The heat map of a histogram: native ones as they are, classic ones from the rates of their buckets. */
import "../core.ts";
import { rangeWhole, type Exemplar } from "../api_metrics.ts";
import { classicHeat, nativeHeat, type Heat as Cells } from "../chart/heat.ts";
import { Heatmap } from "../chart/heatmap.tsx";
import { useLoad } from "../load.ts";
import { traceLink } from "../links.ts";
import { heatExpr, type Family } from "../query/promql.ts";
import { go } from "../router.ts";
import { range } from "../state.ts";
import { alignRange } from "../time.ts";
import { unitOf, type Unit } from "../units.ts";
import { Empty, Loaded } from "../widgets/basics.tsx";
import { filled } from "./metrics_model.ts";

const HEIGHT = 340;
/** Columns of the picture: wide enough to be pointed at. */
const STEP_FACTOR = 2;

interface Props {
  /** The metric picked, when there is one. */
  family: Family | undefined;
  /** The query otherwise. */
  expr: string;
  match: readonly string[];
  unit: Unit;
  step: number;
  exemplars: readonly Exemplar[];
  ready: boolean;
}

/** The panel's content. */
export function Heat(p: Props) {
  const r = range.value;
  const step = p.step * STEP_FACTOR;
  const { start, end } = alignRange(r, step);
  const text = p.family ? heatExpr(p.family, p.match) : p.expr;
  const query = filled(text, step, r);
  const load = useLoad(
    p.ready ? `${query} ${start} ${end} ${step}` : null,
    async (signal): Promise<Cells> => {
      const answer = await rangeWhole(query, start, end, step, signal);
      const heat = answer.histograms.length > 0 ? nativeHeat(answer.histograms, start, end, step) : classicHeat(answer.series, start, end, step);
      return heat;
    },
    text,
  );
  const unit = p.family ? unitOf(p.family.name, p.family.unit) : p.unit;
  return (
    <Loaded load={load}>
      {(heat) =>
        heat.rows.length === 0 ? (
          <Empty title="Nothing to draw as a heat map">
            <p>A heat map needs native histograms, or series with an `le` label such as `sum by (le) (rate(x_bucket[5m]))`, with observations in this range.</p>
          </Empty>
        ) : (
          <Heatmap heat={heat} step={step} view={r} unit={unit} height={HEIGHT} label={p.family?.name ?? p.expr} exemplars={p.exemplars} onOpen={(e) => go(traceLink(e.trace, e.span))} />
        )
      }
    </Loaded>
  );
}
