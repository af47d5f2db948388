/** Logs: a query, how many lines of which level came when, and the lines or their patterns; live on request. */
import "../core.ts";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { chosen } from "../chart/chosen.ts";
import { gridData } from "../chart/data.ts";
import { useKeys } from "../keys.ts";
import { useLoad } from "../load.ts";
import { momentLinks } from "../links.ts";
import { effectiveQuery } from "../query/effective.ts";
import { addFilter, addPattern, isMetricQuery, needles } from "../query/logql.ts";
import { rememberQuery } from "../query/saved.ts";
import { logServiceLabel } from "../query/scope.ts";
import { link, param, patch } from "../router.ts";
import { heldRange, range, refresh, service, tenant, useSteadyRange } from "../state.ts";
import type { Range } from "../time.ts";
import { format, integer } from "../units.ts";
import { Empty, Failure, Popover, Segments } from "../widgets/basics.tsx";
import { Icon } from "../widgets/icons.tsx";
import { lazy } from "../widgets/lazy.tsx";
import { HELD_MAX, lineId, rowOf, useLines, type Lines } from "./logs_data.ts";
import { LogList, WrappedList, type Look, type StampMode } from "./logs_list.tsx";
import type { OnFilter } from "./logs_parts.ts";
import { Volume } from "./logs_volume.tsx";
import { loadedRows, rowAt, total } from "./logs_window.ts";

const METRIC_HEIGHT = 300;

const LogQueryBar = lazy(() => import("./logs_query.tsx").then((m) => m.LogQueryBar), 34);
const LineChart = lazy(() => import("../chart/line.tsx").then((m) => m.LineChart), METRIC_HEIGHT);
const LinePeek = lazy(() => import("./logs_peek.tsx").then((m) => m.LinePeek));
const FieldList = lazy(() => import("./logs_fields.tsx").then((m) => m.FieldList));
const Patterns = lazy(() => import("./logs_patterns.tsx").then((m) => m.Patterns));
const SavedSearches = lazy(() => import("./logs_saved.tsx").then((m) => m.SavedSearches));
const ViewMenu = lazy(() => import("./logs_view.tsx").then((m) => m.ViewMenu));
const SeriesLegend = lazy(() => import("./metrics_legend.tsx").then((m) => m.SeriesLegend));
const QueryCopy = lazy(() => import("./logs_query_copy.tsx").then((m) => m.QueryCopy), 24);

/** Columns beyond it leave no room for the line. */
const COLUMNS_MAX = 8;

/** Lines whose fields are counted. */
const SAMPLE_LINES = 1000;

const TAIL_WORDS: Record<Lines["tail"]["state"], string> = {
  off: "",
  connecting: "connecting…",
  streaming: "lines as they arrive",
  asking: "asking every 2 s",
  waiting: "not connected, trying again",
};

function Foot({ lines, live, paused, onResume }: { lines: Lines; live: boolean; paused: boolean; onResume: () => void }) {
  const n = total(lines.window);
  // What there is instead of lines is said above: nothing yet, an error, none in the range.
  if (n === 0 && !live && !lines.error) return null;
  const waiting = lines.held + lines.lost;
  return (
    <div class="log-foot">
      <span>
        {integer(n)} {n === 1 ? "line" : "lines"}
        {lines.older ? ", there are more" : ""}
      </span>
      {lines.older && n > 0 && (
        <button type="button" class="btn small" disabled={lines.fetching !== ""} onClick={lines.loadOlder}>
          {lines.fetching === "older" ? "Loading…" : "Load older"}
        </button>
      )}
      {lines.error && <span class="error-text clip">{lines.error.message}</span>}
      <span class="grow" />
      {live && lines.tail.error && <span class="error-text clip">{lines.tail.error.message}</span>}
      {live && lines.dropped > 0 && <span class="warn-text">at least {integer(lines.dropped)} left out: they came faster than they could be sent</span>}
      {live && lines.lost > 0 && <span class="warn-text">{integer(lines.lost)} beyond {integer(HELD_MAX)} are read again on continuing</span>}
      {live && !paused && <span class="faint">{TAIL_WORDS[lines.tail.state]}</span>}
      {live && (
        <button type="button" class="btn small" onClick={onResume}>
          <Icon name={paused ? "play" : "pause"} />
          {paused ? `Paused, ${integer(waiting)} new — continue` : "Live"}
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
    <div class="log-metric">
      <LineChart data={data} view={r} unit="count" height={METRIC_HEIGHT} only={chosen(data)} label="LogQL result" links={(p) => momentLinks(p.at, step, p.series?.labels ?? {})} />
      <SeriesLegend data={data} unit="count" />
    </div>
  );
}

/** What the last query cost, said small. */
function Cost({ lines }: { lines: Lines }) {
  const cost = lines.load.data?.cost;
  if (!cost) return null;
  const read = cost.lines !== null && cost.lines > 0 ? ` · ${format(cost.lines)} lines, ${format(cost.bytes ?? 0, "bytes")} read` : "";
  return (
    <span class="faint clip cost">
      {format(cost.ms / 1000, "seconds", 2)}
      {read}
    </span>
  );
}

/** How rows look, as the URL says. */
function useLook(query: string): Look {
  const columns = param("cols");
  const stamp = (["date", "ns"].includes(param("ts")) ? param("ts") : "time") as StampMode;
  const raw = param("raw") === "1";
  return useMemo(() => ({ columns: columns.split(",").filter(Boolean).slice(0, COLUMNS_MAX), stamp, raw, marks: needles(query) }), [columns, stamp, raw, query]);
}

/** Whether the window is too narrow for the list of fields beside the lines. */
const narrow = (): boolean => window.innerWidth <= 1020;

/** The stamp the list begins at: what the URL says or, when the page is opened by a link to a line, that line's. */
function useAnchor(): string {
  const opened = useRef(/^\d+/.exec(param("line"))?.[0] ?? "");
  const at = param("at");
  const ns = /^\d{12,19}$/.test(at) ? at : opened.current;
  // A new search begins at its newest line again.
  const key = `${param("q")} ${param("from")} ${param("to")}`;
  const first = useRef(key);
  if (first.current !== key) {
    first.current = key;
    opened.current = "";
    return /^\d{12,19}$/.test(at) ? at : "";
  }
  return ns;
}

function QueryBar({ query, lines, live, paused, onRun }: { query: string; lines: Lines; live: boolean; paused: boolean; onRun: (q: string) => void }) {
  return (
    <div class="query-bar">
      <LogQueryBar value={query} error={lines.load.error} onRun={onRun} />
      <Popover title="Saved and recent searches" label="Saved" popClass="saved-pop" right>
        {(close) => <SavedSearches query={query} close={close} />}
      </Popover>
      <button type="button" class="btn" aria-pressed={live} title="Follow new lines; Space pauses" onClick={() => patch({ live: live ? "" : "1", at: "" }, true)}>
        <Icon name={live && !paused ? "pause" : "play"} />
        Live
      </button>
    </div>
  );
}

function ListHead({ query, lines, r, look, patterns, fields }: { query: string; lines: Lines; r: Range; look: Look; patterns: boolean; fields: boolean }) {
  return (
    <header>
      <Segments<"lines" | "patterns">
        label="Show"
        value={patterns ? "patterns" : "lines"}
        options={[
          ["lines", "Lines"],
          ["patterns", "Patterns"],
        ]}
        onChange={(v) => patch({ view: v === "lines" ? "" : v, line: "" })}
      />
      {!patterns && <Cost lines={lines} />}
      <span class="grow" />
      {!patterns && (
        <>
          <button type="button" class="btn small" aria-pressed={fields} onClick={() => patch({ fields: fields ? "0" : "1" }, true)}>
            Fields
          </button>
          <button type="button" class="btn small" aria-pressed={param("wrap") === "1"} title="Wrap long lines" onClick={() => patch({ wrap: param("wrap") ? "" : "1" }, true)}>
            Wrap
          </button>
          <Popover title="How lines are shown" label="View" buttonClass="small" right>
            {() => <ViewMenu stamp={look.stamp} columns={look.columns} />}
          </Popover>
          <QueryCopy query={query} r={r} window={lines.window} />
        </>
      )}
    </header>
  );
}

function LinesBody({ lines, r, look, selected, anchor, live, paused, onTop, onOpen, onColumn, onResume }: {
  lines: Lines;
  r: Range;
  look: Look;
  selected: number;
  anchor: string;
  live: boolean;
  paused: boolean;
  onTop: (atTop: boolean) => void;
  onOpen: (row: number) => void;
  onColumn: (name: string) => void;
  onResume: () => void;
}) {
  const rows = total(lines.window);
  const List = param("wrap") === "1" ? WrappedList : LogList;
  if (lines.matrix) return <MetricResult lines={lines} r={r} />;
  const scoped = param("q") !== "" || service.value !== "";
  return (
    <>
      {rows > 0 && (
        <List
          window={lines.window}
          origin={lines.load.data}
          anchor={anchor === "" ? -1 : firstAt(lines, anchor)}
          selected={selected}
          follow={live && !paused}
          look={look}
          onOpen={onOpen}
          onView={lines.view}
          onTop={onTop}
          onDropColumn={onColumn}
        />
      )}
      {lines.load.data && rows === 0 && (
        <Empty title="No lines in this range">
          <p>
            Widen the range or loosen the query{scoped ? <>, or <a href={link("logs", { service: "" })}>look at all services</a></> : null}.
          </p>
        </Empty>
      )}
      {lines.load.data === undefined && !lines.load.error && (
        <div class="state faint" aria-busy="true">
          Loading…
        </div>
      )}
      <Foot lines={lines} live={live} paused={paused} onResume={onResume} />
    </>
  );
}

/** First row at or below a stamp. */
function firstAt(lines: Lines, ns: string): number {
  const exact = rowOf(lines.window, ns);
  if (exact >= 0) return exact;
  let row = 0;
  for (const p of lines.load.data?.window.pages ?? []) {
    const i = p.rows?.findIndex((l) => l.ns.length < ns.length || (l.ns.length === ns.length && l.ns <= ns)) ?? -1;
    if (i >= 0) return row + i;
    row += p.count;
  }
  return -1;
}

/** The page. */
export default function Logs() {
  const label = useLoad(tenant.value, () => logServiceLabel(heldRange.peek())).data;
  // A query that stands by itself need not wait for the name of the label that services have.
  const alone = param("q") !== "" && service.value === "";
  const query = label === undefined && !alone ? null : effectiveQuery(param("q"), param("find"), label ?? "service_name", service.value);
  const live = param("live") === "1";
  const [stopped, setStopped] = useState(false);
  const [atTop, setAtTop] = useState(true);
  const paused = stopped || !atTop;
  // An empty list follows the present until something arrives; a list with lines holds still.
  const empty = useRef(false);
  const r = useSteadyRange(empty.current);
  const anchor = useAnchor();
  const lines = useLines(query, r, live ? "" : anchor, live, paused);
  const rows = total(lines.window);
  empty.current = !lines.load.loading && lines.load.data !== undefined && rows === 0 && lines.matrix === undefined;
  const look = useLook(query ?? "");
  const patterns = param("view") === "patterns";
  const metric = query !== null && isMetricQuery(query);
  const id = param("line");
  const selectedRow = useMemo(() => rowOf(lines.window, id), [lines.window, id]);
  const selected = rowAt(lines.window, selectedRow);
  const fields = !patterns && !metric && rows > 0 && !selected && (param("fields") === "1" || (param("fields") !== "0" && !narrow()));
  const sample = useMemo(() => loadedRows(lines.window, SAMPLE_LINES), [lines.load.data, lines.window.pages[0]]);

  const run = (q: string): void => {
    if (q !== "") rememberQuery(q);
    patch({ q, find: "", line: "", at: "" });
  };
  const filter: OnFilter = (name, op, value, source) => query && run(addFilter(query, name.replaceAll(/\W/g, "_"), op, value, source));
  const pattern = (text: string, op: "|>" | "!>"): void => {
    if (query) patch({ q: addPattern(query, text, op), find: "", line: "", at: "", view: op === "|>" ? "" : "patterns" });
  };
  const column = (name: string): void => {
    const next = look.columns.includes(name) ? look.columns.filter((c) => c !== name) : [...look.columns, name].slice(-COLUMNS_MAX);
    patch({ cols: next.join(",") }, true);
  };
  const openRow = (row: number): void => {
    const line = rowAt(lines.window, row);
    if (line) patch({ line: lineId(line) }, true);
  };
  const step = (by: 1 | -1): void => openRow(selected ? selectedRow + by : 0);
  const resume = (): void => {
    setStopped(!paused);
    if (paused) document.querySelector(".log-scroll")?.scrollTo({ top: 0 });
  };
  useKeys({ j: () => step(1), k: () => step(-1), Enter: () => (selected ? undefined : step(1)), " ": () => (live ? resume() : false) });
  useEffect(() => setStopped(false), [live]);
  return (
    <div class="page fixed">
      <QueryBar query={query ?? ""} lines={lines} live={live} paused={paused} onRun={(q) => (run(q), refresh())} />
      {query !== null && !metric && !lines.load.error && <Volume query={query} r={live ? range.value : r} onFilter={filter} />}
      <div class={`with-peek ${selected ? "open" : ""}`}>
        <div class={`logs ${fields ? "with-fields" : "plain"}`}>
          {fields && query && <FieldList rows={sample} whole={rows <= SAMPLE_LINES && !lines.older && !lines.newer} query={query} r={r} columns={look.columns} onFilter={filter} onColumn={column} />}
          <section class="panel log-panel" aria-label={patterns ? "Patterns" : "Lines"}>
            {lines.load.loading && <div class="progress" aria-hidden="true" />}
            {!metric && query !== null && <ListHead query={query} lines={lines} r={r} look={look} patterns={patterns} fields={fields} />}
            {lines.load.error && <Failure error={lines.load.error} retry={lines.load.retry} />}
            {lines.load.data?.warnings.map((w) => (
              <div key={w} class="notice" role="status">
                <Icon name="warn" />
                {w}
              </div>
            ))}
            {patterns && !metric && query !== null ? (
              <Patterns query={query} r={r} onPattern={pattern} />
            ) : (
              <LinesBody lines={lines} r={r} look={look} selected={selectedRow} anchor={anchor} live={live} paused={paused} onTop={setAtTop} onOpen={openRow} onColumn={column} onResume={resume} />
            )}
          </section>
        </div>
        {selected && (
          <LinePeek line={selected} serviceLabel={label ?? "service_name"} r={r} onClose={() => patch({ line: "" }, true)} onStep={step} onFilter={filter} columns={look.columns} onColumn={column} />
        )}
      </div>
    </div>
  );
}
