/** What is known about a metric, which of its statistics is shown, and the labels it can be broken down by. */
import "../core.ts";
import { useEffect } from "preact/hooks";
import { promSeries } from "../api.ts";
import { useLoad } from "../load.ts";
import { HISTOGRAM_VIEWS, type Family, type HistogramView } from "../query/promql.ts";
import { param, patch } from "../router.ts";
import { range, refresh, tenant } from "../state.ts";
import type { Unit } from "../units.ts";
import { SafeText, Segments } from "../widgets/basics.tsx";

const BREAKDOWN_LABELS_MAX = 24;

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

/** The header. */
export function About({ family, unit }: { family: Family; unit: Unit }) {
  const labels = useLoad(`${tenant.value} ${family.name}`, (signal) => breakdownLabels(family, signal), family.name);
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
