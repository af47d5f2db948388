/**
 * Fields of the lines: which there are says the server for the whole range, how often their values come is counted in
 * the loaded lines at once and, on request, by the server in all lines. A click narrows the query or adds a column.
 */
import { useMemo, useState } from "preact/hooks";
import { ApiError, nanos } from "../api.ts";
import { detectedFields, detectedLabels, lokiInstant, type DetectedField, type LogLine } from "../api_logs.ts";
import { useLoad } from "../load.ts";
import { fieldsOf, isStack } from "../logline.ts";
import { selectorOf, topValuesQuery, type FieldSource } from "../query/logql.ts";
import type { Range } from "../time.ts";
import { integer } from "../units.ts";
import { SafeText } from "../widgets/basics.tsx";
import { Icon } from "../widgets/icons.tsx";
import type { OnFilter } from "./logs_parts.ts";

/** Lines that are counted. */
export const SAMPLE_LINES = 1000;

const VALUES_SHOWN = 6;
const TOP_VALUES = 10;
const FIELDS_MAX = 300;
const VALUE_CHARS = 200;

/** Distinct values above which a field is an id, not a category. */
const CATEGORY_MAX = 60;

/** A field and how often each of its values occurs. */
export interface FieldStat {
  /** What queries call it. */
  name: string;
  source: FieldSource;
  /** Lines of the sample that have the field. */
  lines: number;
  values: [string, number][];
  /** Distinct values: of the whole range where the server said so, else of the sample. */
  distinct: number;
  /** Kind of value as the server detected it, "" when unknown. */
  type: string;
}

/** Counts the fields of the lines: stream labels first, then metadata, then fields inside of the line. */
export function fieldStats(rows: readonly LogLine[]): FieldStat[] {
  const found = new Map<string, { source: FieldSource; counts: Map<string, number> }>();
  for (const line of rows.slice(0, SAMPLE_LINES)) {
    for (const { name, label, value, source } of fieldsOf(line)) {
      if (isStack(name, value) || value.length > VALUE_CHARS) continue;
      // By the name in queries: a field inside of the line may be called as a label of the stream is.
      const entry = found.get(label) ?? { source, counts: new Map<string, number>() };
      entry.counts.set(value, (entry.counts.get(value) ?? 0) + 1);
      found.set(label, entry);
    }
  }
  const stats = [...found].map(([name, { source, counts }]) => ({
    name,
    source,
    type: "",
    distinct: counts.size,
    lines: [...counts.values()].reduce((a, b) => a + b, 0),
    values: [...counts].sort((a, b) => b[1] - a[1]).slice(0, VALUES_SHOWN),
  }));
  return ordered(stats);
}

function ordered(stats: FieldStat[]): FieldStat[] {
  const order: Record<FieldSource, number> = { stream: 0, meta: 1, json: 2, logfmt: 2 };
  stats.sort((a, b) => order[a.source] - order[b.source] || Number(a.distinct > CATEGORY_MAX) - Number(b.distinct > CATEGORY_MAX) || (a.name < b.name ? -1 : 1));
  return stats.slice(0, FIELDS_MAX);
}

/** What the server detected, laid over what the sample shows. */
export function withDetected(stats: readonly FieldStat[], labels: readonly { name: string; cardinality: number }[], fields: readonly DetectedField[]): FieldStat[] {
  const out = new Map(stats.map((s) => [s.name, { ...s }]));
  const put = (name: string, source: FieldSource, distinct: number, type: string): void => {
    const known = out.get(name);
    if (known) Object.assign(known, { distinct: Math.max(distinct, known.distinct), type });
    else out.set(name, { name, source, lines: 0, values: [], distinct, type });
  };
  for (const l of labels) put(l.name, "stream", l.cardinality, "");
  for (const f of fields) put(f.name, f.parsers.includes("json") ? "json" : f.parsers.includes("logfmt") ? "logfmt" : "meta", f.cardinality, f.type);
  return ordered([...out.values()]);
}

/** A 404 means that the server does not detect fields: the sample then stands alone. */
const absent = <T,>(e: unknown): T[] => {
  if (e instanceof ApiError && e.status === 404) return [];
  throw e;
};

interface Props {
  rows: readonly LogLine[];
  /** Whether these are all lines there are: then nothing has to be said of others. */
  whole: boolean;
  query: string;
  r: Range;
  columns: readonly string[];
  onFilter: OnFilter;
  onColumn: (name: string) => void;
}

/** The list of fields. */
export function FieldList({ rows, whole, query, r, columns, onFilter, onColumn }: Props) {
  const [start, end] = [nanos(r.from), nanos(r.to)];
  const [find, setFind] = useState("");
  const detected = useLoad(
    `${query} ${start} ${end}`,
    async (signal) => {
      const [labels, fields] = await Promise.all([
        detectedLabels(selectorOf(query), start, end, signal).catch(absent<{ name: string; cardinality: number }>),
        detectedFields(query, start, end, signal).catch(absent<DetectedField>),
      ]);
      return { labels, fields };
    },
    query,
  );
  const sample = useMemo(() => fieldStats(rows), [rows]);
  const stats = useMemo(
    // What the server says of labels is of the selected streams, whichever of their lines pass the filters.
    () => withDetected(sample, whole ? [] : (detected.data?.labels ?? []), detected.data?.fields ?? []),
    [sample, whole, detected.data],
  );
  const shown = stats.filter((f) => f.name.toLowerCase().includes(find.toLowerCase()));
  const lines = Math.min(rows.length, SAMPLE_LINES);
  return (
    <div class="panel field-list" role="region" aria-label="Fields" tabIndex={0}>
      {detected.loading && <div class="progress" aria-hidden="true" />}
      <input class="field" type="search" placeholder={`Find in ${stats.length} fields`} aria-label="Find a field" value={find} onInput={(e) => setFind(e.currentTarget.value)} />
      {detected.error && <div class="menu-title">Only fields of the loaded lines: {detected.error.message}</div>}
      <div class="menu-title">
        Counts of {whole ? "all" : "the newest"} {integer(lines)} lines
      </div>
      {shown.map((f) => (
        <FieldEntry key={f.name} f={f} lines={lines} query={query} r={r} column={columns.includes(f.name)} open={opensItself(f, stats)} onFilter={onFilter} onColumn={onColumn} />
      ))}
      {shown.length === 0 && <div class="menu-title">No field has this name.</div>}
    </div>
  );
}

const opensItself = (f: FieldStat, all: readonly FieldStat[]): boolean =>
  (f.name === "detected_level" && !all.some((s) => s.name === "level")) || (f.source === "stream" && f.distinct > 1 && f.distinct <= VALUES_SHOWN);

const KIND: Record<FieldSource, string> = { stream: "label of the stream", meta: "structured metadata", json: "in the line, JSON", logfmt: "in the line, logfmt" };

interface EntryProps {
  f: FieldStat;
  lines: number;
  query: string;
  r: Range;
  column: boolean;
  open: boolean;
  onFilter: OnFilter;
  onColumn: (name: string) => void;
}

function FieldEntry({ f, lines, query, r, column, open, onFilter, onColumn }: EntryProps) {
  const [asked, setAsked] = useState(false);
  const key = `${query} ${r.from} ${r.to} ${f.name}`;
  const all = useLoad(asked ? key : null, (signal) => countAll(f, query, r, signal), key);
  const values = all.data ?? f.values;
  const sum = all.data ? Math.max(1, ...values.map(([, n]) => n)) : Math.max(1, lines);
  return (
    <details open={open}>
      <summary title={`${f.name}: ${KIND[f.source]}${f.type ? `, ${f.type}` : ""}, ${f.distinct} distinct values`}>
        <span class="clip">
          <SafeText text={f.name} />
        </span>
        <span class="faint">{integer(f.distinct)}</span>
      </summary>
      {values.map(([value, n]) => (
        <div class="value" key={value}>
          <span class="share" style={{ width: `calc((100% - 16px) * ${Math.min(1, n / sum).toFixed(3)})` }} />
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
      {all.error && <div class="menu-title error-text">{all.error.message}</div>}
      <div class="row acts">
        <button type="button" class="chip" aria-pressed={column} onClick={() => onColumn(f.name)}>
          <Icon name="table" />
          Column
        </button>
        <button type="button" class="chip" aria-pressed={asked} disabled={all.loading} title="Count the values in all lines of the range" onClick={() => setAsked(!asked)}>
          {all.loading ? "Counting…" : asked ? "In all lines" : "Count all lines"}
        </button>
      </div>
    </details>
  );
}

async function countAll(f: FieldStat, query: string, r: Range, signal: AbortSignal): Promise<[string, number][]> {
  const seconds = Math.max(1, Math.round((r.to - r.from) / 1000));
  const found = await lokiInstant(topValuesQuery(query, f.name, f.source, seconds, TOP_VALUES), nanos(r.to), signal);
  return found.map((s) => [s.labels[f.name] ?? "", s.value]);
}

