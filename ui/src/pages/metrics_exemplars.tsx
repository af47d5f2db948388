/** Exemplars of the range as a list: what the diamonds are, for those who read or use the keyboard. */
import "../core.ts";
import type { Exemplar } from "../api_metrics.ts";
import { traceLink } from "../links.ts";
import { zone } from "../state.ts";
import { dateTime } from "../time.ts";
import { format, integer, unitOf, type Unit } from "../units.ts";
import { SafeText } from "../widgets/basics.tsx";

const ROWS_MAX = 100;

/** The list, closed at first. */
export function Exemplars({ exemplars, unit }: { exemplars: readonly Exemplar[]; unit: Unit }) {
  const rows = [...exemplars].sort((a, b) => b.value - a.value).slice(0, ROWS_MAX);
  const unitFor = (e: Exemplar): Unit => {
    const own = unitOf((e.series["__name__"] ?? "").replace(/_bucket$/, ""));
    return own === "count" ? unit : own;
  };
  return (
    <details class="panel exemplars">
      <summary>
        {integer(exemplars.length)} exemplars, the largest first{exemplars.length > ROWS_MAX ? ` (${ROWS_MAX} listed)` : ""}
      </summary>
      <div class="table-wrap" tabIndex={0} role="region" aria-label="Exemplars">
        <table class="data">
          <thead>
            <tr>
              <th>time</th>
              <th class="num">value</th>
              <th>trace</th>
              <th>series</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((e, i) => (
              <tr key={i}>
                <td class="nowrap">{dateTime(e.at * 1000, zone.value, true)}</td>
                <td class="num">{format(e.value, unitFor(e))}</td>
                <td class="mono">{e.trace ? <a href={traceLink(e.trace, e.span)}>{e.trace}</a> : <span class="faint">none</span>}</td>
                <td class="mono">
                  <SafeText
                    text={Object.entries(e.series)
                      .filter(([k]) => k !== "le" && k !== "__name__")
                      .map(([k, v]) => `${k}=${v}`)
                      .join(" ")}
                  />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
