/** Results as a table: the values at the end of the range, or every point over it. */
import "../core.ts";
import { promInstant, type VectorSample } from "../api.ts";
import { parseValue } from "../chart/data.ts";
import { useLoad, type Load } from "../load.ts";
import { range, zone } from "../state.ts";
import { dateTime } from "../time.ts";
import { format, integer, type Unit } from "../units.ts";
import { Empty, Failure, Loaded, SafeText } from "../widgets/basics.tsx";
import type { Results } from "./metrics_explore.tsx";
import { options } from "./metrics_model.ts";

/** Rows and columns drawn at most. */
const ROWS_MAX = 1000;
const COLUMNS_MAX = 12;
const POINTS_MAX = 300;

interface Props {
  queries: readonly { letter: string; text: string }[];
  load: Load<Results>;
  unit: Unit;
}

/** The table the reader chose. */
export function Table(p: Props) {
  if (options().rows === "range") return <Loaded load={p.load}>{(results) => <Points results={results} unit={p.unit} retry={p.load.retry} />}</Loaded>;
  return <Instant queries={p.queries} unit={p.unit} />;
}

interface Row extends VectorSample {
  letter: string;
}

function Instant({ queries, unit }: { queries: Props["queries"]; unit: Unit }) {
  const at = range.value.to / 1000;
  const load = useLoad(
    `${queries.map((q) => q.letter + q.text).join("\n")} ${at}`,
    async (signal) => (await Promise.all(queries.map(async (q) => (await promInstant(q.text, at, signal)).map((s): Row => ({ ...s, letter: q.letter }))))).flat(),
    queries.map((q) => q.text).join("\n"),
  );
  return <Loaded load={load}>{(samples) => <Values samples={samples} unit={unit} lettered={queries.length > 1} />}</Loaded>;
}

function Values({ samples, unit, lettered }: { samples: Row[]; unit: Unit; lettered: boolean }) {
  const labels = [...new Set(samples.flatMap((s) => Object.keys(s.metric)))].sort();
  if (samples.length === 0) return <Empty title="No samples at the end of this range" />;
  const rows = [...samples].sort((a, b) => (parseValue(b.value) ?? 0) - (parseValue(a.value) ?? 0)).slice(0, ROWS_MAX);
  return (
    <div class="table-wrap" tabIndex={0} role="region" aria-label="Values at the end of the range">
      {samples.length > ROWS_MAX && (
        <div class="notice">
          The {integer(ROWS_MAX)} largest of {integer(samples.length)} values.
        </div>
      )}
      <table class="data">
        <thead>
          <tr>
            {lettered && <th>query</th>}
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
              {lettered && <td>{s.letter}</td>}
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

function Points({ results, unit, retry }: { results: Results; unit: Unit; retry: () => void }) {
  const { data, errors } = results;
  if (errors[0]) return <Failure error={errors[0].error} retry={retry} />;
  if (data.series.length === 0) return <Empty title="No samples in this range" />;
  const shown = data.series.slice(0, COLUMNS_MAX);
  const indices = data.times.map((_, i) => i).filter((i) => shown.some((s) => (s.values[i] ?? null) !== null));
  const rows = indices.reverse().slice(0, POINTS_MAX);
  return (
    <div class="table-wrap points" tabIndex={0} role="region" aria-label="Values over the range, the latest first">
      {(data.series.length > COLUMNS_MAX || indices.length > POINTS_MAX) && (
        <div class="notice">
          {integer(shown.length)} of {integer(data.series.length + data.omitted)} series, {integer(rows.length)} of {integer(indices.length)} moments.
        </div>
      )}
      <table class="data">
        <thead>
          <tr>
            <th>time</th>
            {shown.map((s) => (
              <th key={s.key} class="num mono">
                <SafeText text={s.name} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((i) => (
            <tr key={i}>
              <td class="nowrap">{dateTime((data.times[i] ?? 0) * 1000, zone.value)}</td>
              {shown.map((s) => (
                <td key={s.key} class="num">
                  {format(s.values[i], unit)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
