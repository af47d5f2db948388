/** The list of metrics as a table: name, type, unit, help. Only the rows in view are drawn. */
import "../core.ts";
import { px } from "../load.ts";
import type { Family } from "../query/promql.ts";
import { link, paramAll } from "../router.ts";
import { SafeText } from "../widgets/basics.tsx";
import { useRows } from "../widgets/window.ts";

const ROW_HEIGHT = 28;

/** The table. */
export function NameList({ families }: { families: readonly Family[] }) {
  const [ref, rows] = useRows<HTMLTableSectionElement>(families.length, ROW_HEIGHT);
  return (
    <div class="panel">
      <table class="data names" aria-rowcount={families.length + 1}>
        <thead>
          <tr>
            <th>name</th>
            <th>type</th>
            <th class="hide-narrow">unit</th>
            <th class="hide-narrow">help</th>
          </tr>
        </thead>
        <tbody ref={ref}>
          {rows.above > 0 && (
            <tr aria-hidden="true">
              <td colSpan={4} style={{ height: px(rows.above) }} />
            </tr>
          )}
          {families.slice(rows.first, rows.end).map((f, i) => (
            <tr key={f.name} aria-rowindex={rows.first + i + 2}>
              <td class="clip mono">
                <a href={link("metrics", { metric: f.name, f: paramAll("f") })}>{f.name}</a>
              </td>
              <td class="nowrap">{f.kind.replace("_", " ")}</td>
              <td class="hide-narrow dim nowrap">{f.unit.replace("_", " ")}</td>
              <td class="clip hide-narrow dim">
                <SafeText text={f.help} />
              </td>
            </tr>
          ))}
          {rows.below > 0 && (
            <tr aria-hidden="true">
              <td colSpan={4} style={{ height: px(rows.below) }} />
            </tr>
          )}
        </tbody>
      </table>
    </div>
  );
}
