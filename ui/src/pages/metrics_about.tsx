/** What is known about a metric, which of its statistics is shown, filters, and the labels it can be broken down by. */
import "../core.ts";
import { useEffect } from "preact/hooks";
import { promSeries } from "../api.ts";
import { useLoad } from "../load.ts";
import { HISTOGRAM_VIEWS, selector, type Family } from "../query/promql.ts";
import { link, param, patch } from "../router.ts";
import { range, refresh, tenant } from "../state.ts";
import { integer, type Unit } from "../units.ts";
import { SafeText, Segments } from "../widgets/basics.tsx";
import { Filters } from "./metrics_parts.ts";
import { statistic } from "./metrics_model.ts";

const BREAKDOWN_LABELS_MAX = 24;

async function breakdownLabels(family: Family, match: readonly string[], signal: AbortSignal): Promise<[string, number][]> {
  const r = range.peek();
  const name = family.kind === "histogram" ? `${family.name}_count` : family.name;
  const sets = await promSeries(selector(name, match), r.from / 1000, r.to / 1000, signal);
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

/** The header. */
export function About({ family, unit, match }: { family: Family; unit: Unit; match: readonly string[] }) {
  const labels = useLoad(`${tenant.value} ${family.name} ${match.join()}`, (signal) => breakdownLabels(family, match, signal), family.name);
  const by = param("by");
  const histogram = family.kind !== "counter" && family.kind !== "gauge";
  useEffect(() => {
    document.title = `${family.name} · Kenning`;
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
          <span class="help">
            <SafeText text={family.help} />
          </span>
        )}
        <span class="grow" />
        <a class="btn small" href={link("metrics/cardinality", { match: `__name__=~${JSON.stringify(`${family.name}(_bucket|_sum|_count)?`)}` })}>
          Series of it
        </a>
      </div>
      <div class="toolbar">
        {histogram && <Segments label="Statistic" value={statistic()} options={HISTOGRAM_VIEWS} onChange={(stat) => patch({ stat, unit: "" })} />}
        <Filters metric={family.name} scope={[]} />
        <span class="faint">break down by</span>
        <button type="button" class="chip" aria-pressed={by === ""} onClick={() => patch({ by: "", only: "" })}>
          nothing
        </button>
        {labels.data?.map(([label, n]) => (
          <button key={label} type="button" class="chip mono" aria-pressed={by === label} onClick={() => patch({ by: label, only: "" })}>
            {label} <span class="faint">{integer(n)}</span>
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
