/** Logs: a query, how many lines of which level came when, and the lines; live on request. */
import "../core.ts";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { lokiLabels, lokiRange, nanos, type LogLine } from "../api.ts";
import { addUp, gridData, NO_DATA, type ChartData, type Series } from "../chart/data.ts";
import { BarChart } from "../chart/bars.tsx";
import { useKeys } from "../keys.ts";
import { cached, useLoad } from "../load.ts";
import { momentLinks } from "../links.ts";
import { levelOf, LEVELS, seriesVar } from "../palette.ts";
import { effectiveQuery } from "../query/effective.ts";
import { addFilter, isMetricQuery, needles, volumeQuery, type FieldSource } from "../query/logql.ts";
import { logServiceLabel } from "../query/scope.ts";
import { here, link, param, patch } from "../router.ts";
import { heldRange, range, service, useSteadyRange, tenant } from "../state.ts";
import { alignRange, iso, promDuration, stepFor, type Range } from "../time.ts";
import { integer } from "../units.ts";
import { Empty, Failure, Loaded } from "../widgets/basics.tsx";
import { Icon } from "../widgets/icons.tsx";
import { lazy } from "../widgets/lazy.tsx";
import { useLines, type Lines } from "./logs_data.ts";
import { FieldList } from "./logs_fields.tsx";
import { LogList } from "./logs_list.tsx";

const METRIC_HEIGHT = 300;

const LogQueryBar = lazy(() => import("./logs_query.tsx").then((m) => m.LogQueryBar), 34);
const LineChart = lazy(() => import("../chart/line.tsx").then((m) => m.LineChart), METRIC_HEIGHT);
const LinePeek = lazy(() => import("./logs_peek.tsx").then((m) => m.LinePeek));

const VOLUME_HEIGHT = 104;
const VOLUME_BARS = 100;

/** Labels that carry the level: what Loki detects while ingesting, and what a service labels its streams with. */
const LEVEL_LABELS = "detected_level, level";

/** Volume split by a label. By level, the series stand in the order of severity, the worst at the bottom of the stack. */
async function loadVolume(query: string, by: string, r: Range, step: number, signal: AbortSignal): Promise<ChartData> {
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

function Volume({ query, r, onFilter }: { query: string; r: Range; onFilter: (name: string, op: "=", value: string, source: FieldSource) => void }) {
  const by = param("by") || "level";
  const step = stepFor(r, VOLUME_BARS);
  const load = useLoad(`${query} ${by} ${r.from} ${r.to} ${step}`, (signal) => loadVolume(query, by, r, step, signal), `${query} ${by}`);
  const names = useLoad(`log-labels ${tenant.value}`, () => cached(`log-labels ${tenant.value}`, () => lokiLabels(nanos(r.from), nanos(r.to))));
  const color = (s: Series): string => (by === "level" ? `--level-${levelOf(s.name)}` : seriesVar(s.slot.color));
  return (
    <section class="panel" aria-label="Volume" style="flex:none">
      <Loaded load={load}>
        {(data) => (
          <>
            <div class="row wrap" style="padding:5px 12px 0;gap:2px 12px;font-size:12px;min-height:24px">
              <span class="dim">lines per {promDuration(step)} by</span>
              <select class="field" style="height:24px" aria-label="Split the volume by" value={by} onChange={(e) => patch({ by: e.currentTarget.value === "level" ? "" : e.currentTarget.value }, true)}>
                {["level", ...(names.data ?? []).filter((n) => n !== "level")].map((n) => (
                  <option key={n}>{n}</option>
                ))}
              </select>
              {[...data.series].reverse().map((s) => (
                <button
                  type="button"
                  key={s.key}
                  class="btn small quiet"
                  style="gap:5px"
                  title={`Only lines with ${by} ${s.name}`}
                  onClick={() => onFilter(legendFilter(by).name, "=", s.name, legendFilter(by).source)}
                >
                  <span class="dot" style={{ "--c": `var(${color(s)})` }} />
                  {s.name} <span class="faint">{integer(s.values.reduce<number>((a, v) => a + (v ?? 0), 0))}</span>
                </button>
              ))}
            </div>
            <BarChart
              data={data}
              step={step}
              view={r}
              height={VOLUME_HEIGHT}
              color={color}
              label="Number of log lines over time"
              links={(p) => [
                { text: "Only this interval", href: here({ from: iso(p.at - step * 1000), to: iso(p.at) }) },
                ...momentLinks(p.at, step, {}).slice(1),
              ]}
            />
          </>
        )}
      </Loaded>
    </section>
  );
}

function Foot({ lines, live, paused, onResume }: { lines: Lines; live: boolean; paused: boolean; onResume: () => void }) {
  const n = lines.rows.length;
  return (
    <div class="log-foot">
      <span>
        {integer(n)} {n === 1 ? "line" : "lines"}
        {lines.more ? ", there are more" : ""}
      </span>
      {lines.more && n > 0 && (
        <button type="button" class="btn small" disabled={lines.loadingOlder} onClick={lines.loadOlder}>
          {lines.loadingOlder ? "Loading…" : "Load older"}
        </button>
      )}
      {lines.olderError && <span class="error-text">{lines.olderError.message}</span>}
      <span class="grow" />
      {lines.liveError && <span class="error-text clip">{lines.liveError.message}</span>}
      {live && (
        <button type="button" class="btn small" onClick={onResume}>
          {paused ? `Paused, ${integer(lines.waiting)} new — continue` : "Live"}
        </button>
      )}
    </div>
  );
}

function MetricResult({ lines, r }: { lines: Lines; r: Range }) {
  const matrix = lines.matrix ?? [];
  const step = Math.max(1, Math.ceil((r.to - r.from) / 400_000));
  const start = Math.floor(r.from / 1000);
  const data = useMemo(() => gridData(matrix, start, Math.floor(r.to / 1000), step), [lines.matrix, start, step]);
  if (data.series.length === 0) return <Empty title="No data in this range" />;
  return (
    <div style="padding:8px">
      <LineChart data={data} view={r} unit="count" height={METRIC_HEIGHT} label="LogQL result" links={(p) => momentLinks(p.at, step, p.series?.labels ?? {})} />
    </div>
  );
}

/** The page. */
export default function Logs() {
  const label = useLoad(tenant.value, () => logServiceLabel(heldRange.peek())).data;
  const typed = param("q");
  const query = label === undefined ? null : effectiveQuery(typed, param("find"), label, service.value);
  const live = param("live") === "1";
  const [stopped, setStopped] = useState(false);
  const [atTop, setAtTop] = useState(true);
  const paused = stopped || !atTop;
  // An empty list follows the present until something arrives; a list with lines holds still.
  const empty = useRef(false);
  const r = useSteadyRange(empty.current);
  const lines = useLines(query, r, live, paused);
  empty.current = !lines.load.loading && lines.load.data?.length === 0 && lines.rows.length === 0 && lines.matrix === undefined;
  const selected = lines.rows.find((l) => l.ns === param("line"));
  const metric = query !== null && isMetricQuery(query);
  const wrap = param("wrap") === "1";
  const marks = useMemo(() => needles(query ?? ""), [query]);

  const run = (q: string): void => patch({ q, find: "", line: "" });
  const filter = (name: string, op: "=" | "!=", value: string, source: FieldSource): void => {
    if (query) run(addFilter(query, name.replaceAll(/\W/g, "_"), op, value, source));
  };
  const open = (line: LogLine | undefined): void => patch({ line: line?.ns ?? "" }, true);
  const step = (by: 1 | -1): void => {
    const i = selected ? lines.rows.indexOf(selected) + by : 0;
    const next = lines.rows[i];
    if (next) open(next);
  };
  const resume = (): void => {
    setStopped(!paused ? true : false);
    if (paused) document.querySelector(".log-scroll")?.scrollTo({ top: 0 });
  };
  useKeys({ j: () => step(1), k: () => step(-1), Enter: () => (selected ? undefined : step(1)), " ": () => (live ? resume() : false) });
  useEffect(() => setStopped(false), [live]);
  return (
    <div class="page fixed">
      <div class="query-bar">
        <LogQueryBar value={query ?? ""} error={lines.load.error} onRun={run} />
        <button type="button" class="btn" aria-pressed={live} title="Follow new lines; Space pauses" onClick={() => patch({ live: live ? "" : "1" }, true)}>
          <Icon name={live && !paused ? "pause" : "play"} />
          Live
        </button>
        <button type="button" class="btn" aria-pressed={wrap} title="Wrap long lines" onClick={() => patch({ wrap: wrap ? "" : "1" }, true)}>
          Wrap
        </button>
      </div>
      {query !== null && !metric && !lines.load.error && <Volume query={query} r={live ? range.value : r} onFilter={filter} />}
      <div class={`with-peek ${selected ? "open" : ""}`}>
        <div class={`logs ${metric || lines.rows.length === 0 || selected ? "plain" : ""}`}>
          {!metric && lines.rows.length > 0 && !selected && <FieldList rows={lines.rows} onFilter={filter} />}
          <section class="panel log-panel" aria-label="Lines">
            {lines.load.loading && <div class="progress" aria-hidden="true" />}
            {lines.load.error && <Failure error={lines.load.error} retry={lines.load.retry} />}
            {metric && lines.matrix && <MetricResult lines={lines} r={r} />}
            {!metric && lines.rows.length > 0 && <LogList rows={lines.rows} selected={selected} wrap={wrap} marks={marks} onOpen={open} onTop={setAtTop} />}
            {!metric && lines.load.data?.length === 0 && lines.rows.length === 0 && (
              <Empty title="No lines in this range">
                <p>
                  Widen the range or loosen the query{typed || service.value ? <>, or <a href={link("logs", { service: "" })}>look at all services</a></> : null}.
                </p>
              </Empty>
            )}
            {lines.load.data === undefined && !lines.load.error && <div class="state faint">Loading…</div>}
            {!metric && <Foot lines={lines} live={live} paused={paused} onResume={resume} />}
          </section>
        </div>
        {selected && <LinePeek line={selected} serviceLabel={label ?? "service_name"} onClose={() => open(undefined)} onStep={step} onFilter={filter} />}
      </div>
    </div>
  );
}
