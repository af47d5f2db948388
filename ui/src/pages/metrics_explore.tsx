/** One query at full size: chart, legend, table; for a metric picked in the browser also its breakdown and quantiles. */
import "../core.ts";
import { promInstant, promRange } from "../api.ts";
import { gridData, type ChartData } from "../chart/data.ts";
import { Legend } from "../chart/legend.tsx";
import { LineChart } from "../chart/line.tsx";
import { useLoad, useWidth, type Load } from "../load.ts";
import { momentLinks } from "../links.ts";
import { param, paramAll, patch } from "../router.ts";
import { expand, familyExpr, familyUnit, metricIn, type Family, type HistogramView } from "../query/promql.ts";
import { soleService } from "../query/scope.ts";
import { range } from "../state.ts";
import { alignRange, promDuration, stepFor } from "../time.ts";
import { unitOfExpr, type Unit } from "../units.ts";
import { Empty, Loaded, Segments } from "../widgets/basics.tsx";
import { Icon } from "../widgets/icons.tsx";
import { About, QueryBar, Table } from "./metrics_parts.ts";
import type { Catalogue } from "./metrics.tsx";

const CHART_HEIGHT = 340;
const MIN_STEP_S = 1;

const UNITS: readonly Unit[] = ["count", "seconds", "bytes", "ratio", "rate", "bytes_rate"];

interface Asked {
  expr: string;
  family: Family | undefined;
  unit: Unit;
}

/** What the URL asks for: a typed query, or a metric with its breakdown and view. */
function asked(catalogue: Catalogue | undefined): Asked {
  const typed = param("q");
  const name = param("metric");
  const chosen = param("unit") as Unit;
  const declared = (m: string): string => catalogue?.metadata.get(m)?.unit ?? "";
  if (typed) return { expr: typed, family: undefined, unit: chosen || unitOfExpr(typed, declared) };
  const family = catalogue?.families.find((f) => f.name === name) ?? nameless(name, catalogue);
  if (!family) return { expr: "", family: undefined, unit: "count" };
  const view = (param("stat") || "0.95") as HistogramView;
  const expr = familyExpr(family, { match: catalogue?.match ?? [], by: param("by"), window: "$__rate_interval", view });
  return { expr, family, unit: chosen || familyUnit(family, view) };
}

/** A metric linked to by one of its parts, or unknown in this range: shown as a plain selector. */
function nameless(name: string, catalogue: Catalogue | undefined): Family | undefined {
  if (!catalogue || !name) return undefined;
  const base = name.replace(/_(bucket|sum|count)$/, "");
  return catalogue.families.find((f) => f.name === base) ?? { name, kind: "gauge", unit: "count", help: "" };
}

/** The page half. */
export function Explore({ catalogue }: { catalogue: Load<Catalogue> }) {
  const { expr, family, unit } = asked(catalogue.data);
  const table = param("view") === "table";
  const [host, width] = useWidth<HTMLDivElement>();
  const r = range.value;
  const step = stepFor(r, Math.max(120, Math.min(600, Math.floor(width / 3) || 300)), MIN_STEP_S);
  const { start, end } = alignRange(r, step);
  const full = expand(expr, step, r.to - r.from);
  const lines = useLoad(
    expr && !table ? `${full} ${start} ${end} ${step}` : null,
    async (signal) => {
      const answer = await promRange(full, start, end, step, signal);
      return { data: gridData(answer.series, start, end, step), warnings: answer.warnings };
    },
    expr,
  );
  const now = useLoad(expr && table ? `${full} ${end}` : null, (signal) => promInstant(full, r.to / 1000, signal), expr);
  return (
    <>
      {/* With variables filled in, positions in the message are not those of the text in the box. */}
      <QueryBar value={expr} catalogue={catalogue.data} error={full === expr ? (table ? now : lines).error : undefined} />
      {family && <About family={family} unit={unit} />}
      <section class="panel" aria-label="Result">
        <header>
          <Segments
            label="View"
            value={table ? "table" : "graph"}
            options={[
              ["graph", "Graph"],
              ["table", "Table"],
            ]}
            onChange={(v) => patch({ view: v === "table" ? v : "" })}
          />
          <span class="grow" />
          <span class="faint hide-narrow">step {promDuration(step)}</span>
          <label class="row" style="gap:4px">
            <span class="faint">unit</span>
            <select class="field" style="height:24px" value={unit} onChange={(e) => patch({ unit: e.currentTarget.value })}>
              {UNITS.map((u) => (
                <option key={u} value={u}>
                  {u.replace("_", " ")}
                </option>
              ))}
            </select>
          </label>
        </header>
        <div ref={host}>
          {catalogue.error && !expr && <div class="state">The list of metrics could not be loaded</div>}
          {table ? (
            <Loaded load={now}>{(samples) => <Table samples={samples} unit={unit} />}</Loaded>
          ) : (
            <Loaded load={lines}>{(d) => <Graph {...d} unit={unit} step={step} expr={expr} />}</Loaded>
          )}
        </div>
      </section>
    </>
  );
}

function Graph({ data, warnings, unit, step, expr }: { data: ChartData; warnings: string[]; unit: Unit; step: number; expr: string }) {
  const keys = paramAll("only");
  const only = keys.length > 0 && data.series.some((s) => keys.includes(s.key)) ? new Set(keys) : undefined;
  const metric = metricIn(expr);
  const known = useLoad(metric, () => soleService(metric, range.peek()), metric).data ?? "";
  if (data.series.length === 0) {
    return (
      <Empty title="No data in this range">
        <p>The query is valid but selects no samples. Widen the range, or loosen its matchers.</p>
      </Empty>
    );
  }
  return (
    <>
      {warnings.map((w) => (
        <div key={w} class="notice">
          <Icon name="warn" />
          <span>{w}</span>
        </div>
      ))}
      <div style="padding:4px 8px 8px">
        <LineChart
          data={data}
          view={range.value}
          unit={unit}
          height={CHART_HEIGHT}
          only={only}
          label={expr}
          links={(p) => momentLinks(p.at, step, p.series?.labels ?? {}, known)}
        />
      </div>
      <Legend data={data} unit={unit} only={only} onOnly={(set) => patch({ only: set ? [...set] : "" })} />
    </>
  );
}
