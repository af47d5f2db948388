/** The query-less half of Metrics: find metrics by name, see each as a small chart. */
import "../core.ts";
import { useState } from "preact/hooks";
import { promRange } from "../api.ts";
import { gridData } from "../chart/data.ts";
import { LineChart } from "../chart/line.tsx";
import { useLoad, useSeen, type Load } from "../load.ts";
import { link, param, patch } from "../router.ts";
import { expand, familyCaption, familyExpr, familyUnit, type Family } from "../query/promql.ts";
import { range, service } from "../state.ts";
import { alignRange, stepFor } from "../time.ts";
import { format } from "../units.ts";
import { summarize } from "../chart/data.ts";
import { momentLinks } from "../links.ts";
import { Empty, Failure, Loaded, SafeText } from "../widgets/basics.tsx";
import { QueryBar } from "./metrics_parts.ts";
import type { Catalogue } from "./metrics.tsx";

const CARD_HEIGHT = 104;
const CARD_POINTS = 90;
const PAGE_CARDS = 24;
const FACETS_MAX = 40;

/** Series in a small chart beyond this are not fetched: the card says so and the full view shows them. */
const CARD_SERIES = 12;

function Card({ family, match }: { family: Family; match: readonly string[] }) {
  const [ref, seen] = useSeen<HTMLElement>();
  const r = range.value;
  const step = stepFor(r, CARD_POINTS, 5);
  const { start, end } = alignRange(r, step);
  const expr = familyExpr(family, { match, by: "", window: "$__rate_interval", view: "0.95" });
  const limited = family.kind === "gauge" ? `topk(${CARD_SERIES}, ${expr})` : expr;
  const load = useLoad(
    seen ? `${limited} ${start} ${end} ${step}` : null,
    async (signal) => gridData((await promRange(expand(limited, step, r.to - r.from), start, end, step, signal)).series, start, end, step),
    limited,
  );
  const unit = familyUnit(family, "0.95");
  const lone = load.data?.series.length === 1 ? load.data.series[0] : undefined;
  return (
    <section class="panel card" ref={ref} aria-label={family.name}>
      <div class="head">
        <a class="clip" href={link("metrics", { metric: family.name })} title={family.help || family.name}>
          {family.name}
        </a>
        <span class="last">{lone ? format(summarize(lone.values).last, unit) : ""}</span>
        <span class="how clip">{familyCaption(family, "0.95")}</span>
      </div>
      <div class="body">
        {seen && (
          <Loaded load={load}>
            {(data) =>
              data.series.length === 0 ? (
                <div class="state">No samples in this range</div>
              ) : (
                <LineChart
                  small
                  data={data}
                  view={r}
                  unit={unit}
                  height={CARD_HEIGHT}
                  label={family.name}
                  links={(p) => momentLinks(p.at, step, p.series?.labels ?? {})}
                />
              )
            }
          </Loaded>
        )}
      </div>
    </section>
  );
}

/** First word of a name: what its exporter or library put in front. */
const prefixOf = (name: string): string => /^[a-zA-Z0-9]+/.exec(name)?.[0] ?? name;

function facets(list: readonly Family[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const f of list) counts.set(prefixOf(f.name), (counts.get(prefixOf(f.name)) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, FACETS_MAX);
}

function Facets({ all, current }: { all: readonly Family[]; current: string }) {
  return (
    <div class="facets" role="group" aria-label="Name prefixes">
      <button type="button" aria-pressed={current === ""} onClick={() => patch({ prefix: "" })}>
        <span>all</span>
        <span class="faint">{all.length}</span>
      </button>
      {facets(all).map(([prefix, count]) => (
        <button key={prefix} type="button" aria-pressed={current === prefix} onClick={() => patch({ prefix })}>
          <span class="clip">{prefix}</span>
          <span class="faint">{count}</span>
        </button>
      ))}
    </div>
  );
}

function Grid({ catalogue }: { catalogue: Catalogue }) {
  const [pages, setPages] = useState(1);
  const find = param("find").toLowerCase().split(/\s+/).filter(Boolean);
  const prefix = param("prefix");
  const found = catalogue.families.filter((f) => find.every((w) => f.name.toLowerCase().includes(w) || f.help.toLowerCase().includes(w)));
  const shown = found.filter((f) => !prefix || prefixOf(f.name) === prefix);
  const visible = shown.slice(0, pages * PAGE_CARDS);
  return (
    <div class="browse">
      <Facets all={found} current={prefix} />
      <div>
        {shown.length === 0 ? (
          <Empty title="No metric fits">
            <p>Try fewer words, another prefix, or a wider service scope.</p>
          </Empty>
        ) : (
          <div class="cards">
            {visible.map((f) => (
              <Card key={f.name} family={f} match={catalogue.match} />
            ))}
          </div>
        )}
        {visible.length < shown.length && (
          <button type="button" class="btn" style="margin-top:12px" onClick={() => setPages(pages + 1)}>
            Show {Math.min(PAGE_CARDS, shown.length - visible.length)} more of {shown.length - visible.length}
          </button>
        )}
      </div>
    </div>
  );
}

/** The browser. */
export function Browser({ catalogue }: { catalogue: Load<Catalogue> }) {
  return (
    <>
      <QueryBar value="" catalogue={catalogue.data} error={undefined} />
      <div class="toolbar">
        <h1>Metrics</h1>
        <span class="dim">{service.value ? <SafeText text={`of ${service.value}`} /> : "of all services"}</span>
        <span class="grow" />
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
      {catalogue.data && catalogue.data.families.length > 0 && <Grid catalogue={catalogue.data} />}
      {catalogue.data && catalogue.data.families.length === 0 && (
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
