/** One metric as a small chart, shown as its kind is best seen: rates of counters, quantiles of histograms, values of gauges. */
import "../core.ts";
import { promRange } from "../api.ts";
import { gridData, summarize } from "../chart/data.ts";
import { LineChart } from "../chart/line.tsx";
import { useLoad } from "../load.ts";
import { momentLinks } from "../links.ts";
import { cardCaption, cardExpr, expand, familyUnit, type Family } from "../query/promql.ts";
import { link, paramAll } from "../router.ts";
import { range } from "../state.ts";
import { alignRange, stepFor } from "../time.ts";
import { format } from "../units.ts";
import { Loaded } from "../widgets/basics.tsx";

const CARD_HEIGHT = 104;
const CARD_POINTS = 90;

/** Series in a small chart beyond this are not fetched: the full view shows them. */
const CARD_SERIES = 12;

/** The card. */
export function Card({ family, match }: { family: Family; match: readonly string[] }) {
  const r = range.value;
  const step = stepFor(r, CARD_POINTS, 5);
  const { start, end } = alignRange(r, step);
  const expr = cardExpr(family, match);
  const limited = family.kind === "gauge" ? `topk(${CARD_SERIES}, ${expr})` : expr;
  const load = useLoad(
    `${limited} ${start} ${end} ${step}`,
    async (signal) => gridData((await promRange(expand(limited, step, r.to - r.from), start, end, step, signal)).series, start, end, step),
    limited,
  );
  const unit = familyUnit(family, "0.95");
  const lone = load.data?.series.length === 1 ? load.data.series[0] : undefined;
  return (
    <section class="panel card" aria-label={family.name}>
      <div class="head">
        <a class="clip" href={link("metrics", { metric: family.name, f: paramAll("f") })} title={family.help || family.name}>
          {family.name}
        </a>
        <span class="last">{lone ? format(summarize(lone.values).last, unit) : ""}</span>
        <span class="how clip">{cardCaption(family)}</span>
      </div>
      <div class="body">
        <Loaded load={load}>
          {(data) =>
            data.series.length === 0 ? (
              <div class="state">No samples in this range</div>
            ) : (
              <LineChart small data={data} view={r} unit={unit} height={CARD_HEIGHT} label={family.name} links={(p) => momentLinks(p.at, step, p.series?.labels ?? {})} />
            )
          }
        </Loaded>
      </div>
    </section>
  );
}
