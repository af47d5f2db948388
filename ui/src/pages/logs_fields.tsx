/** Fields of the loaded lines with their commonest values; a click narrows the query. */
import { useMemo } from "preact/hooks";
import type { LogLine } from "../api.ts";
import { px } from "../load.ts";
import { isStack, readLine } from "../logline.ts";
import type { FieldSource } from "../query/logql.ts";
import { integer } from "../units.ts";
import { SafeText } from "../widgets/basics.tsx";

const SAMPLE_LINES = 1000;
const VALUES_SHOWN = 6;
const FIELDS_MAX = 40;
const VALUE_CHARS = 120;

/** Distinct values above which a field is an id, not a category. */
const CATEGORY_MAX = 60;

/** A field and how often each of its values occurs. */
export interface FieldStat {
  name: string;
  source: FieldSource;
  /** Lines that have the field. */
  lines: number;
  values: [string, number][];
  distinct: number;
}

/** Counts the fields of the first lines: stream labels first, then metadata, then JSON fields. */
export function fieldStats(rows: readonly LogLine[]): FieldStat[] {
  const found = new Map<string, { source: FieldSource; counts: Map<string, number> }>();
  const count = (source: FieldSource, fields: Record<string, string>): void => {
    for (const [name, value] of Object.entries(fields)) {
      if (isStack(name, value) || value.length > VALUE_CHARS) continue;
      const entry = found.get(name) ?? { source, counts: new Map<string, number>() };
      entry.counts.set(value, (entry.counts.get(value) ?? 0) + 1);
      found.set(name, entry);
    }
  };
  for (const line of rows.slice(0, SAMPLE_LINES)) {
    count("stream", line.stream);
    count("meta", line.meta);
    count("json", readLine(line).json);
  }
  const stats = [...found].map(([name, { source, counts }]) => ({
    name,
    source,
    distinct: counts.size,
    lines: [...counts.values()].reduce((a, b) => a + b, 0),
    values: [...counts].sort((a, b) => b[1] - a[1]).slice(0, VALUES_SHOWN),
  }));
  const order: Record<FieldSource, number> = { stream: 0, meta: 1, json: 2 };
  stats.sort((a, b) => order[a.source] - order[b.source] || Number(a.distinct > CATEGORY_MAX) - Number(b.distinct > CATEGORY_MAX) || (a.name < b.name ? -1 : 1));
  return stats.slice(0, FIELDS_MAX);
}

interface Props {
  rows: readonly LogLine[];
  onFilter: (name: string, op: "=" | "!=", value: string, source: FieldSource) => void;
}

/** The column of fields. */
export function FieldList({ rows, onFilter }: Props) {
  const stats = useMemo(() => fieldStats(rows), [rows.length, rows[0], rows.at(-1)]);
  return (
    <div class="panel field-list" role="region" aria-label="Fields" tabIndex={0}>
      <div class="menu-title">Fields of {integer(Math.min(rows.length, SAMPLE_LINES))} lines</div>
      {stats.map((f) => (
        <details key={f.name} open={(f.name === "detected_level" && !stats.some((s) => s.name === "level")) || (f.source === "stream" && f.distinct > 1)}>
          <summary>
            <span class="clip">
              <SafeText text={f.name} />
            </span>
            <span class="faint">{f.distinct}</span>
          </summary>
          {f.values.map(([value, n]) => (
            <div class="value" key={value}>
              <span class="share" style={{ width: px((100 * n) / f.lines) }} />
              <button type="button" class="clip" title={`Only ${f.name} ${value}`} onClick={() => onFilter(f.name, "=", value, f.source)}>
                {value === "" ? <span class="faint">(empty)</span> : <SafeText text={value} />}
              </button>
              <span class="row" style="gap:6px">
                <button type="button" class="out" title={`Without ${f.name} ${value}`} aria-label={`Without ${f.name} ${value}`} onClick={() => onFilter(f.name, "!=", value, f.source)}>
                  −
                </button>
                <span class="faint">{integer(n)}</span>
              </span>
            </div>
          ))}
        </details>
      ))}
    </div>
  );
}
