/** One query at full size: chart, legend, table; for a metric picked in the browser also its breakdown and quantiles. */
import "../core.ts";
import { useEffect } from "preact/hooks";
import { promInstant, promRange, promSeries, type VectorSample } from "../api.ts";
import { gridData, parseValue, type ChartData } from "../chart/data.ts";
import { Legend } from "../chart/legend.tsx";
import { LineChart } from "../chart/line.tsx";
import { refresh } from "../state.ts";
import { useLoad, useWidth, type Load } from "../load.ts";
import { momentLinks } from "../links.ts";
import { param, paramAll, patch } from "../router.ts";
import { expand, familyExpr, familyUnit, HISTOGRAM_VIEWS, metricIn, type Family, type HistogramView } from "../query/promql.ts";
import { range, tenant } from "../state.ts";
import { alignRange, promDuration, stepFor } from "../time.ts";
import { format, unitOfExpr, type Unit } from "../units.ts";
import { Empty, Loaded, SafeText, Segments } from "../widgets/basics.tsx";
import { Icon } from "../widgets/icons.tsx";
import { QueryBar } from "./metrics_parts.ts";
import type { Catalogue } from "./metrics.tsx";

const CHART_HEIGHT = 340;
const MIN_STEP_S = 1;
const TABLE_ROWS_MAX = 1000;
const BREAKDOWN_LABELS_MAX = 24;

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
      <QueryBar value={expr} catalogue={catalogue.data} error={(table ? now : lines).error} />
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
          links={(p) => momentLinks(p.at, step, p.series?.labels ?? {})}
        />
      </div>
      <Legend data={data} unit={unit} only={only} onOnly={(set) => patch({ only: set ? [...set] : "" })} />
    </>
  );
}

function Table({ samples, unit }: { samples: VectorSample[]; unit: Unit }) {
  const labels = [...new Set(samples.flatMap((s) => Object.keys(s.metric)))].sort();
  if (samples.length === 0) return <Empty title="No samples at the end of this range" />;
  const rows = [...samples].sort((a, b) => (parseValue(b.value) ?? 0) - (parseValue(a.value) ?? 0)).slice(0, TABLE_ROWS_MAX);
  return (
    <div class="table-wrap" tabIndex={0} role="region" aria-label="Values at the end of the range">
      <table class="data">
        <thead>
          <tr>
            {labels.map((l) => (
              <th key={l}>{l}</th>
            ))}
            <th class="num">value</th>
            <th class="num">exact</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((s, i) => (
            <tr key={i}>
              {labels.map((l) => (
                <td key={l} class="mono">
                  <SafeText text={s.metric[l] ?? ""} />
                </td>
              ))}
              <td class="num">{format(parseValue(s.value), unit)}</td>
              <td class="num mono faint">{s.value}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

async function breakdownLabels(family: Family, signal: AbortSignal): Promise<[string, number][]> {
  const r = range.peek();
  const name = family.kind === "histogram" ? `${family.name}_count` : family.name;
  const sets = await promSeries(name, r.from / 1000, r.to / 1000, signal);
  const values = new Map<string, Set<string>>();
  for (const set of sets) {
    for (const [k, v] of Object.entries(set)) {
      if (k === "__name__" || k === "le") continue;
      values.set(k, (values.get(k) ?? new Set()).add(v));
    }
  }
  return [...values]
    .map(([k, v]): [string, number] => [k, v.size])
    .filter(([, n]) => n > 1)
    .sort((a, b) => a[1] - b[1])
    .slice(0, BREAKDOWN_LABELS_MAX);
}

function About({ family, unit }: { family: Family; unit: Unit }) {
  const labels = useLoad(`${tenant.value} ${family.name}`, (signal) => breakdownLabels(family, signal), family.name);
  const by = param("by");
  const histogram = family.kind !== "counter" && family.kind !== "gauge";
  useEffect(() => {
    document.title = `${metricIn(family.name) || family.name} · Kenning`;
  }, [family.name]);
  return (
    <>
      <div class="metric-about">
        <h1 class="mono" style="font-size:15px">
          {family.name}
        </h1>
        <span class="chip">{family.kind.replace("_", " ")}</span>
        <span class="chip">{unit.replace("_", " ")}</span>
        {family.help && (
          <span class="clip" style="max-width:90ch">
            <SafeText text={family.help} />
          </span>
        )}
      </div>
      <div class="toolbar">
        {histogram && (
          <Segments label="Statistic" value={(param("stat") || "0.95") as HistogramView} options={HISTOGRAM_VIEWS} onChange={(stat) => patch({ stat, unit: "" })} />
        )}
        <span class="faint">break down by</span>
        <button type="button" class="chip" aria-pressed={by === ""} onClick={() => patch({ by: "", only: "" })}>
          nothing
        </button>
        {labels.data?.map(([label, n]) => (
          <button key={label} type="button" class="chip mono" aria-pressed={by === label} onClick={() => patch({ by: label, only: "" })}>
            {label} <span class="faint">{n}</span>
          </button>
        ))}
        {labels.error && (
          <button type="button" class="chip" onClick={() => (labels.retry(), refresh())}>
            labels could not be loaded, retry
          </button>
        )}
        {labels.data?.length === 0 && <span class="faint">no label has more than one value</span>}
      </div>
    </>
  );
}
