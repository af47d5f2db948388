/** One value of a broken-down metric as a small chart, with the ways to look at only it, or at all but it. */
import "../core.ts";
import { summarize, type ChartData } from "../chart/data.ts";
import { LineChart } from "../chart/line.tsx";
import { momentLinks } from "../links.ts";
import { withFilter } from "../query/filters.ts";
import { here, paramAll, patch } from "../router.ts";
import { range } from "../state.ts";
import { format, type Unit } from "../units.ts";
import { SafeText } from "../widgets/basics.tsx";
import { Icon } from "../widgets/icons.tsx";

const HEIGHT = 96;

interface Props {
  data: ChartData;
  name: string;
  /** The label and its value; no label for all the others together. */
  by: string;
  value: string;
  unit: Unit;
  step: number;
}

/** The card. */
export function Part({ data, name, by, value, unit, step }: Props) {
  const last = data.series[0] ? summarize(data.series[0].values).last : null;
  const filters = paramAll("f");
  return (
    <section class="panel card part" aria-label={name}>
      <div class="head">
        {by ? (
          <a class="clip" href={here({ f: withFilter(filters, by, "=", value), by: "", only: "" })} title={`Only ${by}=${value}`}>
            <SafeText text={name} />
          </a>
        ) : (
          <span class="clip dim">{name}</span>
        )}
        <span class="last">{format(last, unit)}</span>
        {by && (
          <button type="button" class="btn small quiet icon-only" title={`Without ${value}`} aria-label={`Without ${value}`} onClick={() => patch({ f: withFilter(filters, by, "!=", value) })}>
            <Icon name="minus" />
          </button>
        )}
      </div>
      <div class="body">
        {data.series.length === 0 ? (
          <div class="state">No samples in this range</div>
        ) : (
          <LineChart small data={data} view={range.value} unit={unit} height={HEIGHT} label={name} links={(p) => momentLinks(p.at, step, p.series?.labels ?? {})} />
        )}
      </div>
    </section>
  );
}
