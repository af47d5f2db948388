/** Patterns: the templates behind the lines, how often each came when, what is new and what has exploded. */
import "../core.ts";
import { ApiError, nanos } from "../api.ts";
import { lokiPatterns, type Pattern } from "../api_logs.ts";
import { useLoad } from "../load.ts";
import { levelOf } from "../palette.ts";
import { selectorOf } from "../query/logql.ts";
import { param, patch } from "../router.ts";
import { zone } from "../state.ts";
import { clock, parseDuration, promDuration, stepFor, type Range } from "../time.ts";
import { integer } from "../units.ts";
import { Copy, Empty, Loaded, SafeText, Status } from "../widgets/basics.tsx";
import { Icon } from "../widgets/icons.tsx";
import { BARS, patternParts, patternRows, type PatternRow } from "./logs_patterns_data.ts";

/** Rows shown; patterns beyond them are rare by their order. */
const ROWS_MAX = 300;

/** What a range can be compared with: as written in the URL, and in words. */
const BASES: readonly [string, string][] = [
  ["", "the range before"],
  ["1d", "the day before"],
  ["7d", "the week before"],
];

async function load(query: string, r: Range, base: string, signal: AbortSignal): Promise<{ rows: PatternRow[]; known: boolean } | null> {
  const back = parseDuration(base) ?? r.to - r.from;
  const step = stepFor(r, BARS);
  const selector = selectorOf(query);
  const ask = (from: number, to: number): Promise<Pattern[]> => lokiPatterns(selector, nanos(from), nanos(to), step, signal);
  try {
    const [now, before] = await Promise.all([ask(r.from, r.to), ask(r.from - back, r.to - back)]);
    return { rows: patternRows(now, before, r), known: before.length > 0 };
  } catch (e) {
    if (e instanceof ApiError && e.status === 404) return null;
    throw e;
  }
}

interface Props {
  query: string;
  r: Range;
  onPattern: (pattern: string, op: "|>" | "!>") => void;
}

/** The tab. */
export function Patterns({ query, r, onPattern }: Props) {
  const base = BASES.some(([b]) => b === param("base")) ? param("base") : "";
  const found = useLoad(`${query} ${r.from} ${r.to} ${base}`, (signal) => load(query, r, base, signal), query);
  return (
    <div class="patterns" role="region" aria-label="Patterns" tabIndex={0}>
      <Loaded load={found}>
        {(data) =>
          data === null ? (
            <Empty title="This server does not mine patterns" />
          ) : data.rows.length === 0 ? (
            <Empty title="No patterns in this range">
              <p>Patterns are mined while lines arrive; what was stored before has none.</p>
            </Empty>
          ) : (
            <PatternTable rows={data.rows} known={data.known} base={base} r={r} onPattern={onPattern} />
          )
        }
      </Loaded>
    </div>
  );
}

function PatternTable({ rows, known, base, r, onPattern }: { rows: readonly PatternRow[]; known: boolean; base: string; r: Range; onPattern: Props["onPattern"] }) {
  const count = (news: PatternRow["news"]): number => rows.filter((p) => p.news === news).length;
  return (
    <>
      <div class="row wrap pattern-head">
        <span>
          {integer(rows.length)} patterns
          {known && (
            <>
              : <b>{count("new")}</b> new, <b>{count("exploded")}</b> exploded
            </>
          )}
        </span>
        <label class="row dim" style="gap:6px">
          compared with
          <select class="field" style="height:24px" value={base} onChange={(e) => patch({ base: e.currentTarget.value }, true)}>
            {BASES.map(([value, text]) => (
              <option key={value} value={value}>
                {text}
              </option>
            ))}
          </select>
        </label>
        {!known && <span class="faint">nothing is known of that time, so nothing is called new</span>}
        <span class="grow" />
        <span class="faint">of the streams selected; filters of the query do not apply</span>
      </div>
      <table class="data pattern-table">
        <thead>
          <tr>
            <th>Lines over {promDuration((r.to - r.from) / 1000)}</th>
            <th class="num">Lines</th>
            <th class="num">Before</th>
            <th>Level</th>
            <th>Pattern</th>
            <th />
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, ROWS_MAX).map((p) => (
            <PatternLine key={`${p.level} ${p.pattern}`} p={p} onPattern={onPattern} />
          ))}
        </tbody>
      </table>
      {rows.length > ROWS_MAX && <div class="state">{integer(rows.length - ROWS_MAX)} rarer patterns are not shown.</div>}
    </>
  );
}

function PatternLine({ p, onPattern }: { p: PatternRow; onPattern: Props["onPattern"] }) {
  const level = levelOf(p.level);
  return (
    <tr>
      <td>
        <Spark bars={p.bars} color={`--level-${level}`} />
      </td>
      <td class="num">{integer(p.lines)}</td>
      <td class="num faint">{integer(p.before)}</td>
      <td>{p.level ? <Status kind={level === "error" || level === "fatal" ? "error" : level === "warn" ? "warn" : "none"}>{level}</Status> : ""}</td>
      <td class="pattern">
        {p.news !== "" && (
          <span class={`chip news ${p.news}`} title={p.news === "new" ? "It did not occur in the time compared with" : "At least five times as often as before"}>
            {p.news === "new" ? `new since ${clock(p.first, zone.value).slice(0, 5)}` : "exploded"}
          </span>
        )}
        <button type="button" class="as-text mono" title="Only lines of this pattern" onClick={() => onPattern(p.pattern, "|>")}>
          {patternParts(p.pattern).map((part, i) =>
            part.gap ? (
              <span key={i} class="gap">
                …
              </span>
            ) : (
              <SafeText key={i} text={part.text} />
            ),
          )}
        </button>
      </td>
      <td class="acts">
        <button type="button" class="btn small quiet icon-only" title="Only lines of this pattern" aria-label="Only lines of this pattern" onClick={() => onPattern(p.pattern, "|>")}>
          <Icon name="plus" />
        </button>
        <button type="button" class="btn small quiet icon-only" title="Without lines of this pattern" aria-label="Without lines of this pattern" onClick={() => onPattern(p.pattern, "!>")}>
          <Icon name="minus" />
        </button>
        <Copy text={p.pattern} title="Copy the pattern" />
      </td>
    </tr>
  );
}

const SPARK = { width: 120, height: 20 };

function Spark({ bars, color }: { bars: readonly number[]; color: string }) {
  const top = Math.max(1, ...bars);
  const width = SPARK.width / bars.length;
  const path = bars.map((n, i) => (n > 0 ? `M${(i * width).toFixed(1)} ${SPARK.height}v${(-Math.max(1, (n / top) * (SPARK.height - 2))).toFixed(1)}h${(width - 0.6).toFixed(1)}V${SPARK.height}z` : "")).join("");
  return (
    <svg width={SPARK.width} height={SPARK.height} viewBox={`0 0 ${SPARK.width} ${SPARK.height}`} role="img" aria-label={`at most ${top} at once`}>
      <path d={path} style={{ fill: `var(${color})` }} />
    </svg>
  );
}
