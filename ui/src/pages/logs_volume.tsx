/** How many lines came when, by level or by a label; marking a stretch zooms, a bar leads to its lines. */
import { lokiLabels, nanos } from "../api.ts";
import { lokiRange } from "../api_logs.ts";
import { addUp, gridData, NO_DATA, type ChartData, type Series } from "../chart/data.ts";
import { BarChart } from "../chart/bars.tsx";
import { momentLinks } from "../links.ts";
import { cached, useLoad } from "../load.ts";
import { levelOf, LEVELS, seriesVar } from "../palette.ts";
import { volumeQuery, type FieldSource } from "../query/logql.ts";
import { here, param, patch } from "../router.ts";
import { tenant } from "../state.ts";
import { alignRange, iso, promDuration, stepFor, type Range } from "../time.ts";
import { integer } from "../units.ts";
import { Loaded, SafeText } from "../widgets/basics.tsx";
import type { OnFilter } from "./logs_parts.ts";

const HEIGHT = 104;
const BARS = 100;

/** Names in the legend; more of them would push the lines off the screen. */
const LEGEND_MAX = 12;

/** Labels that carry the level: what Loki detects while ingesting, and what a service labels its streams with. */
const LEVEL_LABELS = "detected_level, level";

/** Volume split by a label. By level, the series stand in the order of severity, the worst at the bottom of the stack. */
async function load(query: string, by: string, r: Range, step: number, signal: AbortSignal): Promise<ChartData> {
  const { start, end } = alignRange({ from: r.from, to: r.to + step * 1000 }, step);
  const labels = by === "level" ? LEVEL_LABELS : by;
  const answer = await lokiRange({ query: volumeQuery(query, labels, step), start: nanos(start * 1000), end: nanos(end * 1000), step }, signal);
  if (answer.kind !== "matrix") return NO_DATA;
  if (by !== "level") {
    const data = gridData(answer.series, start, end, step);
    return { ...data, series: data.series.map((s) => ({ ...s, name: s.labels[by] || "(none)" })) };
  }
  const levels = answer.series.map((s) => ({ ...s, metric: { level: levelOf(s.metric["level"] || s.metric["detected_level"]) } }));
  const data = addUp(gridData(levels, start, end, step));
  data.series.sort((a, b) => LEVELS.indexOf(levelOf(b.name)) - LEVELS.indexOf(levelOf(a.name)));
  return data;
}

/** What a name in the legend filters by: levels are what ingest detected, other names are labels of the stream. */
function legendFilter(by: string): { name: string; source: FieldSource } {
  return by === "level" ? { name: "detected_level", source: "meta" } : { name: by, source: "stream" };
}

/** The chart with its legend. */
export function Volume({ query, r, onFilter }: { query: string; r: Range; onFilter: OnFilter }) {
  const by = param("by") || "level";
  const step = stepFor(r, BARS);
  const found = useLoad(`${query} ${by} ${r.from} ${r.to} ${step}`, (signal) => load(query, by, r, step, signal), `${query} ${by}`);
  const names = useLoad(`log-labels ${tenant.value}`, () => cached(`log-labels ${tenant.value}`, () => lokiLabels(nanos(r.from), nanos(r.to))));
  const color = (s: Series): string => (by === "level" ? `--level-${levelOf(s.name)}` : seriesVar(s.slot.color));
  return (
    <section class="panel" aria-label="Volume" style="flex:none">
      <Loaded load={found}>
        {(data) => (
          <>
            <div class="row wrap volume-head">
              <span class="dim">lines per {promDuration(step)} by</span>
              <select class="field" style="height:24px" aria-label="Split the volume by" value={by} onChange={(e) => patch({ by: e.currentTarget.value === "level" ? "" : e.currentTarget.value }, true)}>
                {["level", ...(names.data ?? []).filter((n) => n !== "level")].map((n) => (
                  <option key={n}>{n}</option>
                ))}
              </select>
              {[...data.series].reverse().slice(0, LEGEND_MAX).map((s) => (
                <button
                  type="button"
                  key={s.key}
                  class="btn small quiet"
                  style="gap:5px"
                  title={`Only lines with ${by} ${s.name}`}
                  onClick={() => onFilter(legendFilter(by).name, "=", s.name, legendFilter(by).source)}
                >
                  <span class="dot" style={{ "--c": `var(${color(s)})` }} />
                  <SafeText text={s.name} /> <span class="faint">{integer(s.values.reduce<number>((a, v) => a + (v ?? 0), 0))}</span>
                </button>
              ))}
              {data.series.length > LEGEND_MAX && <span class="faint">and {integer(data.series.length - LEGEND_MAX + data.omitted)} more</span>}
            </div>
            <BarChart
              data={data}
              step={step}
              view={r}
              height={HEIGHT}
              color={color}
              label={summary(data, step)}
              links={(p) => [
                { text: "Only this interval", href: here({ from: iso(p.at - step * 1000), to: iso(p.at), at: "", line: "" }) },
                { text: "Go to this moment in the list", href: here({ from: iso(r.from), to: iso(r.to), at: nanos(p.at), line: "", live: "" }) },
                ...momentLinks(p.at, step, {}).slice(1),
              ]}
            />
          </>
        )}
      </Loaded>
    </section>
  );
}

/** The picture in words. */
function summary(data: ChartData, step: number): string {
  const totals = data.series.map((s) => `${s.name} ${s.values.reduce<number>((a, v) => a + (v ?? 0), 0)}`);
  return `Number of log lines per ${promDuration(step)}: ${totals.join(", ") || "none"}`;
}
