/** Queries at full size: chart, heat map or table, with options, costs and what the server has to say about them. */
import "../core.ts";
import { rangeWhole, exemplars as loadExemplars, type Exemplar, type HistogramSeries, type RangeAnswer } from "../api_metrics.ts";
import { gridData, type ChartData } from "../chart/data.ts";
import { useLoad, useWidth, type Load } from "../load.ts";
import { param, paramAll } from "../router.ts";
import { matchWith, metricIn } from "../query/promql.ts";
import { soleService } from "../query/scope.ts";
import { range, service } from "../state.ts";
import { alignRange, promDuration } from "../time.ts";
import type { Unit } from "../units.ts";
import { Empty, Failure, Loaded } from "../widgets/basics.tsx";
import { asked, familyNamed, filled, options, statistic, stepIn, unitFor, type Asked } from "./metrics_model.ts";
import { About, Breakdown, Exemplars, Graph, Heat, Notes, OptionsBar, QueryBar, SeriesLegend, Table } from "./metrics_parts.ts";
import type { Catalogue } from "./metrics.tsx";

/** What came back for the queries that are on. */
export interface Results {
  data: ChartData;
  histograms: HistogramSeries[];
  /** Sentences of the server, each with the letter of its query. */
  notes: { letter: string; level: "warning" | "info"; text: string }[];
  errors: { letter: string; error: Error }[];
  samples: number;
  seconds: number;
}

/** Exemplars asked for at once are those of the range on screen. */
async function ask(queries: readonly Asked[], fill: (expr: string) => string, grid: { start: number; end: number }, step: number, signal: AbortSignal): Promise<Results> {
  const answers = await Promise.all(
    queries.map((q) =>
      rangeWhole(fill(q.expr), grid.start, grid.end, step, signal).then(
        (answer) => ({ q, answer }),
        (error: unknown) => ({ q, error: error instanceof Error ? error : new Error(String(error)) }),
      ),
    ),
  );
  signal.throwIfAborted();
  const good = answers.filter((a): a is { q: Asked; answer: RangeAnswer } => "answer" in a);
  const several = queries.length > 1;
  const series = good.flatMap(({ q, answer }) => answer.series.map((s) => (several ? { ...s, metric: { ...s.metric, query: q.letter } } : s)));
  const data = gridData(series, grid.start, grid.end, step);
  if (several) data.series.forEach((s) => (s.name = s.name.replace(/^query=(\w)/, "$1")));
  return {
    data,
    histograms: good.flatMap((a) => a.answer.histograms),
    notes: good.flatMap(({ q, answer }) => [
      ...answer.warnings.map((text) => ({ letter: q.letter, level: "warning" as const, text })),
      ...answer.infos.map((text) => ({ letter: q.letter, level: "info" as const, text })),
    ]),
    errors: answers.flatMap((a) => ("error" in a ? [{ letter: a.q.letter, error: a.error }] : [])),
    samples: good.reduce((sum, a) => sum + (a.answer.cost?.samples ?? 0), 0),
    seconds: Math.max(0, ...good.map((a) => a.answer.cost?.seconds ?? 0)),
  };
}

/** Two queries of one metric have the same exemplars. */
const distinct = (all: readonly Exemplar[]): Exemplar[] => [...new Map(all.map((e) => [`${e.trace} ${e.at} ${e.value} ${e.series["__name__"]}`, e])).values()];

const NO_EXEMPLARS: readonly Exemplar[] = [];

/** The page half. */
export function Explore({ catalogue }: { catalogue: Load<Catalogue> }) {
  const known = catalogue.data;
  const name = paramAll("q").length === 0 ? param("metric") : "";
  const family = name && known ? familyNamed(name, known.families) : undefined;
  const match = matchWith(known?.match ?? [], paramAll("f"));
  const queries = asked(family, match);
  const on = queries.filter((q) => q.on);
  const unit = unitFor(family, queries, (m) => known?.metadata.get(m)?.unit ?? "");
  const o = options();
  const [host, width] = useWidth<HTMLDivElement>();
  const r = range.value;
  const step = stepIn(r, width);
  const { start, end } = alignRange(r, step);
  const fill = (expr: string): string => filled(expr, step, r);
  const key = on.map((q) => `${q.letter} ${fill(q.expr)}`).join("\n");
  const wanted = width > 0 && on.length > 0;
  const load = useLoad(wanted && o.view !== "heat" ? `${key} ${start} ${end} ${step}` : null, (signal) => ask(on, fill, { start, end }, step, signal), `${name}${queries.map((q) => q.expr).join("\n")}`);
  const marks = useLoad(
    wanted && o.exemplars && o.view !== "table" ? `exemplars ${key} ${start} ${end}` : null,
    async (signal) => distinct((await Promise.all(on.map((q) => loadExemplars(fill(q.expr), start, end + step, signal).catch(() => [])))).flat()),
    key,
  );
  const errors = queries.map((q) => load.data?.errors.find((e) => e.letter === q.letter)?.error);
  const expr = on[0]?.expr ?? "";
  const byValue = family ? family.kind === "gauge" || !["rate"].includes(statistic()) && family.kind !== "counter" : !/\b(rate|increase|count|irate)\b/.test(expr) || /histogram_(quantile|avg)/.test(expr);
  return (
    <>
      <QueryBar values={queries.length > 0 ? queries.map((q) => q.expr) : [""]} catalogue={known} errors={errors} />
      {family && known && <About family={family} unit={unit} match={match} />}
      <section class="panel" aria-label="Result">
        <OptionsBar unit={unit} step={step} histogram={heatable(family?.kind, expr)} results={load.data} />
        <div ref={host}>
          {catalogue.error && on.length === 0 && <Failure error={catalogue.error} retry={catalogue.retry} />}
          {queries.length > 0 && on.length === 0 && <Empty title="Every query is switched off" />}
          {o.view === "heat" && on.length > 0 && <Heat family={family} expr={expr} match={match} unit={unit} step={step} exemplars={marks.data ?? NO_EXEMPLARS} ready={wanted} />}
          {o.view === "table" && on.length > 0 && <TableView queries={on} fill={fill} load={load} unit={unit} />}
          {o.view === "graph" && on.length > 0 && (
            <Loaded load={load}>
              {(d) => <Lines results={d} unit={unit} step={step} expr={expr} label={on.map((q) => q.expr).join("; ")} exemplars={marks.data ?? NO_EXEMPLARS} byValue={byValue} retry={load.retry} />}
            </Loaded>
          )}
        </div>
      </section>
      {o.view !== "table" && (marks.data?.length ?? 0) > 0 && <Exemplars exemplars={marks.data ?? NO_EXEMPLARS} unit={unit} />}
      {family && known && o.view === "graph" && <Breakdown family={family} match={match} unit={unit} main={load.data?.data} step={step} />}
    </>
  );
}

/** Whether a heat map can be drawn: of a histogram's metric, or of a query that gives histograms or buckets. */
function heatable(kind: string | undefined, expr: string): boolean {
  if (kind) return kind === "histogram" || kind === "native_histogram";
  return /_bucket\b|histogram/.test(expr) || param("view") === "heat" || !/\b(sum|avg|count|rate)\b/.test(expr);
}

function TableView({ queries, fill, load, unit }: { queries: readonly Asked[]; fill: (expr: string) => string; load: Load<Results>; unit: Unit }) {
  return <Table queries={queries.map((q) => ({ letter: q.letter, text: fill(q.expr) }))} load={load} unit={unit} />;
}

interface LinesProps {
  results: Results;
  unit: Unit;
  step: number;
  expr: string;
  label: string;
  exemplars: readonly Exemplar[];
  byValue: boolean;
  retry: () => void;
}

function Lines({ results, unit, step, expr, label, exemplars, byValue, retry }: LinesProps) {
  const o = options();
  const metric = metricIn(expr);
  const known = useLoad(metric, () => soleService(metric, range.peek()), metric).data ?? service.value;
  const { data, errors, notes } = results;
  return (
    <>
      {errors.map((e) => (
        <Failure key={e.letter} error={e.error} retry={retry} />
      ))}
      {(notes.length > 0 || data.omitted > 0 || results.histograms.length > 0) && <Notes results={results} expr={expr} />}
      {data.series.length === 0 && errors.length === 0 && (
        <Empty title="No data in this range">
          <p>The query is valid but selects no samples. Widen the range, or loosen its matchers.</p>
        </Empty>
      )}
      {data.series.length > 0 && (
        <>
          <div class="graph-pad">
            <Graph data={data} unit={unit} step={step} stacked={o.stacked} log={o.log} label={label} known={known} exemplars={exemplars} byValue={byValue} />
          </div>
          <SeriesLegend data={data} unit={unit} />
        </>
      )}
      {data.series.length > 0 && <p class="visually-hidden">Step {promDuration(step)}</p>}
    </>
  );
}
