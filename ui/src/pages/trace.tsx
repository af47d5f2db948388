/** One trace: what it was, where its time went, what failed. */
import "../core.ts";
import { useEffect, useMemo, useState } from "preact/hooks";
import { trace, type JaegerTrace } from "../api_traces.ts";
import { useKeys } from "../keys.ts";
import { traceLogs } from "../links.ts";
import { useLoad } from "../load.ts";
import { assignSlots, seriesVar } from "../palette.ts";
import { logServiceLabel } from "../query/scope.ts";
import { link, param, patch, place } from "../router.ts";
import { heldRange, manualTick, tenant, zone } from "../state.ts";
import { dateTime } from "../time.ts";
import { buildTree, tagText, visibleRows, type Node, type Tree } from "../trace.ts";
import { integer, seconds } from "../units.ts";
import { Copy, Empty, Loaded, SafeText, Status } from "../widgets/basics.tsx";
import { lazy } from "../widgets/lazy.tsx";
import { Waterfall } from "./trace_waterfall.tsx";

const SpanPeek = lazy(() => import("./trace_span.tsx").then((m) => m.SpanPeek));

/** Whether a span has the words somewhere a reader would look. */
export function spanFits(n: Node, words: readonly string[]): boolean {
  const hay = [n.span.operationName, n.service, n.span.spanID, ...(n.span.tags ?? []).map((t) => `${t.key}=${tagText(t.value)}`)].join("\n").toLowerCase();
  return words.every((w) => hay.includes(w));
}

function Head({ tree, colorVar, serviceLabel }: { tree: Tree; colorVar: (s: string) => string; serviceLabel: string }) {
  const root = tree.nodes[0];
  const at = tree.start / 1000;
  return (
    <div>
      <div class="page-head">
        <h1>
          <span class="dim" style="font-weight:400">
            <SafeText text={root?.service ?? ""} />
          </span>{" "}
          <SafeText text={root?.span.operationName ?? ""} />
        </h1>
        {tree.errors > 0 ? <Status kind="error">{tree.errors} failed</Status> : <Status kind="ok">ok</Status>}
        <strong>{seconds(tree.duration / 1e6)}</strong>
        <span class="dim">
          {integer(tree.nodes.length)} {tree.nodes.length === 1 ? "span" : "spans"}
        </span>
        <span class="dim">{dateTime(at, zone.value, true)}</span>
      </div>
      <div class="row wrap" style="margin-top:6px;gap:6px 14px">
        {tree.services.map((s) => (
          <span key={s} class="row" style="gap:6px">
            <span class="dot" style={{ "--c": `var(${colorVar(s)})` }} />
            <SafeText text={s} />
          </span>
        ))}
        <span class="mono faint clip">{tree.id}</span>
        <Copy text={tree.id} title="Copy trace id" />
        <span class="grow" />
        <a class="btn small" href={traceLogs({ from: at, to: at + tree.duration / 1000 }, serviceLabel, tree.services, tree.id)}>
          Logs of this trace
        </a>
      </div>
    </div>
  );
}

function View({ raw, serviceLabel }: { raw: JaegerTrace; serviceLabel: string }) {
  const tree = useMemo(() => buildTree(raw), [raw]);
  const [collapsed, setCollapsed] = useState<ReadonlySet<string>>(new Set());
  const slots = useMemo(() => assignSlots(tree.services), [tree]);
  const colorVar = (s: string): string => seriesVar(slots[tree.services.indexOf(s)]?.color ?? 0);
  const find = param("find");
  const words = find.toLowerCase().split(/\s+/).filter(Boolean);
  const onlyErrors = param("errors") === "1";
  const fits = (n: Node): boolean => (!onlyErrors || n.error) && spanFits(n, words);
  const matches = useMemo(() => tree.nodes.filter(fits), [tree, find, onlyErrors]);
  const selected = param("span");
  const node = tree.nodes.find((n) => n.span.spanID === selected);
  const select = (id: string): void => patch({ span: id }, true);
  const toggle = (id: string): void => {
    const next = new Set(collapsed);
    if (!next.delete(id)) next.add(id);
    setCollapsed(next);
  };
  const move = (among: readonly Node[], by: number): void => {
    const at = among.findIndex((n) => n.span.spanID === selected);
    const next = among[at < 0 ? 0 : Math.min(among.length - 1, Math.max(0, at + by))];
    if (next) select(next.span.spanID);
  };
  const rows = (): Node[] => visibleRows(tree.nodes, collapsed).flatMap((i) => tree.nodes[i] ?? []);
  useKeys({
    j: () => move(rows(), 1),
    k: () => move(rows(), -1),
    n: () => move(matches, 1),
    N: () => move(matches, -1),
    Enter: () => (node && node.size > 0 ? toggle(selected) : false),
    Escape: () => (selected ? select("") : false),
  });
  const filtering = words.length > 0 || onlyErrors;
  return (
    <>
      <Head tree={tree} colorVar={colorVar} serviceLabel={serviceLabel} />
      <div class="toolbar">
        <input
          class="field"
          type="search"
          style="width:min(300px,100%)"
          placeholder="Find spans: name, service, attribute"
          aria-label="Find spans"
          value={find}
          onInput={(e) => patch({ find: e.currentTarget.value }, true)}
          onKeyDown={(e) => e.key === "Enter" && move(matches, e.shiftKey ? -1 : 1)}
        />
        <button type="button" class="btn small" aria-pressed={onlyErrors} disabled={tree.errors === 0} onClick={() => patch({ errors: onlyErrors ? "" : "1" }, true)}>
          Errors
        </button>
        {filtering && (
          <span class="dim">
            {integer(matches.length)} of {integer(tree.nodes.length)} spans, <kbd>n</kbd> next
          </span>
        )}
        <span class="grow" />
        <button type="button" class="btn small quiet" onClick={() => setCollapsed(new Set())}>
          Expand all
        </button>
        <button type="button" class="btn small quiet" onClick={() => setCollapsed(new Set(tree.nodes.filter((n) => n.size > 0 && n.depth > 0).map((n) => n.span.spanID)))}>
          Collapse
        </button>
        <span class="faint hide-narrow" title="The line under the bars: shortening any of it would have shortened the trace">
          ▁ critical path &nbsp;◆ event
        </span>
      </div>
      <div class={`with-peek ${node ? "open" : ""}`}>
        <Waterfall tree={tree} collapsed={collapsed} selected={selected} colorVar={colorVar} fits={fits} onSelect={select} onToggle={toggle} />
        {node && (
          <SpanPeek
            tree={tree}
            node={node}
            processTags={raw.processes[node.span.processID]?.tags ?? []}
            serviceLabel={serviceLabel}
            onClose={() => select("")}
            onStep={(by) => move(rows(), by)}
          />
        )}
      </div>
    </>
  );
}

/** The page. */
export default function TracePage() {
  const id = place.value.path.split("/")[1] ?? "";
  const load = useLoad(`${tenant.value} ${id} ${manualTick.value}`, (signal) => trace(id, signal), id);
  const label = useLoad(`label ${tenant.value}`, () => logServiceLabel(heldRange.peek())).data ?? "service_name";
  useEffect(() => {
    document.title = `Trace ${id.slice(0, 8)} · Kenning`;
  }, [id]);
  return (
    <div class="page fixed">
      <Loaded load={load}>
        {(found) =>
          found && found.spans.length > 0 ? (
            <View raw={found} serviceLabel={label} />
          ) : (
            <Empty title="This trace is not here">
              <p>
                No span of <code>{id}</code> is stored for this tenant: it may not have arrived yet, may have been sampled away, or is older than the retention.
              </p>
              <p class="row">
                <button type="button" class="btn" onClick={load.retry}>
                  Look again
                </button>
                <a class="btn" href={link("traces")}>
                  Search traces
                </a>
              </p>
            </Empty>
          )
        }
      </Loaded>
    </div>
  );
}
