/** Traces: search, durations over time, the list. */
import "../core.ts";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { traceOperations, traceServices } from "../api_traces.ts";
import { Scatter } from "../chart/scatter.tsx";
import { useKeys } from "../keys.ts";
import { traceLink } from "../links.ts";
import { cached, px, useLoad } from "../load.ts";
import { assignSlots, seriesVar } from "../palette.ts";
import { go, link, param, patch } from "../router.ts";
import { service, tenant, useSteadyRange, zone } from "../state.ts";
import { dateTime, type Range } from "../time.ts";
import type { TraceSummary } from "../trace.ts";
import { integer, seconds } from "../units.ts";
import { Empty, Loaded, SafeText, Segments, Status } from "../widgets/basics.tsx";
import { mistake, search, type Found, type Search } from "./traces_data.ts";

const LIMITS = [20, 50, 100, 200, 500];
const DEFAULT_LIMIT = 100;
const SCATTER_HEIGHT = 170;

type Order = "newest" | "longest" | "errors" | "spans";
const ORDERS: readonly (readonly [Order, string])[] = [
  ["newest", "Newest"],
  ["longest", "Longest"],
  ["errors", "Most errors"],
  ["spans", "Most spans"],
];

const COMPARE: Record<Order, (a: TraceSummary, b: TraceSummary) => number> = {
  newest: (a, b) => b.start - a.start,
  longest: (a, b) => b.duration - a.duration,
  errors: (a, b) => b.errors - a.errors || b.start - a.start,
  spans: (a, b) => b.spans - a.spans || b.start - a.start,
};

function asked(): Search {
  return {
    service: service.value,
    operation: param("op"),
    tags: param("tags"),
    min: param("min"),
    max: param("max"),
    limit: Number(param("limit")) || DEFAULT_LIMIT,
  };
}

function Text(props: { name: string; label: string; placeholder: string; value: string; onCommit: (v: string) => void }) {
  const [draft, setDraft] = useState(props.value);
  useEffect(() => setDraft(props.value), [props.value]);
  return (
    <label class="labelled">
      {props.label}
      <input
        class="field mono"
        name={props.name}
        placeholder={props.placeholder}
        spellcheck={false}
        value={draft}
        onInput={(e) => setDraft(e.currentTarget.value)}
        onBlur={() => draft.trim() !== props.value && props.onCommit(draft.trim())}
      />
    </label>
  );
}

function Form({ s }: { s: Search }) {
  const services = useLoad(`services ${tenant.value}`, () => cached(`services ${tenant.value}`, () => traceServices()));
  const operations = useLoad(s.service ? `ops ${tenant.value} ${s.service}` : null, () => cached(`ops ${tenant.value} ${s.service}`, () => traceOperations(s.service)), s.service);
  const known = (list: readonly string[] | undefined, current: string): string[] => [...new Set([...(list ?? []), ...(current ? [current] : [])])];
  return (
    <form
      class="search-form"
      role="search"
      onSubmit={(e) => {
        e.preventDefault();
        const form = new FormData(e.currentTarget);
        const text = (name: string): string => String(form.get(name) ?? "").trim();
        patch({ tags: text("tags"), min: text("min"), max: text("max") });
      }}
    >
      <label class="labelled">
        Service
        <select class="field" value={s.service} onChange={(e) => patch({ service: e.currentTarget.value, op: "" })}>
          <option value="">All services</option>
          {known(services.data, s.service).map((n) => (
            <option key={n} value={n}>
              {n}
            </option>
          ))}
        </select>
      </label>
      <label class="labelled">
        Operation
        <select class="field" value={s.operation} disabled={!s.service} onChange={(e) => patch({ op: e.currentTarget.value })}>
          <option value="">{s.service ? "All operations" : "Choose a service first"}</option>
          {known(operations.data, s.operation).map((n) => (
            <option key={n} value={n}>
              {n}
            </option>
          ))}
        </select>
      </label>
      <Text name="tags" label="Tags" placeholder="error=true http.route=/events" value={s.tags} onCommit={(tags) => patch({ tags })} />
      <Text name="min" label="Longer than" placeholder="100ms" value={s.min} onCommit={(min) => patch({ min })} />
      <Text name="max" label="Shorter than" placeholder="2s" value={s.max} onCommit={(max) => patch({ max })} />
      <label class="labelled">
        Limit
        <select class="field" value={String(s.limit)} onChange={(e) => patch({ limit: e.currentTarget.value === String(DEFAULT_LIMIT) ? "" : e.currentTarget.value })}>
          {LIMITS.map((n) => (
            <option key={n} value={String(n)}>
              {n}
            </option>
          ))}
        </select>
      </label>
      <button type="submit" class="btn primary">
        Find
      </button>
    </form>
  );
}

function Row({ t, longest, color, selected }: { t: TraceSummary; longest: number; color: (service: string) => string; selected: boolean }) {
  return (
    <tr aria-selected={selected} onClick={(e) => !(e.target as Element).closest("a") && go(traceLink(t.id))} style="cursor:pointer">
      <td class="mono dim" style="white-space:nowrap">
        {dateTime(t.start / 1000, zone.value, true).slice(5)}
      </td>
      <td class="clip root">
        <a class="t" href={traceLink(t.id)}>
          <span class="dim">
            <SafeText text={t.service} />
          </span>{" "}
          <strong>
            <SafeText text={t.operation} />
          </strong>
        </a>
      </td>
      <td class="bar-cell">
        <div>
          <span class="num" style="width:64px;flex:none">
            {seconds(t.duration / 1e6)}
          </span>
          <span class="grow">
            <span class="bar" style={{ display: "block", width: `${Math.max(0.5, (100 * t.duration) / longest)}%`, "--c": t.errors > 0 ? "var(--error)" : "var(--accent)" }} />
          </span>
        </div>
      </td>
      <td class="num dim">{integer(t.spans)}</td>
      <td>{t.errors > 0 ? <Status kind="error">{t.errors} failed</Status> : <Status kind="ok">ok</Status>}</td>
      <td class="hide-narrow">
        <span class="row" style="gap:10px">
          {t.services.slice(0, 4).map(([name, n]) => (
            <span key={name} class="row dim" style="gap:5px">
              <span class="dot" style={{ "--c": color(name) }} />
              <SafeText text={name} /> <span class="faint">{n}</span>
            </span>
          ))}
          {t.services.length > 4 && <span class="faint">+{t.services.length - 4}</span>}
        </span>
      </td>
    </tr>
  );
}

function Results({ found, view, limit }: { found: Found; view: Range; limit: number }) {
  const order = (param("sort") || "newest") as Order;
  const [at, setAt] = useState(-1);
  const table = useRef<HTMLTableSectionElement>(null);
  const rows = useMemo(() => [...found.traces].sort(COMPARE[order] ?? COMPARE.newest), [found, order]);
  const longest = rows.reduce((m, t) => Math.max(m, t.duration), 1);
  const names = useMemo(() => [...new Set(rows.flatMap((t) => t.services.map(([n]) => n)))], [rows]);
  const slots = useMemo(() => assignSlots(names), [names]);
  const color = (name: string): string => `var(${seriesVar(slots[names.indexOf(name)]?.color ?? 0)})`;
  // When the limit cuts, the picture shows the time that was searched, not an empty past.
  const full = rows.length >= limit;
  const oldest = rows.reduce((m, t) => Math.min(m, t.start / 1000), view.to);
  const shownView = full ? { from: oldest - (view.to - oldest) * 0.02, to: view.to } : view;
  const step = (by: number): void => setAt((i) => Math.min(rows.length - 1, Math.max(0, i + by)));
  useKeys({ j: () => step(1), k: () => step(-1), Enter: () => (rows[at] ? go(traceLink(rows[at].id)) : false) });
  useEffect(() => table.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" }), [at]);
  if (rows.length === 0) {
    return (
      <Empty title="No traces fit">
        <p>
          Widen the range, drop a condition, or <a href={link("traces", { service: "" })}>search all services</a>.
        </p>
      </Empty>
    );
  }
  return (
    <>
      <Scatter traces={rows} view={shownView} height={SCATTER_HEIGHT} selected={rows[at]?.id ?? ""} onOpen={(id) => go(traceLink(id))} />
      <div class="toolbar" style="padding:6px 12px;border-top:1px solid var(--border-soft)">
        <span>
          {integer(rows.length)} {rows.length === 1 ? "trace" : "traces"}
          {full && <span class="dim">, the newest; older ones are beyond the limit</span>}
        </span>
        {found.skipped > 0 && <span class="warn-text">{found.skipped} services were not searched; choose one</span>}
        <span class="grow" />
        <Segments label="Order" value={order} options={ORDERS} onChange={(sort) => patch({ sort: sort === "newest" ? "" : sort }, true)} />
      </div>
      <div class="table-wrap trace-list" tabIndex={0} role="region" aria-label="Traces found">
        <table class="data">
          <thead>
            <tr>
              <th>started</th>
              <th>root</th>
              <th>duration</th>
              <th class="num">spans</th>
              <th>result</th>
              <th class="hide-narrow">services</th>
            </tr>
          </thead>
          <tbody ref={table}>
            {rows.map((t, i) => (
              <Row key={t.id} t={t} longest={longest} color={color} selected={i === at} />
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

/** The page. */
export default function Traces() {
  const s = asked();
  const wrong = mistake(s);
  // As in Logs: an empty list follows the present, a filled one holds still.
  const empty = useRef(false);
  const r = useSteadyRange(empty.current);
  const load = useLoad(wrong ? null : `${JSON.stringify(s)} ${r.from} ${r.to}`, async (signal) => ({ found: await search(s, r, signal), view: r }), "traces");
  empty.current = !load.loading && load.data?.found.traces.length === 0;
  return (
    <div class="page">
      <h1 class="visually-hidden">Traces</h1>
      <Form s={s} />
      <section class="panel" aria-label="Result" style={{ minHeight: px(240) }}>
        {wrong ? <div class="state error-text">{wrong}</div> : <Loaded load={load}>{(d) => <Results found={d.found} view={d.view} limit={s.limit} />}</Loaded>}
      </section>
    </div>
  );
}
