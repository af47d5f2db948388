/**
 * A metric broken down: one small chart per value of a label, the largest first, all others in one more. The values are
 * chosen by an instant query at the end of the range, so a label of many thousands costs one point each.
 */
import "../core.ts";
import { promInstant, promRange } from "../api.ts";
import { gridData, NO_DATA, parseValue, type ChartData } from "../chart/data.ts";
import { useLoad } from "../load.ts";
import { familyExpr, labelName, type Family } from "../query/promql.ts";
import { escapeRegex, quote } from "../query/quote.ts";
import { param, patch } from "../router.ts";
import { range } from "../state.ts";
import { alignRange, stepFor } from "../time.ts";
import { integer, type Unit } from "../units.ts";
import { Empty, Loaded, Segments } from "../widgets/basics.tsx";
import { filled, statistic } from "./metrics_model.ts";
import { Part } from "./metrics_parts.ts";

const TOP_DEFAULT = 12;
const TOPS = ["6", "12", "24", "48"] as const;
const POINTS = 120;
/** Query text of the "others" chart must stay shorter than any proxy's limit. */
const REGEX_LENGTH_MAX = 8_000;

interface Parts {
  /** One value of the label each, the largest first. */
  values: string[];
  data: ChartData;
  /** All other values in one line; null when there are none. */
  others: ChartData | null;
  othersCount: number;
}

interface Props {
  family: Family;
  match: readonly string[];
  unit: Unit;
  step: number;
  /** The big chart's data, so that both show the same moment. */
  main: ChartData | undefined;
}

async function load(p: Props, by: string, top: number, grid: { start: number; end: number }, step: number, signal: AbortSignal): Promise<Parts> {
  const shape = { by, window: "$__rate_interval", view: statistic() };
  const fill = (expr: string): string => filled(expr, step, range.peek());
  const all = await promInstant(fill(familyExpr(p.family, { ...shape, match: p.match })), grid.end, signal);
  const ranked = all
    .map((s) => ({ value: s.metric[by] ?? "", size: parseValue(s.value) ?? -Infinity }))
    .sort((a, b) => b.size - a.size)
    .map((x) => x.value);
  const values = ranked.slice(0, top);
  const regex = quote(values.map(escapeRegex).join("|"));
  const narrowed = ranked.length > values.length && regex.length <= REGEX_LENGTH_MAX;
  const some = narrowed ? [...p.match, `${labelName(by)}=~${regex}`] : p.match;
  const rest = [...p.match, `${labelName(by)}!~${regex}`];
  const draw = async (expr: string): Promise<ChartData> => {
    const { series } = await promRange(fill(expr), grid.start, grid.end, step, signal);
    return gridData(series, grid.start, grid.end, step);
  };
  const total = familyExpr(p.family, { ...shape, by: "", match: rest });
  const [data, others] = await Promise.all([
    values.length > 0 ? draw(familyExpr(p.family, { ...shape, match: some })) : NO_DATA,
    narrowed ? draw(p.family.kind === "gauge" ? `sum (${total})` : total) : null,
  ]);
  return { values, data, others, othersCount: ranked.length - values.length };
}

/** The grid of small charts; nothing without a label. */
export function Breakdown(p: Props) {
  const by = param("by");
  const top = Number(param("top")) || TOP_DEFAULT;
  const r = range.value;
  const step = stepFor(r, POINTS, 5);
  const grid = alignRange(r, step);
  const key = by ? `${p.family.name} ${p.match.join()} ${by} ${statistic()} ${top} ${grid.start} ${grid.end} ${step}` : null;
  const parts = useLoad(key, (signal) => load(p, by, top, grid, step, signal), `${p.family.name} ${by}`);
  if (!by) return null;
  return (
    <section aria-label={`By ${by}`} class="breakdown">
      <div class="toolbar">
        <h2>
          By <span class="mono">{by}</span>
        </h2>
        {parts.data && parts.data.othersCount > 0 && (
          <span class="dim">
            {integer(parts.data.values.length)} largest at the end of the range of {integer(parts.data.values.length + parts.data.othersCount)}
          </span>
        )}
        <span class="grow" />
        <span class="faint">show</span>
        <Segments label="Values shown" value={String(top)} options={TOPS.map((t) => [t as string, t] as const)} onChange={(t) => patch({ top: t === String(TOP_DEFAULT) ? "" : t })} />
      </div>
      <Loaded load={parts}>{(d) => <Cards parts={d} by={by} unit={p.unit} step={step} family={p.family} />}</Loaded>
    </section>
  );
}

function Cards({ parts, by, unit, step, family }: { parts: Parts; by: string; unit: Unit; step: number; family: Family }) {
  if (parts.values.length === 0) {
    return (
      <Empty title="No values at the end of this range">
        <p>Series of {family.name} with this label have no recent samples. Move the end of the range.</p>
      </Empty>
    );
  }
  return (
    <div class="cards">
      {parts.values.map((value) => {
        const series = parts.data.series.find((s) => (s.labels[by] ?? "") === value);
        return <Part key={value} data={{ times: parts.data.times, series: series ? [series] : [], omitted: 0 }} name={value || "(no value)"} by={by} value={value} unit={unit} step={step} />;
      })}
      {parts.others && <Part data={parts.others} name={`${integer(parts.othersCount)} others, together`} by="" value="" unit={unit} step={step} />}
    </div>
  );
}
