/** Result of a query as a table: the values at the end of the range, largest first. */
import "../core.ts";
import type { VectorSample } from "../api.ts";
import { parseValue } from "../chart/data.ts";
import { format, type Unit } from "../units.ts";
import { Empty, SafeText } from "../widgets/basics.tsx";

/** Rows drawn at most. */
const TABLE_ROWS_MAX = 1000;

/** The table. */
export function Table({ samples, unit }: { samples: VectorSample[]; unit: Unit }) {
  const labels = [...new Set(samples.flatMap((s) => Object.keys(s.metric)))].sort();
  if (samples.length === 0) return <Empty title="No samples at the end of this range" />;
  const rows = [...samples].sort((a, b) => (parseValue(b.value) ?? 0) - (parseValue(a.value) ?? 0)).slice(0, TABLE_ROWS_MAX);
  return (
    <div class="table-wrap" tabIndex={0} role="region" aria-label="Values at the end of the range">
      <table class="data">
        <thead>
          <tr>
            {labels.map((l) => (
              <th key={l}>{l}</th>
            ))}
            <th class="num">value</th>
            <th class="num">exact</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((s, i) => (
            <tr key={i}>
              {labels.map((l) => (
                <td key={l} class="mono">
                  <SafeText text={s.metric[l] ?? ""} />
                </td>
              ))}
              <td class="num">{format(parseValue(s.value), unit)}</td>
              <td class="num mono faint">{s.value}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
