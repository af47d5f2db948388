/** The query-less half of Metrics: find metrics by name, help, kind and labels; see each as a small chart or a row. */
import "../core.ts";
import { px, useWidth, type Load } from "../load.ts";
import type { Family, Kind } from "../query/promql.ts";
import { matchWith } from "../query/promql.ts";
import { link, param, paramAll, patch } from "../router.ts";
import { service } from "../state.ts";
import { integer } from "../units.ts";
import { Empty, Failure, SafeText, Segments } from "../widgets/basics.tsx";
import { useRows } from "../widgets/window.ts";
import { Card, Filters, NameList, QueryBar } from "./metrics_parts.ts";
import type { Catalogue } from "./metrics.tsx";

/** As in the stylesheet: a card, and the gap between two. */
const CARD_HEIGHT = 154;
const CARD_WIDTH_MIN = 280;
const GAP = 10;
const FACETS_MAX = 40;

/** First word of a name: what its exporter or library put in front. */
const prefixOf = (name: string): string => /^[a-zA-Z0-9]+/.exec(name)?.[0] ?? name;

function counted(list: readonly Family[], of: (f: Family) => string): [string, number][] {
  const counts = new Map<string, number>();
  for (const f of list) counts.set(of(f), (counts.get(of(f)) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, FACETS_MAX);
}

function Facets({ all, current }: { all: readonly Family[]; current: string }) {
  return (
    <div class="facets" role="group" aria-label="Name prefixes">
      <button type="button" aria-pressed={current === ""} onClick={() => patch({ prefix: "" })}>
        <span>all</span>
        <span class="faint">{all.length}</span>
      </button>
      {counted(all, (f) => prefixOf(f.name)).map(([prefix, count]) => (
        <button key={prefix} type="button" aria-pressed={current === prefix} onClick={() => patch({ prefix })}>
          <span class="clip">{prefix}</span>
          <span class="faint">{count}</span>
        </button>
      ))}
    </div>
  );
}

/** Cards in rows; only rows near the viewport are drawn and asked for. */
function Cards({ families, match }: { families: readonly Family[]; match: readonly string[] }) {
  const [host, width] = useWidth<HTMLDivElement>();
  const columns = Math.max(1, Math.floor((width + GAP) / (CARD_WIDTH_MIN + GAP)));
  const [ref, rows] = useRows<HTMLDivElement>(Math.ceil(families.length / columns), CARD_HEIGHT + GAP);
  return (
    <div ref={host}>
      <div ref={ref} style={{ paddingTop: px(rows.above), paddingBottom: px(rows.below) }}>
        <div class="cards">
          {width > 0 && families.slice(rows.first * columns, rows.end * columns).map((f) => <Card key={f.name} family={f} match={match} />)}
        </div>
      </div>
    </div>
  );
}

function Found({ catalogue }: { catalogue: Catalogue }) {
  const find = param("find").toLowerCase().split(/\s+/).filter(Boolean);
  const [prefix, kind] = [param("prefix"), param("kind") as Kind | ""];
  const found = catalogue.families.filter((f) => find.every((w) => f.name.toLowerCase().includes(w) || f.help.toLowerCase().includes(w)));
  const ofKind = found.filter((f) => !kind || f.kind === kind);
  const shown = ofKind.filter((f) => !prefix || prefixOf(f.name) === prefix);
  return (
    <>
      <div class="toolbar">
        <Segments
          label="Layout"
          value={param("list") === "1" ? "list" : "charts"}
          options={[
            ["charts", "Charts"],
            ["list", "List"],
          ]}
          onChange={(v) => patch({ list: v === "list" ? "1" : "" })}
        />
        {counted(found, (f) => f.kind).map(([k, n]) => (
          <button key={k} type="button" class="chip" aria-pressed={kind === k} onClick={() => patch({ kind: kind === k ? "" : k })}>
            {k.replace("_", " ")} <span class="faint">{n}</span>
          </button>
        ))}
        <Filters metric="" scope={catalogue.match} />
      </div>
      <div class="browse">
        <Facets all={ofKind} current={prefix} />
        <div>
          {shown.length === 0 ? (
            <Empty title="No metric fits">
              <p>Try fewer words, another prefix or type, fewer filters, or a wider service scope.</p>
            </Empty>
          ) : param("list") === "1" ? (
            <NameList families={shown} />
          ) : (
            <Cards families={shown} match={matchWith(catalogue.match, paramAll("f"))} />
          )}
        </div>
      </div>
    </>
  );
}

/** The browser. */
export function Browser({ catalogue }: { catalogue: Load<Catalogue> }) {
  const filtered = paramAll("f").length > 0;
  return (
    <>
      <QueryBar values={[""]} catalogue={catalogue.data} />
      <div class="toolbar">
        <h1>Metrics</h1>
        <span class="dim">
          {catalogue.data && `${integer(catalogue.data.families.length)} `}
          {service.value ? <SafeText text={`of ${service.value}`} /> : "of all services"}
        </span>
        <span class="grow" />
        <a class="btn" href={link("metrics/cardinality")}>
          Cardinality
        </a>
        <input
          class="field"
          style="width:min(320px,100%)"
          type="search"
          placeholder="Filter by name or help"
          aria-label="Filter metrics by name or help"
          value={param("find")}
          onInput={(e) => patch({ find: e.currentTarget.value }, true)}
        />
      </div>
      {catalogue.error && <Failure error={catalogue.error} retry={catalogue.retry} />}
      {catalogue.data && (catalogue.data.families.length > 0 || filtered) && <Found catalogue={catalogue.data} />}
      {catalogue.data && catalogue.data.families.length === 0 && !filtered && (
        <Empty title="No metrics in this range">
          <p>
            {service.value ? `${service.value} has sent none. ` : ""}Widen the range, or see <a href={link("")}>Home</a> for ways to send some.
          </p>
        </Empty>
      )}
      {!catalogue.data && !catalogue.error && (
        <div class="state" aria-busy="true">
          <span class="faint">Loading…</span>
        </div>
      )}
    </>
  );
}
