/** Legend as a table. A click shows only that series, Ctrl-click adds or removes one, clicking the only one shows all. */
import { useMemo } from "preact/hooks";
import { seriesVar } from "../palette.ts";
import { format, type Unit } from "../units.ts";
import { SafeText } from "../widgets/basics.tsx";
import { summarize, type ChartData } from "./data.ts";

interface Props {
  data: ChartData;
  unit: Unit;
  only: ReadonlySet<string> | undefined;
  onOnly: (keys: ReadonlySet<string> | undefined) => void;
}

/** The set after a click on `key`. */
export function toggled(all: readonly string[], only: ReadonlySet<string> | undefined, key: string, add: boolean): ReadonlySet<string> | undefined {
  if (!add) return only?.size === 1 && only.has(key) ? undefined : new Set([key]);
  const next = new Set(only ?? all);
  if (next.has(key)) next.delete(key);
  else next.add(key);
  return next.size === 0 || next.size === all.length ? undefined : next;
}

/** The table. */
export function Legend({ data, unit, only, onOnly }: Props) {
  const rows = useMemo(() => data.series.map((s) => ({ s, sum: summarize(s.values) })), [data]);
  const all = data.series.map((s) => s.key);
  return (
    <div class="legend" tabIndex={0} role="region" aria-label="Legend">
      <table class="data">
        <thead>
          <tr>
            <th>
              {data.series.length} series
              {data.omitted > 0 && <span class="warn-text"> · {data.omitted} more not drawn</span>}
            </th>
            <th class="num">last</th>
            <th class="num hide-narrow">min</th>
            <th class="num hide-narrow">mean</th>
            <th class="num">max</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ s, sum }) => (
            <tr key={s.key} class={only && !only.has(s.key) ? "off" : ""}>
              <td>
                <button
                  type="button"
                  class="name"
                  aria-pressed={only?.has(s.key) ?? true}
                  title="Only this series; Ctrl adds or removes"
                  onClick={(e) => onOnly(toggled(all, only, s.key, e.ctrlKey || e.metaKey))}
                >
                  <span class="dot" style={{ "--c": `var(${seriesVar(s.slot.color)})` }} />
                  <span class="clip mono">
                    <SafeText text={s.name} />
                  </span>
                </button>
              </td>
              <td class="num">{format(sum.last, unit)}</td>
              <td class="num hide-narrow dim">{format(sum.min, unit)}</td>
              <td class="num hide-narrow dim">{format(sum.mean, unit)}</td>
              <td class="num">{format(sum.max, unit)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
