/** How results are shown: graph, heat map or table, lines or stacked, scale, step, unit; and what they cost. */
import "../core.ts";
import { param, patch } from "../router.ts";
import { promDuration } from "../time.ts";
import { integer, seconds, type Unit } from "../units.ts";
import { Segments } from "../widgets/basics.tsx";
import type { Results } from "./metrics_explore.tsx";
import { options, STEPS, type View } from "./metrics_model.ts";

const UNITS: readonly Unit[] = ["count", "seconds", "bytes", "ratio", "rate", "bytes_rate"];

function Toggle({ on, text, title, onClick }: { on: boolean; text: string; title: string; onClick: () => void }) {
  return (
    <button type="button" class="btn small" aria-pressed={on} title={title} onClick={onClick}>
      {text}
    </button>
  );
}

/** The bar over the result. */
export function OptionsBar({ unit, step, histogram, results }: { unit: Unit; step: number; histogram: boolean; results: Results | undefined }) {
  const o = options();
  const views: [View, string][] = [["graph", "Graph"], ...(histogram || o.view === "heat" ? [["heat", "Heat map"] as [View, string]] : []), ["table", "Table"]];
  return (
    <header class="options">
      <Segments label="View" value={o.view} options={views} onChange={(v) => patch({ view: v === "graph" ? "" : v })} />
      {o.view === "graph" && (
        <>
          <Toggle on={o.stacked} text="Stacked" title="Lines upon each other" onClick={() => patch({ style: o.stacked ? "" : "stacked", scale: "" })} />
          <Toggle on={o.log} text="Log" title="Logarithmic values" onClick={() => patch({ scale: o.log ? "" : "log", style: "" })} />
        </>
      )}
      {o.view !== "table" && <Toggle on={o.exemplars} text="Exemplars" title="Observations that name their trace" onClick={() => patch({ exemplars: o.exemplars ? "off" : "" })} />}
      {o.view === "table" && (
        <Segments
          label="Rows"
          value={o.rows}
          options={[
            ["end", "At the end"],
            ["range", "Over the range"],
          ]}
          onChange={(rows) => patch({ rows: rows === "range" ? "range" : "" })}
        />
      )}
      <span class="grow" />
      {results && (
        <span class="faint cost" title="Series drawn, samples looked at, time the server took">
          {integer(results.data.series.length)} series · {integer(results.samples)} samples · {seconds(results.seconds, 2)}
        </span>
      )}
      <label class="row labelled-select">
        <span class="faint">step</span>
        <select class="field" value={param("step")} onChange={(e) => patch({ step: e.currentTarget.value })}>
          <option value="">auto ({promDuration(step)})</option>
          {STEPS.map((s) => (
            <option key={s} value={s}>
              {s}
            </option>
          ))}
        </select>
      </label>
      <label class="row labelled-select">
        <span class="faint">unit</span>
        <select class="field" value={unit} onChange={(e) => patch({ unit: e.currentTarget.value })}>
          {[...new Set([...UNITS, unit])].map((u) => (
            <option key={u} value={u}>
              {u.replace("_", " ")}
            </option>
          ))}
        </select>
      </label>
    </header>
  );
}
